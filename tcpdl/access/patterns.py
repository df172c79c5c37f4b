"""Patterns of names: `/pub/**`, `/logs/*.txt`. Pure; imports `wire.names`.

`*` stands for any characters within a segment and `?` for one, `**` for any number of segments,
none included. A whole name is held against what stands between these, which looks at each segment
a few times at most: clients may ask for names of 500, and there may be many patterns. For what is
in one folder, a pattern is a machine that is in several states at once, each a bit of a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tcpdl.wire.names import MAX_NAME, NameRefused, check_segment

PATTERN_MOST = MAX_NAME
"""Characters of a pattern: no name has more."""

Segments = tuple[bytes, ...]

Word = list[tuple[str, bool]]
"""Characters, and whether each stands for itself whatever it is."""

_Matches = Callable[[str], object]


class PatternError(ValueError):
    """It is not a pattern, or not a rule; what this says has the remedy."""


class Pattern:
    """What a name is held against."""

    def __init__(self, steps: tuple[_Matches | None, ...]) -> None:
        """`steps` match the text of one segment each, or are `None` for any number of segments."""
        self._steps = steps
        self._last = 1 << len(steps)
        self._all = self._last >> 1 if steps and steps[-1] is None else 0
        self._start = self._closed(1)
        pieces: list[list[_Matches]] = [[]]
        for step in steps:
            if step is None:
                pieces.append([])
            else:
                pieces[-1].append(step)
        self._first, *self._middle = pieces
        self._end = self._middle.pop() if self._middle else None

    def _closed(self, state: int) -> int:
        """`state`, and what it leads to without a segment."""
        for index, step in enumerate(self._steps):
            if step is None and state >> index & 1:
                state |= 2 << index
        return state

    def step(self, state: int, segment: bytes) -> int:
        """The state after one more `segment`; 0 if none can lead to a match any more."""
        if state & self._all:
            return self._all | self._last
        text = segment.decode("utf-8", "surrogateescape")
        after = 0
        for index, step in enumerate(self._steps):
            if state >> index & 1:
                if step is None:
                    after |= 1 << index
                elif step(text):
                    after |= 2 << index
        return self._closed(after)

    def walk(self, segments: Segments) -> int:
        """The state after all these segments."""
        state = self._start
        for segment in segments:
            if not state or state & self._all:
                break
            state = self.step(state, segment)
        return state

    def accepts(self, state: int) -> bool:
        """Whether a name that led to `state` matches."""
        return bool(state & self._last)

    def takes_all(self, state: int) -> bool:
        """Whether all that a name can go on with matches."""
        return bool(state & self._all)

    def matches(self, texts: Sequence[str]) -> bool:
        """Whether a name with these segments, as `texts_of` gives them, matches."""
        first, last = self._first, self._end
        count = len(texts)
        if last is None:
            return count == len(first) and _match_at(first, texts, 0)
        at, end = len(first), count - len(last)
        if at > end or not (_match_at(last, texts, end) and _match_at(first, texts, 0)):
            return False
        for piece in self._middle:
            # The first place that fits is as good as any other.
            end_at = end - len(piece)
            while at <= end_at and not _match_at(piece, texts, at):
                at += 1
            if at > end_at:
                return False
            at += len(piece)
        return True


def texts_of(segments: Segments) -> list[str]:
    """The segments of a name as patterns take them."""
    return [segment.decode("utf-8", "surrogateescape") for segment in segments]


def _match_at(piece: list[_Matches], texts: Sequence[str], at: int) -> bool:
    for matches in piece:
        if not matches(texts[at]):
            return False
        at += 1
    return True


def parse_pattern(word: Word) -> Pattern:
    """The pattern that is written as `word`. Raises `PatternError`."""
    text = "".join(character for character, _ in word)
    if not text.startswith("/"):
        raise PatternError(
            f"the pattern {text!r} does not begin with /; all names are below the root"
        )
    if len(text) > PATTERN_MOST:
        raise PatternError(
            f"the pattern has {len(text)} characters; no name has more than {PATTERN_MOST}"
        )
    parts: list[Word] = [[]]
    for character, literal in word[1:]:
        if character == "/":
            parts.append([])
        else:
            parts[-1].append((character, literal))
    if parts == [[]]:
        return Pattern(())
    if not parts[-1]:
        raise PatternError(
            f"the pattern {text!r} ends in /; write {text[:-1]!r} for the folder itself, "
            f"and {text + '**'!r} for it and all below"
        )
    return Pattern(tuple(_step(part, text) for part in parts))


def _step(part: Word, text: str) -> _Matches | None:
    star, stars = ("*", False), [("*", False)] * 2
    if part == stars:
        return None
    if any(part[at : at + 2] == stars for at in range(len(part))):
        raise PatternError(f"in {text!r}, ** is not a segment of its own, as in /a/**/b")
    plain = "".join(character for character, _ in part)
    try:
        check_segment(plain.encode("utf-8", "surrogateescape")[:255], hidden=True)
    except NameRefused:
        raise PatternError(
            f"in {text!r}, a segment is empty, '.' or '..': no name has one"
        ) from None
    if part == [star]:
        return _anything
    pieces: list[Word] = [[]]
    for one in part:
        if one == star:
            pieces.append([])
        else:
            pieces[-1].append(one)
    if len(pieces) == 1:
        if ("?", False) not in part:
            return plain.__eq__
        return _piece(part).fullmatch
    return _glob([(_piece(piece), len(piece)) for piece in pieces])


def _anything(_text: str) -> bool:
    return True


def _piece(piece: Word) -> re.Pattern[str]:
    """What matches characters, and any one for each question mark: it has nothing to try twice."""
    wild = ("?", False)
    return re.compile(
        "".join("." if one == wild else re.escape(one[0]) for one in piece), re.DOTALL
    )


def _glob(pieces: list[tuple[re.Pattern[str], int]]) -> _Matches:
    """What matches `pieces` with anything between them. The first place that fits is as good as any
    other, so none is tried twice."""
    (first, least), *middle, (last, size) = pieces

    def matches(text: str) -> bool:
        if not first.match(text):
            return False
        at = least
        for piece, _ in middle:
            found = piece.search(text, at)
            if found is None:
                return False
            at = found.end()
        return at <= len(text) - size and last.match(text, len(text) - size) is not None

    return matches
