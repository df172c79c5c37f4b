"""Tests `web.archives`: what other programs unpack is what is there, and memory stays small."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.content.directory import Directory, Symlinks
from tcpdl.content.errors import Absent, NotAFolder, NotServed
from tcpdl.content.source import File
from tcpdl.web import archives
from tcpdl.web import left_out as left_out_module
from tcpdl.web import zip as zip_module
from tcpdl.web.archives import ChangedWhileRead, Content, TooManyNames
from tcpdl.wire.names import Name, parse_name
from tests.descriptors import open_descriptors

MTIME = 1_600_000_000
TOP = Name(())
LARGE = archives.SMALL + 1

Make = Callable[[Directory, Name], Iterator[bytes | Content]]
FORMATS = [archives.tar, archives.zip]

HOSTILE = [
    b"new\nline",
    b"back\\slash",
    b"\\",
    b"\xff\xfe not UTF-8",
    b"-rf",
    b"--help",
    b" ",
    b"quote'\"<b>&",
    b"\xe2\x80\xae bidi",
    b"\xe4\xb8\x8b\xe8\xbd\xbd.txt",
    b"cr\r",
    b"%41",
    b"~",
    b"C:",
    b"x" * 255,
    b"\xc3\xa9" * 127,
    b"\xff" * 255,
]


class Node(NamedTuple):
    """What a file or folder is."""

    kind: str
    mode: int
    mtime: int
    content: bytes = b""


@pytest.fixture(autouse=True)
def _no_descriptor_leaks() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert os.listdir("/dev/fd") == before


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "served"
    root.mkdir()
    return root


@pytest.fixture
def source(root: Path) -> Iterator[Directory]:
    directory = Directory(root)
    yield directory
    directory.close()


def write(path: Path, content: bytes = b"content", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def age(root: Path) -> None:
    """Give everything below one old time."""
    for path in [*root.rglob("*"), root]:
        os.utime(path, (MTIME, MTIME), follow_symlinks=False)


def below(root: Path, *segments: bytes) -> Path:
    return root.joinpath(*map(os.fsdecode, segments))


def fill(root: Path) -> None:
    """Make a little of everything, with names that are hard on programs."""
    for number, name in enumerate(HOSTILE):
        write(below(root, b"names", name), b"%d" % number)
        write(below(root, b"folders", name, name[:99]), b"%d" % number)
    write(below(root, b"deep", *[b"d" * 90] * 5, b"\xff" * 200))
    write(below(root, b"deep", *[b"d" * 90] * 9, b"end"))
    (root / "empty").mkdir(mode=0o750)
    (root / "names-only").mkdir(mode=0o555)
    write(root / "empty.txt", b"")
    write(root / "run.sh", b"#!/bin/sh\n", 0o755)
    write(root / "secret", mode=0o600)
    write(root / "set-uid", mode=0o4755)
    write(root / "one block", bytes(512))
    write(root / "large", os.urandom(LARGE))
    write(root / "larger", os.urandom(5 * archives.PIECE + 7))
    age(root)


def snapshot(root: Path) -> dict[bytes, Node]:
    """All that is below `root`, by its name relative to that; the root itself has none."""
    found = {}
    for folder, _, names in os.walk(os.fsencode(root)):
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            status = os.lstat(path)
            mode, mtime = status.st_mode & 0o777, int(status.st_mtime)
            relative = path[len(os.fsencode(root)) + 1 :]
            if stat.S_ISLNK(status.st_mode):
                found[relative] = Node("link", 0, 0, os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[relative] = Node("folder", mode, mtime)
            else:
                with open(path, "rb") as file:
                    found[relative] = Node("file", mode, mtime, file.read())
    return found


def taken(pieces: Iterator[bytes | Content]) -> bytes:
    """All bytes of an archive, as a server sends them."""
    archive = io.BytesIO()
    for piece in pieces:
        if isinstance(piece, Content):
            archive.write(os.pread(piece.file.fd, piece.file.size, 0))
            piece.file.close()
        else:
            archive.write(piece)
    return archive.getvalue()


def in_tar(archive: bytes) -> dict[bytes, Node]:
    """What Python finds in a tar archive."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8") as opened:
        for member in opened:
            assert (member.uid, member.gid) == (0, 0)
            name = member.name.encode("utf-8", "surrogateescape")
            mtime = int(member.mtime)
            if member.isdir():
                node = Node("folder", member.mode, mtime)
            elif member.issym():
                node = Node("link", 0, 0, member.linkname.encode("utf-8", "surrogateescape"))
            else:
                assert member.isreg()
                file = opened.extractfile(member)
                assert file is not None
                node = Node("file", member.mode, mtime, file.read())
            assert name not in found
            found[name] = node
    return found


