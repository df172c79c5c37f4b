"""A connection that is made when it is needed, under TLS or not, and can be ended from another
thread.

Imports the modules beside it. What is spoken on it is for those that are made of it to know:
`client.session.Session` and `client.http.connection.Connection`.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from tcpdl.client.connect import connect, peer_of
from tcpdl.client.errors import CannotConnect, ConnectionBroken
from tcpdl.client.inlet import Inlet, round_trip
from tcpdl.client.receiving import broken, limit_waits
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways

if TYPE_CHECKING:
    from tcpdl.client.credentials import Login
    from tcpdl.client.tls import Tls

UNWANTED = "nothing more is wanted"

TLS_BEGINS = b"\x15\x03"
"""How a server that speaks TLS answers what is none: with an alert (RFC 8446, section 6)."""

SPEAKS_TLS = "the server speaks TLS there; write tcpdls:// or https://"


class Line:
    """A connection to a server, and another one later, if need be.

    Blocking; for one thread at a time, but for `interrupt`, `received` and `waited`.
    """

    protocols: tuple[str, ...] = ("tcpdl/1", "http/1.1")
    """What may be spoken, for TLS to know (RFC 7301)."""

    def __init__(self, place: Location, ways: Ways, *, address: str = "") -> None:
        """To the server of `place`. The timeout of `ways` bounds the connecting, the handshake of
        TLS, and then every wait for more bytes.

        With an `address`, that is connected to, and the host is not looked up.
        """
        self.place = place
        self._access = ways.access
        self._address = address
        self._timeout = ways.timeout
        self._lock = threading.Lock()  # held to change what follows, and by other threads
        self._sock: socket.socket | None = None
        self._tls: Tls | None = None
        self._inlet: Inlet
        self._interrupted = False
        self._before = 0, 0.0  # on sockets that are closed

    @property
    def going_away(self) -> bool:
        """The server has said that it ends this connection: that it breaks is no failure."""
        return False

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

    @property
    def login(self) -> Login | None:
        """What to log in with on this connection, which is open. Raises `BadRequest`."""
        return self._access.login_for(self.place, self.peer)

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
                if self._tls is not None:
                    self._tls.end()
                self._sock.close()
                self._sock = self._tls = None

    def _open(self) -> socket.socket | Tls:
        """What to send to."""
        if self._sock is None:
            self._connect()
        assert self._sock is not None
        return self._tls or self._sock

    def _connect(self) -> None:
        place = self.place
        where = self._address or place.host
        try:
            sock = connect(where, place.port, self._timeout, lambda: not self._interrupted)
        except CannotConnect:
            if self._interrupted:
                raise ConnectionBroken(UNWANTED) from None
            raise
        limit_waits(sock, self._timeout)
        with self._lock:
            self._sock, self._inlet = sock, Inlet(sock)
            if self._interrupted:
                raise ConnectionBroken(UNWANTED)
        if place.tls:
            try:
                tls = self._access.secure(sock, place, self.protocols, self._timeout)
            except BaseException as error:
                self.close()
                if isinstance(error, OSError):
                    raise broken(error, 0) from error
                raise
            with self._lock:
                self._tls, self._inlet = tls, Inlet(tls)

    def _send(self, data: bytes | bytearray) -> None:
        out = self._open()
        try:
            out.sendall(data)
        except OSError as error:
            raise broken(error, self.received) from error
