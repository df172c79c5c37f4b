"""Tests `access.rules`: which rule decides, and how a file of them is read."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpdl.access.rules import READ_IF_LOGGED_IN, Level, Rules, RulesError, parse

unhurried = settings(deadline=None)

NOTHING, LIST, READ = Level

EXAMPLE = b"""\
# What is for whom.

/ anyone list
/pub/** anyone read
/pub   anyone   nothing      # has been decided above
/team/secret/** ann nothing
/team/** ann,bob read
/team/** users list
/drafts/*.txt ann read
"/two words/a,b/**" "Ann Smith","Smith, Bob" read
/odd\\ name\\*/\\#1 users read
/c#/** users read#not
"""
EXAMPLE = EXAMPLE.replace(b"read#not", b"read\t#not")


def level(rules: Rules, user: str | None, name: str) -> Level:
    return rules.of(user).level(tuple(part.encode() for part in name.split("/") if part))


@pytest.mark.parametrize(
    ("user", "name", "expected"),
    [
        (None, "/", LIST),
        (None, "/pub", READ),
        (None, "/pub/a/b", READ),
        (None, "/team", NOTHING),
        (None, "/else", NOTHING),
        ("ann", "/", LIST),
        ("ann", "/team", READ),
        ("ann", "/team/secret", NOTHING),
        ("ann", "/team/secret/a", NOTHING),
        ("bob", "/team/secret/a", READ),
        ("eve", "/team/secret/a", LIST),
        ("Ann", "/team/a", LIST),
        ("ann", "/drafts/a.txt", READ),
        ("ann", "/drafts", NOTHING),
        ("bob", "/drafts/a.txt", NOTHING),
        ("Ann Smith", "/two words/a,b", READ),
        ("Smith, Bob", "/two words/a,b/c", READ),
        ("Smith", "/two words/a,b/c", NOTHING),
        ("eve", "/odd name*/#1", READ),
        ("eve", "/odd nameX/#1", NOTHING),
        ("eve", "/c#/x", READ),
    ],
)
def test_the_first_that_fits_decides(user: str | None, name: str, expected: Level) -> None:
    rules = parse(EXAMPLE)
    assert level(rules, user, name) is expected
    *folder, last = [b"", *(part.encode() for part in name.split("/") if part)]
    if last:
        assert rules.of(user).within(tuple(folder[1:]))(last) is expected


def test_the_example_for_people() -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    example = (
        readme.partition("# /etc/tcpdl/rules: a pattern")[2].partition("```")[0].partition("\n")[2]
    )
    rules = parse(example.encode())
    assert len(rules.rules) == 6
    for user, name, expected in (
        *((None, "/", LIST), (None, "/public/a", READ), (None, "/team", NOTHING)),
        *(("ann", "/team/drafts/a", READ), ("eve", "/team/drafts", NOTHING)),
        *(("eve", "/team/a", READ), ("eve", "/price lists", LIST), (None, "/price lists", NOTHING)),
    ):
        assert level(rules, user, name) is expected


def test_those_whom_no_rule_names_are_alike() -> None:
    rules = parse(EXAMPLE)
    assert rules.of("eve") is rules.of("mallory")
    assert rules.of("ann") is rules.of("ann")
    assert len({id(rules.of(user)) for user in (None, "eve", "ann", "bob")}) == 4


def test_none_at_all() -> None:
    for text in (b"", b"\n\n", b"# nothing here", b"\xef\xbb\xbf# a mark before it\r\n\r\n"):
        rules = parse(text)
        assert level(rules, "ann", "/") is NOTHING
        assert rules.of(None).within(())(b"a") is NOTHING


def test_read_if_logged_in() -> None:
    assert level(READ_IF_LOGGED_IN, None, "/a/b") is NOTHING
    assert level(READ_IF_LOGGED_IN, "ann", "/a/b") is READ
    assert level(READ_IF_LOGGED_IN, "ann", "/") is READ


def test_other_line_ends() -> None:
    rules = parse(b"\xef\xbb\xbf/a anyone read\r\n/b users read\r\n/\xff anyone list")
    assert level(rules, None, "/a") is READ
    assert level(rules, "ann", "/b") is READ
    assert rules.of(None).level((b"\xff",)) is LIST


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/a", r"1 words where there should be three; write .*: /pub/\*\* anyone read"),
        ("/a anyone", "2 words"),
        ("/a b anyone read", "4 words"),
        ("/a anyone write", "'write' is none of read, list and nothing"),
        ("/a anyone READ", "none of"),
        ("a anyone read", "does not begin with /"),
        ("/a/ anyone read", "ends in /"),
        ("/a ann,anyone read", "stands alone"),
        ("/a users,ann read", "stands alone"),
        ("/a ann,,bob read", "name is empty"),
        ("/a ann, read", "name is empty"),
        ('/a "" read', "name is empty"),
        ("/a a\x1bb read", "cannot be shown"),
        ('/a "ann read', "quote is not closed"),
        ("/a ann read\\", "backslash ends the line"),
        ("/**a anyone read", "not a segment of its own"),
    ],
)
def test_errors(line: str, why: str) -> None:
    with pytest.raises(RulesError, match=why) as caught:
        parse(f"# first\n/ok anyone read\n{line}\n".encode())
    assert str(caught.value).startswith("line 3: ")


def test_too_many() -> None:
    line = b"/a anyone read\n"
    assert len(parse(line * 10_000).rules) == 10_000
    with pytest.raises(RulesError, match="line 10001: there are more than 10000 rules"):
        parse(line * 10_001)


SEGMENTS = st.lists(st.sampled_from([b"a", b"b", b"ab"]), max_size=4).map(tuple)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "?"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
LINES = st.lists(
    st.tuples(
        PATTERNS,
        st.sampled_from(["anyone", "users", "ann", "bob", "ann,bob"]),
        st.sampled_from(["read", "list", "nothing"]),
    ),
    max_size=6,
)


@unhurried
@given(LINES, SEGMENTS, st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([None, "ann", "eve"]))
def test_within_a_folder_as_by_the_whole_name(
    lines: list[tuple[str, str, str]], folder: tuple[bytes, ...], name: bytes, user: str | None
) -> None:
    rules = parse("\n".join(" ".join(line) for line in lines).encode())
    found = rules.of(user)
    # The model: each line alone, in order.
    expected = NOTHING
    for pattern, who, access in lines:
        if who == "anyone" or (user is not None and (who == "users" or user in who.split(","))):
            alone = parse(f"{pattern} anyone {access}\n{pattern} anyone nothing".encode())
            sure = parse(f"{pattern} anyone read".encode())
            if sure.of(None).level((*folder, name)) is READ:
                expected = alone.of(None).level((*folder, name))
                break
    assert found.level((*folder, name)) is expected
    assert found.within(folder)(name) is expected


@given(st.binary(max_size=60))
def test_any_bytes_are_rules_or_not(text: bytes) -> None:
    with suppress(RulesError):
        parse(text)
