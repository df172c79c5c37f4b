"""Tests `wire.exchange`: what may follow what, and that a header is judged before its body."""

from __future__ import annotations

import gc
import struct
import weakref
from typing import Any

import pytest

from tcpdl.wire.exchange import FOLLOWS, Incoming, State
from tcpdl.wire.goaway import GoAway
from tcpdl.wire.login import TOKEN, Login
from tcpdl.wire.native import (
    ABSENT,
    FATAL,
    FORMS,
    NOT_UNDERSTOOD,
    OPTIONAL,
    OPTIONAL_MOST,
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
    encode,
    preface,
)

HELLO = preface(1)
INFO = FileInfo(7, 6, 0, 0o644, 20, b"t" * 16)
PACK = Pack(7, b"p" * 40)
DIGEST = Digest(7, 0, b"d" * 32)
SLOW = Error(0, TOO_SLOW, "too slow")

ONE_OF_EACH: list[Any] = [
    *(Get(7, b"f"), GetDigests(7, b"f"), Tree(7, b"f"), Pick(7, b"f", (b"g",))),
    *(INFO, Chunk(7, 5), DIGEST, DigestList(7, 0, (b"d" * 32,)), PACK),
    *(End(7), Error(7, UNAVAILABLE, "why"), Login(7, TOKEN, b"token")),
]
KINDS = [type(message) for message in ONE_OF_EACH]

# Section 4 of the specification once more: what may come in each state, and where it leads.
MAY_COME: dict[State, dict[State, set[type[Any]]]] = {
    State.REQUESTS: {State.REQUESTS: {Get, GetDigests, Tree, Pick, Login}},
    State.ANSWER: {State.FILE: {FileInfo}, State.TREE: {Pack}, State.ANSWER: {End, Error}},
    State.FILE: {State.FILE: {Chunk, Digest, DigestList}, State.ANSWER: {End, Error}},
    State.TREE: {State.TREE: {Pack}, State.ANSWER: {End, Error}},
    State.OVER: {},
}


def header(kind: int, length: int, number: int = 7, flags: int = 0) -> bytes:
    return struct.pack("!BBHI", kind, flags, number, length)


def arrived(state: State) -> Incoming:
    """One that is in `state`, by what has come; answers are to request 7."""
    incoming = Incoming(state if state is State.REQUESTS else State.ANSWER)
    incoming.feed(HELLO)
    if state is State.FILE:
        incoming.feed(encode(INFO))
        assert incoming.next() == INFO
    elif state is State.TREE:
        incoming.feed(encode(PACK))
        assert incoming.next() == PACK
    elif state is State.OVER:
        incoming.feed(encode(SLOW))
        assert incoming.next() == SLOW
    assert incoming.next() is None
    assert incoming.state is state
    return incoming


def state_for(kind: type[Any]) -> State:
    return next(state for state in State if kind in FOLLOWS[state])


def refused(incoming: Incoming, data: bytes) -> str:
    """Feeds `data`, of which nothing may be kept; returns why."""
    incoming.feed(data)
    with pytest.raises(ProtocolError) as caught:
        incoming.next()
    assert incoming.buffered == 0
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("state", State)
def test_what_follows(state: State, message: Any) -> None:
    kind = type(message)
    led = [led for led, kinds in MAY_COME[state].items() if kind in kinds]
    incoming = arrived(state)
    if not led:
        assert kind not in FOLLOWS[state]
        if kind is Login:  # which is optional, so it is skipped
            incoming.feed(encode(message))
            assert incoming.next() is None
            assert incoming.state is state
            return
        length = message.length if kind is Chunk else len(message.body())
        why = refused(incoming, header(FORMS[kind].type, length))
        assert why == f"{kind.__name__} where {state.value} should come"
        return
    if kind is End and state is State.TREE:
        message = End(7, packs=1)
    incoming.feed(encode(message))
    found: Any = incoming.next()
    assert type(found) is kind
    assert found == message
    assert [incoming.state] == led == [FOLLOWS[state][kind]]


LENGTHS = {
    Get: (32, 1056),
    GetDigests: (32, 1056),
    Tree: (3, 1027),
    Pick: (1, 66_560),
    FileInfo: (68, 256),
    Chunk: (1, 16_777_216),
    Digest: (40, 40),
    DigestList: (72, 32_808),
    Pack: (40, 4_194_304),
    End: (8, 256),
    Error: (2, 1026),
    Login: (2, 1025),
}


