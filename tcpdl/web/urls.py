"""Names as they are written in URLs. Pure; imports nothing of ours."""

from __future__ import annotations

import string
from typing import NamedTuple

# What stays as it is means nothing to HTML, to a shell, or in a relative reference (RFC 3986).
_PLAIN = frozenset(string.ascii_letters + string.digits + "._@+,/-")
_ESCAPES = {byte: chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in range(256)}


def escaped(path: bytes) -> str:
    """`path`, from a URL's first slash on or relative, as it is written in a URL, in HTML, and in
    a shell's command line alike."""
    return path.decode("latin-1").translate(_ESCAPES)


class PageLink(NamedTuple):
    """A link that a page was asked for with, and that is to be passed on to where it holds."""

    arguments: str
    """Those of a query, which make a URL such a link."""
    depth: int
    """How many segments the place has that it is for: with fewer, it opens nothing."""


def fields_of(link: PageLink | None) -> list[tuple[str, str]]:
    """The names and values of the arguments of `link`: what a form has to send with its own."""
    parts = [part.partition("=") for part in link.arguments.split("&")] if link else []
    return [(name, value) for name, _, value in parts]


def with_link(href: str, link: PageLink | None) -> str:
    """`href`, with the `link`, if there is one."""
    if link is None:
        return href
    return f"{href}{'&' if '?' in href else '?'}{link.arguments}"


def folder_path(segments: tuple[bytes, ...]) -> str:
    """The path of the URL of a folder, from the root on."""
    return escaped(b"/".join((b"", *segments, b"")))
