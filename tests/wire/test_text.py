"""Tests `wire.text`: nothing a peer sends controls a log or a terminal."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.wire.text import printable, visible

unhurried = settings(deadline=None)

TRICKY = st.sampled_from(
    ["\\", "\\n", "\\x1b", "\n", "\r", "\x1b[31m", "\x9b", "\u202e", "\u2028", "\ud800", "文", "🙂"]
)
TEXTS = st.lists(TRICKY | st.text(st.characters(), max_size=4), max_size=6).map("".join)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello.txt",
        "a b",
        "下载文件.txt",
        "naïve",
        "файл",
        "ملف",
        "🙂",
        "e\u0301",
        "'\"`$%",
        "~",
    ],
)
def test_what_is_printable_stays(text: str) -> None:
    assert printable(text) == text
    assert printable(text.encode()) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("a\r\nb", r"a\r\nb"),
        ("a\tb", r"a\tb"),
        ("a\0b", r"a\x00b"),
        ("\x07\x08\x7f", r"\x07\x08\x7f"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x85", r"\u0085"),  # C1: next line
        ("\x9b31m", r"\u009b31m"),  # C1: what ESC [ is in one character
        ("\xa0", r"\u00a0"),  # a space that is none
        ("\xad", r"\u00ad"),  # soft hyphen
        ("\u200b", r"\u200b"),  # zero width
        ("\u200d", r"\u200d"),
        ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),  # bidirectional marks
        ("\u202a\u202b\u202c\u202d\u202e", r"\u202a\u202b\u202c\u202d\u202e"),
        ("\u2066\u2067\u2068\u2069", r"\u2066\u2067\u2068\u2069"),
        ("\u2028\u2029", r"\u2028\u2029"),  # line and paragraph separator
        ("\u3000", r"\u3000"),
        ("\ufeff", r"\ufeff"),
        ("\ue000", r"\ue000"),  # private use
        ("\U000e0041", r"\U000e0041"),  # a tag
        ("\\", r"\\"),
        ("\\n", r"\\n"),
        ("a\\x1b", r"a\\x1b"),
    ],
)
def test_what_controls_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text.encode()) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"\xff", r"\xff"),
        (b"a\x80b", r"a\x80b"),
        ("下载".encode("gbk"), r"\xcf\xc2\xd4\xd8"),
        (b"\xc0\xae", r"\xc0\xae"),  # an overlong dot
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),  # a surrogate, which UTF-8 has none of
        ("文".encode()[:2], r"\xe6\x96"),
        (b"\\\xff", r"\\\xff"),
        (b"\xf4\x90\x80\x80", r"\xf4\x90\x80\x80"),  # beyond Unicode
    ],
)
def test_bytes_that_are_not_utf8(text: bytes, shown: str) -> None:
    assert printable(text) == shown


def test_surrogates() -> None:
    assert printable("\ud800") == r"\ud800"
    assert printable("a\udfff") == r"a\udfff"
    assert printable("\udcff") == r"\xff"  # how Python spells the byte in a file name


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abcd..."),
        ("文件文件", 4, "文件文件"),
        ("文件文件a", 4, "文件文件..."),
        ("🙂" * 4, 4, "🙂" * 4),
        ("🙂" * 5, 4, "🙂🙂🙂🙂..."),
        ("\n" * 5, 4, r"\n\n\n\n..."),  # what is cut is what was sent, not how it is shown
        ("abcd\n", 4, "abcd..."),
        ("", 0, ""),
        ("a", 0, "..."),
    ],
)
def test_cutting(text: str, limit: int, shown: str) -> None:
    assert printable(text, limit) == shown
    assert printable(text.encode(), limit) == shown


def test_a_megabyte_is_cut_to_512_characters_unless_told_otherwise() -> None:
    assert printable(b"a" * 1_000_000) == "a" * 512 + "..."
    assert printable("文".encode() * 1_000_000) == "文" * 512 + "..."
    assert printable(b"\xff" * 1_000_000) == r"\xff" * 512 + "..."


@unhurried
@given(TEXTS | st.binary(max_size=40), st.integers(0, 20))
@example(b"\xf0\x9f\x99\x82" * 21, 20)
def test_always_one_printable_line(text: str | bytes, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert len(shown) <= limit * len(r"\U0010ffff") + len("...")


@unhurried
@given(TEXTS.filter(lambda text: not re.search("[\udc80-\udcff]", text)))
def test_what_was_sent_can_be_told_from_what_is_shown(text: str) -> None:
    # Python's own reading of the escapes gives the text back, so no two texts look the same.
    shown = printable(text, 1000)
    assert ast.literal_eval('"' + shown.replace('"', r"\"") + '"') == text


@unhurried
@given(TEXTS.filter(lambda text: text.isprintable()), st.integers(0, 20))
def test_bytes_and_text_are_cut_alike(text: str, limit: int) -> None:
    assert printable(text.encode(), limit) == printable(text, limit)


@unhurried
@given(TEXTS)
def test_a_sentence_is_one_line_whatever_was_put_into_it(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    assert visible(shown) == shown
    assert shown == text or not text.isprintable()
    assert visible(printable(text)) == printable(text)
