"""What of a part is right already, by the account of a server of the native dialect.

Imports `wire`, `digest` and the modules beside it. Chunks that are on record are checked against
that; for others, the server is asked what they should be.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Set
from typing import NamedTuple

from tcpdl import digest
from tcpdl.client.errors import Changed, Garbled
from tcpdl.client.part import Part, copy
from tcpdl.client.plan import Plan, Range
from tcpdl.client.receiving import cannot_write
from tcpdl.client.record import Version
from tcpdl.client.session import Session, failure
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


def fetch_chunk(session: Session, name: bytes, version: Version, where: Range) -> bytes:
    """Ask for the one chunk of the file `name` that is at `where`. Nothing, if it was damaged.

    Raises what `session.failure` makes of an error, and `ConnectionBroken`.
    """
    start, end = where
    session.ask(lambda number: Get(number, name, start, end - start, version.tag))
    data, expected = b"", b""
    while not isinstance(message := session.next(), End):
        if isinstance(message, Error):
            raise failure(message, name)
        if isinstance(message, FileInfo):
            if (message.size, message.tag) != (version.size, version.tag):
                raise Changed("the file changed on the server")
        elif isinstance(message, Chunk) and not data and message.length == end - start:
            data = session.take(message.length)
        elif isinstance(message, Digest) and not expected:
            expected = message.digest
        else:
            raise Garbled("the server answers out of place")
    return data if session.digest(data) == expected else b""


class Stock:
    """What is here of the file `name`, of the version that `part` becomes."""

    def __init__(self, part: Part, session: Session, name: bytes, plan: Plan) -> None:
        self._part = part
        self._target = part.target
        self._version = part.version
        self._session = session
        self._name = name
        self._plan = plan
        self._fetched = 0, b""  # a chunk, and its bytes

    def take(self, *, fresh: bool) -> bool:
        """Check what is there, and tell the plan. Begins a new record, unless there is one.

        `fresh` if nothing is: then nothing is asked on the session.

        Returns whether the file was found complete under its final name, so that nothing is left
        to do. Raises `Changed`, `CannotWrite`, `ConnectionBroken`.
        """
        try:
            record = self._part.record
            if record is None:
                return False
            if fresh:
                record.begin(self._version)
                return False
            known: dict[int, bytes] = {}
            right: Set[int] = set()
            if not self._target.is_empty and record.version == self._version:
                right = self._part.check_known(record.digests, self._plan)
                known = record.digests
            else:
                if self._target.is_empty:
                    taken = self._of_final()
                    if taken is None:
                        return True
                    known, right = taken, taken.keys()
                else:
                    known = self._ask(os.fstat(self._target.fd).st_size)
                    right = self._part.check_known(known, self._plan)
                # Not before all was asked for: what breaks meanwhile is asked for again.
                record.begin(self._version)
                for index in sorted(right):
                    record.add(index, known[index])
            wrong = known.keys() - right
            if os.fstat(self._target.fd).st_size > self._version.size:
                os.ftruncate(self._target.fd, self._version.size)
            self._find_beginnings(wrong)
        except OSError as error:
            raise cannot_write(error) from error
        return False

    def _ask(self, size: int) -> dict[int, bytes]:
        """The server's digests of the chunks that `size` bytes hold in full."""
        plan, version = self._plan, self._version
        count = plan.chunks if size >= plan.size else size >> plan.shift
        if not count:
            return {}
        found = account(self._session, self._name, plan.size, tag=version.tag, count=count)
        if (found.info.size, found.info.tag) != (version.size, version.tag):
            raise Changed("the file changed on the server")
        return dict(enumerate(found.digests))

    def _of_final(self) -> dict[int, bytes] | None:
        """Look at the file that has the final name: another program may have begun it.

        Returns the digests of the chunks that were taken from it; nothing if it is complete.
        """
        plan = self._plan
        fd = self._target.open_final()
        if fd is None:
            return {}
        try:
            size = os.fstat(fd).st_size
            if not size:
                return {} if plan.size else None
            digests = self._ask(size)
            right = {
                index: expected
                for index, expected in digests.items()
                if self._part.is_right(fd, plan.chunk(index), expected)
            }
            if len(right) == plan.chunks and size == plan.size:
                return None
            begun = len(right) == len(digests) and self._is_begun(fd, size)
            if not (begun and self._target.adopt()):
                for index in right:
                    copy(fd, self._target.fd, *plan.chunk(index))
            for index in right:
                start, end = plan.chunk(index)
                plan.checked(index)
                self._part.kept += end - start
            return right | self._use_fetched()
        finally:
            os.close(fd)

    def _is_begun(self, fd: int, size: int) -> bool:
        """Whether the file `fd`, of `size` bytes, is but the beginning of the server's, if the
        chunks that it has in full are right. Else it is an older version, and kept until the end.
        """
        plan = self._plan
        if size >= plan.size:
            return False
        index = size >> plan.shift
        start, end = plan.chunk(index)
        if start == size:
            return True
        # The server names the digests of whole chunks only: this one is needed either way.
        there = os.pread(fd, size - start, start)
        self._fetched = index, fetch_chunk(self._session, self._name, self._version, (start, end))
        return self._fetched[1].startswith(there)

    def _use_fetched(self) -> dict[int, bytes]:
        index, data = self._fetched
        if not data:
            return {}
        self._part.write(memoryview(data), self._plan.chunk(index)[0])
        self._plan.checked(index)
        return {index: digest.digest(self._version.algorithm, data)}

    def _find_beginnings(self, wrong: Set[int]) -> None:
        """Of the chunks that were not completed, keep what has come; it is checked with the rest.
        Of those that were completed, and are known to be `wrong`, nothing is kept.

        What was never written is a hole in the file, or lies beyond its end.
        """
        fd, plan = self._target.fd, self._plan
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
                    self._part.begun.add(index)
                index += 1
            at = end
