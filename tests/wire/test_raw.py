"""Tests `wire.raw`: names collected from a stream, and the spellings a name may stand for."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.wire.names import MAX_NAME, NameRefused
from tcpdl.wire.raw import (
    DEFAULT_ENCODINGS,
    HELP,
    HELP_NAMES,
    RawRequest,
    parse_encodings,
    spellings,
)

unhurried = settings(deadline=None)

NAME = "下载文件.txt"
LONGEST = b"n" * MAX_NAME

STREAMS = st.lists(
    st.sampled_from([b"\r", b"\n", b"\0", b"a", b"a/b", b"n" * 1022, b"n" * 1023, LONGEST])
    | st.binary(max_size=3),
    max_size=5,
).map(b"".join)


def ask(*pieces: bytes) -> bytes | None:
    """The name that a client's pieces ended, or `None` if they ended none."""
    request = RawRequest()
    for piece in pieces:
        name = request.feed(piece)
        if name is not None:
            return name
    return None


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        (b"hello.txt\n", b"hello.txt"),
        (b"hello.txt\r\n", b"hello.txt"),
        (b"hello.txt\0", b"hello.txt"),
        (b"hello.txt\r\0", b"hello.txt"),
        (b"\n", b""),
        (b"\r\n", b""),
        (b"\0", b""),
        (b"?\n", b"?"),
        (b" a b \n", b" a b "),
        (b"a\rb\n", b"a\rb"),  # a CR within is part of the name
        (b"a\r\r\n", b"a\r"),
        (b"a\n\n", b"a"),
        (b"a\0\n", b"a"),
        (b"a\n\0", b"a"),
        (b"a\nb\n", b"a"),
        (b"hello.txt\n" + b"trailing" * 1000, b"hello.txt"),
        (NAME.encode() + b"\n", NAME.encode()),
        (NAME.encode("gbk") + b"\n", NAME.encode("gbk")),
        (b"\xff\xfe\n", b"\xff\xfe"),
    ],
)
def test_name(stream: bytes, name: bytes) -> None:
    assert ask(stream) == name
    assert ask(*one_by_one(stream)) == name


@pytest.mark.parametrize("stream", [b"", b"hello.txt", b"hello.txt\r", b"\r", NAME.encode()])
def test_unfinished_name(stream: bytes) -> None:
    assert ask(stream) is None
    assert ask(*one_by_one(stream)) is None


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        (b"", b""),
        (b"\r", b""),
        (b"hello.txt", b"hello.txt"),
        (b"hello.txt\r", b"hello.txt"),
        (b"a\rb", b"a\rb"),
        (b"a\r\r", b"a\r"),
        (LONGEST, LONGEST),
        (LONGEST + b"\r", LONGEST),
    ],
)
def test_silence_ends_a_name(stream: bytes, name: bytes) -> None:
    for pieces in ([stream], one_by_one(stream)):
        request = RawRequest()
        for piece in pieces:
            assert request.feed(piece) is None
        assert request.finish() == name


def test_truth_is_whether_anything_has_come() -> None:
    request = RawRequest()
    assert not request
    request.feed(b"")
    assert not request
    request.feed(b"\r")
    assert request


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0", b"\r\0", b"\ntrailing", b"\n" * 2000])
def test_longest_name(end: bytes) -> None:
    assert MAX_NAME == 1024
    assert ask(LONGEST + end) == LONGEST
    assert ask(*one_by_one(LONGEST + end)) == LONGEST
    assert ask(LONGEST, end) == LONGEST


@pytest.mark.parametrize(
    "stream",
    [
        LONGEST + b"n",
        LONGEST + b"n\n",
        LONGEST + b"n\r\n",
        LONGEST + b"n\0",
        LONGEST + b"\r\r",
        LONGEST + b"\r\r\n",
        LONGEST + b"\rn",
        LONGEST * 100,
        LONGEST * 100 + b"\n",
    ],
)
def test_too_long_a_name(stream: bytes) -> None:
    with pytest.raises(NameRefused, match="1024"):
        ask(stream)
    with pytest.raises(NameRefused, match="1024"):
        ask(*one_by_one(stream))


def test_too_long_a_name_is_refused_before_its_end_comes() -> None:
    request = RawRequest()
    assert request.feed(LONGEST) is None
    with pytest.raises(NameRefused):
        request.feed(b"n")


