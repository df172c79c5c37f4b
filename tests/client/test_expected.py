"""Tests `client.expected`: digests of whole files, as they are written and compared."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tcpdl import digest
from tcpdl.client.errors import BadRequest, CannotWrite, Damaged
from tcpdl.client.expected import Check, Expected, check_file, parse_expected

HASHERS: dict[str, Any] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512, "blake3": blake3}
DATA = bytes(range(256)) * 10_000


def of(algorithm: str, data: bytes) -> Expected:
    return Expected(algorithm, HASHERS[algorithm](data).digest())


@pytest.mark.parametrize("algorithm", HASHERS)
def test_written(algorithm: str) -> None:
    wanted = of(algorithm, b"x")
    assert parse_expected(f"{algorithm}:{wanted.digest.hex()}") == wanted
    assert parse_expected(f"{algorithm}:{wanted.digest.hex().upper()}") == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("", "sha256", "sha256:", "sha256:" + "a" * 63, "sha256:" + "a" * 65, "a" * 64),
        *("md5:" + "a" * 32, "SHA256:" + "a" * 64, "sha512:" + "a" * 64, "blake3:" + "a" * 128),
        *("sha256:" + "g" * 64, "sha256:" + "a" * 63 + "\u0661", "sha256: " + "a" * 63),
        *("sha256:" + "a" * 64 + "\n", "\x1b[2J" * 100),
    ],
)
def test_no_digest(text: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse_expected(text)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


def test_without_blake3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "AVAILABLE", 1)
    with pytest.raises(BadRequest, match="give the file's sha256"):
        parse_expected("blake3:" + "a" * 64)


@pytest.mark.parametrize("algorithm", HASHERS)
def test_check(algorithm: str) -> None:
    right, wrong = of(algorithm, DATA), of(algorithm, b"")
    for expected, damaged in (((right,), False), ((wrong,), True), ((right, wrong), True)):
        check = Check(expected)
        assert check
        check.update(DATA[:1000])
        check.update(memoryview(DATA)[1000:])
        if damaged:
            with pytest.raises(Damaged, match=right.digest.hex()):
                check.finish()
        else:
            check.finish()


def test_nothing_to_check() -> None:
    check = Check(())
    assert not check
    check.update(DATA)
    check.finish()


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA + b"more")
    with path.open("rb") as file:
        expected = [of(algorithm, DATA) for algorithm in HASHERS]
        check_file(file.fileno(), len(DATA), expected)
        with pytest.raises(Damaged):
            check_file(file.fileno(), len(DATA) + 1, expected)
        with pytest.raises(CannotWrite):
            check_file(file.fileno(), len(DATA) + 5, expected)
        check_file(file.fileno(), len(DATA) + 5, [])
