"""The raw dialect over Twisted: a name comes in, the bytes of the file go out.

Imports `wire`, `content` and the modules beside it. PROTOCOL.md section 2 is the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpdl.content.errors import Absent, NotServed, Unavailable
from tcpdl.content.source import File, Source
from tcpdl.server.admission import Admission, Everyone
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import direct
from tcpdl.server.lingering import LingeringProtocol
from tcpdl.server.peer import peer_name
from tcpdl.server.sending import send_file
from tcpdl.wire.links import for_log
from tcpdl.wire.names import NameRefused
from tcpdl.wire.raw import DEFAULT_ENCODINGS, HELP, HELP_NAMES, RawRequest, spellings

QUIET_MILLISECONDS = 50
"""After this much silence, what has come is the whole name. Clients that send a name and nothing
to end it wait this long."""

_log = Logger()


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
            self._refuse(b"", str(refusal))
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
            _log.info("{peer} was cut off within its request", peer=self._peer)
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
            _log.info("{peer} sent no request in time", peer=self._peer)
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
        try:
            file, spelling = self.factory.open(name, self.transport)
        except Unavailable as problem:
            # Not the clean end that says there is no such file: there is one.
            _log.warn("{peer} got a reset for {name}: {why}", **self._said(name, problem))
            self.transport.abortConnection()
            return
        except (NameRefused, NotServed) as problem:
            if name in HELP_NAMES:
                self.transport.write(HELP)
                self.finish()
            else:
                self._refuse(name, str(problem))
            return
        self.owe()
        sent = maybeDeferred(send_file, self.transport, file.fd, 0, file.size)
        sent.addBoth(self._sent, file, spelling)

    def _sent(self, result: int | Failure, file: File, name: bytes) -> None:
        mixed = file.written_over()
        file.close()
        if mixed or isinstance(result, Failure):
            if isinstance(result, int):
                why: object = "it was written over meanwhile"
            elif result.check(ConnectionDone, ConnectionLost, ConnectionAborted):
                why = self.loss
            else:
                why = result.value
            self.transport.abortConnection()
            _log.info("{peer} did not get all of {name}: {why}", **self._said(name, why))
        else:
            _log.info("{peer} got {name}, {why} bytes", **self._said(name, result))
            self.finish()

    def _refuse(self, name: bytes, why: str) -> None:
        """Answer with no bytes: that is how this dialect says no. The log says why."""
        self._stop_asking()
        _log.info("{peer} got nothing for {name}: {why}", **self._said(name, why))
        self.finish()

    @property
    def _peer(self) -> str:
        return peer_name(self.transport.getPeer())

    def _said(self, name: bytes, why: object) -> dict[str, object]:
        return {"peer": self._peer, "name": for_log(name), "why": why}


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
    ) -> None:
        """`quiet` is in seconds; 0 waits for the end of the line or of the client's stream.
        `admission`, if there is one, says who may read what of the `source`."""
        self.admission = admission or Everyone(source)
        self.clock: Any = clock
        self.deadlines = deadlines
        self.quiet = quiet
        self.encodings = encodings

    def buildProtocol(self, addr: IAddress | None) -> Raw:  # type: ignore[override]
        return Raw(self)

    def open(self, name: bytes, transport: Any) -> tuple[File, bytes]:
        """Open the file that `name` stands for, in the first of the encodings that names one, for
        whoever is at the other end of `transport`.

        Returns it with the name it has here. Raises `NotServed` or `NameRefused`, with what is
        to be said of the last spelling tried.
        """
        problem: Exception = Absent("it is in none of the encodings that names are read in")
        visitor = self.admission.visit(transport)
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
