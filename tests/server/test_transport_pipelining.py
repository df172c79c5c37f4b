"""Tests that no sequence of writes, files and pauses of the client mixes anything up."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from tests.server.conftest import Connect

OpenFile = Callable[[bytes], int]

SIZE = 200_000
CONTENT = random.Random(5).randbytes(SIZE)

# A write is a number of bytes, a file an offset and a count, a pause how often each side moves.
WRITE = st.tuples(st.just("write"), st.integers(0, 300) | st.integers(0, SIZE))
FILE = st.tuples(st.just("file"), st.integers(0, SIZE), st.integers(0, SIZE))
PAUSE = st.tuples(st.just("pause"), st.integers(0, 3), st.integers(0, 3))
STEPS = st.lists(WRITE | FILE | PAUSE, max_size=12)


@pytest.mark.parametrize("sendfile", [os.sendfile, None], ids=["sendfile", "copying"])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, sndbuf=st.integers(1, 50_000), half_close=st.booleans())
def test_any_sequence_arrives_in_order(
    steps: list[Any],
    sndbuf: int,
    half_close: bool,
    sendfile: Any,
    connect: Connect,
    open_file: OpenFile,
) -> None:
    connection = connect(sndbuf=sndbuf, sendfile=sendfile)
    transport = connection.transport
    fd = open_file(CONTENT)
    expected = b""
    sendings: list[tuple[list[Any], int]] = []
    for kind, first, *second in steps:
        if kind == "write":
            data = bytes([len(expected) % 251]) * first
            transport.write(data)
            expected += data
        elif kind == "file":
            count = min(*second, SIZE - first)
            sendings.append((connection.send(fd, first, count), count))
            expected += CONTENT[first : first + count]
        else:
            for _ in range(first):
                connection.write_turn()
            for _ in range(*second):
                connection.take(10_000)
    if half_close:
        transport.loseWriteConnection()
    else:
        transport.loseConnection()

    assert connection.drain(to_the_end=True) == expected
    assert transport.bytes_sent == len(expected)
    for outcome, count in sendings:
        assert outcome == [count]
    connection.close()


def test_bytes_before_and_after_a_file_that_waits(connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    before = connection.fill()
    connection.send(open_file(CONTENT), 0, SIZE)
    connection.transport.write(b"after")
    assert connection.drain() == before + CONTENT + b"after"


@implementer(IPullProducer)
class Pull:
    """Writes one of its pieces whenever it is asked, then says that it is done."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._pieces = [b"one ", b"two ", b"three"]

    def resumeProducing(self) -> None:
        self._transport.write(self._pieces.pop(0))
        if not self._pieces:
            self._transport.unregisterProducer()

    def stopProducing(self) -> None:
        raise AssertionError("stopped before it was done")


def test_a_pull_producer_is_asked_until_it_is_done(connect: Connect) -> None:
    """Also though all that it wrote went out at once, and nothing waits for the reactor."""
    connection = connect()
    connection.transport.registerProducer(Pull(connection.transport), False)
    connection.transport.loseConnection()
    assert connection.drain(to_the_end=True) == b"one two three"


def test_a_pull_producer_is_asked_after_a_file(connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    connection.send(open_file(CONTENT), 0, SIZE)
    connection.transport.registerProducer(Pull(connection.transport), False)
    connection.transport.loseConnection()
    assert connection.drain(to_the_end=True) == CONTENT + b"one two three"


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "behind bytes"])
def test_no_file_is_sent_after_a_half_close(
    waiting: bool, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1)
    before = connection.fill() if waiting else b""
    connection.transport.loseWriteConnection()
    (problem,) = connection.send(open_file(CONTENT), 0, 1) or [None]
    assert isinstance(problem, ConnectionDone)
    assert connection.drain(to_the_end=True) == before
    (problem,) = connection.send(open_file(CONTENT), 0, 1) or [None]
    assert isinstance(problem, ConnectionDone)
    assert connection.protocol.events == ["write side lost"]


def test_to_cancel_a_file_is_to_reset_the_connection(connect: Connect, open_file: OpenFile) -> None:
    connection = connect("tcp", sndbuf=1)
    fd = open_file(CONTENT)
    outcome: list[Any] = []
    sending = connection.transport.sendFile(fd, 0, SIZE)
    sending.addErrback(lambda failure: outcome.append(failure.type))
    behind = connection.send(fd, 0, 1)

    sending.cancel()
    assert outcome == [CancelledError]
    assert not connection.wants_to_write
    assert not connection.wants_to_read
    connection.reactor.clock.advance(0)
    assert outcome == [CancelledError]
    assert [type(problem) for problem in behind] == [ConnectionAborted]
    assert connection.protocol.reason.check(ConnectionAborted)
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "behind a file"])
@pytest.mark.parametrize("data", ["text", bytearray(b"bytearray")])
def test_what_is_written_must_be_bytes(
    waiting: bool, data: Any, connect: Connect, open_file: OpenFile
) -> None:
    """A bytearray could change while it waits."""
    connection = connect(sndbuf=1)
    if waiting:
        connection.send(open_file(CONTENT), 0, SIZE)
    with pytest.raises(TypeError):
        connection.transport.write(data)
    connection.drain()
