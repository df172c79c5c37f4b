"""SIGUSR1: log files are opened anew. Imports Twisted only."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

_log = Logger()


class Rotations(Service):
    """What is done on SIGUSR1 while the daemon runs, beside what was done on it before: twistd puts
    its own log away. Where nothing is to be done, the signal ends the daemon no more."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: list[Callable[[], None]] = []
        self._before: Any = None

    def add(self, reopen: Callable[[], None]) -> None:
        """Do this, too."""
        self._calls.append(reopen)

    def begin(self) -> None:
        """Hear the signal from now on: before anything says that the daemon is there."""
        try:
            self._before = signal.signal(signal.SIGUSR1, self._heard)
        except ValueError:
            _log.warn("SIGUSR1 has no effect: the daemon does not run in the main thread")

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        if signal.getsignal(signal.SIGUSR1) == self._heard:
            # Not what ends the process: one that comes now comes late.
            before = self._before
            signal.signal(signal.SIGUSR1, before if callable(before) else signal.SIG_IGN)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if callable(self._before):
            self._before(number, frame)
        # Between any two instructions: what is done is done in the reactor's time.
        for reopen in self._calls:
            self._reactor.callFromThread(reopen)
