"""The front door of a port: it finds out which dialect a client speaks, and hands it over.

Imports the modules beside it. PROTOCOL.md section 6 is the specification. Once the dialect is
known, the transport's bytes go straight to that dialect's protocol: nothing is left between.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, NamedTuple, Protocol

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import encrypted, is_local, passed_on
from tcpdl.server.lingering import LingeringProtocol
from tcpdl.server.peer import peer_name
from tcpdl.server.tls_transport import IHandshakeWatcher
from tcpdl.server.transfers import NO_TLS, TIMEOUT, Transfers
from tcpdl.wire.recognise import http_began, native_preface, tls_began

DECIDE_SECONDS = 1.0
"""How long it may take from a client's first byte until its dialect is known, however many more
it sends."""

HANDSHAKE_SECONDS = 10.0
"""How long a TLS handshake may take, however many bytes come."""


class Dialect(Protocol):
    """What makes the protocols of one dialect: a factory that is told what time is left."""

    def buildProtocol(self, addr: IAddress | None) -> Any: ...


class Dialects(NamedTuple):
    """What makes the protocols of each."""

    raw: Dialect
    native: Dialect
    http: Dialect


Build = Callable[[Any], LingeringProtocol]
"""Makes the protocol of one dialect, for a transport that it is then given."""


@implementer(IHandshakeWatcher)
class FrontDoor(LingeringProtocol):
    """One connection until its dialect is known."""

    _shaking = False  # hands, as TLS does

    def __init__(
        self,
        deadlines: Deadlines,
        raw: Build,
        native: Build,
        http: Build,
        transfers: Transfers,
    ) -> None:
        super().__init__(deadlines)
        self._transfers = transfers
        self._raw = raw
        self._native = native
        self._http = http
        self._head = b""
        self._dialect: LingeringProtocol | None = None

    def connectionMade(self) -> None:
        self.promise()
        self.since = self.deadlines.now()
        self.expect_request()

    def handshake_begun(self) -> None:
        self._shaking = True
        self.deadlines.set(self, HANDSHAKE_SECONDS)

    def handshake_failed(self, why: str) -> None:
        self._shaking = False
        self._tell(NO_TLS, why)

    def handshakeCompleted(self) -> None:
        self._shaking = False
        self.expect_request()

    def dataReceived(self, data: bytes) -> None:
        if not self._head:
            self.deadlines.set(self, DECIDE_SECONDS)
        self._head += data
        native, http = native_preface(self._head), http_began(self._head)
        if native or http:
            self._hand_over(self._native if native else self._http)
        elif native is False and http is False:
            if tls_began(self._head) and not encrypted(self.transport):
                self._miss_tls()
            else:
                self._hand_over(self._raw)

    def readConnectionLost(self) -> None:
        if self._dialect is not None:
            self._dialect.readConnectionLost()
        elif self._head:
            self._hand_over(self._raw).readConnectionLost()
        else:
            super().readConnectionLost()
            self._end()  # it came and went without a word, as a port check does

    def writeConnectionLost(self) -> None:
        if self._dialect is not None:
            self._dialect.writeConnectionLost()
        else:
            super().writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._dialect is not None:
            self._dialect.connectionLost(reason)
        else:
            if self._shaking:
                self.handshake_failed("the connection was lost")
            self.__dict__.pop("dataReceived", None)  # which refers to us
            super().connectionLost(reason)

    def drain(self) -> None:
        if self._finishing:
            super().drain()
        elif not (self._head or self._shaking):
            self.expect_request()

    def overdue(self) -> None:
        if self._finishing:
            super().overdue()
        elif self._shaking:
            self.handshake_failed("it did not finish the TLS handshake in time")
            self.deadlines.metrics.missed["handshake"] += 1
            self.transport.abortConnection()
        elif self._head:
            self._hand_over(self._raw)
        elif self.deadlines.draining:
            self.transport.abortConnection()  # a clean end might tell it that there is no such file
        else:
            self._tell(TIMEOUT, "it sent nothing in time")
            self.deadlines.metrics.missed["recognition"] += 1
            self._end()

    def _miss_tls(self) -> None:
        self._tell(NO_TLS, "it speaks TLS, which this port does not (see --tls-cert)")
        self._head = b""
        self._end()

    def _end(self) -> None:
        """End the connection: whatever comes now comes too late."""
        self.dataReceived = self.discard  # type: ignore[method-assign]
        self.finish()

    def _tell(self, outcome: str, why: str) -> None:
        """Tell of a client whose dialect is not known."""
        peer, secure = peer_name(self.transport.getPeer()), encrypted(self.transport)
        self._transfers.once(outcome, "-", peer, secure, why=why)

    def _hand_over(self, build: Build) -> LingeringProtocol:
        self.deadlines.clear(self)
        head, self._head = self._head, b""
        dialect = self._dialect = build(self.transport)
        dialect.since = self.since
        # Whoever holds this protocol asks it for its method each time, and so finds the other's.
        self.dataReceived = dialect.dataReceived  # type: ignore[method-assign]
        dialect.makeConnection(self.transport)
        dialect.dataReceived(head)
        return dialect


@implementer(IProtocolNegotiationFactory)
class FrontFactory(Factory):
    """Makes the front doors of one port."""

    noisy = False

    def acceptableProtocols(self) -> list[bytes]:
        """What may be agreed on below TLS. To name nothing would end the connection of each client
        that names something, as browsers and curl do."""
        return [b"tcpdl/1", b"http/1.1"]

    def __init__(
        self,
        deadlines: Deadlines,
        raw: Dialect,
        native: Dialect,
        http: Dialect,
        *,
        unencrypted: Dialects | None = None,
        transfers: Transfers | None = None,
    ) -> None:
        """`raw`, `native` and `http` are the factories of the dialects; `unencrypted` are those of
        connections that are not encrypted and leave the machine, if these are not to be served."""
        self.deadlines = deadlines
        self.dialects = Dialects(raw, native, http)
        self.unencrypted = unencrypted
        self.transfers = transfers or Transfers(deadlines.clock)

    def buildProtocol(self, addr: IAddress | None) -> FrontDoor:
        return FrontDoor(
            self.deadlines,
            lambda transport: self._build("raw", transport, addr),
            lambda transport: self._build("native", transport, addr),
            lambda transport: self._build("http", transport, addr),
            self.transfers,
        )

    def _build(self, name: str, transport: Any, addr: IAddress | None) -> Any:
        """The protocol of the dialect of this name."""
        self.deadlines.metrics.connections[name] += 1
        dialect: Dialect = getattr(self._spoken(transport), name)
        return dialect.buildProtocol(addr)

    def _spoken(self, transport: Any) -> Dialects:
        spoken = self._allowed(transport)
        place = passed_on(transport)
        return spoken if place is None or not place.own else self._unwatched(spoken)

    def _unwatched(self, spoken: Dialects) -> Dialects:
        """The same for a proxy that looks after us, every second or two: it comes into no log."""
        copies: list[Any] = [copy(factory) for factory in spoken]
        for factory in copies:
            factory.transfers = Transfers(self.deadlines.clock)
        return Dialects(*copies)

    def _allowed(self, transport: Any) -> Dialects:
        if self.unencrypted is None or encrypted(transport):
            return self.dialects
        is_inside = isinstance(transport.getHost(), UNIXAddress) and is_local(transport)
        return self.dialects if is_inside else self.unencrypted
