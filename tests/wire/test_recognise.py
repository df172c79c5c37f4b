"""Tests `wire.recognise`: which connections are taken to speak HTTP, and from which byte on."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.wire.recognise import http_request

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
