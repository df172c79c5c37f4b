"""The answers there are: a file, digests, a tree. Imports `wire`, `digest` and what is beside it.

Each says what may come next, to the byte, so that a server that sends anything else is noticed
before it is believed, and before it is held.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from twisted.python.failure import Failure

from tcpdl import digest
from tcpdl.protocol.errors import ProtocolError, TooLarge
from tcpdl.protocol.expecting import HELD_MOST, Answer, Connection, Deliver, Part
from tcpdl.wire import native, pack
from tcpdl.wire.names import NameRefused, parse_name
from tcpdl.wire.native import (
    ANY_TAG,
    DIGEST_SIZE,
    TO_END,
    Chunk,
    Digest,
    DigestList,
    FileInfo,
    Get,
    GetDigests,
    Pack,
    Request,
)
from tcpdl.wire.pack import Entry


class FileDigests(NamedTuple):
    """Digests of chunks of a file, as the server knows them."""

    info: FileInfo
    algorithm: int
    """`wire.native.SHA256` or `BLAKE3`."""
    first: int
    """The index of the chunk that the first is of."""
    digests: tuple[bytes, ...]

    def root(self) -> bytes | None:
        """The root digest (PROTOCOL.md 4.6); `None` unless the digests of all chunks are here."""
        size, shift = self.info.size, self.info.chunk_shift
        if self.first or len(self.digests) != digest.chunk_count(size, shift):
            return None
        return digest.root(self.algorithm, size, shift, self.digests)


class FileAnswer(Answer):
    """A file, or chunks of it: each delivered whole, but for what `span` leaves out."""

    request: Get

    def __init__(
        self,
        connection: Connection,
        request: Get,
        consumer: object,
        *,
        known: FileInfo | None = None,
        span: tuple[int, int] = (0, TO_END),
        most: int = TO_END,
    ) -> None:
        """`known` is what the file with the tag asked for is; `span` the bytes to deliver, from
        one offset to before another. A file of more than `most` bytes is `TooLarge`."""
        super().__init__(connection, request, consumer)
        self._known = known
        self._span = span
        self._most = most
        self._info: FileInfo | None = None
        self._at = request.offset  # how far runs were announced
        self._end = request.offset
        self._run: list[bytes] = []
        self._left = 0  # bytes of the run that is under way
        self._unproven: deque[tuple[int, Part]] = deque()  # chunks whose digest is missing

    @property
    def burden(self) -> int:
        return self._end - self._at + self._left

    def result(self) -> FileInfo | None:
        return self._info

    def take_part(self, message: Any) -> None:
        info = self._info
        if info is None:
            self._begin(message)
        elif isinstance(message, Chunk):
            self._begin_run(info, message.length)
        elif isinstance(message, Digest):
            self._take_digest(message)
        else:
            raise _nonsense(message)

    def _begin(self, message: Any) -> None:
        if not isinstance(message, FileInfo):
            raise _nonsense(message)
        first = self.request.offset
        _check_seal(message, self.request, self._connection.algorithm)
        _check_tag(message, self.request.tag)
        if self._known is not None and message.unsealed != self._known.unsealed:
            raise ProtocolError("another file under the same tag")
        if first > message.size:
            raise ProtocolError(f"a file of {message.size} bytes, asked for from {first}")
        self._info = message
        self._end = min(message.size, first + self.request.length)
        if message.size > self._most:
            sentence = f"the file has {message.size} bytes, more than {self._most}"
            self.fail(Failure(TooLarge(sentence)))
        self.begin()

    def _begin_run(self, info: FileInfo, length: int) -> None:
        shift = info.chunk_shift
        until = min(((self._at >> shift) + 1) << shift, self._end)
        if length != until - self._at:
            raise ProtocolError(f"a run of {length} bytes, where {until - self._at} were due")
        if len(self._unproven) >= HELD_MOST:
            raise ProtocolError("a third run before the digest of the first")
        part = Part(f"the chunk from byte {self._at}")
        self._unproven.append((self._at >> shift, part))
        if self.wanted:
            self._parts.append(part)
        self._at = until
        self._left = length

    def take_run(self, data: bytes) -> None:
        self._left -= len(data)
        if self.wanted:
            self._run.append(data)
            if not self._left:
                whole = b"".join(self._run)
                args = self._connection.algorithm, whole, self._at - len(whole), self._span
                self._run = []
                self.work(self._unproven[-1][1], len(whole), _checked_chunk, *args)

    def _take_digest(self, message: Digest) -> None:
        if not self._unproven or self._unproven[0][0] != message.chunk:
            raise ProtocolError(f"a digest of chunk {message.chunk}, which is not due")
        self._unproven.popleft()[1].due = message.digest
        self._go_on()

    def check_end(self) -> None:
        if self._info is None or self._at < self._end or self._unproven:
            raise ProtocolError("the answer ends before all that was asked for has come")

    def _drop(self) -> None:
        super()._drop()
        self._run = []


class DigestsAnswer(Answer):
    """Digests of chunks of a file."""

    request: GetDigests

    def __init__(self, connection: Connection, request: GetDigests, most: int) -> None:
        """More than `most` digests are `TooLarge`."""
        super().__init__(connection, request, None)
        self._most = most
        self._info: FileInfo | None = None
        self._due = 0
        self._found: list[bytes] = []
        self._count = 0

    @property
    def burden(self) -> int:
        return (self._due - self._count) * DIGEST_SIZE

    def result(self) -> FileDigests:
        assert self._info is not None
        first = self.request.first
        return FileDigests(self._info, self._connection.algorithm, first, tuple(self._found))

    def take_part(self, message: Any) -> None:
        if self._info is None:
            self._begin(message)
        elif isinstance(message, DigestList):
            _check_seal(message, self.request, self._connection.algorithm)
            if message.first != self.request.first + self._count:
                raise ProtocolError(f"digests from chunk {message.first} on, which is not due")
            self._count += len(message.digests)
            if self._count > self._due:
                raise ProtocolError(f"more digests than the {self._due} that were due")
            if self.wanted:
                self._found += message.digests
        else:
            raise _nonsense(message)

    def _begin(self, message: Any) -> None:
        if not isinstance(message, FileInfo):
            raise _nonsense(message)
        _check_seal(message, self.request, self._connection.algorithm)
        _check_tag(message, self.request.tag)
        total = digest.chunk_count(message.size, message.chunk_shift)
        if self.request.first > total:
            raise ProtocolError(f"a file of {total} chunks, asked for from {self.request.first}")
        self._info = message
        self._due = min(self.request.chunks, total - self.request.first)
        if self._due > self._most:
            self.fail(Failure(TooLarge(f"there are {self._due} digests, more than {self._most}")))

    def check_end(self) -> None:
        if self._info is None or self._count < self._due:
            raise ProtocolError("the answer ends before all digests have come")


class TreeAnswer(Answer):
    """What is in a folder, delivered in lists of entries."""

    def __init__(
        self, connection: Connection, request: Request, deliver: Deliver, *, content: bool
    ) -> None:
        """Without `content`, entries have that of links and of what was left out only."""
        super().__init__(connection, request, deliver)
        self._content = content
        self._wasted = 0

    @property
    def burden(self) -> int:
        return self._wasted

    def take_part(self, message: Any) -> None:
        if not isinstance(message, Pack):
            raise _nonsense(message)
        if not self.wanted:
            self._wasted += len(message.packed)
            return
        part = Part("a part of the tree", due=b"")
        self._parts.append(part)
        asked = native.encode(self.request)
        args = self._connection.algorithm, asked, message.packed, self._content
        self.work(part, len(message.packed), _checked_entries, *args)

    def check_end(self) -> None:
        """A folder may be empty."""


def _checked_chunk(
    algorithm: int, chunk: bytes, offset: int, span: tuple[int, int]
) -> tuple[bytes, bytes]:
    """The digest of a chunk, and what of it is within `span`. For threads, too."""
    first, end = max(span[0] - offset, 0), min(span[1] - offset, len(chunk))
    return digest.digest(algorithm, chunk), chunk[first:end]


def _checked_entries(
    algorithm: int, asked: bytes, packed: bytes | bytearray, content: bool
) -> tuple[bytes, list[Entry]]:
    """No digest, and the entries of a pack. For threads, too. Raises `Damaged`, `ProtocolError`."""
    entries = pack.unpack(packed, lambda data: digest.digest(algorithm, asked, data))
    for entry in entries:
        if entry.kind == pack.LEFT_OUT and not entry.name:
            continue  # the folder that was asked for
        try:
            segments = parse_name(entry.name, hidden=True).segments
        except NameRefused as problem:
            raise ProtocolError(f"a name in the tree: {problem}") from None
        if not entry.name or b"/".join(segments) != entry.name:
            raise ProtocolError("a name in the tree is empty, or holds empty segments or '.'")
    if not content:
        entries = [
            one._replace(kind=pack.LISTED, content=b"") if one.kind == pack.FILE else one
            for one in entries
        ]
    return b"", entries


def _check_seal(message: FileInfo | DigestList, request: Request, algorithm: int) -> None:
    if digest.digest(algorithm, native.encode(request), message.unsealed) != message.seal:
        raise ProtocolError("an answer, or the request, was damaged on its way")


def _check_tag(info: FileInfo, tag: bytes) -> None:
    if tag not in (ANY_TAG, info.tag):
        raise ProtocolError("another version of the file than was asked for")


def _nonsense(message: object) -> ProtocolError:
    return ProtocolError(f"{type(message).__name__} is no part of an answer to this")
