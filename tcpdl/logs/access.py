"""The access log: a line for each answer that has ended, written a batch at a time.

Imports Twisted, `server.transfers` and its neighbours. To write each line by itself takes longer
than to answer a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.logger import Logger

from tcpdl.logs.lines import Format
from tcpdl.server.transfers import Ended, Transfers

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
        self, transfers: Transfers, form: Format, sink: Sink, now: Callable[[], float] = time.time
    ) -> None:
        """`now` is the time in seconds since 1970."""
        self._transfers = transfers
        self._form = form
        self._sink = sink
        self._now = now
        transfers.on_end.append(self._write)

    def end(self) -> None:
        """Make no more lines."""
        self._transfers.on_end.remove(self._write)

    def _write(self, over: list[Ended]) -> None:
        offset = self._now() - self._transfers.now()
        form = self._form
        self._sink([form(one, offset) for one in over])
