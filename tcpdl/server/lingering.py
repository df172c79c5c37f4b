"""A protocol that ends its connections so that the last byte arrives.

Imports `server.transport` and `server.deadlines`. When a socket is closed while the client's
bytes are unread, the kernel resets the connection and throws away what it had still to send. So
an end is a lingering one: half-close, read and discard within bounds, close. It is the lesson of
RFC 9112, section 9.6, for every dialect.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import direct, reset_if_lost

LINGER_SECONDS = 10.0
"""How long a client may take to close after our last byte is in the kernel's hands."""

STALL_SECONDS = 60.0
"""How long a client may take nothing of what it is owed. It is reset at the next look after."""

LOOK_SECONDS = 15.0
"""How long between two looks at whether it did."""

ACK_SECONDS = 0.5
"""The first of these when all that is missing is word that the last bytes have arrived; each
that finds nothing new doubles it."""

LINGER_BYTES = 1024 * 1024
"""How many bytes of a client are read only to be thrown away. More are left unread."""


@implementer(IHalfCloseableProtocol)
class LingeringProtocol(Protocol):
    """Base of the protocols whose last word is the server's.

    A subclass calls `owe` when it begins to send, `finish` after it has written all, and hands
    to `discard` what arrives and is no longer wanted. It may override `overdue` for deadlines of
    its own.
    """

    transport: Any
    peer_ended = False
    """The client has half-closed: it sends nothing more, and may well still read."""

    _finishing = False
    _half_closed = False
    _discarded = 0
    _taken = 0  # bytes that had arrived at the last look
    _since = 0.0  # when that was
    _look = LOOK_SECONDS

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines

    def promise(self) -> None:
        """An answer will come: until `finish`, no other end of the connection is a clean one."""
        reset_if_lost(self.transport, True)

    def owe(self) -> None:
        """From now on the client is owed bytes, and must take some every `STALL_SECONDS`."""
        self._taken = self._arrived()
        self._since = self.deadlines.now()
        if not self._half_closed:
            self._watch(LOOK_SECONDS)
        elif self.peer_ended:
            self._watch(ACK_SECONDS)
        else:
            self._watch(LINGER_SECONDS)

    def finish(self) -> None:
        """End the connection once everything written has been sent."""
        if self._finishing:
            return
        self._finishing = True
        reset_if_lost(self.transport, False)
        self.owe()
        if direct(self.transport) is None:
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def discard(self, data: bytes) -> None:
        """Throw away bytes that nobody asked for; past `LINGER_BYTES`, leave them unread."""
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.transport.pauseProducing()

    def overdue(self) -> None:
        """Look whether the client takes what it is owed, and whether all has arrived."""
        if self._half_closed and not self._unacknowledged():
            self.transport.loseConnection()
        elif self._arrived() > self._taken:
            self.owe()
        elif self.deadlines.now() - self._since < STALL_SECONDS:
            self._watch(2 * self._look)
        else:
            self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """The client half-closed."""
        self.peer_ended = True
        if self._half_closed:
            self._close_if_all_arrived()

    def writeConnectionLost(self) -> None:
        """Our half-close is on its way, behind everything that was written."""
        self._half_closed = True
        self._close_if_all_arrived()

    def _close_if_all_arrived(self) -> None:
        # A socket that was closed while bytes were on their way is an orphan: should memory be
        # short, or orphans many, the kernel drops what it had still to send.
        if self.peer_ended and not self._unacknowledged():
            self.transport.loseConnection()
        else:
            self.owe()

    def _watch(self, seconds: float) -> None:
        self._look = min(seconds, LOOK_SECONDS)
        self.deadlines.set(self, self._look)

    def _arrived(self) -> int:
        # A layer of Twisted's forwards the question to the transport below it, as it should.
        sent: int = getattr(self.transport, "bytes_sent", 0)
        return sent - self._unacknowledged()

    def _unacknowledged(self) -> int:
        ours = direct(self.transport)
        return ours.unacknowledged() if ours is not None else 0

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.deadlines.clear(self)
