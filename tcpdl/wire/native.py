"""The messages of the native dialect, to bytes and back. Pure; imports its neighbours.

PROTOCOL.md section 4 is the specification. Every message is a header of eight bytes and a body.
The body of a `Chunk` is a run of a file's bytes, which this code never touches: it may be sent by
sendfile and received by splice. `wire.exchange` says which message may follow which.

Messages are named tuples, since a client that made them dataclasses would take longer for that
than for fetching a small file.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

from tcpdl.wire import goaway, login
from tcpdl.wire.names import MAX_NAME

MAGIC = b"\0tcpdl"
"""How a connection in this dialect begins, both ways."""

VERSION = 1
"""The version described here. A peer speaks all versions up to the one it names."""

SHA256, BLAKE3 = 1, 2

PREFACE = struct.Struct("!6sBB")
"""Magic, version, and digests: a client names all it can compute, a server the one it chose."""

HEADER = struct.Struct("!BBHI")
"""Type, flags (0), id of the request, length of the body."""

_RANGE = struct.Struct("!16sQQ")  # of Get and GetDigests: tag, first, how many
_FILE = struct.Struct("!QqHBB16s")  # size, mtime, mode, chunk shift, 0, tag
_FILE_SEALED = struct.Struct(_FILE.format + "32s")  # the same, and its seal
_END = struct.Struct("!II")  # milliseconds held, packs

DIGEST_SIZE = 32
TAG_SIZE = 16
ANY_TAG = bytes(TAG_SIZE)
"""In a request: whatever the file is now."""

CHUNK_SHIFTS = range(16, 25)
"""Chunks have 2**16 to 2**24 bytes: a server's choice for each file, by its size."""

CHUNKS_MOST = 65_536
"""Chunks of a file, unless they are the largest there are: whoever keeps account of them must not
be made to do so for any number of tiny ones."""

CHUNK_MOST = 1 << CHUNK_SHIFTS[-1]
"""Longest run of file bytes in one message. It bounds what a damaged byte costs."""

LISTED_MOST = 1024
"""Digests in one `DigestList`: 32 KiB."""

SENTENCE_MOST = 1024
"""Bytes of an error's sentence."""

PICKED_MOST = 64 * 1024
"""Bytes of the names in one `Pick`, with a NUL before each; its folder's is not counted."""

PACK_MOST = 4 * 1024 * 1024
"""Bytes of one `Pack`: what a receiver holds in memory before it can check it."""

OPTIONAL = 0x80
"""Types from here on may be skipped by whoever does not know them."""

OPTIONAL_MOST = 64 * 1024
"""Longest body of such a message."""

MAX_SIZE = (1 << 63) - 1
"""Largest size and offset: what file systems can express."""

TO_END = (1 << 64) - 1
"""As a length: as far as the file goes."""

# Codes of `Error`.
ABSENT, REFUSED = 1, 2
IS_FOLDER, NOT_A_FOLDER = 3, 4
UNAVAILABLE = 5
CHANGED = 6
BAD_RANGE = 7
LOGIN_NEEDED = 8
NOT_ALLOWED = 9
NOT_UNDERSTOOD = 64
TOO_SLOW = 65
BUSY = 66
NEEDS_TLS = 67

FATAL = 64
"""Codes from here on end the connection; those below end one answer."""

# Flags of `Tree`.
CONTENT = 1
RECURSIVE = 2
ROOTS = 4


class ProtocolError(Exception):
    """What the peer sent is not this protocol: the connection is of no further use."""


class WrongUse(Exception):
    """What we wanted to send, or to do, is not this protocol: a defect on this side."""


class Message(Protocol):
    """What all messages have in common."""

    @property
    def id(self) -> int:
        """Chosen by the client for a request, 0 to 65,535; every part of the answer bears it."""

    def body(self) -> bytes: ...

    @classmethod
    def parse(cls, number: int, body: bytes) -> Message: ...


def preface(digests: int) -> bytes:
    """The first bytes of a connection; `digests` are those offered, or the one chosen."""
    return PREFACE.pack(MAGIC, VERSION, digests)