def in_zip(archive: bytes) -> dict[bytes, Node]:
    """What Python finds in a zip archive."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        for info in opened.infolist():
            name = info.filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
            mode = info.external_attr >> 16
            assert info.is_dir() == stat.S_ISDIR(mode) == bool(info.external_attr & 0x10)
            assert stat.S_ISREG(mode) != stat.S_ISDIR(mode)
            assert info.extra[:5] == b"UT\5\0\1"
            mtime = int.from_bytes(info.extra[5:9], "little", signed=True)
            kind = "folder" if info.is_dir() else "file"
            assert name not in found
            found[name.rstrip(b"/")] = Node(kind, mode & 0o7777, mtime, opened.read(info))
    return found


def read(make: Make, archive: bytes) -> dict[bytes, Node]:
    return in_tar(archive) if make is archives.tar else in_zip(archive)


def named(prefix: bytes, nodes: dict[bytes, Node]) -> dict[bytes, Node]:
    """The nodes of a folder under the names that they have in an archive."""
    return {prefix + b"/" + name if name else prefix: node for name, node in nodes.items()}


@pytest.mark.parametrize("make", FORMATS)
def test_everything_is_in_it(root: Path, source: Directory, make: Make) -> None:
    fill(root)
    archive = taken(make(source, TOP))
    assert read(make, archive) == named(b"files", snapshot(root))
    assert taken(make(source, TOP)) == archive


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_gnu_tar_unpacks_it(root: Path, source: Directory, tmp_path: Path, locale: str) -> None:
    fill(root)
    os.utime(write(root / "old"), (-86400, -86400))
    (root / "empty/link").symlink_to("../names/" + "x" * 255)
    for path in (root / "empty", root):
        os.utime(path, (MTIME, MTIME))
    ran = subprocess.run(
        ["tar", "-xp", "--no-same-owner", "-f", "-"],
        cwd=tmp_path,
        input=taken(archives.tar(source, TOP)),
        capture_output=True,
        env=os.environ | {"LC_ALL": locale},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert snapshot(tmp_path / "files") == snapshot(root)


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs unzip")
def test_unzip_unpacks_it(root: Path, source: Directory, tmp_path: Path) -> None:
    fill(root)
    for name in HOSTILE:  # what it writes otherwise, or not at all
        if not os.fsdecode(name).isprintable() or b"\xe2\x80\xae" in name:
            below(root, b"names", name).unlink()
            shutil.rmtree(below(root, b"folders", name))
    shutil.rmtree(root / "deep")
    age(root)
    archive = tmp_path / "archive.zip"
    archive.write_bytes(taken(archives.zip(source, TOP)))
    for options in (["-tq"], ["-q"]):
        ran = subprocess.run(
            ["unzip", *options, archive],
            cwd=tmp_path,
            capture_output=True,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert snapshot(tmp_path / "files") == snapshot(root)


@pytest.mark.parametrize("make", FORMATS)
def test_top_folder(root: Path, source: Directory, make: Make) -> None:
    write(root / "a/b c/file")
    (root / "a/none").mkdir()
    (root / "link").symlink_to("a")
    age(root)
    for name, folder, prefix in (
        (b"a", root / "a", b"a"),
        (b"a/b c/", root / "a/b c", b"b c"),
        (b"link", root / "a", b"link"),
        (b"a/none", root / "a/none", b"none"),
    ):
        archive = taken(make(source, parse_name(name)))
        assert read(make, archive) == named(prefix, snapshot(folder))


@pytest.mark.parametrize("make", FORMATS)
def test_folder_that_is_none(root: Path, source: Directory, make: Make) -> None:
    write(root / "file")
    with pytest.raises(Absent):
        make(source, parse_name(b"absent"))
    with pytest.raises(NotAFolder):
        make(source, parse_name(b"file"))
    with pytest.raises(NotServed):
        make(source, Name((b".hidden",)))


@pytest.mark.parametrize("make", FORMATS)
def test_hidden_files(root: Path, make: Make) -> None:
    write(root / ".hidden/file")
    write(root / "shown/.file")
    age(root)
    everything = snapshot(root)
    for hidden in (False, True):
        source = Directory(root, hidden=hidden)
        shown = {name: node for name, node in everything.items() if hidden or b"." not in name}
        assert read(make, taken(make(source, TOP))) == named(b"files", shown)
        source.close()


@pytest.mark.parametrize("make", FORMATS)
def test_one_folder_after_the_other(root: Path, source: Directory, make: Make) -> None:
    # GNU tar gives a folder its time once it is given something that is elsewhere.
    for file in ("a/a/file", "a/b/a/a/file", "a/b/b/file", "b/c/d/file", "c/file", "file", "a/z"):
        write(root / file)
    (root / "b/none").mkdir()
    done: set[bytes] = set()
    path: list[bytes] = []
    for name, node in read(make, taken(make(source, TOP))).items():
        parts = name.split(b"/")
        inner = parts if node.kind == "folder" else parts[:-1]
        while path != inner[: len(path)]:
            done.add(b"/".join(path))
            path.pop()
        assert b"/".join(inner) not in done
        path = inner
    assert len(done) == 10


# Links, and what is left out.


def linked(root: Path) -> None:
    """Make a folder `top` with links of all kinds."""
    write(root / "outside.txt", b"outside", 0o640)
    write(root / "outside/file")
    write(root / "top/file")
    write(root / "top/sub/file")
    for name, target in {
        "to-file": "file",
        "to-folder": "sub",
        "sub/up": "../file",
        "sub/to-top": "..",
        "dangling": "absent",
        "around": "../top/file",
        "to-outside": "../outside.txt",
        "sub/to-outside": "../../outside.txt",
        "to-outside-folder": "../outside",
        "to-nothing-outside": "../absent",
        "after-a-link": "sub/to-top/../outside.txt",
        "absolute": str(root / "outside.txt"),
        "out-of-root": "../../other",
    }.items():
        (root / "top" / name).symlink_to(target)
    age(root)


def said_to_be_left_out(nodes: dict[bytes, Node], name: bytes) -> dict[str, str]:
    """What the last file of an archive names, with the reasons."""
    last = list(nodes)[-1]
    assert last == name
    node = nodes.pop(last)
    assert (node.kind, node.mode, node.mtime) == ("file", 0o644, MTIME)
    title, empty, *lines = node.content.decode().splitlines()
    assert (title, empty) == ("What is not in this archive, and why:", "")
    return dict(line.split(": ", 1) for line in lines)


def test_links_in_a_tar(root: Path, source: Directory) -> None:
    linked(root)
    nodes = in_tar(taken(archives.tar(source, parse_name(b"top"))))
    assert said_to_be_left_out(nodes, b"top/NOT-INCLUDED.txt") == {
        "absolute": "it is a symbolic link whose target is absolute",
        "after-a-link": "nothing has that name",
        "out-of-root": "it is a symbolic link that leads out of the served folder, or to hidden"
        " files",
        "to-nothing-outside": "nothing has that name",
        "to-outside-folder": "it is a symbolic link to a folder",
    }
    outside = Node("file", 0o640, MTIME, b"outside")
    inside = Node("file", 0o644, MTIME, b"content")
    expected = {
        name: node for name, node in snapshot(root / "top").items() if node.kind != "link"
    } | {
        b"to-file": Node("link", 0, 0, b"file"),
        b"to-folder": Node("link", 0, 0, b"sub"),
        b"sub/up": Node("link", 0, 0, b"../file"),
        b"sub/to-top": Node("link", 0, 0, b".."),
        b"dangling": Node("link", 0, 0, b"absent"),
        b"around": inside,
        b"to-outside": outside,
        b"sub/to-outside": outside,
    }
    assert nodes == named(b"top", expected)


def test_links_in_a_zip(root: Path, source: Directory) -> None:
    linked(root)
    nodes = in_zip(taken(archives.zip(source, parse_name(b"top"))))
    left_out = said_to_be_left_out(nodes, b"top/NOT-INCLUDED.txt")
    assert left_out.keys() == {
        *("absolute", "after-a-link", "out-of-root", "to-nothing-outside", "dangling"),
        *("to-outside-folder", "to-folder", "sub/to-top"),
    }
    outside = Node("file", 0o640, MTIME, b"outside")
    inside = Node("file", 0o644, MTIME, b"content")
    expected = {
        name: node for name, node in snapshot(root / "top").items() if node.kind != "link"
    } | {
        b"to-file": inside,
        b"sub/up": inside,
        b"around": inside,
        b"to-outside": outside,
        b"sub/to-outside": outside,
    }
    assert nodes == named(b"top", expected)


@pytest.mark.parametrize("make", FORMATS)
def test_no_link_is_followed(root: Path, make: Make) -> None:
    linked(root)
    source = Directory(root, symlinks=Symlinks.NEVER)
    nodes = read(make, taken(make(source, parse_name(b"top"))))
    left_out = said_to_be_left_out(nodes, b"top/NOT-INCLUDED.txt")
    assert len(left_out) == 13
    assert set(left_out.values()) == {"it is a symbolic link, and none is handed out"}
    assert nodes.keys() == {b"top", b"top/file", b"top/sub", b"top/sub/file"}
    source.close()


@pytest.mark.parametrize("make", FORMATS)
def test_what_is_no_file(root: Path, source: Directory, make: Make) -> None:
    os.mkfifo(root / "fifo\n")
    write(root / "not-included.TXT")
    write(root / "NOT-INCLUDED-2.txt")
    write(root / "NOT-INCLUDED-4.txt")
    write(root / "sub/NOT-INCLUDED-3.txt")
    age(root)
    nodes = read(make, taken(make(source, TOP)))
    left_out = said_to_be_left_out(nodes, b"files/NOT-INCLUDED-3.txt")
    assert left_out == {"fifo\\n": "it is not a regular file"}
    assert len(nodes) == 6


@pytest.mark.parametrize("make", FORMATS)
def test_what_cannot_be_opened(root: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # Files that go away, or are locked away, after their names were listed.
    write(root / "a", bytes(LARGE))
    write(root / "b", bytes(LARGE))
    age(root)
    source = Directory(root)
    open_file = source.open_file

    def late(name: Name) -> File:
        if name.segments == (b"a",):
            (root / "a").unlink()
        return open_file(name)

    monkeypatch.setattr(source, "open_file", late)
    nodes = read(make, taken(make(source, TOP)))
    left_out = said_to_be_left_out(nodes, b"files/NOT-INCLUDED.txt")
    assert left_out == {"a": "nothing has that name"}
    assert nodes.keys() == {b"files", b"files/b"}
    source.close()


@pytest.mark.parametrize("make", FORMATS)
def test_more_left_out_than_is_named(
    root: Path, source: Directory, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_out_module, "BYTES_MOST", 100)
    for number in range(10):
        os.mkfifo(root / f"fifo-{number}")
    os.mkfifo(root / "z")
    nodes = read(make, taken(make(source, TOP)))
    lines = nodes[b"files/NOT-INCLUDED.txt"].content.decode().splitlines()[2:]
    assert [*map(len, lines[:-1])] == [32] * 3
    assert lines[-1] == "... and 8 more"


@pytest.mark.parametrize("name", [b"..\\up", b"a\\..\\..\\b", b"a\\.."])
def test_names_that_climb_on_windows(root: Path, name: bytes) -> None:
    write(below(root, name, b"file"))
    age(root)
    source = Directory(root, hidden=True)
    nodes = in_zip(taken(archives.zip(source, TOP)))
    left_out = said_to_be_left_out(nodes, b"files/NOT-INCLUDED.txt")
    assert set(left_out.values()) == {"its name would lead out of the folder on Windows"}
    assert len(left_out) == 2
    assert nodes.keys() == {b"files"}
    assert in_tar(taken(archives.tar(source, TOP))) == named(b"files", snapshot(root))
    source.close()


def test_folder_asked_for_climbs_on_windows(root: Path, source: Directory) -> None:
    write(root / "a\\..\\..\\b/file")
    name = parse_name(b"a\\..\\..\\b")
    assert in_zip(taken(archives.zip(source, name))).keys() == {b"files", b"files/file"}
    assert in_tar(taken(archives.tar(source, name))).keys() > {b"a\\..\\..\\b/file"}


# Large files, and files that change.


def test_large_files_of_a_tar_are_left_to_the_server(root: Path, source: Directory) -> None:
    write(root / "a", b"small")
    write(root / "b", bytes(LARGE))
    write(root / "c", bytes(archives.SMALL))
    pieces = archives.tar(source, TOP)
    first, second, *rest = pieces
    assert isinstance(first, bytes)
    assert len(first) == 4 * 512
    assert isinstance(second, Content)
    assert second.file.size == LARGE
    os.fstat(second.file.fd)  # open until whoever took it closes it
    second.file.close()
    assert len(taken(iter(rest))) == 511 + 512 + archives.SMALL + 1024


@pytest.mark.parametrize("make", FORMATS)
def test_file_that_grows(
    root: Path, source: Directory, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "a", b"1" * LARGE)
    write(root / "b")
    pieces = make(source, TOP)
    first = next(pieces)
    assert isinstance(first, bytes)
    with path.open("ab") as file:
        file.write(b"2" * LARGE)
    nodes = read(make, first + taken(pieces))
    assert nodes[b"files/a"].content == b"1" * LARGE
    assert nodes[b"files/b"].content == b"content"


def test_file_that_grows_between_listing_and_opening(
    root: Path, source: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "a", b"1" * LARGE)
    open_file = source.open_file

    def late(name: Name) -> File:
        path.write_bytes(b"2" * 2 * LARGE)
        return open_file(name)

    monkeypatch.setattr(source, "open_file", late)
    for make in FORMATS:
        path.write_bytes(b"1" * LARGE)
        nodes = read(make, taken(make(source, TOP)))
        assert nodes[b"files/a"].content == b"2" * 2 * LARGE


def test_file_that_becomes_shorter(root: Path, source: Directory) -> None:
    path = write(root / "a", bytes(3 * archives.PIECE))
    pieces = archives.zip(source, TOP)
    next(pieces)
    next(pieces)
    os.truncate(path, archives.PIECE + 1)
    next(pieces)
    with pytest.raises(ChangedWhileRead, match="it ends at 262145, not 786432"):
        next(pieces)


@pytest.mark.parametrize("make", FORMATS)
def test_given_up_anywhere(root: Path, source: Directory, make: Make) -> None:
    write(root / "a", bytes(LARGE))
    write(root / "b", b"small")
    write(root / "sub/c", bytes(LARGE))
    before = open_descriptors()
    for count in range(9):
        pieces = make(source, TOP)
        for _, piece in zip(range(count), pieces):  # noqa: B905
            if isinstance(piece, Content):
                piece.file.close()
        pieces.close()  # type: ignore[attr-defined]
        assert os.listdir("/dev/fd") == before


def skipping(pieces: Iterator[bytes | Content], path: Path) -> None:
    """Write an archive to `path`, with holes in place of large files."""
    with path.open("wb") as archive:
        for piece in pieces:
            if isinstance(piece, Content):
                archive.seek(piece.file.size, os.SEEK_CUR)
                piece.file.close()
            else:
                archive.write(piece)


def test_tar_with_a_file_of_nine_gib(root: Path, source: Directory, tmp_path: Path) -> None:
    try:
        os.truncate(write(root / "a"), 9 << 30)
    except OSError as error:
        pytest.skip(f"no sparse files of this size here: {error}")
    write(root / "b", b"behind")
    skipping(archives.tar(source, TOP), tmp_path / "archive.tar")
    with tarfile.open(tmp_path / "archive.tar") as opened:
        assert opened.getmember("files/a").size == 9 << 30
        file = opened.extractfile("files/b")
        assert file is not None
        assert file.read() == b"behind"


# Memory.


def crowd(root: Path, count: int) -> None:
    """Make `count` names of one small file."""
    first = write(root / "file", b"x" * 100)
    for number in range(count):
        folder = root / f"folder {number // 500}"
        if number % 500 == 0:
            folder.mkdir()
        os.link(first, folder / f"a name of about the usual length {number}")


@pytest.mark.parametrize(("make", "mib"), [(archives.tar, 2), (archives.zip, 3)])
def test_memory_is_bounded(root: Path, source: Directory, make: Make, mib: int) -> None:
    # A zip has 100 bytes for each name, which a bytearray may keep twice while it grows.
    crowd(root, 8_000)
    write(root / "large", bytes(1 << 24))
    largest = total = 0
    tracemalloc.start()
    try:
        for piece in make(source, TOP):
            size = len(piece) if isinstance(piece, bytes) else piece.file.size
            total += size
            if isinstance(piece, Content):
                piece.file.close()
            else:
                largest = max(largest, size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total > (1 << 24) + 8_000 * 130
    assert largest <= archives.PIECE + archives.SMALL + 2048
    assert peak < mib << 20


def test_too_many_names_for_a_zip(
    root: Path, source: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(root, 100)
    for module in (archives, zip_module):
        monkeypatch.setattr(module, "DIRECTORY_MOST", 8000)
    with pytest.raises(TooManyNames, match="a tar can hold them"):
        archives.zip(source, TOP)
    assert len(in_tar(taken(archives.tar(source, TOP)))) == 103


def test_names_that_come_after_they_were_counted(
    root: Path, source: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (archives, zip_module):
        monkeypatch.setattr(module, "DIRECTORY_MOST", 1000)
    write(root / "a")
    age(root)
    pieces = archives.zip(source, TOP)
    for number in range(20):
        write(root / f"b{number}")
    age(root)
    nodes = in_zip(taken(pieces))
    left_out = said_to_be_left_out(nodes, b"files/NOT-INCLUDED.txt")
    assert len(nodes) + len(left_out) == 22
    assert len(left_out) > 5


# Any name at all.

SEGMENTS = st.one_of(
    st.binary(min_size=1, max_size=255),
    st.text(min_size=1, max_size=60).map(lambda t: t.encode(errors="replace")),
).filter(lambda name: not {*name} & {*b"/\0"} and name not in (b".", b".."))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(SEGMENTS, min_size=1, max_size=4), make=st.sampled_from(FORMATS))
def test_any_name(tmp_path: Path, names: list[bytes], make: Make) -> None:
    root = tmp_path / "any"
    write(below(root, *names))
    source = Directory(root, hidden=True)
    try:
        nodes = read(make, taken(make(source, TOP)))
        if not any(b".." in name.split(b"\\") for name in names):
            path = b"/".join(names)
            assert nodes.pop(b"files/" + path).content == b"content"
            assert len(nodes) == len(names)
    finally:
        source.close()
        shutil.rmtree(root)
