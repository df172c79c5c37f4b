"""Tests the threads that work: what they do comes back to the reactor."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tcpdl.server.working import THREADS, Stopped, Workers


class Reactor:
    """Stands for the reactor: does what other threads want it to do, when it is told."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.callLater = Clock().callLater

    def callFromThread(self, call: Callable[..., object], *args: Any, **options: Any) -> None:
        self._calls.put(lambda: call(*args, **options))

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        self._calls.get(timeout=20)()


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def workers(reactor: Reactor) -> Iterator[Workers]:
    workers = Workers(reactor)
    workers.startService()
    yield workers
    workers.stopService()


def results(*works: Deferred[Any]) -> list[Any]:
    found: list[Any] = []
    for work in works:
        work.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found


def test_work_is_done_in_another_thread(workers: Workers, reactor: Reactor) -> None:
    found = results(workers.run(lambda: threading.current_thread()))
    reactor.turn()
    assert found[0] is not threading.current_thread()


def test_arguments_and_results(workers: Workers, reactor: Reactor) -> None:
    found = results(workers.run(max, 5, 7))
    reactor.turn()
    assert found == [7]


def test_exceptions(workers: Workers, reactor: Reactor) -> None:
    found = results(workers.run(int, "x"))
    reactor.turn()
    assert isinstance(found[0], ValueError)


def test_results_come_in_the_reactors_thread(workers: Workers, reactor: Reactor) -> None:
    where: list[threading.Thread] = []
    workers.run(int).addCallback(lambda _: where.append(threading.current_thread()))
    assert where == []
    reactor.turn()
    assert where == [threading.current_thread()]


def test_as_many_at_once_as_there_are_threads(workers: Workers, reactor: Reactor) -> None:
    barrier = threading.Barrier(THREADS)
    found = results(*[workers.run(barrier.wait, 20) for _ in range(THREADS)])
    for _ in range(THREADS):
        reactor.turn()
    assert sorted(found) == list(range(THREADS))


def test_it_tells_whether_it_works(reactor: Reactor) -> None:
    workers = Workers(reactor)
    assert not workers.running
    workers.startService()
    assert workers.running
    workers.stopService()
    assert not workers.running


def test_what_waits_when_it_stops_is_not_done(reactor: Reactor) -> None:
    workers = Workers(reactor)
    workers.startService()
    began, go_on = threading.Semaphore(0), threading.Event()
    done: list[int] = []

    def work(number: int) -> int:
        began.release()
        go_on.wait(20)
        done.append(number)
        return number

    found = [results(workers.run(work, number)) for number in range(THREADS + 3)]
    for _ in range(THREADS):
        assert began.acquire(timeout=20)
    threading.Thread(target=go_on_once_stopping, args=(workers, go_on)).start()
    workers.stopService()
    assert sorted(done) == list(range(THREADS))
    assert [type(one[0]) for one in found[THREADS:]] == [Stopped] * 3
    # What was done is told too late: it cannot be told twice.
    assert [len(one) for one in found] == [1] * len(found)
    for _ in range(THREADS + 3):
        reactor.turn()
    assert [len(one) for one in found] == [1] * len(found)


def go_on_once_stopping(workers: Workers, go_on: threading.Event) -> None:
    while workers.running:
        pass
    go_on.set()


def test_nothing_is_done_after_it_stopped(reactor: Reactor) -> None:
    workers = Workers(reactor)
    workers.startService()
    workers.stopService()
    assert [type(error) for error in results(workers.run(int))] == [Stopped]


def test_nothing_is_kept_of_what_failed(reactor: Reactor) -> None:
    class Mine:
        """Is in a frame that the failure passed."""

    kept: list[weakref.ref[Mine]] = []

    def work() -> None:
        mine = Mine()
        kept.append(weakref.ref(mine))
        raise ValueError

    workers = Workers(reactor)
    workers.startService()
    gc.disable()
    try:
        workers.run(work).addErrback(lambda failure: None)
        reactor.turn()
        workers.stopService()
        assert kept[0]() is None
    finally:
        gc.enable()
