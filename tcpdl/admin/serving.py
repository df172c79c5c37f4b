"""The administrator's port: HTTP on a Unix socket, or on the loopback interface.

Imports twisted.web, `tcpdl.web` and the modules beside it. It knows of no daemon, but of what
answers for one, or for several processes (`Provider`).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as WebRequest
from twisted.web.server import Request, Site

from tcpdl.admin.opening import open_admin
from tcpdl.admin.provider import Provider
from tcpdl.admin.resources import site
from tcpdl.options.admin import AdminAddress
from tcpdl.web.hosts import Hosts
from tcpdl.wire.text import visible

CONNECTIONS_MOST = 32
"""Connections at a time; more are closed at once."""

IDLE_SECONDS = 30
"""How long a connection may take for its request, and to take the answer."""

_OURS = Hosts(())

_log = Logger()


class AdminService(Service):
    """The port, open from the moment this is made; it answers while the service runs."""

    def __init__(
        self,
        reactor: Any,
        provider: Provider,
        address: AdminAddress,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """A Unix socket is given to the `owner`, a user and a group. Raises `CannotListen`."""
        self._factory = _Bounded(_Site(site(provider), local=address.path is not None))
        self.port = open_admin(reactor, address, self._factory, owner)
        if address.path is None:
            address = address._replace(port=self.port.getHost().port)
        self.address = address
        """Where it is, with the port that the system has chosen."""
        _log.info("metrics and status on {where}", where=visible(str(address)))

    def startService(self) -> None:
        super().startService()
        self.port.startReading()

    def stopService(self) -> Deferred[None]:
        """Close the port and its connections, and remove the Unix socket."""
        super().stopService()
        for connection in list(self._factory.protocols):
            connection.loseConnection()
        stopped: Deferred[None] = maybeDeferred(self.port.stopListening)
        return stopped


class _Bounded(WrappingFactory):
    """Lets so many connections in at a time."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]
        if len(self.protocols) >= CONNECTIONS_MOST:
            return None
        made: ProtocolWrapper = super().buildProtocol(addr)
        return made


class _Channel(HTTPChannel):
    """A connection for one request: of several that come together, the reactor would answer all
    before it does anything else."""

    def checkPersistence(self, request: WebRequest, version: bytes) -> bool:
        request.setHeader(b"connection", b"close")
        return False

    def requestDone(self, request: WebRequest) -> None:
        self.setTimeout(IDLE_SECONDS)
        super().requestDone(request)

    def timeoutConnection(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class _Request(Request):
    """One that has no content, and comes from where it should."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        if length != 0:
            self.channel.loseConnection()

    def process(self) -> None:
        self.setHeader(b"cache-control", b"no-store")
        self.setHeader(b"x-content-type-options", b"nosniff")
        channel: Any = self.channel
        host = (self.getHeader(b"host") or b"").decode("latin-1")
        if not channel.site.local and host not in _OURS:
            self._refuse(421, b"this is asked for by address, or as localhost\n")
        elif self.method not in (b"GET", b"HEAD"):
            self.setHeader(b"allow", b"GET, HEAD")
            self._refuse(405, b"nothing can be changed here\n")
        else:
            super().process()

    def render(self, resrc: Any) -> None:
        self.setHeader(b"server", b"tcpdl")
        super().render(resrc)

    def _refuse(self, code: int, sentence: bytes) -> None:
        self.setResponseCode(code)
        self.setHeader(b"content-type", b"text/plain; charset=utf-8")
        self.setHeader(b"content-length", str(len(sentence)).encode("ascii"))
        self.write(sentence)
        self.finish()


class _Site(Site):
    """Keeps no log of its own."""

    noisy = False
    protocol = _Channel  # type: ignore[assignment] # in place of one that speaks HTTP/2, too

    def __init__(self, root: Any, *, local: bool) -> None:
        """`local`: it is on a Unix socket, where no browser can be lured to."""
        super().__init__(root, requestFactory=_Request, timeout=IDLE_SECONDS)
        self.local = local

    def startFactory(self) -> None:
        """Set no timer, as the base class does for its log: that is too early for ours."""

    def stopFactory(self) -> None:
        """There is nothing to stop."""

    def log(self, request: WebRequest) -> None:
        """Say nothing: it is asked every few seconds."""
