"""Texts that do something to whoever shows them, made of small tables. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator

CONTROLS = [*range(0x01, 0x20), 0x7F, *range(0x80, 0xA0)]
"""C0 without NUL, which no name can hold, DEL and C1."""

DIRECTIONS = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
"""What changes the order in which characters are shown."""

UNSEEN = [0xAD, 0x180E, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xFFF9, 0xFFFB, 0xE0001, 0xE007F]

LINES = [0x85, 0x2028, 0x2029, 0x0B, 0x0C, 0x1C, 0x1D, 0x1E]
"""What some programs take for the end of a line."""

UNASSIGNED = [0x0378, 0xE000, 0xFDD0, 0xFFFE, 0x10FFFF]

TERMINAL = [
    b"\x1b[2J\x1b[H",  # clears it
    b"\x1b]0;title\x07",
    b"\x1b]52;c;aWQK\x07",  # fills the clipboard
    b"\x1b]8;;mailto:a\x1b\\click\x1b]8;;\x1b\\",
    b"\x1bP$q\x1b\\",
    b"\x1b[6n",  # has it type something
    b"\x1b[31mred\x1b[0m",
    b"\xc2\x9b31m",  # the same, as one character
    b"\x9b31m",  # and as one byte
    b"progress 100%\rnot at all",
    b"\x08\x08\x08\x08back",
    b"invoice\xe2\x80\xaefdp.exe",
]

NOT_UTF_8 = [
    b"\xff",
    b"\xc0\xae",
    b"\xed\xa0\x80",
    b"\xed\xb3\xbf",
    b"\xf4\x90\x80\x80",
    b"\xe4\xb8",
]

MARKUP = [
    b"<script>alert(1)<",  # a name holds no slash
    b"<img src=x onerror=alert(1)>",
    b'"><svg onload=alert(1)>',
    b"' onmouseover='alert(1)",
    b"javascript:alert(1)",
    b"data:text&colon;html,x",
    b"a&lt;b&amp;c&#x3c;d",
    b"<!--",
    b"-->",
    b"]]>",
    b"{{7*7}}{% x %}${7*7}#{7*7}",
    b"[red]rich[bold] :smile:",
    b"%s%n{0}{peer}{log_format}",
    b"+ADw-script+AD4-",
    b"`id`$(id);id|id&id",
    b"\\x1b\\u202e\\n",
    b"a\r\nSet-Cookie: a=b\r\n\r\n<html>",
    b'a"; filename="b.exe',
    b"2030-01-01T00:00:00+0000 [-] all is well",
]


def texts() -> Iterator[bytes]:
    """Each of these, and each character between others; none holds a slash or NUL."""
    for number in dict.fromkeys((*CONTROLS, *DIRECTIONS, *UNSEEN, *LINES, *UNASSIGNED)):
        yield b"a" + chr(number).encode() + b"b"
    yield from TERMINAL
    yield from (b"a" + text + b"b" for text in NOT_UTF_8)
    yield from MARKUP
