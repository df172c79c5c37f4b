"""Tests a file that is replaced all the time: each download is one of its versions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tcpdl.wire import native
from tests.daemons import SECONDS, Daemon, daemon_of
from tests.faults.conftest import bytes_of, encrypting
from tests.faults.fetching import How, fetch

DOWNLOADS, DOWNLOADS_MOST = 100, 2000

REPLACE = """
import itertools, os, select, sys
path, *versions = sys.argv[1:]
versions = [open(version, "rb").read() for version in versions]
for count in itertools.count():
    with open(path + ".new", "wb") as file:
        file.write(versions[count % len(versions)])
    os.rename(path + ".new", path)
    if count == 0:
        print("begun", flush=True)
    if select.select([sys.stdin], [], [], 0.001)[0]:
        break
"""
"""Replaces a file by versions of it in turn, until its input ends."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that serves what is in memory, where there is such a place: a file system on a disk
    begins to write whenever a file is replaced."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path_factory.mktemp("replaced")
    with TemporaryDirectory(prefix="tcpdl-test-", dir=memory) as folder:
        root = Path(folder, "root")
        root.mkdir()
        with daemon_of(root, *encrypting(root)) as running:
            yield running


@contextmanager
def replaced(path: Path, versions: list[bytes]) -> Iterator[None]:
    """Have the file at `path` be replaced all the time."""
    sources = [path.parent.parent / f"version-{number}" for number in range(len(versions))]
    for source, version in zip(sources, versions, strict=True):
        source.write_bytes(version)
    with subprocess.Popen(
        [sys.executable, "-c", REPLACE, path, *sources],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            yield
            process.communicate(timeout=SECONDS)
        finally:
            process.kill()


@pytest.mark.parametrize("sizes", [(1000, 1000), (1000, 3000), (120_000, 200_000)])
def test_each_download_is_one_version(
    sizes: tuple[int, int], way: str, dialect: str, daemon: Daemon
) -> None:
    versions = [bytes_of(size, seed) for seed, size in enumerate(sizes)]
    seen: Counter[int] = Counter()
    with replaced(daemon.root / "file", versions):
        # On a busy machine nearly each of them may meet a change.
        for number in range(DOWNLOADS_MOST):
            if number >= DOWNLOADS and len(seen) == 2:
                break
            outcome = fetch(daemon.port, way, "file")
            if dialect == "native" and outcome.how is How.ERROR:
                assert outcome.status == native.CHANGED  # which is as good: nothing looked whole
            else:
                assert outcome.how is How.WHOLE
                seen[versions.index(outcome.content)] += 1
    assert seen.keys() == {0, 1}, "it was not replaced while it was fetched"
