"""Tests the client that is killed at each system call that changes a file, and each that fails.

strace makes that happen: it runs `tcpdl` once to see which calls there are, and then again for each
of them. In an ordinary run of the tests, that is some of them, spread over all; with
FAULTS=all in the environment, it is all.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.daemons import Daemon, daemon_of
from tests.faults.conftest import bytes_of

PROJECT = Path(__file__).resolve().parent.parent.parent
ALL = os.environ.get("FAULTS") == "all"
KILLED, FAILED = 2, 2
"""Calls that are tried in each scene otherwise, besides the last of each name."""

WRITES = "pwrite64,write,splice,copy_file_range,ftruncate,fsync,fdatasync"
NAMES = "openat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,symlinkat,linkat"
SETTINGS = "fchmod,utimensat"
TRACED = f"{WRITES},{NAMES},{SETTINGS}"
ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EFBIG")

NEW = bytes_of(2_200_000, 1)
OLD = bytes_of(1_500_000, 2)
SMALL = bytes_of(200_000, 3)
SECONDS = 60


class Call(NamedTuple):
    """A system call of a run."""

    name: str
    number: int
    """From 1, among those of that name in its thread."""

    def __str__(self) -> str:
        return f"{self.name}-{self.number}"


class Scene(NamedTuple):
    """What is to be fetched, and what is there before."""

    arguments: Sequence[str]
    """With `{url}`, the daemon's host and port, and `{here}`, the folder."""
    before: dict[str, bytes]
    """Files that are there."""
    after: dict[str, bytes]
    """Files that are there once all is done."""


TREE = {
    "a": b"alpha",
    "d/b": b"beta",
    "d/e/c": SMALL,
    "large": NEW,
}

SCENES: dict[str, Scene] = {
    "native, small": Scene(
        ["get", "{url}/small", "-d", "{here}", "--sync"], {"small": b"older"}, {"small": SMALL}
    ),
    "native": Scene(["get", "{url}/file", "-d", "{here}", "--sync"], {"file": OLD}, {"file": NEW}),
    "native, begun by another program": Scene(
        ["get", "{url}/file", "-d", "{here}"], {"file": NEW[:1_300_000]}, {"file": NEW}
    ),
    "http": Scene(
        ["get", "http://{url}/file", "-d", "{here}", "--sync"], {"file": OLD}, {"file": NEW}
    ),
    "http, small": Scene(["get", "http://{url}/small", "-d", "{here}"], {}, {"small": SMALL}),
    "raw": Scene(
        ["get", "{url}/file", "-d", "{here}", "--dialect", "raw", "--sync"],
        {"file": OLD},
        {"file": NEW},
    ),
    "tree": Scene(["mirror", "{url}/tree", "{here}"], {}, TREE),
    "tree, in part": Scene(
        ["mirror", "{url}/tree", "{here}", "--delete"],
        {"a": b"other", "x": b"extra", "d/y": b"extra", "large": OLD, "d/e/c": SMALL},
        TREE,
    ),
}


