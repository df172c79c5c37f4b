"""Tests that a transport keeps to limits of rate, and does everything else as it does without."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.task import Clock
from zope.interface import implementer

import tcpdl.server.transport
from tcpdl.server.outgoing import FileCutShort
from tcpdl.server.shaping import BURST_LEAST, OVERDRAW, TICK_SECONDS, Rates, Shaper
from tests.certificates import server_context
from tests.server.conftest import Connect, Connection
from tests.server.tls_client import TlsClient

OpenFile = Callable[[bytes], int]

CONTENT = random.Random(5).randbytes(300_000)

RATE = 100_000

SECONDS_MOST = 10_000
"""After this long, on the clock, a connection that is not done is taken to be stuck."""

EACH_LIMIT = pytest.mark.parametrize(
    "rates",
    [Rates(RATE), Rates(None, RATE), Rates(None, None, RATE), Rates(RATE, RATE, RATE)],
    ids=["in all", "address", "connection", "all three"],
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def turns(connection: Connection) -> None:
    """Let both sides of the connection do all they can at this moment."""
    for _ in range(1000):
        connection.write_turn()
        if not connection.take() and not connection.wants_to_write:
            return
    raise AssertionError("a busy loop")


def step(clock: Clock, *connections: Connection) -> None:
    clock.advance(TICK_SECONDS)
    for connection in connections:
        turns(connection)


def drain(clock: Clock, connection: Connection, size: int | None = None) -> bytes:
    """What the peer has got once the transport has sent all: `size` bytes, or up to the end."""
    turns(connection)
    end = clock.seconds() + SECONDS_MOST
    while connection.transport.held or connection.wants_to_write:
        assert clock.seconds() < end, f"stuck after {len(connection.received)} bytes"
        step(clock, connection)
    while not connection.ended and (size is None or len(connection.received) < size):
        assert select.select([connection.peer], [], [], 20)[0]
        connection.take()
    return connection.received


# Rates and order.


@EACH_LIMIT
@pytest.mark.parametrize("kind", ["pair", "tcp", "unix"])
@pytest.mark.parametrize("sendfile", [os.sendfile, None], ids=["sendfile", "copying"])
def test_bytes_and_files_keep_their_order_and_the_rate(
    sendfile: Any, kind: str, rates: Rates, clock: Clock, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(kind, clock=clock, sendfile=sendfile, shaper=Shaper(rates, clock))
    transport = connection.transport
    fd = open_file(CONTENT)

    transport.write(b"<" * 10)
    sendings = [connection.send(fd, 0, 200_000)]
    transport.write(b"-" * 70_000)
    transport.writeSequence([b"|" * 30_000, b"/" * 30_000])
    sendings.append(connection.send(fd, 200_000, 100_000))
    transport.write(b">")
    sent = b"<" * 10 + CONTENT[:200_000] + b"-" * 70_000
    sent += b"|" * 30_000 + b"/" * 30_000 + CONTENT[200_000:] + b">"

    assert drain(clock, connection, len(sent)) == sent
    assert sendings == [[200_000], [100_000]]
    assert transport.bytes_sent == len(sent)
    assert clock.seconds() == pytest.approx((len(sent) - BURST_LEAST) / RATE, abs=0.2)
    assert not transport.held
    step(clock, connection)
    assert not clock.getDelayedCalls()


@EACH_LIMIT
def test_bytes_alone_keep_the_rate(rates: Rates, clock: Clock, connect: Connect) -> None:
    """Nothing but the buffer of the base class, which is sent piece by piece."""
    connection = connect(clock=clock, shaper=Shaper(rates, clock))
    connection.transport.writeSequence([CONTENT[:100_000], CONTENT[100_000:]])
    assert drain(clock, connection, len(CONTENT)) == CONTENT
    assert clock.seconds() == pytest.approx((len(CONTENT) - BURST_LEAST) / RATE, abs=0.2)


def test_a_tiny_buffer_and_a_rate(clock: Clock, connect: Connect, open_file: OpenFile) -> None:
    """It waits now for the socket, now for its turn."""
    connection = connect(sndbuf=1, clock=clock, shaper=Shaper(Rates(RATE), clock))
    sending = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.write(CONTENT)
    assert drain(clock, connection, 2 * len(CONTENT)) == 2 * CONTENT
    assert sending == [len(CONTENT)]
    assert clock.seconds() == pytest.approx((2 * len(CONTENT) - BURST_LEAST) / RATE, abs=0.2)


def test_what_a_full_socket_does_not_take_is_not_charged(clock: Clock, connect: Connect) -> None:
    shaper = Shaper(Rates(RATE), clock)
    slow = connect(sndbuf=1, clock=clock, shaper=shaper)
    slow.transport.write(b"x" * BURST_LEAST)
    slow.transport.writeSequence([b"x", b"y"])
    at_once = slow.transport.bytes_sent
    assert at_once < BURST_LEAST / 2

    fast = connect(clock=clock, shaper=shaper)
    fast.transport.writeSequence([b"x" * (BURST_LEAST - at_once)])
    assert fast.transport.bytes_sent == BURST_LEAST - at_once
    slow.drain()
    drain(clock, slow, BURST_LEAST + 2)


@EACH_LIMIT
@pytest.mark.parametrize("end", ["loseConnection", "loseWriteConnection"])
@pytest.mark.parametrize("sndbuf", [None, 1])
def test_what_is_encrypted_keeps_its_order_and_the_rate(
    sndbuf: int | None,
    end: str,
    rates: Rates,
    clock: Clock,
    connect: Connect,
    open_file: OpenFile,
) -> None:
    shaper = Shaper(rates, clock)
    connection = connect(clock=clock, shaper=shaper, sndbuf=sndbuf, tls=server_context)
    client = TlsClient(connection).shake()
    transport = connection.transport
    fd = open_file(CONTENT)

    transport.write(b"<" * 10)
    sendings = [connection.send(fd, 0, 200_000)]
    transport.write(b"-" * 70_000)
    transport.writeSequence([b"|" * 30_000, b"/" * 30_000])
    sendings.append(connection.send(fd, 200_000, 100_000))
    transport.write(b">")
    getattr(transport, end)()
    sent = b"<" * 10 + CONTENT[:200_000] + b"-" * 70_000
    sent += b"|" * 30_000 + b"/" * 30_000 + CONTENT[200_000:] + b">"
    drain(clock, connection)
    assert client.hear() == sent
    assert client.ended
    assert sendings == [[200_000], [100_000]]
    assert transport.bytes_sent == len(connection.received)
    taken = (len(connection.received) - BURST_LEAST) / RATE
    assert clock.seconds() == pytest.approx(taken, abs=0.2)


# While it is held.


def held(clock: Clock, connect: Connect, **options: Any) -> Connection:
    """A connection that is held, since it has sent a burst."""
    connection = connect(clock=clock, shaper=Shaper(Rates(None, RATE), clock), **options)
    connection.transport.write(b"." * BURST_LEAST)
    assert not connection.transport.held
    connection.transport.write(b"!")
    assert connection.transport.held
    return connection


def test_it_asks_for_nothing(clock: Clock, connect: Connect, open_file: OpenFile) -> None:
    connection = held(clock, connect)
    sending = connection.send(open_file(CONTENT), 0, 5)
    connection.transport.write(b"more")
    assert not connection.wants_to_write
    assert connection.wants_to_read
    turns(connection)
    assert connection.received == b"." * BURST_LEAST
    assert connection.transport.unsent == 5

    assert drain(clock, connection, BURST_LEAST + 10)[BURST_LEAST:] == b"!" + CONTENT[:5] + b"more"
    assert sending == [5]
    assert not connection.transport.held
    assert connection.transport.unsent == 0


def test_a_small_answer_is_not_split(clock: Clock, connect: Connect) -> None:
    connection = connect(clock=clock, shaper=Shaper(Rates(RATE), clock))
    connection.transport.write(b"." * (BURST_LEAST - 1))
    connection.transport.write(b"x" * OVERDRAW)
    assert connection.transport.bytes_sent == BURST_LEAST - 1 + OVERDRAW


def test_a_push_producer_is_paused(clock: Clock, connect: Connect) -> None:
    connection = held(clock, connect)
    told: list[str] = []

    @implementer(IPushProducer)
    class Push:
        def pauseProducing(self) -> None:
            told.append("pause")

        def resumeProducing(self) -> None:
            told.append("resume")

        def stopProducing(self) -> None:
            told.append("stop")

    connection.transport.registerProducer(Push(), True)
    connection.transport.write(bytes(connection.transport.bufferSize))
    assert told == ["pause"]
    drain(clock, connection, BURST_LEAST + 1 + connection.transport.bufferSize)
    assert told == ["pause", "resume"]
    connection.transport.unregisterProducer()


def test_a_pull_producer_is_asked_as_the_rate_allows(clock: Clock, connect: Connect) -> None:
    connection = connect(clock=clock, shaper=Shaper(Rates(RATE), clock))
    transport = connection.transport

    @implementer(IPullProducer)
    class Pull:
        left = 50

        def resumeProducing(self) -> None:
            transport.write(bytes(10_000))
            self.left -= 1
            if not self.left:
                transport.unregisterProducer()

        def stopProducing(self) -> None:
            raise AssertionError

    transport.registerProducer(Pull(), False)
    drain(clock, connection, 500_000)
    assert clock.seconds() == pytest.approx((500_000 - BURST_LEAST) / RATE, abs=0.2)


@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("end", ["loseConnection", "loseWriteConnection"])
def test_an_end_comes_after_what_is_held(
    end: str, file: bool, clock: Clock, connect: Connect, open_file: OpenFile
) -> None:
    connection = held(clock, connect)
    more = CONTENT if file else b""
    if file:
        connection.send(open_file(CONTENT), 0, len(CONTENT))
    getattr(connection.transport, end)()
    assert connection.transport.held
    assert drain(clock, connection)[BURST_LEAST:] == b"!" + more
    assert connection.ended
    step(clock, connection)
    assert not clock.getDelayedCalls()


def test_it_may_be_reset(clock: Clock, connect: Connect, open_file: OpenFile) -> None:
    connection = held(clock, connect, kind="tcp")
    sending = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.abortConnection()
    clock.advance(0)
    assert connection.protocol.events == ["lost"]
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    assert len(sending) == 1
    for _ in range(1000):
        step(clock)
    assert not clock.getDelayedCalls()


def test_it_is_reset_if_lost_until_all_is_sent(clock: Clock, connect: Connect) -> None:
    connection = held(clock, connect, kind="tcp")
    transport = connection.transport

    def lingers() -> tuple[int, ...]:
        found = transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        return struct.unpack("ii", found)

    transport.reset_if_lost(True)
    transport.reset_if_lost(False)
    assert lingers() == (1, 0)
    drain(clock, connection, BURST_LEAST + 1)
    assert lingers() == (0, 0)


def test_a_lost_peer_is_noticed(clock: Clock, connect: Connect, open_file: OpenFile) -> None:
    """Not by the limits, but by the reactor, as ever: it sees the error when it sends."""
    connection = held(clock, connect, kind="tcp")
    sending = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.peer.close()
    for _ in range(1000):
        clock.advance(TICK_SECONDS)
        connection.write_turn()
        if sending:
            break
    assert connection.protocol.events == ["lost"]
    for _ in range(1000):
        step(clock)
    assert not clock.getDelayedCalls()


def test_a_file_that_becomes_shorter(clock: Clock, connect: Connect, open_file: OpenFile) -> None:
    connection = held(clock, connect, kind="tcp")
    fd = open_file(CONTENT)
    sending = connection.send(fd, 0, len(CONTENT))
    os.ftruncate(fd, 0)
    for _ in range(1000):
        step(clock)
    (problem,) = sending
    assert isinstance(problem, FileCutShort)
    assert connection.protocol.events == ["lost"]
    assert not clock.getDelayedCalls()


def test_a_disk_that_is_slow(
    clock: Clock, connect: Connect, open_file: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that a thread reads first are asked for once they are there."""
    done: list[Callable[[], None]] = []

    class Warmer:
        running = True

        def warm(self, fd: int, offset: int, count: int, then: Callable[[], None]) -> None:
            done.append(then)

    monkeypatch.setattr(tcpdl.server.transport, "would_wait", lambda fd, position: not done)
    connection = held(clock, connect, warmer=Warmer())
    sending = connection.send(open_file(CONTENT), 0, len(CONTENT))
    for _ in range(1000):
        step(clock, connection)
    assert connection.received[BURST_LEAST:] == b"!"
    assert connection.transport.held, "by the disk; no limit keeps it"
    assert not clock.getDelayedCalls()
    done[0]()
    drain(clock, connection, BURST_LEAST + 1 + len(CONTENT))
    assert sending == [len(CONTENT)]


