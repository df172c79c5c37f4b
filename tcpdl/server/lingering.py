"""A protocol that ends its connections so that the last byte arrives.

Imports the modules beside it. When a socket is closed while the client's bytes are unread, the
kernel resets the connection and throws away what it had still to send. So an end is a lingering
one: half-close, read and discard within bounds, close. It is the lesson of RFC 9112, section 9.6,
for every dialect.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import DirectTransport, direct, reset_if_lost, wire
from tcpdl.server.peer import peer_name
from tcpdl.server.progress import Look, Progress
from tcpdl.server.transfers import BROKEN, SLOW, STOPPED

LINGER_SECONDS = 10.0
"""How long a client may take to close after our last byte is in the kernel's hands."""

SOON = 0.5
"""The part of the time between two looks after which there is the second one, if at the first one
nothing had been sent yet."""

ACK_SECONDS = 0.5
"""The first look when all that is missing is word that the last bytes have arrived; each that finds
nothing new doubles it."""

LAST_SECONDS = 1.0
"""How long a client that is connected has to ask for something once the daemon ends."""

LINGER_BYTES = 1024 * 1024
"""How many bytes of a client are read only to be thrown away. More are left unread."""

_log = Logger()


@implementer(IHalfCloseableProtocol)
class LingeringProtocol(Protocol):
    """Base of the protocols whose last word is the server's.

    A subclass calls `owe` when it begins to send, `finish` after it has written all, and hands
    to `discard` what arrives and is no longer wanted. It may override `overdue` for deadlines of
    its own, and `drain` for an end of its own.
    """

    transport: Any
    peer_ended = False
    """The client has half-closed: it sends nothing more, and may well still read."""

    lost_as = BROKEN
    """What becomes of what the client is being sent, if the connection is lost now."""

    since: float | None = None
    """When the connection was made, if this is not the first protocol on it."""

    _finishing = False
    _half_closed = False
    _discarded = 0
    _progress: Progress | None = None  # while it is owed something
    _taken = 0  # bytes that had arrived at the last look
    _next_look = 0.0  # seconds from the last look to the next

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines

    def expect_request(self) -> None:
        """Its first request must come within `deadlines.times.request` of the connection."""
        since = self.deadlines.now() if self.since is None else self.since
        left = since + self.deadlines.times.request - self.deadlines.now()
        if self.deadlines.draining:
            left = min(left, LAST_SECONDS)
        self.deadlines.set(self, max(left, 0))

    def promise(self) -> None:
        """An answer will come: until `finish`, no other end of the connection is a clean one."""
        reset_if_lost(self.transport, True)

    def owe(self) -> None:
        """From now on the client is owed bytes, and must take them at `deadlines.times.pace`."""
        self._look(anew=True)

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

    def drain(self) -> None:
        """The daemon ends: so does the connection, once the client has what it has asked for."""
        if self._half_closed:
            self._watch(ACK_SECONDS)

    def cut(self) -> None:
        """The daemon ends, and waits no longer."""
        self.lost_as = STOPPED
        self.transport.abortConnection()

    def discard(self, data: bytes) -> None:
        """Throw away bytes that nobody asked for; past `LINGER_BYTES`, leave them unread."""
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.transport.pauseProducing()

    def overdue(self) -> None:
        """Look whether the client takes what it is owed, and whether all has arrived."""
        if self._half_closed and not self._unacknowledged():
            self.transport.loseConnection()
        else:
            self._look(anew=False)

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

    def owes(self) -> bool:
        """Whether anything is still on its way to the client; forgets how it came on, if not."""
        seen = self._see()
        if seen.under_way or seen.waiting:
            return True
        if self._progress is not None:
            self._progress = None
        return False

    def _look(self, *, anew: bool) -> None:
        if self._progress is None:
            self._progress = Progress(self.deadlines.times.pace)
        seen = self._see()
        if self._progress.is_too_slow(seen):
            self.deadlines.metrics.missed["stall"] += 1
            self.lost_as = SLOW
            _log.info(
                "{peer} is reset: it takes too little of the {left} bytes that it is still owed",
                peer=peer_name(self.transport.getPeer()),
                left=seen.under_way + seen.waiting,
            )
            self.transport.abortConnection()
        elif anew or seen.taken > self._taken:
            self._taken = seen.taken
            if not self._half_closed:
                # Before anything is sent there is nothing to measure by: soon there will be.
                soon = SOON if anew and not (seen.under_way or seen.waiting) else 1
                self._watch(self.deadlines.times.pace.look * soon)
            else:
                ends = self.peer_ended or self.deadlines.draining
                self._watch(ACK_SECONDS if ends else LINGER_SECONDS)
        else:
            self._watch(2 * self._next_look)

    def _watch(self, seconds: float) -> None:
        self._next_look = min(seconds, self.deadlines.times.pace.look)
        self.deadlines.set(self, self._next_look)

    def _see(self) -> Look:
        now = self.deadlines.now()
        # The socket tells, whatever wraps it.
        below = wire(self.transport)
        if not isinstance(below, DirectTransport):
            return Look(now, 0, self._finishing, 0, False)
        under_way = below.under_way()
        taken = below.bytes_sent - under_way
        if self._finishing and direct(self.transport) is None:
            under_way += 1  # the end of what wraps it, which cannot be asked for
        return Look(now, taken, under_way, below.waiting, below.held)

    def _unacknowledged(self) -> int:
        ours = direct(self.transport)
        return ours.unacknowledged() if ours is not None else 0

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.deadlines.clear(self)
