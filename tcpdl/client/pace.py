"""What a download spends its time on, and whether another connection would pay. Pure.

Imports nothing of ours.
"""

from __future__ import annotations

import os

ROUND_TRIPS = 10
"""Goodput is measured for so many round trips before the number of connections is changed: by then
a new one shows what it brings."""

WINDOW_LEAST = 0.05
WINDOW_MOST = 1.0
"""The same, in seconds: never shorter nor longer."""

RISE = 1.15
"""Each time, it must have grown by this factor for more of them to be added."""

WORTH = 3
"""Windows that a download must still take for another connection to be opened."""


BUSY = 0.7
"""Processors' worth of work from which it is this process that limits, and no connection helps."""


class Growth:
    """Decides when to add a connection: doubles their number for as long as that pays.

    Many connections from the start take more than their share of a line that others use, and on one
    that is full they make everything slower.
    """

    def __init__(self, most: int, round_trip: float) -> None:
        """`most` connections are never exceeded; `round_trip` is in seconds."""
        self._most = most
        self.window = min(max(ROUND_TRIPS * round_trip, WINDOW_LEAST), WINDOW_MOST)
        """Seconds over which goodput is measured."""
        self._since: float | None = None
        self._before = 0
        self._cpu = 0.0
        self._best = 0.0
        self._wanted = 1

    def wants_another(self, now: float, cpu: float, received: int, left: int, working: int) -> bool:
        """Whether to open one more.

        Until `now`, this process used `cpu` seconds and received so many bytes on `working`
        connections; `left` bytes are still to be asked for.
        """
        if self._since is None:
            self._since, self._before, self._cpu = now, received, cpu
        if now - self._since >= self.window:
            rate = (received - self._before) / (now - self._since)
            busy = (cpu - self._cpu) / (now - self._since)
            self._since, self._before, self._cpu = now, received, cpu
            pays = rate > self._best * RISE and busy < BUSY
            if busy < BUSY:
                self._best = max(self._best, rate)
            if pays and left > rate * WORTH * self.window:
                self._wanted = min(2 * working, self._most)
        return working < self._wanted and left > 0


class Times:
    """What a download spends its time on, in seconds, summed over all connections."""

    def __init__(self) -> None:
        self.waited = 0.0
        """For bytes from the network."""
        self.wrote = 0.0
        """Writing them."""
        self.held = 0.0
        """For which the server had nothing to send, by its own account."""
        self.cpu = cpu_seconds()
        """Processor time of this process, until the download began."""


def limited_by(times: Times, seconds: float) -> str:
    """What kept a download of so many `seconds` from being faster, in a word or two."""
    if cpu_seconds() - times.cpu > 0.85 * seconds:
        return "this CPU"
    if times.wrote > times.waited:
        return "this disk"
    return "the server" if times.held > 0.5 * times.waited else "the network"


def cpu_seconds() -> float:
    """Processor time that this process has used."""
    used = os.times()
    return used.user + used.system
