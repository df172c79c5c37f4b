"""What a setting is, where it comes from, and what is wrong with one. Imports Twisted only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from twisted.python import usage


class Origin(NamedTuple):
    """Where a setting comes from."""

    source: str = ""
    """A file's path, or a variable as in $TCPDL_PORT; empty: the command line."""
    line: int = 0
    """Of the file, from 1 on; 0: none in particular."""

    def __str__(self) -> str:
        if not self.source:
            return "the command line"
        return f"{self.source}, line {self.line}" if self.line else self.source


COMMAND_LINE = Origin()


class Setting(NamedTuple):
    """An option that is given."""

    name: str
    """Its long name."""
    value: str | bool
    """A truth value, if it is a flag."""
    origin: Origin = COMMAND_LINE

    def words(self) -> list[str]:
        """The same as words of a command line, where what is not given is left out."""
        if isinstance(self.value, bool):
            return [f"--{self.name}"] if self.value else []
        return [f"--{self.name}={self.value}"]


class Problem(NamedTuple):
    """What is wrong, and the remedy."""

    origin: Origin
    text: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}" if self.origin.source else self.text


class Misconfigured(usage.UsageError):
    """The configuration is of no use."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.origin)
        text = str(self.problems[0])
        if len(problems) > 1:
            text += f" (and {len(problems) - 1} more; tcpdl check-config tells all)"
        super().__init__(text)

    @property
    def on_command_line(self) -> bool:
        """Whether all that is wrong is there."""
        return all(problem.origin == COMMAND_LINE for problem in self.problems)


_MOUNTED = ("mount-hidden", "mount-symlinks", "mount-rules")
_REPLACES = {"mount": ("root", *_MOUNTED), "root": ("mount", *_MOUNTED)}
"""What makes no sense any more when another option is given by a later source."""


def merge(*sources: Iterable[Setting]) -> dict[str, list[Setting]]:
    """The settings that hold, by name: for each option those of the last source that has it."""
    merged: dict[str, list[Setting]] = {}
    for source in sources:
        found: dict[str, list[Setting]] = {}
        for setting in source:
            found.setdefault(setting.name, []).append(setting)
        for name in found.keys() & _REPLACES.keys():
            for replaced in _REPLACES[name]:
                merged.pop(replaced, None)
        merged.update(found)
    return merged
