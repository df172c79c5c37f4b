"""Tests what several processes have counted together."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.admin.series import PROCESS, SERIES, Series
from tcpdl.admin.snapshot import Snapshot, added, combined, key, parse, remains

ACCEPTED = "tcpdl_connections_accepted_total"
REQUESTS = "tcpdl_requests_total"
LAG = "tcpdl_loop_lag_seconds"
OPEN = "tcpdl_connections_open"
MEMORY = "tcpdl_resident_memory_bytes"


def test_names_and_labels_are_found_again_in_a_key() -> None:
    sample = parse(key(REQUESTS, dialect="raw", outcome="b c"))
    assert (sample.name, sample.labels) == (REQUESTS, {"dialect": "raw", "outcome": "b c"})
    assert parse(key(ACCEPTED)).labels == {}
    assert parse(key(MEMORY, process="a")).labels == {"process": "a"}
    assert parse(key(f"{LAG}_bucket", le="0.5")).series.name == LAG


@pytest.mark.parametrize(
    "unknown",
    [
        *("", "?", "tcpdl_nothing", "tcpdl_connections_open_sum", f"{LAG}_bucket", REQUESTS),
        f'{ACCEPTED}{{more="x"}}',
        f'{ACCEPTED}{{process="x"}}',
        f'{REQUESTS}{{dialect="raw"}}',
        f'{REQUESTS}{{dialect="raw",outcome="a"b"}}',
        f'{REQUESTS}{{dialect="raw",outcome="a"}}\n',
        f'{REQUESTS}{{dialect="raw",outcome="{"a" * 101}"}}',
    ],
)
def test_unknown_series_is_an_error(unknown: str) -> None:
    with pytest.raises(KeyError):
        parse(unknown)


def test_counts_and_gauges_are_added_up() -> None:
    one: Snapshot = {ACCEPTED: 3, OPEN: 1}
    two: Snapshot = {ACCEPTED: 4, OPEN: 2}
    assert added([one, two]) == {ACCEPTED: 7, OPEN: 3}


def test_what_a_process_has_for_itself_is_shown_under_its_name() -> None:
    shown = combined({"worker-1": {MEMORY: 5, OPEN: 1}, "worker-2": {MEMORY: 6}})
    assert shown == {
        OPEN: 1,
        f'{MEMORY}{{process="worker-1"}}': 5,
        f'{MEMORY}{{process="worker-2"}}': 6,
    }


def test_counts_of_a_process_that_has_ended_stay_and_gauges_do_not() -> None:
    assert remains({ACCEPTED: 3, OPEN: 1, MEMORY: 5}) == {ACCEPTED: 3}


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=6))
def test_it_makes_no_difference_in_which_order_is_added_up(seconds: list[float]) -> None:
    """A process that ends goes from one place in the sum to another: 0.1 + (0.2 + 0.3) is less than
    (0.1 + 0.2) + 0.3."""
    ones: list[Snapshot] = [{"tcpdl_cpu_seconds_total": one} for one in seconds]
    ended = added(ones[1:])
    assert added(ones) == added([ones[0], ended]) == added([ended, ones[0]]) == added(ones[::-1])


@given(st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=5), min_size=1, max_size=5))
def test_sums_never_fall_while_processes_come_and_go(lives: list[list[int]]) -> None:
    """Each life counts on, then ends and leaves its remains."""
    past: list[Snapshot] = []
    before = 0.0
    for steps in lives:
        count = 0
        for step in steps:
            count += step
            now = added([*past, {ACCEPTED: count, OPEN: step}])[ACCEPTED]
            assert now >= before
            before = now
        past = [added([*past, remains({ACCEPTED: count, OPEN: 1})])]
    assert added(past) == {ACCEPTED: sum(map(sum, lives))}


def test_each_series_is_in_the_table_once() -> None:
    names = [series.name for series in SERIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_names_follow_the_conventions(series: Series) -> None:
    assert re.fullmatch(r"tcpdl(_[a-z]+)+", series.name)
    assert series.name.endswith("_total") is (series.kind == "counter")
    assert series.help.endswith(".")
    assert series.over == "sum" or series.kind == "gauge"
    assert PROCESS not in series.labels
