"""Rules that say who may read what, from text to decisions. Imports the modules beside it.

A rule is a line `PATTERN WHO ACCESS`; the first that fits both the name and who asks decides, and
if none does, nothing may be done. README.md describes the file for those who write it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from tcpdl.access.patterns import (
    Pattern,
    PatternError,
    Segments,
    Word,
    parse_pattern,
    texts_of,
)

RULES_MOST = 10_000

KEPT_MOST = 2048
"""Decisions that are kept for each kind of visitor."""

_REMEDY = "write a pattern, who, and what they may do, as in: /pub/** anyone read"


class Level(IntEnum):
    """What someone may do with a place."""

    NOTHING = 0
    """Not even learn that it is there."""
    LIST = 1
    """Learn its name, kind, size and times; no content, and no digests."""
    READ = 2


LEVELS = {"nothing": Level.NOTHING, "list": Level.LIST, "read": Level.READ}


class RulesError(ValueError):
    """The text is not that of rules; what this says names the line, and the remedy."""


class Rule(NamedTuple):
    """One line."""

    pattern: Pattern
    who: frozenset[str] | None
    """The users it is about; `None` for anyone."""
    level: Level


EVERY_USER: frozenset[str] = frozenset()
"""Stands in `Rule.who` for whoever has logged in."""


class Permissions:
    """What one visitor may do, by the rules that are about them. May be used by any thread."""

    def __init__(self, rules: list[tuple[Pattern, Level]]) -> None:
        self._rules = rules
        self.level: Callable[[Segments], Level] = lru_cache(maxsize=KEPT_MOST)(self._level)
        """What may be done with the place at these segments below the root."""

    def _level(self, segments: Segments) -> Level:
        texts = texts_of(segments)
        for pattern, level in self._rules:
            if pattern.matches(texts):
                return level
        return Level.NOTHING

    def within(self, folder: Segments) -> Callable[[bytes], Level]:
        """The same for what is directly in a folder, by its names: for going through many."""
        some: list[tuple[Pattern, int, Level]] = []
        rest = Level.NOTHING
        for pattern, level in self._rules:
            state = pattern.walk(folder)
            if pattern.takes_all(state):
                rest = level
                break
            if state:
                some.append((pattern, state, level))
        if not some:
            return lambda _name: rest

        def level_of(name: bytes) -> Level:
            for pattern, state, level in some:
                if pattern.accepts(pattern.step(state, name)):
                    return level
            return rest

        return level_of


class Rules:
    """All rules, in their order."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._named = frozenset().union(*(rule.who for rule in rules if rule.who))
        self._kept: dict[str | None, Permissions] = {}

    def of(self, user: str | None) -> Permissions:
        """What `user` may do; `None` is whoever has not logged in."""
        # All whom no rule names are alike, so there are no more of these than names.
        kind = user if user is None or user in self._named else ""
        found = self._kept.get(kind)
        if found is None:
            found = Permissions([(r.pattern, r.level) for r in self.rules if _is_about(r, user)])
            self._kept[kind] = found
        return found


def _is_about(rule: Rule, user: str | None) -> bool:
    if rule.who is None:
        return True
    return user is not None and (rule.who == EVERY_USER or user in rule.who)


def parse(text: bytes) -> Rules:
    """The rules that are written in `text`. Raises `RulesError`."""
    lines = text.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n")
    found: list[Rule] = []
    for number, line in enumerate(lines, 1):
        try:
            words = _words(line.rstrip("\r"))
            if words:
                found.append(_rule(words))
        except PatternError as problem:
            raise RulesError(f"line {number}: {problem}") from None
        if len(found) > RULES_MOST:
            raise RulesError(f"line {number}: there are more than {RULES_MOST} rules")
    return Rules(tuple(found))


def _rule(words: list[Word]) -> Rule:
    if len(words) != 3:
        raise PatternError(f"{len(words)} words where there should be three; {_REMEDY}")
    pattern, who, access = words
    level = LEVELS.get(_plain(access))
    if level is None:
        raise PatternError(f"{_plain(access)!r} is none of read, list and nothing; {_REMEDY}")
    return Rule(parse_pattern(pattern), _who(who), level)


def _who(word: Word) -> frozenset[str] | None:
    names = [""]
    for character, literal in word:
        if character == "," and not literal:
            names.append("")
        else:
            names[-1] += character
    if names == ["anyone"]:
        return None
    if names == ["users"]:
        return EVERY_USER
    if "anyone" in names or "users" in names:
        raise PatternError("anyone, or users, stands alone: it includes all whom names could add")
    if not all(name and name.isprintable() for name in names):
        raise PatternError(
            "a user's name is empty, or cannot be shown; write ann,bob without blanks"
        )
    return frozenset(names)


def _plain(word: Word) -> str:
    return "".join(character for character, _ in word)


def _words(line: str) -> list[Word]:
    """The words of a line, up to a comment. Characters that quotes or a backslash make literal are
    marked so; within quotes, `*` and `?` mean what they mean elsewhere."""
    words: list[Word] = []
    word: Word | None = None
    quoted = False
    characters = iter(line)
    for character in characters:
        if character == "\\":
            following = next(characters, None)
            if following is None:
                raise PatternError("a backslash ends the line; write two for one that is meant")
            word = word if word is not None else []
            word.append((following, True))
        elif character == '"':
            quoted = not quoted
            word = word if word is not None else []
        elif quoted:
            assert word is not None
            word.append((character, character not in "*?"))
        elif character in " \t":
            if word is not None:
                words.append(word)
            word = None
        elif character == "#" and word is None:
            break
        else:
            word = word if word is not None else []
            word.append((character, False))
    if quoted:
        raise PatternError('a quote is not closed; write \\" for one that is meant')
    if word is not None:
        words.append(word)
    return words


READ_BY_ANYONE = parse(b"/** anyone read")
"""What holds where nothing else was said."""

READ_IF_LOGGED_IN = parse(b"/** users read")
"""What holds where there are users and no rules."""
