"""The part file of a download: what of it is right already, and keeping account of that.

Imports `wire`, `digest` and the modules beside it. Whoever wrote the bytes that are there, an
earlier run, curl or nc, they count only once they were found to have the digest that the server
names.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Set
from contextlib import suppress
from typing import Any, NamedTuple

from tcpdl import digest
from tcpdl.client.errors import CannotWrite, Changed, Garbled
from tcpdl.client.plan import Plan, Range
from tcpdl.client.progress import human
from tcpdl.client.receiving import cannot_write
from tcpdl.client.record import Record, Version
from tcpdl.client.session import Session, failure
from tcpdl.client.target import Target
from tcpdl.wire.native import (
    ANY_TAG,
    TO_END,
    Chunk,
    Digest,
    DigestList,
    End,
    Error,
    FileInfo,
    Get,
    GetDigests,
)

GRAIN = 64 * 1024
"""Where the data of a file ends can be told no finer than this: a page, or a block of the disk."""


class Account(NamedTuple):
    """What a server says that a file is."""

    info: FileInfo
    digests: tuple[bytes, ...]
    root: bytes
    """Of all chunks; of no meaning if only some were asked for."""


def account(
    session: Session, name: bytes, size: int, *, tag: bytes = ANY_TAG, count: int = TO_END
) -> Account:
    """Ask for the first `count` digests of the file `name`, which should have `size` bytes.

    If it has another size, there are no digests. Raises what `session.failure` makes of an error,
    and `ConnectionBroken`.
    """
    session.ask(lambda number: GetDigests(number, name, 0, count, tag))
    info: FileInfo | None = None
    digests: list[bytes] = []
    while not isinstance(message := session.next(), End):
        if isinstance(message, Error):
            raise failure(message, name)
        if isinstance(message, FileInfo):
            info = message
            # No more are taken than we have a use for, whatever the server says the file is.
            most = min(count, digest.chunk_count(size, info.chunk_shift))
            if info.size != size:
                return Account(info, (), b"")
        elif isinstance(message, DigestList) and info is not None:
            digests += message.digests
            if message.first + len(message.digests) != len(digests) or len(digests) > most:
                raise Garbled("the server's list of digests makes no sense")
        else:
            raise Garbled("the server answers out of place")
    if info is None or len(digests) < most:
        raise Garbled("the server's list of digests is too short")
    root = digest.root(session.algorithm, info.size, info.chunk_shift, digests)
    return Account(info, tuple(digests), root)


def fetch_chunk(session: Session, name: bytes, info: FileInfo, where: Range) -> bytes:
    """Ask for the one chunk of the file `name` that is at `where`. Nothing, if it was damaged.

    Raises what `session.failure` makes of an error, and `ConnectionBroken`.
    """
    start, end = where
    session.ask(lambda number: Get(number, name, start, end - start, info.tag))
    data, expected = b"", b""
    while not isinstance(message := session.next(), End):
        if isinstance(message, Error):
            raise failure(message, name)
        if isinstance(message, FileInfo):
            if (message.size, message.tag) != (info.size, info.tag):
                raise Changed("the file changed on the server")
        elif isinstance(message, Chunk) and not data and message.length == end - start:
            data = session.take(message.length)
        elif isinstance(message, Digest) and not expected:
            expected = message.digest
        else:
            raise Garbled("the server answers out of place")
    return data if session.digest(data) == expected else b""


class Part:
    """The part file of one download, and its record."""

    def __init__(self, target: Target, info: FileInfo, algorithm: int) -> None:
        """Raises `CannotWrite`."""
        self._target = target
        self._info = info
        self._algorithm = algorithm
        self._version = Version(info.size, info.chunk_shift, algorithm, info.tag)
        # One that is fetched in one go needs no record, nor has it one from before.
        small = target.is_new and info.size <= 1 << info.chunk_shift
        self._record = None if small else Record(target.open_record())
        self._fetched = 0, b""  # a chunk, and its bytes
        self.kept = 0
        """Bytes that were there before, and right."""
        self.begun: set[int] = set()
        """Chunks whose beginning was there before, and is not checked yet."""

    @property
    def of_another(self) -> bool:
        """It was begun as a part of another version of the file."""
        version = self._record.version if self._record else None
        return version is not None and version != self._version

    def close(self) -> None:
        if self._record:
            self._record.close()

    def take_stock(self, session: Session, name: bytes, plan: Plan, *, fresh: bool) -> bool:
        """Check what is there, and tell `plan`. Begins a new record, unless there is one.

        `fresh` if nothing is: then nothing is asked on the `session`.

        Returns whether the file was found complete under its final name, so that nothing is left
        to do. Raises `Changed`, `CannotWrite`, `ConnectionBroken`.
        """
        try:
            record = self._record
            if record is None:
                return False
            if fresh:
                record.begin(self._version)
                return False
            known: dict[int, bytes] = {}
            right: Set[int] = set()
            if not self._target.is_empty and record.version == self._version:
                right = self._check_known(record.digests, plan)
                known = record.digests
            else:
                if self._target.is_empty:
                    taken = self._take_stock_of_final(session, name, plan)
                    if taken is None:
                        return True
                    known, right = taken, taken.keys()
                else:
                    known = self._ask(session, name, os.fstat(self._target.fd).st_size, plan)
                    right = self._check_known(known, plan)
                # Not before all was asked for: what breaks meanwhile is asked for again.
                record.begin(self._version)
                for index in sorted(right):
                    record.add(index, known[index])
            wrong = known.keys() - right
            if os.fstat(self._target.fd).st_size > self._info.size:
                os.ftruncate(self._target.fd, self._info.size)
            self._find_beginnings(plan, wrong)
        except OSError as error:
            raise cannot_write(error) from error
        return False

    def check_space(self, needed: int) -> None:
        """Raise `CannotWrite` unless the disk has room for `needed` bytes more."""
        with suppress(OSError):
            disk = os.fstatvfs(self._target.fd)
            there = disk.f_bavail * disk.f_frsize
            # Where blocks are not counted (some network disks), there is nothing to go by.
            if disk.f_blocks and needed > there:
                raise CannotWrite(
                    f"{human(needed)}B are still to come, and the disk has room for {human(there)}B"
                )

    def state(self, index: int, offset: int) -> Any:
        """A hash object for chunk `index`, with what is there of it before `offset`.

        Raises `CannotWrite`.
        """
        state = digest.hasher(self._algorithm)()
        start = index << self._info.chunk_shift
        if offset > start:
            try:
                digest.update_from(state, self._target.fd, start, offset - start)
            except (digest.FileEnded, OSError) as error:
                raise CannotWrite(f"the part cannot be read: {error}") from error
        return state

    def write(self, data: memoryview, offset: int) -> None:
        """Write `data` at `offset`. Raises `CannotWrite`."""
        try:
            while data:
                count = os.pwrite(self._target.fd, data, offset)
                data = data[count:]
                offset += count
        except OSError as error:
            raise cannot_write(error) from error

    def right(self, index: int, found: bytes) -> None:
        """Record that chunk `index` is there, and has the digest `found`. Raises `CannotWrite`."""
        if self._record:
            try:
                self._record.add(index, found)
            except OSError as error:
                raise cannot_write(error) from error

    def _ask(self, session: Session, name: bytes, size: int, plan: Plan) -> dict[int, bytes]:
        """The server's digests of the chunks that `size` bytes hold in full."""
        count = plan.chunks if size >= plan.size else size >> plan.shift
        if not count:
            return {}
        found = account(session, name, plan.size, tag=self._info.tag, count=count)
        if (found.info.size, found.info.tag) != (self._info.size, self._info.tag):
            raise Changed("the file changed on the server")
        return dict(enumerate(found.digests))

    def _check_known(self, digests: dict[int, bytes], plan: Plan) -> set[int]:
        """Tell `plan` of the chunks that have these digests; return which."""
        found = set()
        for index, expected in digests.items():
            if index < plan.chunks and self._right(self._target.fd, plan.chunk(index), expected):
                start, end = plan.chunk(index)
                plan.checked(index)
                self.kept += end - start
                found.add(index)
        return found

    def _take_stock_of_final(
        self, session: Session, name: bytes, plan: Plan
    ) -> dict[int, bytes] | None:
        """Look at the file that has the final name: another program may have begun it.

        Returns the digests of the chunks that were taken from it; nothing if it is complete.
        """
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(self._target.name, flags, dir_fd=self._target.folder)
        except OSError:
            return {}
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return {}
            if not status.st_size:
                return {} if plan.size else None
            digests = self._ask(session, name, status.st_size, plan)
            right = {
                index: expected
                for index, expected in digests.items()
                if self._right(fd, plan.chunk(index), expected)
            }
            if len(right) == plan.chunks and status.st_size == plan.size:
                return None
            begun = len(right) == len(digests) and self._is_begun(
                fd, status.st_size, session, name, plan
            )
            if not (begun and self._target.adopt()):
                for index in right:
                    _copy(fd, self._target.fd, *plan.chunk(index))
            for index in right:
                start, end = plan.chunk(index)
                plan.checked(index)
                self.kept += end - start
            return right | self._use_fetched(plan)
        finally:
            os.close(fd)

    def _is_begun(self, fd: int, size: int, session: Session, name: bytes, plan: Plan) -> bool:
        """Whether the file `fd`, of `size` bytes, is but the beginning of the server's, if the
        chunks that it has in full are right. Else it is an older version, and kept until the end.
        """
        if size >= plan.size:
            return False
        index = size >> plan.shift
        start, end = plan.chunk(index)
        if start == size:
            return True
        # The server names the digests of whole chunks only: this one is needed either way.
        there = os.pread(fd, size - start, start)
        self._fetched = index, fetch_chunk(session, name, self._info, (start, end))
        return self._fetched[1].startswith(there)

    def _use_fetched(self, plan: Plan) -> dict[int, bytes]:
        index, data = self._fetched
        if not data:
            return {}
        self.write(memoryview(data), plan.chunk(index)[0])
        plan.checked(index)
        return {index: digest.digest(self._algorithm, data)}

    def _find_beginnings(self, plan: Plan, wrong: Set[int]) -> None:
        """Of the chunks that were not completed, keep what has come; it is checked with the rest.
        Of those that were completed, and are known to be `wrong`, nothing is kept.

        What was never written is a hole in the file, or lies beyond its end.
        """
        fd = self._target.fd
        at = plan.first_missing
        size = os.fstat(fd).st_size
        while at is not None and at < size:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
                end = os.lseek(fd, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # no data after this
                    return
                start, end = at, size
            index = start >> plan.shift
            while index << plan.shift < end:
                first, last = plan.chunk(index)
                # Of the last block, nobody knows how much is data.
                known = min(last, end if end == size else end - GRAIN)
                written = start <= first < known and plan.is_missing(first)
                if written and not (last <= end and index in wrong):
                    plan.have(first, known if known < last else last - 1)
                    self.begun.add(index)
                index += 1
            at = end

    def _right(self, fd: int, where: Range, expected: bytes) -> bool:
        start, end = where
        try:
            return digest.digest_of_range(self._algorithm, fd, start, end - start) == expected
        except digest.FileEnded:
            return False


def _copy(source: int, out: int, start: int, end: int) -> None:
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
