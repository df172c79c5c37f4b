"""Tests `wire.exchange`: how bytes are held until they are a message, and let go.

What may follow what is tested in test_exchange.py.
"""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.wire.exchange import Incoming, Room, State
from tcpdl.wire.native import (
    ABSENT,
    CHUNK_MOST,
    FORMS,
    OPTIONAL,
    PACK_MOST,
    TOO_SLOW,
    UNAVAILABLE,
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
    WrongUse,
    encode,
    preface,
)

unhurried = settings(deadline=None)

HELLO = preface(1)
INFO = FileInfo(7, 6, 0, 0o644, 20, b"t" * 16)
PACK = Pack(7, b"p" * 40)
DIGEST = Digest(7, 0, b"d" * 32)

ONE_OF_EACH: list[Any] = [
    *(Get(7, b"f"), GetDigests(7, b"f"), Tree(7, b"f"), Pick(7, b"f", (b"g",))),
    *(INFO, Chunk(7, 5), DIGEST, DigestList(7, 0, (b"d" * 32,)), PACK),
    *(End(7), Error(7, UNAVAILABLE, "why")),
]


def header(kind: int, length: int) -> bytes:
    return struct.pack("!BBHI", kind, 0, 7, length)


def arrived(state: State, *messages: Any) -> Incoming:
    """One to which the preface and `messages` came."""
    incoming = Incoming(state)
    incoming.feed(HELLO + b"".join(map(encode, messages)))
    assert [incoming.next() for _ in messages] == [*messages]
    if not incoming.payload:
        assert incoming.next() is None
    return incoming


def test_wanted() -> None:
    incoming = Incoming(State.ANSWER)
    assert (incoming.wanted, incoming.version, incoming.digests) == (8, 0, 0)
    incoming.feed(HELLO[:3])
    assert incoming.next() is None
    assert (incoming.wanted, incoming.buffered, incoming.version) == (5, 3, 0)
    incoming.feed(HELLO[3:])
    assert incoming.wanted == 0
    assert incoming.next() is None
    assert (incoming.wanted, incoming.version, incoming.digests) == (8, 1, 1)
    encoded = encode(INFO)
    incoming.feed(encoded[:7])
    assert incoming.wanted == 1
    incoming.feed(encoded[7:8])
    assert incoming.wanted == 0
    assert incoming.next() is None
    assert incoming.wanted == 68
    incoming.feed(encoded[8:72])
    assert incoming.next() is None
    assert incoming.wanted == 4
    incoming.feed(encoded[72:] + b"more than is wanted")
    assert incoming.wanted == 0
    assert incoming.next() == INFO


def test_nothing_is_begun_between_messages_only() -> None:
    incoming = Incoming(State.REQUESTS)
    assert not incoming.between  # a preface has to come
    incoming.feed(HELLO[:1])
    assert not incoming.between
    incoming.feed(HELLO[1:])
    assert not incoming.between  # it has not been read
    assert incoming.next() is None
    assert incoming.between
    encoded = encode(Tree(1, b"abc"))
    for index in range(len(encoded)):
        incoming.feed(encoded[index : index + 1])
        assert not incoming.between
        assert incoming.next() == (Tree(1, b"abc") if index == len(encoded) - 1 else None)
    assert incoming.between
    # A header that was read leaves nothing in the buffer, and yet a message has been begun.
    incoming.feed(encoded[:8])
    assert incoming.next() is None
    assert incoming.buffered == 0
    assert not incoming.between


@pytest.mark.parametrize("number", [0, 7, 0xFFFF])
def test_an_answer_has_been_begun_until_it_ends(number: int) -> None:
    pack, digest = Pack(number, b"p" * 40), Digest(number, 0, b"d" * 32)
    info = FileInfo(number, 6, 0, 0, 20, b"t" * 16)
    answers: list[list[Any]] = [[info], [info, digest], [pack], [pack, pack]]
    for parts in answers:
        packs = parts.count(pack)
        for end in (End(number, 0, packs), Error(number, ABSENT, ""), Error(0, TOO_SLOW, "")):
            incoming = arrived(State.ANSWER, *parts)
            assert not incoming.between
            incoming.feed(encode(end))
            assert not incoming.between
            assert incoming.next() == end
            assert incoming.between


def test_take() -> None:
    incoming = arrived(State.ANSWER, INFO)
    incoming.feed(encode(Chunk(7, 10)) + b"012")
    assert incoming.next() == Chunk(7, 10)
    assert (incoming.payload, incoming.buffered, incoming.wanted) == (10, 3, 0)
    assert not incoming.between
    assert incoming.take(0) == b""
    assert incoming.take(2) == b"01"
    assert incoming.take(100) == b"2"
    assert incoming.take(100) == b""
    assert (incoming.payload, incoming.buffered, incoming.wanted) == (7, 0, 0)
    incoming.feed(b"3456789" + encode(DIGEST) + encode(Chunk(7, 1)))
    assert incoming.take(100) == b"3456789"
    assert incoming.payload == 0
    assert incoming.take(100) == b""  # what comes next is no run's
    assert incoming.next() == DIGEST
    assert incoming.next() == Chunk(7, 1)
    assert incoming.take(100) == b""
    assert not incoming.between
    incoming.feed(b"x")
    assert incoming.take(1) == b"x"
    assert incoming.payload == 0
    incoming.feed(encode(End(7)))
    assert incoming.next() == End(7)
    assert incoming.between


