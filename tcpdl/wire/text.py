"""Text from a peer made fit for a log or a terminal. Pure; imports nothing of ours."""

from __future__ import annotations

import re

_HALF_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:x.?|u.{0,3}|U.{0,7})?\Z")
"""An escape of `printable` of which the end is missing, and whole ones that stand before."""


def printable(text: bytes | str, limit: int = 512) -> str:
    r"""`text` as one line that shows what it holds and controls nothing.

    Bytes are read as UTF-8. What Unicode calls printable stays, letters of every script
    included; control characters, line and paragraph separators, bidirectional and other format
    characters, and bytes that are not UTF-8 are written as `\n`, `\x1b`, `\u202e`, and so on,
    and a backslash as `\\`. More than `limit` characters are cut, and that is shown.
    """
    if isinstance(text, bytes):
        # Four bytes make one character at most, so nothing that will be shown is cut off here.
        text = text[: 4 * limit + 4].decode("utf-8", "surrogateescape")
    shown = text[:limit]
    if not shown.isprintable() or "\\" in shown:
        shown = "".join(map(_escape, shown))
    return shown if len(text) <= limit else shown + "..."


def clipped(shown: str, most: int) -> str:
    """What `printable` gave, if it has no more than `most` bytes; else its beginning, without half
    an escape, and dots."""
    whole = shown.encode("utf-8")
    if len(whole) <= most:
        return shown
    return _HALF_ESCAPE.sub(r"\1", whole[:most].decode("utf-8", "ignore")) + "..."


def visible(sentence: str) -> str:
    """`sentence` as one line that controls nothing, whatever others have put into it.

    The last thing that is done to a sentence of ours before a person reads it: what was quoted in
    it has mostly been through `printable`, and so a backslash stays one.
    """
    if sentence.isprintable():
        return sentence
    return "".join([one if one.isprintable() else _escape(one) for one in sentence])


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    if 0x80 <= code <= 0xFF:  # not to be taken for such a byte
        return f"\\u{code:04x}"
    return character.encode("unicode_escape").decode("ascii")
