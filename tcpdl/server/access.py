"""The log of what was fetched over HTTP: a line each, written a batch at a time.

Imports Twisted only. To hand a line to the log by itself takes as long as to answer a request.
"""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

BATCH_SECONDS = 1.0
"""How long a line may wait for others."""

BATCH_MOST = 1000
"""Lines of a batch."""

_log = Logger()


class AccessLog:
    """Collects lines, and hands them to the log together."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._most = BATCH_MOST
        self._lines: list[str] = []
        self._timer: IDelayedCall | None = None

    def note(self, line: str) -> None:
        """Write `line`, which must be fit to be shown, soon."""
        self._lines.append(line)
        if len(self._lines) >= self._most:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(BATCH_SECONDS, self._flush_in_time)

    def flush(self) -> None:
        """Write what waits to be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write()

    def close(self) -> None:
        """Write what waits to be, and from now on each line as it comes: those of connections that
        end with the daemon come when its timers have stopped."""
        self._most = 1
        self.flush()

    def _flush_in_time(self) -> None:
        self._timer = None
        self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            _log.info("{lines}", lines="\n".join(lines))
