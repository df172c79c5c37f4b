"""Tests how the raw dialect ends: lingering, deadlines, failures, and no descriptor left open."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import main
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.testing import StringTransport

from tcpdl.content.errors import Unavailable
from tcpdl.server import raw
from tcpdl.server.lingering import ACK_SECONDS, LINGER_BYTES, LINGER_SECONDS
from tcpdl.server.raw import RawFactory
from tests.server.conftest import LOOK_SECONDS, REQUEST_SECONDS, STALL_SECONDS
from tests.server.http_client import outlast

if TYPE_CHECKING:
    from tests.server.conftest import Log, RawServer

PEER = "127.0.0.1:1"
CONTENT = random.Random(7).randbytes(1_000_000)


@pytest.fixture
def server(raw_server: RawServer) -> RawServer:
    (raw_server.root / "small").write_bytes(b"small")
    (raw_server.root / "large").write_bytes(CONTENT)
    return raw_server


def asked(server: RawServer, name: bytes, kind: str = "pair", **options: Any) -> Any:
    """A connection whose client sent `name`; its kernel takes only a part of a large file."""
    connection = server.connect(kind, sndbuf=1, **options)
    connection.say(name + b"\n")
    return connection


def nothing_is_left(server: RawServer) -> None:
    assert len(server.deadlines) == 0
    server.wait(1)
    assert server.clock.getDelayedCalls() == []


# A clean end.


def test_the_protocol_hears_of_half_closes(server: RawServer) -> None:
    assert IHalfCloseableProtocol.providedBy(server.connect().protocol)


def test_the_answer_ends_with_a_half_close(server: RawServer) -> None:
    connection = asked(server, b"large")
    assert connection.drain() == CONTENT
    assert connection.ended
    assert connection.transport.connected
    assert connection.wants_to_read, "what the client still sends must be read, or it is reset"

    connection.half_close()
    assert not connection.transport.connected
    nothing_is_left(server)


@pytest.mark.parametrize("end", ["in time", "late"])
def test_bytes_nobody_asked_for_are_read(end: str, server: RawServer) -> None:
    connection = asked(server, b"large", "tcp")
    connection.say(b"x" * 100_000)
    assert connection.drain(to_the_end=True) == CONTENT
    connection.say(b"x" * 100_000)
    assert connection.transport.connected
    if end == "in time":
        connection.half_close()
    else:
        server.wait(LINGER_SECONDS + 1)
    assert not connection.transport.connected
    nothing_is_left(server)


def test_few_bytes_are_read_to_be_thrown_away(server: RawServer) -> None:
    connection = asked(server, b"small")
    connection.drain()
    for _ in range(LINGER_BYTES // 65536):
        connection.say(b"x" * 65536)
        assert connection.wants_to_read
    connection.say(b"x")
    assert not connection.wants_to_read
    assert connection.transport.connected
    server.wait(LINGER_SECONDS + 1)
    assert not connection.transport.connected


@pytest.mark.parametrize("name", [b"small", b"large", b"absent", b"", b"x" * 2000])
def test_a_client_that_does_not_close_is_left(name: bytes, server: RawServer) -> None:
    connection = asked(server, name)
    connection.drain()
    assert connection.ended
    server.wait(LINGER_SECONDS - 1)
    assert connection.transport.connected
    server.wait(2)
    assert not connection.transport.connected
    nothing_is_left(server)


def test_a_client_without_a_request_is_left_too(server: RawServer) -> None:
    connection = server.connect()
    server.wait(REQUEST_SECONDS + 1)
    connection.drain()
    assert connection.ended
    server.wait(LINGER_SECONDS + 1)
    assert not connection.transport.connected
    nothing_is_left(server)


def test_half_close_while_the_file_is_sent(server: RawServer) -> None:
    connection = asked(server, b"large")
    connection.half_close()
    assert connection.transport.connected
    assert connection.drain(to_the_end=True) == CONTENT
    assert not connection.transport.connected
    nothing_is_left(server)


def test_half_close_after_the_file_is_queued_to_its_end(server: RawServer) -> None:
    """The end of the answer and that of the client's stream meet."""
    connection = asked(server, b"small")
    connection.half_close()
    assert connection.drain(to_the_end=True) == b"small"
    assert not connection.transport.connected
    nothing_is_left(server)


