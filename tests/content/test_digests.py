"""Tests `content.digests`: digests are right, whatever was kept, and kept where they may be."""

from __future__ import annotations

import builtins
import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tcpdl import digest
from tcpdl.content import digests as digests_module
from tcpdl.content import store
from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.content.source import File
from tcpdl.digest import FileEnded
from tcpdl.wire.names import parse_name
from tcpdl.wire.native import SHA256

pytestmark = pytest.mark.usefixtures("later")

MIB = 1 << 20
SIZE = 3 * MIB + 5


@pytest.fixture(autouse=True)
def computed(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often a chunk was computed, by its offset."""
    compute = digest.digest_of_range
    offsets: Counter[int] = Counter()

    def counting(algorithm: int, fd: int, offset: int, count: int) -> bytes:
        offsets[offset] += 1
        return compute(algorithm, fd, offset, count)

    monkeypatch.setattr(digest, "digest_of_range", counting)
    return offsets


@pytest.fixture
def content() -> bytes:
    return b"".join(bytes([number]) * MIB for number in range(3)) + b"tail."


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "root/file"
    path.parent.mkdir()
    path.write_bytes(content)
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


def expected(content: bytes, algorithm: int = SHA256) -> tuple[bytes, ...]:
    return tuple(
        digest.digest(algorithm, content[at : at + MIB]) for at in range(0, len(content), MIB)
    )


ALGORITHMS = [number for number in (1, 2) if number & digest.AVAILABLE]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_digests(
    tmp_path: Path, file: File, content: bytes, algorithm: int, kept: bool, computed: Counter[int]
) -> None:
    digests = Digests(str(tmp_path / "kept") if kept else None)
    right = expected(content, algorithm)
    assert digests.chunk(file, algorithm, 2) == right[2]
    assert digests.chunk(file, algorithm, 3) == right[3]
    assert digests.all(file, algorithm) == right
    assert digests.chunk(file, algorithm, 0) == right[0]
    assert digests.root(file, algorithm) == digest.root(algorithm, SIZE, 20, right)
    assert set(computed.values()) == {1}
    digests.close()
    digests.close()
    assert digests.all(file, algorithm) == right


def test_root_of_sha256_by_hand(file: File, content: bytes) -> None:
    state = hashlib.sha256(b"tcpdl root 1" + SIZE.to_bytes(8, "big") + bytes([20]))
    for one in expected(content):
        state.update(one)
    assert Digests(None).root(file, SHA256) == state.digest()


@pytest.mark.parametrize("settled", [True, False])
def test_empty_file(path: Path, computed: Counter[int], settled: bool) -> None:
    path.write_bytes(b"")
    empty = open_file(path)._replace(settled=settled)
    digests = Digests(None)
    assert digests.all(empty, SHA256) == ()
    assert digests.root(empty, SHA256) == digest.root(SHA256, 0, 20, ())
    assert digests.known(empty, SHA256, 0) is None
    with pytest.raises(IndexError):
        digests.chunk(empty, SHA256, 0)
    assert not computed
    empty.close()


@pytest.mark.parametrize("index", [-1, 4, 1 << 40])
def test_no_such_chunk(file: File, index: int) -> None:
    digests = Digests(None)
    digests.all(file, SHA256)
    assert digests.known(file, SHA256, index) is None
    with pytest.raises(IndexError):
        digests.chunk(file, SHA256, index)


def test_no_such_algorithm(file: File) -> None:
    with pytest.raises(LookupError):
        Digests(None).chunk(file, 64, 0)


def test_known_is_what_is_in_memory(tmp_path: Path, file: File, content: bytes) -> None:
    folder = str(tmp_path / "kept")
    first = Digests(folder)
    assert first.known(file, SHA256, 0) is None
    first.chunk(file, SHA256, 0)
    assert first.known(file, SHA256, 0) == expected(content)[0]
    assert first.known(file, SHA256, 1) is None
    first.close()
    second = Digests(folder)
    assert second.known(file, SHA256, 0) is None
    second.chunk(file, SHA256, 0)
    assert second.known(file, SHA256, 0) == expected(content)[0]
    second.close()


def test_known_waits_for_nothing(
    tmp_path: Path, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = Digests(str(tmp_path / "kept"))
    digests.chunk(file, SHA256, 0)
    for name in ("open", "stat", "fstat", "pread", "preadv"):
        monkeypatch.delattr(os, name)
    with digests._lock:
        assert digests.known(file, SHA256, 0) is not None
        assert digests.known(file, SHA256, 1) is None
    monkeypatch.undo()
    digests.close()


def test_kept_across_instances(
    tmp_path: Path, file: File, content: bytes, computed: Counter[int]
) -> None:
    folder = tmp_path / "made/for/it"
    digests = Digests(str(folder))
    digests.chunk(file, SHA256, 1)
    digests.close()
    digests = Digests(str(folder))
    assert digests.all(file, SHA256) == expected(content)
    digests.close()
    assert set(computed.values()) == {1}
    digests = Digests(str(folder))
    assert digests.all(file, SHA256) == expected(content)
    assert digests.chunk(file, SHA256, 2) == expected(content)[2]
    digests.close()
    assert set(computed.values()) == {1}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_kept_once_complete(tmp_path: Path, file: File, computed: Counter[int]) -> None:
    # Not only when it is closed: daemons are killed.
    one, two = (Digests(str(tmp_path / "kept")) for _ in range(2))
    one.all(file, SHA256)
    two.all(file, SHA256)
    assert set(computed.values()) == {1}
    one.close()
    two.close()


@pytest.mark.parametrize("field", ["device", "inode", "size", "mtime_ns", "ctime_ns"])
def test_any_change_of_the_identity_counts(
    tmp_path: Path, file: File, content: bytes, computed: Counter[int], field: str
) -> None:
    folder = str(tmp_path / "kept")
    digests = Digests(folder)
    digests.all(file, SHA256)
    changed = file._replace(
        identity=file.identity._replace(**{field: getattr(file.identity, field) + 1})
    )
    for _ in range(2):
        assert digests.known(changed, SHA256, 0) is None
        digests.chunk(changed, SHA256, 0)
        assert computed[0] == 2
        computed[0] = 1
    digests.close()
    digests = Digests(folder)
    digests.chunk(changed, SHA256, 0)
    assert computed[0] == 2
    # It is not what the file is, so it is not kept either.
    digests.chunk(changed, SHA256, 0)
    assert computed[0] == 3
    digests.close()


def test_other_chunks_are_other_digests(
    file: File, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = Digests(None)
    digests.all(file, SHA256)
    monkeypatch.setattr(digest, "chunk_shift", lambda _size: 21)
    assert digests.known(file, SHA256, 0) is None
    assert digests.all(file, SHA256) == (
        digest.digest(SHA256, content[: 2 * MIB]),
        digest.digest(SHA256, content[2 * MIB :]),
    )


def test_algorithms_are_kept_apart(file: File, content: bytes) -> None:
    digests = Digests(None)
    for algorithm in ALGORITHMS:
        assert digests.all(file, algorithm) == expected(content, algorithm)
    for algorithm in ALGORITHMS:
        assert digests.known(file, algorithm, 0) == expected(content, algorithm)[0]


def test_file_that_has_not_settled(
    tmp_path: Path, file: File, content: bytes, computed: Counter[int]
) -> None:
    folder = str(tmp_path / "kept")
    fresh = file._replace(settled=False)
    digests = Digests(folder)
    for count in (1, 2):
        assert digests.all(fresh, SHA256) == expected(content)
        assert digests.known(fresh, SHA256, 0) is None
        assert digests.known(file, SHA256, 0) is None
        assert computed[0] == count
    # Not even if it was known, for it may have changed since under the same stamps.
    digests.all(file, SHA256)
    assert digests.known(fresh, SHA256, 0) is None
    digests.all(fresh, SHA256)
    assert computed[0] == 4
    digests.close()


@pytest.mark.parametrize("settled", [True, False])
def test_file_that_changes_while_it_is_read(
    path: Path,
    content: bytes,
    computed: Counter[int],
    monkeypatch: pytest.MonkeyPatch,
    settled: bool,
) -> None:
    file = open_file(path)._replace(settled=settled)
    compute = digest.digest_of_range

    def changing(*args: Any) -> bytes:
        found = compute(*args)
        os.utime(path, ns=(0, 1))
        return found

    monkeypatch.setattr(digest, "digest_of_range", changing)
    digests = Digests(None)
    for count in (1, 2, 3):
        assert digests.all(file, SHA256) == expected(content)
        assert digests.chunk(file, SHA256, 1) == expected(content)[1]
        assert digests.known(file, SHA256, 0) is None
        assert computed[0] == count
    file.close()


def test_file_that_ends_early(path: Path, file: File) -> None:
    os.truncate(path, MIB)
    digests = Digests(None)
    digests.chunk(file, SHA256, 0)
    with pytest.raises(FileEnded):
        digests.chunk(file, SHA256, 1)
    with pytest.raises(FileEnded):
        digests.root(file, SHA256)


def test_file_that_cannot_be_read(path: Path, content: bytes) -> None:
    file = open_file(path)
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        Digests(None).chunk(file, SHA256, 0)


def test_memory_is_bounded(
    path: Path, computed: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests_module, "MEMORY_MOST", 10)
    files = []
    for number in range(25):
        one = path.with_name(str(number))
        one.write_bytes(b"%d" % number)
        files.append(open_file(one))
    digests = Digests(None)
    for file in files:
        digests.chunk(file, SHA256, 0)
        digests.known(files[0], SHA256, 0)  # which keeps it there
    there = [digests.known(file, SHA256, 0) is not None for file in files]
    assert there == [True] + [False] * 15 + [True] * 9
    assert digests._count == len(digests._blocks) == 10
    for file in files:
        file.close()


def test_file_with_more_digests_than_fit(
    tmp_path: Path, file: File, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests_module, "MEMORY_MOST", 2)
    for folder in (None, str(tmp_path / "kept"), str(tmp_path / "kept")):
        digests = Digests(folder)
        for _ in range(2):
            assert digests.all(file, SHA256) == expected(content)
            assert [digests.chunk(file, SHA256, index) for index in range(4)] == list(
                expected(content)
            )
        assert digests._count <= 2
        digests.close()


@pytest.mark.parametrize("block", [1, 3, 4])
def test_blocks(
    tmp_path: Path,
    file: File,
    content: bytes,
    computed: Counter[int],
    monkeypatch: pytest.MonkeyPatch,
    block: int,
) -> None:
    monkeypatch.setattr(digests_module, "BLOCK", block)
    for _ in range(2):
        digests = Digests(str(tmp_path / "kept"))
        assert digests.chunk(file, SHA256, 3) == expected(content)[3]
        assert digests.all(file, SHA256) == expected(content)
        digests.close()
    assert set(computed.values()) == {1}


def sparse(path: Path) -> File:
    """A file of 8 TiB that takes no room, and that nobody could hash in time."""
    os.truncate(path, 1 << 43)
    return open_file(path)


def test_part_of_a_file_too_large_for_anything_else(tmp_path: Path, path: Path) -> None:
    try:
        file = sparse(path)
    except OSError as error:
        pytest.skip(f"no sparse files of this size here: {error}")
    last = (1 << 43 >> 24) - 1
    right = digest.digest(SHA256, bytes(1 << 24))
    for _ in range(2):
        digests = Digests(str(tmp_path / "kept"))
        assert digests.chunk(file, SHA256, last) == right
        assert digests.known(file, SHA256, last) == right
        digests.close()
    file.close()


@pytest.mark.parametrize("kept", [False, True])
def test_many_threads(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    monkeypatch.setattr(digests_module, "MEMORY_MOST", 20)
    monkeypatch.setattr(store, "BATCH", 8)
    contents = [os.urandom(1000 + number) for number in range(40)]
    files = []
    for number, content in enumerate(contents):
        one = path.with_name(str(number))
        one.write_bytes(content)
        files.append(open_file(one))
    said: list[str] = []
    digests = Digests(str(tmp_path / "kept") if kept else None, warn=said.append)
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def work(seed: int) -> None:
            for turn in range(200):
                number = (seed * 7 + turn * 13) % len(files)
                right = (hashlib.sha256(contents[number]).digest(),)
                assert digests.known(files[number], SHA256, 0) in (None, *right)
                assert digests.all(files[number], SHA256) == right

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(switching)
    assert digests._count == sum(map(len, digests._blocks.values())) <= 20
    digests.close()
    assert said == []
    for file in files:
        file.close()


def test_two_processes(tmp_path: Path, path: Path, computed: Counter[int]) -> None:
    contents = [os.urandom(1000 + number) for number in range(100)]
    for number, content in enumerate(contents):
        path.with_name(str(number)).write_bytes(content)
    script = """
import sys, time
from tcpdl.content import store
from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.wire.names import parse_name
store.BATCH = 5
store.BUSY_SECONDS = 20.0
now = time.time_ns
time.time_ns = lambda: now() + 60 * 10**9
directory = Directory(sys.argv[1])
digests = Digests(sys.argv[2], warn=print)
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    file = directory.open_file(parse_name(b"%d" % number))
    digests.root(file, 1)
    file.close()
digests.close()
"""
    folder = tmp_path / "kept"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path.parent), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        output, _ = worker.communicate(timeout=50)
        assert (worker.returncode, output) == (0, "")
    digests = Digests(str(folder))
    for number, content in enumerate(contents):
        file = open_file(path.with_name(str(number)))
        assert digests.all(file, SHA256) == (hashlib.sha256(content).digest(),)
        file.close()
    digests.close()
    assert not computed


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path, file: File) -> None:
    digests = Digests(str(tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()
    digests.known(file, SHA256, 0)
    digests.close()
    assert not (tmp_path / "kept").exists()


def test_python_without_sqlite(
    tmp_path: Path, file: File, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    system: Callable[..., Any] = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "sqlite3":
            raise ImportError("no module named sqlite3")
        return system(name, *args, **options)

    monkeypatch.delitem(sys.modules, "tcpdl.content.store", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    said: list[str] = []
    digests = Digests(str(tmp_path / "kept"), warn=said.append)
    assert said == ["digests are kept in memory only: no module named sqlite3"]
    assert digests.all(file, SHA256) == expected(content)
    digests.close()
