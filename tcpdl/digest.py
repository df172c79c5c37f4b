"""The digests that both ends compute. Imports `tcpdl.wire`, and blake3 where it is installed.

PROTOCOL.md section 4.6 is the specification. A file is cut into chunks of one size; each chunk has
a digest, and the root digest is one over those, so that a file is known by 32 bytes and yet can be
checked, continued and mended piece by piece.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from tcpdl.wire.native import BLAKE3, CHUNK_SHIFTS, SHA256

try:
    from blake3 import blake3 as _blake3
except ImportError:
    _blake3 = None  # type: ignore[assignment, misc]

PIECE = 1024 * 1024
"""Bytes hashed at a time. They stay in a processor's cache between being read and being hashed; and
each time the interpreter's lock is given up and taken again, which others wait for."""

_ROOT = b"tcpdl root 1"

Hasher = Callable[..., Any]
"""What makes a hash object, as `hashlib.sha256` does."""

AVAILABLE: int = SHA256 | (BLAKE3 if _blake3 is not None else 0)
"""The digests that can be computed here, as a preface names them."""


class FileEnded(Exception):
    """A file is shorter than it should be."""


def hasher(algorithm: int) -> Hasher:
    """What computes the digest `algorithm`, `SHA256` or `BLAKE3`. Raises `LookupError`."""
    if algorithm == SHA256:
        import hashlib  # it takes a while to import, and is seldom what is agreed on

        return hashlib.sha256
    if algorithm == BLAKE3 and _blake3 is not None:
        return _blake3
    raise LookupError(f"the digest {algorithm} cannot be computed here")


def choose(offered: int) -> int:
    """The best digest of those `offered` that can be computed here, or 0."""
    common = offered & AVAILABLE
    return BLAKE3 if common & BLAKE3 else common & SHA256


def digest(algorithm: int, *parts: bytes | bytearray | memoryview) -> bytes:
    """The digest of all `parts`, one after the other."""
    state = hasher(algorithm)()
    for part in parts:
        state.update(part)
    hashed: bytes = state.digest()
    return hashed


def digest_of_range(algorithm: int, fd: int, offset: int, count: int) -> bytes:
    """The digest of `count` bytes of the file `fd` from `offset`.

    For threads: it lets others run while it reads and hashes. Raises `FileEnded` and `OSError`.
    """
    state = hasher(algorithm)()
    update_from(state, fd, offset, count)
    hashed: bytes = state.digest()
    return hashed


def update_from(state: Any, fd: int, offset: int, count: int) -> None:
    """Add `count` bytes of the file `fd` from `offset` to the hash object `state`.

    Raises `FileEnded` and `OSError`.
    """
    buffer = memoryview(bytearray(min(PIECE, count)))
    end = offset + count
    while offset < end:
        got = os.preadv(fd, [buffer[: end - offset]], offset)
        if not got:
            raise FileEnded(f"it ends at {offset}, not at {end}")
        state.update(buffer[:got])
        offset += got


def chunk_shift(size: int) -> int:
    """The chunks a file of `size` bytes is cut into have 2 to the power of this many bytes.

    Small ones where a chunk that is damaged or broken off should cost little; large ones where
    there would be too many. Servers that agree on this agree on root digests.
    """
    for shift, most in ((20, 1 << 27), (22, 1 << 29), (23, 1 << 36)):
        if size <= most:
            return shift
    return CHUNK_SHIFTS[-1]


def chunk_count(size: int, shift: int) -> int:
    """Chunks of a file: none if it is empty; the last may be shorter."""
    return -(-size >> shift)


def root(algorithm: int, size: int, shift: int, digests: Iterable[bytes]) -> bytes:
    """The root digest of a file of `size` bytes with the chunk `digests`."""
    state = hasher(algorithm)(_ROOT + size.to_bytes(8, "big") + bytes([shift]))
    for one in digests:
        state.update(one)
    hashed: bytes = state.digest()
    return hashed
