"""Looks now and then whether files have changed that the daemon has read. Imports Twisted only."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall

LOOK_SECONDS = 5.0
"""How long between two looks."""


class Read(Protocol):
    """What has read files."""

    def look(self) -> None:
        """Read them again if they changed."""


class Renewing(Service):
    """Looks whether files have changed, while it runs."""

    def __init__(self, read: Read, clock: Any) -> None:
        """`clock` is an `IReactorTime`."""
        self._read = read
        self._clock = clock
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)
        self._read.look()
