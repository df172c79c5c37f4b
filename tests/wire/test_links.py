"""Tests `wire.links`: a link opens its place and all below, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.wire import links
from tcpdl.wire.links import Link, for_log, parse, reach, sign, split, without_signature
from tcpdl.wire.text import printable

KEY = bytes(range(32))
OTHER = bytes(32)
NOTES = (b"notes", b"2024")

SEGMENTS = st.lists(st.binary(min_size=1, max_size=4), max_size=5).map(tuple)
UNTIL = st.integers(1, 10**12 - 1)


def test_what_is_signed() -> None:
    # As PROTOCOL.md has it, byte for byte.
    said = b"tcpdl link 1\0" + bytes.fromhex("0000000065932f25") + b"\0\5notes\0\0042024"
    link = sign(KEY, NOTES, 0x65932F25)
    assert link.signature == hmac.new(KEY, said, hashlib.sha256).digest()
    assert link.query == "until=1704144677&signed=UeBQL3lsEfU9Pq11Phnrqvr-qWoIyUrlfYte7QAZGuk"


def test_reach() -> None:
    link = sign(KEY, NOTES, 99)
    assert reach([KEY], NOTES, link) == NOTES
    assert reach([KEY], (*NOTES, b"a", b"b"), link) == NOTES
    assert reach([OTHER, KEY], NOTES, link) == NOTES
    for elsewhere in ((), (b"notes",), (b"notes", b"2025"), (b"2024", b"notes"), (b"notes2024",)):
        assert reach([KEY], elsewhere, link) is None
    assert reach([OTHER], NOTES, link) is None
    assert reach([], NOTES, link) is None
    assert reach([KEY], NOTES, link._replace(until=100)) is None


def test_a_link_to_all() -> None:
    link = sign(KEY, (), 99)
    assert reach([KEY], (), link) == ()
    assert reach([KEY], NOTES, link) == ()


@given(SEGMENTS, SEGMENTS, UNTIL)
def test_below_and_nowhere_else(place: Any, asked: Any, until: int) -> None:
    link = sign(KEY, place, until)
    below = asked[: len(place)] == place
    assert reach([KEY], asked, link) == (place if below else None)


@given(SEGMENTS, UNTIL, st.integers(0, 255))
def test_any_flipped_bit(place: Any, until: int, bit: int) -> None:
    link = sign(KEY, place, until)
    signature = bytearray(link.signature)
    signature[bit // 8] ^= 1 << bit % 8
    assert reach([KEY], place, link._replace(signature=bytes(signature))) is None


@given(st.binary(max_size=20), SEGMENTS, UNTIL)
def test_split(name: bytes, place: Any, until: int) -> None:
    link = sign(KEY, place, until)
    whole = name + b"?" + link.query.encode()
    assert split(whole) == (name, link)
    assert parse(*[part.partition("=")[2] for part in link.query.split("&")]) == link
    assert split(whole[:-1]) is None
    assert split(whole + b"/") is None


SIGNED = "A" * 43


@pytest.mark.parametrize(
    ("until", "signed"),
    [
        *(("", SIGNED), ("0", SIGNED), ("01", SIGNED), ("-1", SIGNED), ("+1", SIGNED)),
        *((" 1", SIGNED), ("1 ", SIGNED), ("1_0", SIGNED), ("0x1", SIGNED), ("1e3", SIGNED)),
        *(("\N{ARABIC-INDIC DIGIT ONE}", SIGNED), ("1" * 13, SIGNED), ("1\n", SIGNED)),
        *(("1", ""), ("1", SIGNED[1:]), ("1", SIGNED + "A"), ("1", SIGNED[1:] + "=")),
        *(("1", SIGNED[1:] + "+"), ("1", SIGNED[1:] + "/"), ("1", SIGNED[1:] + "\n")),
        ("1", SIGNED[1:] + "B"),  # bits that no byte has
    ],
)
def test_no_link(until: str, signed: str) -> None:
    assert parse("1", SIGNED) == Link(1, bytes(32))
    assert parse(until, signed) is None
    assert split(f"name?until={until}&signed={signed}".encode()) is None


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"name",
            b"name?",
            b"name?until=1",
            b"?until=1&signed",
            b"name&until=1&signed=" + b"A" * 43,
        ),
        b"name?signed=" + b"A" * 43 + b"&until=1",
        b"name?until=1&signed=" + b"A" * 43 + b"\n",
    ],
)
def test_name_without_a_link(name: bytes) -> None:
    assert split(name) is None


def test_a_link_is_not_shown() -> None:
    link = sign(KEY, NOTES, 99)
    assert repr(link) == str(link) == f"{link}" == "Link(until=99)"
    query = link.query.encode()
    for text in (
        b"notes?" + query,
        b"/x?a&" + query + b"&b=c",
        b"/x?" + query.replace(b"=", b"%3D"),
    ):
        shown = without_signature(text)
        assert query[-40:] not in shown
        assert shown.startswith(text[:8])
        assert b"99" in shown
    assert without_signature(b"/x?a&" + query + b"&b=c") == b"/x?a&until=99&signed=...&b=c"
    for text in (b"", b"signed", b"notes/signed.txt", b"resigned=x"):
        assert without_signature(text) == text


@pytest.mark.parametrize("byte", [b"a", b"\0", b"\\", b"\xff", "\u202e".encode(), "文".encode()])
def test_little_of_it_comes_to_the_log(byte: bytes) -> None:
    assert for_log(byte * 10) == printable(byte * 10)
    shown = for_log(byte * 8000)
    assert 505 < len(shown.encode()) <= links.LOGGED_MOST + 3
    assert shown.endswith("...")
    assert for_log(b"a" * 512) == "a" * 512
    assert for_log(b"/x?until=9&signed=" + b"A" * 43) == "/x?until=9&signed=..."


def test_longest() -> None:
    assert links.LONGEST_SECONDS == 366 * 24 * 60 * 60
