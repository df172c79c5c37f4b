"""Threads that do jobs: so many at a time, not counting those that wait for a disk.

Imports Twisted only. A thread that waits takes nothing from anybody but its place. Were it to
keep that, a few requests for what is on a disk that hangs would keep all others waiting. So ten
times a second it is looked which threads have used no processor time to speak of, and for each of
them there may be another.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

THREADS_MOST = 64
"""Threads of one kind, however many of them wait."""

LOOK_SECONDS = 0.1
"""How long between two looks at what threads do."""

WAITING_MOST = 0.01
"""Seconds of processor time between two looks up to which a thread is one that waits."""

STOP_SECONDS = 3.0
"""How long threads may go on when they are to stop."""

_log = Logger()


class Threads:
    """Does jobs in the order in which they were given."""

    def __init__(
        self, reactor: Any, name: str, count: int, *, grown: Callable[[], None] | None = None
    ) -> None:
        """`count` threads, and more while some of them wait: then `grown` is called."""
        self._reactor = reactor
        self._name = name
        self._count = count
        self._grown = grown
        self._look: IDelayedCall | None = None
        self._used: dict[threading.Thread, float] = {}  # by those that were busy at the last look
        # What follows is for all threads, under the lock.
        self._change = threading.Condition()
        self._limit = count
        self._threads: dict[threading.Thread, int | None] = {}  # and their clocks
        self._busy: set[threading.Thread] = set()
        self._jobs: deque[Callable[[], None]] = deque()
        self._running = False

    @property
    def waiting(self) -> int:
        """How many threads waited at the last look."""
        return self._limit - self._count

    @property
    def busy(self) -> int:
        """How many threads do a job now."""
        return len(self._busy)

    @property
    def queued(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._jobs)

    def start(self) -> None:
        """From now on, jobs are done."""
        with self._change:
            self._running = True
            self._add()

    def stop(self) -> None:
        """Do what has been given, and end. Nothing may be given meanwhile.

        Threads that wait for a disk are waited for no longer than `STOP_SECONDS`; they end with the
        process.
        """
        if self._look is not None:
            self._look.cancel()
            self._look = None
        with self._change:
            self._running = False
            self._change.notify_all()
            threads = list(self._threads)
        deadline = time.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        left = sum(thread.is_alive() for thread in threads)
        if left:
            _log.warn("{left} threads wait for a disk, and are left", left=left)

    def do(self, job: Callable[[], None]) -> None:
        """Have a thread call `job`, which should not raise. Only the reactor's thread may ask."""
        with self._change:
            self._jobs.append(job)
            self._change.notify()
            self._add()
        if self._look is None and self._running:
            self._look = self._reactor.callLater(LOOK_SECONDS, self._look_at_all)

    def _add(self) -> None:
        """Start the threads that are needed and may be."""
        idle = len(self._threads) - len(self._busy)
        while self._running and len(self._jobs) > idle and len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._threads[thread] = None
            try:
                thread.start()
            except RuntimeError:  # the system allows no more; it is tried again
                del self._threads[thread]
                return
            idle += 1

    def _work(self) -> None:
        """What a thread does."""
        this = threading.current_thread()
        with self._change:
            self._threads[this] = _clock()
            while True:
                while not self._jobs and self._running and len(self._threads) <= self._limit:
                    self._change.wait()
                if not self._jobs or len(self._threads) > self._limit:
                    del self._threads[this]
                    return
                job = self._jobs.popleft()
                self._busy.add(this)
                self._change.release()
                try:
                    job()
                except Exception:  # noqa: BLE001 - the others must be done all the same
                    _log.failure("unexpected error in a thread")
                del job
                self._change.acquire()
                self._busy.discard(this)

    def _look_at_all(self) -> None:
        """See who waits, and have as many threads as that asks for."""
        self._look = None
        with self._change:
            busy = {thread: _seconds_of(self._threads[thread]) for thread in self._busy}
            waiting = sum(
                seconds - self._used[thread] <= WAITING_MOST
                for thread, seconds in busy.items()
                if thread in self._used
            )
            self._used = busy
            grows = self._count + waiting > self._limit
            self._limit = min(self._count + waiting, THREADS_MOST)
            self._add()
            self._change.notify_all()  # some may have become too many
            go_on = bool(self._busy or self._jobs)
        if go_on:
            self._look = self._reactor.callLater(LOOK_SECONDS, self._look_at_all)
        if grows and self._grown is not None:
            self._grown()


def _clock() -> int | None:
    """The clock that tells how much processor time this thread has used, where there is one."""
    if sys.platform == "linux":
        return time.pthread_getcpuclockid(threading.get_ident())
    return None


def _seconds_of(clock: int | None) -> float:
    return time.clock_gettime(clock) if clock is not None else time.monotonic()
