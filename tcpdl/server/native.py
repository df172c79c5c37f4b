"""The native dialect over Twisted: requests come in, files and trees go out, in order.

Imports `wire`, `content`, `digest` and the modules beside it. PROTOCOL.md section 4 is the
specification. One coroutine for each connection answers its requests, one after the other;
`server.answers` has what it does for each.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpdl import digest
from tcpdl.access.proof import Proof, of_login
from tcpdl.content.digests import Digests
from tcpdl.content.source import Source
from tcpdl.server.admission import Admission, Everyone, Visit
from tcpdl.server.answering import IN_A_ROW_MOST, AnsweringProtocol, Gone
from tcpdl.server.answers import PACKS_MOST, Answers
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import direct
from tcpdl.server.pools import Pool
from tcpdl.server.transfers import MALFORMED, TIMEOUT, Transfers
from tcpdl.server.unreadable import Unreadable
from tcpdl.server.working import Workers
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.goaway import GoAway
from tcpdl.wire.login import Login
from tcpdl.wire.native import Answer, Pick, ProtocolError, Request

IDLE_SECONDS = 120.0
"""How long a client may keep a connection open on which nothing happens."""

PENDING_MOST = 128
"""Requests of one client that wait for their turn. More are left in its hands until then."""

NAMES_WAIT_MOST = 2048
"""Names in them, after which the next request is left there as well: one PICK may have 30,000."""

_log = Logger()


class Native(AnsweringProtocol):
    """One connection: any number of requests."""

    factory: NativeFactory

    _said_goodbye = False

    def __init__(self, factory: NativeFactory) -> None:
        super().__init__(factory.deadlines)
        self.factory = factory
        self.algorithm = 0
        self._incoming = Incoming(State.REQUESTS)
        self._requests: deque[Request | Login] = deque()
        self._names = 0  # in them
        self._visitor: Everyone | Visit | None = None
        self._begun = False  # a request, or the preface, of which more is to come
        self._ended = False
        self._paused = False
        self._refusal: native.Error | None = None
        self._left = factory.requests_most or -1  # which no count comes down to

    # Receiving.

    def connectionMade(self) -> None:
        self.hurry()
        self._resting = True
        self.wait_for(IDLE_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        if self._ended or self._refusal is not None:
            self.discard(data)
            return
        self._incoming.feed(data)
        self._read()
        if self._answering:
            return
        if self._requests:
            self._answering = True
            self.owe()
            Deferred.fromCoroutine(self._answer_all()).addErrback(self._failed)
        elif self._refusal is not None or self._may_end:
            self._end()
        elif not (self._begun or self._incoming.between):
            self._wait()

    def _wait(self) -> None:
        """Nothing is left to be answered: how long may the next request take?"""
        self._begun = not self._incoming.between
        self.wait_for(self.deadlines.times.request if self._begun else IDLE_SECONDS)

    def _read(self) -> None:
        """Queue the requests that have come, as many as may wait."""
        try:
            while not self._is_full:
                request: Any = self._incoming.next()
                if self._incoming.version and not self.algorithm:
                    self._greet()
                if request is None:
                    break
                self._requests.append(request)
                self._names += _names_in(request)
        except ProtocolError as problem:
            self._tell(MALFORMED, str(problem))
            self._refusal = native.Error(0, native.NOT_UNDERSTOOD, str(problem))
        full = self._is_full
        if full is not self._paused:
            self._paused = full
            if full:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    @property
    def _is_full(self) -> bool:
        """Whether no other request is to wait."""
        return len(self._requests) >= PENDING_MOST or self._names >= NAMES_WAIT_MOST

    def _greet(self) -> None:
        self.algorithm = digest.choose(self._incoming.digests)
        if not self.algorithm:
            raise ProtocolError("the client knows no digest that this server can compute")
        self.transport.write(native.preface(self.algorithm))

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        if not self._answering and not self._ended:
            self._end()

    # Answering.

    async def _answer_all(self) -> None:
        shared = self.factory
        visitor = self._visitor
        if not isinstance(visitor, Visit):  # or there were no rules yet
            visitor = self._visitor = shared.admission.visit(self.transport)
        answers = Answers(
            *(self, visitor, shared.digests, shared.workers),
            *(shared.unreadable, shared.packs, shared.transfers),
        )
        in_a_row = 0
        while self._requests and not self._lost and not self._ended:
            if in_a_row == IN_A_ROW_MOST:
                in_a_row = 0
                await self.deadlines.next_turn()
                continue  # the connection may be lost
            in_a_row += 1
            request = self._requests.popleft()
            self._names -= _names_in(request)
            if isinstance(request, Login):
                await self._log_in(visitor, of_login(request))
            else:
                proof = visitor.outdated()
                if proof is not None:
                    await self._log_in(visitor, proof)
                await answers.answer(request)
                await self.drained()
                self._left -= 1
                if self._left == 0:
                    self._requests.clear()  # for another connection
                    self._refusal = None
                    break
            if self._paused and len(self._requests) < PENDING_MOST // 2 and not self._is_full:
                self._read()
        self._answering = False
        if self._lost or self._ended:
            return
        if self.peer_ended or self._refusal is not None or self._left == 0 or self._may_end:
            self._end()
        else:
            self._wait()

    async def _log_in(self, visitor: Everyone | Visit, proof: Proof | None) -> None:
        """From now on, the requests are made by whoever `proof` shows."""
        if not visitor.log_in(proof):
            assert proof is not None
            await self.until(visitor.find_out(proof, lambda: not self._lost))

    def _failed(self, failure: Failure) -> None:
        self._answering = False
        if not failure.check(Gone):
            _log.failure("unexpected error while {peer} was served", failure, peer=self.peer)
        if not self._lost:
            self.transport.abortConnection()

    def send(self, *messages: Answer | GoAway) -> None:
        """Send `messages`, in one write; if the daemon ends, that it does so before them."""
        if self.deadlines.draining:
            messages = (*self._goodbye(), *messages)
        parts = [part for one in messages for part in native.parts(one)]
        if direct(self.transport) is not None:
            self.transport.writeSequence(parts)
        else:
            # Twisted's own transports take nothing but bytes.
            self.transport.write(b"".join(parts))

    # Ending.

    def drain(self) -> None:
        if self._ended:
            super().drain()
        elif self._answering:
            # What has come is answered; what comes now is for another connection.
            left = 1 + sum(not isinstance(one, Login) for one in self._requests)
            self._left = left if self._left < 0 else min(left, self._left)
        elif self._may_end:
            self._end()
        elif self._incoming.between:
            self.wait_shortly()

    @property
    def _may_end(self) -> bool:
        """The daemon ends, and this client has asked for nothing more."""
        return self.over and self._incoming.between

    def late(self) -> None:
        within = not self._incoming.between
        self.deadlines.metrics.missed["request" if within else "idle"] += 1
        if within:
            sentence = "the request did not come in time"
            self._refusal = native.Error(0, native.TOO_SLOW, sentence)
            self._tell(TIMEOUT, sentence)
        self._end()

    def _tell(self, outcome: str, why: str) -> None:
        """Tell of what is no request."""
        user = self._visitor.user if self._visitor is not None else None
        self.factory.transfers.once(outcome, "native", self.peer, self.secure, user=user, why=why)

    def _end(self) -> None:
        """Nothing more is answered on this connection."""
        self._ended = True
        if self._paused:  # what is left unread would reset the connection
            self._paused = False
            self.transport.resumeProducing()
        if self._refusal is not None:
            if not self.algorithm:
                self.transport.write(native.preface(0))
            self.send(self._refusal)
        elif self.algorithm and (self._left == 0 or self.deadlines.draining):
            self.send(*self._goodbye())
        self.finish()

    def _goodbye(self) -> tuple[GoAway, ...]:
        """What says that no more requests are answered here, unless that was said."""
        said, self._said_goodbye = self._said_goodbye, True
        return () if said else (GoAway(),)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._requests.clear()
        super().connectionLost(reason)


def _names_in(request: Request | Login) -> int:
    return len(request.names) if isinstance(request, Pick) else 1


class NativeFactory(Factory):
    """Makes the `Native` protocols of one port: all that they share."""

    noisy = False

    def __init__(
        self,
        source: Source,
        deadlines: Deadlines,
        digests: Digests,
        workers: Workers,
        *,
        admission: Admission | None = None,
        requests_most: int = 0,
        transfers: Transfers | None = None,
    ) -> None:
        """`admission`, if there is one, says who may read what of the `source`. A connection ends
        after `requests_most` answers; 0: any number."""
        self.admission = admission or Everyone(source)
        self.deadlines = deadlines
        self.digests = digests
        self.workers = workers
        self.unreadable = Unreadable()
        self.packs = Pool(PACKS_MOST)
        self.requests_most = requests_most
        self.transfers = transfers or Transfers(deadlines.clock)

    def buildProtocol(self, addr: IAddress | None) -> Native:  # type: ignore[override]
        return Native(self)