def test_lengths() -> None:
    assert list(LENGTHS) == KINDS
    assert {kind: form[1:] for kind, form in FORMS.items()} == {**LENGTHS, GoAway: (0, 256)}


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_are_judged_by_the_header(kind: type[Any]) -> None:
    least, most = LENGTHS[kind]
    for length in (0, least - 1, most + 1, 0xFFFFFFFF):
        why = refused(arrived(state_for(kind)), header(FORMS[kind].type, length))
        assert why.startswith(f"{kind.__name__} of {length} bytes")
    for length in (least, most):
        incoming = arrived(state_for(kind))
        incoming.feed(header(FORMS[kind].type, length))
        if kind is Chunk:
            assert incoming.next() == Chunk(7, length)
            assert incoming.payload == length
            assert incoming.wanted == 0
        else:
            assert incoming.next() is None
            assert incoming.wanted == length


@pytest.mark.parametrize("number", [0x00, 0x05, 0x40, 0x46, 0x50, OPTIONAL - 1])
@pytest.mark.parametrize("state", State)
def test_unknown_type(state: State, number: int) -> None:
    assert f"{number:#04x}" in refused(arrived(state), header(number, 40))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("body", [b"", b"more of a later version"])
def test_a_server_that_goes_away_says_so_between_any_two_messages(
    state: State, body: bytes
) -> None:
    incoming = arrived(state)
    assert not incoming.going_away
    incoming.feed(header(FORMS[GoAway].type, len(body)) + body)
    assert incoming.next() is None
    assert incoming.going_away
    assert incoming.state is state


@pytest.mark.parametrize("number", [0x01, 0x41, OPTIONAL])
@pytest.mark.parametrize("flags", [1, 0x80, 0xFF])
def test_flags(number: int, flags: int) -> None:
    state = State.ANSWER if number == 0x41 else State.REQUESTS
    assert "flags" in refused(arrived(state), header(number, 40, flags=flags))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        *((State.FILE, part) for part in (Chunk(8, 5), Digest(8, 0, b"d" * 32))),
        *((State.FILE, part) for part in (DigestList(0, 0, (b"d" * 32,)), End(0))),
        *((state, Error(8, UNAVAILABLE, "")) for state in (State.FILE, State.TREE)),
        *((State.TREE, part) for part in (Pack(8, b"p" * 40), End(8), End(0xFFFF))),
    ],
)
def test_parts_of_another_answer(state: State, message: Any) -> None:
    why = refused(arrived(state), encode(message)[:8])
    assert f"for request {message.id} within the answer to 7" in why


@pytest.mark.parametrize("state", [State.ANSWER, State.FILE, State.TREE])
@pytest.mark.parametrize("code", [NOT_UNDERSTOOD, TOO_SLOW, TOO_SLOW + 1, 0xFFFF])
@pytest.mark.parametrize("number", [0, 7])
def test_error_that_ends_the_connection(state: State, code: int, number: int) -> None:
    incoming = arrived(state)
    incoming.feed(encode(Error(number, code, "over")))
    assert incoming.next() == Error(number, code, "over")
    assert incoming.state is State.OVER
    assert incoming.between
    assert refused(incoming, encode(End(number))[:8]) == "End where nothing should come"


@pytest.mark.parametrize("state", [State.ANSWER, State.FILE, State.TREE])
@pytest.mark.parametrize("code", [0, ABSENT, 8, FATAL - 1])
def test_error_that_ends_one_answer(state: State, code: int) -> None:
    incoming = arrived(state)
    incoming.feed(encode(Error(7, code, "")) + encode(PACK))
    assert incoming.next() == Error(7, code, "")
    assert incoming.state is State.ANSWER
    assert incoming.next() == PACK


@pytest.mark.parametrize("code", [0, ABSENT, 8, FATAL - 1])
def test_error_about_the_connection_ends_it(code: int) -> None:
    for state in (State.FILE, State.TREE):
        why = refused(arrived(state), encode(Error(0, code, "goes on")))
        assert why == f"error {code} about the connection, which it does not end"
    # Where no answer is under way, it is the answer to request 0.
    incoming = arrived(State.ANSWER)
    incoming.feed(encode(Error(0, code, "")) + encode(PACK))
    assert [incoming.next(), incoming.next()] == [Error(0, code, ""), PACK]


