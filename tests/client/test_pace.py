"""Tests `client.pace`: when one more connection is opened, and what is said to limit a download."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.client import pace
from tcpdl.client.pace import Growth, Times, cpu_seconds, limited_by

PLENTY = 1 << 50


@pytest.mark.parametrize(
    ("round_trip", "window"),
    [(0.0, 0.05), (0.0001, 0.05), (0.005, 0.05), (0.02, 0.2), (0.1, 1.0), (3.0, 1.0)],
)
def test_window(round_trip: float, window: float) -> None:
    assert Growth(8, round_trip).window == pytest.approx(window)


def grown(
    growth: Growth, rates: list[float], working: int = 1, left: int = PLENTY, busy: float = 0.5
) -> list[int]:
    """Connections after each window, at such rates; each one that is wanted is opened."""
    now, cpu, received = 100.0, 7.0, 1000
    assert not growth.wants_another(now, cpu, received, left, working)
    counts = []
    for rate in rates:
        now += growth.window
        cpu += growth.window * busy
        received += int(rate * growth.window)
        while growth.wants_another(now, cpu, received, left, working):
            working += 1
        counts.append(working)
    return counts


def test_doubles_for_as_long_as_that_pays() -> None:
    assert grown(Growth(8, 0.02), [1e6, 2e6, 4e6, 8e6]) == [2, 4, 8, 8]
    assert grown(Growth(64, 0.02), [1e6, 2e6, 4e6, 8e6]) == [2, 4, 8, 16]
    assert grown(Growth(6, 0.02), [1e6, 2e6, 4e6]) == [2, 4, 6]


def test_line_that_is_full() -> None:
    assert grown(Growth(8, 0.02), [1e6, 1.1e6, 1.1e6, 0.5e6]) == [2, 2, 2, 2]
    # What counts is the best of all windows, not the last: goodput that comes back is no gain.
    assert grown(Growth(8, 0.02), [1e6, 0.1e6, 1e6, 0.9e6]) == [2, 2, 2, 2]
    assert grown(Growth(8, 0.02), [1e6, 0.1e6, 1.2e6]) == [2, 2, 4]


def test_nothing_comes() -> None:
    assert grown(Growth(8, 0.02), [0, 0, 0]) == [1, 1, 1]
    assert grown(Growth(8, 0.02), [0, 0, 1e6]) == [1, 1, 2]


def test_process_that_is_busy() -> None:
    assert grown(Growth(8, 0.02), [1e6, 2e6, 4e6], busy=0.69) == [2, 4, 8]
    assert grown(Growth(8, 0.02), [1e6, 2e6, 4e6], busy=0.71) == [1, 1, 1]
    assert grown(Growth(8, 0.02), [1e6, 2e6, 4e6], busy=3.5) == [1, 1, 1]


def test_one_connection_is_all_there_may_be() -> None:
    assert grown(Growth(1, 0.02), [1e6, 2e6, 4e6]) == [1, 1, 1]


def test_little_is_left() -> None:
    # Another connection must have three windows to be of use in.
    assert grown(Growth(8, 0.1), [1e6], left=3_000_000) == [1]
    assert grown(Growth(8, 0.1), [1e6], left=3_000_001) == [2]


def test_nothing_is_decided_within_a_window() -> None:
    growth = Growth(8, 0.02)
    assert not growth.wants_another(5.0, 0, 0, PLENTY, 1)
    for tick in range(1, 200):
        assert not growth.wants_another(5.0 + tick * growth.window / 200, 0, tick * 1000, PLENTY, 1)
    assert growth.wants_another(5.0 + growth.window + 1e-9, 0, 200_000, PLENTY, 1)


def test_connection_that_was_lost_is_replaced() -> None:
    growth = Growth(8, 0.02)
    assert grown(growth, [1e6, 2e6]) == [2, 4]
    assert not growth.wants_another(100.41, 7, 600_000, PLENTY, 4)
    assert growth.wants_another(100.42, 7, 600_000, PLENTY, 3)
    assert not growth.wants_another(100.43, 7, 600_000, 0, 3)  # with nothing left for it to do


@given(
    st.integers(1, 20),
    st.floats(0, 2),
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 1 << 40), st.integers(0, 1 << 40))),
)
def test_never_more_than_allowed(
    most: int, round_trip: float, looks: list[tuple[float, int, int]]
) -> None:
    growth = Growth(most, round_trip)
    now, received, working = 0.0, 0, 1
    for seconds, count, left in looks:
        now, received = now + seconds, received + count
        if growth.wants_another(now, now / 2, received, left, working):
            assert left > 0
            working += 1
        assert working <= most


@pytest.mark.parametrize(
    ("waited", "wrote", "held", "cpu", "said"),
    [
        (5, 1, 0, 0, "the network"),
        (5, 1, 2.5, 0, "the network"),
        (5, 1, 2.6, 0, "the server"),
        (5, 5, 0, 0, "the network"),
        (5, 5.1, 9, 0, "this disk"),
        (5, 6, 9, 8.5, "this disk"),
        (5, 6, 9, 8.6, "this CPU"),
        (0, 0, 0, 0, "the network"),
    ],
)
def test_what_it_was_limited_by(
    waited: float,
    wrote: float,
    held: float,
    cpu: float,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "cpu_seconds", lambda: 40.0)
    times = Times()
    times.waited, times.wrote, times.held = waited, wrote, held
    # What was used before the download began is none of it.
    monkeypatch.setattr(pace, "cpu_seconds", lambda: 40.0 + cpu)
    assert limited_by(times, 10) == said


def test_processor_time() -> None:
    first = cpu_seconds()
    while cpu_seconds() == first:  # it is counted in hundredths of a second
        pass
    assert 0 < cpu_seconds() - first < 1
