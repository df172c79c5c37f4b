"""A protocol that answers requests in order, each when the one before has been dealt with.

Imports the modules beside it. What is common to the dialects that take more than one request on a
connection: waiting for our own threads, for the client to take what it was sent before more is made
for it, and for its next request.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import direct, encrypted, passed_on, unread
from tcpdl.server.lingering import LAST_SECONDS, LingeringProtocol
from tcpdl.server.peer import is_near, peer_name
from tcpdl.server.working import Stopped

UNSENT_MOST = 64 * 1024
"""Bytes that may wait to be sent when the next answer is begun: however many requests a client
sends, and however little it reads, no more than this and one answer is held for it."""

IN_A_ROW_MOST = 8
"""Requests that one client sent together and that are answered before others have their turn."""

CONGESTION = b"bbr"
"""The congestion control asked for on connections that leave the machine. On a link of 80 ms that
loses one packet of 200, it is 16 times as fast as cubic; where the kernel does not have it, or does
not let us, the system's own stays."""


_T = TypeVar("_T")


class Gone(Exception):
    """The connection was lost while it was being served."""


@implementer(IPushProducer)
class AnsweringProtocol(LingeringProtocol):
    """Base of the dialects that answer any number of requests."""

    def __init__(self, deadlines: Deadlines) -> None:
        super().__init__(deadlines)
        self._lost = False
        self._full: Deferred[None] | None = None
        self._answering = False
        self._since = 0.0  # when it began to wait for what the client is to send
        self._limit = 0.0  # for how many seconds it may take
        self._resting = False  # nothing is looked at before that

    @property
    def gone(self) -> bool:
        """The connection was lost. May be asked by any thread."""
        return self._lost

    @cached_property
    def peer(self) -> str:
        """The client, for the log."""
        return peer_name(self.transport.getPeer())

    @property
    def secure(self) -> bool:
        """Whether what is sent travels encrypted."""
        secure: bool = self.transport.secure if self._direct else encrypted(self.transport)
        return secure

    def hurry(self) -> None:
        """Have the connection use what is fast where packets get lost, if it leaves the machine."""
        if direct(self.transport) is None:
            return
        place = passed_on(self.transport)  # the way is that to the proxy then
        if not is_near(self.transport.getPeer() if place is None else place.by):
            handle = self.transport.getHandle()
            with suppress(OSError, AttributeError):
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)

    async def until(self, work: Deferred[Any]) -> Any:
        """What our own `work` comes to. Raises `Gone` if the connection is lost meanwhile."""
        try:
            return await work
        except Stopped:
            raise Gone from None
        finally:
            if self._lost:
                raise Gone

    def unless_gone(self, work: Callable[..., _T], *args: Any) -> _T:
        """What `work(*args)` gives; for threads, which have better things to do for clients that
        are there. Raises `Gone`."""
        if self._lost:
            raise Gone
        return work(*args)

    async def room(self) -> None:
        """Wait until the transport takes more, whose producer we are. Raises `Gone` if the
        connection is lost."""
        if self._full is not None:
            await self._full
        if self._lost:
            raise Gone

    @property
    def over(self) -> bool:
        """The daemon ends, and of what this client has sent, nothing is left to be read."""
        return self.deadlines.draining and not unread(self.transport)

    # Time.

    def wait_for(self, seconds: float) -> None:
        """All is answered, and `late` is called unless the client does something in `seconds`, or
        this is called again. What it was sent it has to take meanwhile."""
        self._since, self._limit = self.deadlines.clock.seconds(), seconds
        if self._resting:
            # What came was answered: so there is something to look at.
            self._watch(self.deadlines.times.pace.look)

    def wait_shortly(self) -> None:
        """All is answered, and the daemon ends: what the client had sent by then will come now."""
        self._since, self._limit = self.deadlines.now(), LAST_SECONDS
        self._resting = False
        self.deadlines.set(self, LAST_SECONDS)

    def late(self) -> None:
        """The client did nothing for as long as it may."""

    def overdue(self) -> None:
        if self._answering or self._finishing:
            super().overdue()
        elif (left := self._since + self._limit - self.deadlines.now()) <= 0:
            self.late()
        elif self.owes():
            super().overdue()
        else:
            self._resting = True
            self.deadlines.set(self, left)

    def _watch(self, seconds: float) -> None:
        self._resting = False
        if not (self._answering or self._finishing):
            left = self._since + self._limit - self.deadlines.now()
            seconds = min(seconds, max(left, 0))
        super()._watch(seconds)

    def makeConnection(self, transport: Any) -> None:
        self._direct = direct(transport) is not None
        super().makeConnection(transport)

    @property
    def crowded(self) -> bool:
        """Whether so much waits to be sent that no other answer is to be begun: see `drained`."""
        return not self._direct or self.transport.unsent > UNSENT_MOST

    async def drained(self) -> None:
        """Wait until little enough waits to be sent. Raises `Gone` if the connection is lost."""
        if not self._lost and self.crowded:
            self.transport.registerProducer(self, True)
            try:
                await self.room()
            finally:
                self.transport.unregisterProducer()

    # IPushProducer, while packs or pages are sent.

    def pauseProducing(self) -> None:
        if self._full is None:
            self._full = Deferred()

    def resumeProducing(self) -> None:
        full, self._full = self._full, None
        if full is not None:
            full.callback(None)

    def stopProducing(self) -> None:
        """The connection was lost."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self.resumeProducing()
        super().connectionLost(reason)
