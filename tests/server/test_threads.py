"""Tests the threads that do jobs: as many as compute, and more where some wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from twisted.internet.task import Clock

from tcpdl.server import threads as module
from tcpdl.server.threads import LOOK_SECONDS, THREADS_MOST, Threads

if TYPE_CHECKING:
    from tests.server.conftest import Log

COUNT = 3
SECONDS = 60


class Jobs:
    """Jobs that wait until they are let go, and threads for them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.grown = 0
        self.threads = Threads(self.clock, "test", COUNT, grown=self._grown)
        self.threads.start()
        self.go_on = threading.Semaphore(0)
        self.begun: list[int] = []
        self.done: list[int] = []
        self._change = threading.Condition()

    def _grown(self) -> None:
        self.grown += 1

    def give(self, *numbers: int) -> None:
        for number in numbers:
            self.threads.do(lambda number=number: self._do(number))  # type: ignore[misc]

    def _do(self, number: int) -> None:
        with self._change:
            self.begun.append(number)
            self._change.notify_all()
        assert self.go_on.acquire(timeout=SECONDS)
        with self._change:
            self.done.append(number)
            self._change.notify_all()

    def wait_for(self, *, begun: int = 0, done: int = 0) -> None:
        with self._change:
            assert self._change.wait_for(
                lambda: len(self.begun) >= begun and len(self.done) >= done, SECONDS
            )

    def look(self, times: int = 2) -> None:
        for _ in range(times):
            self.clock.advance(LOOK_SECONDS)


def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds, which threads bring about without telling."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.go_on.release(1000)
    jobs.threads.stop()
    assert jobs.clock.getDelayedCalls() == []


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every thread computes."""
    used = iter(range(1_000_000))
    monkeypatch.setattr(module, "_seconds_of", lambda _clock: float(next(used)))


def test_as_many_as_there_are_threads(jobs: Jobs) -> None:
    jobs.give(*range(COUNT + 2))
    jobs.wait_for(begun=COUNT)
    jobs.go_on.release()
    jobs.wait_for(begun=COUNT + 1)
    assert sorted(jobs.begun[:COUNT]) == list(range(COUNT))
    assert jobs.begun[COUNT] == COUNT
    assert len(jobs.done) == 1


def test_for_those_that_wait_there_are_others(jobs: Jobs) -> None:
    jobs.give(*range(3 * COUNT))
    jobs.wait_for(begun=COUNT)
    jobs.look(1)
    assert jobs.threads.waiting == 0, "they may just have begun"
    jobs.look(1)
    assert jobs.threads.waiting == COUNT
    assert jobs.grown == 1
    jobs.wait_for(begun=2 * COUNT)
    jobs.look()
    jobs.wait_for(begun=3 * COUNT)


def test_their_number_has_a_bound(jobs: Jobs) -> None:
    jobs.give(*range(THREADS_MOST + 10))
    begun = COUNT
    while begun < THREADS_MOST:
        jobs.wait_for(begun=begun)
        jobs.look()
        begun = min(begun + COUNT, THREADS_MOST)
    jobs.wait_for(begun=THREADS_MOST)
    jobs.look(10)
    assert len(jobs.begun) == THREADS_MOST
    assert len(jobs.threads._threads) == THREADS_MOST


@pytest.mark.usefixtures("at_work")
def test_those_that_compute_keep_their_places(jobs: Jobs) -> None:
    jobs.give(*range(2 * COUNT))
    jobs.wait_for(begun=COUNT)
    jobs.look(10)
    assert jobs.threads.waiting == 0
    assert len(jobs.begun) == COUNT
    assert jobs.grown == 0


def test_they_become_fewer_again(jobs: Jobs) -> None:
    jobs.give(*range(2 * COUNT))
    jobs.wait_for(begun=COUNT)
    jobs.look()
    jobs.wait_for(begun=2 * COUNT)
    assert len(jobs.threads._threads) == 2 * COUNT
    jobs.go_on.release(2 * COUNT)
    jobs.wait_for(done=2 * COUNT)
    until(lambda: not jobs.threads._busy)
    jobs.look()
    assert jobs.threads.waiting == 0
    until(lambda: len(jobs.threads._threads) == COUNT)
    assert jobs.clock.getDelayedCalls() == [], "nothing is looked at while nothing is done"
    jobs.give(*range(COUNT))
    jobs.wait_for(begun=3 * COUNT)


def test_all_that_was_given_is_done_before_it_stops(jobs: Jobs) -> None:
    jobs.give(*range(2 * COUNT))
    jobs.go_on.release(2 * COUNT)
    jobs.threads.stop()
    assert sorted(jobs.done) == list(range(2 * COUNT))


def test_those_that_wait_for_a_disk_do_not_keep_it_from_stopping(
    jobs: Jobs, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.give(1, 2)
    jobs.wait_for(begun=2)
    monkeypatch.setattr(module, "STOP_SECONDS", 0.05)
    jobs.threads.stop()
    assert jobs.done == []
    assert log.lines == ["2 threads wait for a disk, and are left"]


def test_what_fails_harms_no_other(jobs: Jobs, log: Log) -> None:
    for _ in range(2 * COUNT):
        jobs.threads.do(lambda: 1 // 0)  # type: ignore[arg-type]
    jobs.go_on.release()
    jobs.give(1)
    jobs.wait_for(done=1)
    jobs.threads.stop()
    assert [type(error) for error in log.flush()] == [ZeroDivisionError] * 2 * COUNT


def test_threads_that_cannot_be_had(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be done waits until they can."""
    with monkeypatch.context() as patch:

        def start(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", start)
        jobs.give(1, 2)
    jobs.look(1)
    jobs.wait_for(begun=2)
