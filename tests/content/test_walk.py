"""Tests `Directory.walk` and `Directory.list` on trees that hold still."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpdl.content import walking
from tcpdl.content.directory import Directory, Symlinks
from tcpdl.wire.names import MAX_NAME, parse_name
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry, pack
from tests.descriptors import open_descriptors

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with files and folders, and beside it what must not be reached."""
    root = tmp_path / "root"
    (root / "b/deep/er").mkdir(parents=True)
    (root / "a").mkdir()
    (root / "d").mkdir()
    (root / "c").write_bytes(b"see")
    (root / "b.txt").write_bytes(b"")
    (root / "b/file").write_bytes(b"B")
    (root / "b/deep/file").write_bytes(b"deep")
    (root / "d/file").write_bytes(b"D")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/canary").write_bytes(b"CANARY")
    return root


def walk(
    root: Path | bytes,
    name: bytes = b"",
    *,
    recursive: bool = True,
    content_most: int = MIB,
    restricted: bool = False,
    **options: Any,
) -> list[Entry]:
    directory = Directory(os.fsdecode(root), **options)
    try:
        asked = parse_name(name, hidden=directory.hidden)
        with nobody() if restricted else nullcontext():
            found = list(directory.walk(asked, recursive=recursive, content_most=content_most))
        if not recursive and content_most < 0:
            assert list(directory.list(asked)) == found
    finally:
        directory.close()
    for entry in found:
        if entry.kind == LEFT_OUT:
            assert entry.content.decode().isprintable()
            assert os.fsencode(root) not in entry.content
    pack(found, lambda _data: b"")  # each can be sent
    return found


def brief(entries: list[Entry]) -> list[tuple[int, bytes, bytes]]:
    return [(entry.kind, entry.name, entry.content) for entry in entries]


def sentences(entries: list[Entry]) -> dict[bytes, str]:
    """Why what is left out is; each once."""
    left_out = [entry for entry in entries if entry.kind == LEFT_OUT]
    told = {entry.name: entry.content.decode() for entry in left_out}
    assert len(told) == len(left_out)
    return told


