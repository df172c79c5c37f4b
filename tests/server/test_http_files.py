"""Tests how HTTP answers for a file: whole, in ranges, by conditions, to be saved."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.server import http_files
from tcpdl.server.http_files import AT_ONCE_MOST
from tcpdl.server.http_kept import FILE_MOST
from tcpdl.web.ranges import RANGES_MOST
from tests.server.conftest import Connect, Log
from tests.server.http_client import Client, HttpServer, get, settle

SIZES = [0, 1, FILE_MOST, FILE_MOST + 1, AT_ONCE_MOST, AT_ONCE_MOST + 1, 3_000_000]
LARGE = os.urandom(300_000)
TEXT = "Grüße, 文件\n".encode()


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[HttpServer]:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "large.bin").write_bytes(LARGE)
    (root / "text.txt").write_bytes(TEXT)
    (root / "README").write_bytes(TEXT)
    (root / "gbk.txt").write_bytes("文件".encode("gbk"))
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page of any file is in memory."""
    monkeypatch.setattr(http_files, "would_wait", lambda *_: True)


# Whole files.


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_cold", [False, True])
@pytest.mark.parametrize("is_settled", [False, True])
@pytest.mark.parametrize("options", [{}, {"sendfile": None}])
def test_whole_files(
    size: int,
    is_cold: bool,
    is_settled: bool,
    options: dict[str, Any],
    server: HttpServer,
    monkeypatch: pytest.MonkeyPatch,
    descriptors: Callable[[], int],
) -> None:
    """GET, HEAD and GET again; HEAD has the fields of GET."""
    if is_cold:
        monkeypatch.setattr(http_files, "would_wait", lambda *_: True)
    if is_settled:
        settle(monkeypatch)
    content = os.urandom(size)
    path = server.root / "file.bin"
    path.write_bytes(content)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    client = server.connect(**options)
    before = descriptors()
    replies = client.ask(
        get("/file.bin"), get("/file.bin", method="HEAD"), get("/file.bin"), get("/text.txt")
    )
    assert [reply.body for reply in replies] == [content, b"", content, TEXT]
    first, *others = (reply.steady for reply in replies[:3])
    assert others == [first, first]
    assert replies[0]["content-length"] == str(size)
    assert replies[0]["content-type"] == "application/octet-stream"
    assert replies[0]["x-content-type-options"] == "nosniff"
    assert replies[0]["accept-ranges"] == "bytes"
    assert replies[0]["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert re.fullmatch(r'"[\w-]{22}"' if is_settled else r'W/"[\w-]{22}"', replies[0]["etag"])
    assert client.rest == b""
    assert descriptors() == before


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/text.txt", "text/plain; charset=utf-8"),
        ("/gbk.txt", "text/plain"),
        ("/README", "text/plain; charset=utf-8"),
        ("/large.bin", "application/octet-stream"),
    ],
)
@pytest.mark.parametrize("fields", [[], ["Range: bytes=1-2"], ["Range: bytes=0-0,2-2"]])
@pytest.mark.parametrize("is_cold", [False, True])
def test_types(
    target: str,
    kind: str,
    fields: list[str],
    is_cold: bool,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They do not depend on what happens to be in memory: a browser keeps them."""
    if is_cold:
        monkeypatch.setattr(http_files, "would_wait", lambda *_: True)
    reply = client.fetch(target, *fields)
    if reply["content-type"].startswith("multipart"):
        assert reply.body.count(f"Content-Type: {kind}\r\n".encode()) == 2
    else:
        assert reply["content-type"] == kind


@pytest.mark.usefixtures("cold")
def test_a_cold_file_is_read_by_a_thread_first(server: HttpServer, client: Client) -> None:
    server.work.hold = True
    assert client.ask(get("/text.txt")) == []
    server.work.release()
    assert client.hear()[0].body == TEXT


def test_names_are_names(server: HttpServer, client: Client) -> None:
    """Any bytes but NUL and a slash."""
    for number, name in enumerate([b"a b", b"\xff\xfe", b"%41", "文件".encode(), b"a?b", b"a#b"]):
        (server.root / os.fsdecode(name)).write_bytes(b"%d" % number)
        escaped = "".join(f"%{byte:02x}" for byte in name)
        assert client.fetch(f"/{escaped}").body == b"%d" % number
    assert client.fetch(b"/\xff\xfe").body == b"1", "as some clients send it"


def test_an_absolute_target(client: Client) -> None:
    assert client.fetch("http://files.example:8080/text.txt").body == TEXT


# Ranges.


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("0-0", 0, 1),
        ("0-", 0, 300_000),
        ("10-19", 10, 20),
        ("299999-", 299_999, 300_000),
        ("-1", 299_999, 300_000),
        ("-999999", 0, 300_000),
        ("100-99999999999999", 100, 300_000),
        ("100000-299000", 100_000, 299_001),
        ("0-9,5-20", 0, 21),
        ("5-9,0-4", 0, 10),
        ("0-4,999999-", 0, 5),
    ],
)
@pytest.mark.parametrize("is_cold", [False, True])
def test_one_range(
    asked: str,
    start: int,
    end: int,
    is_cold: bool,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if is_cold:
        monkeypatch.setattr(http_files, "would_wait", lambda *_: True)
    reply = client.fetch("/large.bin", f"Range: bytes={asked}")
    assert reply.status == 206
    assert reply["content-range"] == f"bytes {start}-{end - 1}/300000"
    assert reply["content-length"] == str(end - start)
    assert reply.body == LARGE[start:end]
    head = client.fetch("/large.bin", f"Range: bytes={asked}", method="HEAD")
    assert (head.status, head["content-length"]) == (200, "300000"), "ranges are for GET"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=5-3",
        "bytes=a-b",
        "bytes=",
        "lines=0-1",
        "0-1",
        "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(RANGES_MOST + 1)),
        "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(1500)),
    ],
)
def test_ranges_that_are_ignored(asked: str, client: Client) -> None:
    reply = client.fetch("/large.bin", f"Range: {asked}")
    assert (reply.status, reply.body) == (200, LARGE)
    assert reply.get("content-range") is None


@pytest.mark.parametrize("asked", ["300000-", "300000-300001", "999999999999999999999-", "-0"])
def test_ranges_that_hold_nothing(
    asked: str, client: Client, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    reply = client.fetch("/large.bin", f"Range: bytes={asked}")
    assert (reply.status, reply["content-range"]) == (416, "bytes */300000")
    assert descriptors() == before
    assert client.fetch("/text.txt").body == TEXT


@given(
    ranges=st.lists(
        st.tuples(st.integers(0, 299_999), st.integers(1, 150_000)),
        min_size=2,
        max_size=RANGES_MOST,
    )
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_several_ranges(ranges: list[tuple[int, int]], client: Client) -> None:
    asked = ",".join(f"{start}-{start + count - 1}" for start, count in ranges)
    reply = client.fetch("/large.bin", f"Range: bytes={asked}")
    assert reply.status == 206
    if not reply["content-type"].startswith("multipart/byteranges"):
        return
    boundary = reply["content-type"].partition("boundary=")[2].encode()
    first, *parts, last = reply.body.split(b"--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    got = set()
    for part in parts:
        head, _, data = part.partition(b"\r\n\r\n")
        found = re.search(rb"Content-Range: bytes (\d+)-(\d+)/300000", head)
        assert found
        start, end = int(found[1]), int(found[2]) + 1
        assert data == LARGE[start:end] + b"\r\n"
        got.add((start, end))
    for start, count in ranges:
        assert any(begin <= start and min(300_000, start + count) <= end for begin, end in got), (
            "in some part"
        )


# Conditions.


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", ["/text.txt", "/large.bin"])
def test_conditions(
    target: str, method: str, client: Client, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    first = client.fetch(target)
    tag, date = first["etag"], first["last-modified"]
    past = "Thu, 01 Jan 1970 00:00:00 GMT"
    for fields, status in [
        ([f"If-None-Match: {tag}"], 304),
        (["If-None-Match: *"], 304),
        (['If-None-Match: "x"'], 200),
        (['If-None-Match: "x"', f"If-Modified-Since: {date}"], 200),
        ([f"If-Modified-Since: {date}"], 304),
        ([f"If-Modified-Since: {past}"], 200),
        ([f"If-Match: {tag}"], 200),
        (['If-Match: "x"'], 412),
        ([f"If-Unmodified-Since: {past}"], 412),
        ([f"If-Unmodified-Since: {date}"], 200),
    ]:
        reply = client.fetch(target, *fields, method=method)
        assert reply.status == status, fields
        if status == 200:
            assert reply.steady == first.steady
        else:
            assert reply["etag"] == tag
        assert not client.ended
    assert descriptors() == before


@pytest.mark.usefixtures("settled")
def test_if_range(server: HttpServer, client: Client) -> None:
    tag = client.fetch("/large.bin")["etag"]
    fields = "Range: bytes=5-", f"If-Range: {tag}"
    assert client.fetch("/large.bin", *fields).status == 206
    (server.root / "large.bin").write_bytes(b"other content")
    reply = client.fetch("/large.bin", *fields)
    assert (reply.status, reply.body) == (200, b"other content")


def test_a_file_that_may_still_change(client: Client) -> None:
    """Its tag is a weak one, so that nobody puts parts of two versions together."""
    tag = client.fetch("/large.bin")["etag"]
    assert tag.startswith('W/"')
    assert client.fetch("/large.bin", "Range: bytes=5-", f"If-Range: {tag}").status == 200
    assert client.fetch("/large.bin", f"If-Match: {tag}").status == 412
    assert client.fetch("/large.bin", f"If-None-Match: {tag}").status == 304
    assert client.fetch("/large.bin", "Range: bytes=5-").status == 206


# To be saved.


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("plain.txt", 'attachment; filename="plain.txt"'),
        ("a b.txt", 'attachment; filename="a b.txt"'),
        (
            "文件.txt",
            "attachment; filename=\"__.txt\"; filename*=UTF-8''%E6%96%87%E4%BB%B6.txt",
        ),
        ('a"b\\c', "attachment; filename=\"a_b_c\"; filename*=UTF-8''a%22b%5Cc"),
        (
            "a\r\nSet-Cookie: a=b\r\n\r\n<html>",
            'attachment; filename="a__Set-Cookie: a=b____<html>"; filename*='
            "UTF-8''a%0D%0ASet-Cookie%3A%20a%3Db%0D%0A%0D%0A%3Chtml%3E",
        ),
    ],
)
@pytest.mark.parametrize("size", [5, 100_000])
def test_download(name: str, field: str, size: int, server: HttpServer, client: Client) -> None:
    (server.root / name).write_bytes(b"." * size)
    escaped = "".join(f"%{byte:02x}" for byte in name.encode())
    reply = client.fetch(f"/{escaped}?download")
    assert reply["content-disposition"] == field
    assert reply.body == b"." * size
    assert client.fetch(f"/{escaped}").get("content-disposition") is None


@given(name=st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & {0, 47}))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_name_becomes_a_field(name: bytes, server: HttpServer, log: Log) -> None:
    if name.startswith(b".") or name == b"~":
        return
    path = server.root / "folder" / os.fsdecode(name)
    path.write_bytes(b"content")
    client = server.connect()
    escaped = "".join(f"%{byte:02x}" for byte in name)
    reply = client.fetch(f"/folder/{escaped}?download")
    path.unlink()
    if reply.status == 200:
        assert reply.fields.keys() - {"content-security-policy"} == {
            *("date", "server", "etag", "last-modified", "accept-ranges", "content-length"),
            *("x-content-type-options", "content-disposition", "content-type"),
        }
    else:
        assert reply.status == 404
    assert all(line.isprintable() for line in log.told)
