"""Where the lines for answers go, which may change while the daemon runs.

Imports Twisted, `server.transfers` and the modules beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from tcpdl.logs.access import AccessLog, Sink, to_log
from tcpdl.logs.file import LineFile, open_log
from tcpdl.logs.lines import FORMATS
from tcpdl.server.transfers import Transfers


class Destination(NamedTuple):
    """Where lines go, and what they look like."""

    form: str
    """The name of their format."""
    file: str | None = None
    """The path of a file that they are added to, or `-`; they come to the daemon's log, if there is
    none."""
    wanted: bool = True
    """Whether any are written at all."""


class Lines:
    """The lines for all answers of a daemon, on their way to where they go."""

    def __init__(self, transfers: Transfers, reactor: Any, tell: Callable[[str], object]) -> None:
        """They go nowhere yet. `tell` is given sentences about what goes wrong."""
        self._transfers = transfers
        self._reactor = reactor
        self._tell = tell
        self._log: AccessLog | None = None
        self._file: LineFile | None = None
        self._left: list[LineFile] = []
        self._lost = 0  # of those that are no more

    def go_to(self, where: Destination, owner: tuple[int, int] | None = None) -> None:
        """From now on, have them go there: not a line is lost, nor comes twice. A file that is made
        is given to `owner`, as `open_log` does it. Raises `OSError`, and changes nothing."""
        before, file = self._file, None
        if where.file is not None:
            same = before is not None and before.path == where.file
            file = before if same else self._open(where.file, owner)
        self._transfers.flush()
        if self._log is not None:
            self._log.end()
        sink: Sink = to_log if file is None else file.write
        form = FORMATS[where.form]
        log = AccessLog(self._transfers, form, sink) if where.wanted else None
        self._log, self._file = log, file
        if before is not None and before is not file:
            before.leave()
            self._lost += sum(one.lost for one in self._left if not one.busy)
            self._left = [*(one for one in self._left if one.busy), before]

    @property
    def lost(self) -> int:
        """How many could not be written."""
        files = [*self._left, *filter(None, (self._file,))]
        return self._lost + sum(one.lost for one in files)

    def reopen(self) -> None:
        """Somebody may have put the file away: open its name anew."""
        if self._file is not None:
            self._file.reopen()

    def close(self) -> None:
        """Write what waits. Lines that come from now on are written at once."""
        self._transfers.close()
        for file in self._left:
            file.wait()
        lost = self._file.close() if self._file is not None else 0
        if self._file is not None and lost:
            self._tell(f"the access log {self._file.path} has lost {lost} lines")

    def _open(self, path: str, owner: tuple[int, int] | None) -> LineFile:
        tell = partial(self._reactor.callFromThread, self._tell)
        return LineFile(path, open_log(path, owner), tell)
