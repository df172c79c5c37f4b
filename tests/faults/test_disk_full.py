"""Tests a disk that becomes full below the client: it says so, keeps what it has, and goes on when
there is room."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.daemons import SECONDS, Daemon, daemon_of, until
from tests.faults.between import Between, size_of
from tests.faults.conftest import bytes_of

MIB = 1 << 20
SIZE = 9 * MIB
ROOM = 16 * MIB
LONGEST = 5 * MIB
"""Bytes of the longest file, where that has a limit."""

CANNOT_WRITE, LEFT_OUT = 6, 7


class Disk(NamedTuple):
    """A folder in which there is little room."""

    folder: Path
    before: Callable[[], None] | None
    """What a program calls that has so little room there."""
    fill: Callable[[], None]
    """Take all the room while the program runs."""
    enlarge: Callable[[], None]
    full: bool
    """It is the whole file system that has no room."""


def mount(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True)


@pytest.fixture(params=["full", "limited"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Another file system, that is full (ENOSPC), or a limit on the length of files (EFBIG)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "limited":

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (LONGEST, LONGEST))

        yield Disk(folder, limit, lambda: None, lambda: None, False)
        return
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    mounted = mount("-t", "tmpfs", "-o", f"size={ROOM}", "tcpdl-test", folder)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.strip()}")

    def fill() -> None:
        with suppress(OSError), (folder / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    try:
        yield Disk(folder, None, fill, (folder / "ballast").unlink, True)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("served") / "root"
    (root / "tree/sub").mkdir(parents=True)
    (root / "large").write_bytes(bytes_of(SIZE))
    (root / "tree/large").write_bytes(bytes_of(SIZE, 2))
    for number in range(40):
        (root / f"tree/small-{number}").write_bytes(bytes_of(100_000, number))
        (root / f"tree/sub/small-{number}").write_bytes(bytes_of(1000, number))
    with daemon_of(root) as daemon:
        daemon.wait_until_settled("large")
        yield daemon


def client(
    *arguments: str | Path, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("tcpdl")
    return subprocess.run(
        [program, *arguments],
        preexec_fn=before,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def assert_it_was_said(ran: subprocess.CompletedProcess[str], status: int, what: str) -> None:
    assert ran.returncode == status, ran
    (line,) = ran.stderr.splitlines()
    assert what in line
    assert ran.stdout == ""


@pytest.mark.parametrize("scheme", ["tcpdl", "http"])
def test_get(scheme: str, disk: Disk, served: Daemon) -> None:
    part = disk.folder / "large.tcpdl-part"

    def fill() -> None:
        until(lambda: size_of(part) >= MIB)  # it has found out that there is room
        disk.fill()

    with Between(served.port) as between:
        between.at(4 * MIB, fill)
        command = ("get", f"{scheme}://127.0.0.1:{between.port}/large", "-d", disk.folder)
        ran = client(*command, before=disk.before)
        words = "no space left on device" if disk.full else "file too large"
        assert_it_was_said(ran, CANNOT_WRITE, words)
        assert "what came is kept" in ran.stderr
        names = {path.name for path in disk.folder.iterdir()}
        assert names <= {"large.tcpdl-part", "large.tcpdl-record", "ballast"}
        kept = size_of(part)
        assert MIB <= kept < SIZE
        # As long as there is no room, nothing changes.
        words = "the disk has room for" if disk.full else words
        assert_it_was_said(client(*command, before=disk.before), CANNOT_WRITE, words)
        assert size_of(part) >= kept

        disk.enlarge()
        before = between.passed
        ran = client(*command)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert (disk.folder / "large").read_bytes() == (served.root / "large").read_bytes()
        assert [path.name for path in disk.folder.iterdir()] == ["large"]
        assert between.passed - before < SIZE - kept + 2 * MIB


@pytest.mark.parametrize("at", [MIB, 6 * MIB])
def test_mirror(at: int, disk: Disk, served: Daemon) -> None:
    """Among the small files, and in the large one."""
    copy = disk.folder / "copy"
    with Between(served.port) as between:
        between.at(at, disk.fill)
        command = ("mirror", f"127.0.0.1:{between.port}/tree", copy, "--connections", "1")
        ran = client(*command, before=disk.before)
        if disk.full:
            assert ran.returncode == CANNOT_WRITE
            words = "(cannot write: no space left on device|.* the disk has room for .*)"
            assert re.fullmatch(rf"tcpdl: (large|(sub/)?small-\d+): {words}\n", ran.stderr)
        else:
            assert_it_was_said(ran, LEFT_OUT, "large: it cannot be written: file too large")
        disk.enlarge()
        ran = client(*command)
    assert (ran.returncode, ran.stderr) == (0, "")
    for path in (served.root / "tree").rglob("*"):
        if path.is_file():
            there = copy / path.relative_to(served.root / "tree")
            assert there.read_bytes() == path.read_bytes()
    assert len(list(copy.rglob("*"))) == len(list((served.root / "tree").rglob("*")))
