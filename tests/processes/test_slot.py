"""Tests who serves in a worker's place: who comes next, who is waited for, and who is ended."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from tcpdl.processes.backoff import FIRST_SECONDS, THRESHOLD_SECONDS
from tcpdl.processes.process import CannotStart
from tcpdl.processes.slot import DRAINING_MOST, MORE_SECONDS, START_LOOKS, Slot

HANG_LOOKS = 30


class Process:
    """A worker that does what a test says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.serves = self.drains = False
        self.running = True
        self.since = 0.0
        self.silence = 0
        self.ready: Deferred[Any] = Deferred()
        self.over: Deferred[str] = Deferred()
        self.told: list[str] = []

    def serve(self) -> None:
        self.serves = True
        self.ready.callback(self)

    def fail(self, why: str) -> None:
        self.ready.errback(Failure(CannotStart(why)))
        self.stop(why)

    def stop(self, how: str = "status 0") -> None:
        self.running = self.serves = False
        self.over.callback(how)

    def drain(self, seconds: float, *, last: bool) -> None:
        self.drains = True
        self.told.append(f"drain {seconds:g}{' last' if last else ''}")

    def end(self, why: str = "") -> None:
        self.drains = True
        self.told.append("end")

    def kill(self, why: str = "") -> None:
        self.told.append("kill")


