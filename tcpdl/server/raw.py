"""The raw dialect over Twisted: a name comes in, the bytes of the file go out.

Imports `wire`, `content` and the modules beside it. PROTOCOL.md section 2 is the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from tcpdl.content.errors import Absent, NotServed, Unavailable
from tcpdl.content.source import File, Source
from tcpdl.server.admission import Admission, Everyone, Visit
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import direct, encrypted
from tcpdl.server.lingering import LingeringProtocol
from tcpdl.server.outcomes import outcome_of, why_of
from tcpdl.server.peer import peer_name
from tcpdl.server.sending import send_file
from tcpdl.server.transfers import (
    BROKEN,
    CHANGED,
    COMPLETE,
    MALFORMED,
    TIMEOUT,
    Transfer,
    Transfers,
)
from tcpdl.wire.names import NameRefused
from tcpdl.wire.raw import DEFAULT_ENCODINGS, HELP, HELP_NAMES, RawRequest, spellings

QUIET_MILLISECONDS = 50
"""After this much silence, what has come is the whole name. Clients that send a name and nothing
to end it wait this long."""


class Raw(LingeringProtocol):
    """One connection: one name, one file."""

    factory: RawFactory

    def __init__(self, factory: RawFactory) -> None:
        super().__init__(factory.deadlines)
        self.factory = factory
        self._request: RawRequest | None = RawRequest()
        self._quiet: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.promise()
        self.expect_request()

    def dataReceived(self, data: bytes) -> None:
        if self._request is None:
            self.discard(data)
            return
        try:
            name = self._request.feed(data)
        except NameRefused as refusal:
            self._stop_asking()
            self._tell(MALFORMED, str(refusal))
            self.finish()
            return
        if name is not None:
            self._answer(name)
        elif self._quiet is not None:
            self._quiet.reset(self.factory.quiet)
        elif self.factory.quiet > 0:
            self._quiet = self.factory.clock.callLater(self.factory.quiet, self._fell_silent)

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        if self._request is None:
            return
        ours = direct(self.transport)
        if self._request and ours is not None and ours.truncated:
            self._stop_asking()
            self._tell(BROKEN, "it was cut off within its request")
            self.transport.abortConnection()
        elif self._request:
            self._answer(self._request.finish())
        else:
            self._stop_asking()
            self.finish()  # it came and went without a word, as a port check does

    def drain(self) -> None:
        if self._request is not None:
            self.expect_request()
        else:
            super().drain()

    def overdue(self) -> None:
        if self._request is not None and self.deadlines.draining:
            self._stop_asking()
            self.transport.abortConnection()  # a clean end would say that there is no such file
        elif self._request is not None:
            self._tell(TIMEOUT, "it sent no request in time")
            self.deadlines.metrics.missed["request"] += 1
            self._stop_asking()
            self.finish()
        else:
            super().overdue()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_asking()
        super().connectionLost(reason)

    def _fell_silent(self) -> None:
        self._quiet = None
        assert self._request is not None
        self._answer(self._request.finish())

    def _stop_asking(self) -> None:
        self._request = None
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None

    def _answer(self, name: bytes) -> None:
        self._stop_asking()
        visitor = self.factory.admission.visit(self.transport)
        transfer = self.factory.transfers.begin(
            "raw", self._peer, encrypted(self.transport), asked=name, user=visitor.user
        )
        try:
            file, spelling = self.factory.open(name, visitor)
        except Unavailable as problem:
            # Not the clean end that says there is no such file: there is one.
            transfer.end(outcome_of(problem), why_of(problem))
            self.transport.abortConnection()
            return
        except (NameRefused, NotServed) as problem:
            if name in HELP_NAMES:
                self.transport.write(HELP)
                transfer.counted = len(HELP)
                transfer.end(COMPLETE)
            else:
                # No bytes: that is how this dialect says no.
                transfer.end(outcome_of(problem), why_of(problem))
            self.finish()
            return
        transfer.asked = spelling
        transfer.size = file.size
        self.owe()
        sent = maybeDeferred(send_file, self.transport, file.fd, 0, file.size, transfer)
        sent.addBoth(self._sent, file, transfer)

    def _sent(self, result: int | Failure, file: File, transfer: Transfer) -> None:
        mixed = file.written_over()
        file.close()
        if isinstance(result, Failure):
            problem = result.value or RuntimeError("nothing was raised")
            transfer.end(outcome_of(problem, self.lost_as), why_of(problem))
            self.transport.abortConnection()
        elif mixed:
            transfer.end(CHANGED, "it was written over meanwhile")
            self.transport.abortConnection()
        else:
            transfer.end(COMPLETE)
            self.finish()

    def _tell(self, outcome: str, why: str) -> None:
        """Tell of a client that has asked for nothing."""
        secure = encrypted(self.transport)
        self.factory.transfers.once(outcome, "raw", self._peer, secure, why=why)

    @property
    def _peer(self) -> str:
        return peer_name(self.transport.getPeer())


class RawFactory(Factory):
    """Makes the `Raw` protocols of one port: all that they share."""

    noisy = False

    def __init__(
        self,
        source: Source,
        clock: IReactorTime,
        deadlines: Deadlines,
        *,
        quiet: float = QUIET_MILLISECONDS / 1000,
        encodings: Sequence[str] = DEFAULT_ENCODINGS,
        admission: Admission | None = None,
        transfers: Transfers | None = None,
    ) -> None:
        """`quiet` is in seconds; 0 waits for the end of the line or of the client's stream.
        `admission`, if there is one, says who may read what of the `source`."""
        self.admission = admission or Everyone(source)
        self.clock: Any = clock
        self.deadlines = deadlines
        self.quiet = quiet
        self.encodings = encodings
        self.transfers = transfers or Transfers(deadlines.clock)

    def buildProtocol(self, addr: IAddress | None) -> Raw:  # type: ignore[override]
        return Raw(self)

    def open(self, name: bytes, visitor: Everyone | Visit) -> tuple[File, bytes]:
        """Open the file that `name` stands for, in the first of the encodings that names one, for
        `visitor`.

        Returns it with the name it has here. Raises `NotServed` or `NameRefused`, with what is
        to be said of the last spelling tried.
        """
        problem: Exception = Absent("it is in none of the encodings that names are read in")
        for spelling in spellings(name, self.encodings):
            try:
                source, safe = visitor.look_up(spelling)
                return source.open_file(safe), spelling
            except Unavailable:
                raise
            except (NameRefused, NotServed) as found:
                problem = found
        try:
            raise problem
        finally:
            del problem  # its traceback refers to us, so that only a collector would help
