"""Tests `access.files`: what is read, when it is read again, and that writing leaves no half."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcpdl.access import files
from tcpdl.access.files import FileError, Kept, change, read


def number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("line 1: it is no number; write one") from None


class Watched:
    """A file that is kept, and a clock."""

    def __init__(self, path: Path, *, secret: bool = False) -> None:
        self.path = path
        self.now = 0.0
        self.warnings: list[str] = []
        self.kept: Kept[int] = Kept(
            str(path), number, warn=self.warnings.append, secret=secret, clock=lambda: self.now
        )

    def get_next(self) -> int:
        """What it says after the next look."""
        self.now += files.LOOK_SECONDS
        return self.kept.get()

    def get_later(self) -> int:
        """What it says once it has been seen twice as it is now."""
        self.get_next()
        return self.get_next()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "number"
    made.write_text("1")
    made.chmod(0o600)
    return made


def replace_by_link(path: Path) -> None:
    path.rename(path.parent / "real")
    path.symlink_to("real")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_read(path: Path) -> None:
    text, status = read(str(path))
    assert text == b"1"
    assert status.st_ino == path.stat().st_ino


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.unlink, "there is no such file"),
        (replace_by_link, "symbolic link"),
        (replace_by_folder, "it is a folder, and no file"),
        (replace_by_fifo, "not a regular file"),
        (lambda path: os.truncate(path, files.FILE_MOST + 1), "more than"),
    ],
)
def test_cannot_be_read(path: Path, make: Callable[[Path], object], why: str) -> None:
    make(path)
    with pytest.raises(FileError, match=why) as caught:
        read(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(FileError, match=why):
        Watched(path)
    if "no such" not in why:
        with pytest.raises(FileError, match=why):
            change(str(path), lambda _: b"2")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_may_not_be_read(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(FileError, match="this user may not read it"):
        read(str(path))


def test_a_link_before_the_last_step_is_followed(path: Path) -> None:
    (path.parent / "here").symlink_to(".")
    assert read(str(path.parent / "here" / "number"))[0] == b"1"


def test_what_it_says_at_first_must_make_sense(path: Path) -> None:
    path.write_text("one")
    with pytest.raises(FileError, match=r"number: line 1: it is no number; write one"):
        Watched(path)


def test_it_is_looked_at_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(path)
    looks: list[str] = []
    really = os.lstat

    def look(path: str) -> os.stat_result:
        looks.append(path)
        return really(path)

    monkeypatch.setattr(os, "lstat", look)
    for now in (0, 0.1, 0.9, 1, 1.5, 2, 2.9):
        watched.now = now
        assert watched.kept.get() == 1
    assert looks == [str(path)] * 3


def test_a_change_is_taken_up_when_it_is_seen_twice(path: Path) -> None:
    watched = Watched(path)
    assert watched.get_later() == 1
    # An editor writes it in two steps, with a look between them.
    path.write_text("")
    assert watched.get_next() == 1
    path.write_text("22")
    assert watched.get_next() == 1
    assert watched.get_next() == 22
    assert watched.warnings == []


def test_it_is_read_at_once_for_who_asks_for_it(path: Path) -> None:
    watched = Watched(path)
    path.write_text("22")
    watched.kept.reload()
    assert watched.kept.get() == 22
    path.write_text("nonsense")
    watched.kept.reload()
    assert watched.kept.get() == 22
    assert len(watched.warnings) == 1


@pytest.mark.usefixtures("settled")
def test_it_is_read_again_only_if_it_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(path)
    assert watched.kept.changes == 1
    for _ in range(3):
        assert watched.get_later() == 1
    assert watched.kept.changes == 1
    other = path.parent / "other"
    other.write_text("3")
    os.replace(other, path)
    assert watched.get_later() == 3
    assert watched.kept.changes == 2


def test_it_is_read_again_while_a_change_could_go_unnoticed(path: Path) -> None:
    watched = Watched(path)
    before = path.stat()
    with path.open("r+") as file:
        file.write("4")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watched.get_later() == 4  # though it may well have the stamps that it had


@pytest.mark.usefixtures("settled")
def test_a_broken_one_changes_nothing(path: Path) -> None:
    watched = Watched(path)
    path.write_text("nonsense")
    for _ in range(3):
        assert watched.get_later() == 1
    still = "; what it said before still holds"
    assert watched.warnings == [f"{path}: line 1: it is no number; write one{still}"]
    path.unlink()
    for _ in range(3):
        assert watched.get_later() == 1
    assert watched.warnings[1:] == [f"{path}: there is no such file{still}"]
    path.write_text("5")
    assert watched.get_later() == 5
    path.write_text("nonsense")
    assert watched.get_later() == 5
    assert len(watched.warnings) == 3


def test_others_can_read_it(path: Path) -> None:
    def warned(*, secret: bool) -> list[str]:
        watched = Watched(path, secret=secret)
        assert watched.warnings == []  # nobody would see it yet
        for _ in range(2):
            watched.get_later()
        return watched.warnings

    assert warned(secret=True) == []
    path.chmod(0o640)
    assert warned(secret=True) == []
    for mode in (0o604, 0o602, 0o620):
        path.chmod(mode)
        found = warned(secret=True)
        assert found == [f"{path}: others can read or change it; chmod 600 ends that"]
        assert warned(secret=False) == []


@pytest.mark.usefixtures("settled")
def test_others_can_read_it_now(path: Path) -> None:
    watched = Watched(path, secret=True)
    watched.get_later()
    for _ in range(2):
        path.chmod(0o604)
        watched.get_later()
        path.chmod(0o600)
        watched.get_later()
    assert len(watched.warnings) == 2


def test_the_daemon_may_go_elsewhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    watched = Watched(Path("number"))
    monkeypatch.chdir("/")
    path.write_text("6")
    assert watched.get_later() == 6


def test_change(path: Path) -> None:
    got: list[bytes | None] = []
    before = path.stat().st_ino

    def make(text: bytes | None) -> bytes:
        got.append(text)
        return b"new"

    change(str(path), make)
    assert got == [b"1"]
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before
    change(str(path.parent / "another"), make)
    assert got[1:] == [None]
    assert sorted(os.listdir(path.parent)) == ["another", "number"]
    assert stat.S_IMODE((path.parent / "another").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("before", "after"), [(0o644, 0o640), (0o600, 0o600), (0o777, 0o640), (0o400, 0o600)]
)
def test_mode(path: Path, before: int, after: int) -> None:
    path.chmod(before)
    change(str(path), lambda _: b"2")
    assert stat.S_IMODE(path.stat().st_mode) == after


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner(path: Path) -> None:
    os.chown(path, 1234, 2345)
    change(str(path), lambda _: b"2")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_nothing_is_left_of_what_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes | None) -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        change(str(path), refuse)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=f"^{path}: it cannot be written: No space left"):
        change(str(path), lambda _: b"2")
    assert os.listdir(path.parent) == ["number"]
    assert path.read_bytes() == b"1"


def test_no_folder(path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        change(str(path.parent / "none" / "number"), lambda _: b"2")


def test_it_is_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    rename, fsync = os.rename, os.fsync

    def synced(fd: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    def renamed(*args: Any, **where: Any) -> None:
        done.append("rename")
        rename(*args, **where)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    change(str(path), lambda _: b"2")
    assert done == ["file", "rename", "folder"]


def test_two_at_a_time(path: Path) -> None:
    # The second waits until the first is done, and sees what that has written.
    begun, go_on = threading.Event(), threading.Event()

    def slow(text: bytes | None) -> bytes:
        begun.set()
        assert go_on.wait(60)
        return (text or b"") + b"2"

    first = threading.Thread(target=change, args=(str(path), slow))
    first.start()
    assert begun.wait(60)
    second = threading.Thread(target=change, args=(str(path), lambda text: (text or b"") + b"3"))
    second.start()
    go_on.set()
    first.join(60)
    second.join(60)
    assert path.read_bytes() == b"123"
