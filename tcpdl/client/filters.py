"""Which names of a tree are wanted, by patterns as shells have them. Pure; imports nothing of ours.

The first rule whose pattern matches a name decides about it. A name that none matches is wanted,
unless there are only rules that include: they then say what is wanted, and files that match none
of them are not. What is below a folder that is not wanted is not wanted either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Rule(NamedTuple):
    """A pattern, and whether the names that match it are wanted.

    A pattern without a slash is matched with the last segment of a name, any other with all of the
    name, from the top of the tree. A slash at its end makes it match folders only; one at its
    beginning ties it to the top, where it would be matched with the last segment otherwise. `*` is
    any run of characters and `?` any one, slashes excepted; `**` is any run, slashes included, and
    `**/` any folders or none. `[a-z]` is one of a set, `[!a-z]` one that is not; a backslash takes
    the meaning from the character after it.
    """

    include: bool
    pattern: str


class Filters:
    """Rules, in the order in which they are tried."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        """Raises `ValueError` for a pattern that cannot match anything; its text says why."""
        self._rules = [(rule.include, _Pattern(rule.pattern)) for rule in rules]
        self._otherwise = not self._rules or not all(include for include, _ in self._rules)

    def __bool__(self) -> bool:
        """Whether there are any rules."""
        return bool(self._rules)

    def wants(self, name: str, *, folder: bool) -> bool:
        """Whether what has this name, from the top of the tree, is wanted.

        For a name in a folder that is wanted itself.
        """
        for include, pattern in self._rules:
            if pattern.matches(name, folder=folder):
                return include
        # Folders are gone through even so: what they hold may match.
        return self._otherwise or folder


class _Pattern:
    def __init__(self, pattern: str) -> None:
        self._folders_only = pattern.endswith("/")
        bare = pattern[:-1] if self._folders_only else pattern
        self._whole = "/" in bare or "**" in bare
        bare = bare.removeprefix("/")
        if not bare:
            raise ValueError(f"the pattern {pattern!r} matches nothing")
        try:
            self._expression = re.compile(_translate(bare), re.DOTALL)
        except re.error as error:
            raise ValueError(f"the pattern {pattern!r}: {error}") from None

    def matches(self, name: str, *, folder: bool) -> bool:
        if self._folders_only and not folder:
            return False
        text = name if self._whole else name.rpartition("/")[2]
        return self._expression.fullmatch(text) is not None


_PARTS = r"""
    (?P<folders> (?: (?<=/) | \A) (?:\*\*/)+ )  # `**/`, where a segment begins
    | (?P<run> \*\*+ )
    | (?P<star> \* )
    | (?P<one> \? )
    | \[ (?P<not> [!^]? ) (?P<set> \] [^\]/]* | [^\]/]+ ) \]
    | \\ (?P<meant> . )
    | (?P<other> . )
"""


def _translate(pattern: str) -> str:
    """The regular expression that matches what `pattern` does."""
    translated = []
    for part in re.finditer(_PARTS, pattern, re.VERBOSE | re.DOTALL):
        kind = part.lastgroup
        if kind == "folders":
            translated.append("(?:.*/)?")
        elif kind == "run":
            translated.append(".*")
        elif kind == "star":
            translated.append("[^/]*")
        elif kind == "one":
            translated.append("[^/]")
        elif kind == "set":
            # No set matches a slash, whatever stands in it.
            translated.append(f"(?!/)[{'^' if part['not'] else ''}{_members(part['set'])}]")
        else:
            translated.append(re.escape(part["meant"] or part["other"]))
    return "".join(translated)


def _members(text: str) -> str:
    """The inside of a set: single characters, and ranges of them."""
    found = re.findall(r"(.)-(.)|(.)", text, re.DOTALL)
    return "".join(
        re.escape(one) if one else f"{re.escape(low)}-{re.escape(high)}" for low, high, one in found
    )
