"""Tests `web.request`: what is refused, so that nobody can read it as another request."""

from __future__ import annotations

import pytest

from tcpdl.web.request import BODY_MOST, LINE_SHOWN, Refusal, Requests

AFTER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def refused(stream: bytes) -> int:
    """The status that `stream` is refused with before any request is found in it, or 0: whole, byte
    by byte, and with another request behind it."""
    one_by_one = [stream[index : index + 1] for index in range(len(stream))]
    statuses = set()
    for pieces in ([stream], one_by_one, [stream + AFTER], [*one_by_one, AFTER]):
        requests = Requests()
        status = 0
        try:
            for piece in pieces:
                requests.feed(piece)
                if requests.next() is not None:
                    break
        except Refusal as refusal:
            status = refusal.status if refusal.fatal and str(refusal) else -1
        statuses.add(status)
    assert len(statuses) == 1
    return statuses.pop()


def line(text: bytes) -> bytes:
    return text + b"\r\nHost: a\r\n\r\n"


def fields(*lines: bytes, version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    return b"%b / HTTP/%b\r\nHost: a\r\n" % (method, version) + b"\r\n".join(lines) + b"\r\n\r\n"


def test_the_measure() -> None:
    assert refused(line(b"GET / HTTP/1.1")) == 0
    assert refused(fields(b"A: b")) == 0


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" ", b"GET", b"GET ", b"GET  ", b"GET /", b"GET / "),
        *(b"GET HTTP/1.1", b"/ HTTP/1.1"),
        *(b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b" GET / HTTP/1.1", b"GET / HTTP/1.1 "),
        *(b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b"GET\x0b/ HTTP/1.1", b"GET\xa0/ HTTP/1.1"),
        *(b"GET / HTTP", b"GET / HTTP/", b"GET / HTTP/1", b"GET / HTTP/1.", b"GET / HTTP/.1"),
        *(b"GET / HTTP/1.10", b"GET / HTTP/11.1", b"GET / HTTP/01.1", b"GET / HTTP/+1.1"),
        *(b"GET / HTTP/1,1", b"GET / HTTP/1.1x", b"GET / HTTP /1.1"),
        *(b"GET / http/1.1", b"GET / HTTX/1.1"),
        *(b"GET / ICE/1.0", b"GET / HTTP/1.1 HTTP/1.1"),
        *(b"GET /a b HTTP/1.1", b"GET /\x7f HTTP/1.1"),
        *(b"GET /\x01 HTTP/1.1", b"GET /\x1b[0m HTTP/1.1", b"GE(T) / HTTP/1.1", b"GET: / HTTP/1.1"),
        *(b"G\xc3\x89T / HTTP/1.1", b'"GET" / HTTP/1.1', b"GET,HEAD / HTTP/1.1", b"{} / HTTP/1.1"),
        *(b"GET a HTTP/1.1", b"GET a/b HTTP/1.1", b"GET ?a HTTP/1.1", b"GET . HTTP/1.1"),
        *(b"GET * HTTP/1.1", b"HEAD * HTTP/1.1", b"OPTIONS ** HTTP/1.1", b"OPTIONS *?a HTTP/1.1"),
        *(b"GET a:80 HTTP/1.1", b"GET /#a HTTP/1.1", b"GET /?# HTTP/1.1", b"GET \\a HTTP/1.1"),
        *(b"GET ftp://a/ HTTP/1.1", b"GET http:/a HTTP/1.1"),
        *(b"GET http:a HTTP/1.1", b"GET //: HTTP/1.x"),
        *(b"GET http:// HTTP/1.1", b"GET http:///a HTTP/1.1", b"GET http://?a HTTP/1.1"),
        *(b"GET http://u@a/ HTTP/1.1", b"GET http://a#b HTTP/1.1", b"GET http://a/#b HTTP/1.1"),
        *(b"GET http://b/ HTTP/1.1", b"GET http://a:80/ HTTP/1.1", b"GET http://a./ HTTP/1.1"),
        *(b"GET http://a\\b/ HTTP/1.1", b"GET http://\xff/ HTTP/1.1", b"GET /a HTTP/\xb2.1"),
    ],
)
def test_lines(text: bytes) -> None:
    assert refused(line(text)) == 400


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"1.9", b"2.0", b"3.0", b"9.9", b"0.0"])
def test_versions(version: bytes) -> None:
    assert refused(line(b"GET / HTTP/" + version)) == 505


