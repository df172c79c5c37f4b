"""Tests walks through a tree that changes meanwhile, at the worst moment for each."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl.content.directory import Directory
from tcpdl.wire.names import parse_name
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry, pack

MIB = 1 << 20
CANARY = b"CANARY: this must never be read"

Change = Callable[[], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a/below").mkdir(parents=True)
    (root / "a/file").write_bytes(b"contents")
    (root / "a/below/file").write_bytes(b"below")
    (root / "z").write_bytes(b"last")
    (tmp_path / "outside/below").mkdir(parents=True)
    (tmp_path / "outside/file").write_bytes(CANARY)
    (tmp_path / "outside/below/file").write_bytes(CANARY)
    return root


@pytest.fixture
def directory(root: Path) -> Iterator[Directory]:
    directory = Directory(root)
    yield directory
    directory.close()


def walk(directory: Directory, name: bytes = b"", content_most: int = MIB) -> Iterator[Entry]:
    found = directory.walk(parse_name(name), recursive=True, content_most=content_most)
    for entry in found:
        assert CANARY not in entry.content
        pack([entry], lambda _data: b"")  # it can be sent
        yield entry


def kinds(entries: Iterator[Entry]) -> list[tuple[int, bytes]]:
    return [(entry.kind, entry.name) for entry in entries]


def on_call(
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    change: Change,
    *,
    of: bytes | None = None,
    after: bool = False,
    times: int = 1,
) -> None:
    """Have `change` happen just before (or after) `os.function` is called, with `of` if given."""
    system = getattr(os, function)
    left = times

    def changing(first: Any, *args: Any, **options: Any) -> Any:
        nonlocal left
        due = left > 0 and of in (None, first)
        left -= due
        if due and not after:
            change()
        result = system(first, *args, **options)
        if due and after:
            change()
        return result

    monkeypatch.setattr(os, function, changing)


def wait_for_tick(root: Path, name: str = "a/file") -> None:
    """Until a change of the file gives it another stamp than it has."""
    clock = root.parent / "clock"
    while True:
        clock.touch()
        if clock.stat().st_ctime_ns > (root / name).stat().st_ctime_ns:
            return


def rewrite(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, content)
    os.close(fd)


@pytest.mark.parametrize("content", [b"", b"less", b"CONTENTS", b"contents and more", bytes(MIB)])
@pytest.mark.parametrize("after", [False, True])
def test_file_is_rewritten_while_it_is_read(
    root: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch, content: bytes, after: bool
) -> None:
    wait_for_tick(root)
    on_call(monkeypatch, "pread", lambda: rewrite(root / "a/file", content), after=after)
    _, entry, *_ = walk(directory, b"a")
    assert (entry.kind, entry.name, entry.content) == (FILE, b"file", content)
    assert entry.size == len(content)
    assert entry.mtime_ns == (root / "a/file").stat().st_mtime_ns


def test_file_outgrows_what_is_sent_along(
    root: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_call(monkeypatch, "pread", lambda: rewrite(root / "a/file", bytes(9)))
    _, entry, *_ = walk(directory, b"a", content_most=8)
    assert (entry.kind, entry.content, entry.size) == (LISTED, b"", 9)


def test_file_that_never_holds_still(
    root: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append() -> None:
        with open(root / "a/file", "ab") as file:
            file.write(b"x")

    on_call(monkeypatch, "pread", append, times=1000)
    _, entry, *_ = walk(directory, b"a")
    assert (entry.kind, entry.content) == (LISTED, b"")
    assert entry.size > 8


def test_file_that_cannot_be_read(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "broken")

    on_call(monkeypatch, "pread", fail)
    _, entry, below = walk(directory, b"a")
    assert (entry.kind, entry.name) == (LEFT_OUT, b"file")
    assert os.strerror(errno.EIO).encode() in entry.content
    assert below.content == b"below"


def test_file_vanishes(root: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    on_call(monkeypatch, "open", (root / "a/file").unlink, of=b"file")
    _, entry, *_ = walk(directory, b"a")
    assert entry == Entry(LEFT_OUT, b"file", content=b"nothing has that name")


def test_name_vanishes(root: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    on_call(monkeypatch, "stat", (root / "a/file").unlink, of=b"file")
    _, entry, *_ = walk(directory, b"a", content_most=-1)
    assert entry == Entry(LEFT_OUT, b"file", content=b"nothing has that name")


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_file_is_replaced(
    root: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def replace() -> None:
        (root / "a/file").unlink()
        if kind == "link":
            (root / "a/file").symlink_to(root.parent / "outside/file")
        elif kind == "folder":
            (root / "a/file").mkdir()
        else:
            os.mkfifo(root / "a/file")

    on_call(monkeypatch, "open", replace, of=b"file")
    assert kinds(walk(directory, b"a")) == [
        (FOLDER, b"below"),
        (LEFT_OUT, b"file"),
        (FILE, b"below/file"),
    ]


def test_link_is_replaced(
    root: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace() -> None:
        (root / "link").unlink()
        (root / "link").touch()

    (root / "link").symlink_to("z")
    on_call(monkeypatch, "readlink", replace, of=b"link")
    assert (LEFT_OUT, b"link") in kinds(walk(directory))


def test_link_is_judged_by_what_is_handed_out(
    root: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace() -> None:
        (root / "link").unlink()
        (root / "link").symlink_to("../outside")

    (root / "link").symlink_to("z")
    on_call(monkeypatch, "readlink", replace, of=b"link")
    assert (LEFT_OUT, b"link") in kinds(walk(directory))


def away(root: Path) -> None:
    (root / "a").rename(root.parent / "moved")


def gives_way_to_a_link(root: Path) -> None:
    away(root)
    (root / "a").symlink_to("../outside")


def gives_way_to_a_link_to_where_it_is(root: Path) -> None:
    (root / "a").rename(root / "b")
    (root / "a").symlink_to("b")


def gives_way_to_a_file(root: Path) -> None:
    away(root)
    (root / "a").write_bytes(b"x")


def gives_way_to_a_fifo(root: Path) -> None:
    away(root)
    os.mkfifo(root / "a")


FOLDER_CHANGES = [
    away,
    gives_way_to_a_link,
    gives_way_to_a_link_to_where_it_is,
    gives_way_to_a_file,
    gives_way_to_a_fifo,
]


@pytest.mark.parametrize("change", FOLDER_CHANGES)
def test_folder_is_replaced_before_it_is_visited(
    root: Path, directory: Directory, change: Callable[[Path], None]
) -> None:
    entries = walk(directory)
    assert kinds(iter([next(entries)])) == [(FOLDER, b"a")]
    change(root)
    assert kinds(entries) == [(FILE, b"z"), (LEFT_OUT, b"a")]


@pytest.mark.parametrize("change", FOLDER_CHANGES)
def test_folder_is_replaced_while_what_is_below_it_is_visited(
    root: Path, directory: Directory, change: Callable[[Path], None]
) -> None:
    entries = walk(directory)
    # From when it is open, the folder is the one that it was then.
    for _ in range(3):
        entry = next(entries)
    assert entry.name == b"a/below"
    change(root)
    assert kinds(entries) == [(FILE, b"a/file"), (LEFT_OUT, b"a/below")]


@pytest.mark.parametrize("change", FOLDER_CHANGES)
def test_top_is_replaced_before_it_is_visited(
    root: Path, directory: Directory, change: Callable[[Path], None]
) -> None:
    entries = walk(directory, b"a")
    found = directory.walk(parse_name(b"a"), recursive=True, content_most=MIB)
    change(root)
    assert kinds(found) == [(LEFT_OUT, b"")]
    entries.close()  # type: ignore[attr-defined]


def test_folder_is_emptied_while_it_is_visited(root: Path, directory: Directory) -> None:
    entries = walk(directory, b"a")
    next(entries)
    (root / "a/file").unlink()
    (root / "a/below/file").unlink()
    (root / "a/below").rmdir()
    (root / "a").rmdir()
    assert kinds(entries) == [(LEFT_OUT, b"file"), (LEFT_OUT, b"below")]


def test_link_takes_the_way_to_the_top(root: Path, directory: Directory) -> None:
    # A release is switched while the one before is walked: that one is walked to its end.
    (root / "current").symlink_to("a")
    entries = walk(directory, b"current")
    next(entries)
    (root / "current").unlink()
    (root / "current").symlink_to("absent")
    assert kinds(entries) == [(FILE, b"file"), (FILE, b"below/file")]


def test_folder_cannot_be_listed(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "broken")

    on_call(monkeypatch, "scandir", fail)
    assert kinds(walk(directory)) == [(LEFT_OUT, b"")]
    on_call(monkeypatch, "scandir", lambda: on_call(monkeypatch, "scandir", fail))
    assert kinds(walk(directory)) == [(FOLDER, b"a"), (FILE, b"z"), (LEFT_OUT, b"a")]


def test_directory_is_closed(root: Path) -> None:
    directory = Directory(root)
    entries = walk(directory)
    next(entries)
    directory.close()
    assert kinds(entries) == [(FILE, b"z"), (LEFT_OUT, b"a")]


def test_no_descriptors_left(root: Path, directory: Directory) -> None:
    entries = walk(directory)
    next(entries)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
        while True:
            try:
                spare.append(os.dup(0))
            except OSError:
                break
        found = list(entries)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in spare:
            os.close(fd)
    # What was found by then is not there, but nothing else is the matter.
    assert kinds(iter(found))[0] == (LEFT_OUT, b"z")
    assert all(b"cannot be opened" in entry.content for entry in found if entry.name == b"z")
    assert kinds(walk(directory))[-1] == (FILE, b"a/below/file")


def test_link_kind(root: Path, directory: Directory) -> None:
    (root / "link").symlink_to("z")
    assert (LINK, b"link") in kinds(walk(directory))
