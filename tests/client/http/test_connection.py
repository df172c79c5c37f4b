"""Tests `client.http.connection`: what waits it bears, and when it is used again."""

from __future__ import annotations

import threading

import pytest

from tcpdl.client.errors import BadRequest, CannotConnect, ConnectionBroken
from tcpdl.client.http.connection import Connection
from tests.client.http.web_server import Ending, WebServer, reply


def body(connection: Connection) -> bytes:
    """All that comes of a body, in small pieces."""
    found, piece = b"", memoryview(bytearray(7))
    while count := connection.receive(piece):
        found += piece[:count]
    return found


def test_is_used_again(server: WebServer) -> None:
    server.put("/a", b"alpha" * 9)
    server.put("/b", b"")
    with Connection("127.0.0.1", server.port, 5) as connection:
        for target, data in (("/a", b"alpha" * 9), ("/b", b""), ("/a", b"alpha" * 9)):
            assert connection.ask(target).status == 200
            assert body(connection) == data
        assert server.connections == 1
        assert connection.received == server.sent
        assert connection.round_trip > 0


def test_is_not_used_again_before_a_body_has_ended(server: WebServer) -> None:
    server.put("/a", b"alpha" * 9)
    with Connection("127.0.0.1", server.port, 5) as connection:
        connection.ask("/a")
        connection.ask("/a")
        assert body(connection) == b"alpha" * 9
    assert server.connections == 2


@pytest.mark.parametrize("more", [b"x", reply("200 OK", body=b"wrong")])
def test_is_not_used_again_after_bytes_nobody_asked_for(more: bytes, server: WebServer) -> None:
    sent = threading.Event()

    def answer(_: object) -> object:
        yield reply("200 OK", body=b"a" * 100_000) + more
        sent.set()

    server.hook = answer  # type: ignore[assignment]
    with Connection("127.0.0.1", server.port, 5) as connection:
        for _ in range(2):
            connection.ask("/a")
            sent.wait(5)
            assert body(connection) == b"a" * 100_000
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        reply("200 OK", ("Connection", "close"), body=b"a"),
    ],
)
def test_is_not_used_again_where_the_server_will_not(answer: bytes, server: WebServer) -> None:
    server.hook = lambda _: [answer]
    with Connection("127.0.0.1", server.port, 5) as connection:
        for _ in range(2):
            connection.ask("/a")
            assert body(connection) == b"a"
    assert server.connections == 2
    assert connection.received == 2 * len(answer)


def test_answer_that_drips(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is no silence; yet there is an end to the patience with it."""
    clock = iter(range(0, 10_000, 3))
    monkeypatch.setattr("tcpdl.client.http.connection.time.monotonic", lambda: next(clock))
    server.hook = lambda _: [b"HTTP/1.1 200 OK\r\nA: b", Ending.STALL]
    reads = [0]
    honest = Connection._read

    def drip(self: Connection) -> memoryview:
        reads[0] += 1
        return honest(self)[:5] if reads[0] == 1 else memoryview(b"a")

    monkeypatch.setattr(Connection, "_read", drip)
    with (
        Connection("127.0.0.1", server.port, 10) as connection,
        pytest.raises(ConnectionBroken, match="does not come to the end"),
    ):
        connection.ask("/a")
    assert reads[0] < 10


def test_interrupt(server: WebServer) -> None:
    server.hook = lambda _: [Ending.STALL]
    with Connection("127.0.0.1", server.port, 20) as connection:
        timer = threading.Timer(0.05, connection.interrupt)
        timer.start()
        with pytest.raises(ConnectionBroken):
            connection.ask("/a")
        timer.join()
        with pytest.raises(ConnectionBroken):
            connection.ask("/a")
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("host", "port", "field"),
    [
        ("127.0.0.1", 80, "127.0.0.1"),
        ("127.0.0.1", 81, "127.0.0.1:81"),
        ("::1", 80, "[::1]:80"),
        ("fe80::1%eth0", 81, "[fe80::1]:81"),
        ("b\u00fccher.example", 80, "xn--bcher-kva.example"),
    ],
)
def test_host(host: str, port: int, field: str) -> None:
    assert Connection(host, port, 1)._host() == field


def test_host_that_is_none() -> None:
    with pytest.raises((BadRequest, CannotConnect)):
        Connection("\u00e4" * 100, 80, 1).ask("/a")
