"""What is known of a part file, kept beside it: which chunks were checked, and their digests.

Imports `client.target` and `wire.native`. The record is only ever appended to, so that a process
that is killed leaves one that is right as far as it goes. It is trusted in nothing but what the
server said: the bytes of the part are checked again against it.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import NamedTuple

from tcpdl.client.target import Target
from tcpdl.wire.native import CHUNK_SHIFTS, DIGEST_SIZE, MAX_SIZE, TAG_SIZE

_MAGIC = b"tcpdl record 1\n"
_HEAD = struct.Struct(f"!{len(_MAGIC)}sQBB{TAG_SIZE}s")
_ENTRY = struct.Struct(f"!Q{DIGEST_SIZE}s")


HTTP_TAG = b"http"
"""How the tags begin of versions that a web server named."""


class Version(NamedTuple):
    """Which file it is a part of, and what the digests are of."""

    size: int
    shift: int
    algorithm: int
    tag: bytes
    """The server's; over HTTP, one that is made of what it said."""


class Record:
    """The record of one part file, open."""

    def __init__(self, fd: int) -> None:
        """Take over the descriptor `fd` and read what it holds; `version` is `None` if that is
        not a record, or was written by another release."""
        self._fd = fd
        self.version: Version | None = None
        self.digests: dict[int, bytes] = {}
        """Of the chunks that were found to be right, by index."""
        with open(fd, "rb", closefd=False) as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            magic, *values = _HEAD.unpack(head)
            version = Version(*values)
            if magic != _MAGIC or version.shift not in CHUNK_SHIFTS or version.size > MAX_SIZE:
                return
            rest = file.read()
        self.version = version
        whole = len(rest) - len(rest) % _ENTRY.size
        self.digests = dict(_ENTRY.iter_unpack(rest[:whole]))
        # What was broken off in the middle of an entry is written over.
        os.lseek(fd, _HEAD.size + whole, os.SEEK_SET)

    def begin(self, version: Version) -> None:
        """Forget all, and begin the record of a part of `version`. Raises `OSError`."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._write(_HEAD.pack(_MAGIC, *version))
        self.version = version
        self.digests = {}

    def add(self, index: int, digest: bytes) -> None:
        """Chunk `index` has `digest`. Raises `OSError`."""
        self.digests[index] = digest
        self._write(_ENTRY.pack(index, digest))

    def _write(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        if written < len(data):  # what follows half an entry could not be read
            os.lseek(self._fd, -written, os.SEEK_CUR)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        os.close(self._fd)


def begun_over_http(target: Target) -> bool:
    """Whether the record of `target`, which has one, is of a download over HTTP. Raises
    `CannotWrite`."""
    record = Record(target.open_record())
    record.close()
    return record.version is not None and record.version.tag.startswith(HTTP_TAG)
