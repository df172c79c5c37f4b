"""Which options there are, as the tables of `usage.Options` say. Imports Twisted only."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from twisted.python import usage
from twisted.python.reflect import accumulateClassList

COMMANDS = frozenset({"help", "version", "help-auth", "help-auth-type", "config", "print"})
"""What stands on a command line and nowhere else: it says what is to be done, not what holds."""


class Kind(enum.Enum):
    """What an option takes."""

    FLAG = "true or false"
    TEXT = "a text in quotes"
    VALUE = "a number, or a text in quotes"
    """It is read by something that knows."""
    LIST = "a list of texts in quotes"


class Known:
    """The options of `options`, by their long names, without `COMMANDS`."""

    def __init__(self, options: usage.Options, data: usage.Completions) -> None:
        """Options that may be given several times are those of `data.multiUse`."""
        many = frozenset(data.multiUse)
        rows: list[list[Any]] = []
        accumulateClassList(type(options), "optParameters", rows)
        texts = {row[0] for row in rows if len(row) < 5 or row[4] is None}
        self.kinds: Mapping[str, Kind] = {
            name: _kind(name, long.endswith("="), many, texts)
            for long in options.longOpt
            if (name := long.rstrip("=")) not in COMMANDS and options.synonyms.get(name) == name
        }

    def like(self, name: str) -> str:
        """What could be meant by `name`, as the end of a sentence; may be empty."""
        asked = name.lower().replace("_", "-")
        found = get_close_matches(asked, self.kinds, n=3, cutoff=0.7)
        found.sort(key=lambda one: sorted(one) != sorted(asked))  # two letters changed places
        return f"; did you mean {found[0]}?" if found else ""


def _kind(name: str, takes_value: bool, many: frozenset[str], texts: set[str]) -> Kind:
    if not takes_value:
        return Kind.FLAG
    if name in many:
        return Kind.LIST
    return Kind.TEXT if name in texts else Kind.VALUE
