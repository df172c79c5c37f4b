"""The records of a zip archive whose files are stored as they are. Pure; imports nothing of ours.

PKWARE's APPNOTE is the specification. All that is kept of a file until the end is its entry in the
central directory, as bytes: an eighth of what the standard library's `zipfile` keeps, which also
cannot write names that are not UTF-8.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

DIRECTORY_MOST = 16 * 1024 * 1024
"""Bytes of a central directory, which is in memory until it is sent: room for 150,000 names of 50
bytes."""

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_DESCRIPTOR = struct.Struct("<4sLLL")
_DESCRIPTOR_64 = struct.Struct("<4sLQQ")
_ENTRY = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
_END_64 = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR_64 = struct.Struct("<4sLQL")
_EXTRA = struct.Struct("<HH")
_STAMP = struct.Struct("<HHBl")

_VERSION, _VERSION_64 = 20, 45
_UNIX = 3 << 8
_DESCRIBED = 0x08
"""The checksum comes after the bytes."""
_UTF8 = 0x800
_SHORT, _LONG = 0xFFFF, 0xFFFFFFFF
"""In place of numbers that do not fit: an extra field or another record has them."""
_REGULAR, _FOLDER = 0o100000, 0o040000
_PIECE = 256 * 1024
_FOLDER_IN_DOS = 0x10
_EARLIEST, _LATEST = 315_532_800, 4_354_819_199
"""What DOS can express: the years from 1980 to 2107."""


def directory_size(name: bytes) -> int:
    """Bytes that a file or folder called `name` takes in the central directory, at most."""
    return _ENTRY.size + len(name) + 1 + _STAMP.size + _EXTRA.size + 3 * 8


class _Member(NamedTuple):
    """What is known of a file or folder before its bytes are."""

    name: bytes
    mode: int
    offset: int
    flags: int
    time: int
    date: int
    stamp: bytes

    def local(self, checksum: int, size: int) -> bytes:
        """The header before its bytes."""
        known = not self.flags & _DESCRIBED
        large = size >= _LONG
        extra = self.stamp + (_EXTRA.pack(1, 16) + bytes(16) if large else b"")
        shown = _LONG if large else size if known else 0
        version = _VERSION_64 if large else _VERSION
        header = _LOCAL.pack(
            *(b"PK\3\4", version, self.flags, 0, self.time, self.date),
            *(checksum, shown, shown, len(self.name), len(extra)),
        )
        return header + self.name + extra

    def entry(self, checksum: int, size: int) -> bytes:
        """Its entry in the central directory."""
        numbers = [size, size] if size >= _LONG else []
        if self.offset >= _LONG:
            numbers.append(self.offset)
        extra = self.stamp
        if numbers:
            extra += _EXTRA.pack(1, 8 * len(numbers))
            extra += b"".join(number.to_bytes(8, "little") for number in numbers)
        version = _VERSION_64 if numbers else _VERSION
        dos = _FOLDER_IN_DOS if self.mode & _FOLDER else 0
        size = min(size, _LONG)
        entry = _ENTRY.pack(
            *(b"PK\1\2", _UNIX | version, version, self.flags, 0, self.time, self.date),
            *(checksum, size, size, len(self.name), len(extra), 0, 0, 0),
            *(self.mode << 16 | dos, min(self.offset, _LONG)),
        )
        return entry + self.name + extra


class Zip:
    """One archive. It makes everything but the bytes of the files, in the order they are sent in.

    `mtime` is in seconds since 1970. Besides, there is the time as DOS has it: in UTC, within the
    years that it can express.
    """

    def __init__(self) -> None:
        self._directory = bytearray()
        self._count = 0
        self._offset = 0
        """Bytes of the archive so far."""
        self._begun: tuple[_Member, int] | None = None

    def has_room_for(self, name: bytes) -> bool:
        """Whether the central directory can take one more."""
        return len(self._directory) + directory_size(name) <= DIRECTORY_MOST

    def folder(self, name: bytes, mode: int, mtime: int) -> bytes:
        """What stands for a folder."""
        return self._known(self._member(name + b"/", _FOLDER | mode, mtime, 0), b"")

    def file(self, name: bytes, mode: int, mtime: int, content: bytes) -> bytes:
        """What comes before the bytes of a file that are all at hand."""
        return self._known(self._member(name, _REGULAR | mode, mtime, 0), content)

    def begin(self, name: bytes, mode: int, mtime: int, size: int) -> bytes:
        """What comes before the bytes of a file that are yet to be read; `finish` has to follow."""
        member = self._member(name, _REGULAR | mode, mtime, _DESCRIBED)
        header = member.local(0, size)
        self._begun = member, size
        self._offset += len(header) + size
        return header

    def finish(self, checksum: int) -> bytes:
        """What comes after these bytes, of which `checksum` is the CRC-32."""
        assert self._begun is not None
        member, size = self._begun
        self._begun = None
        form = _DESCRIPTOR_64 if size >= _LONG else _DESCRIPTOR
        described = form.pack(b"PK\7\10", checksum, size, size)
        self._offset += len(described)
        self._list(member, checksum, size)
        return described

    def end(self) -> Iterator[bytes]:
        """What ends the archive: its central directory, some of it at a time."""
        for start in range(0, len(self._directory), _PIECE):
            yield bytes(self._directory[start : start + _PIECE])
        count, size, offset = self._count, len(self._directory), self._offset
        end = b""
        if count >= _SHORT or offset >= _LONG:
            versions = (_UNIX | _VERSION_64, _VERSION_64)
            end = _END_64.pack(
                *(b"PK\6\6", _END_64.size - 12, *versions, 0, 0),
                *(count, count, size, offset),
            )
            end += _LOCATOR_64.pack(b"PK\6\7", 0, offset + size, 1)
        count, offset = min(count, _SHORT), min(offset, _LONG)
        end += _END.pack(b"PK\5\6", 0, 0, count, count, size, offset, 0)
        yield end

    def _known(self, member: _Member, content: bytes) -> bytes:
        checksum, size = crc32(content), len(content)
        header = member.local(checksum, size)
        self._offset += len(header) + size
        self._list(member, checksum, size)
        return header

    def _member(self, name: bytes, mode: int, mtime: int, flags: int) -> _Member:
        if not name.isascii() and _is_utf8(name):
            flags |= _UTF8
        year, month, day, hour, minute, second, *_ = time.gmtime(
            max(_EARLIEST, min(mtime, _LATEST))
        )
        stamp = _STAMP.pack(0x5455, 5, 1, mtime) if -(2**31) <= mtime < 2**31 else b""
        return _Member(
            *(name, mode, self._offset, flags),
            *(hour << 11 | minute << 5 | second // 2, year - 1980 << 9 | month << 5 | day),
            stamp,
        )

    def _list(self, member: _Member, checksum: int, size: int) -> None:
        self._directory += member.entry(checksum, size)
        self._count += 1


def _is_utf8(text: bytes) -> bool:
    return text.decode("utf-8", "ignore").encode() == text
