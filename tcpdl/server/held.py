"""A file that its answer and threads have in hand at the same time. Imports the modules beside it.

A thread may read on when nobody waits for it any more. A descriptor of its own would be one more,
and there may be none left in the middle of an answer that was promised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from tcpdl.content.source import File
from tcpdl.server.working import Workers

_T = TypeVar("_T")


class HeldFile:
    """An open file; it is closed once all have done with it."""

    def __init__(self, file: File) -> None:
        self.file = file
        self._users = 1

    def close(self) -> None:
        """Whoever made this has done with it."""
        self._users -= 1
        if not self._users:
            self.file.close()

    def run(self, workers: Workers, work: Callable[..., _T], *args: Any) -> Deferred[_T]:
        """What `work(file, *args)` gives, called in a thread, as `Workers.run` has it."""
        self._users += 1
        return workers.run(work, self.file, *args).addBoth(self._done)

    def _done(self, result: Any) -> Any:
        self.close()
        return result
