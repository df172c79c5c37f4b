"""Whether a client takes what it is owed, or only holds on to it. Pure; imports nothing of ours.

A connection is looked at now and then. What counts is what the client has acknowledged since the
look of `Pace.seconds` ago, against what it could have: no more than it was owed then, so that the
end of an answer is not held against it; and of that only what was in the kernel's hands already, if
the server kept itself from sending meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

LOOKS = 5
"""Looks in `Pace.seconds`: one that stops to take anything is found out a fifth later, at most."""

SLACK = 0.5
"""Seconds by which a look may come early."""


class Pace(NamedTuple):
    """How slowly a client may take what it is owed."""

    rate: int = 500
    """Bytes a second. With 0, one is enough."""
    seconds: float = 60.0
    """Over how long that is measured."""

    @property
    def look(self) -> float:
        """Seconds between two looks."""
        return self.seconds / LOOKS

    @property
    def least(self) -> float:
        """Bytes it has to take in `seconds`, if it is owed so many."""
        return max(1, self.rate * self.seconds)


class Look(NamedTuple):
    """What was to be seen of a connection."""

    when: float
    """In seconds, on a clock that is not set."""
    taken: int
    """Bytes that the client has acknowledged, of all that it was sent."""
    under_way: int
    """Bytes it has only to take: they are in the kernel's hands."""
    waiting: int
    """Bytes that are sent as soon as it took those."""
    held: bool
    """The server kept itself from sending them."""


class Progress:
    """What a client took of what it was owed, as far as that matters."""

    __slots__ = ("_looks", "_pace")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._looks: list[Look] = []

    def is_too_slow(self, now: Look) -> bool:
        """Whether what is to be seen `now` shows that the client holds on to what it is owed."""
        looks, pace = self._looks, self._pace
        if looks and now.when - looks[-1].when > 2 * pace.look + SLACK:
            looks.clear()  # the process did not run meanwhile
        since = now.when - pace.seconds + SLACK
        while len(looks) > 1 and looks[1].when <= since:
            del looks[0]
        if looks and looks[0].when <= since:
            first = looks[0]
            could = first.under_way
            if not (now.held or any(look.held for look in looks)):
                could += first.waiting
            if now.taken - first.taken < min(pace.least, could):
                return True
        if not looks or now.when - looks[-1].when >= pace.look / 4:
            looks.append(now)
        return False
