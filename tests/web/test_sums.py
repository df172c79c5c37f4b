"""Tests `web.sums`: sha256sum takes the lists as its own, and nothing is left out silently."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl import digest
from tcpdl.content import digests as digests_module
from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.content.errors import Absent, NotAFolder
from tcpdl.content.source import File
from tcpdl.web import left_out as left_out_module
from tcpdl.web import sums as sums_module
from tcpdl.web.sums import line, sums
from tcpdl.wire.names import Name, parse_name
from tcpdl.wire.native import BLAKE3, SHA256
from tests.descriptors import open_descriptors

TOP = Name(())

NAMES = [
    b"plain",
    b" two  spaces ",
    b"new\nline",
    b"back\\slash",
    b"\\n",
    b"\\",
    b"\n",
    b"cr\r",
    b"cr\rcr",
    b"\xff\xfe",
    b"-c",
    b"-",
    b"*star",
    b"# hash",
    b"\xe4\xb8\x8b\xe8\xbd\xbd",
    b"x" * 255,
]

needs_blake3 = pytest.mark.skipif(not digest.AVAILABLE & BLAKE3, reason="needs blake3")


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


def below(root: Path, *segments: bytes) -> Path:
    return root.joinpath(*map(os.fsdecode, segments))


def write(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def fill(root: Path) -> None:
    for number, name in enumerate(NAMES):
        write(below(root, name), b"%d" % number)
        write(below(root, b"folders", name, name), b"%d" % number * 1000)
    write(root / "empty", b"")
    (root / "nothing").mkdir()


def checked(root: Path, listed: bytes) -> list[bytes]:
    """The names that sha256sum checked and found right."""
    ran = subprocess.run(
        ["sha256sum", "--strict", "--check", "-"],
        cwd=root,
        input=listed,
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    return [said.removesuffix(b": OK") for said in ran.stdout.removesuffix(b"\n").split(b"\n")]


def as_b3sum_reads(listed: bytes) -> dict[str, str]:
    """Digests by name: what a line holds, taken apart as b3sum does."""
    found = {}
    for said in listed.decode("utf-8").removesuffix("\n").split("\n"):
        escaped = said.startswith("\\")
        said = said.removeprefix("\\")
        name = said[66:]
        assert said[64:66] == "  "
        if escaped:
            name = name.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")
        assert name not in found
        found[name] = said[:64]
    return found


def test_sha256sum_checks_it(root: Path, source: Directory) -> None:
    fill(root)
    listed = b"".join(sums(source, Digests(None), TOP, SHA256))
    assert len(checked(root, listed)) == 2 * len(NAMES) + 1


def test_as_sha256sum_prints_it(root: Path, source: Directory) -> None:
    fill(root)
    names = [entry.name for entry in source.walk(TOP, recursive=True, content_most=-1)]
    files = [name for name in names if below(root, name).is_file()]
    files[files.index(b"-")] = b"./-"
    printed = subprocess.run(["sha256sum", "--", *files], cwd=root, capture_output=True, check=True)
    assert b"".join(sums(source, Digests(None), TOP, SHA256)) == printed.stdout


def test_damage_is_found(root: Path, source: Directory) -> None:
    write(root / "new\nline")
    listed = b"".join(sums(source, Digests(None), TOP, SHA256))
    write(root / "new\nline", b"other")
    with pytest.raises(AssertionError):
        checked(root, listed)


@needs_blake3
def test_b3sum_reads_it(root: Path, source: Directory) -> None:
    fill(root)
    listed = b"".join(sums(source, Digests(None), TOP, BLAKE3))
    found = as_b3sum_reads(listed)
    assert len(found) == 2 * len(NAMES) + 1
    for number, name in enumerate(NAMES):
        # A name that is not UTF-8 is one that it refuses, and goes on.
        shown = name.decode("utf-8", "replace")
        assert (
            found["./-" if name == b"-" else shown] == digest.digest(BLAKE3, b"%d" % number).hex()
        )
        assert f"folders/{shown}/{shown}" in found


@given(name=st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_name(name: bytes) -> None:
    for algorithm in (SHA256, BLAKE3):
        said = line(bytes(32), name, algorithm)
        assert said.count(b"\n") == 1
        assert said.endswith(b"\n")
        assert said.removeprefix(b"\\").startswith(b"0" * 64 + b"  ")
        assert said.startswith(b"\\") == (
            b"\\" in name or b"\n" in name or (algorithm == SHA256 and b"\r" in name)
        )
    assert as_b3sum_reads(line(bytes(32), name, BLAKE3)).keys() == {
        "./-" if name == b"-" else name.decode(errors="replace")
    }


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.text("\\nr\n\r #*-a\u202e", min_size=1, max_size=50)
    .map(str.encode)
    .filter(lambda name: name not in (b".", b".."))
)
def test_sha256sum_checks_any_name(tmp_path: Path, name: bytes) -> None:
    path = write(below(tmp_path, name))
    source = Directory(tmp_path)
    try:
        assert len(checked(tmp_path, b"".join(sums(source, Digests(None), TOP, SHA256)))) == 1
    finally:
        source.close()
        path.unlink()


def test_folder_below(root: Path, source: Directory) -> None:
    write(root / "a/b/file")
    write(root / "file")
    listed = b"".join(sums(source, Digests(None), parse_name(b"a/"), SHA256))
    assert listed == hashlib.sha256(b"content").hexdigest().encode() + b"  b/file\n"


def test_empty_folder(source: Directory) -> None:
    assert b"".join(sums(source, Digests(None), TOP, SHA256)) == b""


def test_hidden_files(root: Path) -> None:
    write(root / ".hidden")
    for hidden in (False, True):
        source = Directory(root, hidden=hidden)
        listed = b"".join(sums(source, Digests(None), TOP, SHA256))
        assert listed.endswith(b"  .hidden\n") == hidden
        source.close()


def test_what_is_wrong_from_the_start(root: Path, source: Directory) -> None:
    write(root / "file")
    digests = Digests(None)
    with pytest.raises(Absent):
        sums(source, digests, parse_name(b"absent"), SHA256)
    with pytest.raises(NotAFolder):
        sums(source, digests, parse_name(b"file"), SHA256)
    with pytest.raises(LookupError):
        sums(source, digests, TOP, 64)


def test_links_and_what_is_left_out(root: Path, source: Directory) -> None:
    write(root / "sub/file")
    (root / "link").symlink_to("sub/file")
    (root / "folder").symlink_to("sub")
    (root / "dangling\n").symlink_to("absent")
    (root / "out").symlink_to("../other")
    os.mkfifo(root / "fifo")
    listed = b"".join(sums(source, Digests(None), TOP, SHA256))
    assert checked(root, listed) == [b"link", b"sub/file"]
    assert listed.decode().splitlines()[2:] == [
        "# dangling\\n: nothing has that name",
        "# fifo: it is not a regular file",
        "# folder: it is a symbolic link to a folder",
        "# out: it is a symbolic link that leads out of the served folder, or to hidden files",
    ]


def test_more_left_out_than_is_named(
    root: Path, source: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_out_module, "BYTES_MOST", 70)
    for number in range(9):
        os.mkfifo(root / f"fifo{number}")
    listed = b"".join(sums(source, Digests(None), TOP, SHA256)).decode().splitlines()
    assert listed[2:] == ["# ... and 7 more"]


def test_files_that_change(root: Path, source: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "a")
    write(root / "b")
    write(root / "c", bytes(5000))
    write(root / "d")
    update_from = digest.update_from
    open_file = source.open_file

    def late(name: Name) -> File:
        if name.segments == (b"a",):
            (root / "a").unlink()
        file = open_file(name)
        if name.segments == (b"c",):
            os.truncate(root / "c", 10)
        return file

    def changing(state: object, fd: int, offset: int, count: int) -> None:
        update_from(state, fd, offset, count)
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/b"):
            write(root / "b", b"longer than it was")
        elif os.readlink(f"/proc/self/fd/{fd}").endswith("/d"):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(source, "open_file", late)
    monkeypatch.setattr(digest, "update_from", changing)
    assert b"".join(sums(source, Digests(None), TOP, SHA256)).decode().splitlines() == [
        "# a: nothing has that name",
        "# b: it changed while it was read",
        "# c: it became shorter while it was read",
        "# d: it cannot be read: Input/output error",
    ]


def test_pieces(root: Path, source: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums_module, "PIECE", 210)
    for number in range(7):
        write(root / f"{number}")
    pieces = list(sums(source, Digests(None), TOP, SHA256))
    assert [piece.count(b"\n") for piece in pieces] == [4, 3]


def test_long_files_let_others_have_the_thread(
    root: Path, source: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests_module, "STEP", 1000)
    monkeypatch.setattr(sums_module, "STEP", 1000)
    write(root / "a", bytes(10))
    write(root / "b", bytes(3000))
    for number in range(5):
        write(root / f"c{number}", bytes(400))
    pieces = list(sums(source, Digests(None), TOP, SHA256))
    assert [piece.count(b"\n") for piece in pieces] == [1, 0, 1, 3, 2]


@pytest.mark.parametrize("count", range(6))
def test_given_up_anywhere(
    root: Path, source: Directory, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(digests_module, "STEP", 1000)
    write(root / "a", bytes(10))
    write(root / "b", bytes(3000))
    before = open_descriptors()
    pieces = sums(source, Digests(None), TOP, SHA256)
    for _, _piece in zip(range(count), pieces):  # noqa: B905
        pass
    pieces.close()  # type: ignore[attr-defined]
    assert os.listdir("/dev/fd") == before