# An end by force.


def test_a_client_that_takes_nothing_is_reset(server: RawServer, log: Log) -> None:
    connection = asked(server, b"large", "tcp")
    server.wait(STALL_SECONDS - 1)
    assert connection.transport.connected
    server.wait(STALL_SECONDS + 2)
    assert not connection.transport.connected
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    (line,) = log.told
    assert line.startswith(f"{PEER} raw large: slow ")
    nothing_is_left(server)


def test_a_client_that_takes_little_is_served(server: RawServer) -> None:
    connection = asked(server, b"large")
    for _ in range(10):
        server.wait(STALL_SECONDS - 5)
        before = connection.transport.bytes_sent
        for _ in range(100):
            connection.take()
            connection.write_turn()
            if connection.transport.bytes_sent > before:
                break
    assert connection.transport.connected
    server.wait(2 * STALL_SECONDS + 2)
    assert not connection.transport.connected
    nothing_is_left(server)


def test_the_end_waits_for_a_slow_client(server: RawServer) -> None:
    """Of a text that waits in the transport, too, the client must take some now and then."""
    connection = server.connect(sndbuf=1)
    connection.fill()
    connection.say(b"?\n")
    server.wait(2 * STALL_SECONDS + 2)
    assert not connection.transport.connected
    nothing_is_left(server)


def test_a_file_that_ends_early_resets_the_client(server: RawServer, log: Log) -> None:
    connection = asked(server, b"large", "tcp")
    os.truncate(server.root / "large", 700_000)
    connection.drain()
    server.clock.advance(0)
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    assert CONTENT.startswith(connection.received)
    assert len(connection.received) <= 700_000
    assert log.told == [f"{PEER} raw large: changed 700000, the file became shorter"]
    nothing_is_left(server)


def test_a_file_that_is_written_over_resets_the_client(server: RawServer, log: Log) -> None:
    """What has been sent and what would be are of two versions."""
    connection = asked(server, b"large", "tcp")
    outlast(server.root / "large")
    with (server.root / "large").open("r+b") as file:
        file.write(CONTENT[::-1])
    connection.drain()
    server.clock.advance(0)
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    assert log.told == [f"{PEER} raw large: changed 1000000, it was written over meanwhile"]
    nothing_is_left(server)


def test_a_client_that_goes_away(server: RawServer, log: Log) -> None:
    connection = asked(server, b"large")
    connection.peer.close()
    connection.write_turn()
    assert not connection.transport.connected
    (line,) = log.told
    assert line.startswith(f"{PEER} raw large: broken ")
    nothing_is_left(server)


@pytest.mark.parametrize("said", [b"", b"na"])
def test_a_client_that_goes_away_before_its_request(
    said: bytes, server: RawServer, log: Log
) -> None:
    connection = server.connect()
    if said:
        connection.say(said)
    connection.lose(main.CONNECTION_LOST)
    nothing_is_left(server)
    assert log.told == []


# Descriptors.


def _take_all(connection: Any, server: RawServer) -> None:
    connection.drain()


def _leave(connection: Any, server: RawServer) -> None:
    connection.lose(main.CONNECTION_LOST)


def _abort(connection: Any, server: RawServer) -> None:
    connection.transport.abortConnection()
    server.clock.advance(0)


def _stall(connection: Any, server: RawServer) -> None:
    server.wait(2 * STALL_SECONDS + 2)


def _shrink(connection: Any, server: RawServer) -> None:
    os.truncate(server.root / "large", 10)
    connection.drain()


