"""Reads file pages from the disk in threads, so that sending them does not block the reactor.

Imports `server.threads`. `sendfile` waits for the disk when a page is not in memory, and everybody
else waits with it. Linux can say whether a read would wait (`preadv2` with RWF_NOWAIT): pages that
would are first read by a thread, and thrown away; they are in memory then. Pages that are there,
and file systems that cannot tell (tmpfs has no disk; NFS does not say), are sent at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import Service

from tcpdl.server.threads import Threads

WARM_MOST = 1024 * 1024
"""Bytes a thread reads before what it read is sent: some ten milliseconds of a slow disk."""

THREADS = 8
"""Disk reads under way at once, not counting those that take long; more wait for their turn."""

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_BYTE = [bytearray(1)]


def would_wait(fd: int, position: int) -> bool | None:
    """Whether reading the byte at `position` of `fd` would wait for the disk; `None` if that
    cannot be told, of this file at all or because the read will fail anyway."""
    if not _NOWAIT:
        return None
    try:
        os.preadv(fd, _BYTE, position, _NOWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


class Warmer(Service):
    """The threads that read."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.threads = Threads(reactor, "tcpdl-disk", THREADS)
        self.reads = 0
        """How often something was read that was not in memory."""
        self.bytes_read = 0

    def startService(self) -> None:
        super().startService()
        self.threads.start()

    def stopService(self) -> None:
        super().stopService()
        self.threads.stop()

    def warm(self, fd: int, offset: int, count: int, done: Callable[[], None]) -> None:
        """Read `count` bytes from `offset` of the file `fd`, then call `done` in the reactor.

        The descriptor may be closed meanwhile. An error while reading is not reported: whoever
        sends the bytes will meet it again. Raises `OSError` if no descriptor is left to read by.
        """
        mine = os.dup(fd)
        self.reads += 1
        self.bytes_read += count

        def read() -> None:
            try:
                with suppress(OSError):
                    os.preadv(mine, [bytearray(count)], offset)
            finally:
                os.close(mine)
                self._reactor.callFromThread(done)

        self.threads.do(read)
