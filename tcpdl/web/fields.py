"""The fields of an answer: types, names, tags and dates. Pure, but for the system's table of types.

Imports `content`.
"""

from __future__ import annotations

import base64
import mimetypes
import re
import time
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote

from tcpdl.content.source import File, Identity

_ATTRIBUTE = "!#$&+-.^_`|~"  # attr-char of RFC 8187
# Now, and not when the first file is asked for: there may be no descriptor left by then.
mimetypes.init()

_LATEST = 253_402_300_799  # the year 10000 has no HTTP date
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")  # RFC 9110, section 12.4.2

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Not in every system's table, and pages do not work without.
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
_COMPRESSED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/octet-stream",
    "zstd": "application/zstd",
}

_ACTIVE = {"text/html", "text/xml", "application/xml"}

SANDBOX = "sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads"
"""A Content-Security-Policy under which a page works, but as one of no site: its scripts reach
neither what else is served here nor what a browser keeps for this server."""

REASONS = {status.value: status.phrase for status in HTTPStatus}
REASONS |= {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable"}

SNIFFED = 1024
"""Bytes of the beginning of a file that tell whether it is text."""

_UNKNOWN = "application/octet-stream"


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> str:
    """An HTTP date (RFC 9110, section 5.6.7); whatever the locale."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    return (
        f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} "
        f"{hour:02}:{minute:02}:{second:02} GMT"
    )


def etag_of(file: File) -> str:
    """Its entity tag. A weak one, if the file may still change without any sign of it."""
    tag = _opaque_tag(file.identity)
    return tag if file.settled else f"W/{tag}"


@lru_cache(maxsize=4096)
def _opaque_tag(identity: Identity) -> str:
    tag = base64.urlsafe_b64encode(identity.tag).decode("ascii").rstrip("=")
    return f'"{tag}"'


def modified_of(file: File, now: float) -> int | None:
    """Its time of last change in seconds; `None` if that is no past date (RFC 9110, section
    8.8.2.1): a time that has not come would be replaced by each answer's own, which tells
    nothing."""
    seconds = file.mtime_ns // 10**9
    return seconds if 0 <= seconds <= min(now, _LATEST) else None


def type_of(name: bytes, beginning: bytes) -> str:
    """The media type of a file with this name, that begins so: with `SNIFFED` bytes, or all that it
    has. Text that is UTF-8 is said to be."""
    _, dot, extension = name.rpartition(b".")
    kind = _type_of(extension) if dot and len(extension) < 20 else _UNKNOWN
    if kind == _UNKNOWN and not dot and _is_text(beginning):
        kind = "text/plain"  # README, LICENSE
    if kind.startswith("text/") and _is_utf8(beginning):
        kind += "; charset=utf-8"
    return kind


def is_active(kind: str) -> bool:
    """Whether a browser runs scripts in a file of this media type."""
    essence = kind.partition(";")[0]
    return essence in _ACTIVE or essence.endswith("+xml")


@lru_cache(maxsize=1024)
def _type_of(extension: bytes) -> str:
    suffix = "." + extension.decode("utf-8", "replace").lower()
    if suffix in _TYPES:
        return _TYPES[suffix]
    kind, coding = mimetypes.guess_type(f"x{suffix}")
    if coding is not None:
        # The bytes are the compressed ones, and nobody is to take that off.
        return _COMPRESSED.get(coding, _UNKNOWN)
    return kind or _UNKNOWN


def _is_text(beginning: bytes) -> bool:
    return (
        bool(beginning)
        and _is_utf8(beginning)
        and not any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in beginning)
    )


def _is_utf8(beginning: bytes) -> bool:
    try:
        beginning.decode("utf-8")
    except UnicodeDecodeError as error:
        # Its last character may be cut off, if the file goes on.
        return len(beginning) >= SNIFFED and error.reason == "unexpected end of data"
    return True


def attachment(name: bytes) -> str:
    """A Content-Disposition that has a browser save the answer under `name` (RFC 6266, 8187)."""
    text = name.decode("utf-8", "replace")
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%' else "_" for char in text)
    value = f'attachment; filename="{plain}"'
    if plain != text:
        value += f"; filename*=UTF-8''{quote(text, safe=_ATTRIBUTE)}"
    return value


def preference(value: str | None, token: str) -> float:
    """How much an Accept or Accept-Encoding field wants `token`, from 0 to 1; 0 if it does not name
    it, or with a weight that is none (RFC 9110, section 12.4.2).

    What a wildcard says does not count: who takes anything, as curl does, is to get what is meant
    for everyone, and who names something besides, as `application/json, */*`, would rather have it.
    """
    for part in (value or "").lower().split(","):
        name, *parameters = (piece.strip(" \t") for piece in part.split(";"))
        if name == token:
            weight = next((piece for piece in parameters if piece.startswith("q=")), "q=1")
            match = _WEIGHT.fullmatch(weight)
            return float(match[1]) if match else 0.0
    return 0.0
