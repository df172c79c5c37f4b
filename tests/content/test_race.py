"""Tests that renaming files while `Directory` looks at them leads it nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from tcpdl.content.directory import Directory
from tcpdl.content.errors import Absent, NotServed, Refused
from tcpdl.wire.names import parse_name
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LISTED, Entry
from tests.descriptors import open_descriptors

SECONDS = float(os.environ.get("RACE_SECONDS", "2"))
"""How long each test tries. The longer, the smaller the gap that is still found."""

CANARY = b"CANARY: this must never be read"
REAL = b"real contents"

# Exchanges two names as fast as it can until its standard input ends, then tells how often. Where
# the kernel or the file system cannot exchange in one step, three renames do.
SWAPPER = """
import ctypes, os, sys, threading
one, two = map(os.fsencode, sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
RENAME_EXCHANGE, AT_FDCWD = 2, -100
def exchange():
    return libc.renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE) == 0
def rename():
    os.rename(one, one + b"-aside")
    os.rename(two, one)
    os.rename(one + b"-aside", two)
    return True
swap = exchange if hasattr(libc, "renameat2") and exchange() else rename
swaps = 0
def tell():
    sys.stdin.read()
    print(swaps, flush=True)
    os._exit(0)
threading.Thread(target=tell).start()
print("started", flush=True)
while swap():
    swaps += 1
"""


@contextmanager
def swapping(one: Path, two: Path) -> Iterator[None]:
    """Swaps `one` and `two` all the while."""
    command = [sys.executable, "-c", SWAPPER, str(one), str(two)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as swapper:
        assert swapper.stdout is not None
        try:
            assert swapper.stdout.readline() == "started\n"
            yield
            output, _ = swapper.communicate(timeout=60)
            assert int(output) > 100
        finally:
            swapper.kill()


@pytest.fixture(autouse=True)
def _fail_rather_than_go_on_for_good() -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        pytest.fail("one of the two outcomes never came")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(int(SECONDS) + 120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def outcomes(root: Path, name: bytes) -> Counter[bytes | type[NotServed]]:
    """What came of opening `name` again and again: until time is up, and both the file and a
    refusal have been seen, without which nothing was tried."""
    seen: Counter[bytes | type[NotServed]] = Counter()
    before = open_descriptors()
    directory = Directory(root)
    safe = parse_name(name)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or not (seen[REAL] and seen[Refused]):
        try:
            file = directory.open_file(safe)
        except NotServed as problem:
            seen[type(problem)] += 1
        else:
            seen[os.read(file.fd, 100)] += 1
            file.close()
    directory.close()
    assert os.listdir("/dev/fd") == before
    return seen


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder and a file, each with a link beside it that leads out."""
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "folder/file.txt").write_bytes(REAL)
    (root / "file.txt").write_bytes(REAL)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file.txt").write_bytes(CANARY)
    (root / "out").symlink_to("../outside")
    (root / "out.txt").symlink_to(tmp_path / "outside/file.txt")
    return root


@pytest.mark.parametrize(
    ("one", "two", "name"),
    [
        ("folder", "out", b"folder/file.txt"),
        ("folder", "out", b"out/file.txt"),
        ("file.txt", "out.txt", b"file.txt"),
    ],
)
def test_nothing_outside_is_opened(root: Path, one: str, two: str, name: bytes) -> None:
    with swapping(root / one, root / two):
        seen = outcomes(root, name)
    # Absent: it was a link when it was opened, and none any more when the link was read.
    assert set(seen) <= {REAL, Refused, Absent}, seen


def test_no_link_behind_a_link_leads_out(root: Path) -> None:
    # What a link that stays inside leads to is walked anew, with the same care.
    (root / "way").symlink_to("folder")
    with swapping(root / "folder", root / "out"):
        seen = outcomes(root, b"way/file.txt")
    assert set(seen) <= {REAL, Refused, Absent}, seen


def test_no_fifo_is_served_in_place_of_a_file(root: Path) -> None:
    os.mkfifo(root / "fifo")
    with swapping(root / "file.txt", root / "fifo"):
        seen = outcomes(root, b"file.txt")
    assert set(seen) <= {REAL, Refused, Absent}, seen


def seen_by_walks(root: Path, enough: set[tuple[int, bytes]], most: int) -> set[Entry]:
    """Every entry, without stamps, that walks come across until time is up, and `enough` was."""
    walked: set[Entry] = set()
    picked: set[Entry] = set()
    names = [b"file.txt", b"folder/file.txt"]
    top = parse_name(b"")
    directory = Directory(root)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or not enough <= {(entry.kind, entry.name) for entry in walked}:
        for found, seen in (
            (directory.walk(top, recursive=True, content_most=most), walked),
            (directory.pick(top, names, content_most=most), picked),
        ):
            seen.update(entry._replace(mtime_ns=0, mode=0) for entry in found)
    directory.close()
    return walked | picked


@pytest.mark.parametrize("most", [100, -1])
def test_no_walk_leads_out_through_a_folder(root: Path, most: int) -> None:
    file = FILE if most > 0 else LISTED
    enough = {(FOLDER, b"folder"), (LEFT_OUT, b"folder"), (file, b"folder/file.txt")}
    with swapping(root / "folder", root / "out"):
        seen = seen_by_walks(root, enough, most)
    files = {entry for entry in seen if entry.kind in (FILE, LISTED)}
    assert {entry.content for entry in files} == ({REAL} if most > 0 else {b""})
    assert {entry.size for entry in files} == {len(REAL)}
    assert not any(CANARY in entry.content for entry in seen)


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_no_walk_leads_out_through_a_file(root: Path, kind: str) -> None:
    other = root / "out.txt"
    if kind == "fifo":
        other = root / "fifo"
        os.mkfifo(other)
    with swapping(root / "file.txt", other):
        seen = seen_by_walks(root, {(FILE, b"file.txt"), (LEFT_OUT, b"file.txt")}, 100)
    assert {entry.content for entry in seen if entry.kind == FILE} == {REAL}
    assert not any(CANARY in entry.content for entry in seen)
