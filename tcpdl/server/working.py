"""Threads for what would keep the reactor: walking trees, computing digests.

Imports Twisted only. Both wait for the disk or let other threads run while they hash.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

THREADS = max(2, min(os.cpu_count() or 1, 8))
"""Jobs done at once; more wait for their turn."""

_T = TypeVar("_T")


class Workers(Service):
    """The threads that work."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, THREADS, "tcpdl-work")

    def startService(self) -> None:
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        super().stopService()
        self._pool.stop()

    def run(self, work: Callable[..., _T], *args: Any) -> Deferred[_T]:
        """Call `work(*args)` in a thread; the Deferred fires in the reactor with what it gives."""
        done: Deferred[_T] = deferToThreadPool(self._reactor, self._pool, work, *args)
        return done
