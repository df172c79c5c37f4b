"""The access log: a line for each answer that has ended, written a batch at a time.

Imports Twisted, `server.transfers` and its neighbours. To write each line by itself takes longer
than to answer a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from tcpdl.logs.lines import Format
from tcpdl.server.transfers import Transfer, Transfers

BATCH_SECONDS = 0.25
"""How long a line may wait for others."""

BATCH_MOST = 500
"""Lines of a batch: to make them takes a millisecond or two."""

Sink = Callable[[list[str]], object]
"""Takes lines, without their ends, and waits for nothing."""

NAMESPACE = "tcpdl.transfers"
"""Of the events that lines are in, which are written to the daemon's log."""

_log = Logger(NAMESPACE)


EVENT_MOST = 100
"""Lines of one event of the daemon's log: they may be long, and workers tell of no more at once."""


def to_log(lines: list[str]) -> None:
    """Write lines to the daemon's log, a few in an event."""
    for at in range(0, len(lines), EVENT_MOST):
        _log.info("{lines}", lines="\n".join(lines[at : at + EVENT_MOST]))


class AccessLog:
    """Makes lines of what has ended, and hands them on together."""

    def __init__(
        self,
        transfers: Transfers,
        clock: Any,
        form: Format,
        sink: Sink,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now` is the time in seconds since 1970."""
        self._transfers = transfers
        self._clock = clock
        self._form = form
        self._sink = sink
        self._now = now
        self._most = BATCH_MOST
        self._ended: list[Transfer] = []
        self._timer: IDelayedCall | None = None
        transfers.on_end.append(self._note)

    def _note(self, transfer: Transfer) -> None:
        self._ended.append(transfer)
        if len(self._ended) >= self._most:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(BATCH_SECONDS, self._flush_in_time)

    def flush(self) -> None:
        """Hand on what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write()

    def end(self) -> None:
        """Hand on what waits, and make no more lines."""
        self._transfers.on_end.remove(self._note)
        self.flush()

    def close(self) -> None:
        """Hand on what waits, and from now on each line as it comes: those of connections that end
        with the daemon come when its timers have stopped."""
        self._most = 1
        self.flush()

    def _flush_in_time(self) -> None:
        self._timer = None
        self._write()

    def _write(self) -> None:
        ended, self._ended = self._ended, []
        if ended:
            offset = self._now() - self._transfers.now()
            form = self._form
            self._sink([form(transfer, offset) for transfer in ended])
