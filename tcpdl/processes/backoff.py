"""How long a worker that ended waits for its successor. Pure: the times are given."""

from __future__ import annotations

THRESHOLD_SECONDS = 1.0
"""A worker that served for less has failed."""

FIRST_SECONDS, MOST_SECONDS = 1.0, 60.0
"""The delay after the second failure in a row, which is doubled with each further one, up to
this."""


class Backoff:
    """The delays of one worker's successors. That one failed once may be chance: the next comes at
    once. If that one fails as well, there is a reason which the one after it will find, too."""

    def __init__(self) -> None:
        self._failures = 0

    def delay(self, served: float) -> float:
        """Seconds until the next one is started, after one that served for so many."""
        if served >= THRESHOLD_SECONDS:
            self._failures = 0
            return 0.0
        self._failures += 1
        if self._failures == 1:
            return 0.0
        return float(min(FIRST_SECONDS * 2 ** min(self._failures - 2, 32), MOST_SECONDS))
