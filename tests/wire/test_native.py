"""Tests `wire.native`: what each message is in bytes, that it comes back, and what is refused.

Messages are read back through `wire.exchange`, which is what reads them in earnest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.login import PASSWORD, TOKEN, Login
from tcpdl.wire.names import MAX_NAME
from tcpdl.wire.native import (
    ANY_TAG,
    CHUNK_MOST,
    CHUNK_SHIFTS,
    FORMS,
    Chunk,
    Digest,
    DigestList,
    End,
    Error,
    FileInfo,
    Get,
    GetDigests,
    Pack,
    Pick,
    ProtocolError,
    Tree,
    encode,
)

unhurried = settings(deadline=None)

Read = list[tuple[Any, bytes]]
"""Messages, each with the run that stands after it."""

REQUEST_KINDS = (Get, GetDigests, Tree, Pick, Login)
PARSED = (*REQUEST_KINDS, FileInfo, Digest, DigestList, Pack, End, Error)

HELLO = bytes.fromhex("00746370646c0101")
TAG = bytes(range(0xA0, 0xB0))
INFO = FileInfo(7, 6, 0, 0o644, 20, TAG)

IDS = st.integers(0, 0xFFFF)
U64 = st.integers(0, native.TO_END)
OFFSETS = st.integers(0, native.MAX_SIZE)
NAMES = st.binary(max_size=20) | st.just(b"n" * MAX_NAME)
PICKED = st.binary(max_size=20).map(lambda name: name.replace(b"\0", b""))
TAGS = st.binary(min_size=16, max_size=16)
DIGESTS = st.binary(min_size=32, max_size=32)

REQUESTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(Get, IDS, NAMES, OFFSETS, U64, TAGS),
    st.builds(GetDigests, IDS, NAMES, OFFSETS, U64, TAGS),
    st.builds(Tree, IDS, NAMES, st.integers(0, 7), st.just(0), st.integers(1, 255)),
    st.builds(Pick, IDS, PICKED, st.lists(PICKED, min_size=1, max_size=4).map(tuple)),
    st.builds(Login, IDS, st.integers(0, 0xFF), st.binary(min_size=1, max_size=20)),
)


def largest(shift: int) -> int:
    """Size of the largest file that may be cut into chunks of 2**`shift` bytes."""
    return native.MAX_SIZE if shift == 24 else 65_536 << shift


def parts(number: int) -> st.SearchStrategy[Read]:
    """A whole answer to the request `number`."""
    infos = st.sampled_from(CHUNK_SHIFTS).flatmap(
        lambda shift: st.builds(
            FileInfo,
            st.just(number),
            st.integers(0, largest(shift)),
            st.integers(-(1 << 63), native.MAX_SIZE),
            st.integers(0, 0o777),
            st.just(shift),
            TAGS.filter(lambda tag: tag != ANY_TAG),
            DIGESTS,
        )
    )
    runs = st.binary(min_size=1, max_size=40).map(lambda run: (Chunk(number, len(run)), run))
    digests = st.builds(Digest, st.just(number), U64, DIGESTS)
    lists = st.lists(DIGESTS, min_size=1, max_size=3).map(tuple)
    listed = st.builds(DigestList, st.just(number), U64, lists, DIGESTS)
    packs = st.builds(Pack, st.just(number), st.binary(min_size=40, max_size=80))
    errors = st.builds(
        Error,
        st.just(number),
        st.integers(0, 2 * native.FATAL) | st.integers(0, 0xFFFF),
        st.text(max_size=200),
    )

    def ended(parts: Read) -> st.SearchStrategy[Read]:
        count = sum(isinstance(part, Pack) for part, _ in parts)
        held = st.integers(0, 0xFFFFFFFF)
        end = st.builds(End, st.just(number), held, st.just(count)) | errors
        return bare(end).map(lambda end: [*parts, end])

    file = st.lists(runs | bare(digests | listed), max_size=4)
    return st.one_of(
        st.tuples(bare(infos), file).map(lambda some: [some[0], *some[1]]).flatmap(ended),
        st.lists(bare(packs), max_size=3).flatmap(ended),
    )


def until_over(answers: list[Read]) -> Read:
    """`answers` one after the other, up to the first that ends the connection."""
    parts: Read = []
    for answer in answers:
        parts += answer
        last, _ = answer[-1]
        if isinstance(last, Error) and last.code >= native.FATAL:
            break
    return parts


def bare(messages: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, bytes]]:
    return messages.map(lambda message: (message, b""))


STREAMS: st.SearchStrategy[tuple[State, Read]] = st.one_of(
    st.lists(bare(REQUESTS), max_size=5).map(lambda read: (State.REQUESTS, read)),
    st.lists(IDS.flatmap(parts), max_size=3).map(lambda some: (State.ANSWER, until_over(some))),
)
SKIPPED = st.builds(
    lambda kind, number, body: struct.pack("!BBHI", kind, 0, number, len(body)) + body,
    st.integers(0x81, 0xFF),
    IDS,
    st.binary(max_size=20),
)


def read(incoming: Incoming, pieces: Iterable[bytes]) -> Read:
    """What comes of `pieces`, fed one after the other."""
    found: Read = []
    for piece in pieces:
        incoming.feed(piece)
        while True:
            if incoming.payload:
                message, run = found.pop()
                found.append((message, run + incoming.take(incoming.payload)))
                if incoming.payload:
                    break
            following = incoming.next()
            if following is None:
                break
            found.append((following, b""))
    return found


def kind_of(part: tuple[Any, bytes]) -> type[Any]:
    return type(part[0])


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]


def state_for(kind: type[Any]) -> State:
    return State.REQUESTS if kind in REQUEST_KINDS else State.ANSWER


def returned(message: Any) -> Any:
    """`message`, encoded and read back, with all before it that has to be."""
    incoming = Incoming(state_for(type(message)))
    before = HELLO
    if isinstance(message, (Digest, DigestList)):
        before += encode(FileInfo(message.id, 6, 0, 0, 20, TAG))
    (found, _), *more = reversed(read(incoming, [before + encode(message)]))
    assert len(more) == (len(before) > len(HELLO))
    return found


def body(*fields: str) -> bytes:
    return bytes.fromhex("".join(fields))


ZEROS = "00" * 8
TAG_HEX = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"

LAYOUTS: list[tuple[Any, bytes]] = [
    (
        Get(1, b"f", 2, 3, TAG),
        body("01 00 0001 00000021", TAG_HEX, "0000000000000002 0000000000000003 66"),
    ),
    (Get(0, b""), body("01 00 0000 00000020", "00" * 16, ZEROS, "ff" * 8)),
    (
        GetDigests(0xFFFF, b"f", 2, 3, TAG),
        body("02 00 ffff 00000021", TAG_HEX, "0000000000000002 0000000000000003 66"),
    ),
    (Tree(2, b"a/b", 7, 4, 5), body("03 00 0002 00000006 07 04 05 61 2f 62")),
    (Tree(2, b""), body("03 00 0002 00000003 00 00 01")),
    (Pick(3, b"a", (b"b", b"c")), body("04 00 0003 00000005 61 00 62 00 63")),
    (Pick(3, b"", (b"",)), body("04 00 0003 00000001 00")),
    (Login(0, TOKEN, b"t0k"), body("80 00 0000 00000004 02 74 30 6b")),
    (Login.with_token(b"t0k"), body("80 00 0000 00000004 02 74 30 6b")),
    (Login(9, PASSWORD, b"a\0b"), body("80 00 0009 00000004 01 61 00 62")),
    (Login.with_password(b"a", b""), body("80 00 0000 00000003 01 61 00")),
    (
        FileInfo(4, 5, -1, 0o755, 24, TAG, b"\xcc" * 32),
        body(
            "41 00 0004 00000044 0000000000000005 ffffffffffffffff 01ed 18 00", TAG_HEX, "cc" * 32
        ),
    ),
    (Chunk(4, CHUNK_MOST), body("42 00 0004 01000000")),
    (Digest(4, 258, b"\xdd" * 32), body("43 00 0004 00000028 0000000000000102", "dd" * 32)),
    (
        DigestList(4, 1, (b"\xdd" * 32, b"\xee" * 32), b"\xff" * 32),
        body("44 00 0004 00000068 0000000000000001", "dd" * 32, "ee" * 32, "ff" * 32),
    ),
    (Pack(5, b"p" * 40), body("45 00 0005 00000028", "70" * 40)),
    (End(5, 0x01020304), body("4e 00 0005 00000008 01020304 00000000")),
    (End(5, 1 << 40), body("4e 00 0005 00000008 ffffffff 00000000")),
    (Error(5, native.ABSENT, "no é"), body("4f 00 0005 00000007 0001 6e 6f 20 c3 a9")),
    (Error(0, native.TOO_SLOW, ""), body("4f 00 0000 00000002 0041")),
]


@pytest.mark.parametrize(("message", "encoded"), LAYOUTS)
def test_layout(message: Any, encoded: bytes) -> None:
    assert encode(message) == encoded


NUMBERS = {
    "VERSION": 1,
    "SHA256": 1,
    "BLAKE3": 2,
    "CHUNK_MOST": 16_777_216,
    "CHUNKS_MOST": 65_536,
    "LISTED_MOST": 1024,
    "SENTENCE_MOST": 1024,
    "PICKED_MOST": 65_536,
    "PACK_MOST": 4_194_304,
    "OPTIONAL": 128,
    "OPTIONAL_MOST": 65_536,
    "MAX_SIZE": 9_223_372_036_854_775_807,
    "TO_END": 18_446_744_073_709_551_615,
    "ABSENT": 1,
    "REFUSED": 2,
    "IS_FOLDER": 3,
    "NOT_A_FOLDER": 4,
    "UNAVAILABLE": 5,
    "CHANGED": 6,
    "BAD_RANGE": 7,
    "NOT_UNDERSTOOD": 64,
    "TOO_SLOW": 65,
    "FATAL": 64,
    "CONTENT": 1,
    "RECURSIVE": 2,
    "ROOTS": 4,
}


@pytest.mark.parametrize(("name", "number"), NUMBERS.items())
def test_numbers(name: str, number: int) -> None:
    assert getattr(native, name) == number  # both ends must agree on each


def test_chunk_shifts() -> None:
    assert list(CHUNK_SHIFTS) == [16, 17, 18, 19, 20, 21, 22, 23, 24]


def test_what_may_be_left_out() -> None:
    assert Get(1, b"f") == Get(1, b"f", 0, native.TO_END, ANY_TAG)
    assert GetDigests(1, b"f") == GetDigests(1, b"f", 0, native.TO_END, ANY_TAG)
    assert Tree(1, b"f") == Tree(1, b"f", 0)
    assert End(1) == End(1, 0)


def test_preface() -> None:
    assert native.preface(native.SHA256 | native.BLAKE3) == bytes.fromhex("00746370646c0103")
    assert native.parse_preface(bytearray(HELLO)) == (1, 1)
    assert native.parse_preface(b"\0tcpdl\xff\0") == (
        255,
        0,
    )  # a later version is for it to get along


@pytest.mark.parametrize("at", range(6))
def test_other_dialects(at: int) -> None:
    wrong = bytearray(HELLO)
    wrong[at] ^= 0x20
    with pytest.raises(ProtocolError, match="dialect"):
        native.parse_preface(wrong)
    with pytest.raises(ProtocolError):
        read(Incoming(State.REQUESTS), one_by_one(bytes(wrong)))


def test_version_0() -> None:
    with pytest.raises(ProtocolError, match="version 0"):
        native.parse_preface(b"\0tcpdl\0\1")


@unhurried
@given(STREAMS, st.lists(SKIPPED, min_size=1, max_size=3), st.lists(st.integers(0, 400)), st.data())
def test_round_trip(
    stream: tuple[State, Read], skipped: list[bytes], splits: list[int], data: st.DataObject
) -> None:
    state, messages = stream
    encoded = HELLO
    for message, run in messages:
        if data.draw(st.booleans()):
            encoded += data.draw(st.sampled_from(skipped))
        encoded += encode(message) + run
    ends = [min(end, len(encoded)) for end in sorted(splits)] + [len(encoded)]
    pieces = [encoded[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    for cut in ([encoded], one_by_one(encoded), pieces):
        incoming = Incoming(state)
        found = read(incoming, cut)
        assert found == messages
        # Messages are tuples: those of two kinds may be equal.
        assert list(map(kind_of, found)) == list(map(kind_of, messages))
        assert incoming.between
        assert incoming.buffered == 0
        assert (incoming.version, incoming.digests) == (1, 1)
    following: Any = Get(9, b"name") if state is State.REQUESTS else Pack(9, b"p" * 40)
    more = encode(following)
    if incoming.state is State.OVER:
        with pytest.raises(ProtocolError, match="nothing should come"):
            read(incoming, [more])
        return
    # Trailing bytes of a next message, that may never be whole.
    trailing = data.draw(st.integers(1, len(more) - 1))
    incoming = Incoming(state)
    assert read(incoming, [encoded + more[:trailing]]) == messages
    assert not incoming.between
    assert read(incoming, [more[trailing:]]) == [(following, b"")]


def framed(kind: type[Any], content: bytes) -> bytes:
    return struct.pack("!BBHI", FORMS[kind].type, 0, 7, len(content)) + content


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (Get, bytes(16) + struct.pack("!QQ", 1 << 63, 0)),
        (GetDigests, bytes(16) + struct.pack("!QQ", 1 << 63, 0)),
        (Pick, b"a"),  # nothing picked
        (Pick, b"n" * (MAX_NAME + 1) + b"\0b"),
        (Pick, b"\0" + b"n" * native.PICKED_MOST),
        (Pick, b"\0" * (native.PICKED_MOST + 1)),
        (FileInfo, struct.pack("!QqHBx16s32x", native.MAX_SIZE + 1, 0, 0, 24, TAG)),
        (FileInfo, struct.pack("!QqHBx16s32x", 0, 0, 0, CHUNK_SHIFTS[0] - 1, TAG)),
        (FileInfo, struct.pack("!QqHBx16s32x", 0, 0, 0, CHUNK_SHIFTS[-1] + 1, TAG)),
        *(
            (FileInfo, struct.pack("!QqHBx16s32x", largest(shift) + 1, 0, 0, shift, TAG))
            for shift in CHUNK_SHIFTS
        ),
        (FileInfo, struct.pack("!QqHBx16s32x", 0, 0, 0, 20, ANY_TAG)),
        (FileInfo, struct.pack("!QqHBx16s32x", 6, 0, 0o1644, 20, TAG)),
        (FileInfo, struct.pack("!QqHBB16s32x", 6, 0, 0o644, 20, 1, TAG)),
        (DigestList, bytes(8 + 65)),
        (DigestList, bytes(8 + 95)),
    ],
)
def test_nonsense(kind: type[Any], content: bytes) -> None:
    incoming = Incoming(state_for(kind))
    before = encode(INFO) if kind is DigestList else b""
    with pytest.raises(ProtocolError) as caught:
        read(incoming, [HELLO + before + framed(kind, content)])
    assert str(caught.value).isprintable()


def test_what_later_versions_may_add_is_ignored() -> None:
    end = b"\0\0\0\5\0\0\0\0"
    more = framed(FileInfo, INFO.body() + b"m" * (256 - 68)) + framed(End, end + b"m" * 248)
    found = read(Incoming(State.ANSWER), [HELLO + more])
    assert found == [(INFO, b""), (End(7, 5), b"")]


def test_sentence_that_is_no_utf8() -> None:
    found = read(Incoming(State.ANSWER), [HELLO + framed(Error, b"\0\1\xff\xc3")])
    assert found == [(Error(7, 1, "\ufffd\ufffd"), b"")]


@unhurried
@given(st.sampled_from(PARSED), st.binary(max_size=300), st.booleans())
@example(FileInfo, b"\xff" * 68, False)
@example(Error, b"\xff" * 300, False)
@example(Pick, b"\0" * 300, False)
def test_arbitrary_body(kind: type[Any], content: bytes, padded: bool) -> None:
    if padded:  # so that bodies of a few bytes reach the parsers
        content = content.ljust(FORMS[kind].least, b"\0")[: FORMS[kind].most]
    before = encode(INFO) if kind in (Digest, DigestList) else b""
    incoming = Incoming(state_for(kind))
    try:
        found = read(incoming, [HELLO + before + framed(kind, content)])
    except ProtocolError:
        return
    message, _ = found[-1]
    assert type(message) is kind
    assert message.id == 7
    assert FORMS[kind].least <= len(content) <= FORMS[kind].most
    again = encode(message)  # what can be read can be sent
    if kind in REQUEST_KINDS:  # these have one encoding
        assert again == framed(kind, content)


def test_a_login_is_not_shown() -> None:
    for login in (Login.with_password(b"ann", b"secret"), Login.with_token(b"secret")):
        for shown in (repr(login), str(login), f"{login}", f"{[login]!r}"):
            assert "secret" not in shown