@pytest.mark.parametrize("then", [_take_all, _leave, _abort, _stall, _shrink])
def test_the_file_is_closed(
    then: Callable[[Any, RawServer], None], server: RawServer, descriptors: Callable[[], int]
) -> None:
    connection = server.connect(sndbuf=1)
    before = descriptors()
    connection.say(b"large\n")
    assert descriptors() == before + 1
    then(connection, server)
    assert descriptors() <= before


@pytest.mark.parametrize("name", [b"small", b"absent", b"", b"/", b"pipe", b"x" * 2000])
def test_no_file_stays_open(name: bytes, server: RawServer, descriptors: Callable[[], int]) -> None:
    os.mkfifo(server.root / "pipe")
    connection = server.connect()
    before = descriptors()
    connection.say(name + b"\n")
    assert descriptors() == before
    connection.drain()


# Transports that are not ours.


def test_over_any_transport(server: RawServer, log: Log, descriptors: Callable[[], int]) -> None:
    """There is no half-close to rely on, so the end is a close."""
    factory = RawFactory(server.directory, server.clock, server.deadlines)
    before = descriptors()
    protocol: Any = factory.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"small\n")
    producer: Any = transport.producer
    assert not transport.disconnecting
    producer.resumeProducing()
    assert transport.value() == b"small"
    assert transport.disconnecting
    assert len(log.told) == 1
    assert descriptors() == before
    protocol.connectionLost()
    nothing_is_left(server)


def test_a_file_that_cannot_be_opened_now_is_no_missing_one(
    server: RawServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(name: object) -> None:
        raise Unavailable("it cannot be opened: Too many open files")

    monkeypatch.setattr(server.directory, "open_file", busy)
    connection = asked(server, b"large", "tcp")
    server.wait(1)
    assert not connection.transport.connected
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    assert log.told == [
        f"{PEER} raw large: unavailable 0, it cannot be opened: Too many open files"
    ]
    nothing_is_left(server)


def test_a_transport_that_refuses_the_file(
    server: RawServer, log: Log, descriptors: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong when the sending begins, the file is closed and the client told."""

    def refuse(*arguments: object) -> None:
        raise RuntimeError("cannot be sent")

    monkeypatch.setattr(raw, "send_file", refuse)
    connection = server.connect("tcp")
    before = descriptors()
    connection.say(b"large\n")
    assert descriptors() == before
    server.wait(1)
    assert not connection.transport.connected
    assert log.told == [f"{PEER} raw large: failed 0, cannot be sent"]
    nothing_is_left(server)


# Nothing is left to the kernel alone.


def unread(server: RawServer) -> Any:
    """A connection whose client half-closed; the file is in the kernel's hands, and unread."""
    connection = server.connect("tcp")
    connection.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_000_000)
    connection.say(b"large")
    connection.half_close()
    for _ in range(100):
        connection.write_turn()
    assert not connection.wants_to_write
    return connection


def test_a_connection_is_kept_until_all_has_arrived(server: RawServer) -> None:
    connection = unread(server)
    server.wait(STALL_SECONDS / 2)
    assert connection.transport.connected
    assert connection.read_to_end() == CONTENT
    server.wait(LOOK_SECONDS + 1)
    assert not connection.transport.connected
    nothing_is_left(server)


def test_a_connection_is_not_kept_for_a_client_that_never_reads(server: RawServer) -> None:
    connection = unread(server)
    server.wait(STALL_SECONDS - 1)
    assert connection.transport.connected
    server.wait(1 + LOOK_SECONDS + 1)
    assert not connection.transport.connected
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    nothing_is_left(server)


def test_a_connection_is_not_kept_for_a_client_that_is_gone(server: RawServer) -> None:
    connection = unread(server)
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.peer.close()
    server.wait(2 * ACK_SECONDS)
    assert not connection.transport.connected
    nothing_is_left(server)
