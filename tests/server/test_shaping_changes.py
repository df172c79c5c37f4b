"""Tests limits of rate that change while bytes are sent."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from tcpdl.server.shaping import BURST_LEAST, Bucket, Rates, Shaper
from tests.server.test_shaping import Sender, run, start


def sent_in(clock: Clock, sender: Sender, seconds: float) -> int:
    before = sender.sent
    run(clock, seconds)
    return sender.sent - before


def test_a_bucket_keeps_what_it_owes() -> None:
    bucket = Bucket(10_000_000, 0)
    bucket.take(1_500_000)
    bucket.change(1_000_000, 0)
    assert bucket.level(0) == -500_000
    assert bucket.due(0) == pytest.approx(0.55)
    assert bucket.level(100) == bucket.burst == 100_000


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Rates(in_all=100_000), Rates(in_all=400_000)),
        (Rates(in_all=400_000), Rates(in_all=100_000)),
        (Rates(None, 100_000), Rates(None, 400_000)),
        (Rates(None, 400_000), Rates(None, 100_000)),
        (Rates(in_all=400_000), Rates(None, 100_000)),
        (Rates(None, 100_000), Rates(in_all=400_000)),
    ],
)
def test_those_who_send_are_held_to_the_new_rate(before: Rates, after: Rates) -> None:
    clock = Clock()
    shaper = Shaper(before, clock)
    sender = Sender(shaper, "a")
    start([sender])
    old, new = (rates.in_all or rates.per_address or 0 for rates in (before, after))
    run(clock, 10)
    assert sent_in(clock, sender, 20) == pytest.approx(20 * old, rel=0.01)
    shaper.change(after)
    run(clock, 10)  # whoever waits does so for the old rate's piece, once
    assert sent_in(clock, sender, 20) == pytest.approx(20 * new, rel=0.01)


def test_a_limit_that_is_lifted_lets_them_go() -> None:
    clock = Clock()
    shaper = Shaper(Rates(in_all=1000, per_address=1000), clock)
    senders = [Sender(shaper, name, owed=1_000_000) for name in "ab"]
    start(senders)
    assert all(sender.held for sender in senders)
    shaper.change(Rates())
    run(clock, 10)
    assert [sender.owed for sender in senders] == [0, 0]
    assert not clock.getDelayedCalls()


def test_that_of_a_connection_is_for_those_to_come() -> None:
    clock = Clock()
    shaper = Shaper(Rates(per_connection=100_000), clock)
    first = Sender(shaper, "a")
    shaper.change(Rates(per_connection=400_000))
    second = Sender(shaper, "a")
    start([first, second])
    run(clock, 20)
    assert first.sent == pytest.approx(20 * 100_000 + BURST_LEAST, rel=0.01)
    assert second.sent == pytest.approx(20 * 400_000 + BURST_LEAST, rel=0.01)
