"""The answers of HTTP/1.1, from bytes: heads, and how bodies are framed. Pure; imports `wire.text`.

RFC 9112 is the specification. `HeadParser` takes bytes as they come, in pieces of any size, and
gives a `Head`. `body_of` says how the body is framed; of a body, nothing but the framing is looked
at here: the bytes of the file go from the socket to where they belong. Whatever makes no sense, or
is more than there need be, raises `Nonsense`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tcpdl.wire.text import printable

HEAD_MOST = 64 * 1024
"""Bytes of a head: of all its lines."""

FIELDS_MOST = 200
"""Fields of a head."""

LINE_MOST = 4096
"""Bytes of the line before a chunk: its size, and what nobody uses."""

TRAILER_MOST = 16 * 1024
"""Bytes of all that may follow the last chunk."""

MAX_SIZE = (1 << 63) - 1
"""Largest size: what file systems can express."""

_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: (.*))?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)", re.DOTALL)
_CONTROL = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")
_DIGITS = re.compile(r"[0-9]{1,19}")


class Nonsense(Exception):
    """What the server answers is not HTTP/1.1, or not fit to be relied on."""


class Head(NamedTuple):
    """Everything of an answer but its body."""

    minor: int
    """Of HTTP/1.0 or HTTP/1.1, what follows the dot."""
    status: int
    """From 100 to 999."""
    reason: str
    """What the server calls that, fit to be shown."""
    fields: dict[str, tuple[str, ...]]
    """By name, in lower case; the values of one that comes several times, in order."""

    def field(self, name: str) -> str:
        """The value of the field `name`; all of them, with commas between; empty for none."""
        return ", ".join(self.fields.get(name, ()))

    @property
    def persists(self) -> bool:
        """Whether the connection may be used for another request after this answer."""
        options = {option.strip(" \t").lower() for option in self.field("connection").split(",")}
        return "close" not in options and (self.minor > 0 or "keep-alive" in options)


class HeadParser:
    """Takes bytes until they are a head."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0
        self.rest = b""
        """What came after the head."""

    def feed(self, data: bytes | memoryview) -> Head | None:
        """Take `data`; the head, once it is complete. Raises `Nonsense`."""
        self._data += data
        found = _END.search(self._data, self._searched)
        if (found.end() if found else len(self._data)) > HEAD_MOST:
            raise Nonsense(f"a head of more than {HEAD_MOST} bytes")
        if found is None:
            self._searched = max(len(self._data) - 3, 0)
            return None
        self.rest = bytes(self._data[found.end() :])
        return parse_head(bytes(self._data[: found.start()]))


def parse_head(data: bytes) -> Head:
    """Read a head, without the empty line that ends it. Raises `Nonsense`."""
    first, *lines = re.split(rb"\r?\n", _FOLD.sub(b" ", data))
    status = _STATUS.fullmatch(first)
    if status is None:
        raise Nonsense(f"'{printable(first, 64)}' is no status line")
    if len(lines) > FIELDS_MOST:
        raise Nonsense(f"more than {FIELDS_MOST} fields")
    fields: dict[str, tuple[str, ...]] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None or _CONTROL.search(field[2]):
            raise Nonsense(f"'{printable(line, 64)}' is no field")
        name, value = field[1].decode("ascii").lower(), field[2].strip(b" \t")
        fields[name] = (*fields.get(name, ()), value.decode("latin-1"))
    return Head(int(status[1]), int(status[2]), printable(status[3] or b"", 100), fields)


def parse_size(text: str) -> int | None:
    """A size in decimal digits; `None` for anything else, and for more than a file can have."""
    size = int(text) if _DIGITS.fullmatch(text) else -1
    return size if 0 <= size <= MAX_SIZE else None


class Body:
    """How the body of an answer is framed: what comes next, and whether that was all.

    It has `left` bytes at once; in chunks, there are lines between them, which are for `feed`.
    """

    def __init__(self, length: int | None, *, chunked: bool = False) -> None:
        """Of `length` bytes, if that is known; else it lasts until the connection ends, or is
        `chunked`."""
        self.length = length
        """Its bytes, if they are known before."""
        self.left = 0 if chunked else MAX_SIZE if length is None else length
        """Bytes of the body that come next, before any others do."""
        self.ends_with_connection = length is None and not chunked
        self.done = length == 0
        self._chunked = chunked
        self._line = bytearray()
        self._trailer = 0  # bytes of it so far
        self._next = self._size_line

    def passed(self, count: int) -> None:
        """So many of the bytes that are `left` came."""
        self.left -= count
        if not self._chunked and not self.ends_with_connection:
            self.done = not self.left

    def feed(self, data: bytes) -> int:
        """Take, of what comes where nothing is `left`, the framing; return how many bytes that is.

        Raises `Nonsense`.
        """
        at = 0
        while at < len(data) and not self.left and not self.done:
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            at = end or len(data)
            if len(self._line) > LINE_MOST:
                raise Nonsense(f"a line of more than {LINE_MOST} bytes between chunks")
            if end:
                line, self._line = bytes(self._line), bytearray()
                if not line.endswith(b"\r\n"):
                    raise Nonsense("a line between chunks that does not end as it should")
                self._next(line[:-2])
        return at

    def _size_line(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None or int(size[1], 16) > MAX_SIZE:
            raise Nonsense(f"'{printable(line, 64)}' is no size of a chunk")
        self.left = int(size[1], 16)
        self._next = self._after_chunk if self.left else self._trailer_line

    def _after_chunk(self, line: bytes) -> None:
        if line:
            raise Nonsense("a chunk that is longer than it should be")
        self._next = self._size_line

    def _trailer_line(self, line: bytes) -> None:
        self._trailer += len(line) + 2
        if self._trailer > TRAILER_MOST:
            raise Nonsense(f"more than {TRAILER_MOST} bytes after the last chunk")
        self.done = not line


def body_of(head: Head) -> Body:
    """How the body of the answer to a GET is framed (RFC 9112, section 6.3). Raises `Nonsense`."""
    codings = head.field("transfer-encoding").lower().strip(" \t")
    lengths = {one.strip(" \t") for one in head.field("content-length").split(",")}
    if head.status in (204, 304):
        return Body(0)
    if "transfer-encoding" in head.fields:
        # Two that say where the body ends would let one of them be wrong unnoticed.
        if codings != "chunked" or "content-length" in head.fields or not head.minor:
            raise Nonsense("it is not clear where the body ends")
        return Body(None, chunked=True)
    if "content-length" not in head.fields:
        return Body(None)
    length = parse_size(lengths.pop())
    if length is None or lengths:
        raise Nonsense(f"'{printable(head.field('content-length'), 64)}' is no length")
    return Body(length)
