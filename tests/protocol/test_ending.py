"""Tests how requests of the Twisted client end otherwise: cancelled, timed out, lost or lied to."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    TimeoutError,  # noqa: A004 - it is what Twisted calls it
)
from twisted.internet.interfaces import ISSLTransport
from zope.interface import directlyProvides

from tcpdl import protocol
from tcpdl.protocol import GoingAway, ProtocolError
from tcpdl.protocol.connection import UNDER_WAY_MOST
from tcpdl.wire import native
from tcpdl.wire.goaway import GoAway
from tcpdl.wire.native import Chunk, Digest, DigestList, End, Error, FileInfo, Get
from tcpdl.wire.pack import LEFT_OUT, LISTED, Entry

SHIFT = 16
CHUNK = 1 << SHIFT
ONE = b"hello\n"

# Cancellation.


@pytest.mark.parametrize("came", [0, 4, 44, 60, 76, 100, CHUNK, 2 * CHUNK + 100, 1 << 30])
def test_cancelled_at_every_stage(wire: Any, say: Any, got: Any, came: int) -> None:
    parts: list[bytes] = []
    result = wire.client.get("x", parts.append)
    answer = wire.sealed(say.file(1))
    wire.feed(answer[:came])
    delivered = list(parts)
    finished = result.called
    result.cancel()
    if finished:
        assert got(result).size == len(say.data)
    else:
        with pytest.raises(CancelledError):
            got(result)
    later = wire.client.get_bytes("y")
    wire.feed(answer[came:] + wire.sealed(say.file(2, ONE)))
    assert parts == delivered
    assert got(later) == ONE


def test_cancelled_while_a_thread_is_at_it(wire: Any, say: Any, got: Any) -> None:
    result = wire.client.get("x", pytest.fail)
    answer = wire.sealed(say.file(1, shift=17))
    wire.feed(answer[:150_000])
    result.cancel()
    later = wire.client.get_bytes("y")
    wire.world.jobs.pop()()
    wire.feed(answer[150_000:] + wire.sealed(say.file(2, ONE)))
    assert wire.world.jobs == [], "what is thrown away is not checked"
    assert got(later) == ONE
    with pytest.raises(CancelledError):
        got(result)


@pytest.mark.parametrize("begun", [False, True])
def test_cancelled_with_much_to_come(wire: Any, say: Any, got: Any, begun: bool) -> None:
    result, later = wire.client.get("x", print), wire.client.get_bytes("y")
    size = (1 << 20) + 1
    if begun:
        wire.hear(say.info(1, size))
    assert not wire.aborted
    result.cancel()
    if not begun:
        wire.hear(say.info(1, size))
    assert wire.aborted
    with pytest.raises(CancelledError):
        got(result)
    for lost in (later, wire.client.get_bytes("z")):
        with pytest.raises(ConnectionAborted, match="nobody wants"):
            got(lost)


def test_a_cancelled_tree_is_not_read_for_ever(wire: Any, say: Any, got: Any) -> None:
    result = wire.client.tree("", pytest.fail)
    result.addErrback(lambda failure: failure.trap(CancelledError))
    result.cancel()
    sent = 0
    while not wire.aborted:
        sent += 100_000
        wire.hear(say.pack(1, Entry(LEFT_OUT, b"a", content=b"." * 100_000)))
        assert sent < 1_200_000


def test_a_range_cancelled_before_and_after_it_is_known_where_chunks_begin(
    wire: Any, say: Any, got: Any
) -> None:
    first, second = wire.client.get("x", print, 5), wire.client.get("x", pytest.fail, 5)
    first.cancel()
    wire.hear(say.info(1, len(say.data)), End(1), say.info(2, len(say.data)), End(2))
    assert [request.id for request in wire.asked()] == [1, 2, 3]
    second.cancel()
    wire.hear(say.file(3))
    for result in (first, second):
        with pytest.raises(CancelledError):
            got(result)


def test_cancelled_by_what_takes_it(wire: Any, say: Any, got: Any) -> None:
    parts: list[bytes] = []

    def take(data: bytes) -> None:
        parts.append(data)
        result.cancel()

    result = wire.client.get("x", take)
    wire.hear(say.file(1))
    with pytest.raises(CancelledError):
        got(result)
    assert len(parts) == 1


# Silence.


def test_a_silent_server_is_not_waited_for(wire: Any, say: Any, got: Any) -> None:
    wire.world.advance(1000)  # nothing is asked, so nothing is late
    first, second = wire.client.get_bytes("x"), wire.client.get_bytes("y")
    answer = wire.sealed(say.file(1, ONE))
    for at in range(len(answer)):
        wire.world.advance(29)
        wire.feed(answer[at : at + 1])
    assert got(first) == ONE
    wire.world.advance(29)
    assert not wire.aborted
    wire.world.advance(1)
    assert wire.aborted
    for late in (second, wire.client.info("z")):
        with pytest.raises(TimeoutError, match="silent for 30 s"):
            got(late)


def test_no_time_out(connect: Any, got: Any) -> None:
    wire = connect(timeout=None)
    result = wire.client.info("x")
    wire.world.advance(1e9)
    assert not result.called
    wire.lose(ConnectionLost())
    with pytest.raises(ConnectionLost):
        got(result)


# Loss.


@pytest.mark.parametrize("reason", [ConnectionDone, ConnectionLost])
def test_all_that_was_asked_fails_with_the_reason(
    wire: Any, say: Any, got: Any, reason: type[Exception]
) -> None:
    asked = [wire.client.get_bytes(str(number)) for number in range(200)]
    wire.feed(wire.sealed(say.file(1, ONE)) + wire.sealed(say.file(2))[:1000])
    wire.lose(reason())
    assert got(asked[0]) == ONE
    for lost in (*asked[1:], wire.client.get("x", print), wire.client.get("x", print, 1)):
        with pytest.raises(reason):
            got(lost)
    assert not wire.aborted


def test_what_came_before_a_loss_counts(wire: Any, say: Any, got: Any, consumer: Any) -> None:
    first, second = wire.client.get("x", consumer), wire.client.get_bytes("y")
    third, fourth = wire.client.get_bytes("z"), wire.client.get_bytes("w")
    answer = wire.sealed(say.file(1, shift=17))
    rest = wire.sealed(say.file(2, ONE) + say.file(3, shift=17) + say.file(4, ONE))
    wire.feed(answer[:-200])
    wire.world.jobs.pop()()
    consumer.producer.pauseProducing()
    # As a TLS layer does, which has more in its hands when it is told to pause.
    wire.feed(answer[-200:] + rest[:-1])
    wire.lose(ConnectionDone())
    assert got(second) == ONE
    with pytest.raises(ConnectionDone):
        got(fourth)
    while wire.world.jobs:
        wire.world.jobs.pop()()
    assert got(third) == say.data
    assert not first.called
    consumer.producer.resumeProducing()
    assert got(first).size == len(say.data)
    assert consumer.data == say.data


@pytest.mark.parametrize("said", [b"", b"\0tc"])
def test_an_end_instead_of_a_greeting(connect: Any, got: Any, said: bytes) -> None:
    wire = connect()
    result = wire.client.info("x")
    wire.hear(said)
    wire.lose(ConnectionDone())
    with pytest.raises(protocol.OtherDialect):
        got(result)


# Logins.


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
def test_a_login_to_this_machine(wire: Any, peer: str) -> None:
    wire.transport.peerAddr = IPv4Address("TCP", peer, 1)
    login = protocol.Login.with_password(b"ann", b"secret")
    wire.client.log_in(login)
    wire.client.info("x").addErrback(lambda _: None)
    first, second = wire.asked()
    assert first == login
    assert second.name == b"x"


def test_a_login_in_clear(wire: Any) -> None:
    wire.transport.peerAddr = IPv4Address("TCP", "192.0.2.1", 1)
    with pytest.raises(protocol.WrongUse, match="under TLS"):
        wire.client.log_in(protocol.Login.with_token(b"secret"))
    assert wire.asked() == []


def test_a_login_under_tls(wire: Any) -> None:
    wire.transport.peerAddr = IPv4Address("TCP", "192.0.2.1", 1)
    directlyProvides(wire.transport, ISSLTransport)
    wire.client.log_in(protocol.Login.with_token(b"secret"))
    assert wire.asked() == [protocol.Login.with_token(b"secret")]


# What a server may say of itself.


@pytest.mark.parametrize("number", [0, 1])
def test_an_error_that_ends_the_connection(wire: Any, got: Any, number: int) -> None:
    asked = wire.client.get_bytes("x"), wire.client.get_bytes("y")
    wire.hear(Error(number, native.TOO_SLOW, "too slow"))
    assert wire.aborted
    for result in (*asked, wire.client.info("z")):
        with pytest.raises(protocol.Dismissed, match="too slow"):
            got(result)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (native.ABSENT, protocol.NotServed),
        (native.REFUSED, protocol.NotServed),
        (native.IS_FOLDER, protocol.IsFolder),
        (native.NOT_A_FOLDER, protocol.NotAFolder),
        (native.UNAVAILABLE, protocol.TryLater),
        (native.CHANGED, protocol.Changed),
        (native.BAD_RANGE, protocol.BadRange),
        (native.LOGIN_NEEDED, protocol.NotAllowed),
        (native.NOT_ALLOWED, protocol.NotAllowed),
        (63, protocol.TryLater),
    ],
)
def test_an_error_that_ends_an_answer(
    wire: Any, say: Any, got: Any, code: int, error: type[Exception]
) -> None:
    parts: list[bytes] = []
    client = wire.client
    asked = [client.get("x", parts.append), client.listdir(), client.digests("x")]
    later = client.get_bytes("y")
    whole = say.file(1)
    wire.hear(whole[: whole.index(say.proof(1, 1))])
    wire.hear(*(Error(number, code, "no") for number in (1, 2, 3)), say.file(4, ONE))
    for result in asked:
        with pytest.raises(error, match="no"):
            got(result)
    assert b"".join(parts) == say.data[:CHUNK]
    assert got(later) == ONE


# What no honest server says.

SIZE = 100_000
TAG = bytes(range(16))
INFO = FileInfo(1, SIZE, 0, 0o644, SHIFT, TAG)
RUN = native.encode(Chunk(1, CHUNK)) + bytes(CHUNK)
REST = native.encode(Chunk(1, SIZE - CHUNK)) + bytes(SIZE - CHUNK)
PROOF = Digest(1, 0, b"." * 32)
LONG = FileInfo(1, 3 * CHUNK, 0, 0o644, SHIFT, TAG)

SEAL = "damaged on its way"
"""What is said of an answer to something else. No lie below is to be noticed by that."""

FILE_LIES: dict[str, list[Any]] = {
    "a digest of no chunk": [INFO, PROOF],
    "a digest of another chunk": [INFO, RUN, PROOF._replace(chunk=1)],
    "a digest twice": [INFO, RUN, PROOF, PROOF],
    "a third run before the first digest": [LONG, RUN, RUN, RUN],
    "a short run": [INFO, Chunk(1, CHUNK - 1)],
    "a long run": [INFO, Chunk(1, CHUNK + 1)],
    "a run beyond the end": [INFO, RUN, Chunk(1, CHUNK)],
    "a run of an empty file": [INFO._replace(size=0), Chunk(1, 1)],
    "no file": [End(1)],
    "an end too early": [INFO, RUN, PROOF, End(1)],
    "an end without a digest": [INFO, RUN, PROOF, REST, End(1)],
    "a file in a file": [INFO, INFO],
    "a list of digests": [INFO, DigestList(1, 0, (b"." * 32,))],
    "another answer": [INFO._replace(id=2)],
    "a part of another answer": [INFO, Chunk(2, CHUNK)],
    "an answer too many": [INFO._replace(size=0), End(1), INFO._replace(id=2)],
    "an error about the connection that goes on": [INFO, Error(0, native.ABSENT, "")],
    "a later error about nothing": [Error(0, native.ABSENT, "")],
    "a request": [Get(1, b"x")],
    "an unknown type": [b"\x60" + bytes(7)],
    "flags": [b"\x41\1\0\1" + bytes(4)],
    "a header that is too long": [b"\x41\0\0\1\xff\xff\xff\xff"],
    "a file without a tag": [b"\x41\0\0\1\0\0\0\x24" + bytes(36)],
}
"""What a server may lie about a file, on a connection where 1 asks for all of it."""


@pytest.mark.parametrize("cut", [1000, 1 << 30])
@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("lie", FILE_LIES)
def test_a_lie_about_a_file(wire: Any, got: Any, lie: str, cancelled: bool, cut: int) -> None:
    result = wire.client.get("x", lambda data: None)
    if cancelled:
        result.addErrback(lambda _: None)
        result.cancel()
    _tell(wire, FILE_LIES[lie], cut)
    assert wire.aborted
    wire.hear(b"anything")
    for lost in (wire.client.info("y"), *([] if cancelled or "too many" in lie else [result])):
        expected = protocol.Damaged if lost is result and result_is_damage(lie) else ProtocolError
        with pytest.raises(expected) as caught:
            got(lost)
        assert SEAL not in str(caught.value)


def result_is_damage(lie: str) -> bool:
    """The first chunk was proved to be wrong before the lie."""
    return lie in ("a digest twice", "an end too early", "an end without a digest")


def _tell(wire: Any, said: list[Any], cut: int) -> None:
    for one in said:
        # What comes before may make the client ask for what this is the answer to.
        wire.feed(wire.sealed(one), cut)


OTHER_LIES: dict[str, tuple[str, list[Any]]] = {
    "a longer file than the tag's": ("range", [INFO, End(1), INFO._replace(id=2, tag=TAG[::-1])]),
    "a shorter file than before": ("range", [INFO, End(1), LONG._replace(id=2, size=70_000)]),
    "another tag than was asked for": ("tag", [INFO]),
    "a file for a tree": ("tree", [INFO]),
    "a pack for a file": ("info", [native.encode(native.Pack(1, b"." * 40))]),
    "a pack for digests": ("digests", [native.encode(native.Pack(1, b"." * 40))]),
    "no digests": ("digests", [INFO, End(1)]),
    "too few digests": ("digests", [INFO, DigestList(1, 0, (b"." * 32,)), End(1)]),
    "too many digests": ("digests", [INFO, DigestList(1, 0, (b"." * 32,) * 3)]),
    "a gap in digests": ("digests", [INFO, DigestList(1, 1, (b"." * 32,))]),
    "a run for digests": ("digests", [INFO, RUN]),
    "a run for info": ("info", [INFO, RUN]),
    "fewer bytes than the offset": ("offset", [INFO, End(1)]),
    "fewer chunks than the first": ("chunks", [INFO, End(1)]),
}


@pytest.mark.parametrize("lie", OTHER_LIES)
def test_a_lie_about_something_else(wire: Any, got: Any, lie: str) -> None:
    ask = {
        "range": lambda client: client.get("x", pytest.fail, 90_000),
        "tree": lambda client: client.tree("", pytest.fail),
        "info": lambda client: client.info("x"),
        "tag": lambda client: client.info("x", TAG[::-1]),
        "digests": lambda client: client.digests("x"),
        "offset": lambda client: client.get("x", pytest.fail, SIZE + 1),
        "chunks": lambda client: client.digests("x", first=3),
    }
    what, said = OTHER_LIES[lie]
    result = ask[what](wire.client)
    _tell(wire, said, 1 << 30)
    assert wire.aborted
    with pytest.raises(ProtocolError) as caught:
        got(result)
    assert SEAL not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"name": b"y"}, {"offset": 1}, {"length": 7}, {"tag": TAG}, {"id": 2}]
)
def test_an_answer_to_another_question(
    wire: Any, say: Any, got: Any, change: dict[str, Any]
) -> None:
    """As it comes when the request was damaged on its way."""
    result = wire.client.get("x", pytest.fail)
    [request] = wire.asked()
    heard = native.encode(request._replace(**change))
    wire.hear(INFO._replace(seal=say.sha256(heard + INFO.unsealed)))
    assert wire.aborted
    with pytest.raises(ProtocolError, match=SEAL):
        got(result)


@pytest.mark.parametrize("change", [{"name": b"y"}, {"flags": 0}, {"shares": 2}])
def test_a_pack_of_another_folder(wire: Any, say: Any, got: Any, change: dict[str, Any]) -> None:
    result = wire.client.tree("x", pytest.fail)
    [request] = wire.asked()
    body = say.pack(1, Entry(LISTED, b"a"))[8:-32]
    heard = native.encode(request._replace(**change))
    wire.hear(native.Pack(1, body + say.sha256(heard + body)), End(1, packs=1))
    with pytest.raises(protocol.Damaged):
        got(result)


@pytest.mark.parametrize(("sent", "said"), [(0, 1), (1, 2), (2, 1), (2, 3)])
def test_packs_that_are_not_as_many(wire: Any, say: Any, got: Any, sent: int, said: int) -> None:
    result = wire.client.tree("x", lambda entries: None)
    wire.hear(*[say.pack(1, Entry(LISTED, b"a"))] * sent, End(1, packs=said))
    assert wire.aborted
    with pytest.raises(ProtocolError, match="packs"):
        got(result)


@pytest.mark.parametrize(
    "name", [b"..", b"a/../b", b"/etc/passwd", b"", b"a//b", b"./a", b"a/", b"a" * 256]
)
@pytest.mark.parametrize("more", [0, 3000])
def test_a_name_that_leads_astray(wire: Any, say: Any, got: Any, name: bytes, more: int) -> None:
    result, later = wire.client.tree("", pytest.fail), wire.client.info("x")
    wire.hear(say.pack(1, *([Entry(LISTED, b"a")] * more), Entry(LISTED, name)))
    for job in wire.world.jobs:
        job()
    assert wire.aborted
    for failed in (result, later):
        with pytest.raises(ProtocolError, match="a name in the tree"):
            got(failed)


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        (b"HTTP/1.1 400 Bad Request", protocol.OtherDialect),
        (b"\0tcpdL", protocol.OtherDialect),
        (native.preface(3), ProtocolError),
        (native.preface(4), ProtocolError),
        (native.MAGIC + b"\0\1", ProtocolError),
        (native.preface(0) + native.encode(INFO), ProtocolError),
        (native.preface(0) + native.encode(Error(0, 64, "none")), protocol.Dismissed),
    ],
)
@pytest.mark.parametrize("cut", [1, 100])
def test_a_greeting_that_is_none(
    connect: Any, got: Any, greeting: bytes, error: type[Exception], cut: int
) -> None:
    wire = connect()
    result = wire.client.get_bytes("x")
    _tell(wire, [greeting], cut)
    assert wire.aborted
    with pytest.raises(error):
        got(result)
    wire.lose(ConnectionAborted())
    assert wire.world.getDelayedCalls() == []


def test_a_word_out_of_turn_ends_an_idle_connection(wire: Any, got: Any) -> None:
    wire.hear(End(1))
    assert wire.aborted
    with pytest.raises(ProtocolError, match="nothing was asked"):
        got(wire.client.info("x"))


# A server that goes away.


def test_what_is_asked_of_a_server_that_goes_away(wire: Any, say: Any, got: Any) -> None:
    first, second = wire.client.get_bytes("x"), wire.client.get_bytes("y")
    wire.asked()
    wire.hear(say.info(1, len(ONE)))
    assert not wire.client.going_away
    wire.hear(native.encode(GoAway()))
    assert wire.client.going_away
    with pytest.raises(GoingAway):
        got(wire.client.get_bytes("z"))
    assert wire.asked() == [], "it is not sent"
    wire.feed(wire.sealed(say.file(1, ONE))[len(say.info(1, len(ONE))) :])
    assert got(first) == ONE
    wire.lose(ConnectionDone())
    with pytest.raises(GoingAway):
        got(second)


def test_an_answer_that_is_cut_off_after_a_server_went_away(wire: Any, say: Any, got: Any) -> None:
    first, second = wire.client.get_bytes("x"), wire.client.get_bytes("y")
    wire.hear(native.encode(GoAway()), say.info(1, len(ONE)))
    wire.lose(ConnectionLost())
    with pytest.raises(ConnectionLost):
        got(first)
    with pytest.raises(GoingAway):
        got(second)


def test_what_waits_to_be_sent_when_a_server_goes_away(wire: Any, say: Any, got: Any) -> None:
    asked = [wire.client.get_bytes("x") for _ in range(UNDER_WAY_MOST + 2)]
    wire.hear(native.encode(GoAway()))
    for waiting in asked[UNDER_WAY_MOST:]:
        with pytest.raises(GoingAway):
            got(waiting)
    assert not any(one.called for one in asked[:UNDER_WAY_MOST])
    for one in asked:
        one.addErrback(lambda _: None)
