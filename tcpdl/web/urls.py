"""Names as they are written in URLs. Pure; imports nothing of ours."""

from __future__ import annotations

import string

# What stays as it is means nothing to HTML, to a shell, or in a relative reference (RFC 3986).
_PLAIN = frozenset(string.ascii_letters + string.digits + "._@+,/-")
_ESCAPES = {byte: chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in range(256)}


def escaped(path: bytes) -> str:
    """`path`, from a URL's first slash on or relative, as it is written in a URL, in HTML, and in
    a shell's command line alike."""
    return path.decode("latin-1").translate(_ESCAPES)


def folder_path(segments: tuple[bytes, ...]) -> str:
    """The path of the URL of a folder, from the root on."""
    return escaped(b"/".join((b"", *segments, b"")))
