"""HTTP requests that somebody may read in another way than we do, made of small tables, each with
the verdict that RFC 9110 and 9112 ask for. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

GOOD = b"GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n"

SMUGGLED = b"GET /sub/hello.txt HTTP/1.1\r\nHost: a\r\n\r\n"
"""What nobody has asked for, where it is part of something else."""

DIGITS = frozenset(b"0123456789")
LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")
WORD = LETTERS | DIGITS
TOKEN = WORD | frozenset(b"!#$%&'*+-.^_`|~")
BLANK = frozenset(b" \t")
VISIBLE = frozenset(range(0x21, 0x7F))
BEYOND = frozenset(range(0x80, 0x100))
NONE: frozenset[int] = frozenset()


class Place(NamedTuple):
    """Where in a request a byte is put, and which bytes may stand there."""

    name: str
    before: bytes
    after: bytes
    allowed: frozenset[int]
    others: frozenset[int] = NONE
    """Bytes that make it a request with a longer body, or that end it before."""


LINE = b"GET /hello.txt HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
END = b"\r\n"

PLACES = [
    Place("before all", b"", GOOD, NONE),
    # A method may be any token, and only three of them are answered.
    Place("in the method", b"GE", b"T" + GOOD[3:], NONE),
    Place("after the method", b"GET", GOOD[3:], NONE),
    Place("before the target", b"GET ", GOOD[4:], frozenset(b"/")),
    Place("in the path", b"GET /hel", GOOD[8:], VISIBLE - frozenset(b"#") | BEYOND),
    Place("after the path", b"GET /hello.txt", GOOD[14:], VISIBLE - frozenset(b"#") | BEYOND),
    Place("in the query", b"GET /?a=", b" HTTP/1.1\r\n" + HOST + END, VISIBLE - {35} | BEYOND),
    Place("before the version", b"GET /hello.txt ", GOOD[15:], NONE),
    Place("in the version", b"GET /hello.txt HTTP/1", GOOD[21:], NONE),
    Place("after the version", LINE[:-2], END + HOST + END, NONE),
    Place("in the end of the line", LINE[:-1], b"\n" + HOST + END, NONE),
    Place("before the fields", LINE, b"X: b\r\n" + HOST + END, TOKEN),
    Place("in a name", LINE + HOST + b"X", b"Y: b\r\n" + END, TOKEN | {58}),
    Place("before the colon", LINE + HOST + b"X", b": b\r\n" + END, TOKEN | {58}),
    Place("after the colon", LINE + HOST + b"X:", b"b\r\n" + END, BLANK | VISIBLE | BEYOND),
    Place("in a value", LINE + HOST + b"X: b", b"c\r\n" + END, BLANK | VISIBLE | BEYOND),
    Place("after a value", LINE + HOST + b"X: b", b"\r\n" + END, BLANK | VISIBLE | BEYOND),
    Place("in the end of a field", LINE + HOST + b"X: b\r", b"\n" + END, NONE),
    Place("in the host", LINE + b"Host: a", b"b\r\n" + END, WORD | frozenset(b"-_.")),
    Place("in the port", LINE + b"Host: a:8", b"0\r\n" + END, DIGITS),
    Place("in the address", LINE + b"Host: 127.0.0.", b"1\r\n" + END, WORD - {48} | {95}),
    Place("in the sixth", LINE + b"Host: [::", b"1]\r\n" + END, HEXADECIMAL),
    Place("after the host", LINE + b"Host: a", b"\r\n" + END, WORD | BLANK | frozenset(b"_.:")),
    Place("before the length", LINE + HOST + b"Content-Length:", b"5\r\n\r\nhello", BLANK, DIGITS),
    Place("after the length", LINE + HOST + b"Content-Length: 5", b"\r\n\r\nhello", BLANK, DIGITS),
    Place("in the last line", LINE + HOST + b"\r", b"\n", NONE, frozenset(b"\n")),
]


def inserted() -> Iterator[tuple[str, bytes, bool]]:
    """A name, a request, and whether it is one: each byte at each place."""
    for place in PLACES:
        for number in set(range(256)) - place.others:
            data = place.before + bytes([number]) + place.after
            yield f"{number:#04x} {place.name}", data, number in place.allowed


LENGTHS = [
    None,
    *(b"5", b"0", b"005", b" 5\t", b"05"),
    *(b"", b"-5", b"+5", b"5 5", b"5,5", b"5, 5", b"5;", b"5.0", b"5e0", b"0x5", b"0b101", b"5_0"),
    *(b"\xb2", b"\xd9\xa5", b"\xef\xbc\x95", b'"5"', b"five", b"5\x00", b"5\x0b", b"\x0c5", b"5h"),
    *(b"1" * 20, b"18446744073709551621", b"9223372036854775813", b"-18446744073709551611"),
]
LENGTHS_THAT_ARE = frozenset((b"5", b"0", b"005", b" 5\t", b"05"))

CODINGS = [
    None,
    *(b"chunked", b"Chunked", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b""),
    *(b"chunked, chunked", b"chunked,", b",chunked", b"chunked;q=1", b'"chunked"', b"xchunked"),
    *(b"\tchunked", b"chunked ", b"\x0bchunked", b"chunked\x0c", b"chunked\x00", b"chu nked"),
    *(b"chunked\xa0", b"\xe2\x80\x8bchunked", b"c\xc5\xbfhunked", b"\xff"),
]

LENGTH_NAMES = [b"Content-Length", b"content-length", b"CONTENT-LENGTH"]
CODING_NAMES = [b"Transfer-Encoding", b"transfer-encoding"]

NAMES_THAT_ARE_NONE = [
    *(b"Content-Length ", b"Content-Length\t", b" Content-Length", b"\tContent-Length"),
    *(b"Content-Length\x00", b"Content-Length\x0b", b"Content Length", b"Content-Length\xa0"),
    *(
        b"Transfer-Encoding ",
        b" Transfer-Encoding",
        b"Transfer\rEncoding",
        b"\x0bTransfer-Encoding",
    ),
    *(b"X: y\nTransfer-Encoding", b"X: y\rTransfer-Encoding", b"X:\nContent-Length", b"(a)"),
    *(b"Content-Length:5\nX", b"[Content-Length]", b"", b"\xc3\x84"),
]


LINE_ENDS_THAT_ARE_NONE = [
    *(b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b"\x0b", b"\x0c", b"\x85", b"\xe2\x80\xa8")
]


def framed() -> Iterator[tuple[str, bytes, bool]]:
    """The same: what says how long the body is, in all combinations; the body is `hello`."""
    for length, coding, minor, turned in product(LENGTHS, CODINGS, b"10", (False, True)):
        number = len(length or b"") + len(coding or b"")
        lines = [HOST]
        if length is not None:
            lines.append(LENGTH_NAMES[number % 3] + b":" + length + b"\r\n")
        if coding is not None:
            lines.append(CODING_NAMES[number % 2] + b":" + coding + b"\r\n")
        if turned:
            lines.reverse()
        kept = b"Connection: keep-alive\r\n" if minor == ord("0") else b""
        head = LINE[:-3] + bytes([minor]) + END + b"".join(lines) + kept + END
        body = b"hello" if length in LENGTHS_THAT_ARE and length != b"0" else b""
        body = b"0\r\n\r\n" if coding is not None else body
        good = coding is None and (length is None or length in LENGTHS_THAT_ARE)
        yield f"{length!r} {coding!r} 1.{minor - 48} {turned}", head + body, good


def twice() -> Iterator[tuple[str, bytes, bool]]:
    """The same: two fields of which there may be one."""
    for name, values in {
        b"Host": (b"a", b"b"),
        b"Content-Length": (b"5", b"0"),
        b"Range": (b"bytes=0-1", b"bytes=2-3"),
        b"If-Range": (b'"a"', b'"b"'),
    }.items():
        for first, second in product(values, repeat=2):
            for other in (name, name.lower(), name.upper()):
                fields = name + b": " + first + END + other + b": " + second + END
                host = b"" if name == b"Host" else HOST
                yield f"{fields!r}", LINE + host + fields + END + b"hello", False


def misnamed() -> Iterator[tuple[str, bytes, bool]]:
    """The same: names of fields that are none, and hide what some take for others."""
    for name, value, first in product(NAMES_THAT_ARE_NONE, (b"5", b"chunked"), (False, True)):
        lines = [HOST, name + b": " + value + END]
        yield f"{name!r} {value!r}", LINE + b"".join(lines[::-1] if first else lines) + END, False


def ended_otherwise() -> Iterator[tuple[str, bytes, bool]]:
    """The same: each line end of a request in turn, and all of them, by what is none."""
    parts = (LINE + HOST + b"X: y\r\n" + END).split(b"\r\n")[:-1]
    for end in (
        b"\n",
        b"\r",
        b"\r\r\n",
        b"\n\r",
        b"\n\n",
        b"\x0b",
        b"\x0c",
        b"\x85",
        b"\xe2\x80\xa8",
    ):
        for at in range(len(parts) + 1):
            ends = [end if at in (index, len(parts)) else b"\r\n" for index in range(len(parts))]
            data = b"".join(part + one for part, one in zip(parts, ends, strict=True))
            yield f"{end!r} at {at}", data, False


def all_requests() -> list[tuple[str, bytes, bool]]:
    """All of these."""
    return [*inserted(), *framed(), *twice(), *misnamed(), *ended_otherwise()]