def test_less_than_nothing_is_not_taken() -> None:
    incoming = arrived(State.ANSWER, INFO, Chunk(7, 5))
    with pytest.raises(WrongUse):
        incoming.passed(-5)
    incoming.feed(b"abc")
    assert incoming.take(2) == b"ab"
    for count in (-1, -2, -(1 << 70)):
        with pytest.raises(WrongUse):
            incoming.take(count)
        with pytest.raises(WrongUse):
            incoming.passed(count)
    assert (incoming.buffered, incoming.payload) == (1, 3)
    assert incoming.take(3) == b"c"


def test_passed() -> None:
    incoming = arrived(State.ANSWER, INFO)
    incoming.feed(encode(Chunk(7, CHUNK_MOST)) + b"01")
    assert incoming.next() == Chunk(7, CHUNK_MOST)
    with pytest.raises(WrongUse):
        incoming.passed(1)  # what was fed comes first
    assert incoming.take(CHUNK_MOST) == b"01"
    incoming.passed(0)
    incoming.passed(CHUNK_MOST - 3)
    assert incoming.payload == 1
    with pytest.raises(WrongUse):
        incoming.passed(2)
    incoming.passed(1)
    assert incoming.payload == 0
    incoming.feed(encode(DIGEST))
    assert incoming.next() == DIGEST
    with pytest.raises(WrongUse):
        incoming.passed(1)


def test_a_run_is_taken_before_what_follows() -> None:
    incoming = arrived(State.ANSWER, INFO)
    incoming.feed(encode(Chunk(7, 3)) + b"run" + encode(End(7)))
    assert incoming.next() == Chunk(7, 3)
    for _ in range(2):
        with pytest.raises(WrongUse, match="3 bytes"):
            incoming.next()
    assert incoming.take(3) == b"run"
    assert incoming.next() == End(7)


def test_what_was_read_is_let_go() -> None:
    incoming = arrived(State.REQUESTS)
    request = encode(Tree(7, b"n" * 1000))
    incoming.feed(request * 200)
    for _ in range(199):
        assert incoming.next() == Tree(7, b"n" * 1000)
    assert incoming.buffered == len(request)
    incoming.feed(request)  # most was read: the rest is moved
    assert len(incoming._buffer) == incoming.buffered == 2 * len(request)
    assert incoming.next() == incoming.next() == Tree(7, b"n" * 1000)
    incoming.feed(memoryview(request))  # all was read, little as it is
    assert len(incoming._buffer) == incoming.buffered == len(request)
    assert incoming.next() == Tree(7, b"n" * 1000)


def test_long_message_is_let_go() -> None:
    longest = Pack(7, bytes(PACK_MOST))
    incoming = arrived(State.ANSWER, longest)
    assert len(incoming._buffer) == 0  # nothing else may come for minutes
    # The same if the beginning of the next message came with it.
    end = End(7, packs=2)
    incoming.feed(encode(longest) + encode(end)[:5])
    assert incoming.next() == longest
    incoming.feed(encode(end)[5:])
    assert len(incoming._buffer) == len(encode(end))
    assert incoming.next() == end


REFUSED: list[tuple[State, bytes]] = [
    (State.REQUESTS, b"\0TCPDL\1\1"),
    (State.REQUESTS, b"\0tcpdl\0\1"),
    (State.REQUESTS, HELLO + header(0x05, 0)),
    (State.REQUESTS, HELLO + header(OPTIONAL, 0xFFFFFFFF)),
    (State.REQUESTS, HELLO + b"\3\1\0\7\0\0\0\1"),
    (State.REQUESTS, HELLO + header(0x04, 1) + b"a"),
    (State.ANSWER, HELLO + encode(DIGEST)),
    (State.ANSWER, HELLO + encode(INFO) + encode(End(8))),
    (State.ANSWER, HELLO + encode(INFO) + encode(Error(0, ABSENT, ""))),
    (State.ANSWER, HELLO + header(0x41, 68) + bytes(68)),
    (State.ANSWER, HELLO + encode(Error(0, TOO_SLOW, "")) + encode(End(7))),
]


