"""Tests `web.request`: requests that are accepted, however they are cut."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.web import request as request_module
from tcpdl.web.request import (
    BODY_MOST,
    FIELDS_MOST,
    HEAD_MOST,
    KEPT_MOST,
    LINE_MOST,
    Refusal,
    Request,
    Requests,
)
from tcpdl.wire.names import NameRefused

unhurried = settings(deadline=None)

Outcome = tuple[list[Request], int, bool]
"""The requests, the status of a fatal refusal or 0, and whether nothing of another has come."""

PLAIN = b"GET /hello.txt HTTP/1.1\r\nHost: example.org\r\n\r\n"

# Random bytes are never a request; these are one, nearly one, or what makes one ambiguous.
PIECES = st.sampled_from(
    [
        *(b"GET ", b"HEAD ", b"OPTIONS ", b"POST ", b"get ", b"/", b"/a", b"*", b"?b=c"),
        *(b"#", b"%2f"),
        *(b"http://a.example", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n"),
        *(b" HTTP/2.0\r\n", b"Host: a\r\n"),
        *(b"Host: a.example\r\n", b"Host:", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b" ", b"\t"),
        *(b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
        *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n"),
        *(b"Range: bytes=0-1\r\n", b"X: \xff\r\n", b": ", b"abc", PLAIN, PLAIN),
    ]
)
STREAMS = st.lists(PIECES | st.binary(max_size=3), max_size=12).map(b"".join)


def get(*lines: bytes, target: bytes = b"/", version: bytes = b"1.1", host: bool = True) -> bytes:
    """A GET with these fields."""
    fields = [b"Host: example.org", *lines] if host else lines
    return (
        b"GET %b HTTP/%b\r\n" % (target, version)
        + b"".join(b"%b\r\n" % x for x in fields)
        + b"\r\n"
    )


def one(stream: bytes) -> Request:
    requests = Requests()
    requests.feed(stream)
    request = requests.next()
    assert request is not None
    return request


def outcome(pieces: Iterable[bytes]) -> Outcome:
    requests = Requests()
    found: list[Request] = []
    try:
        for piece in pieces:
            requests.feed(piece)
            while (request := requests.next()) is not None:
                found.append(request)
    except Refusal as refusal:
        return found, refusal.status if refusal.fatal else -1, False
    return found, 0, requests.between


def refused_by(use: Callable[[], object]) -> bool:
    """Whether `use` raises a `Refusal` that ends the connection."""
    try:
        use()
    except Refusal as refusal:
        return refusal.fatal
    return False


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]


def test_request() -> None:
    request = one(
        b"GET /notes/a%20b.txt?download&x=1 HTTP/1.1\r\n"
        b"Host: example.org:8080\r\nACCEPT:text/html\r\nX-Empty:\r\naccept: \t*/* \t \r\n\r\n"
    )
    assert request.method == "GET"
    assert request.path == b"/notes/a%20b.txt"
    assert request.query == b"download&x=1"
    assert request.minor == 1
    assert request.keep_alive
    assert request.host == "example.org:8080"
    assert request.fields == {
        b"host": b"example.org:8080",
        b"accept": b"text/html, */*",
        b"x-empty": b"",
    }
    assert request.field(b"accept") == "text/html, */*"
    assert request.field(b"x-empty") == ""
    assert request.field(b"range") is None


def test_fields_that_come_several_times() -> None:
    request = one(get(b"A:", b"A: b", b"a: ", b"A: c, d", b"B: ", b"b:"))
    assert request.field(b"a") == "b, c, d"
    assert request.field(b"b") == ""


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_methods(method: str) -> None:
    assert one(PLAIN.replace(b"GET", method.encode())).method == method


def test_what_was_made_of_fields_cannot_be_changed() -> None:
    # Requests of several clients share it.
    first, second = one(PLAIN), one(PLAIN)
    with pytest.raises(TypeError):
        first.fields[b"host"] = b"evil.example"  # type: ignore[index]
    absolute = one(get(target=b"http://EXAMPLE.org/"))
    assert absolute.fields[b"host"] == b"EXAMPLE.org"
    assert first.fields == second.fields == one(PLAIN).fields == {b"host": b"example.org"}


def test_fields_beyond_what_is_kept_are_parsed_alike() -> None:
    for length in (KEPT_MOST - 100, KEPT_MOST + 100):
        assert one(get(b"X: " + b"x" * length)).fields[b"x"] == b"x" * length


@pytest.mark.parametrize("scheme", [b"Basic c2VjcmV0", b"Bearer c2VjcmV0"])
def test_what_somebody_logs_in_with_is_not_kept(scheme: bytes) -> None:
    for name in (b"Authorization", b"authorization", b"AUTHORIZATION"):
        assert one(get(name + b": " + scheme)).fields[b"authorization"] == scheme
    assert not any(b"c2VjcmV0" in block for block in request_module._kept)


def test_few_fields_are_kept() -> None:
    for number in range(request_module.BLOCKS_MOST + 1):
        one(get(b"X: %d" % number))
    assert len(request_module._kept) == request_module.BLOCKS_MOST
    assert one(get(b"X: 0")).fields[b"x"] == b"0"


def test_bytes_beyond_ascii() -> None:
    # curl sends a URL as it was typed.
    name = "下载.txt".encode()
    request = one(get(b"X: \xe9", target=b"/" + name + b"?x=\xff"))
    assert request.path == b"/%E4%B8%8B%E8%BD%BD.txt"
    assert request.query == b"x=%FF"
    assert request.name(hidden=False).segments == (name,)
    assert request.field(b"x") == "é"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"//a", b"//a", b""),
        (b"/?", b"/", b""),
        (b"/??", b"/", b"?"),
        (b"/a?b?c=/d", b"/a", b"b?c=/d"),
        (b"/*", b"/*", b""),
        (b"/a:b@c", b"/a:b@c", b""),
        (b"/http://b/", b"/http://b/", b""),
        (b"http://example.org", b"/", b""),
        (b"http://example.org?q", b"/", b"q"),
        (b"HTTP://EXAMPLE.ORG/a?b", b"/a", b"b"),
        (b"https://example.org//a", b"//a", b""),
    ],
)
def test_targets(target: bytes, path: bytes, query: bytes) -> None:
    request = one(get(target=target))
    assert (request.path, request.query) == (path, query)
    assert request.host.lower() == "example.org"


def test_an_asterisk_is_for_options() -> None:
    assert one(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path == b"*"


@pytest.mark.parametrize(
    "host",
    [
        *("example.org", "example.org.", "EXAMPLE.org:80", "localhost:", "a-b_c.d--e"),
        *("_web_1", "x1"),
        *("127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8080", "[::ffff:1.2.3.4]", "1a.2b", ""),
    ],
)
def test_hosts(host: str) -> None:
    assert one(get(b"Host: " + host.encode(), host=False)).host == host


def test_http_1_0_needs_no_host() -> None:
    request = one(b"GET / HTTP/1.0\r\n\r\n")
    assert request.minor == 0
    assert request.host == ""
    assert one(b"GET http://a.example:80/ HTTP/1.0\r\n\r\n").host == "a.example:80"


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [
        (b"1.1", None, True),
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"CLOSE", False),
        (b"1.1", b"x, close ,y", False),
        (b"1.1", b"keep-alive, close", False),
        (b"1.1", b"closed", True),
        (b"1.1", b"Upgrade, HTTP2-Settings", True),
        (b"1.0", None, False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive,close", False),
        (b"1.0", b"keep-alive-ish", False),
    ],
)
def test_whether_the_connection_stays(
    version: bytes, connection: bytes | None, stays: bool
) -> None:
    fields = [] if connection is None else [b"Connection: " + connection]
    assert one(get(*fields, version=version)).keep_alive is stays
    if connection == b"keep-alive, close":
        # In two fields it says the same.
        split = [b"Connection: keep-alive", b"Connection: close"]
        assert one(get(*split, version=version)).keep_alive is stays


def test_no_other_protocol_is_taken_up() -> None:
    fields = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"]
    requests, status, between = outcome([get(*fields) + PLAIN])
    assert (len(requests), status, between) == (2, 0, True)


# Bodies.


@pytest.mark.parametrize("length", [b"0", b"5", b"005", b"%019d" % 5, b" 5 "])
def test_a_body_is_thrown_away(length: bytes) -> None:
    stream = get(b"Content-Length: " + length) + b"GET /"[: int(length)] + PLAIN
    for pieces in ([stream], one_by_one(stream)):
        requests, status, between = outcome(pieces)
        assert [request.path for request in requests] == [b"/", b"/hello.txt"]
        assert (status, between) == (0, True)


def test_a_longest_body() -> None:
    requests = Requests()
    requests.feed(get(b"Content-Length: %d" % BODY_MOST))
    assert requests.next() is not None
    for _ in range(BODY_MOST // 1024):
        assert not requests.between
        assert requests.next() is None
        requests.feed(bytes(1024))
        assert requests.buffered == 0
    assert requests.between
    requests.feed(PLAIN)
    assert requests.next() == one(PLAIN)


def test_an_expected_body_ends_the_connection() -> None:
    # The client may send it or not: what comes next may be either.
    expect = b"Expect: 100-Continue"
    assert not one(get(expect, b"Content-Length: 5")).keep_alive
    assert one(get(expect)).keep_alive
    assert one(get(b"Expect: 100-continue, 100-continue")).keep_alive
    assert one(get(b"Content-Length: 5")).keep_alive
    # HTTP/1.0 knows of no expectations (RFC 9110, section 10.1.1).
    for value in (expect, b"Expect: x"):
        old = get(value, b"Content-Length: 5", b"Connection: keep-alive", version=b"1.0")
        assert one(old).keep_alive


# Pieces.


def test_pipelined() -> None:
    targets = [b"/%d" % number for number in range(20_000)]
    stream = b"".join(
        b"GET %b HTTP/1.1\r\nHost: example.org\r\n\r\n" % target for target in targets
    )
    requests, status, between = outcome([stream])
    assert [request.path for request in requests] == targets
    assert (status, between) == (0, True)


def test_each_way_to_cut_two_requests_in_two() -> None:
    stream = PLAIN + b"\r\nHEAD /b HTTP/1.0\r\nA: b\r\n\r\n"
    whole = outcome([stream])
    assert [request.method for request in whole[0]] == ["GET", "HEAD"]
    for at in range(len(stream)):
        assert outcome([stream[:at], stream[at:]]) == whole


def test_trailing_bytes_stay() -> None:
    requests = Requests()
    requests.feed(PLAIN + b"GET /next")
    assert requests.next() == one(PLAIN)
    assert requests.buffered == len(b"GET /next")
    assert requests.next() is None
    assert not requests.between
    requests.feed(b" HTTP/1.1\r\nHost: a\r\n\r\n")
    request = requests.next()
    assert request is not None
    assert request.path == b"/next"
    assert requests.next() is None
    assert requests.buffered == 0


def test_one_empty_line_before_a_request_is_passed_over() -> None:
    for pieces in ([b"\r\n" + PLAIN], one_by_one(b"\r\n" + PLAIN)):
        assert outcome(pieces) == ([one(PLAIN)], 0, True)
        assert outcome([*pieces, b"\r\n", PLAIN]) == ([one(PLAIN)] * 2, 0, True)
    assert outcome([b"\r\n"]) == ([], 0, True)
    assert outcome([b"\r"]) == ([], 0, False)
    for pieces in ([b"\r\n\r\n" + PLAIN], one_by_one(b"\r\n\r\n" + PLAIN)):
        assert outcome(pieces) == ([], 400, False)


@unhurried
@given(STREAMS, st.lists(st.integers(0, 300), max_size=6))
@example(b"GET / HTTP/2.0\r\nHost: a\nb\r\n\r\n", [20])
@example(b"\r\n\r\n" + PLAIN, [2])
def test_where_the_stream_is_cut_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    ends = [min(end, len(stream)) for end in sorted(cuts)] + [len(stream)]
    pieces = [stream[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    assert outcome(pieces) == outcome([stream]) == outcome(one_by_one(stream))


@unhurried
@given(STREAMS)
def test_what_is_accepted_is_what_was_sent(stream: bytes) -> None:
    for request in outcome([stream])[0]:
        assert request.method in ("GET", "HEAD", "OPTIONS")
        query = b"?" + request.query if request.query else b""
        line = b"%b HTTP/1.%d\r\n" % (request.path + query, request.minor)
        assert line in stream or b"? HTTP" in stream or b"http://" in stream
        for name, value in request.fields.items():
            assert name == name.lower()
            assert value == value.strip(b" \t")
            assert not set(value) & set(b"\r\n\0")
        for use in (request.arguments, lambda request=request: request.name(hidden=True)):
            with contextlib.suppress(NameRefused):
                assert not refused_by(use)


@unhurried
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_waited_for(stream: bytes) -> None:
    for begin in (b"", b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\n"):
        outcome([begin + stream + b"\r\n\r\n"])  # raises nothing


# Limits.


def test_the_longest_line() -> None:
    target = b"/" + b"a" * (LINE_MOST - len(b"GET / HTTP/1.1"))
    for more, status in ((b"", 0), (b"a", 414)):
        stream = get(target=target + more)
        assert outcome([stream])[1] == outcome(one_by_one(stream))[1] == status


def test_the_longest_head() -> None:
    room = HEAD_MOST - len(get(b"X: "))
    longest = get(b"X: " + b"x" * room)
    assert len(longest) == HEAD_MOST
    for stream in (longest, longest + PLAIN):
        assert outcome([stream])[1] == outcome(one_by_one(stream))[1] == 0
    longer = get(b"X: " + b"x" * (room + 1))
    assert outcome([longer])[1] == outcome(one_by_one(longer))[1] == 431


def test_no_more_is_held_than_a_head_may_have() -> None:
    for endless, expected in ((b"a", 414), (b"a: b\r\n", 431)):
        requests = Requests()
        requests.feed(b"GET /" if expected == 414 else b"GET / HTTP/1.1\r\n")
        status = 0
        for _ in range(HEAD_MOST):
            requests.feed(endless)
            try:
                assert requests.next() is None
            except Refusal as refusal:
                status = refusal.status
                break
            assert requests.buffered < HEAD_MOST
        assert status == expected


def test_the_most_fields() -> None:
    fields = [b"x%d: y" % number for number in range(FIELDS_MOST - 1)]
    assert len(one(get(*fields)).fields) == FIELDS_MOST
    for more in (b"x: y", b"x1: y", b":"):  # the last is no field at all
        with pytest.raises(Refusal) as caught:
            one(get(*fields, more))
        assert caught.value.status == (400 if more == b":" else 431)


def test_a_request_that_is_made_again_is_the_same_one() -> None:
    requests = Requests()
    first = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    other = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
    with_body = b"GET /c HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
    stream = first + first + other + first + (with_body + b"xx") * 2 + first
    for pieces in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
        paths = []
        for piece in pieces:
            requests.feed(piece)
            while request := requests.next():
                paths.append(request.path)
        assert paths == [b"/a", b"/a", b"/b", b"/a", b"/c", b"/c", b"/a"]
        assert requests.between
