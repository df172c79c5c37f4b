"""What each of several processes may have of a limit that holds for all together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LEAST = 0.1
"""The part of an even share that each has at least: with less it could not show that it wants
more."""

MORE = 1.5
"""Who wanted no more than it used may use so many times as much in the time to come."""


class Claim(NamedTuple):
    """What a process did with its part."""

    used: float
    weight: float
    """What it should have beside the others, since it wanted more; 0, if it did not."""


def divided(total: float, claims: Sequence[Claim]) -> list[float]:
    """What each has of `total`: those who wanted no more than they used, that and some more; the
    others what is left, by their weights."""
    if not claims:
        return []
    least = LEAST * total / len(claims)
    hungry = sum(claim.weight for claim in claims)
    waiting = sum(1 for claim in claims if claim.weight)
    asked = [0.0 if claim.weight else max(least, MORE * claim.used) for claim in claims]
    free = total - least * waiting
    if sum(asked) > free:
        # What is above the least is cut, by the same part of each.
        above = sum(asked) - least * (len(claims) - waiting)
        part = (free - least * (len(claims) - waiting)) / above
        asked = [least + (ask - least) * part if ask else 0.0 for ask in asked]
    left = max(0.0, free - sum(asked))
    if not hungry:
        return [ask + left / len(claims) for ask in asked]
    return [
        least + left * claim.weight / hungry if claim.weight else ask
        for claim, ask in zip(claims, asked, strict=True)
    ]
