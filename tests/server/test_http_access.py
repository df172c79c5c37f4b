"""Tests the log of what was fetched over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from tcpdl.server.access import BATCH_MOST, BATCH_SECONDS, AccessLog
from tests.server.conftest import Connect, Log
from tests.server.http_client import Client, HttpServer, get


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[HttpServer]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_bytes(b"small content")
    (root / "large").write_bytes(b"." * 300_000)
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


def logged(server: HttpServer, log: Log) -> list[str]:
    server.access.flush()
    return [line for batch in log.lines for line in batch.split("\n")]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (get("/small"), "GET /small 200 13"),
        (get("/small?download"), "GET /small?download 200 13"),
        (get("/small", method="HEAD"), "HEAD /small 200 0"),
        (get("/small", "If-None-Match: *"), "GET /small 304 0"),
        (get("/large"), "GET /large 200 300000"),
        (get("/large", "Range: bytes=5-9"), "GET /large 206 5"),
        (get("/large", "Range: bytes=100000-299999"), "GET /large 206 200000"),
        (get("/large", "Range: bytes=0-9,20-29"), "GET /large 206 20"),
        (get("*", method="OPTIONS"), "OPTIONS * 204 0"),
        (get("/%0a%1b%5b31m"), "GET /%0a%1b%5b31m 404 "),
        (get(b"/\xff\xc3\xa9"), "GET /%FF%C3%A9 404 "),
        (b"non\x1bsense\r\n\r\n", "- non\\x1bsense 400 "),
        (get("/small", method="POST"), "- POST /small HTTP/1.1 405 "),
        (get("/small?a\\b"), "GET /small?a\\\\b 200 13"),
    ],
)
def test_a_line_an_answer(
    request_: bytes, line: str, server: HttpServer, client: Client, log: Log
) -> None:
    client.connection.say(request_)
    client.take()
    (found,) = logged(server, log)
    assert found.startswith(f"127.0.0.1:1 {line}")
    assert found.isprintable()


@pytest.mark.parametrize("start", [b"GET /", b"GET /?", b"POST /", b"\0"])
@pytest.mark.parametrize("byte", [b"x", b"\\", b"\x1b", "文".encode()])
def test_little_is_logged_of_a_long_line(
    start: bytes, byte: bytes, server: HttpServer, client: Client, log: Log
) -> None:
    line = start + byte * (8000 // len(byte))
    client.connection.say(line + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    client.take()
    (found,) = logged(server, log)
    assert len(found.encode()) < 512 + 50


def test_what_was_sent_of_an_answer_that_was_broken_off(server: HttpServer, log: Log) -> None:
    client = server.connect(sndbuf=4096)
    client.say(get("/large"))
    for _ in range(5):
        client.connection.write_turn()
        client.connection.take()
    client.connection.lose(ConnectionLost())
    (line,) = logged(server, log)
    status, count = line.split()[-2:]
    assert status == "499"
    assert 0 < int(count) < 300_000


def test_lines_come_together(server: HttpServer, client: Client, log: Log) -> None:
    client.ask(*[get("/small")] * 3)
    assert log.lines == []
    server.wait(BATCH_SECONDS)
    assert log.lines == ["\n".join(["127.0.0.1:1 GET /small 200 13"] * 3)]
    server.wait(10)
    client.ask(get("/small"))
    server.wait(BATCH_SECONDS)
    assert log.lines[1:] == ["127.0.0.1:1 GET /small 200 13"]


def test_many_lines_do_not_wait(log: Log) -> None:
    clock = Clock()
    access = AccessLog(clock)
    for number in range(2 * BATCH_MOST + 1):
        access.note(f"{number}")
    assert [batch.count("\n") + 1 for batch in log.lines] == [BATCH_MOST, BATCH_MOST]
    access.flush()
    assert "\n".join(log.lines).split("\n") == [f"{n}" for n in range(2 * BATCH_MOST + 1)]
    assert not clock.getDelayedCalls()


def test_there_is_no_timer_while_nothing_happens(log: Log) -> None:
    clock = Clock()
    access = AccessLog(clock)
    access.flush()
    assert log.lines == []
    access.note("line")
    clock.advance(BATCH_SECONDS)
    assert not clock.getDelayedCalls()
    access.flush()
    assert log.lines == ["line"]


def test_nothing_waits_once_it_is_closed(log: Log) -> None:
    """Connections that are broken off at the end of the daemon are told of, too."""
    clock = Clock()
    access = AccessLog(clock)
    access.note("one")
    access.close()
    assert log.lines == ["one"]
    access.note("two")
    access.note("three")
    assert log.lines == ["one", "two", "three"]
    assert not clock.getDelayedCalls()


def test_braces_are_no_formats(log: Log) -> None:
    access = AccessLog(Clock())
    access.note("GET /{lines}{0} 200 1")
    access.flush()
    assert log.lines == ["GET /{lines}{0} 200 1"]
