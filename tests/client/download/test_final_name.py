"""Tests `client.download` where something has the final name already."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tcpdl.client.errors import CannotWrite
from tests.client.download.conftest import CHUNK, NAME, Fetch, some
from tests.client.native_server import Asked, Ending, NativeServer, Payload, Pieces

SIZE = 9 * CHUNK + 1234
LONG = 20 * CHUNK + 1234

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs a file of another user")


def stop(_seconds: float) -> None:
    raise KeyboardInterrupt


def break_in_the_middle(server: NativeServer, at: int = CHUNK // 2) -> None:
    def cut(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload):
                yield piece._replace(data=piece.data[:at])
                yield Ending.FIN
            yield piece

    server.hook = cut


def identity(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return status.st_ino, status.st_mtime_ns, status.st_mode, status.st_size, status.st_ctime_ns


@pytest.mark.parametrize("size", [1, CHUNK, SIZE, LONG])
def test_complete_and_the_same(size: int, server: NativeServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(some(size))
    before = identity(fetch.path)
    fetched = fetch(server.put(b"f", some(size)))
    assert fetched.unchanged
    assert fetched.verified
    assert fetched.size == size
    assert identity(fetch.path) == before
    assert fetch.names == {NAME}
    assert server.payload == 0
    assert fetch.notes == []


def test_complete_and_read_only(server: NativeServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(some(SIZE))
    fetch.path.chmod(0o400)
    assert fetch(server.put(b"f", some(SIZE))).unchanged


def test_empty_and_the_same(server: NativeServer, fetch: Fetch) -> None:
    fetch.path.touch()
    before = identity(fetch.path)
    assert fetch(server.put(b"f", b"")).unchanged
    assert identity(fetch.path) == before


@pytest.mark.parametrize("where", [0, CHUNK, SIZE - 1])
def test_one_byte_is_wrong(where: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    fetch.path.write_bytes(data[:where] + bytes([data[where] ^ 1]) + data[where + 1 :])
    fetched = fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert not fetched.unchanged
    assert server.payload <= CHUNK + 1
    assert fetched.kept >= SIZE - CHUNK
    assert fetch.names == {NAME}


@pytest.mark.parametrize("size", [1, 100, CHUNK - 1, CHUNK, 3 * CHUNK, 3 * CHUNK + 5, SIZE - 1])
def test_begun_by_another_program(size: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    fetch.path.write_bytes(data[:size])
    fetch.path.chmod(0o640)
    fetched = fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert server.payload <= SIZE - size // CHUNK * CHUNK
    assert fetched.kept == size // CHUNK * CHUNK
    assert stat.S_IMODE(fetch.path.stat().st_mode) == 0o640


@pytest.mark.parametrize("beyond", [1, CHUNK])
def test_longer_than_the_file(beyond: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    fetch.path.write_bytes(data + bytes(beyond))
    fetched = fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert fetched.kept == SIZE
    assert server.payload == 0


# An older version stays until the new one is complete.

OLDER = [
    pytest.param(b"old" * SIZE, id="longer"),
    pytest.param(some(SIZE, 1), id="as long"),
    pytest.param(some(SIZE - CHUNK, 1), id="shorter"),
    pytest.param(some(SIZE)[: 4 * CHUNK] + some(3 * CHUNK, 1), id="begins the same"),
]


@pytest.mark.parametrize("old", OLDER)
def test_older_version(old: bytes, server: NativeServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(old)
    break_in_the_middle(server)
    with pytest.raises(KeyboardInterrupt):
        fetch(server.put(b"f", some(SIZE)), sleep=stop)
    assert fetch.path.read_bytes() == old
    server.hook = None
    fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)
    assert fetch.names == {NAME}


@pytest.mark.parametrize("old", [b"x", b"my own notes", some(CHUNK - 1, 1)])
def test_older_version_of_less_than_a_chunk(old: bytes, server: NativeServer, fetch: Fetch) -> None:
    test_older_version(old, server, fetch)


def test_older_version_that_differs_at_its_end(server: NativeServer, fetch: Fetch) -> None:
    test_older_version(some(SIZE)[: 4 * CHUNK] + b"mine", server, fetch)


def test_record_left_behind(server: NativeServer, fetch: Fetch) -> None:
    """As by a process that was killed when it had given the file its name."""
    data = some(SIZE)
    location = server.put(b"f", data)
    left: list[bytes] = []
    fetch(location, progress=lambda _: left.append(fetch.record.read_bytes()))
    fetch.record.write_bytes(left[-1])
    server.forget()
    assert fetch(location).unchanged
    assert server.payload == 0
    assert fetch.names == {NAME}


# What is not simply a file of ours.


@pytest.mark.parametrize("content", [some(SIZE)[: 2 * CHUNK], some(SIZE), b"other"])
def test_symbolic_link(content: bytes, server: NativeServer, fetch: Fetch) -> None:
    precious = fetch.folder.parent / "precious"
    precious.write_bytes(content)
    fetch.path.symlink_to(precious)
    fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)
    assert not fetch.path.is_symlink()
    assert precious.read_bytes() == content


@pytest.mark.parametrize("content", [some(SIZE)[: 2 * CHUNK], b"other"])
def test_hard_link(content: bytes, server: NativeServer, fetch: Fetch) -> None:
    precious = fetch.folder.parent / "precious"
    precious.write_bytes(content)
    fetch.path.hardlink_to(precious)
    fetched = fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)
    assert precious.read_bytes() == content
    assert fetched.kept == len(content) // CHUNK * CHUNK
    assert server.payload == SIZE - fetched.kept


@as_root
def test_file_of_another_user(server: NativeServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(some(SIZE)[: 2 * CHUNK])
    os.chown(fetch.path, 12345, 12345)
    inode = fetch.path.stat().st_ino
    fetched = fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)
    assert fetch.path.stat().st_ino != inode
    assert fetch.path.stat().st_uid == os.geteuid()
    assert fetched.kept == 2 * CHUNK


def test_file_that_another_program_has_locked(server: NativeServer, fetch: Fetch) -> None:
    import fcntl

    fetch.path.write_bytes(some(SIZE)[: 2 * CHUNK])
    with fetch.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        inode = os.fstat(file.fileno()).st_ino
        fetched = fetch(server.put(b"f", some(SIZE)))
        assert file.read() == some(SIZE)[: 2 * CHUNK]
    assert fetch.path.read_bytes() == some(SIZE)
    assert fetch.path.stat().st_ino != inode
    assert fetched.kept == 2 * CHUNK


def test_read_only_beginning(server: NativeServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(some(SIZE)[: 2 * CHUNK])
    fetch.path.chmod(0o400)
    fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)
    assert stat.S_IMODE(fetch.path.stat().st_mode) == 0o400


def test_fifo(server: NativeServer, fetch: Fetch) -> None:
    os.mkfifo(fetch.path)
    fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)


def test_folder(server: NativeServer, fetch: Fetch) -> None:
    fetch.path.mkdir()
    with pytest.raises(CannotWrite):
        fetch(server.put(b"f", some(SIZE)))
    assert server.connections == 0


@pytest.mark.parametrize("code", ["EXDEV", "EOPNOTSUPP"])
def test_file_system_that_copies_nothing(
    code: str, server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def copy_file_range(*_: object) -> int:
        raise OSError(getattr(errno, code), code)

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    data = some(SIZE)
    fetch.path.write_bytes(b"!" + data[1:])
    fetched = fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert fetched.kept == SIZE - CHUNK


def test_file_that_is_cut_while_it_is_copied(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    fetch.path.write_bytes(b"!" + some(SIZE)[1:])
    with pytest.raises(CannotWrite):
        fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == b"!" + some(SIZE)[1:]
