"""Tests the echo service and its fixed replies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tcpdl.server.deadlines import GRAIN, Deadlines
from tcpdl.server.echo import IDLE_SECONDS, EchoFactory
from tests.server.conftest import LOOK_SECONDS, STALL_SECONDS

if TYPE_CHECKING:
    from tests.server.conftest import Connect, Connection, Log

HTTP = b"POST /<b>lured</b> HTTP/1.1\r\nHost: here\r\nContent-Length: 14\r\n\r\n<b>caught</b>\n"

Start = Callable[..., "Connection"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(connect: Connect, clock: Clock) -> Start:
    deadlines = Deadlines(clock)

    def start(kind: str = "pair", reply: bytes | None = None) -> Connection:
        protocol = EchoFactory(deadlines, reply).buildProtocol(None)
        return connect(kind, sndbuf=1, protocol=protocol, clock=clock)

    return start


def wait(clock: Clock, seconds: float) -> None:
    clock.pump([2] * round(seconds / 2) + [GRAIN] * 4)


@pytest.mark.parametrize(
    "text", [b"a", b"hello\n", b"HELLO", b"GET", b"GET ", b"HTTP/1.1", b"\0\xff" * 100, b"X" * 9000]
)
def test_what_comes_goes_back_at_once(text: bytes, start: Start) -> None:
    connection = start()
    connection.say(text)
    assert connection.drain() == text
    connection.say(b" more\n")
    assert connection.drain() == text + b" more\n"
    connection.transport.abortConnection()


def test_a_text_of_ones_own_answers_every_message(start: Start) -> None:
    connection = start(reply=b"go away\n")
    connection.say(b"hello")
    assert connection.drain() == b"go away\n"
    connection.say(b"HELLO AGAIN")
    assert connection.drain() == b"go away\n" * 2
    connection.transport.abortConnection()


def test_half_close_is_answered_with_the_rest(start: Start) -> None:
    connection = start()
    text = bytes(range(256)) * 1000
    connection.peer.setblocking(False)
    left = text
    while left and connection.wants_to_read:
        left = left[connection.peer.send(left[:1000]) :]
        connection.read_turn()
    sent = text[: len(text) - len(left)]
    assert not connection.wants_to_read, "it reads no more while nothing is taken"
    assert connection.transport.bytes_sent < len(sent)

    connection.transport.resumeProducing()
    connection.half_close()
    assert connection.drain(to_the_end=True) == sent
    assert connection.transport.disconnected


def test_half_close_without_a_word(start: Start, log: Log) -> None:
    connection = start()
    connection.half_close()
    assert connection.drain(to_the_end=True) == b""
    assert log.told == ["127.0.0.1:1 echo: complete 0"]


def test_it_paces_itself(start: Start) -> None:
    """It reads no more than it can hold, and goes on once the client takes what it was sent."""
    connection = start()
    piece = b"x" * 10_000
    said = 0
    for _ in range(1000):
        connection.peer.setblocking(False)
        try:
            said += connection.peer.send(piece)
        except BlockingIOError:
            break
        connection.read_turn()
    else:
        pytest.fail("it read for ever")
    assert not connection.wants_to_read
    assert said < 1_000_000

    connection.drain()
    assert connection.wants_to_read
    for _ in range(1000):
        connection.read_turn()
        connection.drain()
    assert connection.received == b"x" * said
    connection.transport.abortConnection()


def test_the_transport_is_its_own_producer() -> None:
    """Whatever the transport: that is how it paces itself."""
    transport = StringTransport()
    protocol: Any = EchoFactory(Deadlines(Clock())).buildProtocol(None)
    protocol.makeConnection(transport)
    assert transport.producer is transport
    assert transport.streaming
    protocol.dataReceived(b"text")
    assert transport.value() == b"text"
    protocol.readConnectionLost()
    assert transport.producer is None
    assert transport.disconnecting


# HTTP.


@pytest.mark.parametrize("reply", [None, b"reply"])
def test_an_http_request_is_not_shown_back(reply: bytes | None, start: Start, log: Log) -> None:
    connection = start(reply=reply)
    connection.say(HTTP)
    assert connection.drain(to_the_end=True) == b""
    assert connection.transport.disconnected
    assert log.told == ["127.0.0.1:1 echo: malformed 0"]


@pytest.mark.parametrize("split", range(1, HTTP.index(b"/1.1") + 2))
def test_an_http_request_in_pieces_ends_the_connection(split: int, start: Start) -> None:
    connection = start()
    connection.say(HTTP[:split])
    connection.say(HTTP[split:])
    shown = connection.drain(to_the_end=True)
    assert shown in (b"", HTTP[:split])
    assert b"caught" not in shown


def test_an_http_request_byte_by_byte_ends_the_connection(start: Start) -> None:
    connection = start()
    end = HTTP.index(b"HTTP/1") + len(b"HTTP/1")
    for byte in HTTP[: end - 1]:
        connection.say(bytes([byte]))
    assert connection.wants_to_read
    connection.say(HTTP[end - 1 : end])
    connection.drain(to_the_end=True)
    assert b"HTTP/1" not in connection.received


def test_what_only_later_looks_like_http_is_text(start: Start) -> None:
    connection = start()
    for text in (b"hello\n", HTTP, b"GET / HTTP/1.0\r\n\r\n"):
        connection.say(text)
    assert connection.drain() == b"hello\n" + HTTP + b"GET / HTTP/1.0\r\n\r\n"
    connection.transport.abortConnection()


# Silence.


def test_a_silent_client_is_reset(start: Start, clock: Clock, log: Log) -> None:
    connection = start()
    wait(clock, IDLE_SECONDS - 60)
    assert connection.transport.connected
    wait(clock, 120)
    protocol: Any = connection.protocol
    assert connection.transport.disconnected
    assert len(protocol.factory.deadlines) == 0
    assert log.told == ["127.0.0.1:1 echo: timeout 0"]
    wait(clock, 60)
    assert not clock.getDelayedCalls()


def test_a_client_that_speaks_now_and_then_stays(start: Start, clock: Clock) -> None:
    connection = start()
    for _ in range(10):
        wait(clock, IDLE_SECONDS - 60)
        connection.say(b".")
        connection.drain()
    assert connection.transport.connected
    wait(clock, IDLE_SECONDS + 60)
    assert connection.transport.disconnected


def test_a_client_that_never_reads_is_reset(start: Start, clock: Clock, log: Log) -> None:
    connection = start("tcp")
    connection.peer.setblocking(False)
    while connection.wants_to_read:
        connection.peer.send(b"x" * 10_000)
        connection.read_turn()
    wait(clock, STALL_SECONDS - LOOK_SECONDS)
    assert connection.transport.connected
    wait(clock, 2 * LOOK_SECONDS)
    assert connection.transport.disconnected
    assert not connection.wants_to_write
    assert log.told == [f"127.0.0.1:1 echo: slow {connection.transport.bytes_sent}"]
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()


@pytest.mark.parametrize("reason", [ConnectionDone(), ConnectionAborted()])
def test_a_lost_connection_has_no_deadline(
    reason: Exception, start: Start, clock: Clock, log: Log
) -> None:
    connection = start()
    connection.say(b"text")
    connection.lose(reason)
    assert log.told == ["127.0.0.1:1 echo: broken 4"]
    clock.advance(GRAIN)
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("cut", range(1, HTTP.index(b"/1.1") + 1))
def test_no_part_of_a_target_is_reflected(cut: int, start: Start) -> None:
    """Wherever the request is split, what may become a page stays unseen."""
    connection = start()
    connection.say(HTTP[:cut])
    before = connection.drain()
    connection.say(HTTP[cut:])
    assert connection.drain(to_the_end=True) == before
    assert b"<" not in before


def test_a_long_target_is_not_reflected(start: Start) -> None:
    connection = start()
    connection.say(b"POST /" + b"A" * 30_000 + b" HTTP/1.1\r\n\r\n<b>caught</b>")
    with contextlib.suppress(ConnectionResetError):  # not all that came was read
        connection.drain(to_the_end=True)
    assert connection.received == b""


def test_what_only_looked_like_a_target_goes_back_whole(start: Start) -> None:
    connection = start()
    connection.say(b"see /etc")
    assert connection.drain() == b""
    connection.say(b"/motd\nand more")
    assert connection.drain() == b"see /etc/motd\nand more"
    connection.transport.abortConnection()


def test_what_was_held_goes_back_at_the_end(start: Start) -> None:
    connection = start()
    connection.say(b"see /etc")
    connection.half_close()
    assert connection.drain(to_the_end=True) == b"see /etc"
