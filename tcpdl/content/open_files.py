"""How many files are open to be sent, and how many may be. Imports the errors beside it."""

from __future__ import annotations

import os

from tcpdl.content.errors import Unavailable


class OpenFiles:
    """Descriptors of files, and of folders that are looked through. For any thread."""

    def __init__(self, most: int = 0) -> None:
        self.most = most
        """From how many on there is no other for who asks for one; 0: there is always another."""
        self._all: set[int] = set()

    def __len__(self) -> int:
        return len(self._all)

    def check(self) -> None:
        """Raise `Unavailable` if there are too many for another one to be opened."""
        if self.most and len(self._all) >= self.most:
            raise Unavailable("too many files are open; ask again later")

    def add(self, fd: int) -> int:
        """`fd` was opened. It is counted, whether or not there are too many."""
        self._all.add(fd)
        return fd

    def close(self, fd: int) -> None:
        """Close it. Closing one that was not counted is no error."""
        self._all.discard(fd)  # before another file gets its number
        os.close(fd)
