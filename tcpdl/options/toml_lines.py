"""In which lines of a TOML file its keys are. Imports the standard library only.

tomllib says what a file means, and nothing of where. So the text is gone through once more, which
is easy as long as it is valid TOML: nothing has to be understood but where strings, comments and
brackets end. What is said of a text that is not valid ends where it stops making sense.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys, and indexes of arrays, from the outermost in."""

_STRING = (
    # The last quotes of several belong to the text.
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' + r"|'''.*?'''(?:'{0,2})" + r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
)
_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_BLANK = re.compile(r"[ \t]*")
_BLANKS = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_DOTTED = re.compile(rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*")
_PART = re.compile(_KEY)
_TEXT = re.compile(_STRING, re.DOTALL)
_OTHER = re.compile(
    r"[^\s,\[\]{}#=\"']+(?: [0-9:.+-]+Z?)?"
)  # a date may have a blank before the time
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_MEANT = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class Place(NamedTuple):
    """Where something is."""

    path: Path
    line: int
    """From 1 on."""


class _Lost(Exception):
    """The text makes no sense from here on."""


def places(text: str) -> Iterator[Place]:
    """All keys, headers of tables and elements of arrays, in their order.

    Lines end in LF or CRLF. A key that is there twice comes twice.
    """
    scan = _Scan(text.replace("\r\n", "\n"))
    try:
        yield from scan.document()
    except (_Lost, RecursionError):
        return


class _Scan:
    """Goes through a text, once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0  # up to where lines were

    def document(self) -> Iterator[Place]:
        table: Path = ()
        arrays: dict[Path, int] = {}
        self._take(_BLANKS)
        while self._at < len(self._text):
            line = self._here()
            if self._text.startswith("[", self._at):
                many = self._text.startswith("[[", self._at)
                self._at += 1 + many
                table = self._key()
                self._expect("]]" if many else "]")
                if many:
                    arrays[table] = arrays.get(table, -1) + 1
                    table = (*table, arrays[table])
                yield Place(table, line)
            else:
                yield from self._pair(table)
            self._take(_BLANKS)

    def _pair(self, table: Path) -> Iterator[Place]:
        line = self._here()
        path = (*table, *self._key())
        self._expect("=")
        yield Place(path, line)
        yield from self._value(path)

    def _value(self, path: Path) -> Iterator[Place]:
        self._take(_BLANK)
        opened = self._text[self._at : self._at + 1]
        if opened == "[":
            yield from self._elements(path, "]")
        elif opened == "{":
            yield from self._elements(path, "}")
        else:
            self._take(_TEXT if opened in ("'", '"') else _OTHER)

    def _elements(self, path: Path, closed: str) -> Iterator[Place]:
        self._at += 1
        index = 0
        while True:
            self._take(_BLANKS)
            if self._text.startswith(closed, self._at):
                self._at += 1
                return
            if closed == "}":
                yield from self._pair(path)
            else:
                yield Place((*path, index), self._here())
                yield from self._value((*path, index))
                index += 1
            self._take(_BLANKS)
            if self._text.startswith(",", self._at):
                self._at += 1
            elif not self._text.startswith(closed, self._at):
                raise _Lost

    def _key(self) -> Path:
        self._take(_BLANK)
        return tuple(_plain(part) for part in _PART.findall(self._take(_DOTTED)))

    def _expect(self, what: str) -> None:
        self._take(_BLANK)
        if not self._text.startswith(what, self._at):
            raise _Lost
        self._at += len(what)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _Lost
        self._at = found.end()
        return found[0]

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _plain(key: str) -> str:
    """A key without its quotes."""
    if key.startswith("'"):
        return key[1:-1]
    return _ESCAPE.sub(_meant, key[1:-1]) if key.startswith('"') else key


def _meant(escape: re.Match[str]) -> str:
    number = escape[1] or escape[2]
    if number is None:
        return _MEANT.get(escape[3], escape[3])
    return chr(int(number, 16)) if int(number, 16) < 0x110000 else "\ufffd"