def parse_preface(data: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Version and digests of a preface. Raises `ProtocolError`."""
    magic, version, digests = PREFACE.unpack(data)
    if magic != MAGIC:
        raise ProtocolError("the peer does not speak the native dialect of tcpdl")
    if not version:
        raise ProtocolError("the preface names version 0, which does not exist")
    return version, digests


def encode(message: Message) -> bytes:
    """`message` in bytes; of a `Chunk`, the header alone. Raises `WrongUse`."""
    if not 0 <= message.id <= 0xFFFF:
        raise WrongUse(f"the id {message.id} is not one from 0 to 65535")
    if isinstance(message, Chunk):
        if not 0 < message.length <= CHUNK_MOST:
            raise WrongUse(f"a run of {message.length} bytes; 1 to {CHUNK_MOST} can be sent")
        return HEADER.pack(FORMS[Chunk].type, 0, message.id, message.length)
    kind = type(message)
    form = FORMS[kind]
    try:
        body = message.body()
        if not form.least <= len(body) <= form.most:
            raise WrongUse(f"{len(body)} bytes; {form.least} to {form.most} can be")
        kind.parse(message.id, body)  # the peer would refuse what cannot be read
    except (struct.error, ProtocolError, WrongUse) as error:
        raise WrongUse(f"{kind.__name__}: {error}") from None
    return HEADER.pack(form.type, 0, message.id, len(body)) + body


def parts(message: Message) -> tuple[bytes | bytearray, ...]:
    """What `encode` gives, in pieces that are put together by whoever sends them: a `Pack` is not
    copied. Raises `WrongUse`."""
    if not isinstance(message, Pack):
        return (encode(message),)
    form = FORMS[Pack]
    if not form.least <= len(message.packed) <= form.most:
        raise WrongUse(f"a Pack of {len(message.packed)} bytes; {form.most} at most")
    return HEADER.pack(form.type, 0, message.id, len(message.packed)), message.packed


# From the client.


class Get(NamedTuple):
    """Send the file `name` from `offset` on, `length` bytes of it or `TO_END`.

    With a tag other than `ANY_TAG`, only if that is still the file's.
    """

    id: int
    name: bytes
    offset: int = 0
    length: int = TO_END
    tag: bytes = ANY_TAG

    def body(self) -> bytes:
        return _RANGE.pack(_sized("tag", self.tag, TAG_SIZE), self.offset, self.length) + self.name

    @classmethod
    def parse(cls, number: int, body: bytes) -> Get:
        tag, offset, length = _RANGE.unpack_from(body)
        if offset > MAX_SIZE:
            raise ProtocolError(f"an offset of {offset}, more than there can be")
        return cls(number, body[_RANGE.size :], offset, length, tag)


class GetDigests(NamedTuple):
    """Send the digests of so many `chunks` of the file `name`, from the chunk `first` on."""

    id: int
    name: bytes
    first: int = 0
    chunks: int = TO_END
    tag: bytes = ANY_TAG

    def body(self) -> bytes:
        return _RANGE.pack(_sized("tag", self.tag, TAG_SIZE), self.first, self.chunks) + self.name

    @classmethod
    def parse(cls, number: int, body: bytes) -> GetDigests:
        tag, first, chunks = _RANGE.unpack_from(body)
        if first > MAX_SIZE:
            raise ProtocolError(f"chunk {first}, more than there can be")
        return cls(number, body[_RANGE.size :], first, chunks, tag)


class Tree(NamedTuple):
    """Send what is in the folder `name` (the root, if empty), packed.

    `flags`: `CONTENT` sends the content of small files along, `RECURSIVE` what is in the folders
    below as well, `ROOTS` the root digest of every file whose content is not sent. With more than
    one of `shares`, the packs are small, and of each so many of them only the one with the number
    `share` is sent: the others are asked for on other connections.
    """

    id: int
    name: bytes
    flags: int = 0
    share: int = 0
    shares: int = 1

    def body(self) -> bytes:
        return struct.pack("!BBB", self.flags, self.share, self.shares) + self.name

    @classmethod
    def parse(cls, number: int, body: bytes) -> Tree:
        if body[0] & ~(CONTENT | RECURSIVE | ROOTS):
            raise ProtocolError(f"flags {body[0]:#x} of a tree, which are not defined")
        flags, share, shares = body[:3]
        if share >= shares:
            raise ProtocolError(f"share {share} of {shares} of a tree")
        return cls(number, body[3:], flags, share, shares)


class Pick(NamedTuple):
    """Send the files called `names` in the folder `name`, packed, with their content."""

    id: int
    name: bytes
    names: tuple[bytes, ...]

    def body(self) -> bytes:
        if any(b"\0" in name for name in (self.name, *self.names)):
            raise WrongUse("a name holds a NUL byte")
        return b"\0".join((self.name, *self.names))

    @classmethod
    def parse(cls, number: int, body: bytes) -> Pick:
        name, *names = body.split(b"\0")
        if not names:
            raise ProtocolError("a Pick that picks nothing")
        if len(name) > MAX_NAME:
            raise ProtocolError(f"a folder's name of {len(name)} bytes; {MAX_NAME} at most")
        if len(body) - len(name) > PICKED_MOST:
            raise ProtocolError(f"names of {len(body) - len(name)} bytes; {PICKED_MOST} at most")
        return cls(number, name, tuple(names))


# From the server.


class FileInfo(NamedTuple):
    """The file that was asked for: what comes next belongs to it, and is valid under its tag."""

    id: int
    size: int
    mtime_ns: int
    mode: int
    """The permission bits: 0 to 0o777."""
    chunk_shift: int
    tag: bytes
    seal: bytes = bytes(DIGEST_SIZE)
    """The digest of the request, as `encode` has it, and of `unsealed`."""

    @property
    def unsealed(self) -> bytes:
        """What the seal is over, besides the request."""
        tag = _sized("tag", self.tag, TAG_SIZE)
        if self.mode & ~0o777:
            raise WrongUse(f"mode {self.mode:#o} is more than permission bits")
        return _FILE.pack(self.size, self.mtime_ns, self.mode, self.chunk_shift, 0, tag)

    def body(self) -> bytes:
        return self.unsealed + _sized("seal", self.seal, DIGEST_SIZE)

    @classmethod
    def parse(cls, number: int, body: bytes) -> FileInfo:
        size, mtime_ns, mode, shift, zero, tag, seal = _FILE_SEALED.unpack_from(body)
        if mode & ~0o777 or zero:
            raise ProtocolError(f"a file of mode {mode:#o}, and {zero} where 0 should be")
        if size > MAX_SIZE:
            raise ProtocolError(f"a file of {size} bytes, more than there can be")
        if shift not in CHUNK_SHIFTS:
            raise ProtocolError(f"chunks of 2**{shift} bytes")
        if size > CHUNKS_MOST << shift and shift != CHUNK_SHIFTS[-1]:
            raise ProtocolError(f"{size} bytes in chunks of 2**{shift}")
        if tag == ANY_TAG:
            raise ProtocolError("a file without a tag")
        return cls(number, size, mtime_ns, mode, shift, tag, seal)


class Chunk(NamedTuple):
    """`length` bytes of the file stand after this header: the next ones, up to the end of a chunk
    or of what was asked for."""

    id: int
    length: int

    def body(self) -> bytes:
        raise WrongUse("the bytes of a chunk are no business of the codec")

    @classmethod
    def parse(cls, number: int, body: bytes) -> Chunk:
        raise WrongUse("the bytes of a chunk are no business of the codec")


class Digest(NamedTuple):
    """The digest of the whole of one `chunk`, of which bytes have been sent."""

    id: int
    chunk: int
    """Its index, from 0."""
    digest: bytes

    def body(self) -> bytes:
        return struct.pack("!Q", self.chunk) + self.digest

    @classmethod
    def parse(cls, number: int, body: bytes) -> Digest:
        return cls(number, int.from_bytes(body[:8], "big"), body[8:])


class DigestList(NamedTuple):
    """The digests of the chunks from `first` on."""

    id: int
    first: int
    digests: tuple[bytes, ...]
    seal: bytes = bytes(DIGEST_SIZE)
    """The digest of the request, as `encode` has it, and of `unsealed`."""

    @property
    def unsealed(self) -> bytes:
        """What the seal is over, besides the request."""
        if any(len(digest) != DIGEST_SIZE for digest in self.digests):
            raise WrongUse(f"a digest does not have {DIGEST_SIZE} bytes")
        return struct.pack("!Q", self.first) + b"".join(self.digests)

    def body(self) -> bytes:
        return self.unsealed + _sized("seal", self.seal, DIGEST_SIZE)

    @classmethod
    def parse(cls, number: int, body: bytes) -> DigestList:
        if len(body) % DIGEST_SIZE != 8:
            raise ProtocolError(f"a list of digests of {len(body)} bytes")
        first = int.from_bytes(body[:8], "big")
        *digests, seal = (body[at : at + DIGEST_SIZE] for at in range(8, len(body), DIGEST_SIZE))
        return cls(number, first, tuple(digests), seal)


class Pack(NamedTuple):
    """A part of a tree; `wire.pack` makes and reads its bytes."""

    id: int
    packed: bytes | bytearray

    def body(self) -> bytes:
        return bytes(self.packed)

    @classmethod
    def parse(cls, number: int, body: bytes | bytearray) -> Pack:
        return cls(number, body)


class End(NamedTuple):
    """The answer is complete."""

    id: int
    held_ms: int = 0
    """Milliseconds for which the server had nothing to send: it waited for disk or digests."""
    packs: int = 0
    """How many packs the answer had, so that none is missed that was damaged on its way."""

    def body(self) -> bytes:
        return _END.pack(min(self.held_ms, 0xFFFFFFFF), self.packs)

    @classmethod
    def parse(cls, number: int, body: bytes) -> End:
        return cls(number, *_END.unpack_from(body))


class Error(NamedTuple):
    """The answer ends here, and so does the connection if the code is `FATAL` or above."""

    id: int
    code: int
    sentence: str
    """For a person. It is cut to `SENTENCE_MOST` bytes."""

    def body(self) -> bytes:
        sentence = self.sentence.encode("utf-8", "replace")[:SENTENCE_MOST]
        whole = sentence.decode("utf-8", "ignore").encode("utf-8")
        return struct.pack("!H", self.code) + whole

    @classmethod
    def parse(cls, number: int, body: bytes) -> Error:
        return cls(number, int.from_bytes(body[:2], "big"), body[2:].decode("utf-8", "replace"))


class Form(NamedTuple):
    """What a kind of message looks like."""

    type: int
    """The number in its header."""
    least: int
    """Bytes of the shortest body."""
    most: int
    """Bytes of the longest body: a longer one is refused when its header is read."""


FORMS: dict[type[Message], Form] = {
    Get: Form(0x01, 32, 32 + MAX_NAME),
    GetDigests: Form(0x02, 32, 32 + MAX_NAME),
    Tree: Form(0x03, 3, 3 + MAX_NAME),
    Pick: Form(0x04, 1, MAX_NAME + PICKED_MOST),
    FileInfo: Form(0x41, 36 + DIGEST_SIZE, 256),
    Chunk: Form(0x42, 1, CHUNK_MOST),
    Digest: Form(0x43, 8 + DIGEST_SIZE, 8 + DIGEST_SIZE),
    DigestList: Form(0x44, 8 + 2 * DIGEST_SIZE, 8 + (LISTED_MOST + 1) * DIGEST_SIZE),
    Pack: Form(0x45, 8 + DIGEST_SIZE, PACK_MOST),
    End: Form(0x4E, 8, 256),
    Error: Form(0x4F, 2, 2 + SENTENCE_MOST),
    login.Login: Form(OPTIONAL, 2, 1 + login.PROOF_MOST),
    goaway.GoAway: Form(OPTIONAL + 1, 0, goaway.BODY_MOST),
}
"""All messages. `FileInfo` and `End` may become longer: what is not known of them is skipped."""

Request = Get | GetDigests | Tree | Pick
Answer = FileInfo | Chunk | Digest | DigestList | Pack | End | Error


def _sized(what: str, value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise WrongUse(f"a {what} of {len(value)} bytes; it has {size}")
    return value
