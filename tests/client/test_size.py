"""Tests `client.size`, and what is bounded by it: files that are too large, or have no end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tcpdl.client import size
from tcpdl.client.api import fetch_bytes, fetch_to
from tcpdl.client.errors import NoRoom, TooLarge
from tcpdl.client.size import LOOK, Watch, check_size, check_space
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tests.client.http.web_server import Ending, WebServer
from tests.client.mirror.conftest import Honest, Make, Server, go
from tests.client.native_server import NativeServer

if TYPE_CHECKING:
    from tests.client.conftest import Serve

Room = Callable[[int], None]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """Lets every disk have so many bytes of room."""

    def set_to(left: int) -> None:
        disk = SimpleNamespace(f_blocks=1 << 40, f_bavail=left, f_frsize=1)
        monkeypatch.setattr(os, "fstatvfs", lambda _: disk)

    return set_to


def test_size() -> None:
    check_size(10, None)
    check_size(10, 10)
    with pytest.raises(TooLarge, match="has 11 bytes, and no more than 10 are wanted"):
        check_size(11, 10)


def test_space(room: Room) -> None:
    room(100)
    check_space(0, 100)
    check_space(0, -5)
    with pytest.raises(NoRoom, match="101 B are still to come, and the disk has room for 100 B"):
        check_space(0, 101)


def test_disk_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(f_blocks=0, f_bavail=0, f_frsize=4096)
    monkeypatch.setattr(os, "fstatvfs", lambda _: disk)
    check_space(0, 1 << 60)
    watch = Watch(lambda count: None, None, 0)
    watch(LOOK)


def test_watch() -> None:
    told: list[int] = []
    watch = Watch(told.append, 10, None)
    watch(4)
    watch(6)
    with pytest.raises(TooLarge, match="more than 10 bytes come"):
        watch(1)
    assert told == [4, 6]


def test_watch_of_the_disk(room: Room) -> None:
    """Small files are fetched to the last byte there is; what has no end leaves some."""
    room(0)
    watch = Watch(lambda count: None, None, 0)
    watch(LOOK - 1)
    with pytest.raises(NoRoom, match="nobody says how much is still to come"):
        watch(1)
    room(2 * LOOK)
    watch = Watch(lambda count: None, None, 0)
    watch(LOOK)
    watch(LOOK)
    room(2 * LOOK - 1)
    watch(LOOK - 1)
    with pytest.raises(NoRoom):
        watch(1)


# In all dialects.


def get(location: Location, folder: Path, **more: Any) -> None:
    fetch_to(location, str(folder), b"f", Ways(timeout=5, sleep=lambda _: None, **more))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "here"
    made.mkdir()
    (made / "f").write_bytes(b"older")
    return made


def is_untouched(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["f"] and (
        (folder / "f").read_bytes() == b"older"
    )


def test_native(folder: Path) -> None:
    server = NativeServer()
    location = server.put(b"f", bytes(1000))
    with pytest.raises(TooLarge, match="has 1000 bytes"):
        get(location, folder, most=999)
    assert is_untouched(folder)
    get(location, folder, most=1000)
    assert (folder / "f").read_bytes() == bytes(1000)
    server.close()


@pytest.mark.usefixtures("no_descriptor_leaks")
def test_http(folder: Path) -> None:
    server = WebServer()
    location = server.put("/f", bytes(1000))
    with pytest.raises(TooLarge, match="has 1000 bytes"):
        get(location, folder, most=999)
    server.hook = lambda _: [b"HTTP/1.1 200 OK\r\n\r\n", bytes(1000), Ending.FIN]
    with pytest.raises(TooLarge, match="more than 999 bytes come"):
        get(location, folder, most=999)
    with pytest.raises(TooLarge):
        fetch_bytes(location.shown, most=999)
    assert is_untouched(folder)
    get(location, folder, most=1000)
    assert (folder / "f").read_bytes() == bytes(1000)
    server.close()


def raw(sock: Any) -> None:
    while sock.recv(65536):
        pass
    sock.sendall(bytes(1000))


def test_raw(serve: Serve, folder: Path) -> None:
    location = Location("127.0.0.1", serve(raw, connections=3), b"f")
    for _ in range(2):
        with pytest.raises(TooLarge, match="more than 999 bytes come"):
            get(location, folder, dialect="raw", most=999)
    assert is_untouched(folder)
    get(location, folder, dialect="raw", most=1000)
    assert (folder / "f").read_bytes() == bytes(1000)


@pytest.mark.parametrize("dialect", ["http", "raw"])
def test_what_has_no_end_leaves_room(
    dialect: str, serve: Serve, folder: Path, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it stays: it could not be continued."""
    monkeypatch.setattr(size, "LOOK", 1 << 20)
    room(1 << 20)

    def endless(sock: Any) -> None:
        sock.recv(65536)
        if dialect == "http":
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                sock.sendall(bytes(1 << 20))
        except OSError:
            pass

    target = "/f" if dialect == "http" else ""
    with pytest.raises(NoRoom):
        get(Location("127.0.0.1", serve(endless), b"f", target), folder, dialect=dialect)
    assert is_untouched(folder)


@pytest.mark.parametrize("full", [False, True])
def test_mirror(full: bool, tmp_path: Path) -> None:
    make = Make()
    target = tmp_path / "target"
    target.mkdir()
    if full:
        (target / "b").write_bytes(b"mine")
    entries = [make.file("a", b"x" * 10), make.file("b", b"x" * 11), make.listed("c", 5 << 20)]
    server = Server(Honest(entries))
    mirrored = go(server.location, target, most=10, delete=True)
    server.close()
    assert [name for name, _ in mirrored.left_out] == [b"b", b"c"]
    assert all("no more than 10 are wanted" in why for _, why in mirrored.left_out)
    assert {path.name for path in target.iterdir()} == ({"a", "b"} if full else {"a"})
    assert not full or (target / "b").read_bytes() == b"mine"
