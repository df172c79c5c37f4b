"""What the tests with other people's programs share: daemons, the tree they serve, a way to run
programs in a folder of their own.

A test whose program is not installed is skipped.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.daemons import SECONDS, Daemon, daemon_of

MTIME = 1_600_000_000
"""When all that is served was changed last: in a September, at no whole minute."""

HUGE = 200 * 1024 * 1024

CANARY = b"canary-7d1f0c52: this is outside"
"""What must never be seen: it is in files that are not handed out."""

CURL = ("curl", "-sS", "--max-time", str(SECONDS))
SAY_STATUS = ("-o", "body", "-w", "%{http_code} %{size_download} ")
"""Puts what comes into the file `body`, and prints the status and the number of bytes."""

NAMES = [
    b"with space.txt",
    b"100%.txt",
    b"%41.txt",
    b"why?.txt",
    b"a#b.txt",
    b"c++.txt",
    b"semi;colon&and=.txt",
    b"back\\slash.txt",
    b"qu'ote\".txt",
    "下载文件.txt".encode(),
    b"latin-\xe9.txt",
    b"invalid-\xff\xfe.txt",
    b"line\nbreak.txt",
    b"-rf",
]


def bytes_of(size: int, seed: bytes = b"tcpdl") -> bytes:
    """Bytes of which no two runs are alike, the same each time."""
    return random.Random(seed).randbytes(size)


def age(top: Path) -> None:
    """Make all below `top` as old as `MTIME` says."""
    for path in [*top.rglob("*"), top]:
        os.utime(path, (MTIME, MTIME), follow_symlinks=False)


def path_in(folder: Path, name: bytes) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


def fill(root: Path) -> None:
    """Make the tree that is served, and beside it what is not."""
    for folder in ("tree/sub/deep", "names", ".hidden-folder", "empty-folder"):
        (root / folder).mkdir(parents=True)
    (root / "hello.txt").write_bytes(b"hello\n")
    (root / "empty").touch()
    (root / "page.html").write_bytes(b"<!doctype html><title>page</title>\n")
    (root / "medium").write_bytes(bytes_of(3_000_001))
    with (root / "huge").open("wb") as file:  # all holes but for these
        for offset in range(0, HUGE, 10 * 1024 * 1024):
            file.seek(offset)
            file.write(bytes_of(4096, str(offset).encode()))
        file.truncate(HUGE)
    for name in NAMES:
        path_in(root / "names", name).write_bytes(b"this is " + name)
    for number in range(20):
        (root / f"tree/file{number}.txt").write_bytes(bytes_of(1000 + number, bytes([number])))
    (root / "tree/sub/deep/下载.bin").write_bytes(bytes_of(100_000))
    (root / "tree/sub/run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "tree/sub/run.sh").chmod(0o750)

    outside = root.parent / "outside"
    outside.mkdir()
    for unseen in (outside / "secret", outside / "hello.txt"):
        unseen.write_bytes(CANARY)
    for unseen in (root / ".hidden", root / ".hidden-folder/file"):
        unseen.write_bytes(CANARY)
    (root / "link-out").symlink_to("../outside/secret")
    (root / "link-absolute").symlink_to(outside / "secret")
    (root / "link-to-folder-out").symlink_to("../outside")
    (root / "link-dangling").symlink_to("nowhere")
    (root / "link-loop").symlink_to("link-loop")
    (root / "link-to-device").symlink_to("/dev/zero")
    (root / "link-inside").symlink_to("hello.txt")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:  # its name stays
        listener.bind(os.path.relpath(root / "socket"))
    age(root)


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon that all tests here ask, and none stops."""
    root = tmp_path_factory.mktemp("programs") / "root"
    root.mkdir()
    fill(root)
    with daemon_of(root) as running:
        running.wait_until_settled("hello.txt")
        yield running
    (root / "huge").unlink()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder that programs work in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


class Ran(NamedTuple):
    """What a program came to."""

    status: int
    out: bytes
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(work: Path) -> Run:
    """Runs a program in `work`, with a home of its own and no proxy; asserts that it ends with
    `status`."""

    def go(*command: str | bytes | Path, status: int = 0, data: bytes = b"", **env: str) -> Ran:
        clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        done = subprocess.run(
            command,
            cwd=work,
            env=clean | {"HOME": str(work), "LC_ALL": "C.UTF-8"} | env,
            input=data,
            capture_output=True,
            timeout=SECONDS,
        )
        ran = Ran(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))
        assert ran.status == status, ran
        return ran

    return go


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips a test whose programs are not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
