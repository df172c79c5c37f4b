"""Tests `client.filters`: patterns match what people who know rsync and git expect."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.client.filters import Filters, Rule


def matches(pattern: str, name: str, *, folder: bool = False) -> bool:
    return Filters([Rule(False, pattern)]).wants(name, folder=folder) is False


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.txt", "a.txt .txt d/a.txt d/e/a.txt", "a.txt/b txt a.txtx a_txt"),
        ("a", "a d/a d/e/a", "ab b a/b A"),
        ("?", "a d/é", "ab d/ab"),
        ("a?c", "abc d/a.c", "ac a/c abbc"),
        ("[a-c]x", "ax bx d/cx", "dx x aax a-x"),
        ("[!a-c]x", "dx -x d/éx", "ax bx"),
        ("[^a-c]x", "dx -x", "ax bx"),
        ("[]x]", "] x", "a []x]"),
        ("[!]x]", "a", "] x"),
        ("[a-]", "a -", "b"),
        ("[--.]", "- .", "/ 0"),
        ("[a/b]", "[a/b]", "a b /"),
        ("[a&&b]", "a & b", "&& c"),
        ("[\\]", "\\", "a"),
        ("[", "[", "a"),
        ("[]", "[]", "a"),
        ("[a", "[a", "a"),
        ("a]", "a]", "a"),
        ("\\*", "* d/*", "a \\*"),
        ("\\[a]", "[a]", "a"),
        ("a\\", "a\\", "a"),
        ("/a", "a", "d/a a/b"),
        ("/*.txt", "a.txt", "d/a.txt"),
        ("d/a", "d/a", "a x/d/a d/a/b"),
        ("/d/a", "d/a", "a x/d/a"),
        ("d/*", "d/a d/.b", "a d d/e/a x/d/a"),
        ("*/a", "d/a", "a d/e/a"),
        ("d/**", "d/a d/e/a", "d a dd/a"),
        ("**/a", "a d/a d/e/a", "ba d/ba"),
        ("/**/a", "a d/a d/e/a", "ba"),
        ("d/**/a", "d/a d/e/a d/e/f/a", "da a d/ba d/e/ba"),
        ("d/**/**/a", "d/a d/e/a", "d/ba"),
        ("**", "a d/a", ""),
        ("a**b", "ab axb a/b a/x/b", "b ba xab"),
        ("**.py", "a.py d/a.py", "a.pyc"),
        ("***", "a d/a", ""),
        ("a.c", "a.c", "abc"),
        ("a+", "a+", "a aa"),
        ("(a|b)", "(a|b)", "a b"),
        ("{a,b}", "{a,b}", "a b"),
        ("$", "$", ""),
        ("a\nb", "a\nb", "a"),
        ("*\udcff", "a\udcff", "a"),
    ],
)
def test_pattern(pattern: str, yes: str, no: str) -> None:
    split = [yes] if "\n" in yes else yes.split(" ")
    assert [name for name in split if not matches(pattern, name)] == []
    assert [name for name in no.split(" ") if name and matches(pattern, name)] == []


@pytest.mark.parametrize("pattern", ["a/", "/a/", "**/a/", "?/", "[a]/"])
def test_slash_at_the_end_means_folders(pattern: str) -> None:
    assert matches(pattern, "a", folder=True)
    assert not matches(pattern, "a")


def test_folder_in_the_middle() -> None:
    assert matches("d/a/", "d/a", folder=True)
    assert not matches("d/a/", "x/d/a", folder=True)


@pytest.mark.parametrize("pattern", ["", "/", "//", "[z-a]"])
def test_pattern_that_matches_nothing(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Filters([Rule(True, pattern)])


def test_no_rules_want_everything() -> None:
    filters = Filters()
    assert not filters
    assert filters.wants("a/b", folder=False)
    assert filters.wants("a", folder=True)


def test_first_that_matches_decides() -> None:
    filters = Filters([Rule(True, "a.py"), Rule(False, "*.py"), Rule(True, "b.py")])
    assert filters
    assert filters.wants("a.py", folder=False)
    assert not filters.wants("b.py", folder=False)
    assert filters.wants("c.txt", folder=False)


def test_only_includes_want_nothing_else() -> None:
    filters = Filters([Rule(True, "*.py"), Rule(True, "doc/")])
    assert filters.wants("a.py", folder=False)
    assert not filters.wants("a.txt", folder=False)
    assert not filters.wants("doc", folder=False)
    assert filters.wants("any", folder=True)  # what is in it may match


def test_exclude_after_includes() -> None:
    filters = Filters([Rule(True, "*/"), Rule(True, "*.py"), Rule(False, "*")])
    assert filters.wants("d", folder=True)
    assert filters.wants("d/a.py", folder=False)
    assert not filters.wants("d/a.txt", folder=False)


# A second implementation, slow and plain, to compare with.


def slowly(pattern: str, name: str) -> bool:
    """Whether `pattern`, of `*`, `?`, `/` and letters, matches all of `name`."""
    if not pattern:
        return not name
    if pattern.startswith("**"):
        rest = pattern.lstrip("*")
        if rest.startswith("/") and slowly(rest[1:], name):
            return True  # only asked for where a segment begins
        return any(slowly(rest, name[at:]) for at in range(len(name) + 1))
    if pattern[0] == "*":
        end = name.find("/") if "/" in name else len(name)
        return any(slowly(pattern[1:], name[at:]) for at in range(end + 1))
    if not name:
        return False
    if pattern[0] == "?":
        return name[0] != "/" and slowly(pattern[1:], name[1:])
    return pattern[0] == name[0] and slowly(pattern[1:], name[1:])


patterns = st.lists(
    st.lists(st.sampled_from(["a", "b", "*", "?"]), min_size=1, max_size=4)
    .map("".join)
    .filter(lambda segment: "**" not in segment)
    | st.just("**"),
    min_size=1,
    max_size=4,
).map("/".join)
paths = st.lists(st.text(alphabet="ab", min_size=1, max_size=3), min_size=1, max_size=4).map(
    "/".join
)


@given(patterns, paths)
def test_as_the_plain_one_does(pattern: str, name: str) -> None:
    whole = "/" in pattern or "**" in pattern
    assert matches(pattern, name) == slowly(pattern, name if whole else name.rpartition("/")[2])


@given(paths)
def test_name_matches_itself(name: str) -> None:
    assert matches("/" + name, name)
    assert not matches("/" + name, name + "x")


@given(st.text(min_size=1), st.text())
def test_every_pattern_is_a_pattern(pattern: str, name: str) -> None:
    try:
        filters = Filters([Rule(False, pattern)])
    except ValueError as problem:
        assert pattern.strip("/") == "" or re.search(r"\[.*-.*\]", pattern, re.DOTALL)
        assert "pattern" in str(problem)  # noqa: PT017
    else:
        assert filters.wants(name, folder=False) in (True, False)


def test_pattern_with_many_stars_ends_soon() -> None:
    assert not matches("*a*a*a*", "b" * 255)
