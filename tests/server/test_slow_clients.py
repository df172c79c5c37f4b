"""Tests which clients are waited for: those that take what they are owed at a slow but steady pace,
in every dialect; and that those who only seem to do something are not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from tcpdl.content.directory import Directory
from tcpdl.server.deadlines import GRAIN, Deadlines, Times
from tcpdl.server.echo import EchoFactory
from tcpdl.server.progress import Pace
from tcpdl.server.raw import RawFactory
from tcpdl.wire import native
from tests.server.conftest import (
    HEAD_SECONDS,
    LOOK_SECONDS,
    REQUEST_SECONDS,
    STALL_SECONDS,
    Connect,
    Connection,
    RawServer,
    move,
)
from tests.server.http_client import HttpServer, get, settle
from tests.server.native_client import HELLO, NativeServer

LARGE = os.urandom(2_000_000)
WHOLE = native.encode(native.Get(1, b"x" * 1000))


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    (root / "large").write_bytes(LARGE)
    (root / "many").mkdir()
    for number in range(1500):
        (root / "many" / f"{number:0100}").touch()
    return root


Begin = Callable[[], tuple[Connection, Clock]]


# Sent by sendfile, a Unix socket has 64 KiB in one piece, which is taken all at once.


@pytest.fixture(params=["raw", "native", "tree", "file", "ranges", "tar", "zip", "page", "echo"])
def begin(request: pytest.FixtureRequest, root: Path, connect: Connect) -> Iterator[Begin]:
    """Begins an answer that is longer than what the kernel takes at once."""
    to_close: list[Callable[[], object]] = []
    dialect: str = request.param

    def raw() -> tuple[Connection, Clock]:
        clock = Clock()
        directory = Directory(root)
        to_close.append(directory.close)
        protocol = RawFactory(directory, clock, Deadlines(clock)).buildProtocol(None)
        connection = connect(sndbuf=1, sendfile=None, protocol=protocol, clock=clock)
        connection.say(b"large\n")
        return connection, clock

    def in_native() -> tuple[Connection, Clock]:
        server = NativeServer(root, connect)
        to_close.append(server.directory.close)
        client = server.connect(sndbuf=1, sendfile=None)
        tree = native.Tree(1, b"", native.RECURSIVE | native.CONTENT)
        client.say(tree if dialect == "tree" else native.Get(1, b"large"))
        return client.connection, server.clock

    def http() -> tuple[Connection, Clock]:
        server = HttpServer(root, connect)
        to_close.append(server.close)
        client = server.connect(sndbuf=1, sendfile=None)
        fields = ["Range: bytes=0-900000,1000000-"] if dialect == "ranges" else []
        target = {
            "tar": "/?archive=tar",
            "zip": "/?archive=zip",
            "page": "/many/",
        }
        client.say(get(target.get(dialect, "/large"), *fields))
        return client.connection, server.clock

    def echo() -> tuple[Connection, Clock]:
        clock = Clock()
        protocol = EchoFactory(Deadlines(clock)).buildProtocol(None)
        connection = connect(sndbuf=1, protocol=protocol, clock=clock)
        fill(connection)
        return connection, clock

    begins = {"raw": raw, "native": in_native, "tree": in_native, "echo": echo}
    yield begins.get(dialect, http)
    for close in to_close:
        close()


def fill(connection: Connection) -> None:
    """Have the echo service read until it waits for its client to take some of it."""
    connection.peer.setblocking(False)
    while connection.wants_to_read:
        connection.peer.send(b"x" * 10_000)
        connection.read_turn()


def take(connection: Connection, rate: float, seconds: int, clock: Clock) -> None:
    """Let the client take `rate` bytes a second, for so long."""
    due = 0.0
    for _ in range(seconds):
        due += rate
        while due >= 1 and (count := connection.take(int(due))):
            due -= count
        connection.write_turn()
        move(clock, 1)
        if not connection.transport.connected:
            return


def test_a_slow_client_is_served(begin: Begin) -> None:
    connection, clock = begin()
    take(connection, 1000, 4 * int(STALL_SECONDS), clock)
    assert connection.transport.connected
    connection.transport.abortConnection()
    move(clock, 1)


@pytest.mark.parametrize("rate", [0, 1, 100])
def test_a_client_that_trickles_is_reset(rate: int, begin: Begin) -> None:
    connection, clock = begin()
    take(connection, rate, int(2 * STALL_SECONDS), clock)
    assert not connection.transport.connected


def test_a_client_that_stops_is_reset_soon(begin: Begin) -> None:
    connection, clock = begin()
    take(connection, 2000, 31, clock)
    assert connection.transport.connected
    move(clock, STALL_SECONDS - 2 * LOOK_SECONDS)
    assert connection.transport.connected
    move(clock, 3 * LOOK_SECONDS + 2 * GRAIN)
    assert not connection.transport.connected


def test_a_client_that_never_reads_is_reset_soon(raw_server: RawServer) -> None:
    """The first look, before anything is sent, finds nothing to measure by."""
    (raw_server.root / "large").write_bytes(LARGE * 4)
    connection = raw_server.connect("tcp")
    connection.say(b"large\n")
    for _ in range(100):
        connection.write_turn()
    move(raw_server.clock, STALL_SECONDS + LOOK_SECONDS / 2 + 2 * GRAIN)
    assert not connection.transport.connected


@pytest.mark.parametrize(
    ("pace", "stays"), [(Pace(0, 20), True), (Pace(500, 20), False), (Pace(500, 120), True)]
)
def test_the_pace_is_a_matter_of_configuration(
    pace: Pace, stays: bool, root: Path, connect: Connect
) -> None:
    clock = Clock()
    protocol = EchoFactory(Deadlines(clock, Times(pace=pace))).buildProtocol(None)
    connection = connect(sndbuf=1, protocol=protocol, clock=clock)
    fill(connection)
    for _ in range(6):
        connection.take(3000)
        connection.write_turn()
        move(clock, 15)
    assert bool(connection.transport.connected) is stays
    connection.transport.abortConnection()
    move(clock, 1)


# Requests that come byte by byte.


def test_the_first_request_has_one_time_for_all(connect: Connect, root: Path) -> None:
    server = RawServer(root, connect)
    connection = server.connect(quiet=0)
    for _ in range(int(REQUEST_SECONDS) - 2):
        connection.say(b"x")
        server.wait(1)
    assert not connection.ended
    server.wait(3)
    assert connection.drain(to_the_end=True) == b""
    server.wait(LOOK_SECONDS)
    server.directory.close()


@pytest.mark.parametrize(
    ("said", "more"), [(HELLO[:3], b""), (HELLO + WHOLE[:8] + bytes(32), b"x")]
)
def test_a_native_request_that_trickles(
    said: bytes, more: bytes, connect: Connect, root: Path
) -> None:
    server = NativeServer(root, connect)
    client = server.connect(said)
    for _ in range(int(REQUEST_SECONDS) - 2):
        client.say(more)
        server.wait(1)
    assert not client.connection.ended
    server.wait(3)
    client.connection.drain(to_the_end=True)
    assert (
        native.encode(native.Error(0, native.TOO_SLOW, "the request did not come in time"))
        in client.connection.received
    )
    server.wait(LOOK_SECONDS)
    server.directory.close()


def test_a_request_that_trickles_while_an_answer_waits(connect: Connect, root: Path) -> None:
    """Each has its own time."""
    server = HttpServer(root, connect)
    client = server.connect("tcp", sndbuf=4096)
    client.say(get("/many/?format=json"))
    for _ in range(int(HEAD_SECONDS) - 2):
        client.connection.say(b"G")
        server.wait(1)
    assert client.connection.transport.connected
    server.wait(STALL_SECONDS)
    assert not client.connection.transport.connected or client.connection.protocol._ended
    server.wait(2 * STALL_SECONDS)
    assert not client.connection.transport.connected
    server.close()


def test_small_answers_that_are_not_taken(connect: Connect, root: Path) -> None:
    """They are in the kernel's hands; so the connection seems to be idle, and is not."""
    server = HttpServer(root, connect)
    client = server.connect("tcp")
    client.connection.transport.socket.setsockopt(1, 7, 4_000_000)
    small = get("/large", "Range: bytes=0-50000")
    for _ in range(60):
        client.say(small)
    connection: Any = client.connection
    assert connection.transport.under_way()
    server.wait(STALL_SECONDS - 1)
    assert connection.transport.connected
    server.wait(1 + 2 * LOOK_SECONDS)
    assert not connection.transport.connected
    server.close()
