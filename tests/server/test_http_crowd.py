"""Tests what one client may cost the others: threads, memory, turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl.server import http_folders
from tcpdl.server.crowd import Address
from tcpdl.server.pools import Pool
from tests.server.conftest import Connect
from tests.server.http_client import Client, HttpServer, get, settle

NAMES = 45


@pytest.fixture
def server(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HttpServer]:
    settle(monkeypatch)
    monkeypatch.setattr(http_folders, "NAMES_FEW", 10)
    root = tmp_path / "root"
    (root / "many").mkdir(parents=True)
    (root / "few").mkdir()
    for number in range(NAMES):
        (root / f"many/{number:03}").touch()
    (root / "few/small").write_bytes(b"small")
    (root / "large").write_bytes(os.urandom(200_000))
    server = HttpServer(root, connect)
    yield server
    server.close()


def test_a_large_folder_is_looked_at_in_steps(server: HttpServer) -> None:
    server.work.hold = True
    large, small = server.connect(), server.connect()
    large.say(get("/many/?format=json"))
    server.work.release(2)
    small.say(get("/few/?format=json"))
    for _ in range(6):
        server.work.release(1)
    assert small.hear() == [], "each has its turn, in order"
    for _ in range(8):
        if replies := small.hear():
            break
        server.work.release(1)
    assert [reply.status for reply in replies] == [200]
    assert large.hear() == []
    server.work.release()
    assert large.hear()[0].body.count(b'"name"') == NAMES


@pytest.mark.parametrize("target", ["/many/", "/many/?archive=tar", "/many/?sums=sha256"])
def test_nothing_is_done_for_a_client_that_has_gone(
    target: str, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.work.hold = True
    client = server.connect()
    client.say(get(target))
    client.connection.transport.abortConnection()
    server.clock.advance(1)
    listed: list[object] = []
    monkeypatch.setattr(server.directory, "list", listed.append)
    monkeypatch.setattr(server.directory, "walk", listed.append)
    server.work.release()
    assert listed == []


def test_a_digest_is_computed_once(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[object] = []
    honest: Callable[..., Any] = server.digests.hash_whole

    def hash_whole(file: Any, algorithm: int) -> Any:
        hashed.append(file)
        return honest(file, algorithm)

    monkeypatch.setattr(server.digests, "hash_whole", hash_whole)
    server.work.hold = True
    clients = [server.connect() for _ in range(5)]
    for client in clients:
        client.say(get("/large", "Want-Repr-Digest: sha-256=1", method="HEAD"))
    server.work.release()
    assert len({client.hear()[0]["repr-digest"] for client in clients}) == 1
    assert len(hashed) == 1


def test_large_pages_under_way_are_bounded(
    server: HttpServer,
) -> None:
    server.answers._folders.names = Pool(2 * NAMES)
    server.work.hold = True
    clients = [server.connect() for _ in range(3)]
    for client in clients:
        client.say(get("/many/"))
    refused: list[Client] = []
    while not refused:
        server.work.release(1)
        refused = [client for client in clients if client.connection.drain()]
    (reply,) = refused[0].hear()
    assert (reply.status, reply["retry-after"]) == (503, "5")
    small = server.connect()
    small.say(get("/few/"))
    server.work.hold = False
    server.work.release()
    assert small.hear()[0].status == 200
    others = [client for client in clients if client not in refused]
    assert [client.hear()[0].status for client in others] == [200, 200]
    assert refused[0].ask(get("/many/"))[0].status == 200, "there is room again"
    assert server.answers._folders.names.taken == 0


def test_pages_that_nobody_takes_are_bounded(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few names they have."""
    monkeypatch.setattr(http_folders, "PAGE_SMALL", 1000)
    folders = server.answers._folders
    for number in range(2000):
        (server.root / f"few/{number:0200}").touch()
    slow, other = server.connect(sndbuf=4096), server.connect()
    slow.say(get("/few/"))
    folders.pages = Pool(folders.pages.taken)
    assert folders.pages.most > 1_000_000
    folders.pages.taken = folders.pages.most
    assert other.ask(get("/few/"))[0].status == 503
    assert other.ask(get("/"))[0].status == 503
    assert slow.hear()[0].status == 200
    assert folders.pages.taken == 0
    assert other.ask(get("/few/"))[0].status == 200


def test_archives_under_way_are_bounded(
    server: HttpServer,
) -> None:
    server.answers._folders.streams = Pool(2)
    server.work.hold = True
    clients = [server.connect() for _ in range(3)]
    for client, form in zip(clients, ("archive=tar", "sums=sha256", "archive=zip"), strict=True):
        client.say(get(f"/few/?{form}"))
    assert clients[2].hear()[0].status == 503
    server.work.release()
    assert [client.hear()[0].status for client in clients[:2]] == [200, 200]
    assert clients[2].ask(get("/few/?archive=zip")) == []
    server.work.release()
    assert clients[2].hear()[0].status == 200


class Elsewhere(Address):
    """An address of which nobody counts the connections."""

    def leave(self) -> None:
        pass


def at(client: Client, host: int) -> Client:
    """`client` at another address."""
    client.connection.transport.place = Elsewhere(bytes([192, 0, 2, host]))
    return client


@pytest.mark.parametrize(
    "request_",
    [
        get("/few/?archive=tar"),
        get("/few/?sums=sha256"),
        get("/many/"),
        get("/large?info&digest=sha256"),
    ],
    ids=["archive", "sums", "names", "digest"],
)
def test_one_address_does_not_take_all(request_: bytes, server: HttpServer) -> None:
    """However many connections it has; and another one is served."""
    folders = server.answers._folders
    folders.names = Pool(4 * NAMES, least=NAMES)
    folders.streams = Pool(8)
    server.answers._files._hashing.files = Pool(8)
    for name in ("other", "third"):
        (server.root / name).write_bytes(os.urandom(200_000))
    server.work.hold = True
    first = [at(server.connect(), 1) for _ in range(2 if b"many" not in request_ else 1)]
    requests = [request_.replace(b"large", name) for name in (b"large", b"other")]
    for client, request in zip(first, requests, strict=False):
        client.say(request)
    while b"many" in request_ and folders.names.taken < NAMES:
        server.work.release(1)
    greedy, other = at(server.connect(), 1), at(server.connect(), 2)
    third = request_.replace(b"large", b"third")
    for client in (greedy, other):
        client.say(third)
    server.work.hold = False
    server.work.release()
    assert [client.hear()[0].status for client in (*first, other)] == [200] * (len(first) + 1)
    assert greedy.hear()[0].status == 503
    assert greedy.ask(third)[0].status == 200
    pools = (folders.names, folders.streams, server.answers._files._hashing.files)
    assert [(pool.taken, pool._by) for pool in pools] == [(0, {})] * 3
