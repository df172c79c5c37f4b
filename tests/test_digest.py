"""Tests `digest`: what is hashed, how files are cut into chunks, and roots, against hashlib."""

from __future__ import annotations

import hashlib
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl import digest
from tcpdl.wire.native import BLAKE3, CHUNK_SHIFTS, MAX_SIZE, SHA256

MIB = 1 << 20
GIB = 1 << 30

needs_blake3 = pytest.mark.skipif(not digest.AVAILABLE & BLAKE3, reason="blake3 is not installed")
ALGORITHMS = [SHA256, pytest.param(BLAKE3, marks=needs_blake3)]


class Kept:
    """A hash object whose digest is the bytes that it was given."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def update(self, data: bytes | memoryview) -> None:
        self._data += data

    def digest(self) -> bytes:
        return self._data


@pytest.fixture
def without_blake3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_blake3", None)
    monkeypatch.setattr(digest, "AVAILABLE", SHA256)


@pytest.fixture
def with_blake3(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in, whether or not the real one is there."""
    monkeypatch.setattr(digest, "_blake3", Kept)
    monkeypatch.setattr(digest, "AVAILABLE", SHA256 | BLAKE3)


CONTENT = bytes(range(251)) * 13_000  # no two pieces of it are alike, and it is longer than three


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    assert len(CONTENT) > 3 * digest.PIECE
    (tmp_path / "file").write_bytes(CONTENT)
    opened = os.open(tmp_path / "file", os.O_RDONLY)
    yield opened
    os.close(opened)


def loaded(monkeypatch: pytest.MonkeyPatch, blake3: Any) -> dict[str, Any]:
    """What a fresh import makes of the module, where `import blake3` gives that."""
    monkeypatch.setitem(sys.modules, "blake3", blake3)
    assert digest.__file__ is not None
    return runpy.run_path(digest.__file__)


def test_blake3_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(monkeypatch, None)
    assert module["AVAILABLE"] == SHA256 == 1
    assert module["digest"](SHA256, b"abc") == hashlib.sha256(b"abc").digest()
    with pytest.raises(LookupError):
        module["hasher"](BLAKE3)


def test_blake3_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(monkeypatch, SimpleNamespace(blake3=Kept))
    assert module["AVAILABLE"] == SHA256 | BLAKE3 == 3
    assert module["hasher"](BLAKE3) is Kept


def test_known_sha256() -> None:
    # FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest.digest(SHA256, b"abc").hex() == expected


@needs_blake3
def test_known_blake3() -> None:
    # The first of the test vectors of the BLAKE3 team, and "abc" as b3sum has it.
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    abc = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    assert digest.digest(BLAKE3, b"").hex() == empty
    assert digest.digest(BLAKE3, b"abc").hex() == abc


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_length(algorithm: int) -> None:
    assert len(digest.digest(algorithm, b"")) == 32


@pytest.mark.parametrize("algorithm", [0, 3, 4, 255, -1])
@pytest.mark.usefixtures("with_blake3")
def test_unknown_digest(algorithm: int) -> None:
    with pytest.raises(LookupError, match=f"digest {algorithm} "):
        digest.hasher(algorithm)


@pytest.mark.usefixtures("without_blake3")
def test_without_blake3() -> None:
    assert digest.hasher(SHA256) is hashlib.sha256
    assert digest.digest(SHA256, b"abc") == hashlib.sha256(b"abc").digest()
    for use in (digest.hasher, lambda algorithm: digest.digest(algorithm, b"")):
        with pytest.raises(LookupError, match="digest 2 "):
            use(BLAKE3)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(0, 0), (1, 1), (2, 2), (3, 2), (4, 0), (5, 1), (6, 2), (0xFC, 0), (0xFD, 1), (0xFF, 2)],
)
@pytest.mark.usefixtures("with_blake3")
def test_choice(offered: int, chosen: int) -> None:
    assert digest.choose(offered) == chosen


@pytest.mark.parametrize(
    ("offered", "chosen"), [(0, 0), (1, 1), (2, 0), (3, 1), (0xFE, 0), (0xFF, 1)]
)
@pytest.mark.usefixtures("without_blake3")
def test_choice_without_blake3(offered: int, chosen: int) -> None:
    assert digest.choose(offered) == chosen


@given(st.integers(0, 255))
def test_choice_can_be_computed(offered: int) -> None:
    chosen = digest.choose(offered)
    assert chosen in (0, SHA256, BLAKE3)
    assert chosen & offered & digest.AVAILABLE == chosen
    if chosen:
        digest.hasher(chosen)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("offset", "count"),
    [
        (0, 0),
        (0, 1),
        (0, len(CONTENT)),
        (1, digest.PIECE - 1),
        (1, digest.PIECE),
        (1, digest.PIECE + 1),
        (100, 3 * digest.PIECE),
        (len(CONTENT) - 1, 1),
        (len(CONTENT), 0),
        (len(CONTENT) + 100, 0),  # nothing is asked for, so nothing is missing
    ],
)
def test_range(fd: int, algorithm: int, offset: int, count: int) -> None:
    expected = digest.digest(algorithm, CONTENT[offset : offset + count])
    assert digest.digest_of_range(algorithm, fd, offset, count) == expected
    assert os.lseek(fd, 0, os.SEEK_CUR) == 0  # others read from the same descriptor


