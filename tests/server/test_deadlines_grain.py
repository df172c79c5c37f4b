"""Tests how late deadlines are, and that one may change another that passes with it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tcpdl.server.deadlines import GRAIN, Deadlines


class Watched:
    """Remembers when it was overdue."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.times: list[float] = []

    def overdue(self) -> None:
        self.times.append(self._clock.seconds())


@given(start=st.integers(0, 10_000), first=st.integers(1, 500), second=st.integers(1, 500))
def test_at_most_one_grain_late(start: int, first: int, second: int) -> None:
    """Times are multiples of a power of two, so that the clock adds them up without error."""
    tick = GRAIN / 64
    clock = Clock()
    clock.advance(start * tick)
    deadlines = Deadlines(clock)
    due = []
    everyone = [Watched(clock), Watched(clock)]
    for who, ticks in zip(everyone, (first, second), strict=True):
        due.append(clock.seconds() + ticks * tick)
        deadlines.set(who, ticks * tick)
        clock.pump([tick] * 7)
    clock.pump([tick] * 700)
    for who, moment in zip(everyone, due, strict=True):
        assert len(who.times) == 1
        assert 0 <= who.times[0] - moment <= GRAIN


def test_overdue_may_clear_one_that_is_due_too() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    served: list[object] = []

    class Rival:
        rivals: list[Rival]

        def overdue(self) -> None:
            served.append(self)
            for rival in self.rivals:
                deadlines.clear(rival)

    Rival.rivals = [Rival(), Rival()]
    for rival in Rival.rivals:
        deadlines.set(rival, 1)
    clock.pump([GRAIN] * 10)
    assert len(served) == 1
    assert len(deadlines) == 0


def test_overdue_may_put_off_one_that_is_due_too() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    served: list[float] = []

    class Rival:
        rivals: list[Rival]

        def overdue(self) -> None:
            served.append(clock.seconds())
            for rival in self.rivals:
                if rival is not self:
                    deadlines.set(rival, 5)

    Rival.rivals = [Rival(), Rival()]
    for rival in Rival.rivals:
        deadlines.set(rival, 1)
    clock.pump([GRAIN] * 3)
    assert served == [1.0]
    clock.pump([GRAIN] * 10)
    assert len(served) == 2
    assert served[1] >= 6
    for rival in Rival.rivals:
        deadlines.clear(rival)
