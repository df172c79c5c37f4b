"""Tests `client.mirroring`: a folder becomes what the server's is, by what differs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcpdl.client.errors import BadRequest, CannotConnect, CannotWrite, NothingThere
from tcpdl.client.fetched import Fetched
from tcpdl.client.filters import Rule
from tcpdl.client.url import Location
from tcpdl.wire import native
from tcpdl.wire.native import Pick, Tree
from tests.client.mirror.conftest import go

if TYPE_CHECKING:
    from tests.client.mirror.conftest import Honest, Make, Serve, Snapshot

Snap = Callable[[Path], "Snapshot"]

MTIME = 1_600_000_000_123_456_789


def some(make: Make) -> list[Any]:
    return [
        make.file("a.txt", b"alpha"),
        make.folder("empty", 0o700),
        make.folder("sub", 0o750),
        make.file("z.sh", b"#!/bin/sh\n", 0o755),
        make.file("sub/b.txt", b"beta", 0o600),
        make.folder("sub/deep"),
        make.file("sub/deep/c", b""),
    ]


SOME = {
    "a.txt": (b"alpha", 0o644),
    "empty": ("folder", 0o700),
    "sub": ("folder", 0o750),
    "sub/b.txt": (b"beta", 0o600),
    "sub/deep": ("folder", 0o755),
    "sub/deep/c": (b"", 0o644),
    "z.sh": (b"#!/bin/sh\n", 0o755),
}


def times(folder: Path) -> set[int]:
    return {path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("each", [1000, 1, 3])
def test_empty_folder_gets_all_in_one_request(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap, each: int
) -> None:
    answers = honest(some(make), each)
    told: list[tuple[str, bytes]] = []
    mirrored = go(server(answers).location, target, told=lambda *what: told.append(what))
    assert snapshot(target) == SOME
    assert times(target) == {MTIME}
    assert answers.requests == [Tree(1, b"", native.CONTENT | native.RECURSIVE)]
    assert (mirrored.files, mirrored.size, mirrored.unchanged) == (4, 19, 0)
    assert mirrored.complete
    assert mirrored.received > 19
    assert ("write", b"sub/b.txt") in told
    assert ("make", b"sub/deep") in told
    assert len(told) == 7


def test_second_run_writes_nothing(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    location = server(answers := honest(some(make))).location
    go(location, target)
    before = {path: path.lstat() for path in target.rglob("*")}
    told: list[object] = []
    mirrored = go(location, target, told=lambda *what: told.append(what))
    assert (mirrored.files, mirrored.unchanged, told) == (0, 4, [])
    assert answers.picked == []
    assert answers.requests[-1] == Tree(1, b"", native.RECURSIVE)
    # Not even times of change, which the system keeps, were touched.
    assert {path: path.lstat().st_ctime_ns for path in before} == {
        path: status.st_ctime_ns for path, status in before.items()
    }


def test_only_what_differs_is_asked_for(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    location = server(answers := honest(some(make))).location
    go(location, target)
    (target / "a.txt").write_bytes(b"other")  # as long, another time
    (target / "sub/b.txt").unlink()
    mirrored = go(location, target)
    assert snapshot(target) == SOME
    assert times(target) == {MTIME}
    assert answers.picked == [b"a.txt", b"sub/b.txt"]
    assert (mirrored.files, mirrored.unchanged) == (2, 2)


def test_mode_and_time_are_set_without_sending(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    location = server(answers := honest(some(make))).location
    go(location, target)
    (target / "z.sh").chmod(0o4711)
    (target / "sub").chmod(0o777)
    os.utime(target / "empty", ns=(1, 1))
    told: list[tuple[str, bytes]] = []
    go(location, target, told=lambda *what: told.append(what))
    assert snapshot(target) == SOME
    assert times(target) == {MTIME}
    assert answers.picked == []
    assert sorted(told) == [("set", b"empty"), ("set", b"sub"), ("set", b"z.sh")]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_modes_do_not_depend_on_the_umask(
    server: Serve, honest: type[Honest], make: Make, target: Path, umask: int
) -> None:
    entries = [make.file(f"{mode:o}", b"x", mode) for mode in range(0o1000)]
    entries += [make.folder(f"d{mode:o}", mode) for mode in (0, 0o5, 0o750, 0o777)]
    location = server(honest(entries)).location
    target.mkdir()
    before = os.umask(umask)
    try:
        go(location, target)
    finally:
        os.umask(before)
    for mode in range(0o1000):
        assert stat.S_IMODE((target / f"{mode:o}").stat().st_mode) == mode | 0o600
    for mode in (0, 0o5, 0o750, 0o777):
        assert stat.S_IMODE((target / f"d{mode:o}").stat().st_mode) == mode | 0o700


def test_folder_below_the_root(
    server: Serve, honest: type[Honest], make: Make, target: Path
) -> None:
    answers = honest(some(make))
    place = server(answers).location
    location = Location(place.host, place.port, b"top/er/")
    go(location, target)
    (target / "a.txt").unlink()
    go(location, target)
    tree, *_, pick = answers.requests
    assert tree == Tree(1, b"top/er", native.CONTENT | native.RECURSIVE)
    assert pick == Pick(2, b"top/er", (b"a.txt",))


def test_checksum_sees_what_time_does_not(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    location = server(answers := honest(some(make))).location
    go(location, target)
    (target / "a.txt").write_bytes(b"ALPHA")
    os.utime(target / "a.txt", ns=(MTIME, MTIME))
    os.utime(target / "z.sh", ns=(1, 1))
    assert go(location, target, dry_run=True).files == 1  # z.sh
    mirrored = go(location, target, checksum=True)
    assert answers.picked == [b"a.txt"]
    assert (mirrored.files, mirrored.unchanged) == (1, 3)
    assert snapshot(target) == SOME
    assert times(target) == {MTIME}


def test_many_picks_are_bounded(
    server: Serve, honest: type[Honest], make: Make, target: Path
) -> None:
    long = "x" * 230
    entries = [make.file(f"{index:05}{long}", b"%d" % index) for index in range(20_000)]
    target.mkdir()
    (target / "present").write_bytes(b"")
    location = server(answers := honest(entries)).location
    mirrored = go(location, target)
    picks = [one for one in answers.requests if isinstance(one, Pick)]
    assert mirrored.files == 20_000
    assert all(len(one.body()) < 49_500 for one in picks)
    assert len(picks) > 64
    assert answers.picked == [entry.name for entry in entries]


@pytest.mark.parametrize(
    ("rules", "files"),
    [
        ([Rule(False, "*.txt")], {"z.sh", "sub/deep/c"}),
        ([Rule(True, "*.txt")], {"a.txt", "sub/b.txt"}),
        ([Rule(False, "sub/")], {"a.txt", "z.sh"}),
        ([Rule(True, "b.txt"), Rule(False, "*.txt")], {"sub/b.txt", "z.sh", "sub/deep/c"}),
        ([Rule(False, "sub/**")], {"a.txt", "z.sh"}),
        ([Rule(False, "deep")], {"a.txt", "sub/b.txt", "z.sh"}),
    ],
)
def test_filters(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    rules: list[Rule],
    files: set[str],
) -> None:
    answers = honest(some(make))
    go(server(answers).location, target, rules=rules)
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert found == files
    assert {os.fsdecode(name) for name in answers.picked} == files


def test_rule_that_matches_nothing(target: Path) -> None:
    with pytest.raises(BadRequest, match="matches nothing"):
        go(Location("127.0.0.1", 1, b""), target, rules=[Rule(True, "/")])


@pytest.mark.parametrize("there", [False, True])
def test_dry_run_changes_nothing(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    snapshot: Snap,
    there: bool,
) -> None:
    if there:
        (target / "sub").mkdir(parents=True)
        (target / "sub/mine").write_bytes(b"precious")
        (target / "old").mkdir()
        (target / "old/one").write_bytes(b"")
        (target / ".tcpdl-01234567.tcpdl-part").write_bytes(b"")
        (target / "a.txt").mkdir()
    before = snapshot(target)
    told: list[tuple[str, bytes]] = []
    entries = [make.link("l", b"a.txt"), *some(make)]
    mirrored = go(
        server(answers := honest(entries)).location,
        target,
        dry_run=True,
        delete=True,
        links=True,
        told=lambda *what: told.append(what),
    )
    assert snapshot(target) == before
    assert target.exists() is there
    assert answers.picked == []
    assert (mirrored.files, mirrored.links) == (4, 1)
    assert {name for what, name in told if what == "write"} == {
        *(b"a.txt", b"z.sh", b"sub/b.txt", b"sub/deep/c")
    }
    assert sorted(name for what, name in told if what == "delete") == (
        [b"a.txt/", b"old/", b"old/one", b"sub/mine"] if there else []
    )


def test_links(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    entries = [
        make.folder("d"),
        make.link("l", b"d/f"),
        make.file("d/f", b"x"),
        make.link("d/up", b"../d/./f"),
        make.link("d/broken", b"absent"),
    ]
    location = server(honest(entries)).location
    mirrored = go(location, target)
    assert (mirrored.links, mirrored.links_left_out, mirrored.complete) == (0, 3, True)
    assert set(snapshot(target)) == {"d", "d/f"}
    mirrored = go(location, target, links=True)
    assert (mirrored.links, mirrored.links_left_out, mirrored.complete) == (3, 0, True)
    assert snapshot(target) == {
        "d": ("folder", 0o755),
        "d/f": (b"x", 0o644),
        "d/up": "../d/./f",
        "d/broken": "absent",
        "l": "d/f",
    }
    assert (target / "d").stat().st_mtime_ns == MTIME
    (target / "l").unlink()
    (target / "l").symlink_to("elsewhere")
    (target / "d/up").unlink()
    (target / "d/up").write_bytes(b"in the way")
    mirrored = go(location, target, links=True)
    assert mirrored.links == 2
    assert os.readlink(target / "l") == "d/f"
    assert os.readlink(target / "d/up") == "../d/./f"


@pytest.mark.parametrize(
    "text",
    [
        *(b"/etc/passwd", b"..", b"../x", b"d/../..", b"d/../f", b"../../d/f", b"", b"a\nb"),
        *(b"\x1b[2J", b"\xff", b"d/../../target/f"),
    ],
)
def test_link_that_leads_elsewhere_is_left_out(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap, text: bytes
) -> None:
    location = server(honest([make.file("f", b"x"), make.link("l", text)])).location
    mirrored = go(location, target, links=True)
    assert set(snapshot(target)) == {"f"}
    assert [name for name, _ in mirrored.left_out] == [b"l"]
    assert not mirrored.complete


def test_absent_folder_makes_none(server: Serve, make: Make, target: Path) -> None:
    location = server(lambda request: [make.error(request.id, native.ABSENT, "nothing")]).location
    with pytest.raises(NothingThere, match="nothing"):
        go(location, target)
    assert not target.exists()


def test_file_is_no_folder(server: Serve, make: Make, target: Path) -> None:
    location = server(lambda request: [make.error(request.id, native.NOT_A_FOLDER)]).location
    with pytest.raises(NothingThere, match="tcpdl get"):
        go(location, target)


def test_no_server(refused: int, target: Path) -> None:
    with pytest.raises(CannotConnect):
        go(Location("127.0.0.1", refused, b""), target)
    assert not target.exists()


def test_target_that_is_a_file(
    server: Serve, honest: type[Honest], make: Make, target: Path
) -> None:
    target.write_bytes(b"precious")
    with pytest.raises(CannotWrite, match="not a directory"):
        go(server(honest(some(make))).location, target)
    assert target.read_bytes() == b"precious"


def test_target_may_be_a_link(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    real = target.parent / "real"
    real.mkdir()
    target.symlink_to("real")
    go(server(honest(some(make))).location, target)
    assert target.is_symlink()
    assert snapshot(real) == SOME
    target.unlink()
    real.rename(target)


def test_two_runs_into_one_folder_are_refused(
    server: Serve, honest: type[Honest], make: Make, target: Path
) -> None:
    location = server(honest(some(make))).location
    refusals = []

    def meanwhile(what: str, name: bytes) -> None:
        if name == b"a.txt":
            with pytest.raises(CannotWrite, match="another mirror") as raised:
                go(server(honest(some(make))).location, target)
            refusals.append(raised)

    go(location, target, told=meanwhile)
    assert len(refusals) == 1


def test_large_file_is_downloaded(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tcpdl.client import download as engine

    asked = []

    def download(location: Location, into: Any, *_: Any) -> Fetched:
        asked.append(location.path)
        os.write(into.fd, b"large")
        return Fetched(5, MTIME, 0o440, received=5)

    monkeypatch.setattr(engine, "download", download)
    entries = [make.folder("d"), make.listed("d/large", 2 << 20), make.file("d/small", b"s")]
    mirrored = go(server(honest(entries)).location, target)
    assert asked == [b"d/large"]
    assert (target / "d/large").read_bytes() == b"large"
    assert (target / "d/large").stat().st_mtime_ns == MTIME
    assert stat.S_IMODE((target / "d/large").stat().st_mode) == 0o640
    assert (target / "d").stat().st_mtime_ns == MTIME
    assert mirrored.files == 2
    assert sorted(path.name for path in (target / "d").iterdir()) == ["large", "small"]