@cache
def why_not() -> str:
    """Why nothing can be traced here; empty if it can."""
    program = shutil.which("strace")
    if program is None:
        return "strace is not installed"
    tried = [program, "-f", "-qq", "-o", os.devnull, "-e", "inject=getpid:error=EIO", "true"]
    ran = subprocess.run(tried, capture_output=True, text=True, timeout=SECONDS, check=False)
    return f"strace does not work here: {ran.stderr.strip()}" if ran.returncode else ""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    if reason := why_not():
        pytest.skip(reason)
    root = tmp_path_factory.mktemp("served") / "root"
    write(root, {"small": SMALL, "file": NEW, **{f"tree/{name}": TREE[name] for name in TREE}})
    with daemon_of(root) as running:
        for name in ("small", "file"):
            running.wait_until_settled(name)
        yield running


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def read(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


class Run:
    """Runs a scene, in a folder of its own each time."""

    def __init__(self, daemon: Daemon, top: Path, name: str) -> None:
        self.scene = SCENES[name]
        self._daemon = daemon
        self._top = top
        self._made = 0

    def prepare(self) -> Path:
        self._made += 1
        folder = self._top / str(self._made)
        folder.mkdir()
        write(folder, self.scene.before)
        return folder

    def command(self, folder: Path) -> list[str]:
        filled = [one.format(url=self._daemon.where, here=folder) for one in self.scene.arguments]
        return [sys.executable, "-m", "tcpdl", *filled]

    def __call__(self, folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
        """Do it; `before` is what runs the program."""
        return subprocess.run(
            [*before, *self.command(folder)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def traced(self, folder: Path, *injected: str) -> subprocess.CompletedProcess[str]:
        log = f"{folder}.trace"
        options = [one for what in injected for one in ("-e", f"inject={what}")]
        return self(folder, "strace", "-f", "-qq", "-o", log, "-e", f"trace={TRACED}", *options)

    def calls(self) -> list[Call]:
        """The calls that change something in the folder."""
        folder = self.prepare()
        assert self.traced(folder).returncode == 0
        assert read(folder) == self.scene.after
        found: dict[Call, None] = {}
        numbers: dict[tuple[str, str], int] = {}
        for line in Path(f"{folder}.trace").read_text("latin-1").splitlines():
            match = re.match(r"(\d+) +(\w+)\((.*)", line)
            if match is None:
                continue
            thread, name, arguments = match.groups()
            numbers[thread, name] = number = numbers.get((thread, name), 0) + 1
            # Python opens what it imports by absolute names.
            if name != "openat" or not arguments.startswith("AT_FDCWD") or str(folder) in arguments:
                found[Call(name, number)] = None
        return list(found)

    def check(self, folder: Path) -> None:
        """No name has what is neither the old nor the new file."""
        for name, content in read(folder).items():
            if is_ours(name):
                continue
            allowed = (self.scene.before.get(name), self.scene.after.get(name))
            assert content in allowed, f"{name} has {len(content)} bytes of something else"

    def complete(self, folder: Path) -> None:
        """Do it again, as anybody would; all is as it should be."""
        ran = self(folder)
        assert ran.returncode == 0, ran.stderr
        # It may say that the server has another file than the one that is there.
        assert all(line.startswith("tcpdl: ") for line in ran.stderr.splitlines())
        assert read(folder) == self.scene.after


def is_ours(name: str) -> bool:
    """Whether a file is a part, or the record of one."""
    return name.endswith((".tcpdl-part", ".tcpdl-record"))


def spread(calls: list[Call], most: int) -> list[Call]:
    """All of them, or so many at even distances, the last with them: and one of each name."""
    if ALL or len(calls) <= most:
        return calls
    chosen = {calls[at * (len(calls) - 1) // (most - 1)] for at in range(most)}
    chosen.update({one.name: one for one in calls}.values())
    return [call for call in calls if call in chosen]


@pytest.fixture
def run(request: pytest.FixtureRequest, daemon: Daemon, tmp_path: Path) -> Run:
    return Run(daemon, tmp_path, request.param)


scenes = pytest.mark.parametrize("run", SCENES, indirect=True)


@scenes
def test_killed(run: Run) -> None:
    """At whichever call: nothing wrong has the final name, and the next run completes it."""
    killed = 0
    for call in spread(run.calls(), KILLED):
        folder = run.prepare()
        ran = run.traced(folder, f"{call.name}:signal=SIGKILL:when={call.number}")
        assert ran.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), ran.stderr
        killed += ran.returncode != 0
        run.check(folder)
        run.complete(folder)
        shutil.rmtree(folder)
    assert killed


@scenes
def test_killed_twice(run: Run) -> None:
    """Once while it was fetched, and then while that was gone on with."""
    calls = run.calls()
    for first, second in zip(calls[:: len(calls) // 3], calls[:: -len(calls) // 3], strict=False):
        folder = run.prepare()
        for call in (first, second):
            run.traced(folder, f"{call.name}:signal=SIGKILL:when={call.number}")
            run.check(folder)
        run.complete(folder)


@scenes
def test_failing(run: Run) -> None:
    """Whichever call the system refuses: that is said, or it did not matter."""
    failed = 0
    for at, call in enumerate(spread(run.calls(), FAILED)):
        for error in ERRORS if ALL else (ERRORS[at % len(ERRORS)],):
            folder = run.prepare()
            ran = run.traced(folder, f"{call.name}:error={error}:when={call.number}")
            said = ran.stderr.strip().splitlines()
            assert "Traceback" not in ran.stderr, f"{call}: {ran.stderr}"
            if ran.returncode:
                failed += 1
                # What is spliced may be on its way from the socket.
                allowed = (4, 6) if call.name == "splice" else (6, 7)
                assert ran.returncode in allowed, f"{call}: {ran.stderr}"
                assert said or call.name == "write"  # the complaint itself
                assert all(line.startswith("tcpdl: ") for line in said)
                why = os.strerror(getattr(errno, error)).lower()
                assert not said or why in ran.stderr.lower(), f"{call}: {ran.stderr}"
                run.check(folder)
            else:
                assert read_final(folder) == run.scene.after, f"{call}: {ran.stderr}"
            run.complete(folder)
            shutil.rmtree(folder)
    assert failed


def read_final(folder: Path) -> dict[str, bytes]:
    """What is there, but for parts that could not be removed."""
    return {name: content for name, content in read(folder).items() if not is_ours(name)}


@scenes
def test_failing_for_good(run: Run) -> None:
    """The disk is full: from some moment on, nothing can be written."""
    calls = [call for call in run.calls() if call.name in ("write", "pwrite64", "splice")]
    for call in (calls[0], calls[len(calls) // 2]):
        folder = run.prepare()
        ran = run.traced(folder, f"write,pwrite64,splice:error=ENOSPC:when={call.number}+")
        if call is not calls[0] and ran.returncode == 0:  # this time, fewer calls brought it all
            assert read_final(folder) == run.scene.after
        else:
            # Then it cannot say so either; and what is spliced may be on its way from the socket.
            assert ran.returncode in (1, 4, 6, 7, 120)
        run.check(folder)
        run.complete(folder)


def test_new_version_beside_what_was_begun(daemon: Daemon, tmp_path: Path) -> None:
    """Killed at any call that puts it in the place of the old one and of the part."""
    SCENES["http, anew"] = Scene(
        ["get", "http://{url}/file", "-d", "{here}"], {"file": OLD}, {"file": NEW}
    )
    run = Run(daemon, tmp_path, "http, anew")
    part = begun_part(run, tmp_path)

    def prepare(self: Run = run, honest: Callable[[], Path] = run.prepare) -> Path:
        folder = honest()
        for path in part.iterdir():
            shutil.copy(path, folder)
        return folder

    run.prepare = prepare  # type: ignore[method-assign]
    for call in spread(run.calls(), 2 * KILLED):
        folder = run.prepare()
        run.traced(folder, f"{call.name}:signal=SIGKILL:when={call.number}")
        run.check(folder)
        run.complete(folder)


def begun_part(run: Run, top: Path) -> Path:
    """A folder with a part of another version, and its record."""
    folder = top / "part"
    folder.mkdir()
    version = b"\x01" * 16
    record = b"tcpdl record 1\n" + (2_500_000).to_bytes(8, "big") + bytes([20, 1]) + version
    from hashlib import sha256

    data = bytes_of(2_500_000, 9)[: 1 << 20]
    (folder / "file.tcpdl-part").write_bytes(data)
    (folder / "file.tcpdl-record").write_bytes(record + bytes(8) + sha256(data).digest())
    return folder


def test_modes_of_what_is_there(daemon: Daemon, tmp_path: Path) -> None:
    """What replaces a file has its mode, from the first moment it has its name."""
    run = Run(daemon, tmp_path, "native, small")
    for call in (one for one in run.calls() if one.name in ("fchmod", "utimensat", "renameat")):
        folder = run.prepare()
        (folder / "small").chmod(0o640)
        run.traced(folder, f"{call.name}:signal=SIGKILL:when={call.number}")
        assert stat.S_IMODE((folder / "small").stat().st_mode) == 0o640
        run.complete(folder)
        assert stat.S_IMODE((folder / "small").stat().st_mode) == 0o640
