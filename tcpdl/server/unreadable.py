"""What a disk has failed to give. Imports `content`."""

from __future__ import annotations

from tcpdl.content.source import Identity

UNREADABLE_MOST = 1000
"""Chunks that are known to have failed to be read."""


class Unreadable:
    """Chunks that were promised and could not be sent, since the disk failed. Before they are
    promised again they are read, so that a client that comes again is told why, and not cut off."""

    def __init__(self) -> None:
        self._chunks: set[tuple[Identity, int]] = set()

    def add(self, identity: Identity, index: int) -> None:
        if len(self._chunks) == UNREADABLE_MOST:
            self._chunks.clear()
        self._chunks.add((identity, index))

    def __contains__(self, chunk: tuple[Identity, int]) -> bool:
        return chunk in self._chunks