@contextmanager
def nobody() -> Iterator[None]:
    """Nobody in particular, who may not read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_order(root: Path) -> None:
    assert brief(walk(root)) == [
        (FOLDER, b"a", b""),
        (FOLDER, b"b", b""),
        (FILE, b"b.txt", b""),
        (FILE, b"c", b"see"),
        (FOLDER, b"d", b""),
        (FOLDER, b"b/deep", b""),
        (FILE, b"b/file", b"B"),
        (FOLDER, b"b/deep/er", b""),
        (FILE, b"b/deep/file", b"deep"),
        (FILE, b"d/file", b"D"),
    ]


def test_one_folder(root: Path) -> None:
    assert brief(walk(root, recursive=False)) == brief(walk(root))[:5]
    assert brief(walk(root, b"b", recursive=False)) == [
        (FOLDER, b"deep", b""),
        (FILE, b"file", b"B"),
    ]
    assert walk(root, b"a") == walk(root, b"b/deep/er") == []


def test_names_are_relative_to_what_was_asked_for(root: Path) -> None:
    (root / "way").symlink_to("b/deep")
    for name in (b"b/deep", b"./b//deep/", b"way", b"way/."):
        assert [entry.name for entry in walk(root, name)] == [b"er", b"file"]


def test_what_is_told(root: Path) -> None:
    for name, mode in (("b/file", 0o6644), ("b/deep", 0o1711)):
        os.chmod(root / name, mode)
        os.utime(root / name, ns=(0, 5))
    folder = Entry(FOLDER, b"deep", 0o711, 0, 5)
    with_content = [folder, Entry(FILE, b"file", 0o644, 1, 5, b"B")]
    without = [folder, Entry(LISTED, b"file", 0o644, 1, 5)]
    assert walk(root, b"b", recursive=False) == with_content
    assert walk(root, b"b", recursive=False, content_most=1) == with_content
    assert walk(root, b"b", recursive=False, content_most=0) == without
    assert walk(root, b"b", recursive=False, content_most=-1) == without


@pytest.mark.parametrize("size", [0, 1, 65536, MIB - 1, MIB, MIB + 1])
def test_size(root: Path, size: int) -> None:
    content = os.urandom(size)
    (root / "a/file").write_bytes(content)
    for most in (MIB, 65536, 0, -1):
        [entry] = walk(root, b"a", content_most=most)
        expected = (FILE, content) if size <= most else (LISTED, b"")
        assert (entry.kind, entry.content, entry.size) == (*expected, size)


def test_without_content_no_file_is_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "b/file").chmod(0)
    opened = []
    system_open = os.open

    def spy(path: Any, flags: int, *args: Any, **options: Any) -> int:
        opened.append(path)
        assert flags & os.O_DIRECTORY
        return system_open(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", spy)
    entries = walk(root, content_most=-1, restricted=True)
    assert [entry.kind for entry in entries].count(LISTED) == 5
    assert opened


def test_hidden(root: Path) -> None:
    (root / "a/.file").write_bytes(b"hidden")
    (root / "a/.folder").mkdir()
    (root / "a/.folder/file").write_bytes(b"hidden too")
    (root / "a/link").symlink_to(".folder/file")
    assert list(sentences(walk(root, b"a"))) == [b"link"]
    assert brief(walk(root, b"a", hidden=True)) == [
        (FILE, b".file", b"hidden"),
        (FOLDER, b".folder", b""),
        (LINK, b"link", b".folder/file"),
        (FILE, b".folder/file", b"hidden too"),
    ]


def test_names_are_bytes(root: Path) -> None:
    names = [b"\xff\xfe", "下载".encode(), "下载".encode("gbk"), b"a\nb\\\x1b[m", b"\xed\xb2\x80"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(root / "a"), name))).write_bytes(name)
    assert brief(walk(root, b"a")) == [(FILE, name, name) for name in sorted(names)]


def test_links(root: Path) -> None:
    links = {
        "in": ("../b/file", LINK),
        "in-folder": ("../b", LINK),
        "dangling": ("absent", LINK),
        "loop": ("loop", LINK),
        "up-to-the-root": ("..", LINK),
        "out": ("../../outside/canary", LEFT_OUT),
        "out-and-back": ("../../root/c", LEFT_OUT),
        "absolute": (str(root / "c"), LEFT_OUT),
        "absolute-out": (str(root.parent / "outside"), LEFT_OUT),
        "proc": ("/proc/self/root", LEFT_OUT),
        "hidden": ("../.hidden", LEFT_OUT),
        "long": ("x" * 256, LEFT_OUT),
    }
    for name, (text, _) in links.items():
        (root / "a" / name).symlink_to(text)
    # Whoever asks for `a` is told of links that lead out of `a`, though not out of the root.
    for top, prefix in ((b"", b"a/"), (b"a", b"")):
        found = {entry.name: entry for entry in walk(root, top)}
        for name, (text, kind) in links.items():
            entry = found[prefix + name.encode()]
            assert entry.kind == kind, name
            assert kind == LEFT_OUT or entry.content == text.encode()
    told = sentences(walk(root, b"a"))
    assert "a symbolic link that leads out of the served folder" in told[b"out"]
    assert "absolute" in told[b"absolute"]
    never = walk(root, b"a", symlinks=Symlinks.NEVER)
    assert len(sentences(never)) == len(never) == len(links)


def test_link_is_judged_from_where_it_is(root: Path) -> None:
    # Reached through another link, it still lies where it lies.
    (root / "way").symlink_to("b/deep")
    (root / "b/deep/up").symlink_to("../..")
    (root / "b/deep/out").symlink_to("../../..")
    for name in (b"way", b"b/deep"):
        kinds = {entry.name: entry.kind for entry in walk(root, name)}
        assert (kinds[b"up"], kinds[b"out"]) == (LINK, LEFT_OUT)


def test_neither_file_nor_folder(root: Path) -> None:
    os.mkfifo(root / "a/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(root / "a", os.O_RDONLY)
        listener.bind(f"/dev/fd/{folder}/socket")  # tmp_path may be too long for an address
        os.close(folder)
    for most in (MIB, -1):
        told = sentences(walk(root, b"a", content_most=most))
        assert list(told) == [b"fifo", b"socket"]
        assert all("not a regular file" in sentence for sentence in told.values())


def test_devices(root: Path) -> None:
    entries = walk(b"/dev", recursive=False)
    assert all("not a regular file" in sentences(entries)[name] for name in (b"null", b"zero"))


def test_files_without_a_size(root: Path) -> None:
    # What has no size, and content all the same, is not said to be empty.
    entries = {entry.name: entry for entry in walk(b"/proc/self/net", recursive=False)}
    assert entries[b"unix"].kind == LISTED


def test_what_may_not_be_read(root: Path) -> None:
    (root / "c").chmod(0)
    (root / "b/deep").chmod(0)
    (root / "d").chmod(0o444)  # it can be listed, but what is in it cannot be looked at
    entries = walk(root, restricted=True)
    shallow = walk(root, recursive=False, restricted=True)
    (root / "b/deep").chmod(0o755)
    told = dict.fromkeys((b"c", b"b/deep", b"d/file"), "the daemon may not read it")
    assert sentences(entries) == told
    assert sentences(shallow) == {b"c": told[b"c"]}
    # First the folder itself, and in place of what is in it why that is not there.
    kinds = [entry.kind for entry in entries if entry.name == b"b/deep"]
    assert kinds == [FOLDER, LEFT_OUT]
    assert (FILE, b"b/file", b"B") in brief(entries)


def test_deep(root: Path) -> None:
    levels = 600
    held = os.open(root / "a", os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(b"x", dir_fd=held)
        below = os.open(b"x", os.O_RDONLY, dir_fd=held)
        os.close(held)
        held = below
    os.close(held)
    try:
        deepest = MAX_NAME // 2  # `a/x/x`: two bytes for each, less the one slash
        entries = walk(root, b"a")
        assert [entry.kind for entry in entries[:-1]] == [FOLDER] * (deepest - 1)
        assert len(entries[-2].name) == MAX_NAME - 1 - len(b"a/")
        assert sentences(entries) == {entries[-2].name: entries[-1].content.decode()}
        assert "too long" in entries[-1].content.decode()
        parse_name(b"a/" + entries[-2].name)
        # However deep, so many and no more are open at once.
        directory = Directory(root)
        before = len(open_descriptors())
        for _ in directory.walk(parse_name(b""), recursive=True, content_most=MIB):
            assert len(os.listdir("/dev/fd")) <= before + 1
        directory.close()
    finally:
        subprocess.run(["rm", "-rf", str(root / "a")], check=True)


def test_names_too_long_to_be_asked_for(root: Path) -> None:
    folder = root / "a"
    for length in (255, 255, 255, 251):
        folder /= "f" * length
    folder.mkdir(parents=True)
    prefix = os.fsencode(folder.relative_to(root)) + b"/"
    assert len(prefix) == MAX_NAME - 2
    for name in ("ab", "abc", "abd", "a"):
        (folder / name).write_bytes(b"x")
    for top in (b"", b"a", prefix):
        inside = prefix if top == b"" else prefix[2:] if top == b"a" else b""
        entries = walk(root, top)
        files = [entry.name for entry in entries if entry.name.startswith(inside + b"a")]
        assert [name for name in files if name.endswith((b"/a", b"/ab")) or top == prefix] == [
            inside + b"a",
            inside + b"ab",
        ]
        assert sentences(entries) == {
            inside[:-1]: "it holds names that are too long to be asked for"
        }
        assert entries[-1].kind == LEFT_OUT or top == b""


def test_too_many_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "NAMES_MOST", 5)
    assert sentences(walk(root)) == {}  # it has as many
    (root / "e").touch()
    entries = walk(root)
    assert sentences(entries) == {b"": "it holds more than 5 names"}
    assert len([entry for entry in entries if b"/" not in entry.name]) == 6


@pytest.mark.parametrize("least", [1, 2, 3, 100])
@pytest.mark.parametrize("most", [5, 100])
def test_few_names_are_held(
    most: int, least: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By many walks that stand still, and all of them find all there is."""
    whole = walk(root)
    monkeypatch.setattr(walking, "HELD_MOST", most)
    monkeypatch.setattr(walking, "HELD_LEAST", least)
    directory = Directory(root)
    walks = [directory.walk(parse_name(b""), recursive=True, content_most=MIB) for _ in range(4)]
    found = [[next(entries)] for entries in walks]
    assert directory.held.count <= max(most, 5) + 4 * min(least, 5)
    if most == least == 100:
        assert directory.held.count == 4 * 5
    for some, entries in zip(found, walks, strict=True):
        some += entries
        assert some == whole
    assert directory.held.count == 0
    directory.close()


