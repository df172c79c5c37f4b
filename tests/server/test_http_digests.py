"""Tests what HTTP says of a file: its digest, and the page about it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tcpdl.server import http_files
from tests.server.conftest import Connect
from tests.server.http_client import Client, HttpServer, get, outlast, settle

LARGE = os.urandom(300_000)
TEXT = "Grüße, 文件\n".encode()


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[HttpServer]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "large.bin").write_bytes(LARGE)
    (root / "text.txt").write_bytes(TEXT)
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


def digest_field(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256(data).digest()).decode()}:"


# Digests.


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("target", ["/text.txt", "/large.bin"])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_digest_is_wanted(
    target: str, method: str, server: HttpServer, client: Client, descriptors: Callable[[], int]
) -> None:
    content = (server.root / target[1:]).read_bytes()
    before = descriptors()
    server.work.hold = True
    assert client.ask(get(target, "Want-Repr-Digest: sha-256=5", method=method)) == []
    server.work.release()
    (reply,) = client.hear()
    assert reply["repr-digest"] == digest_field(content)
    server.work.hold = True
    assert client.fetch(target)["repr-digest"] == digest_field(content), "it is known by now"
    ranged = client.fetch(target, "Range: bytes=1-2")
    assert ranged["repr-digest"] == digest_field(content), "it is that of the whole"
    server.work.hold = False
    assert descriptors() == before


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("field", ["sha-256=0", "md5=1", "sha-512=9", ""])
def test_no_digest_is_wanted(field: str, server: HttpServer, client: Client) -> None:
    server.work.hold = True
    assert client.fetch("/large.bin", f"Want-Repr-Digest: {field}").get("repr-digest") is None
    server.work.hold = False


@pytest.mark.usefixtures("settled")
def test_a_digest_takes_too_long(
    server: HttpServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_files, "HASHED_FIRST_MOST", 1000)
    server.work.hold = True
    field = "Want-Repr-Digest: sha-256=1"
    assert client.fetch("/large.bin", field).get("repr-digest") is None
    assert client.ask(get("/large.bin", field, method="HEAD")) == []
    server.work.release()
    assert client.hear()[0]["repr-digest"] == digest_field(LARGE)


def test_what_may_still_change_has_no_digest(client: Client) -> None:
    field = "Want-Repr-Digest: sha-256=1"
    assert client.fetch("/large.bin", field, method="HEAD").get("repr-digest") is None


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_file_that_changes_while_it_is_hashed(method: str, server: HttpServer) -> None:
    """Of what was read, nobody knows which version it was; and what would be sent now is not the
    version that the ETag is of."""
    client = server.connect("tcp")
    server.work.hold = True
    client.say(get("/large.bin", "Want-Repr-Digest: sha-256=1", method=method))
    outlast(server.root / "large.bin")
    with (server.root / "large.bin").open("r+b") as file:
        file.write(b"changed")
    server.work.release()
    replies = client.hear()
    if method == "HEAD":
        assert [reply.get("repr-digest") for reply in replies] == [None]
    else:
        assert client.was_reset
        assert b"Repr-Digest" not in client.connection.received


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_file_that_cannot_be_hashed(
    method: str, server: HttpServer, monkeypatch: pytest.MonkeyPatch, descriptors: Any
) -> None:
    client = server.connect("tcp")
    before = descriptors()

    def fail(*_: object) -> None:
        raise OSError(5, "?")

    monkeypatch.setattr(os, "preadv", fail)
    monkeypatch.setattr(http_files, "would_wait", lambda *_: None)
    reply = client.fetch("/large.bin", "Want-Repr-Digest: sha-256=1", method=method)
    assert (reply.status, reply.get("repr-digest")) == (200, None)
    assert descriptors() == before


@pytest.mark.usefixtures("settled")
def test_a_range_of_a_small_file_comes_with_its_digest(client: Client) -> None:
    reply = client.fetch("/text.txt", "Range: bytes=0-3")
    assert reply["repr-digest"] == digest_field(TEXT)


@pytest.mark.usefixtures("settled")
def test_a_range_of_a_file_that_changes(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read may be of two versions."""
    path = server.root / "text.txt"
    honest = os.pread
    client = server.connect("tcp")

    def pread(fd: int, count: int, offset: int) -> bytes:
        data = honest(fd, count, offset)
        outlast(path)
        path.write_bytes(TEXT.swapcase())
        return data

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", pread)
        assert client.ask(get("/text.txt", "Range: bytes=0-3")) == []
    assert client.was_reset
    assert b"Repr-Digest" not in client.connection.received


# The page about a file.


@pytest.mark.usefixtures("settled")
def test_the_page_about_a_file(server: HttpServer, client: Client, descriptors: Any) -> None:
    before = descriptors()
    reply = client.fetch("/large.bin?info")
    assert reply["content-type"] == "text/html; charset=utf-8"
    assert sha256(LARGE).hexdigest().encode() in reply.body
    assert client.fetch("/large.bin?info", method="HEAD").steady == reply.steady
    assert descriptors() == before


@pytest.mark.usefixtures("settled")
def test_the_page_about_a_large_file(
    server: HttpServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcpdl.server.http_answers.HASHED_FIRST_MOST", 1000)
    digest = sha256(LARGE).hexdigest().encode()
    assert digest not in client.fetch("/large.bin?info").body
    assert digest in client.fetch("/large.bin?info&digest=sha256").body
    assert digest in client.fetch("/large.bin?info").body, "it is known now"


@pytest.mark.usefixtures("settled")
def test_the_page_about_a_file_that_changes(server: HttpServer, client: Client) -> None:
    server.work.hold = True
    client.say(get("/large.bin?info"))
    outlast(server.root / "large.bin")
    with (server.root / "large.bin").open("r+b") as file:
        file.write(b"changed")
    content = (server.root / "large.bin").read_bytes()
    server.work.release()
    (reply,) = client.hear()
    assert sha256(content).hexdigest().encode() not in reply.body
    assert sha256(LARGE).hexdigest().encode() not in reply.body


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", [lambda path: os.truncate(path, 10), None])
def test_the_page_about_a_file_that_cannot_be_read(
    change: Any,
    server: HttpServer,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    descriptors: Any,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    before = descriptors()
    server.work.hold = True
    client.say(get("/large.bin?info"))
    with monkeypatch.context() as patch:
        if change is None:
            patch.setattr(os, "preadv", fail)
        else:
            change(server.root / "large.bin")
        server.work.release()
    (reply,) = client.hear()
    assert reply.status == 503
    assert descriptors() == before
    assert client.fetch("/text.txt").body == TEXT
