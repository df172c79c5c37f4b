"""Tests `wire.names`: what may be a name, a segment, and where a symbolic link may lead."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.wire.names import (
    MAX_NAME,
    MAX_SEGMENT,
    Name,
    NameRefused,
    check_segment,
    follow_link,
    parse_name,
)

# How long an example takes says nothing about the code, least of all on a busy machine.
unhurried = settings(deadline=None)

# Random bytes seldom hold two slashes or a dot-dot, so names are built of what could go wrong.
PARTS = st.sampled_from(
    [
        *[b"", b".", b"..", b"...", b".git", b"a", b"b.txt", b"a\0", b"\\", b"..\\", b"%2e%2e"],
        *[b"s" * MAX_SEGMENT, b"s" * (MAX_SEGMENT + 1), b"\r", b"\xc0\xae\xc0\xae", b"\xff"],
    ]
)
NAMES = st.lists(PARTS | st.binary(max_size=3), max_size=8).map(b"/".join) | st.binary()
SAFE_SEGMENTS = st.lists(
    st.binary(min_size=1, max_size=4).filter(
        lambda part: b"/" not in part and b"\0" not in part and not part.startswith(b".")
    ),
    max_size=4,
).map(tuple)
ROOTS = st.sampled_from([b"/srv/files", b"/srv", b"/a", b""])

# Written for this project. `None`: refused whatever is asked for. Segments: taken byte for byte
# as they stand when hidden names are served, so that no decoding of any kind may turn them into
# something else.
HOSTILE: list[tuple[bytes, tuple[bytes, ...] | None]] = [
    # climbing
    (b"..", None),
    (b"../", None),
    (b"../canary", None),
    (b"./../canary", None),
    (b".//..//canary", None),
    (b"a/..", None),
    (b"a/../b", None),
    (b"a/b/../../../canary", None),
    (b"a/./../../canary", None),
    (b"a//../canary", None),
    (b"a/../..", None),
    (b"../" * 300 + b"canary", None),
    (b"a/" * 200 + b"../" * 200 + b"canary", None),
    # climbing, to those who look twice
    (b"...", (b"...",)),
    (b".../canary", (b"...", b"canary")),
    (b"..../canary", (b"....", b"canary")),
    (b"....//canary", (b"....", b"canary")),
    (b"..;/canary", (b"..;", b"canary")),
    (b".. /canary", (b".. ", b"canary")),
    (b" ../canary", (b" ..", b"canary")),
    (b"..\t/canary", (b"..\t", b"canary")),
    (b"..\r", (b"..\r",)),
    (b".\r./canary", (b".\r.", b"canary")),
    (b"..~/canary", (b"..~", b"canary")),
    # other people's separators
    (b"..\\canary", (b"..\\canary",)),
    (b"..\\..\\canary", (b"..\\..\\canary",)),
    (b"\\canary", (b"\\canary",)),
    (b"a\\..\\canary", (b"a\\..\\canary",)),
    (b"..\\/canary", (b"..\\", b"canary")),
    (b"c:\\canary", (b"c:\\canary",)),
    (b"c:/canary", (b"c:", b"canary")),
    (b"\\\\host\\share", (b"\\\\host\\share",)),
    (b"..:canary", (b"..:canary",)),
    ("..\u2215canary".encode(), ("..\u2215canary".encode(),)),  # division slash
    ("..\uff0fcanary".encode(), ("..\uff0fcanary".encode(),)),  # fullwidth slash
    # absolute
    (b"/", None),
    (b"//", None),
    (b"/.", None),
    (b"/canary", None),
    (b"//canary", None),
    (b"/./canary", None),
    (b"/../canary", None),
    (b"/proc/self/environ", None),
    (b"/srv/files/hello.txt", None),
    # absolute, elsewhere
    (b"file:///canary", (b"file:", b"canary")),
    (b"~/canary", (b"~", b"canary")),
    (b"$HOME/canary", (b"$HOME", b"canary")),
    # NUL
    (b"\0", None),
    (b"\0/canary", None),
    (b"hello.txt\0", None),
    (b"hello.txt\0.png", None),
    (b"..\0/canary", None),
    (b"a/\0/b", None),
    # percent-encoding is HTTP's: a name is taken literally
    (b"%2e%2e/canary", (b"%2e%2e", b"canary")),
    (b"%2E%2E%2Fcanary", (b"%2E%2E%2Fcanary",)),
    (b".%2e/canary", (b".%2e", b"canary")),
    (b"%252e%252e%252fcanary", (b"%252e%252e%252fcanary",)),
    (b"%%32%65/canary", (b"%%32%65", b"canary")),
    (b"%2fcanary", (b"%2fcanary",)),
    (b"%00", (b"%00",)),
    (b"hello.txt%00.png", (b"hello.txt%00.png",)),
    (b"%c0%ae%c0%ae/canary", (b"%c0%ae%c0%ae", b"canary")),
    (b"%u002e%u002e/canary", (b"%u002e%u002e", b"canary")),
    (b"&#46;&#46;/canary", (b"&#46;&#46;", b"canary")),
    (b"\\x2e\\x2e/canary", (b"\\x2e\\x2e", b"canary")),
    # dots that are none: overlong UTF-8, and characters that compatibility folding makes dots of
    (b"\xc0\xae\xc0\xae/canary", (b"\xc0\xae\xc0\xae", b"canary")),
    (b"\xe0\x80\xae\xe0\x80\xae/canary", (b"\xe0\x80\xae\xe0\x80\xae", b"canary")),
    (b"\xf0\x80\x80\xae./canary", (b"\xf0\x80\x80\xae.", b"canary")),
    (b"..\xc0\xafcanary", (b"..\xc0\xafcanary",)),
    (b"..\xe0\x80\xafcanary", (b"..\xe0\x80\xafcanary",)),
    (b"\xc0\x80", (b"\xc0\x80",)),
    ("\uff0e\uff0e/canary".encode(), ("\uff0e\uff0e".encode(), b"canary")),
    ("\u2025/canary".encode(), ("\u2025".encode(), b"canary")),
    ("\u2024\u2024/canary".encode(), ("\u2024\u2024".encode(), b"canary")),
    ("\u3002\u3002/canary".encode(), ("\u3002\u3002".encode(), b"canary")),
    (".\u200d./canary".encode(), (".\u200d.".encode(), b"canary")),
    ("\ufeff../canary".encode(), ("\ufeff..".encode(), b"canary")),
    (b"\xff\xfe.\0.\0", None),
    # control characters and what a terminal or a log would obey
    (b"a\nb", (b"a\nb",)),
    (b"\x1b[2Jhello", (b"\x1b[2Jhello",)),
    (b"\x07\x08\x7f", (b"\x07\x08\x7f",)),
    ("\u202etxt.exe".encode(), ("\u202etxt.exe".encode(),)),
    (b"\x80\x9b31m", (b"\x80\x9b31m",)),
    # what other systems give a meaning to
    (b"CON", (b"CON",)),
    (b"nul.txt", (b"nul.txt",)),
    (b"aux:", (b"aux:",)),
    (b"COM1/x", (b"COM1", b"x")),
    (b"hello.txt::$DATA", (b"hello.txt::$DATA",)),
    (b"hello.txt.", (b"hello.txt.",)),
    (b"hello.txt ", (b"hello.txt ",)),
    (b"-rf", (b"-rf",)),
    (b"*", (b"*",)),
    (b"`id`;$(id)|id", (b"`id`;$(id)|id",)),
    (b"%s%n%x", (b"%s%n%x",)),
    # long
    (b"a" * 256, None),
    (b"a/" + b"b" * 256 + b"/c", None),
    ("文".encode() * 86, None),  # 86 characters, but 258 bytes
    (b"a" * 100_000, None),
    (b"/" * 100_000, None),
    (b"./" * 513, None),
]


@pytest.mark.parametrize(("name", "segments"), HOSTILE)
def test_hostile_name(name: bytes, segments: tuple[bytes, ...] | None) -> None:
    if segments is None:
        with pytest.raises(NameRefused):
            parse_name(name, hidden=True)
    else:
        assert parse_name(name, hidden=True).segments == segments


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"", Name((), folder=True)),
        (b".", Name((), folder=True)),
        (b"./", Name((), folder=True)),
        (b"./.", Name((), folder=True)),
        (b"hello.txt", Name((b"hello.txt",))),
        (b"./hello.txt", Name((b"hello.txt",))),
        (b"a//b", Name((b"a", b"b"))),
        (b"a/./b", Name((b"a", b"b"))),
        (b"a/b/", Name((b"a", b"b"), folder=True)),
        (b"a/b//", Name((b"a", b"b"), folder=True)),
        (b"a/b/.", Name((b"a", b"b"), folder=True)),
        (b" ", Name((b" ",))),
        (b"a b/c d", Name((b"a b", b"c d"))),
        ("下载文件.txt".encode(), Name(("下载文件.txt".encode(),))),
        ("下载文件.txt".encode("gbk"), Name(("下载文件.txt".encode("gbk"),))),
        (b"a.b.c", Name((b"a.b.c",))),
        (b"a..b", Name((b"a..b",))),
        (b"a..", Name((b"a..",))),
    ],
)
def test_name(name: bytes, expected: Name) -> None:
    assert parse_name(name) == expected


@pytest.mark.parametrize("name", [b".env", b".git/config", b"a/.b/c", b"a/.b", b"...", b"./.env"])
def test_hidden_only_if_asked_for(name: bytes) -> None:
    with pytest.raises(NameRefused, match="hidden"):
        parse_name(name)
    rest = tuple(part for part in name.split(b"/") if part != b".")
    assert parse_name(name, hidden=True).segments == rest


def test_longest_name() -> None:
    longest = b"/".join([b"d" * 204] * 4 + [b"f" * 204])
    assert len(longest) == MAX_NAME == 1024
    assert len(parse_name(longest).segments) == 5
    with pytest.raises(NameRefused, match="1025 bytes"):
        parse_name(longest + b"f")
    # Bytes that say nothing count as well: the limit is on what is sent.
    with pytest.raises(NameRefused, match="1025 bytes"):
        parse_name(longest + b"/")


@pytest.mark.parametrize("name", [b"%b", b"a/%b", b"%b/a", b"a/%b/b"])
def test_longest_segment(name: bytes) -> None:
    assert MAX_SEGMENT == 255
    assert b"s" * 255 in parse_name(name % (b"s" * 255)).segments
    with pytest.raises(NameRefused, match="256 bytes"):
        parse_name(name % (b"s" * 256))


@unhurried
@given(NAMES, st.booleans())
@example(b"a/" * 511 + b"ab", True)
def test_whatever_is_accepted_is_safe(name: bytes, hidden: bool) -> None:
    try:
        segments = parse_name(name, hidden=hidden).segments
    except NameRefused:
        return
    for segment in segments:
        assert segment not in (b"", b".", b"..")
        assert b"/" not in segment
        assert b"\0" not in segment
        assert len(segment) <= MAX_SEGMENT
        assert hidden or not segment.startswith(b".")
        check_segment(segment, hidden=hidden)
    # An independent reading of the same bytes ends below the root, at the same place.
    assert posixpath.normpath(b"/root/" + name) == b"/".join([b"/root", *segments])


@unhurried
@given(NAMES, st.booleans())
def test_parsing_again_changes_nothing(name: bytes, hidden: bool) -> None:
    try:
        parsed = parse_name(name, hidden=hidden)
    except NameRefused:
        return
    again = b"/".join(parsed.segments) + b"/" * (parsed.folder and bool(parsed.segments))
    assert parse_name(again, hidden=hidden) == parsed


@unhurried
@given(NAMES)
def test_what_is_refused_and_nothing_else(name: bytes) -> None:
    deserved = (
        len(name) > MAX_NAME
        or b"\0" in name
        or name.startswith(b"/")
        or any(part == b".." or len(part) > MAX_SEGMENT for part in name.split(b"/"))
    )
    if deserved:
        with pytest.raises(NameRefused) as caught:
            parse_name(name, hidden=True)
        assert str(caught.value).isprintable()
    else:
        parse_name(name, hidden=True)


@pytest.mark.parametrize("segment", [b"a", b"a..", b"a b", b"\\", b"\xff", b"~", b"-", b"s" * 255])
def test_good_segment(segment: bytes) -> None:
    check_segment(segment, hidden=False)
    check_segment(segment, hidden=True)


@pytest.mark.parametrize("segment", [b"..", b"s" * 256, b"." + b"s" * 255])
def test_bad_segment(segment: bytes) -> None:
    with pytest.raises(NameRefused):
        check_segment(segment, hidden=True)


@pytest.mark.parametrize("segment", [b"", b".", b"/", b"a/b", b"../a", b"\0", b"a\0"])
def test_segment_that_no_name_may_hold(segment: bytes) -> None:
    with pytest.raises(NameRefused):
        check_segment(segment, hidden=True)


@pytest.mark.parametrize("segment", [b".a", b"...", b"..a"])
def test_hidden_segment(segment: bytes) -> None:
    check_segment(segment, hidden=True)
    with pytest.raises(NameRefused, match="hidden"):
        check_segment(segment, hidden=False)


ROOT = b"/srv/files"


@pytest.mark.parametrize(
    ("parents", "target", "leads_to"),
    [
        ((), b"x", (b"x",)),
        ((), b"./x//y/.", (b"x", b"y")),
        ((b"a",), b"x", (b"a", b"x")),
        ((b"a",), b"../x", (b"x",)),
        ((b"a", b"b"), b"../../x", (b"x",)),
        ((b"a", b"b"), b"..", (b"a",)),
        ((b"a",), b"..", ()),
        ((b"a",), b".", (b"a",)),
        ((b"a",), b"b/../../c", (b"c",)),
        ((b"a",), b"/srv/files/x", (b"x",)),
        ((b"a",), b"/srv/files//x/", (b"x",)),
        ((b"a",), b"/srv/files", ()),
        ((b"a",), b"/srv/files/", ()),
        ((b"a",), b"/srv/files/x/../y", (b"y",)),
        ((), b"%2e%2e/x", (b"%2e%2e", b"x")),
        ((), b"pipe:[4711]", (b"pipe:[4711]",)),
    ],
)
def test_link_inside(
    parents: tuple[bytes, ...], target: bytes, leads_to: tuple[bytes, ...]
) -> None:
    assert follow_link(parents, target, ROOT, hidden=False) == leads_to


@pytest.mark.parametrize(
    ("parents", "target"),
    [
        ((), b".."),
        ((), b"../files/x"),  # out and back
        ((), b"x/../../files/x"),
        ((b"a",), b"../.."),
        ((b"a",), b"../../files/a"),
        ((b"a",), b"/"),
        ((b"a",), b"/srv"),
        ((b"a",), b"/srv/"),
        ((b"a",), b"/srv/file"),
        ((b"a",), b"/srv/files-secret"),
        ((b"a",), b"/srv/files-secret/x"),
        ((b"a",), b"/srv/files.old/x"),
        ((b"a",), b"/srv/filesx"),
        ((b"a",), b"/srv/FILES/x"),
        ((b"a",), b"//srv/files/x"),
        ((b"a",), b"/srv//files/x"),
        ((b"a",), b"/./srv/files/x"),
        ((b"a",), b"/srv/other/../files/x"),
        ((b"a",), b"/srv/files/.."),
        ((b"a",), b"/srv/files/../files/x"),
        ((b"a",), b"/srv/files/../files-secret/x"),
        ((b"a",), b"/srv/files/a/../../x"),
        ((b"a",), b"/proc/self/environ"),
        ((), b"x\0"),
        ((), b"\0"),
        ((), b"/srv/files/x\0"),
        ((), b"s" * 256),
        ((), b"/srv/files/" + b"s" * 256),
    ],
)
def test_link_refused(parents: tuple[bytes, ...], target: bytes) -> None:
    with pytest.raises(NameRefused):
        follow_link(parents, target, ROOT, hidden=True)


@pytest.mark.parametrize("target", [b".x", b"a/.x", b"a/.x/b", b"/srv/files/.x", b".x/../a"])
def test_link_to_hidden_only_if_asked_for(target: bytes) -> None:
    follow_link((), target, ROOT, hidden=True)
    with pytest.raises(NameRefused, match="hidden"):
        follow_link((), target, ROOT, hidden=False)


def test_link_below_the_root_of_all() -> None:
    assert follow_link((b"a",), b"/x/y", b"", hidden=False) == (b"x", b"y")
    assert follow_link((b"a",), b"/", b"", hidden=False) == ()


@unhurried
@given(SAFE_SEGMENTS, NAMES, ROOTS, st.booleans(), st.booleans())
@example((), b"../files-secret/x", b"/srv/files", False, True)
@example((b"a",), b"-secret/x", b"/srv/files", True, False)
def test_no_link_leads_out(
    parents: tuple[bytes, ...], target: bytes, root: bytes, prefixed: bool, hidden: bool
) -> None:
    if prefixed:  # arbitrary bytes all but never begin like the root
        target = root + target
    try:
        led = follow_link(parents, target, root, hidden=hidden)
    except NameRefused:
        return
    for segment in led:
        assert segment not in (b"", b".", b"..")
        assert b"/" not in segment
        assert b"\0" not in segment
        assert len(segment) <= MAX_SEGMENT
        assert hidden or not segment.startswith(b".")
    # An independent reading of the same path ends at the same place, and no step of it is outside.
    beginning = b"" if target.startswith(b"/") else b"/".join([root, *parents, b""])
    assert _normal(beginning + target) == _normal(b"/".join([root, *led]))
    parts = target.removeprefix(root).split(b"/") if not beginning else target.split(b"/")
    for end in range(len(parts)):
        step = _normal((beginning or root + b"/") + b"/".join(parts[:end]))
        assert (step + b"/").startswith(root + b"/")


def _normal(path: bytes) -> bytes:
    return posixpath.normpath(b"/" + path.lstrip(b"/"))
