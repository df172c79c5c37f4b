"""Tests `wire.native`: the largest messages there can be, and that no larger ones are sent.

Both ends keep to the same limits: `encode` refuses what a peer's `Incoming` would refuse.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.login import Login
from tcpdl.wire.names import MAX_NAME
from tcpdl.wire.native import (
    ANY_TAG,
    CHUNK_MOST,
    CHUNK_SHIFTS,
    FORMS,
    MAX_SIZE,
    PICKED_MOST,
    SENTENCE_MOST,
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
    Tree,
    WrongUse,
    encode,
)

unhurried = settings(deadline=None)

TAG = bytes(range(0xA0, 0xB0))


def returned(message: Any) -> Any:
    """`message`, encoded and read back, after all that has to come before it."""
    state = State.REQUESTS if isinstance(message, (native.Request, Login)) else State.ANSWER
    incoming = Incoming(state)
    incoming.feed(native.preface(1))
    for _ in range(message.packs if isinstance(message, End) else 0):
        incoming.feed(encode(Pack(message.id, bytes(40))))
        assert isinstance(incoming.next(), Pack)
    if isinstance(message, (Chunk, Digest, DigestList)):
        info = FileInfo(message.id, 6, 0, 0, 20, TAG)
        incoming.feed(encode(info))
        assert incoming.next() == info
    incoming.feed(encode(message))
    found = incoming.next()
    assert type(found) is type(message)
    assert incoming.buffered == 0
    return found


def largest(shift: int) -> int:
    """Size of the largest file that may be cut into chunks of 2**`shift` bytes."""
    return MAX_SIZE if shift == 24 else 65_536 << shift


LONGEST_NAME = b"n" * MAX_NAME
LARGEST: list[Any] = [
    Get(1, LONGEST_NAME),
    GetDigests(1, LONGEST_NAME),
    Tree(1, LONGEST_NAME),
    Pick(1, LONGEST_NAME, (b"n" * (PICKED_MOST // 2 - 1),) * 2),
    Pick(1, LONGEST_NAME, (b"",) * PICKED_MOST),
    DigestList(1, 0, (b"d" * 32,) * native.LISTED_MOST),
    Pack(1, b"p" * native.PACK_MOST),
    Error(1, 1, "n" * SENTENCE_MOST),
    Login(0, 0xFF, b"p" * 1024),
]


@pytest.mark.parametrize("shift", CHUNK_SHIFTS)
def test_largest_file(shift: int) -> None:
    info = FileInfo(1, largest(shift), 0, 0, shift, TAG)
    assert returned(info) == info


@pytest.mark.parametrize("message", LARGEST, ids=lambda message: type(message).__name__)
def test_longest(message: Any) -> None:
    assert len(encode(message)) == 8 + FORMS[type(message)].most
    assert returned(message) == message


@pytest.mark.parametrize(
    "message",
    [
        Get(-1, b"f"),
        Get(0x10000, b"f"),
        Chunk(0x10000, 1),
        Get(1, LONGEST_NAME + b"n"),
        Get(1, b"f", -1),
        Get(1, b"f", 1 << 64),
        Get(1, b"f", 0, -1),
        Get(1, b"f", tag=b""),
        Get(1, b"f", tag=bytes(17)),
        GetDigests(1, LONGEST_NAME + b"n"),
        GetDigests(1, b"f", 0, 1 << 64),
        GetDigests(1, b"f", tag=bytes(15)),
        Tree(1, LONGEST_NAME + b"n"),
        Tree(1, b"", 0, 1, 1),
        Tree(1, b"", 0, 0, 0),
        Tree(1, b"", 0, 0, 256),
        Tree(1, b"", 256),
        Get(1, b"f", MAX_SIZE + 1),
        GetDigests(1, b"f", MAX_SIZE + 1),
        Pick(1, LONGEST_NAME, (b"n" * PICKED_MOST,)),
        Pick(1, b"", (b"n" * PICKED_MOST,)),  # its folder's name leaves no room for others
        Pick(1, LONGEST_NAME + b"n", (b"x",)),
        Pick(1, b"", ()),
        Pick(1, b"a", ()),
        Pick(1, b"a\0", (b"b",)),
        Login(0, 1, b""),
        Login(0, 1, b"p" * 1025),
        Login(0, 0x100, b"p"),
        Pick(1, b"a", (b"b", b"\0")),
        FileInfo(1, -1, 0, 0, 20, TAG),
        FileInfo(1, 1 << 64, 0, 0, 20, TAG),
        FileInfo(1, 0, 1 << 63, 0, 20, TAG),
        FileInfo(1, MAX_SIZE + 1, 0, 0, 24, TAG),
        FileInfo(1, 0, 0, 1 << 16, 20, TAG),
        FileInfo(1, 0, 0, 0o1755, 20, TAG),
        FileInfo(1, 0, 0, -1, 20, TAG),
        FileInfo(1, 0, 0, 0, 15, TAG),
        FileInfo(1, 0, 0, 0, 25, TAG),
        *(FileInfo(1, largest(shift) + 1, 0, 0, shift, TAG) for shift in CHUNK_SHIFTS),
        FileInfo(1, 0, 0, 0, 20, ANY_TAG),
        FileInfo(1, 0, 0, 0, 256, TAG),
        FileInfo(1, 0, 0, 0, 20, b"short"),
        FileInfo(1, 0, 0, 0, 20, TAG, bytes(31)),
        Chunk(1, 0),
        Chunk(1, -1),
        Chunk(1, CHUNK_MOST + 1),
        Digest(1, 0, b"d" * 31),
        Digest(1, 0, b"d" * 33),
        Digest(1, -1, b"d" * 32),
        DigestList(1, 0, ()),
        DigestList(1, 0, (b"d" * 33,)),
        DigestList(1, 0, (b"d" * 32,), bytes(31)),
        DigestList(1, 0, (b"d" * 31, b"d" * 33)),  # together as long as two
        DigestList(1, 0, (b"d" * 32,) * (native.LISTED_MOST + 1)),
        Pack(1, b"p" * 39),
        Pack(1, b"p" * (native.PACK_MOST + 1)),
        End(1, -1),
        End(1, 0, -1),
        End(1, 0, 1 << 32),
        Error(1, 0x10000, ""),
    ],
)
def test_cannot_be_sent(message: Any) -> None:
    for encoder in (encode, native.parts):
        with pytest.raises(WrongUse) as caught:
            encoder(message)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("message", LARGEST, ids=lambda message: type(message).__name__)
def test_parts_are_what_is_encoded(message: Any) -> None:
    assert b"".join(native.parts(message)) == encode(message)


def test_a_pack_is_not_copied() -> None:
    packed = bytearray(100)
    assert native.parts(Pack(1, packed))[1] is packed


def test_chunks_have_no_body() -> None:
    with pytest.raises(WrongUse, match="no business"):
        Chunk(1, 1).body()
    with pytest.raises(WrongUse, match="no business"):
        Chunk.parse(1, b"c")


def test_sentence_is_cut() -> None:
    assert returned(Error(1, 1, "n" * (SENTENCE_MOST + 1))) == Error(1, 1, "n" * SENTENCE_MOST)
    assert returned(Error(1, 1, "\udcff")) == Error(1, 1, "?")
    # Never within a character.
    for before in range(5):
        sentence = "a" * before + "é€𝄞" * SENTENCE_MOST
        content = Error(1, 1, sentence).body()[2:]
        assert SENTENCE_MOST - 3 <= len(content) <= SENTENCE_MOST
        assert sentence.startswith(content.decode())
        assert returned(Error(1, 1, sentence)).sentence == content.decode()


U64 = st.integers(-1, 1 << 64) | st.sampled_from([0, MAX_SIZE, MAX_SIZE + 1, native.TO_END])
U16 = st.integers(-1, 1 << 16)
NUMBERS = st.integers(0, 0xFFFF) | U16
NAMES = st.binary(max_size=20) | st.sampled_from([b"n" * MAX_NAME, b"n" * (MAX_NAME + 1)])
TAGS = st.sampled_from([TAG, ANY_TAG, b"", bytes(15), bytes(17)])
DIGESTS = st.sampled_from([b"d" * 32, b"e" * 32, b"d" * 31, b"d" * 33, b""])
PICKED = st.sampled_from([b"a", b"", b"b" * PICKED_MOST, b"b" * (PICKED_MOST - 1), b"c\0"])
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.builds(Get, NUMBERS, NAMES, U64, U64, TAGS),
    st.builds(GetDigests, NUMBERS, NAMES, U64, U64, TAGS),
    st.builds(Tree, NUMBERS, NAMES, *[st.integers(-1, 256)] * 3),
    st.builds(Pick, NUMBERS, NAMES, st.lists(PICKED, max_size=3).map(tuple)),
    st.builds(FileInfo, NUMBERS, U64, U64, U16, st.integers(14, 26), TAGS, DIGESTS),
    st.builds(Chunk, NUMBERS, st.integers(-1, CHUNK_MOST + 1)),
    st.builds(Digest, NUMBERS, U64, DIGESTS),
    st.builds(DigestList, NUMBERS, U64, st.lists(DIGESTS, max_size=3).map(tuple), DIGESTS),
    st.builds(Pack, NUMBERS, st.binary(min_size=30, max_size=50)),
    st.builds(End, NUMBERS, U64, st.integers(0, 5)),
    st.builds(Error, NUMBERS, U16, st.text()),
    st.builds(Login, NUMBERS, st.integers(-1, 256), st.binary(max_size=1030)),
)


@unhurried
@given(ANYTHING)
@example(FileInfo(1, 65_536 << 16, 0, 0o777, 16, TAG))
@example(Error(1, 65, "é" * SENTENCE_MOST))
def test_what_is_sent_is_read(message: Any) -> None:
    try:
        encode(message)
    except WrongUse:
        return
    found = returned(message)
    if isinstance(message, End):
        assert found == message._replace(held_ms=min(message.held_ms, 0xFFFFFFFF))
    elif isinstance(message, Error):
        assert (found.id, found.code) == (message.id, message.code)
        assert message.sentence.encode("utf-8", "replace").startswith(found.sentence.encode())
    else:
        assert found == message
