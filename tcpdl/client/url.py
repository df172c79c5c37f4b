"""Where a file is: `host:port/name`, `tcpdl://host/name`, `http://host/path`; with TLS,
`tcpdls://host/name` and `https://host/path`. Pure.

Imports `client.errors`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tcpdl.client.errors import BadRequest
from tcpdl.wire.text import printable

DEFAULT_PORT = 8080
"""The port of a URL that names none."""

HTTP_PORT = 80
"""The same for `http://`."""

HTTPS_PORT = 443
"""The same for `https://`."""

ECHO_PORT = 7
"""The same for echo: the port that RFC 862 assigns."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)\Z", re.DOTALL)
_PORT = re.compile(r"[0-9]{1,5}\Z")


class Location(NamedTuple):
    """A server, and a name on it."""

    host: str
    """A host name or an address; an IPv6 address stands here without its brackets."""
    port: int
    path: bytes
    """The name, percent-decoded, without the slash before it; empty for none."""
    target: str = ""
    """Of a file that is to be asked for over HTTP, its path and query as HTTP has them; else
    empty."""
    tls: bool = False
    """Whether the server is spoken to over TLS."""

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What tells the server from others: a login is for one of them alone."""
        return self.tls, self.host.lower(), self.port

    @property
    def server(self) -> str:
        """The server as it is written in a URL."""
        return join(self.host, self.port)

    @property
    def file_name(self) -> bytes:
        """The last segment of the path: what the file is called here."""
        return (self.path if self.target else split_link(self.path)[0]).rpartition(b"/")[2]

    @property
    def label(self) -> str:
        """What it is called in a sentence, fit to be shown."""
        if self.target:
            return printable(_without_signature(self.target))
        return printable(split_link(self.path)[0])

    @property
    def shown(self) -> str:
        """What a person reads of it, fit to be shown."""
        if self.target:
            return f"{self.root}{self.label}"
        name = f"{self.server}/{self.label}"
        return f"tcpdls://{name}" if self.tls else name

    @property
    def root(self) -> str:
        """The beginning of its URLs over HTTP, without a slash at the end."""
        return f"http{'s' * self.tls}://{self.server}"


def split_link(name: bytes) -> tuple[bytes, bytes]:
    """A name, and what may stand after it to make it a link that opens it to whoever has it
    (PROTOCOL.md 8.2): which is kept and shown nowhere."""
    if b"&signed=" in name:
        from tcpdl.wire import links  # it takes a while to import, and few names are links

        if (found := links.split(name)) is not None:
            return found[0], name[len(found[0]) :]
    return name, b""


def _without_signature(target: str) -> str:
    if "signed" in target:
        from tcpdl.wire import links

        return links.without_signature(target.encode("ascii")).decode("ascii")
    return target


def join(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_url(url: str) -> Location:
    """Read a URL. Raises `BadRequest`.

    Forms: `host[:port]/name`, `tcpdl://host[:port]/name`, `http://host[:port]/path?query`, and with
    TLS, `tcpdls://` and `https://`. The port is 8080 if left out, or 80, or 443. `%` and two
    hexadecimal digits stand for a byte, as everywhere in URLs (RFC 3986, section 2.1), so a name
    that holds such a sequence has its `%` written as `%25`. `?` and `#` mean themselves, except in
    URLs of HTTP.
    """
    scheme, tls = _SCHEME.match(url), False
    if scheme:
        name, url = scheme[1].lower(), scheme[2]
        if name in ("http", "https"):
            return _parse_http(url, tls=name == "https")
        if name not in ("tcpdl", "tcpdls"):
            raise BadRequest(
                f"{printable(scheme[1])}:// is not spoken by this version; use host:port/name, "
                "tcpdl://host:port/name or http://host/path, or with TLS tcpdls:// or https://"
            )
        tls = name == "tcpdls"
    authority, _, path = url.partition("/")
    host, port = parse_server(authority, DEFAULT_PORT)
    return Location(host, port, _decoded(path), tls=tls)


def parse_native(url: str, command: str) -> Location:
    """The same, for a `command` that needs the native dialect."""
    return need_native(parse_url(url), command)


def need_native(location: Location, command: str) -> Location:
    """`location`, if it can be asked for in the native dialect. Raises `BadRequest`."""
    if location.target:
        raise BadRequest(
            f"{command} does not speak HTTP; for a tcpdl server, write host:port/name, "
            "and for single files of any web server use tcpdl get"
        )
    return location


def over_http(location: Location) -> Location:
    """`location`, to be asked for over HTTP."""
    if location.target:
        return location
    name, link = split_link(location.path)
    return location._replace(path=name, target=f"/{_quoted(name)}{link.decode('ascii')}")


def _parse_http(rest: str, *, tls: bool) -> Location:
    rest = rest.partition("#")[0]
    end = re.search(r"[/?]", rest)
    at = end.start() if end else len(rest)
    host, port = parse_server(rest[:at], HTTPS_PORT if tls else HTTP_PORT)
    path, query, given = rest[at:].partition("?")
    target = (path or "/") + query + given
    # What a URL cannot hold, people type, and a request line must not.
    target = re.sub(r"[^!-~]", lambda found: _quoted(_as_bytes(found[0])), target)
    return Location(host, port, _decoded(path.removeprefix("/")), target, tls)


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decoded(path: str) -> bytes:
    name = _as_bytes(path)
    if b"%" in name:
        from urllib.parse import unquote_to_bytes  # it takes a while to import

        name = unquote_to_bytes(name)
    return name


def _quoted(name: bytes) -> str:
    """`name` as a path of a URL, its slashes kept (RFC 3986, section 3.3)."""
    unreserved = rb"[^A-Za-z0-9._~!$&'()*+,;=:@/-]"
    return re.sub(unreserved, lambda found: b"%%%02X" % found[0][0], name).decode("ascii")


def parse_server(server: str, default_port: int) -> tuple[str, int]:
    """Read `host`, `host:port` or `[address]:port`. Raises `BadRequest`."""
    if "@" in server:
        raise BadRequest(
            "a URL with a user name or password in it is not asked for: leave them out, and use "
            "--login USER, --token-file FILE or ~/.netrc"
        )
    shown = printable(server)
    if server.startswith("["):
        host, closed, rest = server[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise BadRequest(f"{shown!r}: an address in brackets is written [2001:db8::1]:8080")
        port = rest[1:] if rest else None
    else:
        host, colon, rest = server.partition(":")
        if ":" in rest:
            raise BadRequest(f"{shown!r}: put an IPv6 address in brackets, as in [::1]:8080")
        port = rest if colon else None
    if not host:
        raise BadRequest("the host is missing; write host:port/name")
    if not host.isprintable() or " " in host:
        raise BadRequest(f"{shown!r} is not a host name or address")
    if port is None:
        return host, default_port
    return host, parse_port(port)


def parse_port(text: str) -> int:
    """Read a port number from 1 to 65535. Raises `BadRequest`."""
    if not _PORT.match(text) or not 0 < int(text) < 65536:
        raise BadRequest(f"{printable(text)!r} is not a port number from 1 to 65535")
    return int(text)
