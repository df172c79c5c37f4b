"""The sockets that all workers listen on: the parent opens and keeps them.

Imports `tcpdl.ports`, `server` and Twisted. A TCP port has a socket for each worker, among which
the kernel shares out who comes (SO_REUSEPORT): each has its own queue, and those who wait in one
are served by whoever has that socket next. Where nobody will have it soon, it rests, and the kernel
gives those who come to the others. Of what cannot be opened more than once (Unix sockets,
those of systemd), all workers share what there is.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from tcpdl.options.daemon import Options
from tcpdl.ports import Opened, announce, endpoint, named
from tcpdl.server.adopting import Adopted, adopt_port, leave_open
from tcpdl.server.listening import BACKLOG, CannotListen, bind_several, tune, why_not

_CANNOT = (
    "this kind of endpoint cannot be shared by several processes; "
    "use tcp:, tls:, unix: or systemd:, or leave --workers out"
)


class Shared(NamedTuple):
    """A port of all workers."""

    kind: str
    """As in `Opened`."""
    family: int
    sockets: tuple[int, ...]
    """Descriptors of those that listen on it; the parent keeps them."""
    description: str | None = None
    """As in `Opened`."""
    wrapped: bool = False
    """There is something between the port and us, which its endpoint has to make again."""
    ours: bool = False
    """We have opened a socket for each worker, and nobody else has them."""

    @property
    def address(self) -> Any:
        """Where it is reached: an `IPv4Address`, an `IPv6Address`, or nothing."""
        where = _name(self.sockets[0])
        if self.family == socket.AF_INET:
            return IPv4Address("TCP", *where)
        return IPv6Address("TCP", *where) if self.family == socket.AF_INET6 else None

    def of(self, worker: int, workers: int) -> Sequence[int]:
        """Those that `worker`, from 0, of so many listens on: one at least, and each has one."""
        count = len(self.sockets)
        if count <= workers:
            return [self.sockets[worker % count]]
        return self.sockets[worker::workers]


class Handed(NamedTuple):
    """What a worker is told of one of the sockets that it was given."""

    fd: int
    kind: str
    family: int
    description: str | None
    wrapped: bool


def open_shared(options: Options, workers: int, reactor: Any) -> tuple[list[Shared], list[Any]]:
    """Open the ports that `options` name, for so many workers.

    Also returns the ports of Unix sockets, which are removed in the end. Raises `CannotListen`.
    """
    shared: list[Shared] = []
    ports: list[Any] = []
    try:
        for port in named(options):
            if port.description is not None:
                opener = _Opener(reactor, port.kind, port.description, workers)
                shared.append(opener.open())
                ports += opener.ports
            elif port.handed is None:
                socks = bind_several(port.interface, port.number, workers)
                shared.append(_of(port.kind, socks, ours=True))
            else:
                shared.append(_of(port.kind, [port.open()], ours=False))
            announce(options, port.kind, _name(shared[-1].sockets[0]))
    except CannotListen:
        close(shared, ports)
        raise
    return _together(shared), ports


def close(shared: Iterable[Shared], ports: Iterable[Any]) -> None:
    """Close all of them, at once: the reactor may never run."""
    for port in ports:
        leave_open(port)  # workers may have to accept who waits
        port.connectionLost(Failure(ConnectionDone()))
    for one in shared:
        for fd in one.sockets:
            with suppress(OSError):
                os.close(fd)


def rest(shared: Iterable[Shared], worker: int, workers: int) -> None:
    """Have others accept who comes for `worker`, from 0 of so many, until it listens again, as it
    does by `adopt_handed`. Who waits for it by now is reset."""
    for one in shared:
        if one.ours:
            for fd in one.of(worker, workers):
                with socket.socket(fileno=os.dup(fd)) as sock, suppress(OSError):  # it does already
                    sock.shutdown(socket.SHUT_RDWR)


def _of(kind: str, socks: Sequence[socket.socket], **more: Any) -> Shared:
    family = socks[0].family
    if family != socket.AF_UNIX:
        for sock in socks:
            tune(sock)  # for those, too, that come before a worker is there
    return Shared(kind, family, tuple(sock.detach() for sock in socks), **more)


def _together(shared: Iterable[Shared]) -> list[Shared]:
    """Take those for one that are on the same address: each worker needs one of them only."""
    found: dict[Any, Shared] = {}
    for one in shared:
        key = one.kind, one.family, _name(one.sockets[0]), one.wrapped, len(found) * one.wrapped
        before = found.get(key)
        if before is not None:
            both = before.sockets + one.sockets
            one = before._replace(sockets=both, ours=before.ours and one.ours)
        found[key] = one
    return list(found.values())


def _name(fd: int) -> Any:
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.getsockname()


class _Opener:
    """Stands for the reactor before an endpoint, and opens what that would listen on."""

    def __init__(self, reactor: Any, kind: str, description: str, workers: int) -> None:
        self.ports: list[Any] = []
        self._reactor = reactor
        self._kind = kind
        self._description = description
        self._workers = workers
        self._factory = Factory.forProtocol(Protocol)
        self._factory.noisy = False
        self._opened: Shared | None = None

    def open(self) -> Shared:
        """Raises `CannotListen`."""
        errors: list[Any] = []
        try:
            endpoint(self, self._description).listen(self._factory).addErrback(errors.append)
        except AttributeError as error:  # it asks the reactor for something else
            raise self._cannot(_CANNOT) from error
        if errors:
            if errors[0].check(AttributeError):
                raise self._cannot(_CANNOT)
            raise self._cannot(why_not(errors[0].value))
        if self._opened is None:
            raise self._cannot(_CANNOT)
        return self._opened

    def _cannot(self, why: object) -> CannotListen:
        return CannotListen(f"--listen {self._description}: {why}")

    def _set(self, socks: Sequence[socket.socket], factory: object, *, ours: bool = False) -> None:
        self._opened = _of(
            self._kind,
            socks,
            description=self._description,
            wrapped=factory is not self._factory,
            ours=ours,
        )

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> None:
        every = interface or "0.0.0.0"  # noqa: S104 - every address is what was asked
        self._set(bind_several(every, port, self._workers), factory, ours=True)

    def listenSSL(
        self, port: int, factory: IProtocolFactory, contextFactory: Any, **kwargs: Any
    ) -> None:
        self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), **kwargs)

    def listenUNIX(
        self, address: str, factory: IProtocolFactory, *args: Any, **kwargs: Any
    ) -> None:
        port = self._reactor.listenUNIX(address, factory, *args, **kwargs)
        port.stopReading()
        self.ports.append(port)
        self._set([socket.socket(fileno=os.dup(port.fileno()))], factory)

    def adoptStreamPort(self, fd: int, family: int, factory: IProtocolFactory) -> None:
        if factory is not self._factory:
            raise ValueError("what is passed to us cannot be wrapped with --workers")
        self._set([socket.socket(fileno=os.dup(fd))], factory)


class _Adopter:
    """Stands for the reactor before an endpoint: a socket is there already."""

    def __init__(self, reactor: Any, handed: Handed) -> None:
        self._reactor = reactor
        self._handed = handed

    def listenTCP(self, port: int, factory: IProtocolFactory, *args: Any, **kwargs: Any) -> Any:
        return adopt_port(self._reactor, self._handed.fd, self._handed.family, factory)

    def listenSSL(
        self, port: int, factory: IProtocolFactory, contextFactory: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory))

    def listenUNIX(self, address: str, factory: IProtocolFactory, *args: Any, **kwargs: Any) -> Any:
        return self.listenTCP(0, factory)


def adopt_handed(reactor: Any, handed: Handed) -> Opened:
    """The port that a worker was given a socket of, which may have rested. Raises `CannotListen`
    and `OSError`."""
    with socket.socket(fileno=os.dup(handed.fd)) as sock:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(BACKLOG)
    if handed.wrapped and handed.description is not None:
        again = endpoint(_Adopter(reactor, handed), handed.description)
        return Opened(handed.kind, again, handed.description)
    return Opened(handed.kind, Adopted(reactor, handed.fd, handed.family), handed.description)
