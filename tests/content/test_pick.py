"""Tests `Directory.pick`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcpdl.content.directory import Directory, Symlinks
from tcpdl.wire.names import MAX_NAME, parse_name
from tcpdl.wire.pack import FILE, LEFT_OUT, LISTED, PACKED_FILE_MOST, Entry, pack
from tests.descriptors import open_descriptors


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a/below").mkdir(parents=True)
    (root / "a/file").write_bytes(b"contents")
    (root / "a/.file").write_bytes(b"hidden")
    (root / "a/below/file").write_bytes(b"below")
    (root / "z").write_bytes(b"last")
    (root / "a/out").symlink_to("../../outside")
    (root / "a/in").symlink_to("../z")
    (tmp_path / "outside").write_bytes(b"CANARY")
    return root


def pick(
    root: Path, name: bytes, *names: bytes, most: int = PACKED_FILE_MOST, hidden: bool = False
) -> list[Entry]:
    directory = Directory(root, hidden=hidden)
    try:
        found = list(directory.pick(parse_name(name), names, content_most=most))
    finally:
        directory.close()
    pack(found, lambda _data: b"")  # each can be sent
    for entry in found:
        assert entry.kind != LEFT_OUT or entry.content.decode().isprintable()
    return found


def brief(entries: list[Entry]) -> list[tuple[int, bytes, bytes]]:
    return [(entry.kind, entry.name, entry.content) for entry in entries]


def test_as_asked_for(root: Path) -> None:
    os.utime(root / "a/file", ns=(0, 5))
    (root / "a/file").chmod(0o4640)
    assert pick(root, b"a", b"file") == [Entry(FILE, b"file", 0o640, 8, 5, b"contents")]
    names = (b"below/file", b"./file", b"file", b"below//file", b"file")
    for folder in (b"a", b"a/", b"./a"):
        found = brief(pick(root, folder, *names))
        assert [name for _, name, _ in found] == list(names)
        assert [content for _, _, content in found] == [
            *(b"below", b"contents", b"contents", b"below", b"contents")
        ]
    assert pick(root, b"a") == []


def test_at_the_root(root: Path) -> None:
    assert brief(pick(root, b"", b"z", b"a/file")) == [
        (FILE, b"z", b"last"),
        (FILE, b"a/file", b"contents"),
    ]


def test_size(root: Path) -> None:
    for most, kind in ((8, FILE), (7, LISTED), (-1, LISTED)):
        [entry] = pick(root, b"a", b"file", most=most)
        assert (entry.kind, entry.size) == (kind, 8)


def test_through_links(root: Path) -> None:
    (root / "way").symlink_to("a")
    assert brief(pick(root, b"way", b"in")) == [(FILE, b"in", b"last")]
    directory = Directory(root, symlinks=Symlinks.NEVER)
    [entry] = directory.pick(parse_name(b"a"), [b"in"], content_most=10)
    assert entry.kind == LEFT_OUT
    directory.close()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (b"absent", "nothing has that name"),
        (b"absent/file", "nothing has that name"),
        (b"file/", "slash"),
        (b"below", "folder"),
        (b"", "folder"),
        (b".", "folder"),
        (b"out", "out of the served folder"),
        (b"../z", "climbs"),
        (b"/etc/passwd", "absolute"),
        (b"/file", "absolute"),
        (b".file", "hidden"),
        (b"x" * 256, "256 bytes"),
        (b"b/" * 511 + b"x", "bytes"),
    ],
)
def test_left_out(root: Path, name: bytes, sentence: str) -> None:
    first, entry, last = pick(root, b"a", b"file", name, b"file")
    assert (entry.kind, entry.name) == (LEFT_OUT, name)
    assert sentence in entry.content.decode()
    assert first.kind == last.kind == FILE


def test_name_that_is_none(root: Path) -> None:
    name = b"n/" * MAX_NAME
    [entry] = pick(root, b"a", name)
    assert (entry.kind, entry.name) == (LEFT_OUT, name[:MAX_NAME])


def test_longest_name(root: Path) -> None:
    folder = root / "a"
    for length in (255, 255, 255, 250):
        folder /= "f" * length
    folder.mkdir(parents=True)
    relative = os.fsencode(folder.relative_to(root / "a"))
    for name in ("abc", "abcd"):
        (folder / name).write_bytes(b"x")
    fits, too_long = pick(root, b"a", relative + b"/abc", relative + b"/abcd")
    assert len(b"a/" + fits.name) == MAX_NAME
    assert (fits.kind, too_long.kind) == (FILE, LEFT_OUT)
    assert b"1025 bytes" in too_long.content


def test_hidden(root: Path) -> None:
    assert brief(pick(root, b"a", b".file", hidden=True)) == [(FILE, b".file", b"hidden")]


def test_neither_file_nor_folder(root: Path) -> None:
    os.mkfifo(root / "a/fifo")
    [entry] = pick(root, b"a", b"fifo")
    assert (entry.kind, entry.name) == (LEFT_OUT, b"fifo")
    assert b"not a regular file" in entry.content


def test_nothing_is_held_meanwhile(root: Path) -> None:
    directory = Directory(root)
    before = open_descriptors()
    found = directory.pick(parse_name(b"a"), [b"file", b"absent", b"in"], content_most=10)
    assert isinstance(found, Iterator)
    assert os.listdir("/dev/fd") == before
    for _ in found:
        assert os.listdir("/dev/fd") == before
    directory.close()


def test_folder_vanishes(root: Path) -> None:
    directory = Directory(root)
    found = directory.pick(parse_name(b"a"), [b"file", b"file", b"in"], content_most=10)
    assert next(found).kind == FILE
    (root / "a").rename(root / "b")
    assert [entry.kind for entry in found] == [LEFT_OUT, LEFT_OUT]
    directory.close()
