"""Tests `content.source`, and what `Directory` tells of one file or folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.content.directory import Directory, Symlinks
from tcpdl.content.errors import Absent, NotAFolder, NotServed, Refused
from tcpdl.content.source import SETTLED_NS, File, Identity, Source
from tcpdl.wire.names import parse_name
from tcpdl.wire.native import ANY_TAG, MAX_SIZE, TAG_SIZE
from tcpdl.wire.pack import FOLDER, LISTED, Entry, pack

NUMBERS = st.integers(-(1 << 100), 1 << 100)
IDENTITIES = st.builds(Identity, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"contents")
    (root / ".hidden").write_bytes(b"hidden")
    (root / "to-file").symlink_to("folder/../file")
    (root / "to-folder").symlink_to("folder")
    (root / "out").symlink_to("..")
    os.mkfifo(root / "fifo")
    return root


def open_file(root: Path, name: bytes = b"file") -> File:
    directory = Directory(root)
    try:
        return directory.open_file(parse_name(name))
    finally:
        directory.close()


def outlast(root: Path) -> None:
    """Return once a change of the file would bear another stamp than its last."""
    ctime = os.stat(root / "file").st_ctime_ns
    while True:  # until the clock that the kernel stamps with has ticked
        (root / "clock").touch()
        if os.stat(root / "clock").st_ctime_ns > ctime:
            return


def look(root: Path, name: bytes, symlinks: Symlinks = Symlinks.INSIDE) -> Entry | type[NotServed]:
    directory = Directory(root, symlinks=symlinks)
    try:
        return directory.stat(parse_name(name))
    except NotServed as problem:
        return type(problem)
    finally:
        directory.close()


def test_directory_is_a_source(root: Path) -> None:
    directory = Directory(root)
    source: Source = directory
    assert source.hidden is False
    directory.close()


def test_what_is_known_of_an_open_file(root: Path) -> None:
    os.chmod(root / "file", 0o6751)
    os.utime(root / "file", ns=(1, 1234567890123456789))
    file = open_file(root)
    status = os.stat(root / "file")
    assert (file.size, file.mode, file.mtime_ns) == (8, 0o751, 1234567890123456789)
    assert file.identity == (
        *(status.st_dev, status.st_ino, 8),
        *(1234567890123456789, status.st_ctime_ns),
    )
    assert file.still_same()
    file.close()


@pytest.mark.parametrize("name", [b"file", b"to-file", b"./file"])
def test_identity(root: Path, name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told without opening the file, which may take longer, and may be forbidden."""
    file = open_file(root, name)
    file.close()
    directory = Directory(root)
    honest = os.open
    opened: list[object] = []

    def watched(path: object, *arguments: Any, **options: Any) -> int:
        opened.append(path)
        return honest(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", watched)
    assert directory.identify(parse_name(name)) == file.identity
    assert b"file" not in opened
    directory.close()


def rewrite(path: Path) -> None:
    path.write_bytes(b"CONTENTS")


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite_and_hide_it(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"CONTENTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite, append, rewrite_and_hide_it, Path.unlink])
def test_change_is_noticed(root: Path, change: object) -> None:
    file = open_file(root)
    outlast(root)
    assert file.still_same()
    assert callable(change)
    change(root / "file")
    assert not file.still_same()
    file.close()


@pytest.mark.parametrize("age", [-3600 * 10**9, 0, SETTLED_NS - 1, SETTLED_NS])
def test_fresh_file_has_not_settled(root: Path, age: int, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(root / "file", ns=(0, 0))
    changed = os.stat(root / "file").st_ctime_ns  # which nobody can set
    monkeypatch.setattr(time, "time_ns", lambda: changed + age)
    file = open_file(root)
    assert not file.settled
    file.close()
    monkeypatch.setattr(time, "time_ns", lambda: changed + SETTLED_NS + 1)
    file = open_file(root)
    assert file.settled
    file.close()


def test_file_from_the_future_has_not_settled(root: Path, later: None) -> None:
    file = open_file(root)
    assert file.settled
    file.close()
    future = time.time_ns() + 10**12
    os.utime(root / "file", ns=(future, future))
    file = open_file(root)
    assert not file.settled
    file.close()


@given(IDENTITIES)
def test_tag(identity: Identity) -> None:
    assert len(identity.tag) == TAG_SIZE
    assert identity.tag == Identity(*identity).tag != ANY_TAG


@given(IDENTITIES, IDENTITIES)
def test_tags_differ(one: Identity, two: Identity) -> None:
    assert (one.packed() == two.packed()) == (one == two) == (one.tag == two.tag)


def test_tag_is_never_that_which_stands_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zeros:
        def __init__(self, _data: bytes) -> None: ...

        def digest(self) -> bytes:
            return bytes(32)

    monkeypatch.setattr("tcpdl.content.source.sha256", Zeros)
    assert Identity(1, 2, 3, 4, 5).tag not in (ANY_TAG, b"")


def test_stat(root: Path) -> None:
    os.chmod(root / "file", 0o640)
    os.chmod(root / "folder", 0o2750)
    for path in (root / "file", root / "folder"):
        os.utime(path, ns=(0, 123))
    file = Entry(LISTED, b"", 0o640, 8, 123)
    folder = Entry(FOLDER, b"", 0o750, 0, 123)
    assert look(root, b"file") == look(root, b"to-file") == look(root, b".//./file") == file
    assert look(root, b"folder") == look(root, b"to-folder/") == folder
    top = look(root, b"")
    assert isinstance(top, Entry)
    assert (top.kind, top.name) == (FOLDER, b"")


def test_stat_opens_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory(root)
    monkeypatch.delattr(os, "open")
    assert directory.stat(parse_name(b"file")).size == 8
    assert directory.stat(parse_name(b"folder")).kind == FOLDER
    directory.close()


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        (b"absent", Absent),
        (b"file/", Absent),
        (b"file/x", Absent),
        (b"fifo", Refused),
        (b"out", Refused),
        (b"out/root/file", Refused),
    ],
)
def test_no_stat(root: Path, name: bytes, outcome: type[NotServed]) -> None:
    assert look(root, name) is outcome


def test_no_stat_through_links(root: Path) -> None:
    assert look(root, b"to-file", Symlinks.NEVER) is Refused
    assert look(root, b"to-folder", Symlinks.NEVER) is Refused


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (b"absent", Absent),
        (b"file", NotAFolder),
        (b"file/", NotAFolder),
        (b"to-file", NotAFolder),
        (b"file/x", Absent),
        (b"fifo", Refused),
        (b"out", Refused),
    ],
)
def test_no_list(root: Path, name: bytes, problem: type[NotServed]) -> None:
    directory = Directory(root)
    asked = parse_name(name)
    try:
        # When they are called, and not when the first entry is asked for.
        with pytest.raises(problem):
            directory.list(asked)
        with pytest.raises(problem):
            directory.walk(asked, recursive=True, content_most=-1)
        with pytest.raises(problem):
            directory.pick(asked, [], content_most=0)
    finally:
        directory.close()