@unhurried
@given(STREAMS, st.lists(st.integers(0, 2200), max_size=6))
@example(LONGEST + b"\r\n", [1024])
@example(LONGEST + b"\r\n", [1025])
@example(LONGEST + b"\r\r\n", [1025])
@example(b"a\r\nb", [2])
def test_where_the_stream_is_split_changes_nothing(stream: bytes, splits: list[int]) -> None:
    ends = [min(end, len(stream)) for end in sorted(splits)] + [len(stream)]
    begins = [0, *ends[:-1]]
    pieces = [stream[begin:end] for begin, end in zip(begins, ends, strict=True)]
    # What section 2 of the specification says, for the stream as a whole.
    line = stream.replace(b"\0", b"\n").split(b"\n")[0]
    name = line[:-1] if line.endswith(b"\r") else line
    if len(name) > MAX_NAME:
        with pytest.raises(NameRefused):
            ask(*pieces)
        return
    assert ask(*pieces) == (name if len(line) < len(stream) else None)
    if len(line) == len(stream):
        request = RawRequest()
        for piece in pieces:
            request.feed(piece)
        assert request.finish() == name


def test_help() -> None:
    assert HELP.decode("ascii").endswith("\n")
    assert b"tcpdl get" in HELP
    assert HELP_NAMES == (b"", b"?")


@pytest.mark.parametrize(
    ("name", "encodings", "expected"),
    [
        (b"hello.txt", ["utf-8", "gbk"], [b"hello.txt"]),
        (b"hello.txt", ["gbk", "utf-8"], [b"hello.txt"]),
        (NAME.encode("gbk"), ["utf-8", "gbk"], [NAME.encode("gbk"), NAME.encode()]),
        (NAME.encode("gbk"), ["gbk", "utf-8"], [NAME.encode(), NAME.encode("gbk")]),
        (NAME.encode("gbk"), ["utf-8"], [NAME.encode("gbk")]),
        (NAME.encode("gbk"), ["gbk"], [NAME.encode()]),
        (b"\xff\xff", ["gbk"], []),
        (b"\xff\xff", ["utf-8", "gbk"], [b"\xff\xff"]),
        ("é".encode("latin-1"), ["iso8859-1"], ["é".encode()]),
        ("é".encode("latin-1"), ["iso8859-1", "cp1252"], ["é".encode()]),
        (b"", ["utf-8", "gbk"], [b""]),
        (b"x", [], []),
        (b"+", ["utf-7"], [b""]),
        (b"\x00\xd8", ["utf-16-le"], []),  # half a character
        (b"+2AA-", ["utf-7"], []),  # another: decoded, but no UTF-8 says it
    ],
)
def test_spellings(name: bytes, encodings: list[str], expected: list[bytes]) -> None:
    assert list(spellings(name, encodings)) == expected


@unhurried
@given(st.binary(), st.lists(st.sampled_from(["utf-8", "gbk", "shift_jis", "cp437", "utf-7"])))
def test_spellings_are_few_and_each_comes_once(name: bytes, encodings: list[str]) -> None:
    found = list(spellings(name, encodings))
    assert len(found) == len(set(found)) <= len(encodings)
    assert (name in found) >= ("utf-8" in encodings)  # even if it is not UTF-8 at all
    for spelling in found:
        assert spelling == name or spelling.decode("utf-8").encode("utf-8") == spelling


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        ("utf-8,gbk", ("utf-8", "gbk")),
        ("UTF8", ("utf-8",)),
        ("U8", ("utf-8",)),
        (" utf_8 , GBK ,", ("utf-8", "gbk")),
        ("latin-1", ("iso8859-1",)),
        ("gb18030,big5,shift_jis", ("gb18030", "big5", "shift_jis")),
        (",".join(DEFAULT_ENCODINGS), DEFAULT_ENCODINGS),
    ],
)
def test_encodings(text: str, encodings: tuple[str, ...]) -> None:
    assert parse_encodings(text) == encodings


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_no_encodings(text: str) -> None:
    with pytest.raises(ValueError, match="at least one"):
        parse_encodings(text)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("klingon", "klingon"),
        ("utf-8,klingon,gbk", "klingon"),
        ("utf-8 gbk", "utf-8 gbk"),
        ("hex", "hex"),  # a codec, but of bytes
        ("base64", "base64"),
        ("rot13", "rot13"),
        ("zlib", "zlib"),
        ("undefined", "undefined"),
        ("a\0b", "a\\x00b"),
        ("\udcff", "\\udcff"),
        ("../x", "../x"),
    ],
)
def test_unknown_encoding(text: str, culprit: str) -> None:
    with pytest.raises(ValueError, match="is not a text encoding") as caught:
        parse_encodings(text)
    assert culprit in str(caught.value)
