"""Tests answers that are kept: they are what a fresh one would be, and there is a bound to them."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcpdl.content.directory import Directory
from tcpdl.content.source import Identity
from tcpdl.server.http_kept import FILE_MOST, KEPT_SECONDS, Kept, KeptAnswers
from tests.server.conftest import Connect
from tests.server.http_client import Client, HttpServer, get, outlast, settle

TARGETS = ["/file", "/folder/file", "/link"]


@pytest.fixture
def server(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HttpServer]:
    settle(monkeypatch)
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    (root / "folder" / "file").write_bytes(b"content")
    (root / "link").symlink_to("file")
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names that were opened."""
    names: list[bytes] = []
    honest = Directory.open_file

    def watched(directory: Directory, name: object) -> object:
        names.append(b"/".join(name.segments))  # type: ignore[attr-defined]
        return honest(directory, name)  # type: ignore[arg-type]

    monkeypatch.setattr(Directory, "open_file", watched)
    return names


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_is_opened_once(
    target: str, client: Client, opened: list[bytes], descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    first, *others = (client.fetch(target) for _ in range(3))
    assert first.body == b"content"
    assert all((other.steady, other.body) == (first.steady, first.body) for other in others)
    assert opened == [target[1:].encode()]
    assert client.fetch(target, method="HEAD").steady == first.steady
    assert descriptors() == before


def rewrite(path: Path) -> None:
    path.write_bytes(b"CONTENT")


def rewrite_with_its_old_time(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path) -> None:
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"CONTENT")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


def replace_by_a_link(path: Path) -> None:
    path.with_name("other").write_bytes(b"CONTENT")
    path.unlink()
    path.symlink_to("other")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("change", [rewrite, rewrite_with_its_old_time, replace, replace_by_a_link])
def test_a_file_that_changed(
    target: str, change: Callable[[Path], None], server: HttpServer, client: Client
) -> None:
    first = client.fetch(target)
    path = (server.root / target[1:]).resolve()
    outlast(path)
    change(path)
    second = client.fetch(target)
    assert second.body == b"CONTENT"
    assert second["etag"] != first["etag"]
    assert second["repr-digest"] != first["repr-digest"]
    assert client.fetch(target).body == b"CONTENT"


def outside(path: Path) -> None:
    secret = path.parents[2] / "secret"
    secret.write_bytes(b"content")
    path.unlink()
    path.symlink_to(secret)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def away(path: Path) -> None:
    path.parent.rename(path.parent.with_name(".folder"))


def parent_is_a_link_out(path: Path) -> None:
    """The same file, by a name that leads out and back in."""
    elsewhere = path.parents[2] / "elsewhere"
    path.parent.rename(elsewhere)
    path.parent.symlink_to(elsewhere)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (Path.unlink, 404),
        (outside, 404),
        (fifo, 404),
        (folder, 301),
        (away, 404),
        (parent_is_a_link_out, 404),
    ],
)
def test_a_file_that_is_not_handed_out_any_more(
    change: Callable[[Path], None], status: int, server: HttpServer, client: Client
) -> None:
    client.fetch("/folder/file")
    change(server.root / "folder" / "file")
    assert client.fetch("/folder/file").status == status
    assert client.fetch("/file").body == b"content"


def test_it_is_looked_at_again_when_its_mode_changes(
    server: HttpServer, client: Client, opened: list[bytes]
) -> None:
    """So that one which may not be read any more is not sent."""
    client.fetch("/file")
    outlast(server.root / "file")
    (server.root / "file").chmod(0o600)
    client.fetch("/file")
    assert opened == [b"file", b"file"]


@pytest.mark.parametrize("target", ["/file/", "//file/", "/file/."])
def test_a_slash_is_not_forgotten(target: str, client: Client) -> None:
    client.fetch("/file")
    assert client.fetch(target).status == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["If-None-Match: *"], 304),
        (["If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT"], 304),
        (['If-Match: "x"'], 412),
        (["If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"], 412),
        (["Range: bytes=1-2"], 206),
        (["Range: bytes=1-2", 'If-Range: "x"'], 200),
    ],
)
def test_fields_count(fields: list[str], status: int, client: Client) -> None:
    client.fetch("/file")
    assert client.fetch("/file", *fields).status == status


