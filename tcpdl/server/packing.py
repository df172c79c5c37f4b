"""How the entries of a tree are put into packs. Imports `wire.pack`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tcpdl.wire import pack
from tcpdl.wire.pack import Entry

PACKED_AT_ONCE = 1000
"""Entries from which a pack is sent, however short: a client compares them while the next come."""


class Packing:
    """Makes packs of entries, and hands out one of every so many."""

    def __init__(self, digest: pack.Hash, share: int = 0, shares: int = 1) -> None:
        self._digest = digest
        self._share = share
        self._shares = shares
        self._full = pack.PACK_FULL if shares == 1 else pack.SHARE_FULL
        self._number = 0

    def is_mine(self) -> bool:
        """Whether the pack that is being made is one to be handed out."""
        return self._number % self._shares == self._share

    def packs(self, entries: Iterator[Entry]) -> Any:  # Generator[bytearray]
        """Packs, as soon as they are full; for threads."""
        waiting: list[Entry] = []
        size = 0
        for entry in entries:
            waiting.append(entry)
            # The size and not the content, which others that make the same packs may not have.
            size += entry.size if entry.kind == pack.FILE else len(entry.content)
            size += len(entry.name) + 32
            if size >= self._full or len(waiting) == PACKED_AT_ONCE:
                if self.is_mine():
                    yield self._pack(waiting)
                self._number += 1
                waiting, size = [], 0
        if waiting and self.is_mine():
            yield self._pack(waiting)

    def _pack(self, entries: list[Entry]) -> bytearray:
        return pack.pack(entries, self._digest)
