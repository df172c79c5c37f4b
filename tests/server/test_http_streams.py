"""Tests archives and lists of digests over HTTP: how much is made, and what is broken off."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost

from tcpdl.web.archives import SMALL
from tests.server.conftest import Connect, Log
from tests.server.http_client import Client, HttpServer, get, outlast, settle

STREAMS = ["/?archive=tar", "/?archive=zip", "/?sums=sha256", "/?sums=blake3"]
LARGE = 1_000_000


@pytest.fixture
def contents() -> dict[str, bytes]:
    """By name: small files that are packed together, and large ones."""
    return {
        **{f"small-{number:02}": os.urandom(2000 + number) for number in range(40)},
        **{f"large-{number}": os.urandom(LARGE + number) for number in range(8)},
        "folder/file": b"content",
        "folder/empty": b"",
    }


@pytest.fixture
def server(
    tmp_path: Path,
    connect: Connect,
    contents: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[HttpServer]:
    settle(monkeypatch)
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    for name, content in contents.items():
        (root / name).write_bytes(content)
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


def unpacked(target: str, body: bytes) -> dict[str, bytes]:
    """The files in an archive."""
    if "zip" in target:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert archive.testzip() is None
            return {
                info.filename: archive.read(info)
                for info in archive.infolist()
                if not info.is_dir()
            }
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {
            member.name: (tar.extractfile(member) or io.BytesIO()).read()
            for member in tar
            if member.isfile()
        }


@pytest.mark.parametrize("target", ["/?archive=tar", "/?archive=zip"])
@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("options", [{}, {"sendfile": None}, {"sndbuf": 4096}])
def test_archives(
    target: str,
    minor: int,
    options: dict[str, Any],
    server: HttpServer,
    contents: dict[str, bytes],
    descriptors: Callable[[], int],
) -> None:
    client = server.connect(**options)
    before = descriptors()
    client.say(get(target, minor=minor), get("/folder/file"))
    reply, *others = client.hear()
    expected = {f"files/{name}": content for name, content in contents.items()}
    assert unpacked(target, reply.body) == expected
    form = target[-3:]
    assert reply["content-type"] == {"tar": "application/x-tar", "zip": "application/zip"}[form]
    assert reply["content-disposition"] == f'attachment; filename="files.{form}"'
    assert reply["x-content-type-options"] == "nosniff"
    if minor:
        assert reply["transfer-encoding"] == "chunked"
        assert [other.body for other in others] == [b"content"]
    else:
        assert reply["connection"] == "close"
        assert others == []
    assert client.ended is not minor
    assert client.rest == b""
    assert descriptors() == before


@pytest.mark.parametrize(("target", "name"), [(STREAMS[2], "SHA256SUMS"), (STREAMS[3], "B3SUMS")])
def test_sums(target: str, name: str, client: Client, contents: dict[str, bytes]) -> None:
    reply = client.fetch(target)
    assert reply["content-disposition"] == f'attachment; filename="{name}"'
    assert reply["content-type"] == "text/plain; charset=utf-8"
    pairs = [line.split("  ", 1) for line in reply.body.decode().splitlines()]
    lines = {file: digest for digest, file in pairs}
    assert lines.keys() == contents.keys()
    if "sha256" in target:
        for file, content in contents.items():
            assert lines[file] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("target", STREAMS)
def test_head(
    target: str, server: HttpServer, client: Client, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    head = client.fetch(target, method="HEAD")
    assert head.steady == client.fetch(target).steady
    assert descriptors() == before


def test_of_a_folder_within(client: Client) -> None:
    reply = client.fetch("/folder/?archive=tar")
    assert unpacked("tar", reply.body) == {"folder/file": b"content", "folder/empty": b""}
    assert reply["content-disposition"] == 'attachment; filename="folder.tar"'


@pytest.mark.parametrize("target", STREAMS)
def test_a_folder_that_is_gone(
    target: str, server: HttpServer, client: Client, descriptors: Callable[[], int]
) -> None:
    """Before anything was sent there is time to say so."""
    before = descriptors()
    server.work.hold = True
    client.say(get(target.replace("/?", "/folder/?")))
    (server.root / "folder").rename(server.root / "elsewhere")
    server.work.release()
    assert [reply.status for reply in client.hear()] == [404]
    assert descriptors() == before


# No more is made than the client takes.


@pytest.mark.parametrize("target", ["/?archive=tar", "/?archive=zip"])
def test_a_client_that_reads_nothing(target: str, server: HttpServer) -> None:
    """What waits is what is being sent, and the piece after it."""
    client = server.connect(sndbuf=4096)
    client.say(get(target))
    transport = client.connection.transport
    made = server.work.jobs
    for _ in range(100):
        client.connection.write_turn()
        server.work.release()
        assert transport.unsent <= 2 * SMALL + 100_000
    assert not made
    assert transport.bytes_sent + transport.unsent < LARGE
    client.connection.lose(ConnectionLost())


@pytest.mark.parametrize("target", STREAMS)
def test_pieces_are_made_one_by_one(target: str, server: HttpServer, client: Client) -> None:
    server.work.hold = True
    client.say(get(target))
    for _ in range(200):
        assert len(server.work.jobs) <= 1
        if not server.work.jobs:
            break
        server.work.release(1)
        client.connection.drain()
    (reply,) = client.hear()
    assert reply.status == 200
    assert client.rest == b""


@pytest.mark.parametrize("target", STREAMS)
@pytest.mark.parametrize("minor", [0, 1])
def test_a_client_that_leaves(
    target: str,
    minor: int,
    server: HttpServer,
    log: Log,
    descriptors: Callable[[], int],
) -> None:
    """At whatever step, and whatever a thread is making at that moment: nothing stays open."""
    before = descriptors()
    for steps in range(30):
        client = server.connect(sndbuf=4096)
        server.work.hold = True
        client.say(get(target, minor=minor))
        for _ in range(steps):
            server.work.release(1)
            client.connection.write_turn()
            client.connection.take()
        client.connection.lose(ConnectionLost())
        client.connection.peer.close()
        server.work.release()
        assert descriptors() == before, steps
    assert len(server.deadlines) == 0
    assert not server.work.jobs
    assert "broken " in "".join(log.told)


# What is broken off.


def assert_broken_off(client: Client, server: HttpServer, log: Log) -> None:
    client.connection.drain()
    assert client.was_reset
    assert not client.connection.received.endswith(b"0\r\n\r\n")
    assert ": 200 " in log.told[-1]
    assert server.connect().fetch("/folder/file").body == b"content"


def shorten(path: Path) -> None:
    os.truncate(path, 1000)


def write_over(path: Path) -> None:
    outlast(path)
    with path.open("r+b") as file:
        file.write(b"over")


@pytest.mark.parametrize("target", ["/?archive=tar", "/?archive=zip"])
@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("change", [shorten, write_over])
def test_a_file_becomes_shorter_or_is_written_over(
    target: str,
    minor: int,
    change: Callable[[Path], None],
    server: HttpServer,
    log: Log,
    descriptors: Callable[[], int],
) -> None:
    """While it is being sent, or after its size was promised: a reset, not a well-formed end."""
    client = server.connect("tcp")
    before = descriptors() - 1
    server.work.hold = True
    client.say(get(target, minor=minor), get("/folder/file"))
    while not any(b"large-0" in piece for piece in client.connection.drain().split(b"\0")):
        server.work.release(1)
    for number in range(8):
        change(server.root / f"large-{number}")
    server.work.hold = False
    server.work.release()
    assert_broken_off(client, server, log)
    assert descriptors() == before + 2


def test_a_piece_that_cannot_be_made(
    server: HttpServer, log: Log, monkeypatch: pytest.MonkeyPatch, descriptors: Callable[[], int]
) -> None:
    client = server.connect("tcp")
    before = descriptors() - 1
    honest = os.pread

    def pread(fd: int, count: int, offset: int) -> bytes:
        if offset > LARGE // 2:
            raise OSError(5, "Input/output error")
        return honest(fd, count, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", pread)
        client.say(get("/?archive=zip"))
        client.connection.drain()
    assert_broken_off(client, server, log)
    assert any("Input/output error" in line for line in log.told)
    assert descriptors() == before + 2


def test_a_fault_of_our_own(
    server: HttpServer, log: Log, monkeypatch: pytest.MonkeyPatch, descriptors: Callable[[], int]
) -> None:
    client = server.connect("tcp")
    before = descriptors() - 1

    def fail(*_: object) -> None:
        raise ArithmeticError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr("tcpdl.server.http_folders.send_file", fail)
        client.say(get("/?archive=tar"))
        client.connection.drain()
    assert [type(error) for error in log.flush()] == [ArithmeticError]
    assert client.was_reset
    assert descriptors() == before


@pytest.mark.parametrize("target", ["/?archive=tar", "/?archive=zip", "/?sums=sha256"])
def test_whoever_closes_it_an_answer_without_a_length_is_no_whole_one(
    target: str, server: HttpServer
) -> None:
    """In HTTP/1.0 the end of the stream is all that tells of the end."""
    steps = 0
    while True:
        client = server.connect("tcp")
        server.work.hold = True
        client.say(get(target, minor=0))
        for _ in range(steps):
            server.work.release(1)
            client.connection.drain()
        if client.connection.ended:
            break
        client.connection.lose(ConnectionDone())  # as a process that is killed closes it
        if steps:
            with pytest.raises(ConnectionResetError):
                client.connection.read_to_end()
        server.work.release()
        steps += 1
    assert steps > 2
