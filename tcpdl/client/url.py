"""Where a file is: `host:port/name`, `tcpdl://host/name`. Imports `client.errors`. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from tcpdl.client.errors import BadRequest
from tcpdl.wire.text import printable

DEFAULT_PORT = 8080
"""The port of a URL that names none."""

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

    @property
    def server(self) -> str:
        """The server as it is written in a URL."""
        return join(self.host, self.port)

    @property
    def file_name(self) -> bytes:
        """The last segment of the path: what the file is called here."""
        return self.path.rpartition(b"/")[2]


def join(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_url(url: str) -> Location:
    """Read a URL. Raises `BadRequest`.

    Forms: `host[:port]/name`, `tcpdl://host[:port]/name`. The port is 8080 if left out. `%` and
    two hexadecimal digits stand for a byte, as everywhere in URLs (RFC 3986, section 2.1), so a
    name that holds such a sequence has its `%` written as `%25`. `?` and `#` mean themselves.
    """
    scheme = _SCHEME.match(url)
    if scheme:
        if scheme[1].lower() != "tcpdl":
            raise BadRequest(
                f"{printable(scheme[1])}:// is not spoken by this version; "
                "use host:port/name or tcpdl://host:port/name"
            )
        url = scheme[2]
    authority, _, path = url.partition("/")
    host, port = parse_server(authority, DEFAULT_PORT)
    name = path.encode("utf-8", "surrogateescape")
    if b"%" in name:
        from urllib.parse import unquote_to_bytes  # it takes a while to import

        name = unquote_to_bytes(name)
    return Location(host, port, name)


def parse_server(server: str, default_port: int) -> tuple[str, int]:
    """Read `host`, `host:port` or `[address]:port`. Raises `BadRequest`."""
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
    if "@" in host or not host.isprintable() or " " in host:
        raise BadRequest(f"{shown!r} is not a host name or address")
    if port is None:
        return host, default_port
    return host, parse_port(port)


def parse_port(text: str) -> int:
    """Read a port number from 1 to 65535. Raises `BadRequest`."""
    if not _PORT.match(text) or not 0 < int(text) < 65536:
        raise BadRequest(f"{printable(text)!r} is not a port number from 1 to 65535")
    return int(text)
