"""Tests how connections end when the daemon does: who has asked for something gets all of it, who
has not is rid of soon, and no part looks whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from tcpdl.server.accepting import AT_ONCE
from tcpdl.server.deadlines import GRAIN
from tcpdl.server.draining import Draining
from tcpdl.server.echo import EchoFactory
from tcpdl.server.lingering import ACK_SECONDS, LAST_SECONDS
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.goaway import GoAway
from tcpdl.wire.native import Chunk, End, Get, encode
from tests.daemons import SECONDS, Daemon, daemon_of, until
from tests.server.conftest import Connect, Connection, Log
from tests.server.front import Front
from tests.server.http_client import get, settle
from tests.server.native_client import HELLO, Client
from tests.server.test_accepting import World

LARGE = os.urandom(3_000_000)
NAME = b"large\n"


class Ending(Front):
    """A server of all dialects that can be told to end."""

    def end(self, seconds: float = 30, closing: Deferred[Any] | None = None) -> list[None]:
        """End within so many seconds; returns what holds something once all is over."""
        draining = Draining(self.clock, self.deadlines)
        over: list[None] = []
        draining.begin(seconds, [closing or succeed(None)]).addCallback(over.append)
        return over


@pytest.fixture
def server(tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ending]:
    settle(monkeypatch)
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_bytes(b"content")
    (root / "large").write_bytes(LARGE)
    server = Ending(root, connect)
    yield server
    server.close()


def gone(connection: Connection, server: Ending) -> None:
    """Let a connection go whose end is on its way."""
    connection.drain()
    server.clock.advance(0)


def test_nothing_to_be_done_takes_no_time(server: Ending) -> None:
    assert server.end() == [None]
    assert server.clock.getDelayedCalls() == []


def test_it_waits_for_the_ports(server: Ending) -> None:
    closing: Deferred[None] = Deferred()
    over = server.end(closing=closing)
    assert over == []
    closing.callback(None)
    assert over == [None]


def test_the_log_says_what_there_was(server: Ending, log: Log) -> None:
    server.front().say(b"large")
    server.end(1)
    assert log.lines == ["ending; open connections: 1"]
    server.wait(2)
    assert "time is up; connections reset: 1" in log.lines


# Raw.


def test_a_raw_client_gets_its_file(server: Ending) -> None:
    connection = server.front("tcp")
    connection.say(NAME)
    over = server.end()
    assert connection.drain(to_the_end=True) == LARGE
    connection.half_close()
    gone(connection, server)
    assert over == [None]


def test_a_client_that_does_not_close_is_not_waited_for(server: Ending) -> None:
    connection = server.front("tcp")
    connection.say(b"small\n")
    assert connection.drain(to_the_end=True) == b"content"
    over = server.end()
    assert over == []
    until(lambda: not connection.transport.unacknowledged())
    server.wait(2 * ACK_SECONDS + 1)
    connection.write_turn()
    server.clock.advance(0)
    assert over == [None]


@pytest.mark.parametrize("said", [b"", b"lar"])
def test_who_has_not_asked_gets_no_clean_end(said: bytes, server: Ending) -> None:
    connection = server.front("tcp")
    connection.say(said)
    if said:
        server.wait(2)  # it speaks raw, then
    over = server.end()
    server.wait(LAST_SECONDS + 1)
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    assert over == [None]


@pytest.mark.parametrize("before", [b"", b"lar"])
def test_who_asks_soon_is_answered(before: bytes, server: Ending) -> None:
    connection = server.front("tcp")
    connection.say(before)
    server.end()
    server.wait(LAST_SECONDS / 2)
    connection.say(NAME[len(before) :])
    assert connection.drain(to_the_end=True) == LARGE


def test_who_comes_meanwhile_is_answered(server: Ending) -> None:
    server.front().say(b"large")
    server.end()
    connection = server.front("tcp")
    connection.say(get("/small"))
    assert b"\r\nConnection: close\r\n" in connection.drain(to_the_end=True)


def test_when_time_is_up_a_part_does_not_look_whole(server: Ending) -> None:
    connection = server.front("tcp", sndbuf=1)
    connection.say(NAME)
    over = server.end(5)
    server.wait(4)
    assert over == []
    server.wait(2)
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    assert over == [None]


def test_it_can_be_hastened(server: Ending) -> None:
    connection = server.front("tcp", sndbuf=1)
    connection.say(NAME)
    draining = Draining(server.clock, server.deadlines)
    over: list[None] = []
    draining.begin(30, []).addCallback(over.append)
    draining.hasten(60).addCallback(over.append)
    draining.hasten(0).addCallback(over.append)
    server.wait(1)
    assert over == [None] * 3
    draining.hasten(0).addCallback(over.append)
    assert over == [None] * 4
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()


# HTTP.


def test_an_idle_http_connection_ends(server: Ending) -> None:
    connection = server.front("tcp")
    connection.say(get("/small"))
    assert connection.drain().endswith(b"content")
    over = server.end()
    connection.write_turn()
    assert connection.read_to_end().endswith(b"content")
    server.clock.advance(0)
    assert over == [None]


def test_a_request_that_has_come_is_answered_before_the_end(server: Ending) -> None:
    connection = server.front("tcp")
    connection.say(get("/small"))
    connection.drain()
    connection.peer.sendall(get("/small"))
    server.end()
    connection.read()
    received = connection.drain(to_the_end=True)
    assert received.count(b"\r\n\r\ncontent") == 2
    assert received.count(b"Connection: close") == 1


def test_an_answer_over_http_comes_whole(server: Ending) -> None:
    connection = server.front("tcp", sndbuf=1)
    connection.say(get("/large"))
    over = server.end()
    received = connection.drain(to_the_end=True)
    assert received.endswith(LARGE)
    assert b"Connection: close" not in received, "that was said before"
    connection.half_close()
    gone(connection, server)
    assert over == [None]


# Natively.


def natively(server: Ending) -> Client:
    client = Client(server.front("tcp", sndbuf=1))
    client.say(HELLO)
    return client


def goes_away(received: bytes) -> bool:
    incoming = Incoming(State.ANSWER)
    incoming.feed(received)
    while True:
        incoming.take(incoming.payload)
        if incoming.payload or incoming.next() is None:
            return incoming.going_away


def test_an_idle_native_connection_is_told(server: Ending) -> None:
    client = natively(server)
    assert isinstance(client.ask(Get(1, b"small"))[-1], End)
    assert not goes_away(client.connection.received)
    over = server.end()
    assert client.connection.drain(to_the_end=True)
    assert goes_away(client.connection.received)
    client.connection.half_close()
    gone(client.connection, server)
    assert over == [None]


def test_natively_all_that_was_asked_is_answered(server: Ending) -> None:
    client = natively(server)
    client.say(Get(1, b"large"), Get(2, b"small"))
    over = server.end()
    client.say(Get(3, b"small"))
    heard = client.hear()
    ends = [one.id for one in heard if isinstance(one, End)]
    assert ends == [1, 2]
    assert b"".join(one for one in heard if isinstance(one, bytes)) == LARGE + b"content"
    assert goes_away(client.connection.received)
    received = client.connection.received
    told = received.index(encode(GoAway()))
    assert told < received.index(encode(Chunk(2, 7)))
    assert client.ended
    client.connection.half_close()
    gone(client.connection, server)
    assert over == [None]


def test_a_connection_that_had_its_number_of_requests_says_so(server: Ending) -> None:
    client = natively(server)
    client.hear()
    client.protocol._dialect._left = 1
    client.ask(Get(1, b"small"))
    assert goes_away(client.connection.received)


# Echo.


@pytest.mark.parametrize("unread", [b"", b" and more"])
def test_an_echo_is_brought_to_its_end(unread: bytes, server: Ending, connect: Connect) -> None:
    protocol = EchoFactory(server.deadlines).buildProtocol(None)
    connection = connect("tcp", protocol=protocol, clock=server.clock)
    connection.say(b"hello")
    connection.drain()
    connection.peer.sendall(unread)
    over = server.end()
    connection.read()
    assert connection.drain(to_the_end=True) == b"hello" + unread
    connection.half_close()
    gone(connection, server)
    assert over == [None]


def test_an_echo_that_is_accepted_while_the_daemon_ends(server: Ending, connect: Connect) -> None:
    """Who waits at a port comes in several turns; nobody tells those of the later ones."""
    accepted: Deferred[None] = Deferred()
    over = server.end(closing=accepted)
    connection = connect("tcp", clock=server.clock)
    connection.peer.sendall(b"hello")
    protocol: Any = EchoFactory(server.deadlines).buildProtocol(None)
    connection.transport.protocol = protocol
    protocol.makeConnection(connection.transport)
    accepted.callback(None)
    connection.read()
    assert connection.drain(to_the_end=True) == b"hello"
    connection.half_close()
    gone(connection, server)
    assert over == [None]


def test_an_echo_to_which_nothing_was_said_but_for_others(server: Ending, connect: Connect) -> None:
    """What is unread when the daemon ends may be a header of a proxy, which is taken off."""
    protocol = EchoFactory(server.deadlines).buildProtocol(None)
    connection = connect("tcp", protocol=protocol, clock=server.clock)
    connection.peer.sendall(b"PROXY UNKNOWN\r\n")
    over = server.end()
    connection.transport.socket.recv(100)
    server.wait(LAST_SECONDS + GRAIN)
    assert connection.drain(to_the_end=True) == b""
    connection.half_close()
    gone(connection, server)
    assert over == [None]


def test_an_echo_that_ends_takes_nothing_more(server: Ending, connect: Connect) -> None:
    """However much comes while the client is still to take what it was sent before."""
    protocol = EchoFactory(server.deadlines).buildProtocol(None)
    connection = connect(protocol=protocol, clock=server.clock, sndbuf=1)
    said = 0
    while not connection.transport.unsent:
        connection.say(b"x" * 100)
        said += 100
    server.end()
    left = connection.transport.unsent
    for _ in range(100):
        connection.say(b"y" * 100)
    assert connection.transport.unsent == left
    assert connection.drain(to_the_end=True) == b"x" * said
    connection.transport.abortConnection()


# The port.


@pytest.mark.parametrize("waiting", [0, 1, AT_ONCE, 3 * AT_ONCE + 1])
def test_who_is_in_the_backlog_is_accepted(waiting: int) -> None:
    world = World()
    world.port.come(waiting)
    closed: list[None] = []
    world.accepting.finish(world.port, 1000).addCallback(closed.append)
    for _ in range(8):
        world.turn()
    assert closed == [None]
    assert len(world.port.transports) == waiting
    assert world.reactor.readers == set()


def test_the_backlog_is_not_accepted_without_end() -> None:
    world = World()
    world.port.come(500)
    world.accepting.finish(world.port, 100)
    for _ in range(8):
        world.turn()
    assert len(world.port.transports) == 100


# Signals.


def takes_connections(daemon: Daemon) -> bool:
    try:
        daemon.connect().close()
    except OSError:
        return False
    return True


def test_sigterm_lets_clients_have_what_they_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "large").write_bytes(LARGE * 3)
    with daemon_of(root) as daemon:
        with daemon.connect() as sock:
            sock.sendall(NAME)
            received = sock.recv(1)
            daemon.process.send_signal(signal.SIGTERM)
            daemon.log.wait_for("(open connections: 1)")
            until(lambda: not takes_connections(daemon))
            while data := sock.recv(1 << 20):
                received += data
        assert received == LARGE * 3
        assert daemon.process.wait(SECONDS) == -signal.SIGTERM


@pytest.mark.parametrize("numbers", [(15, 2), (2,)])
def test_what_ends_a_daemon_at_once(numbers: tuple[int, ...], tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "large").write_bytes(LARGE * 10)
    with daemon_of(root) as daemon, daemon.connect() as sock:
        sock.sendall(NAME)
        sock.recv(1)
        for number in numbers:
            daemon.process.send_signal(number)
            daemon.log.wait_for(r"(Received \w+)")
        assert daemon.process.wait(SECONDS) == -numbers[0]
        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: sock.recv(1 << 20), b""))
