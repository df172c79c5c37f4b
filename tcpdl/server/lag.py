"""How late the reactor does what it was to do: what a client waits before it is looked at.

Imports Twisted and `server.metrics`. Twice a second it is seen how long after its time a timer
fires. Whatever kept the reactor then kept all connections, too.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall

from tcpdl.server.metrics import Histogram

LOOK_SECONDS = 0.5
"""How long between two looks."""

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: one turn of the reactor ends after 4 ms, whatever is left."""


class LoopLag(Service):
    """Looks how late the reactor is, while it runs."""

    def __init__(self, clock: Any) -> None:
        """`clock` is an `IReactorTime` on a clock that is not set."""
        self.seconds = Histogram(BOUNDS)
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._due = 0.0

    def startService(self) -> None:
        super().startService()
        self._wait()

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._due = self._clock.seconds() + LOOK_SECONDS
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self.seconds.add(max(0.0, self._clock.seconds() - self._due))
        self._wait()
