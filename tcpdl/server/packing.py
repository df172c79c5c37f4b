"""How the entries of a tree are put into packs. Imports `wire`, `content` and `digest`.

All of it is for threads, and goes in steps: what takes long is not to keep them from others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tcpdl import digest
from tcpdl.content.digests import STEP, Digests
from tcpdl.content.errors import NotServed
from tcpdl.content.source import Source
from tcpdl.digest import FileEnded
from tcpdl.wire import pack
from tcpdl.wire.names import Name
from tcpdl.wire.pack import Entry

PACKED_AT_ONCE = 1000
"""Entries from which a pack is sent, however short: a client compares them while the next come. As
many make a step, where packs are made that go to other connections."""


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

    def packs(self, entries: Iterator[Entry | None]) -> Any:  # Generator[bytearray]
        """Packs, as soon as they are full, and nothing when a step is over; for threads. In place
        of an entry may come `None`, as of `with_roots`."""
        waiting: list[Entry] = []
        size = passed = 0
        for entry in entries:
            if entry is None:
                yield b""
                continue
            waiting.append(entry)
            # The size and not the content, which others that make the same packs may not have.
            size += entry.size if entry.kind == pack.FILE else len(entry.content)
            size += len(entry.name) + 32
            if size >= self._full or len(waiting) == PACKED_AT_ONCE:
                passed += len(waiting)
                is_mine = self.is_mine()
                packed = self._pack(waiting) if is_mine else b""
                waiting, size = [], 0  # what was packed is not held any longer
                self._number += 1
                if is_mine or passed >= PACKED_AT_ONCE:
                    passed = 0
                    yield packed
        if waiting and self.is_mine():
            yield self._pack(waiting)

    def _pack(self, entries: list[Entry]) -> bytearray:
        return pack.pack(entries, self._digest)


def with_roots(
    source: Source, digests: Digests, algorithm: int, folder: Name, entries: Iterator[Entry]
) -> Iterator[Entry | None]:
    """The `entries` of `folder`, with the root digest of each file that comes without its content;
    `None` when a step is over."""
    hashed = 0
    for entry in entries:
        if entry.kind != pack.LISTED:
            yield entry
            continue
        try:
            segments = folder.segments + tuple(entry.name.split(b"/"))
            file = source.open_file(Name(segments))
            try:
                shift = digest.chunk_shift(file.size)
                found = []
                for index in range(digest.chunk_count(file.size, shift)):
                    found.append(digests.chunk(file, algorithm, index))
                    hashed += 1 << shift
                    if hashed >= STEP:
                        hashed = 0
                        yield None
            finally:
                file.close()
            root = digest.root(algorithm, file.size, shift, found)
            yield entry._replace(size=file.size, mtime_ns=file.mtime_ns, content=root)
        except (NotServed, FileEnded, OSError) as problem:
            yield Entry(pack.LEFT_OUT, entry.name, content=str(problem).encode())
