"""Answers that are kept to be sent again: those with small files. Imports `content`.

A file whose identity is what it was has the bytes that it had, so to look at it is enough; to open,
read and close it takes three times as long (bench/web.py).
"""

from __future__ import annotations

from typing import NamedTuple

from tcpdl.content.source import Identity

FILE_MOST = 16 * 1024
"""Bytes of a file that is kept: what is longer takes longer to be sent than to be opened."""

BYTES_MOST = 16 * 1024 * 1024
"""Bytes of all that is kept."""

KEPT_SECONDS = 1.0
"""For how long a file is not read again. What a program writes through memory that it has mapped
leaves no sign until the system writes it to the disk."""

_OVERHEAD = 1024  # of names, identities and dictionaries, at the most

Segments = tuple[bytes, ...]


class Kept(NamedTuple):
    """What a file is answered with."""

    identity: Identity
    until: float
    """On the monotonic clock."""
    fields: bytes
    data: bytes

    @property
    def size(self) -> int:
        return len(self.fields) + len(self.data) + _OVERHEAD


class KeptAnswers:
    """Answers by the segments of names; the oldest make room for new ones."""

    def __init__(self, most: int = BYTES_MOST) -> None:
        self._most = most
        self._all: dict[Segments, Kept] = {}
        self.size = 0
        """Bytes they take."""
        self.get = self._all.get

    def put(self, segments: Segments, kept: Kept) -> None:
        """Keep this for the name, in place of what was kept."""
        self.drop(segments)
        self._all[segments] = kept
        self.size += kept.size
        while self.size > self._most:
            self.drop(next(iter(self._all)))

    def drop(self, segments: Segments) -> None:
        """Forget what is kept for the name, if anything is."""
        kept = self._all.pop(segments, None)
        if kept is not None:
            self.size -= kept.size
