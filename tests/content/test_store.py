"""Tests `content.store`: whatever is wrong with its file costs speed and nothing else."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tcpdl.content import store as store_module
from tcpdl.content.store import ASIDE, NAME, Store

STEP = int(os.environ.get("FLIP_STEP", "61"))
"""Of the bytes of a store, each so many is damaged; with 1, all of them."""

KEY = bytes(range(82))
OTHER = b"other key"
DIGESTS = {index: bytes([index]) * 32 for index in (0, 1, 5)}
TO_ANOTHER = {1024: b"x" * 32}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a store of two rows."""
    folder = tmp_path / "kept"
    with opened(folder) as (store, said):
        store.add(KEY, 0, DIGESTS)
        store.add(OTHER, 1, TO_ANOTHER)
    assert said == []
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Store, list[str]]]:
    said: list[str] = []
    store = Store(str(folder), said.append)
    try:
        yield store, said
    finally:
        store.close()
        for sentence in said:
            assert sentence.isprintable()


def works(folder: Path) -> bool:
    """Whether what is stored now is there afterwards."""
    with opened(folder) as (store, _):
        store.add(b"new", 7, {7168: b"n" * 32})
    with opened(folder) as (store, _):
        return store.get(b"new", 7) == {7168: b"n" * 32}


def test_what_was_stored(folder: Path) -> None:
    with opened(folder) as (store, said):
        assert store.get(KEY, 0) == DIGESTS
        assert store.get(OTHER, 1) == TO_ANOTHER
        for key, block in ((KEY, 1), (OTHER, 0), (b"", 0), (KEY[:-1], 0)):
            assert store.get(key, block) == {}
    assert said == []
    assert not (folder / ASIDE).exists()


def test_more_of_the_same(folder: Path) -> None:
    with opened(folder) as (store, _):
        store.add(KEY, 0, {2: b"2" * 32})
        store.add(KEY, 0, {3: b"3" * 32})
    with opened(folder) as (store, _):
        assert store.get(KEY, 0) == {**DIGESTS, 2: b"2" * 32, 3: b"3" * 32}


def test_closed(folder: Path) -> None:
    with opened(folder) as (store, said):
        store.close()
        assert store.get(KEY, 0) == {}
        store.add(KEY, 0, {2: b"2" * 32})
        store.close()
    assert said == []


def test_written_in_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with opened(folder) as (store, _), opened(folder) as (reader, _):

        def there(number: int) -> bool:
            return bool(reader.get(b"%d" % number, 0))

        for number in range(2):
            store.add(b"%d" % number, 0, {0: b"d" * 32})
        assert (there(0), there(1)) == (True, False)  # not for each one
        now += store_module.BATCH_SECONDS
        store.add(b"2", 0, {0: b"d" * 32})
        assert there(1)
        for number in range(3, 3 + store_module.BATCH):
            store.add(b"%d" % number, 0, {0: b"d" * 32})
        assert there(store_module.BATCH)  # for so many, though no time has passed
        store.add(b"last", 0, {0: b"d" * 32})
    with opened(folder) as (reader, _):
        assert reader.get(b"last", 0)


def test_size_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 256 * 1024
    monkeypatch.setattr(store_module, "BYTES_MOST", most)
    monkeypatch.setattr(store_module, "BATCH", 100)
    monkeypatch.setattr(store_module, "USED_SECONDS", -1)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    keys = [b"%090d" % number for number in range(5000)]
    with opened(folder) as (store, said):
        for number, key in enumerate(keys):
            now += 1
            store.add(key, 0, {0: b"d" * 32})
            if number % 100 == 0:
                assert store.get(KEY, 0) == DIGESTS  # used again and again
        assert store.get(keys[-100], 0)
        assert store.get(OTHER, 1) == {}
        assert store.get(keys[0], 0) == {}
    assert said == []
    assert most / 2 < (folder / NAME).stat().st_size < most + 100_000


def damage_by_truncation(folder: Path) -> Iterator[bytes]:
    whole = (folder / NAME).read_bytes()
    for length in (1, 15, 16, 99, 100, 4095, 4096, 5000, len(whole) // 2, len(whole) - 1):
        yield whole[:length]


def test_truncated(folder: Path) -> None:
    for damaged in damage_by_truncation(folder):
        (folder / NAME).write_bytes(damaged)
        with opened(folder) as (store, _):
            assert store.get(KEY, 0) in ({}, DIGESTS)
            assert store.get(OTHER, 1) in ({}, TO_ANOTHER)
        assert works(folder)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"garbage", b"g" * 10_000, bytes(10_000), b"SQLite format 3\0" + b"g" * 10_000],
)
def test_garbage(folder: Path, garbage: bytes) -> None:
    (folder / NAME).write_bytes(garbage)
    with opened(folder) as (store, said):
        assert store.get(KEY, 0) == {}
    assert len(said) == (garbage != b"")
    assert works(folder)
    if garbage:
        assert "begun anew" in said[0]
        assert (folder / ASIDE).read_bytes() == garbage


