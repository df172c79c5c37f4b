"""Tests the digests of whole files in `content.digests`: right, and kept where they may be."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl import digest
from tcpdl.content import digests as digests_module
from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.content.source import File
from tcpdl.digest import FileEnded
from tcpdl.wire.names import parse_name
from tcpdl.wire.native import SHA256

pytestmark = pytest.mark.usefixtures("later")

MIB = 1 << 20
SIZES = [0, 1, 1000, MIB, MIB + 1, 3 * MIB + 5]
ALGORITHMS = [number for number in (1, 2) if number & digest.AVAILABLE]


@pytest.fixture(autouse=True)
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes were hashed, at a time."""
    update_from = digest.update_from
    counts: list[int] = []

    def counting(state: Any, fd: int, offset: int, count: int) -> None:
        counts.append(count)
        update_from(state, fd, offset, count)

    monkeypatch.setattr(digest, "update_from", counting)
    return counts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "root/file"
    path.parent.mkdir()
    path.write_bytes(os.urandom(3 * MIB + 5))
    return path


@pytest.fixture
def file(path: Path) -> Iterator[File]:
    file = open_file(path)
    yield file
    file.close()


def open_file(path: Path) -> File:
    directory = Directory(path.parent)
    try:
        return directory.open_file(parse_name(path.name.encode()))
    finally:
        directory.close()


def whole(digests: Digests, file: File, algorithm: int = SHA256) -> bytes:
    *steps, last = digests.hash_whole(file, algorithm)
    assert set(steps) <= {b""}
    return last


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_digest(
    tmp_path: Path, path: Path, hashed: list[int], algorithm: int, size: int, kept: bool
) -> None:
    folder = str(tmp_path / "kept") if kept else None
    content = os.urandom(size)
    path.write_bytes(content)
    file = open_file(path)
    right = digest.digest(algorithm, content)
    digests = Digests(folder)
    assert digests.known_whole(file, algorithm) is None
    for _ in range(2):
        assert whole(digests, file, algorithm) == right
        assert digests.known_whole(file, algorithm) == right
        assert sum(hashed) == size
    for other in ALGORITHMS:
        if other != algorithm:
            assert digests.known_whole(file, other) is None
    digests.close()
    digests = Digests(folder)
    assert digests.known_whole(file, algorithm) is None  # not in memory
    assert whole(digests, file, algorithm) == right
    assert sum(hashed) == (size if kept else 2 * size)
    digests.close()
    file.close()


def test_as_others_compute_it(path: Path, file: File) -> None:
    assert whole(Digests(None), file) == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.parametrize("size", SIZES)
def test_beside_digests_of_chunks(path: Path, hashed: list[int], size: int) -> None:
    content = os.urandom(size)
    path.write_bytes(content)
    file = open_file(path)
    for first in ("whole", "chunks"):
        digests = Digests(None)
        if first == "whole":
            whole(digests, file)
        chunks = digests.all(file, SHA256)
        assert chunks == tuple(
            digest.digest(SHA256, content[at : at + MIB]) for at in range(0, size, MIB)
        )
        assert whole(digests, file) == digest.digest(SHA256, content)
    # A file that is one chunk is hashed once for both.
    assert sum(hashed) == (2 * size if size <= MIB else 4 * size)
    file.close()


def test_steps(file: File, hashed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests_module, "STEP", MIB)
    digests = Digests(None)
    steps = digests.hash_whole(file, SHA256)
    for count in (1, 2, 3):
        assert next(steps) == b""
        assert hashed == [MIB] * count
    assert len(next(steps)) == 32
    assert list(steps) == []
    assert hashed == [MIB, MIB, MIB, 5]
    assert len(list(digests.hash_whole(file, SHA256))) == 1


@pytest.mark.parametrize(("size", "steps"), [(0, 0), (MIB, 0), (MIB + 1, 1), (2 * MIB, 1)])
def test_number_of_steps(
    path: Path, monkeypatch: pytest.MonkeyPatch, size: int, steps: int
) -> None:
    monkeypatch.setattr(digests_module, "STEP", MIB)
    os.truncate(path, size)
    file = open_file(path)
    assert len(list(Digests(None).hash_whole(file, SHA256))) == steps + 1
    file.close()


def test_given_up(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests_module, "STEP", MIB)
    digests = Digests(None)
    steps = digests.hash_whole(file, SHA256)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert digests.known_whole(file, SHA256) is None


def test_no_such_algorithm(file: File) -> None:
    with pytest.raises(LookupError):
        Digests(None).hash_whole(file, 64)
    assert Digests(None).known_whole(file, 64) is None


def test_file_that_has_not_settled(tmp_path: Path, file: File, hashed: list[int]) -> None:
    digests = Digests(str(tmp_path / "kept"))
    fresh = file._replace(settled=False)
    right = whole(digests, fresh)
    assert digests.known_whole(fresh, SHA256) is None
    assert digests.known_whole(file, SHA256) is None
    assert whole(digests, file) == right
    assert digests.known_whole(file, SHA256) == right
    # It may have changed since under the same stamps.
    assert digests.known_whole(fresh, SHA256) is None
    assert whole(digests, fresh) == right
    assert sum(hashed) == 3 * file.size
    digests.close()


def test_file_that_changes(path: Path, file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests_module, "STEP", MIB)
    digests = Digests(None)
    steps = digests.hash_whole(file, SHA256)
    next(steps)
    os.utime(path, ns=(0, 1))
    *_, last = steps
    assert last == hashlib.sha256(path.read_bytes()).digest()
    assert not file.still_same()
    assert digests.known_whole(file, SHA256) is None


def test_file_that_ends_early(path: Path, file: File) -> None:
    os.truncate(path, MIB)
    with pytest.raises(FileEnded):
        list(Digests(None).hash_whole(file, SHA256))


def test_file_that_cannot_be_read(path: Path) -> None:
    file = open_file(path)
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        list(Digests(None).hash_whole(file, SHA256))


def test_known_waits_for_nothing(
    tmp_path: Path, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = Digests(str(tmp_path / "kept"))
    right = whole(digests, file)
    for name in ("open", "stat", "fstat", "pread", "preadv"):
        monkeypatch.delattr(os, name)
    with digests._lock:
        assert digests.known_whole(file, SHA256) == right
    monkeypatch.undo()
    digests.close()


def test_memory_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests_module, "MEMORY_MOST", 10)
    digests = Digests(None)
    files = []
    for number in range(25):
        one = path.with_name(str(number))
        one.write_bytes(bytes(MIB + number))
        files.append(open_file(one))
        whole(digests, files[-1])
    there = [digests.known_whole(file, SHA256) is not None for file in files]
    assert there == [False] * 15 + [True] * 10
    assert digests._count == len(digests._blocks) == 10
    for file in files:
        file.close()
