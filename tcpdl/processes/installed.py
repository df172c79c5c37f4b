"""Whether what is installed is still what this process runs. Imports Twisted for where it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import tcpdl
import twisted

FILES = (sys.executable, tcpdl.__file__, str(twisted.__file__))
"""The interpreter, the program, and what that is built on. An upgrade makes them anew."""


class Installed:
    """What there was when this was made."""

    def __init__(self, paths: Iterable[str] = FILES) -> None:
        self._before = {path: _identity(path) for path in paths}

    @property
    def replaced(self) -> bool:
        """Whether something else is there now. What is gone, or cannot be seen from here, as after
        `--chroot`, was not replaced."""
        return any(_identity(path) not in (None, was) for path, was in self._before.items())


def _identity(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
