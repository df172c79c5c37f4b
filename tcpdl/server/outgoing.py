"""A file on its way out: what a transport that sends files promises, and what of it it still owes.

Imports Twisted, and `server.transfers` for what becomes of it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure

from tcpdl.server.transfers import FAILED

AHEAD = 8 * 1024 * 1024
"""How far ahead of what is sent the kernel is asked to read from the disk."""


class FileCutShort(Exception):
    """A file could not be sent to its promised end, so the connection was reset."""

    def __init__(self, sent: int, count: int, why: str, outcome: str = FAILED) -> None:
        """`outcome` is one of those of a transfer."""
        super().__init__(f"{sent} of {count} bytes sent: {why}")
        self.sent = sent
        self.count = count
        self.why = why
        self.outcome = outcome


class IFileTransport(ITCPTransport):
    """A TCP transport that sends files without copying them through the process."""

    def sendFile(fd: int, offset: int, count: int) -> Deferred[int]:  # noqa: N805
        """Send `count` bytes of the file `fd` from `offset`, after all that was written before.

        The descriptor must stay open until the Deferred fires: with `count` once the last byte
        is in the kernel's hands, or with a failure: `FileCutShort` if the file ended or could
        not be read before `count` bytes (the connection is then reset, so that a short file
        never looks whole), or the reason why the connection was lost. To cancel it is to reset
        the connection. It is an `Outgoing`'s, which tells how far it has got.
        """


class Outgoing(Deferred[int]):
    """A file in the queue of a transport: what of it is still to be sent. It fires when nothing is,
    as `IFileTransport.sendFile` has it."""

    def __init__(self, fd: int, offset: int, count: int, cancel: Callable[[Any], None]) -> None:
        super().__init__(cancel)
        self.fd = fd
        self.start = self.offset = offset
        self.end = offset + count
        self.advised = self.warm = offset
        self.copying = False

    @property
    def sent(self) -> int:
        """Bytes of it that are in the kernel's hands."""
        return self.offset - self.start

    def read_ahead(self) -> None:
        """Have the kernel read what comes next, if half of what it read before has been sent."""
        if self.end <= self.advised or self.offset + AHEAD // 2 < self.advised:
            return
        ahead = min(self.end - self.advised, AHEAD)
        with suppress(OSError):  # not every file can be read ahead; it was only advice
            os.posix_fadvise(self.fd, self.advised, ahead, os.POSIX_FADV_WILLNEED)
        self.advised += ahead

    def cut_short(self, why: str, outcome: str = FAILED) -> FileCutShort:
        """What it fails with if no more of it can be sent."""
        return FileCutShort(self.sent, self.end - self.start, why, outcome)


class Written(Outgoing):
    """Bytes that were written and have to wait; in the queue, nothing of a file, behind them. It
    fires with how many bytes were left before it: 0, unless the connection was lost."""

    def __init__(self, count: int, behind: int, transport: Any, queue: Queue) -> None:
        """The last `count` bytes that were written to `transport` but for some `behind` them, which
        it waits for as well; it is to stand in the `queue`."""
        super().__init__(-1, 0, 0, lambda _: None)
        self._count = count
        self._behind = behind
        self._transport = transport
        self._queue: Queue | None = queue
        self._left = 0

    @property
    def left(self) -> int:
        """Bytes that are still to be sent before it fires."""
        if self._queue is None:
            return self._left
        left: int = self._transport.waiting
        for one in reversed(self._queue):
            if one is self:
                break
            left -= len(one) if isinstance(one, bytes) else one.end - one.offset
        return left

    @property
    def sent(self) -> int:
        """Bytes of these that are in the kernel's hands."""
        return max(self._count - max(self.left - self._behind, 0), 0)

    def settle(self, left: int) -> None:
        """So many are left, and none of them is sent any more."""
        self._left, self._queue, self._transport = left, None, None

    def callback(self, left: int) -> None:  # type: ignore[override]
        self.settle(left)
        super().callback(left)


Queue = deque[Outgoing | bytes]
"""What is to be sent: files, and the bytes that were written after them."""


def holds_file(queue: Queue) -> bool:
    """Whether anything of a file is in `queue`."""
    return any(type(one) is Outgoing for one in queue)


def settle(queue: Queue) -> None:
    """The connection of `queue` is lost: what was sent is sent."""
    for item in queue:
        if isinstance(item, Written):
            item.settle(item.left)


def give_up(queue: Queue, reason: Failure) -> None:
    """Have all that was in `queue`, and is settled, know that the connection was lost."""
    for item in queue:
        if isinstance(item, Written):
            item.callback(item.left)
        elif isinstance(item, Outgoing) and not item.called:  # one may be cancelled
            # Not what `reason` holds, one for all: what is raised keeps its frames.
            kind: Any = reason.check(ConnectionAborted, ConnectionDone) or ConnectionLost
            item.errback(kind())