@pytest.mark.parametrize(("state", "stream"), REFUSED)
def test_refusal_is_for_good(state: State, stream: bytes) -> None:
    incoming = Incoming(state)
    incoming.feed(stream)
    with pytest.raises(ProtocolError) as first:
        list(iter(incoming.next, None))
    # What comes then is no message, though it looks like one.
    for more in (b"", encode(End(7)), encode(Tree(7, b"f"))):
        incoming.feed(more)
        with pytest.raises(ProtocolError) as again:
            incoming.next()
        assert str(again.value) == str(first.value)


def test_room_is_as_long_as_what_is_wanted() -> None:
    incoming = Incoming(State.ANSWER)
    room = Room(incoming)

    def receive(data: bytes) -> None:
        view = room.view()
        assert incoming.wanted >= len(view) >= len(data)
        view[: len(data)] = data
        room.filled(len(data))

    large = Pack(7, bytes(range(256)) * 1000)
    encoded = encode(large)
    receive(HELLO[:5])
    assert incoming.next() is None
    receive(HELLO[5:])
    assert len(room.view()) == 0  # what came is to be read first
    assert incoming.next() is None
    receive(encoded[:8])
    assert incoming.next() is None
    assert len(room.view()) == len(encoded) - 8
    receive(encoded[8:100])
    assert incoming.next() is None
    receive(encoded[100:])
    assert incoming.next() == large
    end = End(7, packs=1)
    receive(encode(end)[:8])
    assert incoming.next() is None
    receive(encode(end)[8:])
    assert incoming.next() == end
    receive(encode(INFO)[:8])
    assert incoming.next() is None
    receive(encode(INFO)[8:])
    assert incoming.next() == INFO
    receive(encode(Chunk(7, 5)))
    assert incoming.next() == Chunk(7, 5)
    assert len(room.view()) == 0  # the run is left on the connection
    incoming.passed(5)
    assert len(room.view()) == 8


def test_room_for_a_pack_is_where_it_stays() -> None:
    """It is not copied, and made once; a client holds one pack at a time."""
    incoming = arrived(State.ANSWER)
    longest = Pack(7, bytes(range(256)) * (PACK_MOST // 256))
    incoming.feed(header(0x45, PACK_MOST))
    assert incoming.next() is None
    room = Room(incoming)
    tracemalloc.start()
    try:
        assert len(room.view()) == PACK_MOST
        assert tracemalloc.get_traced_memory()[1] < PACK_MOST + 64 * 1024
    finally:
        tracemalloc.stop()
    left = longest.packed
    while incoming.wanted:
        view = room.view()
        assert len(view) == len(left)
        count = min(len(view), 200_000)  # what a read brings may be less
        view[:count] = left[:count]
        room.filled(count)
        left = left[count:]
    assert incoming.next() == longest
    assert len(room.view()) == 8


PIECES = st.sampled_from(
    [
        *map(encode, ONE_OF_EACH),
        *(encode(Error(0, TOO_SLOW, "slow")), encode(Error(0, ABSENT, "")), encode(End(0))),
        *(header(form.type, form.most) for form in FORMS.values()),
        *(header(OPTIONAL, 0), header(0xFF, 3) + b"abc", b"12345", HELLO, b"\0", b"\xff"),
    ]
)


def test_a_body_received_elsewhere() -> None:
    incoming = arrived(State.ANSWER)
    incoming.feed(encode(PACK)[:8])
    assert incoming.next() is None
    for wrong in (bytearray(39), bytearray(41)):
        with pytest.raises(WrongUse, match="40 are due"):
            incoming.whole(wrong)
    body = bytearray(PACK.packed)
    incoming.whole(body)
    message: Any = incoming.next()
    assert message.packed is body


@unhurried
@given(
    st.sampled_from([State.REQUESTS, State.ANSWER]),
    st.lists(PIECES | st.binary(max_size=12), max_size=12).map(b"".join),
    st.lists(st.integers(1, 50), min_size=1, max_size=4),
    st.booleans(),
)
@example(State.ANSWER, encode(INFO) + encode(Chunk(7, 5)) + b"12345" + encode(End(7)), [3], True)
def test_arbitrary_stream(state: State, stream: bytes, sizes: list[int], greeted: bool) -> None:
    stream = HELLO * greeted + stream
    whole = all_of(state, stream, [len(stream) or 1])
    assert all_of(state, stream, sizes) == whole
    assert all_of(state, stream, [1]) == whole


def all_of(state: State, stream: bytes, sizes: list[int]) -> list[Any]:
    """Messages with their types, the bytes of runs, and how it ended, with pieces of such
    `sizes`."""
    incoming = Incoming(state)
    found: list[Any] = []
    at = turn = 0
    while at < len(stream):
        piece = stream[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(piece), turn + 1
        incoming.feed(piece)
        try:
            while True:
                found += incoming.take(len(stream))
                if incoming.payload or (message := incoming.next()) is None:
                    break
                found.append((type(message), message))
        except ProtocolError as problem:
            return [*found, str(problem)]
    return [*found, incoming.state, incoming.between, incoming.wanted, incoming.payload]
