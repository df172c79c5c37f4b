"""What the system says of this process: memory, processor time, descriptors.

Imports the standard library only. What tells it is opened at the start: later, the daemon may not
open it any more. Where there is no /proc, the system says less.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import suppress

_PAGE = resource.getpagesize()


class ThisProcess:
    """Asks the system about this process."""

    def __init__(self) -> None:
        self.started = time.time()
        """In seconds since 1970."""
        self._began = time.monotonic()
        self._memory = -1
        self._descriptors = -1

    def begin(self) -> None:
        """Open what tells of this process, which has forked for the last time, and may still open
        it."""
        self.started, self._began = time.time(), time.monotonic()
        with suppress(OSError):
            self._memory = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            self._descriptors = os.open("/proc/self/fd", flags)

    def close(self) -> None:
        """Ask no more."""
        for fd in (self._memory, self._descriptors):
            if fd >= 0:
                os.close(fd)
        self._memory = self._descriptors = -1

    @property
    def uptime(self) -> float:
        """Seconds since the start, whatever became of the system's clock."""
        return time.monotonic() - self._began

    def figures(self) -> dict[str, float]:
        """What is known: `memory` in bytes, `cpu` in seconds, `descriptors` and their `limit`."""
        return dict(self._figures())

    def _figures(self) -> Iterator[tuple[str, float]]:
        times = os.times()
        yield "cpu", times.user + times.system
        with suppress(OSError, ValueError, IndexError):
            yield "memory", int(os.pread(self._memory, 128, 0).split()[1]) * _PAGE
        with suppress(OSError):
            # Linux counts them for whoever asks for the size; before 6.2 it has to be done here.
            count = os.fstat(self._descriptors).st_size
            yield "descriptors", count or len(os.listdir(self._descriptors))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            yield "limit", soft