def test_what_changes_while_a_folder_is_read_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "HELD_MOST", 0)
    monkeypatch.setattr(walking, "HELD_LEAST", 2)
    directory = Directory(root)
    entries = directory.list(parse_name(b""))
    assert [next(entries).name for _ in range(2)] == [b"a", b"b"]
    (root / "a0").touch()
    (root / "bb").touch()
    (root / "c").unlink()
    assert [entry.name for entry in entries] == [b"b.txt", b"bb", b"d"]
    directory.close()


def test_closed_early(root: Path) -> None:
    directory = Directory(root)
    before = open_descriptors()
    entries = directory.walk(parse_name(b""), recursive=True, content_most=MIB)
    assert os.listdir("/dev/fd") == before  # nothing is held before the first one
    for _ in range(7):
        next(entries)
        assert len(os.listdir("/dev/fd")) <= len(before) + 1
    assert isinstance(entries, Iterator)
    entries.close()  # type: ignore[attr-defined]
    assert os.listdir("/dev/fd") == before
    forgotten = directory.walk(parse_name(b""), recursive=True, content_most=MIB)
    next(forgotten)
    del forgotten
    assert directory.held.count == 0
    assert os.listdir("/dev/fd") == before
    directory.close()


def test_root_reached_through_a_link(root: Path) -> None:
    (root.parent / "way").symlink_to(root)
    assert walk(root.parent / "way") == walk(root)


