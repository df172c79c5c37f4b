"""Tests how connections that speak HTTP end: by the client, in time, by a fault of our own."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost

from tcpdl.server.lingering import LINGER_SECONDS
from tests.server.conftest import (
    HEAD_SECONDS,
    IDLE_SECONDS,
    LOOK_SECONDS,
    STALL_SECONDS,
    TIMES,
    Connect,
    Log,
)
from tests.server.http_client import Client, HttpServer, get, settle

LARGE = os.urandom(3_000_000)
LEAST = TIMES.pace.least
SECONDS = 60
SMALL = get("/small")


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[HttpServer]:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "small").write_bytes(b"small content")
    (root / "other").write_bytes(b"other content")
    (root / "empty").touch()
    (root / "large").write_bytes(LARGE)
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


def test_a_daemon_that_ends_drops_nothing_it_has_sent(server: HttpServer) -> None:
    """What the kernel still has to send when the process is gone arrives, unlike in the dialects
    whose end says that all has come."""
    client = server.connect("tcp")
    client.ask(SMALL)
    sock = client.connection.transport.socket
    on, _ = struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
    assert not on
    sending = server.connect("tcp", sndbuf=4096)
    sending.say(get("/large"))
    sock = sending.connection.transport.socket
    on, _ = struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
    assert on, "a file is under way"
    sending.connection.transport.abortConnection()


# Half-closed.


@pytest.mark.parametrize("target", ["/small", "/large", "/folder/", "/folder/?archive=tar", "/x"])
def test_half_close_after_the_request(target: str, server: HttpServer) -> None:
    """As `printf ... | nc -N` does it."""
    client = server.connect("tcp")
    server.work.hold = True
    client.connection.peer.sendall(get(target))
    client.connection.peer.shutdown(1)
    client.connection.read_turn()
    client.connection.read_turn()
    server.work.hold = False
    server.work.release()
    (reply,) = client.hear()
    assert reply.status in (200, 404)
    assert client.ended
    server.wait(LINGER_SECONDS + 1)
    assert not client.connection.transport.connected
    assert len(server.deadlines) == 0


def test_half_close_after_several(server: HttpServer, client: Client) -> None:
    server.work.hold = True
    client.say(get("/folder/"), SMALL, get("/large"))
    client.connection.half_close()
    assert client.hear() == []
    server.work.release()
    assert [len(reply.body) for reply in client.hear()][1:] == [13, len(LARGE)]
    assert client.ended
    assert not client.connection.transport.connected


def test_half_close_between(client: Client) -> None:
    client.fetch("/small")
    client.connection.half_close()
    assert client.ended
    assert client.rest == b""
    assert not client.connection.transport.connected


@pytest.mark.parametrize("said", [SMALL[:1], SMALL[:20], SMALL[:-1]])
def test_half_close_in_a_request(said: bytes, client: Client) -> None:
    client.fetch("/small")
    client.connection.say(said)
    client.connection.half_close()
    (reply,) = client.hear()
    assert (reply.status, reply["connection"]) == (400, "close")
    assert client.ended
    assert not client.connection.transport.connected


def test_half_close_in_a_body(client: Client) -> None:
    """Its request has been answered."""
    assert client.ask(get("/small", "Content-Length: 10") + b"12345")[0].body == b"small content"
    client.connection.half_close()
    assert client.hear() == []
    assert client.ended


def test_a_port_that_is_closed_at_once(client: Client, server: HttpServer) -> None:
    client.connection.half_close()
    assert client.ended
    assert client.rest == b""
    assert len(server.deadlines) == 0


# Lost.


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /sm",
        SMALL,
        get("/large"),
        get("/large") * 3,
        get("/large", "Range: bytes=0-9,2000000-"),
        get("/folder/"),
        get("/large?info"),
        get("/large", "Want-Repr-Digest: sha-256=1"),
        get("/?archive=tar"),
        get("/?archive=zip"),
        get("/?sums=sha256"),
        get("/.well-known/tcpdl/health"),
        get("/small", "Content-Length: 10"),
        get("/small", "Connection: close"),
        get("/large", "Connection: close") + SMALL,
        b"nonsense\r\n\r\n",
    ],
)
@pytest.mark.parametrize("held", [0, 1, 2, 3, None])
def test_lost(
    said: bytes,
    held: int | None,
    server: HttpServer,
    client: Client,
    descriptors: Callable[[], int],
) -> None:
    """Wherever a client is lost: nobody complains, nothing stays open, no deadline is left."""
    before = descriptors() - 1
    if held is not None:
        server.work.hold = True
    if said:
        client.connection.say(said)
    if held is not None:
        server.work.release(held)
    client.connection.write_turn()
    client.connection.lose(ConnectionLost())
    server.work.release()
    server.wait(IDLE_SECONDS + 5)
    assert len(server.deadlines) == 0
    assert not server.work.jobs
    assert descriptors() == before


# Deadlines.


def test_idle(server: HttpServer, client: Client) -> None:
    client.fetch("/small")
    server.wait(IDLE_SECONDS - 1)
    client.fetch("/small")
    server.wait(IDLE_SECONDS - 1)
    assert not client.ended
    server.wait(2)
    assert client.ended
    assert client.rest == b""
    server.wait(LINGER_SECONDS + 1)
    assert not client.connection.transport.connected
    assert len(server.deadlines) == 0


@pytest.mark.parametrize("step", [1, 10])
@pytest.mark.parametrize("before", [b"", SMALL, get("/folder/")])
def test_a_head_that_comes_slowly(
    before: bytes, step: int, server: HttpServer, client: Client
) -> None:
    """However steadily: from its first byte on it has so long, and no longer."""
    client.ask(before)
    said = get("/small", "X: " + 60 * "x")
    for at in range(0, int(HEAD_SECONDS) - step, step):
        client.connection.say(said[at : at + 1])
        server.wait(step)
        assert not client.ended
    server.wait(step + 1)
    (reply,) = client.hear()
    assert (reply.status, reply["connection"]) == (408, "close")
    assert client.ended
    client.connection.say(b"more")
    assert client.hear() == []
    server.wait(LINGER_SECONDS + 1)
    assert not client.connection.transport.connected


def test_a_head_that_was_begun_while_another_was_answered(
    server: HttpServer, client: Client
) -> None:
    server.work.hold = True
    client.say(get("/folder/"), SMALL[:5])
    server.wait(HEAD_SECONDS + 5)
    server.work.release()
    assert len(client.hear()) == 1
    server.wait(HEAD_SECONDS - 1)
    assert not client.ended
    server.wait(2)
    assert [reply.status for reply in client.hear()] == [408]


def test_a_head_that_comes_slowly_behind_a_body(server: HttpServer, client: Client) -> None:
    client.fetch("/small", "Content-Length: 2")
    server.wait(HEAD_SECONDS - 5)
    client.connection.say(b"12")
    server.wait(HEAD_SECONDS)
    client.connection.say(b"GET /sm")
    server.wait(HEAD_SECONDS - 1)
    assert not client.ended
    server.wait(2)
    assert [reply.status for reply in client.hear()] == [408]


def test_an_empty_line_is_no_request(server: HttpServer, client: Client) -> None:
    client.ask(SMALL, b"\r\n")
    server.wait(IDLE_SECONDS + 1)
    assert client.hear() == []
    assert client.ended


def test_a_body_that_never_comes(server: HttpServer, client: Client) -> None:
    """The request has been answered; there is nothing to say but the end."""
    client.fetch("/small", "Content-Length: 10")
    server.wait(HEAD_SECONDS + 1)
    assert client.hear() == []
    assert client.ended


def test_our_own_work_is_not_held_against_the_client(server: HttpServer, client: Client) -> None:
    server.work.hold = True
    client.ask(get("/folder/"))
    server.wait(10 * STALL_SECONDS)
    assert client.connection.transport.connected
    server.work.release()
    assert client.hear()[0].status == 200


@pytest.mark.parametrize("target", ["/large", "/?archive=tar", "/?archive=zip"])
def test_a_reader_that_stalls_is_reset(
    target: str, server: HttpServer, descriptors: Callable[[], int], log: Log
) -> None:
    client = server.connect("tcp", sndbuf=4096)
    before = descriptors() - 1
    client.say(get(target))
    server.wait(STALL_SECONDS - LOOK_SECONDS)
    assert client.connection.transport.connected
    for _ in range(5):
        taken = client.protocol._see().taken
        while client.protocol._see().taken < taken + LEAST:
            reader, writer = client.connection.peer, client.connection.transport
            assert any(select.select([reader], [writer], [], SECONDS))
            client.connection.take()
            client.connection.write_turn()
        server.wait(STALL_SECONDS - LOOK_SECONDS)
        assert client.connection.transport.connected, "it takes some, now and then"
    server.wait(STALL_SECONDS + 2 * LOOK_SECONDS)
    assert client.was_reset
    assert descriptors() == before
    assert f"GET {target}: 200 slow " in log.told[-1]


def test_answers_that_nobody_takes_are_reset(server: HttpServer) -> None:
    client = server.connect("tcp", sndbuf=4096)
    client.push(SMALL * 50_000)
    server.wait(STALL_SECONDS + 2 * LOOK_SECONDS)
    assert client.was_reset


# Faults of our own.


@pytest.mark.parametrize("target", ["/small", "/large", "/folder/", "/?archive=tar"])
def test_a_fault_of_our_own(
    target: str,
    server: HttpServer,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    descriptors: Callable[[], int],
) -> None:
    """The client gets no half of an answer, the log says what it was, the next one is served."""

    def fail(*_: object) -> Any:
        raise ArithmeticError("a fault")

    client = server.connect("tcp")
    client.fetch("/other")
    before = descriptors() - 1
    with monkeypatch.context() as patch:
        patch.setattr(type(server.directory), "open_file", fail)
        patch.setattr(type(server.directory), "walk", fail)
        client.say(get(target), SMALL)
    assert client.hear() == []
    assert client.was_reset
    assert [type(error) for error in log.flush()] == [ArithmeticError]
    assert descriptors() == before
    assert server.connect().fetch("/small").body == b"small content"
    assert len(server.deadlines) == 1


@pytest.mark.parametrize("target", ["/small", "/large", "/small?download"])
def test_a_fault_while_an_answer_is_written(
    target: str,
    server: HttpServer,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    descriptors: Callable[[], int],
) -> None:
    """No descriptor is left open, and none is closed twice: it may be another one's by then."""
    closed: list[int] = []
    close = os.close

    def fail(*_: object) -> Any:
        raise ArithmeticError("a fault")

    def watch(fd: int) -> None:
        close(fd)
        closed.append(fd)

    client = server.connect("tcp")
    before = descriptors() - 1
    with monkeypatch.context() as patch:
        patch.setattr(type(server.factory), "start", fail)
        patch.setattr(os, "close", watch)
        client.say(get(target))
    assert [type(error) for error in log.flush()] == [ArithmeticError]
    assert client.was_reset
    assert descriptors() == before
