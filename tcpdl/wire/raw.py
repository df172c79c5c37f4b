"""The raw dialect: a request is a name, the answer is the file. Pure; imports `wire.names`.

A name is ended by LF, CRLF or NUL, by the end of the client's stream, or by a quiet period,
which whoever holds the clock reports. PROTOCOL.md section 2 is the specification.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence

from tcpdl.wire.names import MAX_NAME, NameRefused

DEFAULT_ENCODINGS = ("utf-8", "gbk")

_TERMINATOR = re.compile(rb"[\n\0]")

HELP = """\
This is tcpdl. Send the name of a file, end the line, and its bytes come back.

  printf 'hello.txt\\n' | nc -N HOST PORT > hello.txt
  tcpdl get HOST:PORT/hello.txt

An answer of no bytes means that there is no such file here.
""".encode("ascii")
"""What an empty line or `?` is answered with, unless a file has that name."""

HELP_NAMES = (b"", b"?")


class RawRequest:
    """Collects the bytes of one request until it is complete.

    Feed it with `feed`; once that returned a name, or `finish` was called, what the client sends
    further is none of its business.
    """

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes; return the name once its end has come, else `None`.

        Raises `NameRefused` as soon as the name is longer than `MAX_NAME` bytes.
        """
        data = self._buffer + data[: MAX_NAME + 2]  # no more than this can matter
        end = _TERMINATOR.search(data, len(self._buffer))
        name = data[: end.start()] if end else data
        if len(name) > MAX_NAME + name.endswith(b"\r"):
            raise NameRefused(f"the name has more than {MAX_NAME} bytes")
        self._buffer = name
        return self.finish() if end else None

    def finish(self) -> bytes:
        """What has come is the whole name: the stream ended, or the client fell silent."""
        return self._buffer.removesuffix(b"\r")

    def __bool__(self) -> bool:
        """Whether any byte of a name has come."""
        return bool(self._buffer)


def spellings(name: bytes, encodings: Sequence[str]) -> Iterator[bytes]:
    """The names that `name` may stand for, most likely first, each once, as UTF-8.

    Clients send names in the encoding of their system, files are named in UTF-8: `name` is read
    in each of `encodings` in turn. Under `utf-8` it is taken as it is, so that a file whose own
    name is not UTF-8 can be asked for.
    """
    seen = set()
    for encoding in encodings:
        if encoding == "utf-8":
            spelling = name
        else:
            try:
                spelling = name.decode(encoding).encode("utf-8")
            except UnicodeError:
                continue
        if spelling not in seen:
            seen.add(spelling)
            yield spelling


def parse_encodings(text: str) -> tuple[str, ...]:
    """The encodings in a comma-separated list, in Python's own spelling.

    Raises `ValueError`, naming the culprit, for one that is unknown or not a text encoding, and
    for an empty list.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise ValueError("name at least one encoding, as in utf-8,gbk")
    return tuple(_known_encoding(name) for name in names)


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
        return codecs.lookup(name).name
    except (LookupError, UnicodeError, ValueError):
        raise ValueError(f"{name!r} is not a text encoding that Python knows") from None
