"""Tests what a client is told for whose connection there is no room."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from twisted.internet.task import Clock

from tcpdl.server.busy import RETRY_SECONDS, SENTENCE, SILENT_SECONDS, Busy
from tcpdl.server.deadlines import GRAIN, Deadlines
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tests.server.conftest import move
from tests.server.http_client import Replies, get
from tests.server.native_client import HELLO

if TYPE_CHECKING:
    from tests.server.conftest import Connect, Connection

Refuse = Callable[..., "Connection"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refuse(connect: Connect, clock: Clock) -> Refuse:
    def make(kind: str = "tcp", *, speaks: bool = True) -> Connection:
        return connect(kind, protocol=Busy(Deadlines(clock), speaks=speaks), clock=clock)

    return make


def told(connection: Connection) -> bytes:
    """What the client got; the end of it must be a clean one, and the connection over then."""
    assert connection.drain(to_the_end=True) == connection.received
    connection.peer.close()
    connection.read_turn()
    move(connection.reactor.clock, 1)
    assert not connection.transport.connected
    return connection.received


@pytest.mark.parametrize(
    ("method", "cut"),
    [("GET", 1), ("GET", 5), ("GET", 99), ("HEAD", 1), ("HEAD", 99), ("OPTIONS", 3), ("POST", 99)],
)
def test_http(method: str, cut: int, refuse: Refuse) -> None:
    connection = refuse()
    request = get("/any", method=method)
    for part in (request[:cut], request[cut:]):
        connection.say(part)
    replies = Replies()
    replies.methods.append(method)
    replies.feed(told(connection))
    reply = replies.next(ended=True)
    assert reply is not None
    assert reply.status == 503
    assert reply["retry-after"] == str(RETRY_SECONDS)
    assert reply["connection"] == "close"
    assert reply.body == (b"" if method == "HEAD" else SENTENCE.encode() + b"\n")
    assert replies.rest == b""


@pytest.mark.parametrize("said", [HELLO, HELLO + native.encode(native.Get(1, b"any"))])
def test_native(said: bytes, refuse: Refuse) -> None:
    connection = refuse()
    connection.say(said)
    heard = Incoming(State.ANSWER)
    heard.feed(told(connection))
    assert heard.next() == native.Error(0, native.BUSY, SENTENCE)
    assert heard.digests == 0
    assert heard.state is State.OVER


@pytest.mark.parametrize("said", [b"any\n", b"\xff", b"x" * 3000, b"any"])
def test_raw(said: bytes, refuse: Refuse) -> None:
    connection = refuse()
    connection.say(said)
    assert told(connection) == b""


def test_tls(refuse: Refuse) -> None:
    """An alert, which is all that can be said at no cost."""
    connection = refuse()
    connection.say(bytes.fromhex("16 0301 00f8 01"))
    assert told(connection) == bytes.fromhex("15 0303 0002 0250")


def test_a_port_that_speaks_nothing_of_ours(refuse: Refuse) -> None:
    connection = refuse(speaks=False)
    assert told(connection) == b""


def test_a_client_that_says_nothing(refuse: Refuse, clock: Clock) -> None:
    connection = refuse()
    move(clock, SILENT_SECONDS - GRAIN)
    assert connection.take() == 0
    assert not connection.ended
    move(clock, 2 * GRAIN)
    assert told(connection) == b""


@pytest.mark.parametrize("said", [b"", b"GE", HELLO[:4]])
def test_a_client_that_half_closes(said: bytes, refuse: Refuse) -> None:
    connection = refuse()
    if said:
        connection.say(said)
    connection.half_close()
    assert told(connection) == b""


def test_a_client_that_is_lost(refuse: Refuse, clock: Clock) -> None:
    connection = refuse()
    connection.say(b"G")
    connection.lose(ConnectionError())
    move(clock, 10)
    assert not clock.getDelayedCalls()


def test_what_else_comes_is_thrown_away(refuse: Refuse) -> None:
    connection = refuse("pair")
    connection.say(get("/any", method="POST") + b"x" * 100_000)
    connection.say(b"x" * 100_000)
    assert told(connection).startswith(b"HTTP/1.1 503 ")
