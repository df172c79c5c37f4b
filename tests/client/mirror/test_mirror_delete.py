"""Tests `client.mirroring` with `delete`: what goes is what the server surely does not have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcpdl.client.errors import ConnectionBroken
from tcpdl.client.fetched import Fetched
from tcpdl.client.filters import Rule
from tcpdl.client.mirroring import Mirrored
from tcpdl.client.target import part_name
from tcpdl.client.url import Location
from tcpdl.wire.native import Pick
from tests.client.mirror import conftest

if TYPE_CHECKING:
    from tests.client.mirror.conftest import Honest, Make, Serve, Snapshot

Snap = Callable[[Path], "Snapshot"]

MTIME = 1_600_000_000_123_456_789


def go(location: Location, target: Path, **options: Any) -> Mirrored:
    return conftest.go(location, target, **{"delete": True, **options})


@pytest.fixture
def full(target: Path) -> Path:
    """A target with much in it that the server does not have."""
    for name in ("a", "d/x", "d/y", "d/deep/er/z", "empty/one", "old/1", "old/keep.me", "old/e/2"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(b"here")
    (target / "d/out").symlink_to(target.parent.parent / "outside")
    (target / "out").symlink_to(target.parent.parent / "outside")
    os.mkfifo(target / "old/fifo")
    return target


def listing(make: Make) -> list[Any]:
    return [make.file("a", b"A"), make.folder("d"), make.folder("empty"), make.file("d/x", b"X")]


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_the_server_does_not_have_goes(
    server: Serve, honest: type[Honest], make: Make, full: Path
) -> None:
    told = []
    location = server(honest(listing(make))).location
    mirrored = go(location, full, told=lambda what, name: told.append((what, name)))
    assert names(full) == {"a", "d", "d/x", "empty"}
    gone = sorted(name for what, name in told if what == "delete")
    assert gone == [
        *(b"d/deep/", b"d/deep/er/", b"d/deep/er/z", b"d/out", b"d/y", b"empty/one", b"old/"),
        *(b"old/1", b"old/e/", b"old/e/2", b"old/fifo", b"old/keep.me", b"out"),
    ]
    assert mirrored.deleted == len(gone)
    assert mirrored.complete
    assert {(full / name).stat().st_mtime_ns for name in ("d", "empty")} == {MTIME}


def test_nothing_goes_without_delete(
    server: Serve, honest: type[Honest], make: Make, full: Path
) -> None:
    before = names(full)
    assert go(server(honest(listing(make))).location, full, delete=False).deleted == 0
    assert names(full) == before


def test_empty_server_empties(server: Serve, honest: type[Honest], full: Path) -> None:
    go(server(honest([])).location, full)
    assert names(full) == set()


def test_what_is_excluded_stays(
    server: Serve, honest: type[Honest], make: Make, full: Path
) -> None:
    rules = [Rule(False, "*.me"), Rule(False, "/d/deep"), Rule(False, "out")]
    mirrored = go(server(honest(listing(make))).location, full, rules=rules)
    assert names(full) == {
        *("a", "d", "d/x", "d/out", "d/deep", "d/deep/er", "d/deep/er/z", "empty", "out", "old"),
        "old/keep.me",
    }
    assert mirrored.complete


def test_with_includes_only_what_matches_goes(
    server: Serve, honest: type[Honest], make: Make, full: Path
) -> None:
    go(server(honest(listing(make))).location, full, rules=[Rule(True, "y"), Rule(True, "1")])
    assert "d/y" not in names(full)
    assert "old/1" not in names(full)
    assert {"d/x", "old/keep.me", "empty/one", "out", "d/deep/er/z"} <= names(full)


@pytest.mark.parametrize("left_out", ["", "d", "empty"])
def test_nothing_goes_if_a_folder_was_not_listed(
    server: Serve, honest: type[Honest], make: Make, full: Path, left_out: str
) -> None:
    entries = listing(make)
    # After a folder's own contents comes what is said of it.
    at = 3 if left_out == "" else 4
    entries.insert(at, make.left_out(left_out, "it cannot be read"))
    before = names(full)
    mirrored = go(server(honest(entries)).location, full)
    assert names(full) == before
    assert mirrored.kept_all
    assert not mirrored.complete
    assert mirrored.left_out == ((left_out.encode(), "it cannot be read"),)


def test_what_is_left_out_or_refused_stays(
    server: Serve, honest: type[Honest], make: Make, full: Path
) -> None:
    (full / "b\n").write_bytes(b"")
    (full / "A").write_bytes(b"")
    entries = [
        *(make.file("a", b"A"), make.file("A", b"A"), make.file("b\n"), make.left_out("old")),
        *(make.folder("d"), make.link("out", b"/"), make.left_out("d/y"), make.left_out("d/out")),
    ]
    mirrored = go(server(honest(entries)).location, full)
    assert {"a", "A", "b\n", "old", "old/1", "out", "d/y", "d/out"} <= names(full)
    assert "d/x" not in names(full)
    assert not mirrored.kept_all


def test_nothing_goes_if_the_listing_breaks_off(
    server: Serve, honest: type[Honest], make: Make, full: Path
) -> None:
    honestly = honest(listing(make), each=1)
    before = names(full)
    location = server(lambda request: [*list(honestly(request))[:-1], b"hang up"]).location
    with pytest.raises(ConnectionBroken):
        go(location, full)
    assert names(full) == before


def test_nothing_goes_before_all_has_come(
    server: Serve, honest: type[Honest], make: Make, full: Path
) -> None:
    honestly = honest(listing(make))

    def answer(request: Any) -> Any:
        if isinstance(request, Pick):
            return [b"hang up"]
        return honestly(request)

    before = names(full)
    with pytest.raises(ConnectionBroken):
        go(server(answer).location, full)
    assert names(full) == before


def test_parts_of_what_is_still_to_come_stay(
    server: Serve,
    honest: type[Honest],
    make: Make,
    full: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tcpdl.client import download as engine

    def download(location: Location, into: Any, *_: Any) -> Fetched:
        assert os.fstat(into.fd).st_size == 4  # it goes on with the part
        return Fetched(4, MTIME, 0o644)

    monkeypatch.setattr(engine, "download", download)
    part = os.fsdecode(part_name(b"large"))
    for name in (part, "other.tcpdl-part", "other.tcpdl-record", ".tcpdl-0123abcd.tcpdl-part"):
        (full / "d" / name).write_bytes(b"part")
    entries = [*listing(make), make.listed("d/large", 4 << 20)]
    go(server(honest(entries)).location, full)
    assert names(full / "d") == {"x", "large"}


def test_tree_too_deep_to_be_removed_is_reported(
    server: Serve, honest: type[Honest], make: Make, full: Path
) -> None:
    fd = os.open(full / "old", os.O_RDONLY)
    for _ in range(450):
        os.mkdir("n", dir_fd=fd)
        inner = os.open("n", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    mirrored = go(server(honest(listing(make))).location, full)
    assert [name for name, _ in mirrored.left_out] == [b"old"]
    assert "d/y" not in names(full / "..")


@pytest.mark.parametrize(("one", "other"), [("readme", "README"), ("e\u0301", "É")])
def test_other_spelling_of_the_same_file_stays(
    server: Serve, honest: type[Honest], make: Make, target: Path, one: str, other: str
) -> None:
    target.mkdir()
    # Two names of one file, as a file system that ignores case has them for every file.
    (target / other).write_bytes(b"content")
    os.utime(target / other, ns=(MTIME, MTIME))
    os.link(target / other, target / one)
    (target / "rEadme.txt").write_bytes(b"")
    listed = [make.file(other, b"content"), make.file("readme.txt", b"x")]
    go(server(honest(listed)).location, target)
    assert names(target) == {one, other, "readme.txt"}


def test_names_in_another_encoding_of_the_system(
    server: Serve, honest: type[Honest], make: Make, target: Path
) -> None:
    script = (
        "import sys\n"
        "from tcpdl.client.mirroring import mirror\n"
        "from tcpdl.client.url import Location\n"
        "assert sys.getfilesystemencoding() != 'utf-8'\n"
        "place = Location('127.0.0.1', int(sys.argv[1]), b'')\n"
        "made = mirror(place, sys.argv[2], delete=True)\n"
        "print(made.files, made.unchanged, made.deleted)\n"
    )
    location = server(honest([make.folder("ö"), make.file("下载"), make.file("ö/é")])).location
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    printed = [
        subprocess.check_output(
            [sys.executable, "-c", script, str(location.port), str(target)],
            cwd=Path(__file__).parents[3],
            env={**os.environ, **environment},
            timeout=30,
        )
        for _ in range(2)
    ]
    assert printed == [b"2 0 0\n", b"0 2 0\n"]
    assert names(target) == {"ö", "下载", "ö/é"}