def test_range_by_hashlib(fd: int) -> None:
    expected = hashlib.sha256(CONTENT[5:700_000]).digest()
    assert digest.digest_of_range(SHA256, fd, 5, 699_995) == expected


@pytest.mark.parametrize(
    ("offset", "count", "ends"),
    [
        (0, len(CONTENT) + 1, len(CONTENT)),
        (len(CONTENT), 1, len(CONTENT)),
        (len(CONTENT) - 1, 2, len(CONTENT)),
        (len(CONTENT) + 5, 1, len(CONTENT) + 5),
        (0, 4 * len(CONTENT), len(CONTENT)),
    ],
)
def test_file_that_ended(fd: int, offset: int, count: int, ends: int) -> None:
    with pytest.raises(digest.FileEnded, match=f"at {ends}, not at {offset + count}"):
        digest.digest_of_range(SHA256, fd, offset, count)


def test_reads_that_bring_less(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    whole = os.preadv

    def some(fd: int, buffers: list[memoryview], offset: int) -> int:
        asked.append(len(buffers[0]))
        return whole(fd, [buffers[0][:1000]], offset)

    monkeypatch.setattr(os, "preadv", some)
    found = digest.digest_of_range(SHA256, fd, 3, 5500)
    assert found == hashlib.sha256(CONTENT[3:5503]).digest()
    assert asked == [5500, 4500, 3500, 2500, 1500, 500]  # never beyond what is to be hashed


def test_pieces(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    whole = os.preadv

    def noted(fd: int, buffers: list[memoryview], offset: int) -> int:
        asked.append(len(buffers[0]))
        return whole(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", noted)
    digest.digest_of_range(SHA256, fd, 0, 2 * digest.PIECE + 1)
    assert asked == [digest.PIECE, digest.PIECE, 1]


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            digest.digest_of_range(SHA256, folder, 0, 1)
    finally:
        os.close(folder)


@pytest.mark.parametrize(
    ("size", "shift"),
    [
        (0, 20),
        (1, 20),
        (128 * MIB, 20),
        (128 * MIB + 1, 22),
        (512 * MIB, 22),
        (512 * MIB + 1, 23),
        (64 * GIB, 23),
        (64 * GIB + 1, 24),
        (MAX_SIZE, 24),
    ],
)
def test_chunk_shift(size: int, shift: int) -> None:
    assert digest.chunk_shift(size) == shift
    assert shift in CHUNK_SHIFTS


@pytest.mark.parametrize(
    ("size", "shift", "count"),
    [
        (0, 20, 0),
        (1, 20, 1),
        (MIB - 1, 20, 1),
        (MIB, 20, 1),
        (MIB + 1, 20, 2),
        (128 * MIB, 20, 128),
        (4 * GIB, 22, 1024),
        (4 * GIB + 1, 23, 513),
        (MAX_SIZE, 24, 1 << 39),
        (5 * 65536, 16, 5),
    ],
)
def test_chunk_count(size: int, shift: int, count: int) -> None:
    assert digest.chunk_count(size, shift) == count


@given(st.integers(0, MAX_SIZE), st.sampled_from(CHUNK_SHIFTS))
def test_chunks_cover_the_file(size: int, shift: int) -> None:
    count = digest.chunk_count(size, shift)
    assert count << shift >= size
    assert count == 0 or (count - 1) << shift < size


def test_root() -> None:
    """Twelve bytes that no chunk's digest begins with, the size, the shift, all the digests."""
    for size, digests in [(0, []), (6, [b"hello\n"]), (MIB + 1, [b"a" * MIB, b"a"])]:
        hashed = [hashlib.sha256(data).digest() for data in digests]
        whole = b"tcpdl root 1" + size.to_bytes(8, "big") + b"\x14" + b"".join(hashed)
        expected = hashlib.sha256(whole).digest()
        assert digest.root(SHA256, size, 20, hashed) == expected
        assert digest.root(SHA256, size, 20, iter(hashed)) == expected


def test_known_root() -> None:
    """Of the empty file, and of hello LF: what `printf ... | sha256sum` says."""
    hello = bytes.fromhex("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
    assert digest.root(SHA256, 0, 20, []).hex() == (
        "24af16a7fd4432496dae03292313f0ea9293228e63f81437b46c6858143aafc5"
    )
    assert digest.root(SHA256, 6, 20, [hello]).hex() == (
        "71247ab90620416bf1111f7d32c03bece2335318f93b2671dcbf244727892eeb"
    )


@given(
    st.integers(0, MAX_SIZE),
    st.sampled_from(CHUNK_SHIFTS),
    st.lists(st.binary(min_size=32, max_size=32), max_size=3),
)
def test_root_depends_on_all_of_it(size: int, shift: int, digests: list[bytes]) -> None:
    found = digest.root(SHA256, size, shift, digests)
    assert len(found) == 32
    assert found != digest.root(SHA256, size ^ 1, shift, digests)
    assert found != digest.root(SHA256, size, shift ^ 1, digests)
    assert found != digest.root(SHA256, size, shift, [*digests, bytes(32)])
    if len(set(digests)) > 1:
        assert found != digest.root(SHA256, size, shift, [*digests[1:], digests[0]])


@pytest.mark.usefixtures("with_blake3")
def test_root_with_another_digest() -> None:
    found = digest.root(BLAKE3, 258, 16, [b"one", b"two"])
    assert found == b"tcpdl root 1\0\0\0\0\0\0\1\2\x10onetwo"
