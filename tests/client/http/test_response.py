"""Tests `client.http.response`: heads and the framing of bodies, whole, in pieces, and hostile."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.client.http.response import (
    FIELDS_MOST,
    HEAD_MOST,
    LINE_MOST,
    MAX_SIZE,
    TRAILER_MOST,
    Body,
    Head,
    HeadParser,
    Nonsense,
    body_of,
    parse_size,
)
from tests.client.http.web_server import chunked

HEAD = (
    b'HTTP/1.1 206 Partial Content\r\nDate: x\r\nETag:\t"a b" \r\nX-Two: 1\r\nx-two:2\r\n'
    b"Empty:\r\nFolded: a\r\n  b\r\nContent-Length: 5\r\n\r\n"
)


def parse(data: bytes, size: int = 1 << 20) -> tuple[Head | None, bytes]:
    """The head of `data`, given in pieces of `size`, and what is left after it."""
    parser = HeadParser()
    for at in range(0, len(data), size):
        if (head := parser.feed(data[at : at + size])) is not None:
            return head, parser.rest + data[at + size :]
    return None, b""


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("rest", [b"", b"hello", b"\r\n\r\nHTTP/1.1"])
@pytest.mark.parametrize("data", [HEAD, HEAD.replace(b"\r\n", b"\n")])
def test_head(data: bytes, rest: bytes, size: int) -> None:
    head, left = parse(data + rest, size)
    assert left == rest
    assert head is not None
    assert (head.minor, head.status, head.reason) == (1, 206, "Partial Content")
    assert head.field("etag") == '"a b"'
    assert head.field("x-two") == "1, 2"
    assert head.fields["x-two"] == ("1", "2")
    assert head.field("folded") == "a b"
    assert (head.field("empty"), head.field("none")) == ("", "")
    assert body_of(head).left == 5


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_every_beginning_is_no_head(size: int) -> None:
    for end in range(len(HEAD)):
        assert parse(HEAD[:end], size)[0] is None


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.10 200 OK",
        b"HTTP/1.1  200 OK",
        b"http/1.1 200 OK",
        b" HTTP/1.1 200 OK",
        b"ICY 200 OK",
        b"<!DOCTYPE html>",
        b"\0tcpdl",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\nspace : before",
        b"HTTP/1.1 200 OK\r\n: nothing before",
        b"HTTP/1.1 200 OK\r\nA: b\rB: c",
        b"HTTP/1.1 200 OK\r\nA: \0",
        b"HTTP/1.1 200 OK\r\nA\xff: b",
    ],
)
def test_no_head(data: bytes) -> None:
    with pytest.raises(Nonsense):
        parse(data + b"\r\n\r\n")


def test_reason_is_fit_to_be_shown() -> None:
    head, _ = parse(b"HTTP/1.0 404 \x1b[2J\xff" + b"a" * 1000 + b"\r\n\r\n")
    assert head is not None
    assert head.reason.startswith(r"\x1b[2J\xff")
    assert head.reason.isprintable()
    assert len(head.reason) < 200


@pytest.mark.parametrize("line", [b"HTTP/1.1 200", b"HTTP/1.1 200 "])
def test_no_reason(line: bytes) -> None:
    head, _ = parse(line + b"\r\n\r\n")
    assert head is not None
    assert head.reason == ""


def test_endless_head_is_refused() -> None:
    with pytest.raises(Nonsense):
        parse(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * HEAD_MOST, 100)
    start = b"HTTP/1.1 200 OK\r\nA: "
    fits = start + b"b" * (HEAD_MOST - len(start) - 4) + b"\r\n\r\n"
    assert parse(fits)[0] is not None
    with pytest.raises(Nonsense):
        parse(fits.replace(b": ", b": b"))


def test_too_many_fields() -> None:
    assert parse(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * FIELDS_MOST + b"\r\n")[0] is not None
    with pytest.raises(Nonsense):
        parse(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (FIELDS_MOST + 1) + b"\r\n")


@pytest.mark.parametrize("filling", [b" ", b"\r\n ", b"\n\t", b"a ", b"\n"])
def test_no_head_takes_long_to_read(filling: bytes) -> None:
    """What backtracks would take minutes, after which the test is ended."""
    data = b"HTTP/1.1 200 OK\r\nA: b" + filling * (HEAD_MOST // len(filling) // 2) + b"c\r\n\r\n"
    with suppress(Nonsense):
        parse(data)


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_are_a_head_or_nonsense(data: bytes, size: int) -> None:
    try:
        whole = parse(b"HTTP/1.1 200 OK\r\n" + data)
    except Nonsense:
        with pytest.raises(Nonsense):
            parse(b"HTTP/1.1 200 OK\r\n" + data, size)
    else:
        assert parse(b"HTTP/1.1 200 OK\r\n" + data, size) == whole


@pytest.mark.parametrize(
    ("line", "fields", "persists"),
    [
        ("HTTP/1.1", "B: close", True),
        ("HTTP/1.1", "Connection: Close", False),
        ("HTTP/1.1", "Connection: x, close", False),
        ("HTTP/1.0", "B: keep-alive", False),
        ("HTTP/1.0", "Connection: Keep-Alive", True),
        ("HTTP/1.0", "Connection: keep-alive, close", False),
    ],
)
def test_persists(line: str, fields: str, persists: bool) -> None:
    head, _ = parse(f"{line} 200 OK\r\nA: b\r\n{fields}\r\n\r\n".encode())
    assert head is not None
    assert head.persists == persists


def framing(fields: str, line: str = "HTTP/1.1 200 OK") -> Body:
    head, _ = parse(f"{line}\r\n{fields}\r\n".encode())
    assert head is not None
    return body_of(head)


def test_bodies_with_a_length() -> None:
    body = framing("Content-Length: 7\r\n")
    assert (body.length, body.left, body.done, body.ends_with_connection) == (7, 7, False, False)
    body.passed(6)
    assert (body.left, body.done) == (1, False)
    body.passed(1)
    assert (body.left, body.done) == (0, True)
    assert framing("Content-Length: 0\r\n").done
    assert framing("Content-Length: 7, 7\r\n").left == 7
    assert framing("Content-Length: 7\r\nContent-Length: 7\r\n").left == 7
    assert framing(f"Content-Length: {MAX_SIZE}\r\n").left == MAX_SIZE
    assert framing("", "HTTP/1.1 204 No Content").done


def test_body_that_ends_with_the_connection() -> None:
    body = framing("")
    assert (body.length, body.ends_with_connection, body.done) == (None, True, False)
    body.passed(1000)
    assert not body.done
    assert body.left > 1 << 60


@pytest.mark.parametrize(
    "fields",
    [
        *(
            "Content-Length: -1",
            "Content-Length: +1",
            "Content-Length: 1_0",
            "Content-Length: 0x10",
        ),
        *("Content-Length: 1 0", "Content-Length:", "Content-Length: \u0661", "Content-Length: 1;"),
        *("Content-Length: 7, 8", "Content-Length: 7\r\nContent-Length: 8", "Content-Length: 7,"),
        f"Content-Length: {MAX_SIZE + 1}",
        "Content-Length: " + "9" * 30,
        "Content-Length: " + "9" * 5000,
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:",
    ],
)
def test_unclear_framing(fields: str) -> None:
    with pytest.raises(Nonsense):
        framing(fields + "\r\n")


def test_chunks_are_of_http_1_1() -> None:
    with pytest.raises(Nonsense):
        framing("Transfer-Encoding: chunked\r\n", "HTTP/1.0 200 OK")


def dechunk(data: bytes, size: int) -> tuple[bytes, bytes, bool]:
    """The body of `data`, given in pieces of `size`; what is left after it; whether it ended."""
    body, found, rest = Body(None, chunked=True), b"", b""
    for at in range(0, len(data), size):
        rest += data[at : at + size]
        while rest and not body.done:
            if body.left:
                part, rest = rest[: body.left], rest[body.left :]
                found += part
                body.passed(len(part))
            else:
                rest = rest[body.feed(rest) :]
    return found, rest, body.done


@given(st.binary(max_size=200), st.integers(1, 50), st.integers(1, 300), st.binary(max_size=9))
def test_chunks(data: bytes, size: int, pieces: int, rest: bytes) -> None:
    assert dechunk(chunked(data, size) + rest, pieces) == (data, rest, True)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_chunks_that_break_off_are_not_done(size: int) -> None:
    data = chunked(b"hello world", 4)
    for end in range(len(data)):
        found, rest, done = dechunk(data[:end], size)
        assert not done
        assert rest == b""
        assert b"hello world".startswith(found)


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b"1_0\r\n",
            b" 1\r\n",
            b"1\n",
            b"0\n",
        ),
        *(b"1\r\nab\r\n", b"1\r\na\n", b"1\r\na0\r\n", b"0\r\na\n"),
        *(b"8000000000000000\r\n", b"11111111111111111\r\n"),
        *(b"1;" + b"a" * LINE_MOST, b"1" * (LINE_MOST + 1)),
        b"0\r\n" + b"A: b\r\n" * TRAILER_MOST,
        b"0\r\n" + b"a" * (LINE_MOST + 1),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_bad_chunks(data: bytes, size: int) -> None:
    with pytest.raises(Nonsense):
        dechunk(data, size)


@given(st.binary(max_size=60), st.integers(1, 60))
def test_any_bytes_are_chunks_or_nonsense(data: bytes, size: int) -> None:
    try:
        whole = dechunk(data, 1000)
    except Nonsense:
        with pytest.raises(Nonsense):
            dechunk(data, size)
    else:
        assert dechunk(data, size) == whole


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("0", 0), ("007", 7), (str(MAX_SIZE), MAX_SIZE), (str(MAX_SIZE + 1), None)),
        *(("", None), ("1 ", None), ("\u0661", None), ("1" * 20, None), ("-0", None)),
    ],
)
def test_size(text: str, size: int | None) -> None:
    assert parse_size(text) == size
