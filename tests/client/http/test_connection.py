"""Tests `client.http.connection`: what waits it bears, and when it is used again."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from tcpdl.client.errors import BadRequest, CannotConnect, ConnectionBroken
from tcpdl.client.http import response
from tcpdl.client.http.connection import FRAMING, Connection
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tests.client.http.web_server import SECONDS, Asked, Ending, Piece, WebServer, chunked, reply


def body_of(connection: Connection) -> bytes:
    """All that comes of a body, in small pieces."""
    found, piece = b"", memoryview(bytearray(7))
    while count := connection.receive(piece):
        found += piece[:count]
    return found


def test_is_used_again(server: WebServer) -> None:
    server.put("/a", b"alpha" * 9)
    server.put("/b", b"")
    with Connection(server.at("/"), Ways(timeout=5)) as connection:
        for target, data in (("/a", b"alpha" * 9), ("/b", b""), ("/a", b"alpha" * 9)):
            assert connection.ask(target).status == 200
            assert body_of(connection) == data
        assert server.connections == 1
        assert connection.received == server.sent
        assert connection.round_trip > 0


def test_is_not_used_again_before_a_body_has_ended(server: WebServer) -> None:
    server.put("/a", b"alpha" * 9)
    with Connection(server.at("/"), Ways(timeout=5)) as connection:
        connection.ask("/a")
        connection.ask("/a")
        assert body_of(connection) == b"alpha" * 9
    assert server.connections == 2


@pytest.mark.parametrize("more", [b"x", reply("200 OK", body=b"wrong")])
def test_is_not_used_again_after_bytes_nobody_asked_for(more: bytes, server: WebServer) -> None:
    sent = threading.Event()

    def answer(_: object) -> object:
        yield reply("200 OK", body=b"a" * 100_000) + more
        sent.set()

    server.hook = answer  # type: ignore[assignment]
    with Connection(server.at("/"), Ways(timeout=5)) as connection:
        for _ in range(2):
            connection.ask("/a")
            sent.wait(5)
            assert body_of(connection) == b"a" * 100_000
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
    with Connection(server.at("/"), Ways(timeout=5)) as connection:
        for _ in range(2):
            connection.ask("/a")
            assert body_of(connection) == b"a"
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
        Connection(server.at("/"), Ways(timeout=10)) as connection,
        pytest.raises(ConnectionBroken, match="does not come to the end"),
    ):
        connection.ask("/a")
    assert reads[0] < 10


def test_interrupt(server: WebServer) -> None:
    asked = threading.Event()

    def stall(_: Asked) -> Iterable[Piece]:
        asked.set()
        return [Ending.STALL]

    def interrupt() -> None:
        assert asked.wait(SECONDS)
        connection.interrupt()

    server.hook = stall
    with Connection(server.at("/"), Ways(timeout=20)) as connection:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(ConnectionBroken):
            connection.ask("/a")
        thread.join()
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
    assert Connection(Location(host, port, b""), Ways())._host() == field


def test_host_that_is_none() -> None:
    with pytest.raises((BadRequest, CannotConnect)):
        Connection(Location("\u00e4" * 100, 80, b""), Ways(timeout=1)).ask("/a")


@pytest.mark.parametrize("size", [1, 2, 7, 100, 5000])
def test_chunks_of_any_size(size: int, server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many came at once, no more is looked at for each than stands between two."""
    data = bytes(range(256)) * 40
    looked: list[int] = []
    honest = response.Body.feed

    def feed(self: response.Body, data: bytes) -> int:
        looked.append(len(data))
        return honest(self, data)

    monkeypatch.setattr(response.Body, "feed", feed)
    answer = reply("200 OK", ("Transfer-Encoding", "chunked"), body=chunked(data, size))
    server.hook = lambda _: [answer]
    view = memoryview(bytearray(len(data) + 1))
    with Connection(server.at("/"), Ways(timeout=5)) as connection:
        connection.ask("/a")
        received = calls = 0
        while count := connection.receive(view[received:]):
            received += count
            calls += 1
        assert view[:received] == data
        assert connection.receive(view) == 0
    assert max(looked) <= FRAMING
    # Whatever was read together is taken together.
    assert calls <= 1 + len(answer) // 1000


def test_long_line_between_chunks(server: WebServer) -> None:
    body = b"5;" + b"x" * 3000 + b"\r\nhello\r\n0\r\n" + b"A: b\r\n" * 100 + b"\r\n"
    server.hook = lambda _: [reply("200 OK", ("Transfer-Encoding", "chunked"), body=body)]
    with Connection(server.at("/"), Ways(timeout=5)) as connection:
        for _ in range(2):
            connection.ask("/a")
            assert body_of(connection) == b"hello"
    assert server.connections == 1


def test_stream_without_a_length_is_not_withheld(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast it was before: what comes is taken when it comes."""
    monkeypatch.setattr("tcpdl.client.inlet.LATELY", 1000)
    monkeypatch.setattr("tcpdl.client.inlet.FAST", 1)
    seen = [threading.Event(), threading.Event()]

    def live(_: Asked) -> Iterable[Piece]:
        yield b"HTTP/1.1 200 OK\r\n\r\n" + bytes(500_000)
        assert seen[0].wait(SECONDS)
        yield b"tick"
        assert seen[1].wait(SECONDS)
        yield Ending.FIN

    server.hook = live
    view = memoryview(bytearray(1 << 20))
    with Connection(server.at("/"), Ways(timeout=20)) as connection:
        connection.ask("/a")
        for event, left in zip(seen, (500_000, 4), strict=True):
            while left:
                left -= connection.receive(view)
            event.set()
        assert connection.receive(view) == 0


def test_is_opened_before_something_is_asked_for(server: WebServer) -> None:
    server.put("/a", b"alpha")
    place = Location("no.such.host.invalid", server.port, b"")
    with Connection(place, Ways(timeout=5), address="127.0.0.1") as connection:
        connection.open()
        assert connection.peer == "127.0.0.1"
        connection.open()
        for _ in range(2):
            connection.ask("/a")
            assert body_of(connection) == b"alpha"
        connection.open()
    assert server.connections == 1
    assert server.asked[0].fields["host"] == f"no.such.host.invalid:{server.port}"