# Sharing.


def test_many_connections_of_one_address_get_no_more_than_one_of_another(
    clock: Clock, connect: Connect, open_file: OpenFile
) -> None:
    rate = 5_000_000
    shaper = Shaper(Rates(rate), clock)
    hosts = ["127.0.0.1"] * 13 + ["::ffff:127.0.0.2"]
    connections = [connect(clock=clock, shaper=shaper, host=host) for host in hosts]
    fd = open_file(bytes(30_000_000))
    for connection in connections:
        connection.send(fd, 0, 30_000_000)
    for _ in range(50):
        step(clock, *connections)
    before = [connection.transport.bytes_sent for connection in connections]
    for _ in range(200):
        step(clock, *connections)
    *many, one = (
        connection.transport.bytes_sent - at
        for connection, at in zip(connections, before, strict=True)
    )
    assert sum(many) + one == pytest.approx(2 * rate, rel=0.05)
    assert one == pytest.approx(rate, rel=0.1)
    for each in many:
        assert each == pytest.approx(rate / 13, rel=0.2)


# Whatever is sent.

PART = st.tuples(
    st.sampled_from(["write", "sequence", "file", "wait"]),
    st.integers(0, 60_000) | st.integers(0, 300_000),
)


@given(
    rates=st.builds(
        Rates,
        st.none() | st.integers(20_000, 5_000_000),
        st.none() | st.integers(20_000, 5_000_000),
        st.integers(20_000, 5_000_000),
    ),
    parts=st.lists(st.tuples(st.integers(0, 2), PART), min_size=1, max_size=12),
    sndbuf=st.sampled_from([None, 1]),
    end=st.sampled_from([None, "loseConnection", "loseWriteConnection"]),
)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_nothing_is_lost_swapped_or_too_fast(
    rates: Rates,
    parts: list[tuple[int, tuple[str, int]]],
    sndbuf: int | None,
    end: str | None,
    connect: Connect,
    open_file: OpenFile,
) -> None:
    clock = Clock()
    shaper = Shaper(rates, clock)
    connections = [
        connect(clock=clock, shaper=shaper, sndbuf=sndbuf, host=host)
        for host in ("127.0.0.1", "127.0.0.1", "::2")
    ]
    expected = [b"", b"", b""]
    fd = open_file(CONTENT)

    def check() -> None:
        sent = [connection.transport.bytes_sent for connection in connections]
        for rate, number, bursts in [
            (rates.in_all, sum(sent), 2),
            (rates.per_address, sent[0] + sent[1], 1),
            (rates.per_address, sent[2], 1),
            *((rates.per_connection, number, 1) for number in sent),
        ]:
            if rate is not None:
                burst = max(rate / 10, BURST_LEAST) * bursts + OVERDRAW + 1
                assert number <= rate * clock.seconds() + burst

    for which, (doing, size) in parts:
        connection = connections[which]
        transport = connection.transport
        data = CONTENT[:size]
        if doing == "write":
            transport.write(data)
        elif doing == "sequence":
            transport.writeSequence([data[: size // 3], data[size // 3 :]])
        elif doing == "file":
            connection.send(fd, 0, size)
        else:
            data = b""
            for _ in range(size // 10_000):
                step(clock, *connections)
        expected[which] += data
        check()
    if end:
        for connection in connections:
            getattr(connection.transport, end)()
    for _ in range(100_000):
        if all(
            c.ended if end else c.received == e for c, e in zip(connections, expected, strict=True)
        ):
            break
        step(clock, *connections)
        check()
    assert [connection.received for connection in connections] == expected
    assert [connection.ended for connection in connections] == [end is not None] * 3
