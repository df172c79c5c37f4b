"""Threads for what would keep the reactor: walking trees, computing digests.

Imports `server.threads`. Both wait for the disk or let other threads run while they hash.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from tcpdl.server.threads import Threads

THREADS = max(2, min(os.cpu_count() or 1, 8))
"""Jobs done at once, not counting those that wait for a disk; more wait for their turn."""

_T = TypeVar("_T")


class Stopped(Exception):
    """The daemon stops, and what it was asked to do will not be done."""


class Workers(Service):
    """The threads that work."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.threads = Threads(reactor, "tcpdl-work", THREADS, grown=self._grown)
        self._to_tell: list[Callable[[], None]] = []
        self._under_way: set[Deferred[Any]] = set()
        self._stopped = False

    def startService(self) -> None:
        super().startService()
        self.threads.start()

    def stopService(self) -> None:
        """Wait for the jobs that are being done. Those that wait are not done any more."""
        super().stopService()
        self._stopped = True
        self.threads.stop()
        for done in list(self._under_way):
            self._finish(done, False, Failure(Stopped()))

    def run(self, work: Callable[..., _T], *args: Any) -> Deferred[_T]:
        """Call `work(*args)` in a thread; the Deferred fires in the reactor with what it gives, or
        fails with `Stopped` if it was not done."""
        if self._stopped:
            return fail(Stopped())
        done: Deferred[_T] = Deferred()
        self._under_way.add(done)

        def job() -> None:
            result: Any
            try:
                if self._stopped:
                    raise Stopped
                well, result = True, work(*args)
            except BaseException:  # noqa: BLE001 - whatever it is, it is for who asked
                well, result = False, Failure()
            self._reactor.callFromThread(self._finish, done, well, result)
            # The traceback of a failure leads back to this frame.
            del result

        self.threads.do(job)
        return done

    @property
    def waiting(self) -> int:
        """How many jobs wait for a disk, as far as is known, and have others done beside them."""
        return self.threads.waiting

    def when_more_wait(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever `waiting` has become more."""
        self._to_tell.append(tell)

    def _grown(self) -> None:
        for tell in self._to_tell:
            tell()

    def _finish(self, done: Deferred[Any], well: bool, result: Any) -> None:
        if done in self._under_way:  # else it was stopped before we learnt that it was done
            self._under_way.remove(done)
            (done.callback if well else done.errback)(result)
