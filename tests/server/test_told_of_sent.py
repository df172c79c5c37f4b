"""Tests what is told of answers that wait in our memory: of them, nothing counts as sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost

from tcpdl.server.transfers import BROKEN, COMPLETE, Ended, Transfers
from tcpdl.wire import native
from tcpdl.wire.native import Get, GetDigests, Tree
from tests.server.conftest import Connect, Connection
from tests.server.http_client import HttpServer, get, settle
from tests.server.native_client import NativeServer, Work

TARGETS = ["/?format=json", "/?sums=sha256", "/?archive=zip", "/file", "/none"]
REQUESTS = [Get(1, b"file"), GetDigests(1, b"large"), Tree(1, b"", native.CONTENT)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settle(monkeypatch)
    root = tmp_path / "root"
    root.mkdir()
    for number in range(200):
        (root / f"{number}-{'x' * 100}").write_bytes(b"")
    (root / "file").write_bytes(bytes(60_000))
    return root


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Ended]:
    """What was told, in order."""
    told: list[Ended] = []
    tell = Transfers._tell

    def tell_both(transfers: Transfers, ended: Ended) -> None:
        told.append(ended)
        tell(transfers, ended)

    monkeypatch.setattr(Transfers, "_tell", tell_both)
    return told


def full(server: Any) -> tuple[Any, int]:
    """A client of `server` that takes nothing, and how much it could take before."""
    client = server.connect(sndbuf=4096)
    return client, len(client.connection.fill())


def lose(connection: Connection) -> bytes:
    """All that the other end gets when the connection is lost."""
    connection.lose(ConnectionLost())
    while connection.take():
        pass
    return connection.received


def settled(connection: Connection, work: Work) -> None:
    """Let the server do what it can without the client."""
    for _ in range(50):
        connection.write_turn()
        work.release()
        connection.reactor.clock.advance(0)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_lost_was_not_sent(
    target: str, root: Path, connect: Connect, told: list[Ended]
) -> None:
    server = HttpServer(root, connect)
    client, _ = full(server)
    client.say(get(target, minor=0))
    settled(client.connection, server.work)
    assert told == []
    (live,) = server.factory.transfers.live.values()
    assert live.sent == 0
    received = lose(client.connection)
    assert b"HTTP/1.1" not in received
    assert [(one.outcome, one.sent) for one in told] == [(BROKEN, 0)]
    server.close()


@pytest.mark.parametrize("target", ["/?format=json", "/?archive=zip", "/file"])
@pytest.mark.parametrize("taken", [5000, 20_000])
def test_a_part_was_sent(
    target: str, taken: int, root: Path, connect: Connect, told: list[Ended]
) -> None:
    """Whatever it is: as much as came before the connection was lost."""
    server = HttpServer(root, connect)
    client = server.connect(sndbuf=4096)
    client.say(get(target, minor=0))
    settled(client.connection, server.work)
    sent = 0
    while len(client.connection.received) < taken:
        client.connection.take(1000)
        settled(client.connection, server.work)
        (live,) = server.factory.transfers.live.values()
        assert live.sent >= sent
        sent = live.sent
    body = lose(client.connection).partition(b"\r\n\r\n")[2]
    assert [(one.outcome, one.sent) for one in told] == [(BROKEN, len(body))]
    server.close()


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_complete_once_the_client_takes_it(
    target: str, root: Path, connect: Connect, told: list[Ended]
) -> None:
    server = HttpServer(root, connect)
    client, before = full(server)
    client.say(get(target), get("/file", method="HEAD"))
    settled(client.connection, server.work)
    assert told == []
    client.connection.drain()
    body = client.connection.received[before:].partition(b"\r\n\r\n")[2]
    assert [one.method for one in told] == ["GET", "HEAD"]
    assert 0 < told[0].sent <= len(body)
    assert told[1].outcome == COMPLETE
    assert server.factory.transfers.live == {}
    server.close()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
def test_native(
    request_: native.Request,
    root: Path,
    connect: Connect,
    told: list[Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (root / "large").touch()
    os.truncate(root / "large", 1 << 33)  # of which nothing is written
    for takes_it in (False, True):
        server = NativeServer(root, connect)
        monkeypatch.setattr(server.digests, "known", lambda *_: bytes(32))
        client, _ = full(server)
        client.say(request_)
        settled(client.connection, server.work)
        assert told == []
        if takes_it:
            client.connection.drain()
        else:
            lose(client.connection)
        (one,) = told
        assert (one.outcome, one.sent > 0) == (COMPLETE if takes_it else BROKEN, takes_it)
        told.clear()
