"""Tests files that change while HTTP sends them: no answer looks whole that is not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcpdl.server import http_files
from tests.server.conftest import Connect, Log
from tests.server.http_client import Client, HttpServer, get, outlast, settle

LARGE = os.urandom(6_000_000)


@pytest.fixture
def server(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HttpServer]:
    settle(monkeypatch)
    root = tmp_path / "root"
    root.mkdir()
    (root / "large").write_bytes(LARGE)
    (root / "small").write_bytes(b"small content")
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture(params=["sendfile", "copied"])
def client(request: pytest.FixtureRequest, server: HttpServer) -> Client:
    options = {} if request.param == "sendfile" else {"sendfile": None}
    return server.connect("tcp", **options)


def assert_broken_off(client: Client, server: HttpServer, log: Log) -> None:
    """Not as if it were whole, and with nothing of the next answer behind it."""
    client.connection.drain()
    assert client.was_reset
    head, _, body = client.connection.received.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206"))
    assert b"small content" not in body
    assert len(body) < 6_000_000
    assert re.search(r": 20[06] (changed|failed) ", log.told[-1])
    assert len(server.deadlines) == 0
    assert server.connect().fetch("/small").body == b"small content"


@pytest.mark.parametrize("left", [0, 1, 3_000_000, 5_999_999])
@pytest.mark.parametrize("fields", [[], ["Range: bytes=1000-"], ["Range: bytes=0-9,1000-"]])
def test_a_file_becomes_shorter(
    left: int,
    fields: list[str],
    client: Client,
    server: HttpServer,
    log: Log,
    descriptors: Callable[[], int],
) -> None:
    before = descriptors() - 1
    client.say(get("/large", *fields), get("/small"))
    os.truncate(server.root / "large", left)
    assert_broken_off(client, server, log)
    assert descriptors() == before + 2  # those of the connection just made


@pytest.mark.parametrize("fields", [[], ["Range: bytes=1000-"], ["Range: bytes=0-9,1000-"]])
def test_a_file_is_written_over(
    fields: list[str], client: Client, server: HttpServer, log: Log
) -> None:
    """What has been sent and what would be are of two versions."""
    client.say(get("/large", *fields), get("/small"))
    outlast(server.root / "large")
    with (server.root / "large").open("r+b") as file:
        file.write(LARGE[::-1])
    assert_broken_off(client, server, log)


@pytest.mark.parametrize("size", [50_000, 100_000])
def test_a_file_becomes_shorter_before_it_is_read(
    size: int, server: HttpServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was opened, and its length promised."""
    path = server.root / "file"
    path.write_bytes(LARGE[:size])
    client = server.connect("tcp")
    honest = http_files._send_one

    def truncate(*arguments: object) -> object:
        os.truncate(path, 10)
        return honest(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(http_files, "_send_one", truncate)
    client.say(get("/file"), get("/small"))
    monkeypatch.undo()
    assert_broken_off(client, server, log)


def test_a_file_that_cannot_be_read_to_its_end(
    server: HttpServer, log: Log, descriptors: Callable[[], int]
) -> None:
    def sendfile(out: int, file: int, offset: int, count: int) -> int:
        if offset > 2_000_000:
            raise OSError(5, "Input/output error")
        return os.sendfile(out, file, offset, count)

    client = server.connect("tcp", sendfile=sendfile)
    before = descriptors() - 1
    client.say(get("/large"), get("/small"))
    assert_broken_off(client, server, log)
    assert descriptors() == before + 2


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more" * 1000)


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"other content")
    other.rename(path)


@pytest.mark.parametrize("change", [grow, replace, Path.unlink])
@pytest.mark.parametrize("fields", [[], ["Range: bytes=1000-"]])
def test_what_was_announced_is_sent(
    change: Callable[[Path], None], fields: list[str], client: Client, server: HttpServer
) -> None:
    client.say(get("/large", *fields), get("/small"))
    change(server.root / "large")
    reply, small = client.hear()
    assert reply.body == LARGE[len(LARGE) - int(reply["content-length"]) :]
    assert small.body == b"small content"
    assert client.rest == b""
