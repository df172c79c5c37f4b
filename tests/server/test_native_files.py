"""Tests what is answered to GET and GETDIGESTS: bytes, digests, seals, and files that change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl import digest
from tcpdl.content.digests import Digests
from tcpdl.content.source import Identity
from tcpdl.server.answering import UNSENT_MOST
from tcpdl.server.answers import INLINE_MOST
from tcpdl.server.unreadable import UNREADABLE_MOST, Unreadable
from tcpdl.wire import native
from tcpdl.wire.native import (
    ABSENT,
    BAD_RANGE,
    CHANGED,
    IS_FOLDER,
    REFUSED,
    SHA256,
    TO_END,
    UNAVAILABLE,
    Chunk,
    Digest,
    DigestList,
    End,
    Error,
    FileInfo,
    Get,
    GetDigests,
)
from tests.server.conftest import Connect
from tests.server.native_client import Client, NativeServer, sealed

MIB = 1 << 20
LARGE = 3 * MIB + 77


@pytest.fixture
def data() -> bytes:
    return os.urandom(LARGE)


@pytest.fixture
def server(tmp_path: Path, connect: Connect, data: bytes) -> Iterator[NativeServer]:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "small").write_bytes(b"hello\n")
    (root / "empty").touch()
    (root / "large").write_bytes(data)
    server = NativeServer(root, connect)
    yield server
    server.work.release()
    server.directory.close()


@pytest.fixture
def client(server: NativeServer) -> Client:
    return server.connect()


def chunk_of(data: bytes, index: int) -> bytes:
    return data[index * MIB : (index + 1) * MIB]


def hashed(data: bytes) -> bytes:
    return digest.digest(SHA256, data)


# Bytes.


@pytest.mark.parametrize("size", [1, INLINE_MOST, INLINE_MOST + 1, MIB, MIB + 1])
def test_whole_files(size: int, server: NativeServer, client: Client) -> None:
    content = os.urandom(size)
    path = server.root / "file"
    path.write_bytes(content)
    path.chmod(0o750)
    request = Get(7, b"file")
    info, *parts = client.ask(request)
    status = path.stat()
    assert (info.id, info.size, info.mode, info.chunk_shift) == (7, size, 0o750, 20)
    assert info.mtime_ns == status.st_mtime_ns
    assert info.seal == sealed(request, info)
    assert b"".join(part for part in parts if isinstance(part, bytes)) == content
    digests = [part for part in parts if isinstance(part, Digest)]
    assert [one.chunk for one in digests] == list(range(-(-size // MIB)))
    assert all(one.digest == hashed(chunk_of(content, one.chunk)) for one in digests)
    assert parts[-1] == End(7)


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, TO_END),
        (0, 1),
        (5, 10),
        (MIB - 1, 2),
        (MIB, MIB),
        (MIB + 1, TO_END),
        (2 * MIB + 9, 1 << 40),
        (LARGE - 1, TO_END),
        (LARGE - 1, 1),
    ],
)
def test_ranges(offset: int, length: int, data: bytes, client: Client) -> None:
    info, *parts = client.ask(Get(1, b"large", offset, length))
    end = min(LARGE, offset + length)
    assert info.size == LARGE
    at = offset
    for part in parts:
        if isinstance(part, bytes):
            assert part == data[at : at + len(part)]
            at += len(part)
            assert at == end or at % MIB == 0, "a run ends where its chunk does"
        elif isinstance(part, Digest):
            # Of the whole chunk, after its run, and at most one run later.
            assert part.digest == hashed(chunk_of(data, part.chunk))
            assert part.chunk * MIB < at <= (part.chunk + 2) * MIB
    assert at == end
    indexes = [part.chunk for part in parts if isinstance(part, Digest)]
    assert indexes == list(range(offset // MIB, -(-end // MIB)))


@pytest.mark.parametrize(("name", "size"), [(b"empty", 0), (b"small", 6), (b"large", LARGE)])
def test_nothing_is_asked_for(name: bytes, size: int, client: Client) -> None:
    request = Get(3, name, size, 0)
    info, end = client.ask(request)
    assert (info.size, info.seal, end) == (size, sealed(request, info), End(3))


@pytest.mark.parametrize("name", [b"small", b"large"])
def test_only_one_version(name: bytes, server: NativeServer, client: Client) -> None:
    info, *_ = client.ask(Get(1, name))
    again, *_ = client.ask(Get(2, name, tag=info.tag))
    assert again.tag == info.tag
    (server.root / os.fsdecode(name)).write_bytes(b"another")
    assert [part[:2] for part in client.ask(Get(3, name, tag=info.tag))] == [(3, CHANGED)]
    assert client.ask(Get(4, name))[0].tag != info.tag


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"absent", ABSENT),
        (b"small/x", ABSENT),
        (b"", IS_FOLDER),
        (b"folder", IS_FOLDER),
        (b"../root/small", REFUSED),
        (b"/small", REFUSED),
        (b".hidden", REFUSED),
    ],
)
@pytest.mark.parametrize("kind", [Get, GetDigests])
def test_names(kind: Any, name: bytes, code: int, server: NativeServer, client: Client) -> None:
    (server.root / ".hidden").touch()
    (error,) = client.ask(kind(9, name))
    assert (error.id, error.code) == (9, code)
    assert error.sentence.isprintable()
    assert str(server.root) not in error.sentence


@pytest.mark.parametrize("request_", [Get(1, b"small", 7), GetDigests(1, b"large", 5)])
def test_beyond_the_end(request_: Any, client: Client) -> None:
    (error,) = client.ask(request_)
    assert error.code == BAD_RANGE
    assert "the file has" in error.sentence


# Files that change while they are sent.


def test_changed_before_its_digest_is_known(server: NativeServer, client: Client) -> None:
    server.work.hold = True
    client.ask(Get(1, b"large"))
    with (server.root / "large").open("r+b") as file:
        file.write(b"changed")
    server.work.release()
    parts = client.hear()
    assert not [part for part in parts if isinstance(part, (Digest, End))]
    assert parts[-1][:2] == (1, CHANGED)
    assert b"hello\n" in client.ask(Get(2, b"small")), "the connection goes on"


def test_became_shorter(server: NativeServer) -> None:
    client = server.connect(sndbuf=4096)
    client.say(Get(1, b"large"))
    os.truncate(server.root / "large", 100)
    server.work.release()
    with pytest.raises((AssertionError, ConnectionError)):
        client.connection.drain(to_the_end=True)
    server.clock.advance(0)
    assert not client.connection.transport.connected


def test_a_small_file_changes_while_it_is_read(
    client: Client, server: NativeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = os.pread

    def pread(*args: Any) -> bytes:
        read = honest(*args)
        (server.root / "small").write_bytes(b"other\n")
        os.utime(server.root / "small", (1, 1))
        return read

    monkeypatch.setattr(os, "pread", pread)
    assert [part[:2] for part in client.ask(Get(1, b"small"))] == [(1, CHANGED)]


@pytest.mark.parametrize(
    ("problem", "code"), [(digest.FileEnded("x"), CHANGED), (OSError(5, "?"), UNAVAILABLE)]
)
@pytest.mark.parametrize("request_", [Get(1, b"large"), GetDigests(1, b"large")])
def test_cannot_be_hashed(
    request_: Any, problem: Exception, code: int, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunk(*_: object) -> bytes:
        raise problem

    monkeypatch.setattr(Digests, "chunk", chunk)
    *_, error = client.ask(request_)
    assert (type(error), error.code) == (Error, code)


def test_a_small_file_cannot_be_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def pread(*_: object) -> bytes:
        raise OSError(5, "?")

    monkeypatch.setattr(os, "pread", pread)
    assert [part[:2] for part in client.ask(Get(1, b"small"))] == [(1, UNAVAILABLE)]


def test_what_failed_is_read_before_it_is_promised_again(
    server: NativeServer, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = 1 * MIB + 5

    def sendfile(out: int, file: int, offset: int, count: int) -> int:
        if offset + count > bad:
            raise OSError(5, "?")
        return os.sendfile(out, file, offset, count)

    def update_from(state: object, fd: int, offset: int, count: int) -> None:
        if offset <= bad < offset + count:
            raise OSError(5, "?")

    client = server.connect(sendfile=sendfile)
    client.say(Get(1, b"large"))
    with pytest.raises((AssertionError, ConnectionError)):
        client.connection.drain(to_the_end=True)
    server.clock.advance(0)
    again = server.connect()
    with monkeypatch.context() as patch:
        patch.setattr(digest, "update_from", update_from)
        *_, told = again.ask(Get(2, b"large"))
    assert told == Error(2, UNAVAILABLE, "it cannot be read: Input/output error")
    # It may have been mended.
    assert b"".join(part for part in again.ask(Get(3, b"large")) if isinstance(part, bytes)) == data


def test_not_all_that_failed_is_remembered() -> None:
    known = Unreadable()
    for index in range(UNREADABLE_MOST + 1):
        known.add(Identity(1, 2, 3, 4, 5), index)
    assert (Identity(1, 2, 3, 4, 5), UNREADABLE_MOST) in known
    assert (Identity(1, 2, 3, 4, 5), 0) not in known


def test_waiting_for_digests_is_told(server: NativeServer, client: Client) -> None:
    server.work.hold = True
    client.ask(Get(1, b"large", 0, 10))
    server.wait(2.5)
    server.work.release()
    assert client.hear()[-1] == End(1, held_ms=2500)


def test_one_run_ahead_of_its_digest_at_most(server: NativeServer, client: Client) -> None:
    server.work.hold = True
    parts = client.ask(Get(1, b"large"))
    assert [type(part) for part in parts] == [FileInfo, Chunk, bytes, Chunk, bytes]
    server.work.release()
    assert client.hear()[-1] == End(1)


# Digests without bytes.


@pytest.mark.parametrize(
    ("first", "count", "parts"),
    [
        (0, TO_END, [(0, 2), (2, 2)]),
        (1, TO_END, [(1, 2), (3, 1)]),
        (1, 1, [(1, 1)]),
        (3, 1 << 40, [(3, 1)]),
        (4, 5, []),
        (0, 0, []),
    ],
)
def test_digests(
    first: int,
    count: int,
    parts: list[tuple[int, int]],
    data: bytes,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "LISTED_MOST", 2)
    request = GetDigests(2, b"large", first, count)
    info, *lists, end = client.ask(request)
    assert info.seal == sealed(request, info)
    assert end == End(2)
    assert all(one.seal == sealed(request, one) for one in lists)
    assert [one._replace(seal=bytes(32)) for one in lists] == [
        DigestList(2, at, tuple(hashed(chunk_of(data, at + n)) for n in range(many)))
        for at, many in parts
    ]


def test_others_have_their_turn_between_lists_of_digests(
    server: NativeServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "LISTED_MOST", 1)
    client.say(GetDigests(1, b"large"))
    first = client.connection.drain()
    assert len(client.hear()) == 6
    assert len(first) < len(client.connection.received) // 2


def test_lists_of_digests_wait_for_the_client(
    server: NativeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are known, few of them are held for a client that takes none."""
    monkeypatch.setattr(server.digests, "known", lambda *_: bytes(32))
    size = 1 << 36  # of which nothing is written
    os.truncate(server.root / "large", size)
    total = digest.chunk_count(size, digest.chunk_shift(size))
    assert total > 4 * native.LISTED_MOST
    client = server.connect(sndbuf=4096)
    client.say(GetDigests(1, b"large"))
    for _ in range(20):
        server.clock.advance(0)
    assert client.connection.transport.unsent < UNSENT_MOST + 33_000
    _, *lists, end = client.hear()
    assert (sum(len(one.digests) for one in lists), end) == (total, End(1))


def test_digests_of_a_file_that_changes(server: NativeServer, client: Client) -> None:
    server.work.hold = True
    client.ask(GetDigests(1, b"large"))
    server.work.release(2)
    os.utime(server.root / "large", (1, 1))
    server.work.release()
    assert [part[:2] for part in client.hear()] == [(1, CHANGED)]