@pytest.mark.parametrize("query", ["download", "info", "x"])
def test_queries_count(query: str, client: Client) -> None:
    plain = client.fetch("/file")
    reply = client.fetch(f"/file?{query}")
    assert (reply.steady == plain.steady) is (query == "x")


@pytest.mark.parametrize(("size", "times"), [(0, 1), (FILE_MOST, 1), (FILE_MOST + 1, 3)])
def test_only_small_files_are_kept(
    size: int, times: int, server: HttpServer, client: Client, opened: list[bytes]
) -> None:
    (server.root / "file").write_bytes(b"." * size)
    for _ in range(3):
        assert client.fetch("/file").body == b"." * size
    assert len(opened) == times


def test_what_may_change_unnoticed_is_not_kept(
    server: HttpServer, client: Client, opened: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    path = server.root / "file"
    path.write_bytes(b"content")
    status = path.stat()
    client.fetch("/file")
    # As where stamps are too coarse.
    monkeypatch.setattr(os, "stat", lambda *_args, **_options: status)
    path.write_bytes(b"CONTENT")
    assert client.fetch("/file").body == b"CONTENT"


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    server: HttpServer, client: Client, opened: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor sent to its end: what was read may be of two versions."""
    honest = os.pread

    def pread(fd: int, count: int, offset: int) -> bytes:
        data = honest(fd, count, offset)
        outlast(server.root / "file")
        (server.root / "file").write_bytes(b"CONTENT")
        return data

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", pread)
        assert server.connect("tcp").ask(get("/file")) == []
    opened.clear()
    assert client.fetch("/file").body == b"CONTENT"
    assert opened == [b"file"]


def test_what_a_program_writes_through_mapped_memory_is_seen_soon(
    server: HttpServer, client: Client, opened: list[bytes]
) -> None:
    """The system does not stamp the file anew for each such write."""
    with (server.root / "file").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:1] = b"c"
        outlast(server.root / "file")
        assert client.fetch("/file").body == b"content"
        memory[:7] = b"CHANGED"
        server.wait(KEPT_SECONDS + 0.25)
        opened.clear()
        assert client.fetch("/file").body == b"CHANGED"
        assert opened == [b"file"]


# The bound.


def kept(size: int) -> Kept:
    return Kept(Identity(0, 0, 0, 0, 0), 0.0, b"", b"." * size)


def test_no_more_is_kept_than_told() -> None:
    rng = random.Random(4)
    answers = KeptAnswers(50_000)
    for _ in range(2000):
        segments = (b"%d" % rng.randrange(30),)
        if rng.random() < 0.2:
            answers.drop(segments)
            assert answers.get(segments) is None
        else:
            one = kept(rng.randrange(10_000))
            answers.put(segments, one)
            assert answers.get(segments) is one
        everything = [answers.get((b"%d" % number,)) for number in range(30)]
        assert answers.size == sum(one.size for one in everything if one)
        assert answers.size <= 50_000


def test_what_is_larger_than_all_is_not_kept() -> None:
    answers = KeptAnswers(5_000)
    answers.put((b"a",), kept(100))
    answers.put((b"b",), kept(5_000))
    assert answers.get((b"b",)) is None
    assert answers.size == 0


def test_the_oldest_makes_room() -> None:
    answers = KeptAnswers(4 * kept(100).size)
    for number in range(5):
        answers.put((b"%d" % number,), kept(100))
    assert [answers.get((b"%d" % number,)) is None for number in range(5)] == [True] + 4 * [False]


def test_what_becomes_of_all_that_is_asked_for(
    server: HttpServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.answers._files, "_kept", KeptAnswers(30_000))
    bodies = [b"%03d" % number * 1000 for number in range(100)]
    for number, body in enumerate(bodies):
        (server.root / f"{number}").write_bytes(body)
    replies = client.ask(*[get(f"/{number}") for number in range(100)] * 2)
    assert [reply.body for reply in replies] == bodies * 2
    assert 15_000 < server.answers._files._kept.size <= 30_000