class World:
    """A slot, its clock, and all that was started in it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.started: list[Process] = []
        self.errors = 0
        self.slot: Any = Slot(self.clock, self._start, HANG_LOOKS)

    def _start(self) -> Any:
        if self.errors:
            self.errors -= 1
            raise OSError(11, "no more processes")
        self.started.append(Process(f"worker-{len(self.started) + 1}"))
        return self.started[-1]

    @property
    def last(self) -> Process:
        return self.started[-1]

    def serving(self) -> Process:
        """One that serves."""
        self.slot.begin()
        self.last.serve()
        return self.last


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def log() -> Any:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
    yield events
    globalLogPublisher.removeObserver(events.append)  # type: ignore[arg-type]


def test_one_that_dies_is_followed_at_once(world: World) -> None:
    first = world.serving()
    assert world.slot.serves
    world.clock.advance(THRESHOLD_SECONDS)
    first.stop("signal 9")
    assert not world.slot.serves
    world.clock.advance(0)
    assert world.slot.current is world.last is not first


def test_those_that_fail_one_after_the_other_are_followed_later(
    world: World, log: list[Any]
) -> None:
    world.slot.begin()
    world.last.fail("there is no such folder")
    world.clock.advance(0)
    assert len(world.started) == 2
    assert not world.slot.vacant
    world.last.fail("there is no such folder")
    assert world.slot.vacant
    world.clock.advance(FIRST_SECONDS / 2)
    assert len(world.started) == 2
    world.clock.advance(FIRST_SECONDS / 2)
    assert len(world.started) == 3
    assert not world.slot.vacant
    assert [event["how"] for event in log] == ["there is no such folder"] * 2
    assert [event["when"] for event in log] == ["now", "in 1 seconds"]
    # Of lines with such a key, the journal is told that the worker said them.
    assert not any("worker" in event for event in log)


def test_one_that_cannot_be_started_is_tried_again(world: World) -> None:
    world.errors = 2
    world.slot.begin()
    world.clock.advance(0)
    world.clock.advance(FIRST_SECONDS)
    assert world.slot.current is world.last


def test_one_that_says_nothing_is_ended(world: World) -> None:
    process = world.serving()
    for _ in range(HANG_LOOKS - 1):
        world.slot.look()
    process.silence = 0  # it said something
    for _ in range(HANG_LOOKS - 1):
        world.slot.look()
    assert process.told == []
    world.slot.look()
    assert process.told == ["kill"]


def test_one_that_does_not_come_to_serve_is_ended(world: World) -> None:
    world.slot.begin()
    for _ in range(START_LOOKS - 1):
        world.slot.look()
    assert world.last.told == []
    world.slot.look()
    assert world.last.told == ["kill"]


def test_another_serves_before_the_one_before_it_drains(world: World) -> None:
    old = world.serving()
    prepared: list[object] = []
    world.slot.prepare().addCallback(prepared.append)
    new = world.last
    assert not prepared
    new.serve()
    assert prepared == [new]
    assert old.told == []
    world.slot.advance(7)
    assert old.told == ["drain 7"]
    assert world.slot.current is new
    old.stop()
    world.clock.advance(100)
    assert len(world.started) == 2
    assert old.told == ["drain 7"]
    assert world.slot.processes == [new]


def test_one_that_does_not_end_in_time_is_ended(world: World) -> None:
    old = world.serving()
    world.slot.prepare()
    world.last.serve()
    world.slot.advance(7)
    world.clock.advance(7 + MORE_SECONDS)
    assert old.told == ["drain 7", "kill"]
    old.stop("signal 9")
    assert len(world.started) == 2


def test_if_the_next_one_fails_the_one_before_stays(world: World) -> None:
    old = world.serving()
    failures: list[Failure] = []
    world.slot.prepare().addErrback(failures.append)
    world.last.fail("the certificate is gone")
    assert str(failures[0].value) == "the certificate is gone"
    world.slot.abandon()
    world.clock.advance(100)
    assert world.slot.processes == [old]
    assert old.told == []


def test_one_that_is_abandoned_ends(world: World) -> None:
    old = world.serving()
    world.slot.prepare()
    new = world.last
    new.serve()
    world.slot.abandon()
    assert new.told == ["end"]
    new.stop()
    assert world.slot.processes == [old]
    world.clock.advance(100)
    assert len(world.started) == 2


def test_if_nobody_serves_who_is_next_does(world: World) -> None:
    """The one before has died while the next one started, and another was about to."""
    world.serving().stop("signal 9")
    world.slot.prepare()
    new = world.last
    new.serve()
    world.slot.advance(7)
    world.clock.advance(100)
    assert world.slot.processes == [new]
    assert len(world.started) == 2


def test_if_who_is_next_dies_before_its_turn_another_takes_it(world: World) -> None:
    old = world.serving()
    world.slot.prepare()
    world.last.serve()
    world.last.stop("signal 9")
    world.slot.advance(7)
    assert len(world.started) == 3
    assert world.slot.current is world.last
    assert old.told == ["drain 7"]


def test_one_that_drains_by_itself_is_followed_before_it_has_ended(world: World) -> None:
    old = world.serving()
    world.slot.retire(old, 7)
    assert world.slot.current is world.last is not old
    world.last.serve()
    old.stop()
    world.clock.advance(100)
    assert len(world.started) == 2
    assert old.told == []


def test_one_that_says_that_it_drains_has_to_end(world: World) -> None:
    old = world.serving()
    world.slot.retire(old, 7)
    world.clock.advance(7 + MORE_SECONDS)
    assert old.told == ["kill"]
    for _ in range(DRAINING_MOST):
        world.last.serve()
        world.slot.retire(world.last, 7)
    assert old.told == ["kill", "end"]


def test_no_more_than_so_many_drain(world: World) -> None:
    world.serving()
    for _ in range(DRAINING_MOST + 2):
        world.slot.prepare()
        world.last.serve()
        world.slot.advance(3600)
    ended = ["end" in process.told for process in world.started]
    assert ended == [True, True] + [False] * (DRAINING_MOST + 1)


def test_at_the_end_all_drain_and_nobody_follows(world: World) -> None:
    serving = world.serving()
    world.slot.prepare()
    starting = world.last
    stopped: list[object] = []
    world.slot.stop(9).addCallback(stopped.append)
    assert serving.told == ["drain 9 last"]
    assert starting.told == ["kill"]
    starting.fail("signal 9")
    assert not stopped
    world.slot.end()
    serving.stop()
    assert stopped
    world.clock.advance(100)
    assert len(world.started) == 2


def test_a_place_in_which_nobody_is_stops_at_once(world: World) -> None:
    world.errors = 1
    world.slot.begin()
    stopped: list[object] = []
    world.slot.stop(9).addCallback(stopped.append)
    assert stopped
    world.clock.advance(100)
    assert world.started == []
