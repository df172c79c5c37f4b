"""Tests deadlines, on a clock that is moved by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tcpdl.server.deadlines import GRAIN, TURN_SECONDS, Deadlines, run_on_monotonic_clock

if TYPE_CHECKING:
    from tests.server.conftest import Log


class Watched:
    """Remembers when it was overdue, and does what it is told to do then."""

    def __init__(self, clock: Clock, then: Callable[[], object] = lambda: None) -> None:
        self._clock = clock
        self._then = then
        self.times: list[float] = []

    def overdue(self) -> None:
        self.times.append(self._clock.seconds())
        self._then()


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1000)
    return clock


@pytest.fixture
def deadlines(clock: Clock) -> Deadlines:
    return Deadlines(clock)


def step(clock: Clock, seconds: float) -> None:
    clock.pump([GRAIN / 4] * round(seconds * 4 / GRAIN))


@given(start=st.floats(0, 1e9), later=st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_never_early(start: float, later: list[float]) -> None:
    clock = Clock()
    clock.advance(start)
    deadlines = Deadlines(clock)
    everyone = [Watched(clock) for _ in later]
    due = []
    for who, seconds in zip(everyone, later, strict=True):
        due.append(clock.seconds() + seconds)
        deadlines.set(who, seconds)
        step(clock, 1)
    step(clock, 102)
    for who, moment in zip(everyone, due, strict=True):
        assert len(who.times) == 1
        assert who.times[0] >= moment
    assert not clock.getDelayedCalls()


def test_a_deadline_passes_once(clock: Clock, deadlines: Deadlines) -> None:
    who = Watched(clock)
    deadlines.set(who, 3)
    assert len(deadlines) == 1
    step(clock, 2.75)
    assert who.times == []
    step(clock, 20)
    assert len(who.times) == 1
    assert len(deadlines) == 0


def test_a_deadline_set_anew_replaces_the_old(clock: Clock, deadlines: Deadlines) -> None:
    who = Watched(clock)
    deadlines.set(who, 3)
    step(clock, 2)
    deadlines.set(who, 10)
    assert len(deadlines) == 1
    step(clock, 9.75)
    assert who.times == []
    step(clock, 2)
    assert len(who.times) == 1

    deadlines.set(who, 10)
    deadlines.set(who, 1)
    step(clock, 2)
    assert len(who.times) == 2
    step(clock, 20)
    assert len(who.times) == 2


def test_a_deadline_that_is_cleared_never_passes(clock: Clock, deadlines: Deadlines) -> None:
    who, other = Watched(clock), Watched(clock)
    deadlines.set(who, 3)
    deadlines.set(other, 3)
    deadlines.clear(who)
    assert len(deadlines) == 1
    step(clock, 10)
    assert who.times == []
    assert len(other.times) == 1
    deadlines.clear(who)  # having none is no error
    deadlines.clear(other)


def test_there_is_one_timer_and_only_while_it_is_needed(clock: Clock, deadlines: Deadlines) -> None:
    assert not clock.getDelayedCalls()
    everyone = [Watched(clock) for _ in range(100)]
    for number, who in enumerate(everyone):
        deadlines.set(who, number / 10)
        assert len(clock.getDelayedCalls()) == 1
    step(clock, 5)
    assert len(clock.getDelayedCalls()) == 1
    step(clock, 6)
    assert not clock.getDelayedCalls()
    assert all(who.times for who in everyone)

    deadlines.set(everyone[0], 1)
    assert len(clock.getDelayedCalls()) == 1
    step(clock, 2)
    assert len(everyone[0].times) == 2


def test_the_timer_ends_when_the_last_deadline_is_cleared(
    clock: Clock, deadlines: Deadlines
) -> None:
    who = Watched(clock)
    deadlines.set(who, 1000)
    deadlines.clear(who)
    step(clock, 2 * GRAIN)
    assert not clock.getDelayedCalls()


def test_a_deadline_that_is_set_to_the_same_time(clock: Clock, deadlines: Deadlines) -> None:
    who, other = Watched(clock), Watched(clock)
    for _ in range(3):
        deadlines.set(who, 3)
        deadlines.set(other, 3)
    assert len(deadlines) == 2
    deadlines.clear(other)
    step(clock, 10)
    assert len(who.times) == 1
    assert other.times == []
    deadlines.set(who, 3)
    step(clock, 10)
    assert len(who.times) == 2


def test_overdue_may_set_the_deadline_of_one_that_is_due_as_well(
    clock: Clock, deadlines: Deadlines
) -> None:
    """To now, or to later: either way each passes once, whichever of them comes first."""
    for seconds in (0, 2):
        one = Watched(clock, lambda: deadlines.set(other, seconds))  # noqa: B023
        other = Watched(clock)
        deadlines.set(one, 1)
        deadlines.set(other, 1)
        step(clock, 1)
        step(clock, 10)
        assert len(one.times) == 1
        assert 1 <= len(other.times) <= 2
        assert len(deadlines) == 0


def test_the_next_turn(clock: Clock, deadlines: Deadlines) -> None:
    fired: list[object] = []
    deadlines.next_turn().addCallback(fired.append)
    assert fired == []
    clock.advance(0)
    assert fired == [None]
    assert not clock.getDelayedCalls()


def test_overdue_may_set_the_next_deadline(clock: Clock, deadlines: Deadlines) -> None:
    who = Watched(clock, lambda: deadlines.set(who, 2))
    deadlines.set(who, 2)
    step(clock, 20)
    assert 6 <= len(who.times) <= 10
    assert all(b - a >= 2 for a, b in zip(who.times, who.times[1:], strict=False))
    deadlines.clear(who)


def test_overdue_may_set_a_deadline_of_no_time(clock: Clock, deadlines: Deadlines) -> None:
    """It comes in another turn, not in an endless loop of this one."""
    who = Watched(clock, lambda: deadlines.set(who, 0))
    deadlines.set(who, 0)
    step(clock, 5)
    assert 5 <= len(who.times) <= 10
    deadlines.clear(who)


def test_overdue_may_clear_a_later_deadline(clock: Clock, deadlines: Deadlines) -> None:
    later = Watched(clock)
    first = Watched(clock, lambda: deadlines.clear(later))
    deadlines.set(first, 1)
    deadlines.set(later, 2)
    step(clock, 10)
    assert len(first.times) == 1
    assert later.times == []


def test_an_error_in_overdue_concerns_nobody_else(
    clock: Clock, deadlines: Deadlines, log: Log
) -> None:
    def fail() -> None:
        raise ArithmeticError("a fault of this one")

    everyone = [Watched(clock, fail) for _ in range(3)]
    for who in everyone:
        deadlines.set(who, 1)
    after = Watched(clock)
    deadlines.set(after, 2)
    step(clock, 10)
    assert [len(who.times) for who in [*everyone, after]] == [1, 1, 1, 1]
    assert [type(error) for error in log.flush()] == [ArithmeticError] * 3
    assert not clock.getDelayedCalls()


# The clock itself.


class Timed:
    """What of a reactor has to do with time."""

    def __init__(self, calls: list[object]) -> None:
        self._calls = calls
        self.seconds: Any = time.time

    def getDelayedCalls(self) -> list[object]:
        return self._calls


def test_a_reactor_without_timers_gets_the_monotonic_clock(log: Log) -> None:
    reactor = Timed([])
    run_on_monotonic_clock(reactor)
    assert reactor.seconds is time.monotonic
    run_on_monotonic_clock(reactor)
    assert reactor.seconds is time.monotonic
    assert log.lines == []


def test_a_reactor_with_timers_keeps_its_clock(log: Log) -> None:
    reactor = Timed([object()])
    run_on_monotonic_clock(reactor)
    assert reactor.seconds is time.time
    assert len(log.lines) == 1
    assert "timers" in log.lines[0]


def test_nothing_is_said_of_timers_on_the_right_clock(log: Log) -> None:
    reactor = Timed([object()])
    reactor.seconds = time.monotonic
    run_on_monotonic_clock(reactor)
    assert reactor.seconds is time.monotonic
    assert log.lines == []


def test_turns_are_taken_in_order_and_for_so_long_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    taken: list[int | str] = []
    later = clock.callLater

    def call_later(delay: float, call: Callable[..., object], *args: object) -> Any:
        taken.append("turn")
        return later(delay, call, *args)

    monkeypatch.setattr(clock, "callLater", call_later)

    def take(number: int) -> None:
        taken.append(number)
        clock.rightNow += TURN_SECONDS * 0.6
        if number < 3:
            again(number + 10)

    def again(number: int) -> None:
        deadlines.next_turn().addCallback(lambda _: take(number))

    for number in range(4):
        again(number)
    assert taken == ["turn"]
    clock.advance(0)
    assert taken == ["turn", 0, 1, "turn", 2, 3, "turn", 10, 11, "turn", 12]
    assert clock.getDelayedCalls() == []
