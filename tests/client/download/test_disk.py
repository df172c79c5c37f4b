"""Tests `client.download` where the disk is full, slow, or to be waited for."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from tcpdl.client.errors import CannotWrite
from tests.client.download.conftest import CHUNK, NAME, PART, RECORD, Fetch, some
from tests.client.native_server import Ending, NativeServer

SHORT = 5 * CHUNK + 99
LONG = 40 * CHUNK + 99


class Disk:
    """Lets writing fail after so many calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 1 << 30
        self.code = errno.ENOSPC
        self.most = 1 << 30
        honest = os.pwrite

        def pwrite(fd: int, data: Any, offset: int) -> int:
            self.left -= 1
            if self.left < 0:
                raise OSError(self.code, os.strerror(self.code))
            return honest(fd, data[: self.most], offset)

        monkeypatch.setattr(os, "pwrite", pwrite)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("calls", [0, 1, 3])
@pytest.mark.parametrize("size", [SHORT, LONG])
def test_write_that_fails(
    size: int, calls: int, code: int, disk: Disk, server: NativeServer, fetch: Fetch
) -> None:
    data = some(size)
    disk.left, disk.code = calls, code
    with pytest.raises(CannotWrite, match=os.strerror(code).lower()) as raised:
        fetch(server.put(b"f", data))
    assert raised.value.status == 6
    assert not fetch.path.exists()
    assert fetch.names <= {PART, RECORD}
    written = fetch.part.stat().st_size if fetch.part.exists() else 0
    disk.left = 1 << 30
    server.forget()
    fetched = fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert fetched.kept <= written
    assert server.payload == size - written


@pytest.mark.parametrize("count", [2, 4])
def test_write_that_fails_on_one_of_several(
    count: int, disk: Disk, server: NativeServer, fetch: Fetch, eager: None
) -> None:
    data = some(LONG)
    disk.left = 20
    with pytest.raises(CannotWrite):
        fetch(server.put(b"f", data), connections=count)
    assert not fetch.path.exists()
    disk.left = 1 << 30
    fetch(server.put(b"f", data), connections=count)
    assert fetch.path.read_bytes() == data


def test_short_writes(disk: Disk, server: NativeServer, fetch: Fetch) -> None:
    data = some(SHORT)
    disk.most = 1000
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_record_that_cannot_be_written(
    size: int, server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = os.write
    left = [3]

    def write(fd: int, data: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "")
        return honest(fd, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        with pytest.raises(CannotWrite):
            fetch(server.put(b"f", some(size)))
    assert not fetch.path.exists()
    fetch(server.put(b"f", some(size)))
    assert fetch.path.read_bytes() == some(size)


def statvfs(there: int, blocks: int = 1 << 20) -> os.statvfs_result:
    return os.statvfs_result((4096, 1, blocks, there, there, 1, 1, 1, 0, 255))


def test_room_is_looked_for_first(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fstatvfs", lambda _: statvfs(LONG - 1))
    with pytest.raises(CannotWrite, match="are still to come, and the disk has room for"):
        fetch(server.put(b"f", some(LONG)))
    assert fetch.names == set()
    monkeypatch.setattr(os, "fstatvfs", lambda _: statvfs(LONG))
    fetch(server.put(b"f", some(LONG)))
    assert fetch.path.read_bytes() == some(LONG)


def test_room_for_what_is_missing_is_enough(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch.part.write_bytes(some(SHORT)[: 3 * CHUNK])
    monkeypatch.setattr(os, "fstatvfs", lambda _: statvfs(SHORT - 3 * CHUNK))
    fetch(server.put(b"f", some(SHORT)))
    assert fetch.path.read_bytes() == some(SHORT)


def test_disk_that_counts_no_blocks(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fstatvfs", lambda _: statvfs(0, 0))
    fetch(server.put(b"f", some(SHORT)))
    assert fetch.path.read_bytes() == some(SHORT)


class Calls:
    """In which order what is done to the file."""

    def __init__(self, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        folder = fetch.folder.stat().st_ino
        for name in ("pwrite", "fsync", "rename", "utime", "unlink"):
            honest = getattr(os, name)

            def call(
                first: Any, *args: Any, name: str = name, honest: Any = honest, **more: Any
            ) -> Any:
                shown = name
                if name == "fsync":
                    shown += " folder" if os.fstat(first).st_ino == folder else " file"
                if not self.seen or self.seen[-1] != shown:
                    self.seen.append(shown)
                return honest(first, *args, **more)

            monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("size", [SHORT, LONG])
def test_sync(
    size: int,
    sync: bool,
    server: NativeServer,
    fetch: Fetch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = Calls(fetch, monkeypatch)
    fetch(server.put(b"f", some(size)), sync=sync)
    seen = [call for call in calls.seen if call != "unlink"]
    if sync:
        assert seen == ["pwrite", "utime", "fsync file", "rename", "fsync folder"]
        assert calls.seen.index("unlink") > calls.seen.index("rename")
    else:
        assert seen == ["pwrite", "utime", "rename"]
    assert fetch.names == {NAME}


def test_sync_that_fails(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_fd: int) -> None:
        raise OSError(errno.EIO, "")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(CannotWrite):
            fetch(server.put(b"f", some(SHORT)), sync=True)
    assert fetch.names == {PART, RECORD}
    fetch(server.put(b"f", some(SHORT)), sync=True)
    assert fetch.path.read_bytes() == some(SHORT)


def test_part_that_is_taken_away(server: NativeServer, fetch: Fetch) -> None:
    with pytest.raises(CannotWrite, match="was taken away"):
        fetch(server.put(b"f", some(LONG)), progress=lambda _: fetch.part.unlink(missing_ok=True))
    assert not fetch.path.exists()


def test_part_that_is_cut_meanwhile(server: NativeServer, fetch: Fetch) -> None:
    """The rest of a chunk is to be fetched, and its beginning is gone."""
    data = some(SHORT)
    server.cuts = [(CHUNK + 5000, Ending.FIN)]

    def cut(_seconds: float) -> None:
        os.truncate(fetch.part, CHUNK)

    with pytest.raises(CannotWrite, match="the part cannot be read"):
        fetch(server.put(b"f", data), sleep=cut)
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
