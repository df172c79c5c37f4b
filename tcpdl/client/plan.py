"""Which bytes of a file are still to be fetched, and which chunks to be checked. Pure.

Imports nothing of ours. Not safe for threads: whoever shares one holds a lock.
"""

from __future__ import annotations

from bisect import bisect_left, insort

Range = tuple[int, int]
"""From one offset up to, and not including, another."""


class Plan:
    """What is left to do of a file that is cut into chunks."""

    def __init__(self, size: int, shift: int) -> None:
        """Of `size` bytes in chunks of two to the power of `shift`, everything is missing."""
        self.size = size
        self.shift = shift
        self.chunks = -(-size >> shift)
        self._missing: list[Range] = [(0, size)] if size else []
        self._checked: set[int] = set()

    @property
    def done(self) -> bool:
        """Every chunk was found to be right."""
        return len(self._checked) == self.chunks

    @property
    def missing(self) -> int:
        """Bytes that nobody has been told to fetch."""
        return sum(end - start for start, end in self._missing)

    @property
    def first_missing(self) -> int | None:
        """Where the first of them is."""
        return self._missing[0][0] if self._missing else None

    def is_missing(self, offset: int) -> bool:
        """Whether nobody has been told to fetch the byte at `offset`."""
        return self.are_missing(offset, offset + 1)

    def are_missing(self, start: int, end: int) -> bool:
        """Whether nobody has been told to fetch some of the bytes from `start` to `end`."""
        return any(a < end and start < b for a, b in self._missing)

    def chunk(self, index: int) -> Range:
        """Where chunk `index` begins and ends."""
        return index << self.shift, min((index + 1) << self.shift, self.size)

    def have(self, start: int, end: int) -> None:
        """The bytes from `start` to `end` are there; they are not to be fetched."""
        if start >= end:
            return
        first = last = bisect_left(self._missing, (start, start))
        if first and self._missing[first - 1][1] > start:
            first -= 1
        while last < len(self._missing) and self._missing[last][0] < end:
            last += 1
        kept = [
            part
            for a, b in self._missing[first:last]
            for part in ((a, min(b, start)), (max(a, end), b))
            if part[0] < part[1]
        ]
        self._missing[first:last] = kept

    def checked(self, index: int) -> None:
        """Chunk `index` is there, and right."""
        self.have(*self.chunk(index))
        self._checked.add(index)

    def wrong(self, index: int) -> None:
        """Chunk `index` is there, and wrong: all of it is missing again."""
        self._checked.discard(index)
        self.give_back(*self.chunk(index))

    def take(self, most: int) -> Range | None:
        """The next missing bytes, in order: `most` at most, rounded up to the end of a chunk."""
        if not self._missing:
            return None
        start, end = self._missing[0]
        until = min(end, ((start + max(most, 1) - 1 >> self.shift) + 1) << self.shift)
        if until < end:
            self._missing[0] = (until, end)
        else:
            del self._missing[0]
        return start, until

    def take_within(self, start: int, end: int) -> Range | None:
        """The first missing bytes from `start` on, as far as they go, and no further than `end`.

        They begin where a chunk does, or where all before them in their chunk is there, and end
        where one does: so whoever fetches them can tell the digest of each chunk they complete.
        """
        within = (1 << self.shift) - 1
        end = self.size if end >= self.size else end & ~within
        for a, b in self._missing:
            first, last = a if a >= start else start + within & ~within, min(b, end)
            if first < last:
                self.have(first, last)
                return first, last
        return None

    def forget(self) -> None:
        """Everything is missing again."""
        self._missing = [(0, self.size)] if self.size else []
        self._checked.clear()

    def give_back(self, start: int, end: int) -> None:
        """The bytes from `start` to `end`, taken before, are missing still."""
        if start >= end:
            return
        at = bisect_left(self._missing, (start, end))
        while at < len(self._missing) and self._missing[at][0] <= end:
            end = max(end, self._missing.pop(at)[1])
        if at and self._missing[at - 1][1] >= start:
            before = self._missing.pop(at - 1)
            start, end = before[0], max(before[1], end)
        insort(self._missing, (start, end))