def test_error_in_the_answer_to_request_0() -> None:
    incoming = arrived(State.ANSWER)
    info = FileInfo(0, 6, 0, 0, 20, b"t" * 16)
    incoming.feed(encode(info) + encode(Error(0, UNAVAILABLE, "")) + encode(info))
    assert [incoming.next() for _ in range(3)] == [info, Error(0, UNAVAILABLE, ""), info]
    why = refused(incoming, encode(Error(7, TOO_SLOW, ""))[:8])
    assert "for request 7 within the answer to 0" in why


def test_each_answer_has_its_own_id() -> None:
    incoming = arrived(State.FILE)
    answers: list[Any] = [End(7), Pack(8, b"p" * 40), End(8, packs=1), End(0)]
    incoming.feed(b"".join(map(encode, answers)))
    assert [incoming.next() for _ in range(5)] == [*answers, None]
    incoming.feed(encode(Error(9, 1, "")) + encode(Error(7, 1, "")))
    assert [incoming.next() for _ in range(3)] == [Error(9, 1, ""), Error(7, 1, ""), None]


@pytest.mark.parametrize("packs", [1, 2, 4, 0xFFFFFFFF])
@pytest.mark.parametrize("state", [State.ANSWER, State.FILE, State.TREE])
def test_packs_are_counted(state: State, packs: int) -> None:
    # One that came as a message to be skipped would be missed otherwise.
    incoming = arrived(state)
    came = 0
    if state is State.TREE:
        incoming.feed(encode(PACK) * 2)
        came = len([incoming.next(), incoming.next()]) + 1
    why = refused(incoming, encode(End(7, packs=packs)))
    assert why == f"an answer of {packs} packs ends after {came}"


def test_packs_are_counted_anew_after_an_error() -> None:
    incoming = arrived(State.TREE)
    answers: list[Any] = [Error(7, UNAVAILABLE, "why"), Pack(8, b"p" * 40), End(8, packs=1), End(9)]
    incoming.feed(b"".join(map(encode, answers)))
    assert [incoming.next() for _ in range(4)] == answers


def test_ids_of_requests_are_free() -> None:
    incoming = arrived(State.REQUESTS)
    requests = [Tree(7, b""), Tree(7, b""), Tree(0, b""), Tree(0xFFFF, b"")]
    incoming.feed(b"".join(map(encode, requests)))
    assert [incoming.next() for _ in range(5)] == [*requests, None]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("number", [OPTIONAL + 1, 0xFF])
@pytest.mark.parametrize("length", [0, 1, 100, OPTIONAL_MOST])
def test_optional_messages_are_skipped(state: State, number: int, length: int) -> None:
    incoming = arrived(state)
    # Whatever id they bear, several in a row, before and after a message that is known.
    optional = header(number, length, number=9) + b"o" * length
    if state is State.OVER:
        incoming.feed(optional * 2)
    else:
        end = End(7, packs=1 if state is State.TREE else 0)
        known: Any = Tree(7, b"") if state is State.REQUESTS else end
        incoming.feed(optional * 2 + encode(known) + optional)
        assert incoming.next() == known
    assert incoming.next() is None
    assert incoming.between
    assert incoming.buffered == 0
    assert incoming.wanted == 8


@pytest.mark.parametrize("state", State)
def test_optional_message_holds_no_memory(state: State) -> None:
    incoming = arrived(state)
    before = incoming.between
    incoming.feed(header(OPTIONAL + 1, OPTIONAL_MOST))
    for left in range(OPTIONAL_MOST, 0, -1024):
        assert incoming.next() is None
        assert incoming.wanted == left
        assert incoming.buffered == 0
        assert not incoming.between
        incoming.feed(bytes(1024))
    assert incoming.next() is None
    assert incoming.between is before
    assert incoming.state is state


@pytest.mark.parametrize("length", [OPTIONAL_MOST + 1, 0xFFFFFFFF])
def test_too_long_an_optional_message(length: int) -> None:
    for state in State:
        assert "optional" in refused(arrived(state), header(OPTIONAL + 1, length))


def test_a_refusal_keeps_nobody() -> None:
    """What broke the rules is known until the end, and nothing needs the collector then."""
    incoming = Incoming(State.REQUESTS)
    incoming.feed(b"\xff" * 100)
    for _ in range(2):
        try:
            incoming.next()
        except ProtocolError as refusal:
            said = str(refusal)
    assert said
    gone = weakref.ref(incoming)
    gc.disable()
    try:
        del incoming
        assert gone() is None
    finally:
        gc.enable()
