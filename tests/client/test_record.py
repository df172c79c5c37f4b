"""Tests `client.record`: what is read of a record, however it was left, and what is not."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tcpdl.client.record import Record, Version

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")

in_one_file = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

MAX_SIZE = (1 << 63) - 1
TAG = bytes(range(0xA0, 0xB0))
VERSION = Version(5 << 20, 20, 1, TAG)
HEAD = b"tcpdl record 1\n" + bytes.fromhex("0000000000500000 14 01") + TAG
FIRST, SECOND = b"d" * 32, b"e" * 32


def entry(index: int, digest: bytes) -> bytes:
    return struct.pack("!Q", index) + digest


def head(size: int, shift: int, algorithm: int, tag: bytes) -> bytes:
    return b"tcpdl record 1\n" + struct.pack("!QBB", size, shift, algorithm) + tag


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record"


def opened(path: Path) -> Record:
    return Record(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC))


def found(path: Path) -> tuple[Version | None, dict[int, bytes]]:
    """What a record says that holds what is at `path`."""
    record = opened(path)
    record.close()
    return record.version, record.digests


def test_new_record(path: Path) -> None:
    record = opened(path)
    assert (record.version, record.digests) == (None, {})
    record.begin(VERSION)
    record.add(3, FIRST)
    record.add(0, SECOND)
    assert (record.version, record.digests) == (VERSION, {3: FIRST, 0: SECOND})
    record.close()
    assert path.read_bytes() == HEAD + entry(3, FIRST) + entry(0, SECOND)
    assert found(path) == (VERSION, {3: FIRST, 0: SECOND})


def test_nothing_is_written_unless_it_is_begun(path: Path) -> None:
    assert found(path) == (None, {})
    assert path.read_bytes() == b""


def test_goes_on_where_it_ended(path: Path) -> None:
    path.write_bytes(HEAD + entry(3, FIRST))
    record = opened(path)
    record.add(4, SECOND)
    record.add(3, SECOND)  # the last one counts
    record.close()
    assert path.read_bytes() == HEAD + entry(3, FIRST) + entry(4, SECOND) + entry(3, SECOND)
    assert found(path) == (VERSION, {3: SECOND, 4: SECOND})


@pytest.mark.parametrize("torn", range(1, 40))
def test_torn_last_entry(path: Path, torn: int) -> None:
    path.write_bytes(HEAD + entry(3, FIRST) + entry(4, SECOND)[:torn])
    record = opened(path)
    assert (record.version, record.digests) == (VERSION, {3: FIRST})
    record.add(5, SECOND)  # in its place
    record.close()
    assert path.read_bytes() == HEAD + entry(3, FIRST) + entry(5, SECOND)


@pytest.mark.parametrize("torn", range(len(HEAD)))
def test_torn_head(path: Path, torn: int) -> None:
    path.write_bytes(HEAD[:torn])
    record = opened(path)
    assert (record.version, record.digests) == (None, {})
    record.begin(VERSION)
    record.close()
    assert path.read_bytes() == HEAD


def test_begun_anew(path: Path) -> None:
    path.write_bytes(HEAD + entry(3, FIRST) * 100)
    other = Version(1 << 40, 24, 2, TAG)
    record = opened(path)
    record.begin(other)
    assert (record.version, record.digests) == (other, {})
    record.add(1, SECOND)
    record.close()
    assert found(path) == (other, {1: SECOND})
    assert path.stat().st_size == len(HEAD) + 40


GARBAGE: list[bytes] = [
    *(b"\n", b"\0" * 200, b"\xff" * 200, b"hello.txt\n", b"x" + HEAD, HEAD[1:], HEAD.upper()),
    *(HEAD.replace(b"record 1", b"record 2"), HEAD.replace(b"\n", b"\r\n"), HEAD[:15] * 5),
    *(head(MAX_SIZE + 1, 24, 1, TAG), head((1 << 64) - 1, 24, 1, TAG)),
    *(head(1, shift, 1, TAG) for shift in (0, 1, 15, 25, 64, 255)),
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage + entry(3, FIRST))
    record = opened(path)
    assert (record.version, record.digests) == (None, {})
    record.close()
    assert path.read_bytes() == garbage + entry(3, FIRST)  # it may be something else's
    record = opened(path)
    record.begin(VERSION)
    record.add(2, SECOND)
    record.close()
    assert found(path) == (VERSION, {2: SECOND})


JSON: list[bytes] = [
    *(b"null", b"[]", b"{}", b'{"tcpdl": 1}', b'"tcpdl record 1\\n"', b"[" * 600, b"9" * 600),
    b'{"tcpdl": 1, "size": 5242880, "shift": 20, "algorithm": 1, "tag": "' + b"a0" * 16 + b'"}\n',
    b'{"size": 1e400, "shift": -20, "tag": NaN}' + b" " * 500 + b"\n",
    b'["tcpdl record 1\n", 5242880, 20, 1, "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"]',
]


@pytest.mark.parametrize("foreign", JSON)
def test_foreign_json(path: Path, foreign: bytes) -> None:
    path.write_bytes(foreign)
    assert found(path) == (None, {})
    assert path.read_bytes() == foreign


@pytest.mark.parametrize("size", [0, 1, MAX_SIZE])
@pytest.mark.parametrize("shift", [16, 24])
@pytest.mark.parametrize("algorithm", [0, 255])
def test_largest_numbers(path: Path, size: int, shift: int, algorithm: int) -> None:
    digests = {(1 << 64) - 1: FIRST, 0: SECOND}
    entries = b"".join(entry(*one) for one in digests.items())
    path.write_bytes(head(size, shift, algorithm, b"\xff" * 16) + entries)
    assert found(path) == (Version(size, shift, algorithm, b"\xff" * 16), digests)


@in_one_file
@given(
    st.builds(
        Version,
        *(st.integers(0, MAX_SIZE), st.integers(16, 24), st.integers(1, 2)),
        st.binary(min_size=16, max_size=16),
    ),
    st.lists(st.tuples(st.integers(0, (1 << 64) - 1), st.binary(min_size=32, max_size=32))),
    st.integers(0, 80),
)
@example(VERSION, [(0x0A0A0A0A0A0A0A0A, b"\n" * 32)] * 3, 1)  # nothing but ends of lines
def test_killed_at_any_time(
    path: Path, version: Version, added: list[tuple[int, bytes]], lost: int
) -> None:
    path.unlink(missing_ok=True)
    record = opened(path)
    record.begin(version)
    begun = path.stat().st_size
    for index, digest in added:
        record.add(index, digest)
    assert record.digests == dict(added)
    record.close()
    assert found(path) == (version, dict(added))
    # As far as it goes, it is right.
    whole = path.read_bytes()
    kept = max(begun, len(whole) - lost)
    path.write_bytes(whole[:kept])
    assert found(path) == (version, dict(added[: (kept - begun) // 40]))


@in_one_file
@given(st.binary(max_size=100), st.booleans())
@example(b"", True)
def test_arbitrary_bytes(path: Path, content: bytes, after_a_head: bool) -> None:
    path.write_bytes(HEAD * after_a_head + content)
    version, digests = found(path)
    assert version == (VERSION if after_a_head else None)
    assert len(digests) <= len(content) // 40
    assert all(len(digest) == 32 for digest in digests.values())
    assert path.read_bytes() == HEAD * after_a_head + content


@in_one_file
@given(
    *(st.integers(0, (1 << 64) - 1), st.integers(0, 255), st.integers(0, 255)),
    st.binary(min_size=16, max_size=16),
)
def test_arbitrary_head(path: Path, size: int, shift: int, algorithm: int, tag: bytes) -> None:
    path.write_bytes(head(size, shift, algorithm, tag) + entry(3, FIRST))
    if size <= MAX_SIZE and 16 <= shift <= 24:
        assert found(path) == (Version(size, shift, algorithm, tag), {3: FIRST})
    else:
        assert found(path) == (None, {})


def test_disk_that_fails(path: Path) -> None:
    path.write_bytes(HEAD)
    record = opened(path)
    record.close()
    with pytest.raises(OSError, match="descriptor"):
        record.add(1, FIRST)
    with pytest.raises(OSError, match="descriptor"):
        record.begin(VERSION)