def test_garbage_while_it_is_open(folder: Path) -> None:
    with opened(folder) as (store, said):
        assert store.get(KEY, 0) == DIGESTS
        with open(folder / NAME, "r+b") as file:
            file.write(b"g" * 20_000)
        assert store.get(KEY, 0) in ({}, DIGESTS)
        store.add(OTHER, 0, {0: b"o" * 32})
        assert store.get(OTHER, 0) in ({}, {0: b"o" * 32})
    assert len(said) <= 1
    assert works(folder)


def test_flipped_bit(folder: Path) -> None:
    whole = (folder / NAME).read_bytes()
    # Where there is something, and a sample of where there is nothing.
    filled = [at for at, byte in enumerate(whole) if byte]
    places = filled[:: max(1, STEP // 8)] + list(range(0, len(whole), STEP))
    lost = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        for path in folder.iterdir():
            path.unlink()
        (folder / NAME).write_bytes(damaged)
        with opened(folder) as (store, _):
            found = store.get(KEY, 0), store.get(OTHER, 1)
            assert found[0] in ({}, DIGESTS), place
            assert found[1] in ({}, TO_ANOTHER), place
            store.add(KEY, 0, DIGESTS)
        lost += found != (DIGESTS, TO_ANOTHER)
    assert 0 < lost < len(places)
    assert works(folder)


def test_row_that_was_tampered_with(folder: Path) -> None:
    with closing(sqlite3.connect(folder / NAME)) as connection, connection:
        connection.execute("UPDATE digests SET digests = zeroblob(40) WHERE block = 0")
    with opened(folder) as (store, said):
        assert store.get(KEY, 0) == {}
        assert store.get(KEY, 0) == {}
        assert len(said) == 1
        store.add(KEY, 0, DIGESTS)
    with opened(folder) as (store, said):
        assert store.get(KEY, 0) == DIGESTS
        assert store.get(OTHER, 1) == TO_ANOTHER
    assert said == []


@pytest.mark.parametrize("value", ["NULL", "7", "1.5", "'text'", "x''", "x'00'", "zeroblob(41)"])
@pytest.mark.parametrize("column", ["digests", "checksum", "used"])
def test_values_of_any_kind(folder: Path, column: str, value: str) -> None:
    # As damage may make them, whatever the schema says.
    with closing(sqlite3.connect(folder / NAME)) as connection, connection:
        rows = connection.execute("SELECT * FROM digests").fetchall()
        connection.execute("DROP TABLE digests")
        connection.execute("CREATE TABLE digests (key, block, used, digests, checksum)")
        connection.executemany("INSERT INTO digests VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute(f"UPDATE digests SET {column} = {value}")
    with opened(folder) as (store, _):
        assert store.get(KEY, 0) == (DIGESTS if column == "used" else {})
        store.add(KEY, 0, DIGESTS)


def test_one_of_something_else(folder: Path) -> None:
    (folder / NAME).unlink()
    with closing(sqlite3.connect(folder / NAME)) as connection, connection:
        connection.execute("CREATE TABLE digests (treasure)")
        connection.execute("INSERT INTO digests VALUES ('gold')")
    with opened(folder) as (store, said):
        assert store.get(KEY, 0) == {}
        store.add(KEY, 0, DIGESTS)
    assert len(said) == 1
    assert works(folder)
    with closing(sqlite3.connect(folder / ASIDE)) as connection:
        assert connection.execute("SELECT * FROM digests").fetchall() == [("gold",)]


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE digests", "ALTER TABLE digests RENAME key TO k", "PRAGMA user_version = 2"],
)
def test_one_of_another_version(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / NAME)) as connection, connection:
        connection.execute(statement)
    with opened(folder) as (store, said):
        assert store.get(KEY, 0) == {}
        store.add(KEY, 0, DIGESTS)
    assert len(said) == 1
    assert works(folder)


def test_left_by_one_that_was_killed(folder: Path) -> None:
    # In the midst of writing: its journal tells how it was before.
    script = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("PRAGMA synchronous = OFF")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE digests SET digests = zeroblob(100000)")
for number in range(200):
    connection.execute("INSERT INTO digests VALUES (?, 0, 0, zeroblob(9000), x'')", (number,))
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, str(folder / NAME)], check=True, timeout=60)
    assert (folder / (NAME + "-journal")).stat().st_size > 0
    with opened(folder) as (store, said):
        assert store.get(KEY, 0) == DIGESTS
    assert said == []


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_locked(folder: Path, monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as other:
        other.execute(f"BEGIN {lock}")
        with opened(folder) as (store, said):
            started, now = time.perf_counter(), time.monotonic()
            monkeypatch.setattr(time, "monotonic", lambda: now)
            for number in range(2000):
                assert store.get(KEY, 0) in ({}, DIGESTS)
                store.add(b"%d" % number, 0, {0: b"d" * 32})
            assert time.perf_counter() - started < 60  # it does not wait for each
            assert len(said) == 1
            assert "locked" in said[0]
            other.execute("COMMIT")
            # It is tried again after a while.
            later = now + store_module.PAUSE_SECONDS
            monkeypatch.setattr(time, "monotonic", lambda: later)
            assert store.get(KEY, 0) == DIGESTS
            store.add(OTHER, 2, {2048: b"d" * 32})
    with opened(folder) as (store, said):
        assert store.get(OTHER, 2) == {2048: b"d" * 32}
        assert store.get(OTHER, 1) == TO_ANOTHER
    assert said == []
    assert not (folder / ASIDE).exists()


def test_removed_while_it_is_open(folder: Path) -> None:
    with opened(folder) as (store, said):
        assert store.get(KEY, 0) == DIGESTS
        (folder / NAME).unlink()
        assert store.get(KEY, 0) == {}
        store.add(KEY, 0, DIGESTS)
    assert said == []
    with opened(folder) as (store, _):
        assert store.get(KEY, 0) == DIGESTS


def test_begun_anew_by_another(folder: Path) -> None:
    with opened(folder) as (one, one_said), opened(folder) as (two, two_said):
        for store in (one, two):
            assert store.get(KEY, 0) == DIGESTS
        with open(folder / NAME, "r+b") as file:
            file.write(b"g" * 20_000)
        for store in (one, two):
            store.add(KEY, 0, DIGESTS)
            store.get(b"any", 0)
    # The first of them begins it anew, and the other goes along.
    assert (len(one_said), len(two_said)) == (1, 0)
    with opened(folder) as (store, _):
        assert store.get(KEY, 0) == DIGESTS


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with opened(tmp_path / "file/folder") as (store, said):
        assert store.get(KEY, 0) == {}
        store.add(KEY, 0, DIGESTS)
        assert store.get(KEY, 0) == {}
    assert len(said) == 1


def test_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with opened(tmp_path) as (store, said):
        store.add(KEY, 0, DIGESTS)
        assert store.get(KEY, 0) == {}
    assert len(said) == 1
    assert (tmp_path / NAME).is_dir()


SCRIPT = """
import os, resource, sys
from tcpdl.content.store import Store
folder, how = sys.argv[1:]
store = Store(folder, lambda sentence: print(type(sentence).__name__))
if how == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
else:
    os.chmod(folder, 0o555)
    os.chmod(folder + "/digests.sqlite", 0 if how == "unreadable" else 0o444)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
print(len(store.get(bytes(range(82)), 0)))
for number in range(3000):
    store.add(b"%d" % number, 0, {0: b"d" * 32})
store.close()
"""


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        ("full", ["3", "str"]),
        ("read-only", ["3", "str"]),
        ("unreadable", ["str", "0"]),
    ],
)
def test_file_that_cannot_be_written(folder: Path, how: str, lines: list[str]) -> None:
    # Not below tmp_path, through which another user may not pass.
    with TemporaryDirectory() as base:
        os.chmod(base, 0o755)
        moved = Path(base) / "kept"
        shutil.copytree(folder, moved)
        command = [sys.executable, "-c", SCRIPT, str(moved), how]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        finally:
            moved.chmod(0o700)
            (moved / NAME).chmod(0o600)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.splitlines() == lines
        with opened(moved) as (store, said):
            assert store.get(KEY, 0) == DIGESTS
        assert said == []
        assert works(moved)


def test_empty_disk_that_is_full(tmp_path: Path) -> None:
    script = SCRIPT.replace("5000, 5000", "0, 0")
    command = [sys.executable, "-c", script, str(tmp_path / "kept"), "full"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["str", "0"]
    assert works(tmp_path / "kept")


def test_symbols_in_the_path(tmp_path: Path) -> None:
    for name in ("a?mode=memory", "file:a#b", "ü %20", ":memory:"):
        assert works(tmp_path / name)
        assert (tmp_path / name / NAME).exists()


def test_what_cannot_be_made_is_told_at_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with opened(tmp_path / "file" / "kept") as (store, said):
        store.begin()
        (sentence,) = said
        assert sentence.startswith(f"digests are not kept in {tmp_path}/file/kept/{NAME} for now: ")
    with opened(tmp_path / "kept") as (store, said):
        store.begin()
        assert said == []
    assert (tmp_path / "kept" / NAME).exists()
