"""What a mirror is to do, and what it has done. Imports `client.filters`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tcpdl.client.filters import Filters

LEFT_OUT_MOST = 1000
"""Names that are remembered with why they were left out; of more, only the number is."""

MAKE, WRITE, SET, JOIN, DELETE = "make", "write", "set", "link", "delete"
"""What is done to a name: a folder made, a file written, its mode or time set, a link made."""


_NO_FILTERS = Filters()


class Wishes(NamedTuple):
    """How a tree is to be mirrored."""

    delete: bool = False
    dry_run: bool = False
    checksum: bool = False
    links: bool = False
    filters: Filters = _NO_FILTERS
    most: int | None = None
    """The most bytes that a file may have."""
    told: Callable[[str, bytes], None] | None = None
    """Hears of everything that is done, or would be: what, and the name."""


class Tally:
    """What was done so far."""

    def __init__(self) -> None:
        self.files = self.size = 0
        self.unchanged = 0
        self.links = self.links_left_out = 0
        self.deleted = 0
        self.left_out: list[tuple[bytes, str]] = []
        self.left_out_count = 0

    def leave_out(self, name: bytes, why: str) -> None:
        self.left_out_count += 1
        if len(self.left_out) < LEFT_OUT_MOST:
            self.left_out.append((name, why))

    def begin_pass(self) -> None:
        """What is found anew in each pass is counted anew."""
        self.unchanged = -self.files
        self.links_left_out = self.left_out_count = 0
        self.left_out = []
