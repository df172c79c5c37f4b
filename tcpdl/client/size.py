"""How large a file may be: as it is wanted, and as there is room. Imports the modules beside it."""

from __future__ import annotations

import os
from contextlib import suppress

from tcpdl.client.errors import NoRoom, TooLarge
from tcpdl.client.progress import human
from tcpdl.client.receiving import Progress

LOOK = 64 * 1024 * 1024
"""Bytes of a file whose size nobody says, after which it is looked whether there is room for more;
and twice as many are left free."""


def check_size(size: int, most: int | None) -> None:
    """Raise `TooLarge` if a file of `size` bytes has more than the `most` that are wanted."""
    if most is not None and size > most:
        raise TooLarge(f"the file has {size} bytes, and no more than {most} are wanted")


def check_space(fd: int, needed: int) -> None:
    """Raise `NoRoom` unless there is room for `needed` bytes more where the file `fd` is."""
    there = free_space(fd)
    if there is not None and needed > there:
        raise NoRoom(
            f"{human(needed)}B are still to come, and the disk has room for {human(there)}B"
        )


def free_space(fd: int) -> int | None:
    """Bytes that there is room for where the file `fd` is; `None` where nobody can tell."""
    with suppress(OSError):
        disk = os.fstatvfs(fd)
        # Where blocks are not counted (some network disks), there is nothing to go by.
        if disk.f_blocks:
            return disk.f_bavail * disk.f_frsize
    return None


class Watch:
    """Watches a file come whose size nobody has said: it may have no end. Is told of its bytes, as
    a `Progress` is, and tells that of them."""

    def __init__(self, progress: Progress, most: int | None, fd: int | None) -> None:
        """No more than `most` are wanted, nor more than there is room for where the file `fd`
        is."""
        self._progress = progress
        self._most = most
        self._fd = fd
        self._size = 0
        self._look = LOOK

    def __call__(self, count: int) -> None:
        """Raises `TooLarge`, `NoRoom`."""
        self._size += count
        if self._most is not None and self._size > self._most:
            raise TooLarge(f"more than {self._most} bytes come, and no more are wanted")
        if self._fd is not None and self._size >= self._look:
            self._look += LOOK
            there = free_space(self._fd)
            if there is not None and there < 2 * LOOK:
                raise NoRoom(
                    f"after {human(self._size)}B, the disk has room for {human(there)}B, and "
                    "nobody says how much is still to come"
                )
        self._progress(count)
