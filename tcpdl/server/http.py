"""HTTP/1.1 over Twisted: the connections. `server.http_answers` has what is answered.

Imports `web` and the modules beside it. RFC 9110 and 9112 are the specification, and PROTOCOL.md
section 7 says what of them is spoken here. Requests may be pipelined; one is answered after the
other, and no more of them is read ahead than one head may have bytes.
"""

from __future__ import annotations

import time
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpdl.server.answering import IN_A_ROW_MOST, AnsweringProtocol, Gone
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import reset_if_lost, unread
from tcpdl.server.http_exchange import Exchange, Work
from tcpdl.server.outcomes import outcome_of
from tcpdl.server.transfers import Transfers
from tcpdl.web import fields
from tcpdl.web.request import HEAD_MOST, Refusal, Request, Requests

_NO_REQUEST = Request("", b"", b"", {}, 1, False)
"""Stands for one that could not be understood."""

_log = Logger()


class Answers(Protocol):
    """What answers requests: `server.http_answers.HttpAnswers`, or what stands for it."""

    def answer(self, exchange: Exchange) -> Work | None: ...

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None: ...


class Http(AnsweringProtocol):
    """One connection: any number of requests."""

    factory: HttpFactory

    def __init__(self, factory: HttpFactory) -> None:
        super().__init__(factory.deadlines)
        self.factory = factory
        self._requests = Requests()
        self._looping = False
        self._begun = False  # a request, of which more is to come
        self._ended = False
        self._paused = False
        self._in_a_row = 0
        self._left = factory.requests_most
        self.keep_alive = True

    # Receiving.

    def connectionMade(self) -> None:
        self.hurry()
        # The length of an answer is announced, so a part of it looks whole to nobody.
        reset_if_lost(self.transport, False)
        self._resting = True
        self.wait_for(self.deadlines.times.idle)

    def dataReceived(self, data: bytes) -> None:
        if self._ended:
            self.discard(data)
            return
        self._requests.feed(data)
        self._in_a_row = 0
        if not self._answering:
            self._go()
        if self._answering and self._requests.buffered > HEAD_MOST and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        if not self._answering and not self._ended:
            self._go()

    # Answering.

    def _go(self) -> None:
        """Answer what has come, one request after the other, as far as that takes no waiting."""
        self._looping = True
        try:
            while not (self._answering or self._ended):
                request = self._requests.next()
                if request is None:
                    if self._paused:
                        self._read_on()
                    self._wait()
                    return
                self._begin(request)
        except Refusal as refusal:
            self._refuse(refusal)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets no half of an answer
            self._failed(Failure())
        finally:
            self._looping = False

    def _begin(self, request: Request) -> None:
        self._begun = False
        self._left -= 1
        ends = self._left == 0 or self.deadlines.draining
        self.keep_alive = request.keep_alive and not ends
        exchange = Exchange(self, request)
        work: Work | None = None
        try:
            work = self.factory.answers.answer(exchange)
        except Refusal as refusal:
            self.factory.answers.refuse(exchange, refusal)
        self._in_a_row += 1
        if work is not None:
            exchange.begin()
        if work is not None or self.crowded or self._in_a_row == IN_A_ROW_MOST:
            self._answering = True
            self.owe()
            Deferred.fromCoroutine(self._finish(exchange, work)).addErrback(self._failed)
        elif not self.keep_alive:
            self._end()

    async def _finish(self, exchange: Exchange, work: Work | None) -> None:
        """Do what is left of an answer, and wait until the client has taken enough of it."""
        if work is not None:
            try:
                await work
            except Refusal as refusal:
                self.factory.answers.refuse(exchange, refusal)
            except BaseException as problem:
                exchange.begin().end(outcome_of(problem, self.lost_as))  # if it is not over yet
                raise
        await self.drained()
        if self._in_a_row >= IN_A_ROW_MOST:
            self._in_a_row = 0
            await self.deadlines.next_turn()
        self._answering = False
        if self._lost:
            raise Gone
        if not self.keep_alive:
            self._end()
            return
        if self._paused:
            self._read_on()
        if not self._looping:
            self._go()

    def _read_on(self) -> None:
        """Read again, if so much was answered of what has come that more of it is wanted."""
        if self._requests.buffered <= HEAD_MOST:
            self._paused = False
            self.transport.resumeProducing()

    def _wait(self) -> None:
        """Nothing is left to be answered: how long may the next request take? Raises `Refusal`."""
        if self.peer_ended:
            if self._requests.buffered:
                raise Refusal(400, "the request ends before its empty line")
            self._end()
        elif self._requests.between:
            self._begun = False
            if self.over:
                self._end()
            else:
                self.wait_for(self.deadlines.times.idle)
        elif not self._begun:
            self._begun = True
            self.wait_for(self.deadlines.times.head)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what is no request, or not one that anything may follow."""
        self.keep_alive = False
        unknown = _NO_REQUEST._replace(path=refusal.line)
        self.factory.answers.refuse(Exchange(self, unknown), refusal)
        self._end()

    def _failed(self, failure: Failure) -> None:
        self._answering = False
        self._ended = True
        if not failure.check(Gone):
            _log.failure("unexpected error while {peer} was served", failure, peer=self.peer)
        if not self._lost:
            self.transport.abortConnection()

    def start(self, status: int, request: Request) -> bytes:
        """The first lines of an answer: those that all answers have."""
        if not self.keep_alive:
            connection = b"Connection: close\r\n"
        elif request.minor:
            connection = b""
        else:
            connection = b"Connection: keep-alive\r\n"
        return self.factory.start(status) + connection

    # Ending.

    def drain(self) -> None:
        if self._answering or self._ended or not self._requests.between:
            super().drain()
        elif unread(self.transport) or self.owes():
            self.wait_shortly()
        else:
            self._ended = True
            self.transport.loseConnection()

    def late(self) -> None:
        within = bool(self._requests.buffered)
        self.deadlines.metrics.missed["request" if within else "idle"] += 1
        if within:
            self._refuse(Refusal(408, "the request did not come in time"))
        else:
            self._end()

    def _end(self) -> None:
        self._ended = True
        if self._paused:  # what is left unread would reset the connection
            self._paused = False
            self.transport.resumeProducing()
        self.finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended = True
        super().connectionLost(reason)


class HttpFactory(Factory):
    """Makes the `Http` protocols of one port: all that they share."""

    noisy = False

    def __init__(
        self,
        answers: Answers,
        deadlines: Deadlines,
        *,
        requests_most: int = 0,
        transfers: Transfers | None = None,
    ) -> None:
        """A connection ends after `requests_most` answers; 0: any number."""
        self.requests_most = requests_most
        self.answers = answers
        self.deadlines = deadlines
        self.transfers = transfers or Transfers(deadlines.clock)
        self._second = 0
        self._starts: dict[int, bytes] = {}

    def buildProtocol(self, addr: IAddress | None) -> Http:  # type: ignore[override]
        return Http(self)

    def start(self, status: int) -> bytes:
        """Status line, Date and Server; the same for a second."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._starts.clear()
        start = self._starts.get(status)
        if start is None:
            line = f"HTTP/1.1 {status} {fields.REASONS[status]}\r\n"
            start = f"{line}Date: {fields.http_date(now)}\r\nServer: tcpdl\r\n".encode("ascii")
            self._starts[status] = start
        return start