# Names that mean something somewhere, and any others.
NAMES = (
    st.sampled_from([b"a", b"b", b"a.", b"a-", b"a b", b".a", b"...", b"\n", b"\xff", b"\\"])
    | st.binary(min_size=1, max_size=6)
).filter(lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name)

TEXTS = st.sampled_from([b"a", b"..", b"../a", b"a/../..", b"/", b"../../..", b".a", b"./b/./a"])

Tree = dict[bytes, Any]
"""By name: the content of a file, the text of a link in a tuple, or a folder."""

TREES = st.recursive(
    st.dictionaries(NAMES, st.binary(max_size=20) | st.tuples(TEXTS), max_size=4),
    lambda trees: st.dictionaries(NAMES, st.binary(max_size=20) | st.tuples(TEXTS) | trees),
    max_leaves=12,
)


def plant(tree: Tree, folder: bytes) -> None:
    os.mkdir(folder)
    for name, what in tree.items():
        path = folder + b"/" + name
        if isinstance(what, dict):
            plant(what, path)
        elif isinstance(what, tuple):
            os.symlink(what[0], path)
        else:
            with open(path, "wb") as file:
                file.write(what)


def reference(top: bytes, hidden: bool, most: int) -> Iterator[tuple[int, bytes, bytes]]:
    """What a walk should find, from `os.walk`; what a link is must be judged by other tests."""
    for folder, below, files in os.walk(top):
        below[:] = sorted(name for name in below if hidden or name[:1] != b".")
        shown = [name for name in files if hidden or name[:1] != b"."]
        for name in sorted(below + shown):
            path = folder + b"/" + name
            relative = os.path.relpath(path, top)
            if os.path.islink(path):
                yield LINK, relative, os.readlink(path)
            elif os.path.isdir(path):
                yield FOLDER, relative, b""
            elif os.path.getsize(path) > most:
                yield LISTED, relative, b""
            else:
                with open(path, "rb") as file:
                    yield FILE, relative, file.read()


@settings(deadline=None)
@given(TREES, st.booleans(), st.sampled_from([-1, 0, 5, MIB]))
def test_as_os_walk(tree: Tree, hidden: bool, most: int) -> None:
    with TemporaryDirectory() as base:
        top = os.fsencode(base) + b"/top"
        plant(tree, top)
        found = brief(walk(top, hidden=hidden, content_most=most))
        expected = list(reference(top, hidden, most))
        assert [name for _, name, _ in found] == [name for _, name, _ in expected]
        for one, other in zip(found, expected, strict=True):
            assert one == other or (one[0] == LEFT_OUT and other[0] == LINK)
        only_top = [entry for entry in found if b"/" not in entry[1]]
        assert brief(walk(top, hidden=hidden, content_most=most, recursive=False)) == only_top
