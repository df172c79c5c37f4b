"""What the tests of commands share: a daemon with a tree, and a way to run commands in here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tcpdl.cli import main
from tests.daemons import daemon_of

SECONDS = 60.0
MTIME = 1_600_000_000_123_456_789


class Ran(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


class Served(NamedTuple):
    """A daemon and what it serves."""

    root: Path
    url: str


Run = Callable[..., Ran]


def fill(root: Path) -> None:
    """Make a tree with a little of everything that is handed out."""
    (root / "sub/deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a.txt").write_bytes(b"alpha\n")
    (root / "下载.txt").write_bytes(b"beta")
    (root / "sub/run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "sub/run.sh").chmod(0o750)
    (root / "sub/deep/medium").write_bytes(os.urandom(1024 * 1024))
    (root / "sub/deep/large").write_bytes(os.urandom(3 * 1024 * 1024 + 1))
    (root / "sub/link").symlink_to("../a.txt")
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(MTIME, MTIME), follow_symlinks=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served") / "root"
    root.mkdir()
    fill(root)
    with daemon_of(root) as daemon:
        yield Served(root, daemon.where)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; returns its status and what it printed."""

    def go(*arguments: str | Path) -> Ran:
        capfd.readouterr()
        status = 2
        with suppress(SystemExit):  # of a command that is wrong
            status = main(list(map(str, arguments)))
        return Ran(status, *capfd.readouterr())

    return go
