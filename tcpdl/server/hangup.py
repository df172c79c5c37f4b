"""SIGHUP: the daemon reads again what it has read. Imports Twisted and `notify`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from tcpdl.server.notify import Notifier

_log = Logger()


class Hangups(Service):
    """What is done on SIGHUP while the daemon runs.

    One that comes since the terminal is gone from which the daemon was started ends it, as it
    would without this; unless the signal was ignored (`nohup`).
    """

    notifier = Notifier({})
    """Told of it. If it is heard, the signal ends nothing: a service manager reloads with it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: list[Callable[[], None]] = []
        self._before: Any = None
        self._terminal = False
        self.count = 0
        """How often all that was to be read again was."""

    def add(self, call: Callable[[], None], *, first: bool = False) -> None:
        """Do this, too: after the others, or before them."""
        self._calls.insert(0 if first else len(self._calls), call)

    def begin(self) -> None:
        """Hear the signal from now on: before anything says that the daemon is there."""
        self._terminal = _has_terminal()
        try:
            self._before = signal.signal(signal.SIGHUP, self._heard)
        except ValueError:
            _log.warn("SIGHUP has no effect: the daemon does not run in the main thread")

    def stopService(self) -> None:
        super().stopService()
        if signal.getsignal(signal.SIGHUP) == self._heard:
            # Not what ends the process: whoever drains has clients that are owed the rest.
            before = self._before
            signal.signal(signal.SIGHUP, before if callable(before) else signal.SIG_IGN)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        # Between any two instructions: what is done is done in the reactor's time.
        self._reactor.callFromThread(self._act)

    def _act(self) -> None:
        if self._terminal and self._before is signal.SIG_DFL and not _has_terminal():
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGHUP)
            return
        self.count += 1
        self.notifier.reloading()
        if not self._calls:
            _log.info("SIGHUP: there is nothing to read again")
        try:
            for call in [*self._calls]:
                call()
        finally:
            self.notifier.ready()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
