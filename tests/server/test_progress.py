"""Tests how it is told whether a client takes what it is owed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.server.progress import Look, Pace, Progress

HOUR = 3600.0
MUCH = 10**9


def fate(
    pace: Pace,
    takes: list[int],
    *,
    owed: int = MUCH,
    queue: int = 100_000,
    held: tuple[bool, ...] = (False,),
) -> float:
    """When a client is found to be too slow that takes so many bytes from one look to the next, the
    last of them again and again; or infinity, if it is not within an hour.

    Of the bytes `owed` to it, `queue` are in the kernel's hands at most.
    """
    progress = Progress(pace)
    when, taken, at = 0.0, 0, 0
    while when < HOUR:
        under_way = min(queue, owed - taken)
        waiting = owed - taken - under_way
        look = Look(when, taken, under_way, waiting, held[at % len(held)])
        if progress.is_too_slow(look):
            return when
        taken = min(owed, taken + takes[min(at, len(takes) - 1)])
        when, at = when + pace.look, at + 1
    return float("inf")


def test_a_slow_client_that_keeps_up_stays() -> None:
    pace = Pace()
    assert fate(pace, [int(1000 * pace.look)]) > HOUR
    assert fate(pace, [int(pace.rate * pace.look)]) > HOUR


def test_a_client_that_takes_in_bursts_stays() -> None:
    pace = Pace()
    assert fate(pace, [0, 0, 0, 0, int(pace.least)] * 80) > HOUR


@pytest.mark.parametrize("rate", [0, 1, 100, 499])
def test_a_client_below_the_rate_is_found_out(rate: int) -> None:
    pace = Pace()
    assert fate(pace, [int(rate * pace.look)]) == pace.seconds


@pytest.mark.parametrize("after", range(10))
def test_a_client_that_stops_is_found_out_soon(after: int) -> None:
    pace = Pace()
    stopped = fate(pace, [100_000] * after + [0])
    assert pace.seconds <= stopped - after * pace.look <= pace.seconds + pace.look


@pytest.mark.parametrize("left", [1, 10_000, 29_999])
def test_the_end_of_an_answer_takes_no_more_than_there_is(left: int) -> None:
    pace = Pace()
    assert fate(pace, [0, 0, 0, left, 0], owed=left) > HOUR
    assert fate(pace, [0], owed=left) == pace.seconds
    assert fate(pace, [left // 100], owed=left) == pace.seconds


def test_nothing_is_asked_of_one_that_is_owed_nothing() -> None:
    assert fate(Pace(), [0], owed=0) > HOUR


def test_what_the_server_kept_back_could_not_be_taken() -> None:
    pace = Pace()
    assert fate(pace, [0], queue=0, held=(True,)) > HOUR
    assert fate(pace, [0], queue=0, held=(False, False, True, False)) > HOUR
    assert fate(pace, [12], queue=12, held=(True,)) > HOUR
    assert fate(pace, [11], queue=100, held=(True,)) == pace.seconds, "what was sent, it could"
    assert fate(pace, [0], queue=0) == pace.seconds


def test_without_a_rate_one_byte_is_enough() -> None:
    pace = Pace(rate=0, seconds=20)
    assert fate(pace, [0, 0, 0, 0, 1] * 1000) > HOUR
    assert fate(pace, [0]) == pace.seconds


def test_a_process_that_was_stopped_blames_nobody() -> None:
    pace, progress = Pace(), Progress(Pace())
    assert not progress.is_too_slow(Look(0, 0, MUCH, 0, False))
    assert not progress.is_too_slow(Look(HOUR, 0, MUCH, 0, False))
    assert progress.is_too_slow(Look(HOUR + pace.look, 0, MUCH, 0, False)) is False


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 20_000)), min_size=20, max_size=60),
    st.booleans(),
)
def test_whoever_takes_all_there_is_in_time_stays(steps: list[tuple[int, int]], held: bool) -> None:
    """However much more it is owed from look to look."""
    pace, progress = Pace(), Progress(Pace())
    owed = 0
    taken, when = 0, 0.0
    for more, extra in steps:
        owed += more
        assert not progress.is_too_slow(Look(when, taken, owed, 0, held))
        took = min(owed, int(pace.rate * pace.look) + extra)
        owed, taken, when = owed - took, taken + took, when + pace.look


@given(st.lists(st.integers(0, 10**6), max_size=30), st.integers(1, 10**6))
def test_whoever_takes_nothing_is_found_out(before: list[int], owed: int) -> None:
    pace, progress = Pace(), Progress(Pace())
    when, taken = 0.0, 0
    for took in before:
        progress.is_too_slow(Look(when, taken, owed, 0, False))
        when, taken = when + pace.look, taken + took
    stopped = when
    while not progress.is_too_slow(Look(when, taken, owed, 0, False)):
        when += pace.look
        assert when <= stopped + pace.seconds + pace.look
