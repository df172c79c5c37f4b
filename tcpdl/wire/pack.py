"""Packs: many entries of a tree in one message. Pure; imports `wire.native`.

PROTOCOL.md section 5 is the specification. A pack is a table of fixed records, then the names,
then the contents, then a digest of all that: each part is read in one call, whatever the
number of entries, and checked at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tcpdl.wire.names import MAX_NAME
from tcpdl.wire.native import DIGEST_SIZE, MAX_SIZE, PACK_MOST, ProtocolError, WrongUse

FILE = 1
"""A regular file; its content is its bytes."""
LISTED = 2
"""A regular file whose bytes are not in the pack; its content is its root digest, or nothing."""
FOLDER = 3
LINK = 4
"""A symbolic link; its content is its text."""
LEFT_OUT = 5
"""Something that is there and not handed out; its content is a sentence that says why."""

PACKED_FILE_MOST = 1024 * 1024
"""Longest content of one entry: a longer file is listed, and fetched by itself."""

PACK_FULL = 512 * 1024
"""Bytes from which a pack takes no more entries. With one more of the longest it stays far below
`PACK_MOST`."""

SHARE_FULL = 64 * 1024
"""The same for packs that are shared out to several connections, so that all get as much."""

ENTRIES_MOST = 65_535
"""Entries of one pack."""

_HEAD = struct.Struct("!II")
_RECORD = struct.Struct("!BxHIQq")


class Entry(NamedTuple):
    """One name of a tree."""

    kind: int
    name: bytes
    """From the top of the tree, segments joined by `/`; empty for the file that was itself asked
    for."""
    mode: int = 0
    """The permission bits: 0 to 0o777."""
    size: int = 0
    mtime_ns: int = 0
    content: bytes = b""
    """Of a file that was unpacked, a view of its bytes in the pack, and not a copy of them."""


Hash = Callable[[Any], bytes]
"""From bytes to their digest."""


def pack(entries: Iterable[Entry], digest: Hash) -> bytearray:
    """The bytes of a pack. Raises `WrongUse` for one that cannot be sent."""
    records, names, contents = [], [], []
    try:
        for kind, name, mode, size, mtime_ns, content in entries:
            problem = None
            if b"\0" in name or len(name) > MAX_NAME:
                raise WrongUse(f"an entry's name holds NUL or has {len(name)} bytes")
            if mode & ~0o777 or (problem := _problem(kind, size, len(content))):
                raise WrongUse(problem or f"mode {mode:#o} is more than permission bits")
            records.append(_RECORD.pack(kind, mode, len(content), size, mtime_ns))
            names.append(name)
            contents.append(content)
    except struct.error as error:
        raise WrongUse(f"an entry cannot be expressed: {error}") from None
    if len(records) > ENTRIES_MOST:
        raise WrongUse(f"a pack of {len(records)} entries; {ENTRIES_MOST} at most")
    table = b"".join(name + b"\0" for name in names)
    head = _HEAD.pack(len(records), len(table))
    packed = bytearray().join((head, *records, table, *contents))
    packed += digest(packed)
    if len(packed) > PACK_MOST:
        raise WrongUse(f"a pack of {len(packed)} bytes; {PACK_MOST} at most")
    return packed


def unpack(packed: bytes | bytearray, digest: Hash) -> list[Entry]:
    """The entries of a pack. Raises `Damaged` if its digest is wrong, and `ProtocolError`."""
    end = len(packed) - DIGEST_SIZE
    view = memoryview(packed)
    if digest(view[:end]) != view[end:]:
        raise Damaged("a part of the tree was damaged on its way")
    count, names_length = _HEAD.unpack_from(packed)
    names_at = _HEAD.size + count * _RECORD.size
    content_at = names_at + names_length
    if count > ENTRIES_MOST or content_at > end:
        raise ProtocolError(f"a pack of {count} entries in {len(packed)} bytes")
    names = bytes(view[names_at:content_at]).split(b"\0", count)
    if names.pop() or len(names) != count:
        raise ProtocolError(f"a pack of {count} entries with {len(names)} names")
    entries = []
    # Not from the view: iter_unpack over one has crashed CPython 3.11 while it collected garbage.
    records = _RECORD.iter_unpack(bytes(view[_HEAD.size : names_at]))
    for name, (kind, mode, length, size, mtime_ns) in zip(names, records, strict=True):
        following = content_at + length
        if following > end:
            raise ProtocolError("an entry's content goes beyond its pack")
        if len(name) > MAX_NAME:
            raise ProtocolError(f"an entry's name has {len(name)} bytes")
        if problem := _problem(kind, size, length):
            raise ProtocolError(problem)
        content: Any = view[content_at:following]
        if kind != FILE:
            content = bytes(content)
        entries.append(Entry(kind, name, mode & 0o777, size, mtime_ns, content))
        content_at = following
    if content_at != end:
        raise ProtocolError("a pack holds more than its entries")
    return entries


def _problem(kind: int, size: int, length: int) -> str | None:
    """What is wrong with an entry of this kind, of so many bytes, with so much content."""
    if not FILE <= kind <= LEFT_OUT:
        return f"an entry of the unknown kind {kind}"
    if not 0 <= size <= MAX_SIZE:
        return f"an entry of {size} bytes, more than there can be"
    if length > PACKED_FILE_MOST:
        return f"an entry's content has {length} bytes; {PACKED_FILE_MOST} at most"
    if kind == FILE and length != size:
        return f"a file of {size} bytes with {length} of them"
    if kind == LISTED and length not in (0, DIGEST_SIZE):
        return f"a root digest of {length} bytes"
    return None


class Damaged(Exception):
    """Bytes do not have the digest that they should have: ask for them again."""
