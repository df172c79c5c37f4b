"""Tests `access.patterns`: against a model that is as plain as can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.access.patterns import Pattern, PatternError, Word, parse_pattern, texts_of

unhurried = settings(deadline=None)


def word(text: str) -> Word:
    """`text` with all wildcards, none escaped."""
    return [(character, False) for character in text]


def pattern(text: str) -> Pattern:
    return parse_pattern(word(text))


def matches(made: Pattern, *names: bytes) -> bool:
    return made.matches(texts_of(names))


def segments(name: str) -> tuple[bytes, ...]:
    return tuple(part.encode() for part in name.split("/")[1:] if part)


def is_match(steps: list[str], names: list[str]) -> bool:
    """What a pattern means."""
    if not steps:
        return not names
    if steps[0] == "**":
        return any(is_match(steps[1:], names[at:]) for at in range(len(names) + 1))
    return bool(names) and is_like(steps[0], names[0]) and is_match(steps[1:], names[1:])


def is_like(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return any(is_like(glob[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and glob[0] in ("?", text[0]) and is_like(glob[1:], text[1:])


GLOBS = st.text("ab*?", min_size=1, max_size=6).filter(lambda text: "**" not in text)
STEPS = st.lists(GLOBS | st.just("**"), max_size=5)
NAMES = st.lists(st.text("abé", min_size=1, max_size=6), max_size=5)


@unhurried
@given(STEPS, NAMES)
@example(["**", "a", "**", "b"], ["a", "a", "b", "b"])
@example(["**", "**"], [])
@example(["*a*a"], ["aa"])
@example(["a*a"], ["a"])
@example(["*?"], [""])
def test_matches_what_it_means(steps: list[str], names: list[str]) -> None:
    made = pattern("/" + "/".join(steps))
    asked = tuple(name.encode() for name in names)
    assert matches(made, *asked) is is_match(steps, names)


@unhurried
@given(STEPS, NAMES, NAMES)
def test_states(steps: list[str], names: list[str], more: list[str]) -> None:
    """A state says all that matters of what came before it."""
    made = pattern("/" + "/".join(steps))
    state = made.walk(tuple(name.encode() for name in names))
    if made.takes_all(state):
        assert is_match(steps, names + more)
    for name in more:
        state = made.step(state, name.encode())
    assert made.accepts(state) is is_match(steps, names + more)
    if not state:
        assert not is_match(steps, names + more)


@pytest.mark.parametrize(
    ("text", "those", "not_those"),
    [
        ("/", ["/"], ["/a"]),
        ("/**", ["/", "/a", "/a/b", "/.hidden/b"], []),
        ("/x", ["/x"], ["/", "/x/y", "/X", "/xx"]),
        ("/x/**", ["/x", "/x/y", "/x/y/z"], ["/", "/xy", "/y/x"]),
        ("/x/*", ["/x/y"], ["/x", "/x/y/z"]),
        ("/**/x", ["/x", "/a/x", "/a/b/x"], ["/", "/x/a", "/ax"]),
        ("/a/**/z", ["/a/z", "/a/b/z", "/a/z/z"], ["/a", "/z", "/a/z/b"]),
        ("/*.txt", ["/a.txt", "/.txt", "/a.txt.txt"], ["/a.txtx", "/b/a.txt", "/txt"]),
        ("/a?c", ["/abc", "/aéc", "/a?c"], ["/ac", "/abbc"]),
        ("/*a?", ["/ab", "/xay", "/aaa"], ["/a", "/ba", "/abc"]),
        ("/a.c", ["/a.c"], ["/abc"]),
        ("/[ab]+$", ["/[ab]+$"], ["/a"]),
    ],
)
def test_examples(text: str, those: list[str], not_those: list[str]) -> None:
    made = pattern(text)
    assert [name for name in those + not_those if matches(made, *segments(name))] == those


def test_bytes_that_are_no_text() -> None:
    assert matches(pattern("/a*"), b"a\xff\xfe")
    assert matches(pattern("/a?"), b"a\xff")
    assert matches(parse_pattern([("/", False), ("\udcff", False)]), b"\xff")
    assert matches(pattern("/a?b"), b"a\nb")


def test_characters_that_stand_for_themselves() -> None:
    made = parse_pattern([("/", False), ("*", True), ("?", True), ("*", False)])
    assert matches(made, b"*?")
    assert matches(made, b"*?x")
    assert not matches(made, b"aax")
    stars = parse_pattern([("/", False), ("*", True), ("*", True)])
    assert matches(stars, b"**")
    assert not matches(stars, b"a", b"b")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin with /"),
        ("x/**", "does not begin with /"),
        ("**", "does not begin with /"),
        ("/x/", r"write '/x' for the folder itself, and '/x/\*\*' for it"),
        ("//", "ends in /"),
        ("//x", "empty"),
        ("/a//b", "empty"),
        ("/./x", "empty, '.' or '..'"),
        ("/a/../b", "empty, '.' or '..'"),
        ("/a**", "not a segment of its own"),
        ("/a/***/b", "not a segment of its own"),
        ("/a/**b", "not a segment of its own"),
        ("/a\0", "a segment is"),
        ("/" + "a" * 1024, "1025 characters"),
    ],
)
def test_no_pattern(text: str, why: str) -> None:
    with pytest.raises(PatternError, match=why):
        pattern(text)


def steps_taken(work: Callable[[], Any]) -> int:
    """Lines of Python that `work` runs: a measure of time that is the same on each machine."""
    import sys

    count = 0

    def trace(*_: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_no_name_takes_long() -> None:
    # Twice the name, twice the steps; a matcher that tries again takes hundreds of times as many.
    made = pattern("/" + "/".join(["**", "a"] * 20) + "/b/**")
    short, long = ["a"] * 40, ["a"] * 80
    assert not made.matches(short)
    assert steps_taken(lambda: made.matches(long)) < 3 * steps_taken(lambda: made.matches(short))


def test_no_segment_takes_long() -> None:
    # In time that would be minutes, if places were tried again.
    made = pattern("/" + "*a" * 100 + "*b")
    assert not matches(made, b"a" * 255)


@pytest.mark.parametrize(("stars_at", "most"), [((0,), 1), ((1,), 2), ((0, 2), 512)])
def test_a_long_name_is_looked_at_once(stars_at: tuple[int, ...], most: int) -> None:
    """Each client may ask for one, and the reactor waits for the answer."""
    asked: list[str] = []

    def never(text: str) -> bool:
        asked.append(text)
        return False

    made = Pattern(tuple(None if at in stars_at else never for at in range(3)))
    assert not matches(made, *[b"a"] * 511)
    assert len(asked) <= most
