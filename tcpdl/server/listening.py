"""Listening sockets, and the service that accepts connections on one of them.

Imports the modules beside it, and Twisted.

Ports are opened when the service is made, before it starts: that one is taken is then known
while there is still a terminal to say so on, and one below 1024 is opened before privileges are
dropped. They accept connections once the service runs.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.logger import ILogFilterPredicate, LogEvent, PredicateResult
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.server.accepting import Accepting, Door
from tcpdl.server.adopting import Adopted
from tcpdl.server.busy import Busy
from tcpdl.server.tls_transport import TlsFileTransport, UNIXTlsFileTransport
from tcpdl.server.transport import FileTransport, UNIXFileTransport

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn."""

KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 5}
"""Seconds of silence before the kernel asks whether a peer is there, seconds between two
questions, and how many of them stay unanswered: a peer that vanished is gone in 135 s."""

NOTSENT_LOWAT = 128 * 1024
"""Unsent bytes below which the kernel asks for more: two calls' worth (bench/sizes.py). It is
also what a slow client can make the kernel hold beyond its own window."""


_OF_PORTS = re.compile(r"\S+ starting on .+|\((?:TCP|UNIX) Port .+ Closed\)", re.DOTALL)


@implementer(ILogFilterPredicate)
class WithoutPorts:
    """Leaves out of a log what Twisted says of each port that is opened or closed: that is about
    our classes, and what is served where is said by us."""

    def __call__(self, event: LogEvent) -> Any:
        said = event.get("message")
        if said and isinstance(said, tuple) and _OF_PORTS.fullmatch(str(said[0])):
            return PredicateResult.no
        return PredicateResult.maybe


class CannotListen(Exception):
    """A port could not be opened; the text names it, why, and what to do."""


