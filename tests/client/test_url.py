"""Tests `client.url`: which server and name a URL stands for, and which URLs are refused."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.client.errors import BadRequest
from tcpdl.client.url import (
    DEFAULT_PORT,
    Location,
    join,
    need_native,
    over_http,
    parse_native,
    parse_port,
    parse_server,
    parse_url,
    split_link,
)

PORTS = st.integers(1, 65535)
HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{1,6}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("host:9000/name", "host", 9000, b"name"),
        ("host/name", "host", DEFAULT_PORT, b"name"),
        ("tcpdl://host:9000/name", "host", 9000, b"name"),
        ("tcpdl://host/name", "host", DEFAULT_PORT, b"name"),
        ("TCPDL://host/name", "host", DEFAULT_PORT, b"name"),
        ("127.0.0.1:1/a", "127.0.0.1", 1, b"a"),
        ("host:65535/a", "host", 65535, b"a"),
        ("host:00080/a", "host", 80, b"a"),
        ("[::1]/a", "::1", DEFAULT_PORT, b"a"),
        ("[::1]:9/a", "::1", 9, b"a"),
        ("tcpdl://[fe80::1%eth0]:9/a", "fe80::1%eth0", 9, b"a"),
        ("host", "host", DEFAULT_PORT, b""),
        ("host:1", "host", 1, b""),
        ("host:1/", "host", 1, b""),
        ("host:1/a/b/", "host", 1, b"a/b/"),
        ("host:1//etc/passwd", "host", 1, b"/etc/passwd"),
        ("host:1/a/../b", "host", 1, b"a/../b"),  # the server is the one to refuse it
        ("host:1/a?b#c", "host", 1, b"a?b#c"),
        ("host:1/a:b@c", "host", 1, b"a:b@c"),
        ("host:1/http://x/y", "host", 1, b"http://x/y"),
        ("host:1/下载.txt", "host", 1, "下载.txt".encode()),
        ("host:1/a\nb", "host", 1, b"a\nb"),
        ("host:1/\udcff", "host", 1, b"\xff"),  # an argument that is not UTF-8
        ("例え.jp:1/a", "例え.jp", 1, b"a"),
        # Percent-decoding happens once, and to what is no sequence not at all.
        ("host:1/%68%65", "host", 1, b"he"),
        ("host:1/%e4%B8%8b", "host", 1, "下".encode()),
        ("host:1/%ff%00%0a", "host", 1, b"\xff\0\n"),
        ("host:1/a%2fb%2F..", "host", 1, b"a/b/.."),
        ("host:1/%252e", "host", 1, b"%2e"),
        ("host:1/100%", "host", 1, b"100%"),
        ("host:1/%zz%4", "host", 1, b"%zz%4"),
        ("host:1/a+b", "host", 1, b"a+b"),
    ],
)
def test_url(url: str, host: str, port: int, path: bytes) -> None:
    assert parse_url(url) == Location(host, port, path)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "host is missing"),
        ("/name", "host is missing"),
        (":8080/name", "host is missing"),
        ("[]:8080/name", "host is missing"),
        ("tcpdl://", "host is missing"),
        ("tcpdl:///name", "host is missing"),
        ("ftp://host/name", "ftp:// is not spoken"),
        ("http://", "host is missing"),
        ("http:///name", "host is missing"),
        ("http://?a", "host is missing"),
        ("http://host:x/name", "not a port"),
        ("http://ho st/name", "not a host"),
        ("http://host\r\nX: y/name", "not a "),
        ("http://user@host/name", "user name or password"),
        ("http://user:password@host/name", "user name or password"),
        ("http://host\\@other/name", "user name or password"),
        ("file:///etc/passwd", "file:// is not spoken"),
        ("tcpdl://http://host/name", "not a port"),
        ("user@host/name", "user name or password"),
        ("user:password@host/name", "user name or password"),
        ("ho st/name", "not a host"),
        (" host/name", "not a host"),
        ("host\n/name", "not a host"),
        ("ho\x1bst/name", "not a host"),
        ("ho\u202est/name", "not a host"),
        ("ho\0st/name", "not a host"),
        ("\udcffhost/name", "not a host"),
        ("::1/name", "brackets"),
        ("2001:db8::1:8080/name", "brackets"),
        ("[::1/name", "brackets"),
        ("[::1]8080/name", "brackets"),
        ("[::1]:/name", "not a port"),
        ("host:/name", "not a port"),
        ("host:x/name", "not a port"),
    ],
)
def test_refused_url(url: str, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint) as raised:
        parse_url(url)
    assert str(raised.value).isprintable()  # it is shown on a terminal


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "00000", "65536", "99999", "100000", "000080", "-1", "+80", "8_0", "0x50"),
        *("80.", "8e1", " 80", "80 ", "80\n", "\u0668\u0660", "\uff18\uff10", "8\xb2", "port"),
        "9" * 5000,  # longer than int() takes
    ],
)
def test_refused_port(text: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse_port(text)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("text", "port"), [("1", 1), ("80", 80), ("08080", 8080), ("65535", 65535)]
)
def test_port(text: str, port: int) -> None:
    assert parse_port(text) == port


@given(PORTS)
def test_every_port(port: int) -> None:
    assert parse_port(str(port)) == port


@pytest.mark.parametrize(
    ("server", "found"),
    [
        ("host", ("host", 7)),
        ("host:80", ("host", 80)),
        ("[::1]", ("::1", 7)),
        ("[::1]:80", ("::1", 80)),
        ("host/path", ("host/path", 7)),  # only a URL has a path; the resolver will refuse it
    ],
)
def test_server(server: str, found: tuple[str, int]) -> None:
    assert parse_server(server, 7) == found


@pytest.mark.parametrize(
    ("host", "port", "joined"),
    [("host", 1, "host:1"), ("127.0.0.1", 80, "127.0.0.1:80"), ("::1", 80, "[::1]:80")],
)
def test_join(host: str, port: int, joined: str) -> None:
    assert join(host, port) == joined
    assert Location(host, port, b"name").server == joined


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"", b""),
        (b"a", b"a"),
        (b"a/b.txt", b"b.txt"),
        (b"a/", b""),
        (b"/etc/passwd", b"passwd"),
        (b"a/..", b".."),
        (b"a\\b", b"a\\b"),
    ],
)
def test_file_name(path: bytes, name: bytes) -> None:
    assert Location("host", 1, path).file_name == name


@given(HOSTS, PORTS, st.integers())
def test_server_reads_what_join_writes(host: str, port: int, default: int) -> None:
    assert parse_server(join(host, port), default) == (host, port)


@given(HOSTS, PORTS, st.binary(), st.sampled_from(["", "tcpdl://", "Tcpdl://"]))
def test_url_reads_every_name(host: str, port: int, path: bytes, scheme: str) -> None:
    url = f"{scheme}{join(host, port)}/{quote_from_bytes(path)}"
    assert parse_url(url) == Location(host, port, path)


# Arguments hold what the system makes of any bytes: text, and surrogates for the rest.
ARGUMENTS = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.lists(st.sampled_from([*"aA1[]:/@%. \n\0", "::", "://", "tcpdl", "%2f", "\udcff"])).map(
        "".join
    ),
)


def encodes(text: str) -> bool:
    """Whether `text` may be an argument: only the surrogates that stand for bytes can come."""
    return all(not 0xD800 <= ord(c) <= 0xDFFF or 0xDC80 <= ord(c) <= 0xDCFF for c in text)


@given(ARGUMENTS.filter(encodes))
def test_any_text_is_a_location_or_refused(url: str) -> None:
    try:
        location = parse_url(url)
    except BadRequest:
        return
    assert location.host
    assert location.host.isprintable()
    assert 0 < location.port < 65536
    assert b"/" not in location.file_name


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "target"),
    [
        ("http://host/a/b", "host", 80, b"a/b", "/a/b"),
        ("HTTP://host:81/a", "host", 81, b"a", "/a"),
        ("http://[::1]:9/a", "::1", 9, b"a", "/a"),
        ("http://host", "host", 80, b"", "/"),
        ("http://host/", "host", 80, b"", "/"),
        ("http://host?a/b", "host", 80, b"", "/?a/b"),
        ("http://host/a?b=c&d=%20/e", "host", 80, b"a", "/a?b=c&d=%20/e"),
        ("http://host/a?", "host", 80, b"a", "/a?"),
        ("http://host/a?b?c#d?e", "host", 80, b"a", "/a?b?c"),
        ("http://host#a", "host", 80, b"", "/"),
        ("http://host/%41%2f..%2F", "host", 80, b"A/../", "/%41%2f..%2F"),
        ("http://host//a", "host", 80, b"/a", "//a"),
        ("http://host/a b", "host", 80, b"a b", "/a%20b"),
        ("http://host/a\r\nX: y", "host", 80, b"a\r\nX: y", "/a%0D%0AX:%20y"),
        ("http://host/\udcff\x7f", "host", 80, b"\xff\x7f", "/%FF%7F"),
        ("http://host/下?ä", "host", 80, "下".encode(), "/%E4%B8%8B?%C3%A4"),
        ("http://host/100%", "host", 80, b"100%", "/100%"),
    ],
)
def test_http_url(url: str, host: str, port: int, path: bytes, target: str) -> None:
    location = parse_url(url)
    assert location == Location(host, port, path, target)
    assert over_http(location) is location
    assert location.shown == f"http://{location.server}{target}"


@given(ARGUMENTS.filter(encodes))
def test_any_text_after_http_makes_one_line(rest: str) -> None:
    try:
        location = parse_url(f"http://host/{rest}")
    except BadRequest:
        return
    assert location.target.startswith("/")
    assert location.target.isascii()
    assert location.target.isprintable()
    assert " " not in location.target


@given(st.binary())
def test_any_name_over_http(name: bytes) -> None:
    location = over_http(Location("host", 8080, name))
    assert location.target.isascii()
    assert not set(location.target) & set(" ?#%") - {"%"}
    assert parse_url(f"http://host:8080{location.target}") == location


LINK = "?until=1704144677&signed=UeBQL3lsEfU9Pq11Phnrqvr-qWoIyUrlfYte7QAZGuk"


@pytest.mark.parametrize(
    ("url", "tls", "port"),
    [
        ("tcpdls://host/a", True, DEFAULT_PORT),
        ("TCPDLS://host:1/a", True, 1),
        ("tcpdl://host/a", False, DEFAULT_PORT),
        ("https://host/a", True, 443),
        ("Https://host:1/a", True, 1),
        ("http://host/a", False, 80),
    ],
)
def test_tls(url: str, tls: bool, port: int) -> None:
    location = parse_url(url)
    assert (location.tls, location.port, location.path) == (tls, port, b"a")
    assert over_http(location).tls is tls
    assert location.origin == (tls, "host", port)
    scheme = url.partition(":")[0].lower()
    assert location.shown == f"{'' if scheme == 'tcpdl' else scheme + '://'}host:{port}/a"


def test_secrets_are_not_repeated() -> None:
    for scheme in ("", "tcpdl://", "tcpdls://", "http://", "https://"):
        for user in ("secret@", "me:secret@", "me:secret:secret@", "[secret@"):
            with pytest.raises(BadRequest, match="--login USER, --token-file") as raised:
                parse_url(f"{scheme}{user}host/a")
            assert "secret" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["", "tcpdls://", "http://", "https://"])
def test_link(scheme: str) -> None:
    """It is sent with the name, and is no part of it here, nor shown."""
    location = parse_url(f"{scheme}host:1/a/b.txt{LINK}")
    assert location.file_name == b"b.txt"
    assert "UeBQ" not in location.shown
    assert "UeBQ" not in location.label
    assert (location.target or location.path.decode()).endswith(f"a/b.txt{LINK}")
    assert over_http(location).target == f"/a/b.txt{LINK}"
    assert over_http(location).path == b"a/b.txt"


@pytest.mark.parametrize(
    "suffix",
    [LINK[:-1], f"{LINK}A", LINK.replace("?", "&"), f"{LINK}&a", LINK.replace("=1", "=01")],
)
def test_what_is_no_link_is_a_name(suffix: str) -> None:
    location = parse_url(f"host/a{suffix}")
    assert location.file_name == f"a{suffix}".encode()
    assert split_link(location.path) == (location.path, b"")


def test_need_native() -> None:
    location = parse_native("host/a", "ls")
    assert location == Location("host", DEFAULT_PORT, b"a")
    assert need_native(location, "ls") is location
    with pytest.raises(BadRequest, match=r"ls does not speak HTTP.*host:port/name"):
        parse_native("http://host/a", "ls")