def _write_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"CON")


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b" and more")


def _replace(path: Path) -> None:
    path.with_name("other").write_bytes(b"other")
    path.with_name("other").rename(path)


@pytest.mark.parametrize(
    ("change", "mixed"),
    [
        (_write_over, True),
        (lambda path: os.truncate(path, 3), True),
        (_append, False),
        (_replace, False),
        (Path.unlink, False),
        (lambda path: path.chmod(0), False),
        (lambda path: path.rename(path.with_name("elsewhere")), False),
    ],
)
def test_written_over(root: Path, change: Callable[[Path], None], mixed: bool) -> None:
    file = open_file(root)
    assert not file.written_over()
    outlast(root)
    change(root / "file")
    assert file.written_over() is mixed
    file.close()


# A stamp that the wire cannot express must not end an answer. Not all file systems have such.
@pytest.mark.parametrize("seconds", [10**11, -(10**11)])
def test_stamps_beyond_what_can_be_expressed(root: Path, seconds: int) -> None:
    for path in (root / "file", root / "folder"):
        os.utime(path, ns=(0, seconds * 10**9))
    if abs(os.stat(root / "file").st_mtime_ns) < MAX_SIZE:
        pytest.skip("this file system has no such stamps")
    file = open_file(root)
    assert abs(file.mtime_ns) == MAX_SIZE
    assert (file.mtime_ns > 0) == (seconds > 0)
    assert file.still_same()
    assert len(file.identity.tag) == TAG_SIZE
    file.close()
    directory = Directory(root)
    pack(directory.walk(parse_name(b""), recursive=True, content_most=100), lambda _data: b"")
    pack([directory.stat(parse_name(b"file"))], lambda _data: b"")
    directory.close()
