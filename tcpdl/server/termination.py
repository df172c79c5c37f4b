"""SIGTERM: the daemon lets its clients have what they asked for. Imports Twisted only.

The reactor hears the signals first, and stops; a service that is to be stopped then asks whether
that was for SIGTERM, which gives it time, or for SIGINT, which gives it none.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


class Termination:
    """Knows which signal ends the process, and hears the second one."""

    def __init__(self, reactor: Any, hurry: Callable[[], object]) -> None:
        """`hurry` is called, in the reactor's time, when a further signal comes."""
        self._reactor = reactor
        self._hurry = hurry
        self._before: dict[int, Any] = {}
        self._heard = 0
        self._again = False

    @property
    def gives_time(self) -> bool:
        """It was SIGTERM, and no other has come after it."""
        return self._heard == signal.SIGTERM and not self._again

    def begin(self) -> None:
        """Listen, once the reactor runs: it takes its own signals then."""
        self._reactor.callWhenRunning(self._listen)

    def end(self) -> None:
        """Leave the signals to the reactor again."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._hear:
                signal.signal(number, before)
        self._before.clear()

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if not callable(before):
                continue  # whoever runs the reactor has its own ways to stop it
            try:
                signal.signal(number, self._hear)
            except ValueError:
                return  # this is not the main thread, and no signal is ours
            self._before[number] = before

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # Between any two instructions: what is done is done in the reactor's time.
        if not self._heard:
            self._heard = number
            self._before[number](number, frame)
        else:
            self._again = True
            self._reactor.callFromThread(self._hurry)
