"""Tests `client.http.representation`: which part of which version an answer brings."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.client.expected import Expected
from tcpdl.client.http.representation import (
    Answer,
    BadRange,
    parse_date,
    parse_digests,
    read_answer,
)
from tcpdl.client.http.response import Nonsense, parse_head
from tests.client.http.web_server import MODIFIED, NOW

DATE = f"Date: {NOW}"
LATER = f"Last-Modified: {MODIFIED}"


def read(line: str, *fields: str, asked: tuple[int, int] | None = None) -> Answer:
    text = "\r\n".join([f"HTTP/1.1 {line}", *fields])
    return read_answer(parse_head(text.encode("latin-1")), asked)


def part(content_range: str, length: object, *fields: str, end: int = 20) -> Answer:
    return read(
        "206 Partial Content",
        f"Content-Range: {content_range}",
        f"Content-Length: {length}",
        'ETag: "a"',
        *fields,
        asked=(10, end),
    )


def test_whole() -> None:
    answer = read("200 OK", "Content-Length: 7", asked=(10, 20))
    assert (answer.start, answer.end, answer.representation.size) == (0, 7, 7)
    assert answer.is_whole


def test_whole_of_unknown_size() -> None:
    assert read("200 OK").end is None
    assert read("200 OK", "Transfer-Encoding: chunked").end is None


def test_part() -> None:
    answer = part("bytes 10-19/100", 10)
    assert (answer.start, answer.end, answer.representation.size) == (10, 20, 100)
    assert answer.representation.ranges
    assert not answer.is_whole
    assert part("bytes 10-15/16", 6).end == 16  # all there is of what was asked for


@pytest.mark.parametrize(
    ("content_range", "length"),
    [
        ("bytes 11-20/100", 10),
        ("bytes 9-19/100", 11),
        ("bytes 0-9/100", 10),
        ("bytes 10-18/100", 9),
        ("bytes 10-20/100", 11),
        ("bytes 10-19/100", 9),
        ("bytes 10-19/100", 11),
        ("bytes 10-19/*", 10),
        ("bytes */100", 10),
        ("bytes 10-19/19", 10),
        ("bytes 19-10/100", 10),
        ("bytes=10-19/100", 10),
        ("lines 10-19/100", 10),
        ("bytes 10-19/100, bytes 10-19/100", 10),
        ("bytes +10-19/100", 10),
        ("bytes 10-19/99999999999999999999", 10),
        ("", 10),
    ],
)
def test_wrong_part(content_range: str, length: int) -> None:
    with pytest.raises(BadRange):
        part(content_range, length)


def test_several_parts() -> None:
    with pytest.raises(BadRange):
        part("bytes 10-19/100", 10, "Content-Type: multipart/byteranges; boundary=x")


def test_part_that_was_not_asked_for() -> None:
    with pytest.raises(BadRange):
        read("206 Partial Content", "Content-Range: bytes 0-9/10", "Content-Length: 10")


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP, identity", "\x1b"])
@pytest.mark.parametrize("status", ["200 OK", "206 Partial Content"])
def test_content_coding(status: str, coding: str) -> None:
    fields = [f"Content-Encoding: {coding}", "Content-Range: bytes 0-9/10", "Content-Length: 10"]
    with pytest.raises(Nonsense) as raised:
        read(status, *fields, asked=(0, 10))
    assert str(raised.value).isprintable()


STORED = [
    *(("gzip", b"a.tar.gz"), ("x-gzip", b"a.TGZ"), ("GZip", b"a.svgz"), ("zstd", b"a.zst")),
    *(("br", b"a.js.br"), ("bzip2", b"a.bz2"), ("x-bzip2", b"a.tbz2"), ("xz", b"a.txz")),
    *(("compress", b"a.Z"), ("x-compress", b"a.z")),
]


@pytest.mark.parametrize(("coding", "name"), STORED)
def test_coding_that_the_file_is_stored_in(coding: str, name: bytes) -> None:
    """Many servers name it though nothing was coded for us."""
    head = parse_head(f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}".encode())
    answer = read_answer(head, None, b"latest", name)
    assert answer.representation.coding == coding.lower()
    with pytest.raises(Nonsense):
        read_answer(head, None, name + b"x", name.partition(b".")[0])
    plain = read_answer(head._replace(fields={}), None, name)
    assert not answer.representation.is_same(plain.representation, partial=False)


@pytest.mark.parametrize("coding", ["gzip, gzip", "deflate", "zstd", "x-x-gzip", "", "identity"])
def test_coding_of_another_name(coding: str) -> None:
    head = parse_head(f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}".encode())
    if coding in ("", "identity"):
        assert read_answer(head, None, b"a.gz").representation.coding == ""
    else:
        with pytest.raises(Nonsense):
            read_answer(head, None, b"a.gz")


def test_identity_is_no_coding() -> None:
    assert read("200 OK", "Content-Encoding: Identity", "Content-Length: 1").end == 1


@pytest.mark.parametrize(
    ("fields", "validator"),
    [
        (['ETag: "a"'], '"a"'),
        (['ETag: "a"', LATER, DATE], '"a"'),
        (['ETag: ""'], '""'),
        (['ETag: "\xff"'], '"\xff"'),
        (['ETag: W/"a"'], ""),
        (['ETag: W/"a"', LATER, DATE], ""),  # it says that it is not one and the same
        (["ETag: a"], ""),
        (['ETag: "a" "b"'], ""),
        (['ETag: "a"', 'ETag: "b"'], ""),
        ([LATER, DATE], MODIFIED),
        ([LATER], ""),
        ([f"Last-Modified: {NOW}", DATE], ""),  # it may change again in the same second
        ([f"Last-Modified: {NOW}", f"Date: {MODIFIED}"], ""),
        (["Last-Modified: yesterday", DATE], ""),
        ([], ""),
    ],
)
def test_validator(fields: list[str], validator: str) -> None:
    answer = read("200 OK", "Content-Length: 1", "Accept-Ranges: bytes", *fields)
    assert answer.representation.validator == validator
    assert answer.representation.ranges == bool(validator)


@pytest.mark.parametrize("accept", ["", "Accept-Ranges: none", "Accept-Ranges: lines"])
def test_no_ranges(accept: str) -> None:
    fields = ["Content-Length: 1", 'ETag: "a"', *([accept] if accept else [])]
    assert not read("200 OK", *fields).representation.ranges


def test_modified() -> None:
    answer = read("200 OK", "Content-Length: 1", LATER)
    assert answer.representation.mtime_ns == 1_600_000_000 * 10**9
    assert read("200 OK", "Last-Modified: x").representation.mtime_ns == 0
    before = "Last-Modified: Sun, 06 Nov 1960 08:49:37 GMT"
    assert read("200 OK", before).representation.mtime_ns == 0


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
def test_dates(when: datetime) -> None:
    when = when.replace(microsecond=0, tzinfo=timezone.utc)
    assert parse_date(format_datetime(when, usegmt=True)) == int(when.timestamp())


@pytest.mark.parametrize(
    "text",
    [
        *("", "Sun, 32 Sep 2020 12:26:40 GMT", "Sun, 13 Foo 2020 12:26:40 GMT"),
        *("Sun, 13 Sep 2020 12:26:40 UTC", "Sun, 13 Sep 2020 24:26:40 GMT"),
        *("Sun, 13 Sep 0000 12:26:40 GMT", "Sun, 1\u0663 Sep 2020 12:26:40 GMT"),
    ],
)
def test_no_date(text: str) -> None:
    assert parse_date(text) is None


SHA256, SHA512 = hashlib.sha256(b"x").digest(), hashlib.sha512(b"x").digest()


def coded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def test_digests() -> None:
    value = f"md5=:{coded(b'x' * 16)}:, sha-512=:{coded(SHA512)}:,sha-256=:{coded(SHA256)}:"
    found = parse_digests(value)
    assert set(found) == {Expected("sha256", SHA256), Expected("sha512", SHA512)}


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"sha-256={coded(SHA256)}",
        f"sha-256=:{coded(SHA512)}:",
        f"sha-512=:{coded(SHA256)}:",
        f"sha-256=:{coded(SHA256[:-1])}:",
        f"SHA-256=:{coded(SHA256)}:",
        f"sha-256=:{coded(SHA256)}:;",
        "sha-256=:" + "=" * 44 + ":",
    ],
)
def test_what_is_no_digest_is_left(value: str) -> None:
    assert parse_digests(value) == ()


@given(st.text(st.characters(max_codepoint=255)))
def test_any_text_is_digests(value: str) -> None:
    parse_digests(value)
    parse_digests(f"sha-256=:{value}:")


@pytest.mark.parametrize(
    ("fields", "same", "of_a_part"),
    [
        (["Content-Length: 9", 'ETag: "a"', LATER, DATE], True, True),
        (["Content-Length: 9", 'ETag: "a"'], True, True),
        (["Content-Length: 8", 'ETag: "a"', LATER], False, False),
        (["Content-Length: 9", 'ETag: "b"', LATER], False, False),
        (["Content-Length: 9", 'ETag: W/"a"', LATER], False, False),
        (["Content-Length: 9", LATER, DATE], False, False),
    ],
)
def test_same_by_tag(fields: list[str], same: bool, of_a_part: bool) -> None:
    first = read("200 OK", "Content-Length: 9", 'ETag: "a"', LATER).representation
    other = read("200 OK", *fields).representation
    assert first.is_same(other, partial=False) == same
    assert first.is_same(other, partial=True) == of_a_part


@pytest.mark.parametrize(
    ("fields", "same", "of_a_part"),
    [
        ([LATER], True, True),
        ([], False, True),  # an answer to If-Range need not repeat it
        ([f"Last-Modified: {NOW}"], False, False),
        ([LATER, 'ETag: "a"'], False, False),
    ],
)
def test_same_by_date(fields: list[str], same: bool, of_a_part: bool) -> None:
    first = read("200 OK", "Content-Length: 9", LATER, DATE).representation
    other = read("200 OK", "Content-Length: 9", *fields).representation
    assert first.is_same(other, partial=False) == same
    assert first.is_same(other, partial=True) == of_a_part


def test_same_by_digest() -> None:
    def digest(value: bytes) -> str:
        return f"Repr-Digest: sha-256=:{coded(value)}:"

    first = read("200 OK", 'ETag: "a"', digest(SHA256)).representation
    assert first.is_same(read("200 OK", 'ETag: "a"').representation, partial=False)
    other = read("200 OK", 'ETag: "a"', digest(bytes(32))).representation
    assert not first.is_same(other, partial=False)
