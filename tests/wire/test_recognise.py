"""Tests `wire.recognise`: which dialect a connection is taken to speak, and from which byte on."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.wire.native import preface
from tcpdl.wire.recognise import http_began, http_request, native_preface, target_began

unhurried = settings(deadline=None)

LONGEST = 8192

# Random bytes are never a request; these are one, nearly one, or the names of files.
PIECES = st.sampled_from(
    [b"GET", b"PUT", b"get", b"README", b" ", b"/", b"/a", b"HTTP/1", b"HTTP/", b".1", b"\r", b"\n"]
)
HEADS = st.lists(PIECES, min_size=1, max_size=8).map(b"".join) | st.binary(min_size=1)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: example\r\n\r\n",
        b"GET / HTTP/1",
        b"GET /hello.txt HTTP/1.0\r\n",
        b"HEAD / HTTP/1.1\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT example:443 HTTP/1.1\r\n",
        b"GET http://example/ HTTP/1.1\r\n",
        b"GET hello.txt HTTP/1.1\r\n",  # malformed, but it is HTTP that has to say so
        b"GET /\xff HTTP/9",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"A / HTTP/1",
        b"A" * 20 + b" / HTTP/1",
    ],
)
def test_http(head: bytes) -> None:
    assert http_request(head) is True


@pytest.mark.parametrize(
    "head",
    [
        b"hello.txt",
        b"hello.txt\n",
        b"README\n",
        b"README\r\n",
        b"GET\n",
        b"GET \r\n",
        b"GET /\n",
        b"GET /\r\nHost: example",  # HTTP/0.9
        b" GET / HTTP/1.1\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"\nGET / HTTP/1.1\r\n",
        b"GET\t/ HTTP/1.1\r\n",
        b"GET / http/1.1\r\n",
        b"GET / HTTP/x\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET  HTTP/1.1\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET\0/ HTTP/1.1\r\n",
        b"A" * 21,
        b"A" * 21 + b" / HTTP/1.1\r\n",
        b"G1T / HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01",  # TLS
        "下载文件.txt".encode(),
        "文".encode()[:1],
        b"\0",
        b"?",
    ],
)
def test_not_http(head: bytes) -> None:
    assert http_request(head) is False


@pytest.mark.parametrize(
    "head", [b"G", b"README", b"GET ", b"GET /", b"GET /a HTT", b"GET / HTTP/", b"A" * 20 + b" "]
)
def test_too_early_to_tell(head: bytes) -> None:
    assert http_request(head) is None


def test_nothing_yet_is_too_early_to_tell() -> None:
    assert http_request(b"") is None


@unhurried
@given(HEADS)
@example(b"GET / HTTP/1.1\r\n")
@example(b"README\n")
def test_no_later_byte_changes_a_verdict(head: bytes) -> None:
    check_verdicts(head, 1)


def test_no_later_byte_changes_a_verdict_on_a_long_line() -> None:
    for length in range(LONGEST - 12, LONGEST + 12):
        line = b"GET /" + b"a" * (length - 15) + b" HTTP/1.1\n"
        assert len(line) == length
        check_verdicts(line, length - 20)


def check_verdicts(head: bytes, begin: int) -> None:
    """Go through the verdicts on the beginnings of `head` that have `begin` bytes and more."""
    verdict: bool | None = None
    for end in range(begin, len(head) + 1):
        now = http_request(head[:end])
        assert verdict is None or now is verdict
        verdict = now
        if now is None:
            assert b"\n" not in head[:end]
            assert b"\r" not in head[:end]
            assert end < LONGEST


def test_no_line_is_waited_for_longer_than_servers_accept() -> None:
    assert http_request(b"GET /" + b"a" * (LONGEST - 6)) is None
    assert http_request(b"GET /" + b"a" * (LONGEST - 5)) is True
    assert http_request(b"GET/" + b"a" * (LONGEST - 4)) is False
    assert http_request(b"GET /" + b"a" * 1_000_000) is True


@pytest.mark.parametrize(
    ("head", "began"),
    [
        *((b"README", False), (b"GET ", False), (b"GET a", False), (b"GET ht", False)),
        *((b"GET /", True), (b"OPTIONS *", True), (b"GET http", True), (b"GET HTTP://a HT", True)),
    ],
)
def test_whether_the_target_has_begun(head: bytes, began: bool) -> None:
    assert http_request(head) is None
    assert target_began(head) is began


@pytest.mark.parametrize(
    "head",
    [
        *(b"GET /", b"HEAD /a", b"OPTIONS *", b"OPTIONS /"),
        *(b"GET /hello.txt HTTP/1.1\r\n", b"GET //"),
        *(b"GET http://a", b"HEAD https://", b"POST /", b"PUT /a", b"DELETE /"),
        *(b"PATCH /", b"TRACE /"),
        *(b"CONNECT a.example:443", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\n", b"GET /a b"),
        # Of any method, as soon as the line is whole.
        *(b"BREW /pot HTTP/1.1\r\n", b"M-SEARCH * HTTP/1.1\r\nHost: a\r\n\r\n"),
        *(b"get / HTTP/1.1\r\n", b"POST http://a/ HTTP/1.1\r\n"),
        *(b"A b HTTP/1.0\n", b"GET a HTTP/1.1\r\n", b"GET ?a HTTP/1\r"),
        *(b"x.y / HTTP/9.9", b"A / HTTP/1"),
        *(b"A / HTTP/1.", b"PROPFIND /\xff HTTP/1.1\r\n"),
        *(b"!" * 32 + b" / HTTP/1.1\r\n", b"GET " + b"a" * 100_000 + b" HTTP/1.1\r\n"),
    ],
)
def test_http_began(head: bytes) -> None:
    assert http_began(head) is True


@pytest.mark.parametrize(
    "head",
    [
        *(b"README", b"P", b"PO", b"POST", b"POST ", b"D", b"C", b"CONNECT", b"GETTING"),
        *(b"GET\n", b"H\n"),
        *(b"GET http.txt", b"GET h", b"GET http:/", b"GET a", b"GET \n", b"GET  /"),
        *(b"get /", b"GET\t/"),
        *(b"GET\0", b"HEAD\r\n", b"OPTIONS.txt", b"hello.txt\n", b"?", b"\n"),
        *(b"\r\nGET /", b" GET /"),
        *(b"PRI", b"PRI */", b"POST a", b"BREW /pot", b"BREW /pot HTTP/"),
        *(b"get / HTTP", b"\0tcpdl"),
        # Names that look like it.
        *(b"a b HTTP/1.1.txt", b"a b HTTP/1.1 ", b"a b HTTP/10"),
        *(b"a b HTTP/1.12\n", b"a b c HTTP/1.1\n"),
        *(b"a\nb / HTTP/1.1\r\n", b"a b HTTP/x\n", b"a b http/1.1\n"),
        *(b"a  HTTP/1.1\n", b"HTTP/1.1\n"),
        *(b"a\0 / HTTP/1.1\n", b"a b\0 HTTP/1.1\n"),
        *("文 / HTTP/1.1\n".encode(), b"a/b / HTTP/1.1\n"),
        b"!" * 33 + b" / HTTP/1.1\r\n",
    ],
)
def test_no_http_began(head: bytes) -> None:
    assert http_began(head) is False


@pytest.mark.parametrize(
    "head",
    [b"", b"G", b"GE", b"GET", b"GET ", b"H", b"HEAD", b"HEAD ", b"O", b"OPTIONS", b"OPTIONS "],
)
def test_too_early_to_tell_whether_http_began(head: bytes) -> None:
    assert http_began(head) is None


@unhurried
@given(HEADS)
def test_only_what_may_become_a_common_request_is_waited_for(head: bytes) -> None:
    waits = [end for end in range(len(head) + 1) if http_began(head[:end]) is None]
    # From the first byte on without a gap, and never for long.
    assert waits == list(range(len(waits)))
    assert len(waits) <= len(b"OPTIONS /")
    for end in waits:
        assert any(
            http_began(head[:end] + more[end:]) for more in (b"GET /", b"HEAD /", b"OPTIONS *")
        )


@pytest.mark.parametrize(
    "head", [b"\0tcpdl", preface(3), b"\0tcpdl\0\0", b"\0tcpdl\xff\xff", b"\0tcpdl.txt\n"]
)
def test_native(head: bytes) -> None:
    assert native_preface(head) is True  # even if the rest of it will be refused


@pytest.mark.parametrize(
    "head",
    [
        *(b"\0tcpd\0", b"\0tcpd\n", b"\0TCPDL", b"tcpdl\0", b"\0\0tcpdl", b"\n\0tcpdl"),
        *(b"\0t\0", b"\0\0", b"\0\n", b"\n", b"t", b"hello.txt\n", b"GET / HTTP/1.1\r\n"),
    ],
)
def test_not_native(head: bytes) -> None:
    assert native_preface(head) is False


@pytest.mark.parametrize("length", range(6))
def test_too_early_to_tell_whether_it_is_native(length: int) -> None:
    assert native_preface(preface(1)[:length]) is None


@unhurried
@given(st.integers(0, 8), st.binary(max_size=10))
@example(0, b"")
def test_native_by_its_first_bytes(same: int, more: bytes) -> None:
    head = preface(1)[:same] + more
    verdicts = [native_preface(head[:end]) for end in range(len(head) + 1)]
    for end, verdict in enumerate(verdicts):
        whole = head[:end] == preface(1)[:end] if end < 6 else head[:6] == b"\0tcpdl"
        assert verdict is ((None if end < 6 else True) if whole else False)
