"""Tests files that are sent compressed, since a file beside them is."""

from __future__ import annotations

import gzip
import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.server.conftest import Connect
from tests.server.http_client import Client, HttpServer, settle

PLAIN = "body { content: 'é' }\n".encode() * 100
GZIP = gzip.compress(PLAIN, mtime=0)
ZSTD = b"\x28\xb5\x2f\xfd not really, \xff"
LARGE = os.urandom(300_000)


@pytest.fixture
def server(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HttpServer]:
    settle(monkeypatch)
    root = tmp_path / "root"
    root.mkdir()
    (root / "style.css").write_bytes(PLAIN)
    (root / "style.css.gz").write_bytes(GZIP)
    (root / "style.css.zst").write_bytes(ZSTD)
    (root / "README").write_bytes(PLAIN)
    (root / "README.gz").write_bytes(GZIP)
    (root / "large.bin").write_bytes(LARGE)
    (root / "large.bin.gz").write_bytes(LARGE[:250_000])
    (root / "alone.txt").write_bytes(PLAIN)
    server = HttpServer(root, connect, precompressed=True)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


@pytest.mark.parametrize(
    ("accepted", "coding", "body"),
    [
        (None, None, PLAIN),
        ("", None, PLAIN),
        ("gzip", "gzip", GZIP),
        ("gzip, deflate, br, zstd", "zstd", ZSTD),
        ("deflate, br", None, PLAIN),
        ("*", None, PLAIN),
        ("identity", None, PLAIN),
        ("gzip;q=0", None, PLAIN),
        ("zstd;q=0, gzip;q=0.5", "gzip", GZIP),
        ("GZIP", "gzip", GZIP),
        ("gzip;q=nonsense", None, PLAIN),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_accepted(
    accepted: str | None,
    coding: str | None,
    body: bytes,
    method: str,
    server: HttpServer,
    descriptors: Callable[[], int],
) -> None:
    client = server.connect()
    before = descriptors()
    fields = [] if accepted is None else [f"Accept-Encoding: {accepted}"]
    for _ in range(2):
        reply = client.fetch("/style.css", *fields, method=method)
        assert reply.get("content-encoding") == coding
        assert reply.body == (body if method == "GET" else b"")
        assert reply["content-length"] == str(len(body))
        assert reply["vary"] == "Accept-Encoding"
        assert reply["content-type"] == "text/css; charset=utf-8", "that of what was asked for"
    assert descriptors() == before


def test_its_own_tag_and_digest(client: Client) -> None:
    """Those of what is sent: the same bytes must come when the download is continued."""
    plain = client.fetch("/style.css")
    field = "Accept-Encoding: gzip"
    reply = client.fetch("/style.css", field)
    assert reply["etag"] != plain["etag"]
    assert reply["etag"] == client.fetch("/style.css.gz")["etag"]
    assert reply["repr-digest"] == f"sha-256=:{b64encode(sha256(GZIP).digest()).decode()}:"
    tag = reply["etag"]
    assert client.fetch("/style.css", field, f"If-None-Match: {tag}").status == 304
    assert client.fetch("/style.css", f"If-None-Match: {tag}").status == 200
    assert client.fetch("/style.css", field, f"If-None-Match: {plain['etag']}").status == 200


def test_a_wanted_digest_is_that_of_what_is_sent(client: Client) -> None:
    reply = client.fetch("/large.bin", "Accept-Encoding: gzip", "Want-Repr-Digest: sha-256=1")
    expected = b64encode(sha256(LARGE[:250_000]).digest()).decode()
    assert reply["repr-digest"] == f"sha-256=:{expected}:"


def test_ranges_are_those_of_what_is_sent(client: Client) -> None:
    field = "Accept-Encoding: gzip"
    reply = client.fetch("/large.bin", field, "Range: bytes=249990-260000")
    assert (reply.status, reply["content-range"]) == (206, "bytes 249990-249999/250000")
    assert reply["content-encoding"] == "gzip"
    assert reply.body == LARGE[249_990:250_000]
    assert client.fetch("/large.bin", field, "Range: bytes=250000-").status == 416


def test_without_an_ending(client: Client) -> None:
    reply = client.fetch("/README", "Accept-Encoding: gzip")
    assert (reply.body, reply["content-type"]) == (GZIP, "text/plain; charset=utf-8")


def test_large_ones(server: HttpServer, client: Client, descriptors: Callable[[], int]) -> None:
    before = descriptors()
    assert client.fetch("/large.bin", "Accept-Encoding: gzip").body == LARGE[:250_000]
    assert client.fetch("/large.bin").body == LARGE
    assert descriptors() == before


def test_there_is_none(client: Client) -> None:
    reply = client.fetch("/alone.txt", "Accept-Encoding: gzip")
    assert (reply.body, reply.get("content-encoding")) == (PLAIN, None)
    assert reply["vary"] == "Accept-Encoding"


def test_an_older_one(server: HttpServer, client: Client, descriptors: Callable[[], int]) -> None:
    """The file was changed since it was compressed."""
    before = descriptors()
    os.utime(server.root / "style.css", (2_000_000_000, 2_000_000_000))
    reply = client.fetch("/style.css", "Accept-Encoding: zstd, gzip")
    assert (reply.body, reply.get("content-encoding")) == (PLAIN, None)
    for name in ("style.css.gz", "style.css"):
        os.utime(server.root / name, (1_500_000_000, 1_500_000_000))
    (server.root / "style.css.zst").unlink()
    assert client.fetch("/style.css", "Accept-Encoding: zstd, gzip").body == GZIP
    assert descriptors() == before


def link_out(path: Path) -> None:
    secret = path.parents[1] / "secret"
    secret.write_bytes(b"secret")
    path.symlink_to(secret)


@pytest.mark.parametrize("make", [link_out, os.mkfifo, Path.mkdir])
def test_no_other_way_out(
    make: Callable[[Path], object], server: HttpServer, client: Client
) -> None:
    for suffix in ("gz", "zst"):
        make(server.root / f"alone.txt.{suffix}")
    reply = client.fetch("/alone.txt", "Accept-Encoding: gzip, zstd")
    assert (reply.body, reply.get("content-encoding")) == (PLAIN, None)


def test_the_longest_name(server: HttpServer, client: Client) -> None:
    name = "x" * 255
    (server.root / name).write_bytes(b"content")
    assert client.fetch(f"/{name}", "Accept-Encoding: gzip").body == b"content"


@pytest.mark.parametrize("target", ["/style.css.gz", "/style.css.zst"])
def test_the_compressed_file_itself(target: str, client: Client) -> None:
    """Nobody is to take off what it is asked for with."""
    reply = client.fetch(target, "Accept-Encoding: gzip, zstd")
    assert reply.get("content-encoding") is None
    assert reply["content-type"] in ("application/gzip", "application/zstd")


def test_without_the_option(tmp_path: Path, server: HttpServer, connect: Connect) -> None:
    other = HttpServer(server.root, connect)
    reply = other.connect().fetch("/style.css", "Accept-Encoding: gzip")
    assert (reply.body, reply.get("vary")) == (PLAIN, None)
    other.close()