def test_http_2_is_told_so() -> None:
    assert refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 505


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"CONNECT"])
def test_methods_that_are_known(method: bytes) -> None:
    assert refused(line(method + b" / HTTP/1.1")) == 405
    assert refused(line(method + b" a.example:443 HTTP/1.1")) == 405
    # Whatever comes along, that is the first thing to say.
    for body in (b"Content-Length: 5", b"Content-Length: 999999", b"Transfer-Encoding: chunked"):
        assert refused(fields(body, method=method) + b"5\r\n") == 405


@pytest.mark.parametrize(
    "method",
    [b"get", b"Get", b"GETS", b"G", b"BREW", b"PROPFIND", b"M-SEARCH", b"!#$%&'*+-.^_`|~09"],
)
def test_methods_that_are_not(method: bytes) -> None:
    assert refused(line(method + b" / HTTP/1.1")) == 501


@pytest.mark.parametrize(
    "text",
    [
        *(b"A : b", b"A\t: b", b" A: b", b"\tA: b", b"A", b"A b", b": b", b":", b" "),
        *(b"\t", b" : "),
        *(b"A\x0b: b", b"A\xff: b", b"A B: c", b"A(: b", b"A@: b", b'"A": b', b"A/: b"),
        *(b"A=b", b"A;: b"),
        *(b"A: b\r\n c", b"A: b\r\n\tc", b"A:\r\n b"),
        *(b"Content-Length: 1\r\n 0", b"A: b\r\n \r\nB: c"),
        *(b"A: \x00", b"A: \x01", b"A: \x0b", b"A: \x1b[0m", b"A: \x7f", b"\x00: b", b"A\x00B: c"),
        *(b"A: b\rc", b"A: b\r", b"A: b\nB: c", b"A: b\n", b"A: b\n\r", b"A: b\r\rB: c"),
        *(b"\rA: b", b"\nA: b"),
        *(b"A: b\n\nGET /x HTTP/1.1", b"A: b\r\r\n", b"Host : a"),
        *(b"Content-Length : 0", b"A: b\n c"),
    ],
)
def test_fields(text: bytes) -> None:
    for before, after in (((), ()), ((b"X: y",), (b"Y: z",))):
        assert refused(fields(*before, text, *after)) == 400


@pytest.mark.parametrize(
    "stream",
    [
        *(b"\n", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n"),
        *(b"\0", b"\r\r\n"),
        *(b"GET / HTTP/1.1\r\nHost: a\r\n\n", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
        *(b"GET /\n", b"\rGET"),
        *(b"GET /\0", b"GET / HTTP/1.0\n", b"GET / HTTP/1.0\r\n\n", b"\r\n\n", b"\x16\x03\x01\0\0"),
    ],
)
def test_what_can_become_no_request_is_refused_before_it_ends(stream: bytes) -> None:
    assert refused(stream) == 400


def ambiguous(*lines: bytes) -> bool:
    return {refused(fields(*lines, version=version)) for version in (b"1.0", b"1.1")} == {400}


@pytest.mark.parametrize(
    "length",
    [
        *(b"5, 5", b"5,5", b"5,", b",5", b"5, 6", b"+5", b"-5", b"-0", b"+0", b"5 5", b"", b" "),
        *(b"0x5", b"5e1", b"5.0", b"1_0", b"five", b"\xb2", b"\xd9\xa5", b'"5"', b"5;x", b"5\x0b"),
        *(b"0" * 20, b"1" + b"0" * 19, b"18446744073709551621", b"9" * 5000),
    ],
)
def test_lengths(length: bytes) -> None:
    assert ambiguous(b"Content-Length: " + length)


@pytest.mark.parametrize(
    "coding",
    [
        *(b"xchunked", b"chunkedx", b"chunk", b"identity", b"chunked, identity", b"gzip", b""),
        *(b"\x0bchunked", b'"chunked"', b"chunked;x", b"\r\n chunked", b"chunked\0", b"chun ked"),
    ],
)
def test_codings_after_which_nobody_knows_where_the_body_ends(coding: bytes) -> None:
    assert ambiguous(b"Transfer-Encoding: " + coding)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        *((b"Host", b"a", b"a"), (b"hOST", b"b", b"b"), (b"Host", b"", b"a")),
        *((b"Content-Length", b"1", b"1"), (b"Content-Length", b"1", b"2")),
        *((b"Content-Length", b"0", b"0"), (b"Content-Type", b"a", b"b")),
        *((b"Transfer-Encoding", b"chunked", b"chunked"), (b"Transfer-Encoding", b"x", b"chunked")),
        *((b"Transfer-Encoding", b"chunked", b"x"), (b"Range", b"bytes=0-1", b"bytes=2-3")),
        *((b"If-Range", b'"a"', b'"b"'), (b"If-Modified-Since", b"x", b"x")),
        (b"If-Unmodified-Since", b"x", b"x"),
    ],
)
def test_fields_that_come_twice(name: bytes, first: bytes, second: bytes) -> None:
    one, other = name + b": " + first, name.lower() + b": " + second
    assert ambiguous(one, other)
    assert ambiguous(one, b"A: b", other)


