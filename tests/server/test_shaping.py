"""Tests who may send how much and when, with senders that have no sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tcpdl.server.shaping import (
    BURST_LEAST,
    OVERDRAW,
    PIECE_MOST,
    REMEMBERED,
    TICK_SECONDS,
    Bucket,
    Rates,
    Shaper,
)

if TYPE_CHECKING:
    from tests.server.conftest import Log

STEP = TICK_SECONDS / 4


class Sender:
    """A transport that has `owed` bytes to send, to a socket that has room for `room` of them."""

    def __init__(self, shaper: Shaper, key: str, owed: int = 1 << 60, room: int = 1 << 60) -> None:
        self.owed = owed
        self.room = room
        self.sent = 0
        self.held = False
        self.pieces: list[int] = []
        self.share = shaper.join(self, key)

    def hold(self) -> None:
        self.held = True

    def resume(self) -> bool:
        assert self.held
        self.held = False
        return self.piece() and not self.share.full

    def piece(self) -> bool:
        """Send a piece, if it may; return whether it did and more is left."""
        wanted = min(PIECE_MOST, self.owed)
        if not wanted or not (most := self.share.ask(wanted)):
            return False
        assert 0 < most <= wanted
        taken = min(most, self.room)
        self.share.charge(taken)
        self.owed -= taken
        self.room -= taken
        self.sent += taken
        self.pieces.append(taken)
        return self.owed > 0

    def write(self, size: int) -> bool:
        """Send an answer at once if all of it may go."""
        if not self.share.covers(size):
            return False
        self.sent += size
        return True

    def abortConnection(self) -> None:
        raise AssertionError("an error was met")


def start(senders: list[Sender]) -> None:
    """Let all send until each is held or its socket is full, by turns, as the reactor does."""
    while [sender for sender in senders if not sender.held and sender.room and sender.piece()]:
        pass


def run(clock: Clock, seconds: float) -> None:
    clock.pump([STEP] * round(seconds / STEP))


@pytest.fixture
def clock() -> Clock:
    return Clock()


# Buckets.


def test_a_bucket_holds_a_tenth_of_a_second(clock: Clock) -> None:
    bucket = Bucket(10_000_000, 0)
    assert bucket.level(0) == bucket.level(100) == 1_000_000
    bucket.take(1_500_000)
    assert bucket.level(100) == -500_000
    assert bucket.level(100.05) == pytest.approx(0, abs=1)
    assert bucket.due(100.05) == pytest.approx(100.05 + PIECE_MOST / 10_000_000)
    assert bucket.full(100.05) == pytest.approx(100.15)


def test_a_bucket_of_a_slow_rate_holds_a_small_file() -> None:
    bucket = Bucket(1000, 0)
    assert bucket.level(0) == BURST_LEAST
    bucket.take(BURST_LEAST)
    assert bucket.due(0) == pytest.approx(0.05)


# One limit.


@pytest.mark.parametrize(
    "rates", [Rates(in_all=100_000), Rates(None, 100_000), Rates(None, None, 100_000)]
)
def test_what_is_sent_in_a_long_time_is_the_rate(rates: Rates, clock: Clock) -> None:
    sender = Sender(Shaper(rates, clock), "a")
    start([sender])
    assert BURST_LEAST <= sender.sent <= BURST_LEAST + OVERDRAW
    run(clock, 20)
    assert sender.sent == pytest.approx(20 * 100_000 + BURST_LEAST, rel=0.01)


def test_no_limit_holds_nobody(clock: Clock) -> None:
    sender = Sender(Shaper(Rates(), clock), "a", owed=100_000_000)
    start([sender])
    assert sender.owed == 0
    assert not clock.getDelayedCalls()


def test_many_small_rates_take_few_turns(clock: Clock) -> None:
    """A held connection waits for a piece that is worth a call."""
    sender = Sender(Shaper(Rates(per_connection=1_000_000), clock), "a")
    start([sender])
    before = len(sender.pieces)
    run(clock, 1)
    assert len(sender.pieces) - before <= 21


def test_the_timer_runs_only_while_somebody_waits(clock: Clock) -> None:
    sender = Sender(Shaper(Rates(100_000), clock), "a", owed=2 * BURST_LEAST)
    start([sender])
    assert sender.held
    assert len(clock.getDelayedCalls()) == 1
    run(clock, 2)
    assert sender.owed == 0
    assert not sender.held
    assert not clock.getDelayedCalls()


def test_a_small_answer_is_not_split(clock: Clock) -> None:
    """As long as the bucket holds anything at all."""
    shaper = Shaper(Rates(100_000), clock)
    sender = Sender(shaper, "a", owed=BURST_LEAST - 1)
    start([sender])
    assert sender.share.ask(OVERDRAW) == OVERDRAW
    assert sender.write(OVERDRAW)
    assert sender.share.ask(1) == 0
    assert sender.held


def test_what_the_socket_did_not_take_is_not_charged(clock: Clock) -> None:
    sender = Sender(Shaper(Rates(100_000), clock), "a")
    for _ in range(100):
        assert sender.share.covers(BURST_LEAST)
        sender.share.charge(-BURST_LEAST)
        assert sender.share.ask(BURST_LEAST) == BURST_LEAST
        sender.share.charge(0)
        assert sender.share.full


# Sharing.


def shares(rates: Rates, clock: Clock, groups: dict[str, int], seconds: float) -> dict[str, float]:
    """Bytes a second that each address gets that has so many connections, all busy."""
    shaper = Shaper(rates, clock)
    senders = [Sender(shaper, key) for key, number in groups.items() for _ in range(number)]
    start(senders)
    run(clock, 1)
    before = [sender.sent for sender in senders]
    run(clock, seconds)
    found = dict.fromkeys(groups, 0.0)
    numbers = iter(zip(senders, before, strict=True))
    for key, number in groups.items():
        for _ in range(number):
            sender, at_first = next(numbers)
            found[key] += (sender.sent - at_first) / seconds
    for sender in senders:
        sender.share.leave()
    return found


@pytest.mark.parametrize("rate", [100_000, 1_000_000, 50_000_000])
def test_addresses_share_evenly_whatever_their_connections(rate: int, clock: Clock) -> None:
    found = shares(Rates(rate), clock, {"a": 13, "b": 1, "c": 2}, seconds=10)
    assert sum(found.values()) == pytest.approx(rate, rel=0.05)
    for each in found.values():
        assert each == pytest.approx(rate / 3, rel=0.1)


def test_what_one_address_may_not_take_the_others_get(clock: Clock) -> None:
    found = shares(Rates(10_000_000, None, 1_000_000), clock, {"a": 1, "b": 20}, seconds=10)
    assert found["a"] == pytest.approx(1_000_000, rel=0.05)
    assert found["b"] == pytest.approx(9_000_000, rel=0.05)


def test_connections_of_an_address_share_its_limit(clock: Clock) -> None:
    shaper = Shaper(Rates(None, 1_000_000), clock)
    senders = [Sender(shaper, key) for key in "aaaab"]
    start(senders)
    before = [sender.sent for sender in senders]
    run(clock, 10)
    *four, alone = (sender.sent - at for sender, at in zip(senders, before, strict=True))
    assert alone == pytest.approx(10_000_000, rel=0.05)
    for each in four:
        assert each == pytest.approx(2_500_000, rel=0.1)


def test_a_full_socket_leaves_its_share_to_the_others_and_catches_up(clock: Clock) -> None:
    rate = 10_000_000
    shaper = Shaper(Rates(rate), clock)
    slow, fast = Sender(shaper, "slow", room=100_000), Sender(shaper, "fast")
    start([slow, fast])
    run(clock, 1)
    before = fast.sent
    run(clock, 1)
    assert slow.sent == 100_000
    assert fast.sent - before == pytest.approx(rate, rel=0.05)

    # Ready again, between two turns: it is far behind, so it need not wait.
    slow.room = 1 << 60
    assert slow.piece()
    assert slow.sent == 100_000 + PIECE_MOST
    # It catches up on no more than a burst.
    start([slow])
    assert slow.held
    assert slow.sent <= 100_000 + rate / 10 + OVERDRAW


def test_a_small_answer_goes_before_downloads_of_others(clock: Clock) -> None:
    shaper = Shaper(Rates(1_000_000), clock)
    quiet = Sender(shaper, "quiet", owed=0)
    assert quiet.write(1000)
    busy = [Sender(shaper, "busy") for _ in range(50)]
    start(busy)
    run(clock, 1)
    for _ in range(10):
        assert all(sender.held for sender in busy)
        assert quiet.write(1000)
        run(clock, 0.1)


def test_new_addresses_do_not_keep_the_others_waiting(clock: Clock) -> None:
    shaper = Shaper(Rates(1_000_000), clock)
    busy = Sender(shaper, "busy")
    start([busy])
    before = busy.sent
    for number in range(1000):
        new = Sender(shaper, str(number), owed=10_000)
        start([new])
        run(clock, 0.01)
    assert busy.sent - before >= 5_000


def test_an_address_that_comes_again_has_its_debt_still(clock: Clock) -> None:
    shaper = Shaper(Rates(None, 100_000), clock)
    sent = 0
    for _ in range(100):
        sender = Sender(shaper, "a", owed=50_000)
        start([sender])
        run(clock, 0.1)
        sent += sender.sent
        sender.share.leave()
    assert sent <= 10 * 100_000 + BURST_LEAST + OVERDRAW


def test_addresses_that_left_are_forgotten(clock: Clock) -> None:
    shaper = Shaper(Rates(1_000_000, 100_000), clock)
    for number in range(2 * REMEMBERED):
        sender = Sender(shaper, str(number), owed=10)
        start([sender])
        sender.share.leave()
    assert len(shaper) == REMEMBERED
    clock.advance(60)
    Sender(shaper, "last").share.leave()
    assert len(shaper) <= 1


def test_one_that_leaves_is_not_called_again(clock: Clock) -> None:
    for rates in [Rates(10_000), Rates(None, 10_000), Rates(None, None, 10_000)]:
        shaper = Shaper(rates, clock)
        gone, stays = Sender(shaper, "a"), Sender(shaper, "a")
        start([gone, stays])
        assert gone.held
        before = gone.sent
        gone.share.leave()
        run(clock, 20)
        assert gone.held
        assert gone.sent == before
        assert stays.sent > 50_000
        stays.share.leave()
        run(clock, 20)
        assert not clock.getDelayedCalls()


def test_an_error_of_one_does_not_stop_the_others(clock: Clock, log: Log) -> None:
    shaper = Shaper(Rates(100_000), clock)
    aborted = []

    class Broken(Sender):
        def resume(self) -> bool:
            raise RuntimeError("broken")

        def abortConnection(self) -> None:
            aborted.append(self)
            self.share.leave()

    broken, sound = Broken(shaper, "a"), Sender(shaper, "b")
    start([broken, sound])
    run(clock, 5)
    assert aborted == [broken]
    assert sound.sent > 400_000
    assert [str(error) for error in log.flush()] == ["broken"]


# Whatever happens.

OPTIONAL_RATE = st.none() | st.integers(1000, 50_000_000)
DOING = st.tuples(
    st.sampled_from(["connect", "leave", "owe", "write", "room", "wait"]),
    st.integers(0, 7),
    st.integers(1, 300_000),
)


@given(
    rates=st.builds(Rates, OPTIONAL_RATE, OPTIONAL_RATE, OPTIONAL_RATE),
    doings=st.lists(DOING, max_size=60),
)
@settings(deadline=None)
def test_no_limit_is_ever_exceeded_and_nobody_is_forgotten(
    rates: Rates, doings: list[tuple[str, int, int]]
) -> None:
    clock = Clock()
    shaper = Shaper(rates, clock)
    here: list[Sender] = []
    keys: dict[Sender, str] = {}
    sent_by: dict[str, int] = {}

    def check() -> None:
        seconds = clock.seconds()
        total = sum(sent_by.values()) + sum(sender.sent for sender in here)
        if rates.in_all is not None:
            burst = max(rates.in_all / 10, BURST_LEAST)
            assert total <= rates.in_all * seconds + 2 * burst + OVERDRAW + 1
        for key in {*keys.values()}:
            if rates.per_address is not None:
                burst = max(rates.per_address / 10, BURST_LEAST)
                sent = sent_by.get(key, 0) + sum(s.sent for s in here if keys[s] == key)
                assert sent <= rates.per_address * seconds + burst + OVERDRAW + 1
        for sender in here:
            if rates.per_connection is not None:
                burst = max(rates.per_connection / 10, BURST_LEAST)
                assert sender.sent <= rates.per_connection * seconds + burst + OVERDRAW + 1

    for doing, which, size in doings:
        sender = here[which % len(here)] if here else None
        if doing == "connect" or sender is None:
            new = Sender(shaper, "abc"[which % 3], owed=size, room=size // 2)
            keys[new] = "abc"[which % 3]
            here.append(new)
        elif doing == "leave":
            sender.share.leave()
            here.remove(sender)
            sent_by[keys[sender]] = sent_by.get(keys[sender], 0) + sender.sent
        elif doing == "owe":
            sender.owed += size
        elif doing == "room":
            sender.room += size
        elif doing == "write" and not sender.held:
            sender.write(size % 20_000)
        else:
            run(clock, size / 3_000_000)
        start(here)
        check()
    # All is sent in the end.
    for sender in here:
        sender.room = 1 << 60
    start(here)
    for _ in range(1000):
        if not any(sender.owed or sender.held for sender in here):
            break
        clock.pump([TICK_SECONDS, 5])
        check()
    assert not any(sender.owed or sender.held for sender in here)
    for sender in here:
        sender.share.leave()
    clock.pump([100, TICK_SECONDS])
    assert not clock.getDelayedCalls()
