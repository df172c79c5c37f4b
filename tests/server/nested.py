"""Run by test_nested.py with the name of a reactor: connections served through a set inside it.

Each of them is checked from the other end of its socket, on the reactor's own turns. Exits with 0
if all went well.
"""

from __future__ import annotations

import socket
import struct
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

from twisted.application.reactors import installReactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.server.epoll import EpollSet
from tcpdl.server.transport import FileTransport

SIZE = 3_000_000


@implementer(IHalfCloseableProtocol)
class Served(Protocol):
    """Echoes until the client half-closes, then sends a file and half-closes as well."""

    transport: Any
    running: Any = None

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.told: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.told.append("read side lost")
        self.transport.sendFile(self._fd, 0, SIZE)
        self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        self.told.append("write side lost")
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert reason.type is not None
        self.told.append(reason.type.__name__)


def main(name: str) -> int:
    reactor: Any = installReactor(name)
    members = EpollSet(reactor)
    with tempfile.TemporaryFile() as file:
        file.write(b"\1" * SIZE)
        file.flush()
        served = [Served(file.fileno()) for _ in range(3)]
        listener = socket.create_server(("127.0.0.1", 0))
        clients = []
        for protocol in served:
            made: Any = protocol
            client = socket.create_connection(listener.getsockname())
            ours, address = listener.accept()
            server: Any = SimpleNamespace(_realPortNumber=0)
            transport: Any = FileTransport(ours, protocol, address, server, 0, members)
            made.makeConnection(transport)
            client.setblocking(False)
            clients.append(client)
        listener.close()
        got = b""

        def look() -> None:
            """The first client half-closes and reads, the second resets, the third stays."""
            nonlocal got
            try:
                data = clients[0].recv(65536)
            except BlockingIOError:
                data = b"."
            else:
                got += data
            if data:
                reactor.callLater(0, look)
            else:
                reactor.callLater(0, reactor.stop)

        clients[0].sendall(b"echo ")
        clients[0].shutdown(socket.SHUT_WR)
        clients[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        clients[1].close()
        reactor.callWhenRunning(look)
        too_long = reactor.callLater(20, reactor.stop)
        reactor.addSystemEventTrigger("before", "shutdown", too_long.cancel)
        reactor.run()
        for client in clients:
            client.close()

    assert got == b"echo " + b"\1" * SIZE
    assert served[0].told == ["read side lost", "write side lost", "ConnectionDone"]
    assert served[1].told == ["ConnectionLost"]
    assert served[2].told == ["ConnectionLost"], "the reactor's shutdown ends what is left"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
