"""A TCP connection that is made when it is needed, and can be ended from another thread.

Imports the modules beside it. What is spoken on it is for those that are made of it to know:
`client.session.Session` and `client.http.connection.Connection`.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from tcpdl.client.connect import connect, peer_of
from tcpdl.client.errors import CannotConnect, ConnectionBroken
from tcpdl.client.inlet import Inlet, round_trip
from tcpdl.client.receiving import broken, limit_waits

UNWANTED = "nothing more is wanted"


class Line:
    """A connection to a server, and another one later, if need be.

    Blocking; for one thread at a time, but for `interrupt`, `received` and `waited`.
    """

    def __init__(self, host: str, port: int, timeout: float, *, address: str = "") -> None:
        """`timeout`, in seconds, bounds the connecting, and then every wait for more bytes.

        With an `address`, that is connected to, and `host` is not looked up.
        """
        self.host = host
        self.port = port
        self._address = address
        self._timeout = timeout
        self._lock = threading.Lock()  # held to change what follows, and by other threads
        self._sock: socket.socket | None = None
        self._inlet: Inlet
        self._interrupted = False
        self._before = 0, 0.0  # on sockets that are closed

    @property
    def received(self) -> int:
        """Bytes that came."""
        with self._lock:
            return self._before[0] + (self._inlet.received if self._sock else 0)

    @property
    def waited(self) -> float:
        """Seconds spent waiting for runs of the file, and taking them from the kernel."""
        with self._lock:
            return self._before[1] + (self._inlet.waited if self._sock else 0.0)

    @property
    def round_trip(self) -> float:
        """Seconds from here to the server and back."""
        return round_trip(self._sock) if self._sock else 0.1

    @property
    def peer(self) -> str:
        """The address that it leads to; empty if that is not known any more."""
        return peer_of(self._sock) if self._sock else ""

    def open(self) -> None:
        """Connect, unless that is done. Raises `CannotConnect`, `ConnectionBroken`."""
        self._open()

    def bear(self, seconds: float) -> None:
        """Wait as long from now on."""
        self._timeout = seconds
        if self._sock is not None:
            limit_waits(self._sock, seconds)

    def interrupt(self) -> None:
        """End it for good, from another thread: whoever waits on it gets `ConnectionBroken`."""
        with self._lock:
            self._interrupted = True
            if self._sock is not None:
                with suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            if self._sock is not None:
                received, waited = self._before
                self._before = received + self._inlet.received, waited + self._inlet.waited
                self._sock.close()
                self._sock = None

    def _open(self) -> socket.socket:
        if self._sock is not None:
            return self._sock
        where = self._address or self.host
        try:
            sock = connect(where, self.port, self._timeout, lambda: not self._interrupted)
        except CannotConnect:
            if self._interrupted:
                raise ConnectionBroken(UNWANTED) from None
            raise
        limit_waits(sock, self._timeout)
        with self._lock:
            self._sock, self._inlet = sock, Inlet(sock)
            if self._interrupted:
                raise ConnectionBroken(UNWANTED)
        return sock

    def _send(self, data: bytes | bytearray) -> None:
        sock = self._open()
        try:
            sock.sendall(data)
        except OSError as error:
            raise broken(error, self.received) from error
