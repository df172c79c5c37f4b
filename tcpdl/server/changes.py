"""Which settings may change while the daemon runs, and what is done then. Imports Twisted only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from twisted.logger import Logger

Apply = Callable[[Any], str | None]
"""Is given the new options, and makes them hold. What it returns is said in the log beside the
change, as in "for connections to come"."""

_log = Logger()


class NotInPlace(Exception):
    """It cannot be done while the daemon runs; the text says why."""


class Change(NamedTuple):
    """A setting that is another one than before."""

    name: str
    before: str
    """Fit to be shown: no secrets, nothing that cannot be seen."""
    after: str

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}"


class Outcome(NamedTuple):
    """What became of a change."""

    change: Change
    applied: bool
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        later = "" if self.applied else " takes effect at a restart"
        return "; ".join([f"{self.change}{later}", *self.notes])


class Changes:
    """What is done when settings change. A setting that nobody asked for needs a restart."""

    def __init__(self) -> None:
        self._calls: list[tuple[frozenset[str], Apply]] = []

    def on(self, names: Iterable[str], apply: Apply) -> None:
        """Call `apply`, once, if any of the options `names` has changed."""
        self._calls.append((frozenset(names), apply))

    @property
    def names(self) -> frozenset[str]:
        """The options that may change."""
        return frozenset().union(*(names for names, _ in self._calls))

    def apply(self, changed: Sequence[Change], options: Any) -> list[Outcome]:
        """Have the new `options` hold as far as they can."""
        notes: dict[str, list[str]] = {change.name: [] for change in changed}
        applied: set[str] = set()
        for names, apply in self._calls:
            concerned = names & notes.keys()
            if not concerned:
                continue
            try:
                note = apply(options)
                applied |= concerned
            except NotInPlace as why:
                note = str(why)
            except Exception:  # noqa: BLE001 - the others are to hold all the same
                _log.failure("unexpected error when {names} changed", names=sorted(concerned))
                continue
            for name in concerned:
                notes[name] += [note] if note else []
        return [
            Outcome(change, change.name in applied, tuple(notes[change.name])) for change in changed
        ]
