"""Lines to copy into a shell, which fetch what a page is about. Imports the modules beside it.

A name may hold any byte but NUL. What is not printable text is written as `$'\\xff'`, which bash,
zsh, ksh and the shells of POSIX 2024 know.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from tcpdl.web.urls import PageLink, escaped, with_link

_PORTS = {"http": 80, "https": 443}
_SERVER = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?")
_HARD = re.compile(rb"[^ -~]|['\\]")
_CLIENT = "/.well-known/tcpdl/tcpdl.pyz"


class Line(NamedTuple):
    """A line to copy."""

    title: str
    """What it is about, or the program that it needs."""
    text: str


class Place(NamedTuple):
    """What is fetched, and from where."""

    scheme: str
    host: str
    """As it stands in a URL, with the port if it is not the scheme's own."""
    segments: tuple[bytes, ...]
    folder: bool
    link: PageLink | None = None
    """What it has to be asked for with."""

    @property
    def url(self) -> str:
        slash = "/" if self.folder and self.segments else ""
        url = f"{self.scheme}://{self.host}/{escaped(b'/'.join(self.segments))}{slash}"
        return with_link(url, self.link)

    @property
    def server(self) -> tuple[str, int]:
        """Host, without brackets, and port."""
        match = _SERVER.match(self.host)
        assert match is not None  # whatever it is
        return match[1].strip("[]") or "localhost", int(match[2] or _PORTS[self.scheme])

    @property
    def native_url(self) -> str:
        """The URL that `tcpdl` takes."""
        host, port = self.server
        scheme = "tcpdls://" if self.scheme == "https" else ""
        path = escaped(b"/".join(self.segments))
        url = f"{scheme}{f'[{host}]' if ':' in host else host}:{port}/{path}"
        return with_link(url, self.link)

    @property
    def local(self) -> bytes:
        """What it is called on the disk of who fetches it."""
        name = self.segments[-1] if self.segments else b"files"
        return b"./" + name if name.startswith(b"-") else name


def quoted(argument: bytes) -> str:
    """`argument` as one word of a command line, which says nothing else to a shell."""
    text = argument.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + _HARD.sub(lambda byte: f"\\x{byte[0][0]:02x}".encode(), argument).decode() + "'"


def word(text: str) -> str:
    """`text`, which the client may have chosen, as one word of a command line."""
    return quoted(text.encode("utf-8", "surrogateescape"))


def file_lines(place: Place, sha256: bytes | None) -> list[Line]:
    """The ways to fetch a file, each complete; with its digest, also how to check it."""
    name, url = quoted(place.local), word(place.url)
    host, port = place.server
    lines = [
        Line("tcpdl", f"tcpdl get {word(place.native_url)}"),
        Line("curl", f"curl -fo {name} {url}"),
        Line("wget", f"wget -O {name} {url}"),
    ]
    asked = b"/".join(place.segments) + with_link("", place.link).encode("ascii")
    if b"\n" not in asked and not asked.endswith(b"\r"):  # which end a name in the raw dialect
        program = f"nc -N {word(host)} {port}"
        if place.scheme == "https":
            program = f"openssl s_client -quiet -connect {word(f'{host}:{port}')}"
        lines.append(Line("nc", f"printf '%s\\n' {quoted(asked)} | {program} > {name}"))
    if sha256 is not None:
        lines.append(Line("check", check_line(place.local, sha256)))
    return lines


def check_line(name: bytes, sha256: bytes) -> str:
    """How the digest of a file that was fetched is compared."""
    # A name that would break the line is written with escapes, and the line says so first.
    safe = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"\\" if safe != name else b""
    entry = mark + sha256.hex().encode("ascii") + b"  " + safe
    return f"printf '%s\\n' {quoted(entry)} | sha256sum -c"


def folder_lines(place: Place) -> list[Line]:
    """The ways to fetch a folder."""
    name = quoted(place.local)
    url = word(f"{place.url}{'&' if place.link else '?'}archive=tar")
    return [
        Line("tcpdl", f"tcpdl mirror {word(place.native_url)} {name}"),
        Line("tar", f"curl -f {url} | tar x"),
    ]


def client_lines(place: Place, sha256: str) -> list[Line]:
    """How to have the client without installing anything, and use it."""
    client = word(f"{place.scheme}://{place.host}{_CLIENT}")
    command = f"mirror {word(place.native_url)} {quoted(place.local)}"
    if not place.folder:
        command = f"get {word(place.native_url)}"
    check = check_line(b"tcpdl.pyz", bytes.fromhex(sha256))
    return [Line("client", f"curl -fO {client} &&\n{check} &&\npython3 tcpdl.pyz {command}")]
