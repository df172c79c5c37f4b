"""Listening on sockets that somebody else has opened, and keeps. Imports Twisted only."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer


class _UnixPort(unix.Port):
    """Twisted's own would change who may connect, and remove the socket in the end."""

    def __init__(self, sock: socket.socket, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(sock.getsockname() or b"\0", factory, reactor=reactor)
        self.socket = sock

    def startListening(self) -> None:
        factory: Any = self.factory
        factory.doStart()
        self.connected = True
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        leave_open(self)
        tcp.Port.connectionLost(self, reason)


def leave_open(port: Any) -> None:
    """Have the end of `port` close our descriptor of its socket, and not shut that down: it would
    end for all processes that listen on it."""
    port.socket.close()
    port.socket = socket.socket(port.addressFamily)


def adopt_port(reactor: Any, fd: int, family: int, factory: IProtocolFactory) -> IListeningPort:
    """Listen for `factory` on a descriptor, which is taken over. Whoever opened the socket removes
    it."""
    os.set_blocking(fd, False)
    if family == socket.AF_UNIX:
        unix_port = _UnixPort(socket.socket(fileno=fd), factory, reactor)
        unix_port.startListening()
        return unix_port
    port: IListeningPort = reactor.adoptStreamPort(fd, family, factory)
    os.close(fd)
    return port


@implementer(IStreamServerEndpoint)
class Adopted:
    """Listens on a descriptor as `adopt_port` does."""

    def __init__(self, reactor: Any, fd: int, family: int) -> None:
        self.fd = fd
        self._given = reactor, fd, family

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return execute(adopt_port, *self._given, protocolFactory)
