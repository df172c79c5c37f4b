"""The part file of a download, and keeping account of what of it is right.

Imports `digest` and the modules beside it. Whoever wrote the bytes that are there, an earlier run,
curl or nc, they count only once they were found to have the digests that they should.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from tcpdl import digest
from tcpdl.client.errors import CannotWrite
from tcpdl.client.plan import Plan, Range
from tcpdl.client.receiving import cannot_write
from tcpdl.client.record import Record, Version
from tcpdl.client.target import Target


class Part:
    """The part file of one download, and its record."""

    def __init__(self, target: Target, version: Version, *, recorded: bool) -> None:
        """It becomes that `version`. What is right of it is kept account of if it is `recorded`.

        Raises `CannotWrite`.
        """
        self.target = target
        self.version = version
        self.record = Record(target.open_record()) if recorded else None
        self.kept = 0
        """Bytes that were there before, and right."""
        self.begun: set[int] = set()
        """Chunks whose beginning was there before, and is not checked yet."""

    @property
    def of_another(self) -> bool:
        """It was begun as a part of another version of the file."""
        version = self.record.version if self.record else None
        return version is not None and version != self.version

    def close(self) -> None:
        if self.record:
            self.record.close()

    def state(self, index: int, offset: int) -> Any:
        """A hash object for chunk `index`, with what is there of it before `offset`.

        Raises `CannotWrite`.
        """
        state = digest.hasher(self.version.algorithm)()
        start = index << self.version.shift
        if offset > start:
            try:
                digest.update_from(state, self.target.fd, start, offset - start)
            except (digest.FileEnded, OSError) as error:
                raise CannotWrite(f"the part cannot be read: {error}") from error
        return state

    def write(self, data: memoryview, offset: int) -> None:
        """Write `data` at `offset`. Raises `CannotWrite`."""
        try:
            while data:
                count = os.pwrite(self.target.fd, data, offset)
                data = data[count:]
                offset += count
        except OSError as error:
            raise cannot_write(error) from error

    def right(self, index: int, found: bytes) -> None:
        """Record that chunk `index` is there, and has the digest `found`. Raises `CannotWrite`."""
        if self.record:
            try:
                self.record.add(index, found)
            except OSError as error:
                raise cannot_write(error) from error

    def check_known(self, digests: dict[int, bytes], plan: Plan) -> set[int]:
        """Tell `plan` of the chunks that have these digests; return which."""
        found = set()
        for index, expected in digests.items():
            if index < plan.chunks and self.is_right(self.target.fd, plan.chunk(index), expected):
                start, end = plan.chunk(index)
                plan.checked(index)
                self.kept += end - start
                found.add(index)
        return found

    def is_right(self, fd: int, where: Range, expected: bytes) -> bool:
        """Whether the file `fd` has the digest `expected` at `where`. Raises `OSError`."""
        start, end = where
        try:
            found = digest.digest_of_range(self.version.algorithm, fd, start, end - start)
        except digest.FileEnded:
            return False
        return found == expected


def copy(source: int, out: int, start: int, end: int) -> None:
    """Copy a range; where the file system can, without copying its blocks."""
    while start < end:
        try:
            count = os.copy_file_range(source, out, end - start, start, start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            count = os.pwrite(out, os.pread(source, min(1 << 20, end - start), start), start)
        if not count:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        start += count
