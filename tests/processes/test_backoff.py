"""Tests how long a worker's successor is waited for."""

from tcpdl.processes.backoff import FIRST_SECONDS, MOST_SECONDS, THRESHOLD_SECONDS, Backoff


def test_one_that_served_is_followed_at_once() -> None:
    backoff = Backoff()
    assert [backoff.delay(THRESHOLD_SECONDS) for _ in range(5)] == [0.0] * 5


def test_after_failures_in_a_row_each_delay_is_twice_as_long_up_to_a_bound() -> None:
    backoff = Backoff()
    delays = [backoff.delay(0.0) for _ in range(2000)]
    assert delays[:4] == [0.0, FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert delays[-1] == max(delays) == MOST_SECONDS
    assert sorted(delays) == delays


def test_one_that_served_makes_up_for_those_before() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.delay(0.0)
    assert backoff.delay(THRESHOLD_SECONDS) == 0.0
    assert [backoff.delay(0.0), backoff.delay(0.0)] == [0.0, FIRST_SECONDS]
