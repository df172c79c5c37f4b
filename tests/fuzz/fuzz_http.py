"""Targets for a fuzzer: whatever an HTTP client sends, it is a request, a refusal, or passed over.

    python tests/fuzz/fuzz_http.py --seed                       write the corpus anew
    python tests/fuzz/fuzz_http.py --requests tests/fuzz/corpus/requests -max_total_time=180

The second needs atheris, which nothing else here does, and takes libFuzzer's options; the targets
are `--requests` and `--fields`. What is found goes to the first folder that is named.
tests/fuzz/test_corpus.py runs the targets over the corpus.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from tcpdl.web.conditions import evaluate, parse_date, parse_tags, range_holds
from tcpdl.web.fields import http_date, preference
from tcpdl.web.ranges import RANGES_MOST, Unsatisfiable, parse_ranges
from tcpdl.web.request import (
    ARGUMENTS_MOST,
    BODY_MOST,
    HEAD_MOST,
    LINE_MOST,
    METHODS,
    Refusal,
    Request,
    Requests,
)
from tcpdl.wire.names import NameRefused
from tcpdl.wire.recognise import http_began
from tests.fuzz.running import CUTS, main, pieces

STATUSES = (400, 405, 413, 414, 417, 431, 501, 505)

ETAG = '"a"'
MODIFIED = 784111777


def requests(data: bytes) -> None:
    """`data` comes from a client, on a new connection."""
    cuts, stream = data[:CUTS], data[CUTS:]
    recognise(stream)
    whole = fed([stream])
    assert fed(pieces(stream, cuts)) == whole
    found, status, _ = whole
    assert status in (0, *STATUSES)
    for request in found:
        sound(request)
        again = written(request)
        if again.find(b"\r\n") <= LINE_MOST and again.find(b"\r\n\r\n") <= HEAD_MOST - 4:
            # It is one by itself, and what was read is what it says. (Escapes make it longer.)
            assert fed([again]) == ([request], 0, True)


def fields(data: bytes) -> None:
    """`data` is the value of a field that is evaluated; its first two bytes are a file's size."""
    size, value = int.from_bytes(data[:2], "big"), data[2:].decode("latin-1")
    with contextlib.suppress(Unsatisfiable):
        ranges = parse_ranges(value, size) or []
        assert len(ranges) <= RANGES_MOST
        assert all(0 <= start < end <= size for start, end in ranges)
        in_order = sorted(ranges)
        assert all(one[1] < other[0] for one, other in pairwise(in_order))
        if ranges:
            again = ",".join(f"{start}-{end - 1}" for start, end in ranges)
            assert parse_ranges(f"bytes={again}", size) == ranges
    date = parse_date(value, MODIFIED)
    if date is not None:
        assert parse_date(http_date(date), MODIFIED) == date
    tags = parse_tags(value)
    if tags is not None:
        assert parse_tags(", ".join(tags)) == tags
    for name in (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"):
        status = evaluate({name: value}.get, ETAG, MODIFIED)
        assert status in (200, 412 if name in (b"if-match", b"if-unmodified-since") else 304)
    if range_holds(value, ETAG, MODIFIED):
        assert parse_date(value) == MODIFIED or tags == [ETAG]
    assert 0.0 <= preference(value, "gzip") <= 1.0


TARGETS: dict[str, Callable[[bytes], None]] = {"requests": requests, "fields": fields}


def fed(cut: Any) -> tuple[list[Request], int, bool]:
    """What comes of the pieces of `cut`: requests, the status of a refusal or 0, and whether
    nothing of another request has come."""
    incoming = Requests()
    found: list[Request] = []
    try:
        for piece in cut:
            incoming.feed(piece)
            while (request := incoming.next()) is not None:
                found.append(request)
            assert incoming.buffered < HEAD_MOST
    except Refusal as refusal:
        return found, refusal.status if refusal.fatal else -1, False
    return found, 0, incoming.between


def sound(request: Request) -> None:
    """Assert what is promised of every request."""
    assert request.method in METHODS
    assert request.path[:1] == b"/" or (request.path == b"*" and request.method == "OPTIONS")
    line = request.path + request.query
    assert line.isascii()
    assert not set(line) & {*range(33), 35, 127}
    assert request.minor in (0, 1)
    assert request.minor == 0 or b"host" in request.fields
    assert not set(request.host) & set("/?#@\\<>\"'`$;& %")
    assert b"transfer-encoding" not in request.fields
    assert int(request.fields.get(b"content-length", b"0")) <= BODY_MOST
    for name, value in request.fields.items():
        assert name == name.lower()
        assert not set(value) & set(b"\0\r\n")
        assert value == value.strip(b" \t")
    with contextlib.suppress(NameRefused), refused_alone():
        segments = request.name(hidden=True).segments
        assert not {b"", b".", b".."} & set(segments)
        assert not any(b"/" in segment or b"\0" in segment for segment in segments)
    with refused_alone():
        assert len(request.arguments()) <= ARGUMENTS_MOST


@contextlib.contextmanager
def refused_alone() -> Iterator[None]:
    """What may be refused here, but without an end of the connection."""
    try:
        yield
    except Refusal as refusal:
        if refusal.fatal:
            raise AssertionError from refusal


def written(request: Request) -> bytes:
    """`request` as a client would send it that sends no more than it must."""
    target = request.path + (b"?" + request.query if request.query else b"")
    lines = [b"%b %b HTTP/1.%d" % (request.method.encode("ascii"), target, request.minor)]
    lines += [b"%b: %b" % field for field in request.fields.items()]
    body = bytes(int(request.fields.get(b"content-length", b"0")))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def recognise(stream: bytes) -> None:
    """Assert that a verdict, once there is one, follows from few bytes, and that what is waited for
    has no end yet."""
    for end in range(min(len(stream), 24) + 1):
        verdict = http_began(stream[:end])
        assert verdict is not None or end < len(b"OPTIONS /")
        assert verdict is not None or not set(stream[:end]) & set(b"\r\n\0/")
    if fed([stream])[0] and stream[:1] not in b"\r":
        line = stream.partition(b"\r\n")[0]
        assert http_began(stream) or len(line.partition(b" ")[0]) > 32


# The corpus.


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each file of the corpus."""
    for name, stream in streams().items():
        yield "requests", name, bytes([2, 0, 17, 255]) + stream
    for name, value in values().items():
        yield "fields", name, (100).to_bytes(2, "big") + value.encode("latin-1")


def get(*lines: bytes, target: bytes = b"/", version: bytes = b"1.1") -> bytes:
    fields = b"".join(line + b"\r\n" for line in (b"Host: a.example", *lines))
    return b"GET %b HTTP/%b\r\n%b\r\n" % (target, version, fields)


def streams() -> dict[str, bytes]:
    browser = (b"Accept: text/html;q=0.9, */*", b"Accept-Encoding: gzip, zstd", b"DNT: 1")
    upgrade = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA")
    chunked = b"Transfer-Encoding: chunked"
    head, options = b"HEAD /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"OPTIONS * HTTP/1.0\r\n\r\n"
    return {
        "get": get(),
        "get-with-fields": get(*browser, target=b"/notes/a%20b.txt?download&x=%E4%B8%8B"),
        "get-with-empty-line-before": b"\r\n" + get(),
        "get-of-http-1.0": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "get-with-body": get(b"Content-Length: 5") + b"hello" + get(),
        "get-with-body-cut-off": get(b"Content-Length: 5") + b"hel",
        "get-that-expects": get(b"Expect: 100-continue", b"Content-Length: 1") + b"x",
        "get-that-expects-too-much": get(b"Expect: 200-ok"),
        "get-upgrade": get(*upgrade) + get(),
        "get-absolute": get(target=b"http://A.example?q"),
        "get-absolute-of-another": get(target=b"http://b.example/"),
        "get-beyond-ascii": get(target="/下载.txt".encode()),
        "get-that-climbs": get(target=b"/a/../%2e%2e/%2f/%00/%252e"),
        "get-broken-escape": get(target=b"/100%"),
        "head-then-options": head + options,
        "several": get() + get(target=b"/b?c") + b"POST / HTTP/1.1\r\n\r\n",
        "cut-off": get(b"X: y")[:-2],
        "method-unknown": b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n",
        "preface-of-http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "version-0.9": b"GET /\r\n\r\n",
        "bare-lf": get(b"A: b\nC: d"),
        "bare-cr": get(b"A: b\rC: d"),
        "nul": get(b"A: \0"),
        "obs-fold": get(b"A: b\r\n c"),
        "space-before-colon": get(b"Content-Length : 5"),
        "two-hosts": get(b"Host: b"),
        "two-lengths": get(b"Content-Length: 5", b"Content-Length: 6"),
        "length-listed": get(b"Content-Length: 5, 5"),
        "length-signed": get(b"Content-Length: +5"),
        "length-huge": get(b"Content-Length: 99999999999999999999999"),
        "length-and-chunked": get(b"Content-Length: 5", chunked) + b"0\r\n\r\n",
        "chunked": get(chunked) + b"0\r\n\r\n" + get(),
        "chunked-of-http-1.0": get(chunked, version=b"1.0") + b"0\r\n\r\n",
        "coding-unknown": get(b"Transfer-Encoding: xchunked"),
        "line-longest": get(target=b"/" + b"a" * (LINE_MOST - 14)),
        "line-too-long": get(target=b"/" + b"a" * (LINE_MOST - 13)),
        "fields-too-many": get(*[b"a:b"] * 100),
        "tls": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    }


def values() -> dict[str, str]:
    return {
        "ranges": "bytes=0-0,-1, 50-59 ,,40-",
        "ranges-that-touch": "bytes=50-59,0-9,40-49,10-19",
        "ranges-too-many": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 40, 2)),
        "ranges-unsatisfiable": "bytes=100-,-0",
        "ranges-huge": "bytes=9999999999999999999999-,-18446744073709551616",
        "tags": 'W/"a", "b,c" ,, "\xe9"',
        "tag": ETAG,
        "asterisk": "*",
        "date": "Sun, 06 Nov 1994 08:49:37 GMT",
        "date-of-two-digits": "Sunday, 06-Nov-94 08:49:37 GMT",
        "date-of-asctime": "Sun Nov  6 08:49:37 1994",
        "date-leap": "Tue, 29 Feb 2000 23:59:60 GMT",
        "weights": "br;q=0.5, gzip ; q=0.25, *;q=0",
    }


if __name__ == "__main__":
    main(__doc__ or "", TARGETS, seeds())