@pytest.mark.parametrize("coding", [b"chunked", b"identity", b"gzip, chunked"])
@pytest.mark.parametrize("length", [b"0", b"5"])
def test_a_length_and_a_coding(coding: bytes, length: bytes) -> None:
    both = b"Content-Length: " + length, b"Transfer-Encoding: " + coding
    assert ambiguous(*both)
    assert ambiguous(*reversed(both))


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"gzip, chunked", b"identity", b"gzip"])
def test_http_1_0_has_no_transfer_codings(coding: bytes) -> None:
    assert refused(fields(b"Transfer-Encoding: " + coding, version=b"1.0")) == 400


def test_bodies_that_are_not_taken() -> None:
    assert refused(fields(b"Content-Length: %d" % (BODY_MOST + 1))) == 413
    assert refused(fields(b"Content-Length: " + b"9" * 18)) == 413
    assert refused(fields(b"Transfer-Encoding: chunked") + b"0\r\n\r\n") == 413
    assert refused(fields(b"Transfer-Encoding: ChunkeD ")) == 413
    assert refused(fields(b"Transfer-Encoding: gzip, chunked")) == 501
    assert refused(fields(b"Transfer-Encoding: xchunked, chunked")) == 501


@pytest.mark.parametrize(
    "value", [b"200-ok", b"100-continue, x", b"100-continued", b"", b"100-continue;q=1"]
)
def test_expectations(value: bytes) -> None:
    assert refused(fields(b"Expect: " + value)) == 417


def test_no_host() -> None:
    assert refused(b"GET / HTTP/1.1\r\n\r\n") == 400
    assert refused(b"GET / HTTP/1.1\r\nHos: a\r\n\r\n") == 400
    assert refused(b"GET http://a/ HTTP/1.1\r\n\r\n") == 400  # even so it has to be there


@pytest.mark.parametrize(
    "host",
    [
        *(b"a b", b"a,b", b"a/b", b"a?b", b"a#b", b"u@a", b"http://a", b"a\\b", b"<a>", b"a;b"),
        *(b"a'", b"$(a)"),
        *(b".a", b"a..b", b".", b"-a", b"a-", b"a.-b", b"a-.b", b"*", b"a%2eb", b"\xff"),
        *(b"\xe4\xb8\x8b", b"a\tb"),
        *(b":80", b"a:b", b"a:-1", b"a:+1", b"a:80:80", b"a:65536", b"a:123456", b"a: 80"),
        *(b"a :80", b"a:80/"),
        *(b"256.1.1.1", b"1.2.3", b"1.2.3.4.5", b"01.2.3.4", b"2130706433", b"a.1"),
        *(b"0x7f.1", b"1.2.3.4x.5"),
        *(b"::1", b"[::1", b"::1]", b"[::1]]", b"[]", b"[:]", b"[::1::]", b"[1.2.3.4]"),
        *(b"[::g]", b"[a]"),
        *(b"[fe80::1%25eth0]", b"[::1]a", b"[::1]:a", b"a[::1]", b"[v1.a]"),
        *(b"[::1].a", b"[::1.2.3]"),
    ],
)
def test_hosts(host: bytes) -> None:
    assert refused(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host) == 400
    assert refused(b"GET / HTTP/1.0\r\nHost: %b\r\n\r\n" % host) == 400
    if not set(host) & set(b"/?"):
        assert refused(b"GET http://%b/ HTTP/1.0\r\n\r\n" % host) == 400


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", b"BREW /pot HTTP/1.1"),
        (b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3000, b"GET / HTTP/1.1"),
        (b"GET /" + b"a" * 9000, b"GET /" + b"a" * (LINE_SHOWN - 5)),
        (b"\n", b""),
    ],
)
def test_the_line_that_was_refused_is_known(sent: bytes, line: bytes) -> None:
    requests = Requests()
    requests.feed(sent)
    with pytest.raises(Refusal) as refused:
        requests.next()
    assert refused.value.line == line
