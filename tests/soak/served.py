"""What is served while the daemon is soaked: files whose every byte tells which version it is of.

Some stay as they are, some are replaced by new versions, some grow and are cut short. A `Book`
knows which version was there when, and so what a client may have been sent.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
from pathlib import Path
from typing import NamedTuple

BLOCK = 65536
_BASE = random.Random(1).randbytes(8 * BLOCK)

PAGE = 512
"""No larger than what the kernel has of a file in one piece."""

FIXED = 240
MOVING = 8
TORN = 4
SMALL_MOST = 20_000
LARGE = 12_000_000
"""Bytes of each of the `large` files."""

LARGE_NAMES = tuple(f"fixed/large/{number}" for number in range(3))
PRIVATE_NAMES = tuple(f"private/{number}" for number in range(10))

FORGOTTEN_AFTER = 300.0
"""Seconds for which a version is remembered: no answer takes longer."""


def content_of(version: int, start: int, count: int) -> bytes:
    """Bytes of a version, of whatever size it is. No two are alike."""
    parts = []
    first, last = start // BLOCK, (start + count - 1) // BLOCK
    for block in range(first, last + 1):
        at = (version * 7919 + block * 104_729) % (len(_BASE) - BLOCK)
        head = version.to_bytes(8, "big") + block.to_bytes(8, "big")
        parts.append(head + _BASE[at : at + BLOCK - len(head)])
    skipped = start - first * BLOCK
    return b"".join(parts)[skipped : skipped + count]


class Version(NamedTuple):
    """What a file was for a while."""

    number: int
    size: int
    since: float
    until: float


class Book:
    """Which versions there were when."""

    def __init__(self) -> None:
        self._versions: dict[str, list[Version]] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, number: int, size: int) -> None:
        """From now on this may be what `name` has; so may what it had before, until `end`."""
        now = time.monotonic()
        with self._lock:
            kept = self._versions.setdefault(name, [])
            kept[:] = [one for one in kept if one.until > now - FORGOTTEN_AFTER]
            kept.append(Version(number, size, now, math.inf))

    def end(self, name: str) -> None:
        """What `name` had before its newest version is there no longer."""
        now = time.monotonic()
        with self._lock:
            kept = self._versions[name]
            kept[:-1] = [one._replace(until=min(one.until, now)) for one in kept[:-1]]

    def names(self, folder: str) -> list[str]:
        """Of files below `folder`."""
        with self._lock:
            return sorted(name for name in self._versions if name.startswith(f"{folder}/"))

    def size(self, name: str) -> int:
        """Bytes of the newest version."""
        with self._lock:
            return self._versions[name][-1].size

    def of(self, name: str) -> bytes:
        """All of a file that stays as it is."""
        with self._lock:
            version = self._versions[name][-1]
        return content_of(version.number, 0, version.size)

    def check(
        self, name: str, data: bytes, asked: float, *, start: int = 0, whole: bool = True
    ) -> None:
        """Assert that `data` is what a version had from `start` on, all of it if `whole`, of which
        there was one since the time `asked`.

        The kernel sends files without copying them. What has been cut off in place is zeros then,
        in whatever was on its way to the client; the native dialect alone tells.
        """
        with self._lock:
            seen = [one for one in self._versions[name] if one.until >= asked]
        alike = _alike_but_for_zeros if name.startswith("torn/") else bytes.__eq__
        same = [
            one
            for one in seen
            if start + len(data) <= one.size
            and alike(bytes(data), content_of(one.number, start, len(data)))
        ]
        assert same, f"{name}: {len(data)} bytes from {start} on are of none of {seen}"
        if whole:
            least = min(one.size for one in same)
            ends = {one.size for one in same}
            end = start + len(data)
            # A file that grows may be met between two sizes.
            growing = name.startswith("torn/") and least <= end <= max(ends)
            assert end in ends or growing, f"{name}: {len(data)} bytes from {start} on, of {seen}"


def _alike_but_for_zeros(data: bytes, content: bytes) -> bool:
    pairs = ((data[at : at + PAGE], content[at : at + PAGE]) for at in range(0, len(data), PAGE))
    return all(ours == theirs or theirs.startswith(ours.rstrip(b"\0")) for ours, theirs in pairs)


class Files:
    """The files themselves, below `root`."""

    def __init__(self, root: Path, book: Book, seed: int) -> None:
        self._root = root
        self._book = book
        self._random = random.Random(f"files {seed}")
        self._next = 1
        self._numbers: dict[str, int] = {}  # of the newest version of each file
        self.replaced = self.cut = self.grown = 0

    def make(self) -> None:
        """Write all of them."""
        for number in range(FIXED):
            self._write(f"fixed/small/{number:03}", self._small())
        for name in LARGE_NAMES:
            self._write(name, LARGE + self._small())
        for name in PRIVATE_NAMES:
            self._write(name, self._small() or 1)
        for number in range(MOVING):
            self._write(f"moving/{number}", self._moving(number))
        for number in range(TORN):
            self._write(f"torn/{number}", self._random.randint(1, 4_000_000))

    def change(self) -> None:
        """Replace a file, cut one short, or have one grow."""
        kind = self._random.choice(("replace", "replace", "cut", "grow"))
        if kind == "replace":
            number = self._random.randrange(MOVING)
            self._write(f"moving/{number}", self._moving(number))
            self.replaced += 1
            return
        name = f"torn/{self._random.randrange(TORN)}"
        size = self._book.size(name)
        version = self._numbers[name]
        if kind == "grow" and size < 6_000_000:
            more = self._random.randint(1, 500_000)
            self._book.begin(name, version, size + more)
            with open(self._root / name, "ab") as file:
                file.write(content_of(version, size, more))
            self.grown += 1
        else:
            left = self._random.randint(0, size)
            self._book.begin(name, version, left)
            os.truncate(self._root / name, left)
            self.cut += 1
        self._book.end(name)

    def _write(self, name: str, size: int) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        version, self._next = self._next, self._next + 1
        new = self._root.parent / "new"
        new.write_bytes(content_of(version, 0, size))
        self._book.begin(name, version, size)
        new.rename(path)
        self._book.end(name)
        self._numbers[name] = version

    def _small(self) -> int:
        return self._random.choice((0, 1, 1000, self._random.randint(0, SMALL_MOST)))

    def _moving(self, number: int) -> int:
        return self._random.randint(1, 3_000_000 if number % 2 else SMALL_MOST)