def bind(interface: str | None, port: int) -> socket.socket:
    """A TCP socket that listens on `port` of `interface`.

    `interface` is an address or a name that has one. `None` means every address, of IPv6 and,
    on the same socket, IPv4. Raises `CannotListen`.
    """
    if interface is not None:
        return _bind(*_find(interface, port))
    if _has_ipv6():
        return _bind(socket.AF_INET6, ("::", port))
    return _bind(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - every address is what was asked


def bind_several(interface: str | None, port: int, count: int) -> list[socket.socket]:
    """So many TCP sockets that listen on one port, as `bind` makes one. Who comes is shared out
    among them by the kernel, by a hash of both addresses. Raises `CannotListen`."""
    # The first one listens before it allows others beside it. So it finds a port in use that
    # another daemon has opened in the same way, and which would be shared with that one otherwise.
    socks = [bind(interface, port)]
    # One that the system has chosen a port for would lose it, should it not listen for a while.
    found = port == 0 and count > 1
    try:
        for _ in range(count - 1 + found):
            socks[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            socks.append(_bind(socks[0].family, socks[0].getsockname(), beside=True))
    except CannotListen:
        for sock in socks:
            sock.close()
        raise
    if found:
        socks.pop(0).close()
    return socks


def check_interface(interface: str) -> None:
    """Raise `CannotListen` if `interface`, as `bind` has it, is no address of this machine now."""
    family, address = _find(interface, 0)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(address)
        except OSError as error:
            raise CannotListen(_why_not(error, address)) from None


def _find(interface: str, port: int) -> tuple[int, Any]:
    """The family of addresses, and the address in it. Raises `CannotListen`."""
    try:
        found = socket.getaddrinfo(
            interface, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise CannotListen(f"{interface!r} is no address of this machine: {why}") from None
    return found[0][0], found[0][4]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bind(family: int, address: Any, *, beside: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if beside:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            every = address[0] == "::"
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not every)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise CannotListen(_why_not(error, address)) from None
    return sock


def _why_not(error: OSError, address: Any) -> str:
    host, port = address[:2]
    where = f"port {port}" if isinstance(port, int) else str(port)
    if host not in ("::", "0.0.0.0"):  # noqa: S104 - compared, not bound
        where += f" of {host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program; choose another, or stop that one"
    if error.errno == errno.EACCES:
        return f"{where} needs privileges that this user lacks; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine"
    return f"{where} cannot be opened: {error.strerror or error}"


def tune(sock: socket.socket) -> None:
    """Set options on a listening TCP socket; the sockets it accepts inherit them for free."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # One that is accepted only to be closed, since descriptors have run out, is reset: a clean end
    # without a byte would say that there is no such file.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # No TCP_USER_TIMEOUT: Linux counts it from when a peer's window was full first, and resets one
    # that reads 20 kB a second. Whether a peer takes what it is owed, we see (`server.progress`).
    for name, value in (*KEEPALIVE.items(), ("TCP_NOTSENT_LOWAT", NOTSENT_LOWAT)):
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Listening(Service):
    """One port: open from the moment it is made, accepting connections while it runs."""

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        connections: Callable[[], Any],
        accepting: Accepting,
        *,
        speaks: bool = True,
        **sending: Any,
    ) -> None:
        """Open the port of `endpoint`, which is then `port`.

        Raises `CannotListen` if that fails at once.
        `connections` gives what stands for the reactor in the eyes of the connections (see
        `server.epoll`); it is asked when the first is accepted. A client for which there is no
        room is told so in its dialect, if the port `speaks` those. The other arguments are those of
        `FileTransport`, by name; with `tls` among them, and nothing between the port and `factory`,
        those of `TlsFileTransport`.
        """
        self.factory = factory
        self.port: Any = None
        self.tls = False
        """Whether we speak TLS on it."""
        self._make_connections = connections
        self._accepting = accepting
        self._speaks = speaks
        self._kept = isinstance(endpoint, Adopted)  # by whoever opened it
        self._sending = sending
        failures: list[Failure] = []
        self._opening: Deferred[Any] = endpoint.listen(factory)
        self._opening.addCallback(self._opened)
        self._opening.addErrback(failures.append)
        if failures:
            error = failures[0].value
            raise CannotListen(why_not(error)) from error

    @property
    def bound(self) -> Any:
        """The address of the port as getsockname(2) gives it; nothing, if it is not open yet, or
        something else."""
        sock = getattr(self.port, "socket", None)
        return None if sock is None else sock.getsockname()

    def change(self, **sending: Any) -> None:
        """Make connections to come with these arguments in place of those that were given."""
        self._sending.update(sending)

    def startService(self) -> None:
        super().startService()
        self._opening.addCallback(self._start)

    def stopService(self) -> Deferred[None]:
        """Close the port. Connections that are open stay so."""
        super().stopService()
        return self._opening.addCallback(self._stop)

    def retire(self, *, last: bool) -> Deferred[None]:
        """Close the port, and turn away none of its clients: whoever is in its backlog is accepted,
        unless somebody else keeps it, and we are not the `last`. Fires when it is closed."""
        return self._opening.addCallback(self._retire, last)

    def _retire(self, port: Any, last: bool) -> Any:
        if not isinstance(port, tcp.Port) or (self._kept and not last):
            return self._stop(port)
        finished = self._accepting.finish(port, BACKLOG)
        return finished.addCallback(lambda _: self._stop(port))

    def _start(self, port: Any) -> Any:
        if isinstance(port, tcp.Port):
            self._accepting.start(port)
        return port

    def _stop(self, port: Any) -> Any:
        self._accepting.stop(port)
        return port and port.stopListening()

    def _opened(self, port: Any) -> Any:
        self.port = port
        if isinstance(port, tcp.Port):
            # Accepted connections are made by what `transport` is set to, as tcp.Port documents.
            tls = self._sending.pop("tls", None)
            local = isinstance(port, unix.Port)
            plain: Any = UNIXFileTransport if local else FileTransport
            kind = plain
            # Below an endpoint's own TLS, or a PROXY header, the first byte would mislead us.
            wrapped = port.factory is not self.factory
            if tls is not None and not wrapped:
                kind = UNIXTlsFileTransport if local else TlsFileTransport
                self._sending["tls"] = tls
                self.tls = True
            deadlines = self._accepting.deadlines
            refusal = partial(Busy, deadlines, speaks=self._speaks and not wrapped)
            # Before anything is made for a connection, what TLS takes included.
            behind: Any = port.factory
            door: Any = Door(behind, self._accepting, refusal)
            port.factory = door
            port.transport = partial(self._transport, door, kind, plain)  # type: ignore[assignment]
            if not local:
                tune(port.socket)
            # It is asked by what `Accepting` has the reactor look at. twistd forks, and may drop
            # privileges, between now and the start.
            port.stopReading()
        return port

    def _transport(self, door: Door, kind: Any, plain: Any, *args: Any) -> Any:
        *others, _reactor = args
        try:
            if door.refuses:
                metrics = self._sending.get("metrics")
                transport = plain(*others, self._make_connections(), metrics=metrics)
            else:
                transport = kind(*others, self._make_connections(), **self._sending)
        except BaseException:
            door.abandon()
            raise
        door.bind(transport)
        return transport


def no_folder(path: str) -> str:
    """Why there can be no Unix socket at `path`."""
    return f"there is no folder {os.path.dirname(path)} for the socket; make it"


def why_not(error: object) -> str:
    """Why an endpoint did not listen."""
    if isinstance(error, CannotListenError):
        if error.interface is None:
            return _why_no_socket(error.socketError, os.fsdecode(error.port))
        return _why_not(error.socketError, (error.interface or "::", error.port))
    if isinstance(error, FileNotFoundError) and error.filename2:
        return no_folder(os.fsdecode(error.filename2))  # of the lock of a Unix socket
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


def _why_no_socket(error: object, path: str) -> str:
    """The same of a Unix socket."""
    if isinstance(error, OSError):
        if error.errno == errno.ENOENT:
            return no_folder(path)
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"this user may not make a socket {path}"
        if error.errno != errno.EADDRINUSE:
            return f"{path} cannot be opened: {error.strerror or error}"
        if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
            return f"{path} is there already, and no socket; choose another"
    # Somebody has it, or has locked it.
    return f"{path} is in use by another program; choose another, or stop that one"


def adopt(reactor: Any, sock: socket.socket) -> IStreamServerEndpoint:
    """An endpoint that listens on `sock`, which it takes over."""
    return AdoptedStreamServerEndpoint(reactor, sock.detach(), sock.family)
