"""Tests limits that hold for several workers together: with workers that have no processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tcpdl.processes import sharing
from tcpdl.processes.sharing import RELAXED_SECONDS, USE_SECONDS, Partner, Sharing
from tcpdl.server.crowd import Crowd, Full, Limits
from tcpdl.server.failures import Failures
from tcpdl.server.shaping import TICK_SECONDS, Rates, Shaper

STEP = TICK_SECONDS / 2
ADDRESS = bytes([192, 0, 2, 1])


class Wire:
    """One end of a channel that brings all at once, as JSON."""

    def __init__(self) -> None:
        self.other: Wire
        self.busy = False
        self.on_idle: Callable[[], object]
        self.calls: dict[str, list[Callable[[Any], object]]] = {}
        self.told: list[str] = []

    def on(self, kind: str, call: Callable[[Any], object]) -> None:
        self.calls.setdefault(kind, []).append(call)

    def tell(self, kind: str, **content: Any) -> None:
        self.told.append(kind)
        for call in self.other.calls.get(kind, ()):
            call(json.loads(json.dumps(content)))


class Logins:
    def __init__(self, clock: Clock) -> None:
        self.failures = Failures(clock.seconds)


class Admission:
    def __init__(self, clock: Clock) -> None:
        self.logins = Logins(clock)


class Worker:
    """What a worker is, for its parent and for its own end: a process, and a daemon."""

    def __init__(self, clock: Clock, limits: Limits, rates: Rates) -> None:
        self.crowd = Crowd(limits)
        self.shaper = Shaper(rates, clock) if any(rates) else None
        self.admission = Admission(clock)
        self.channel, theirs = Wire(), Wire()
        self.channel.other, theirs.other = theirs, self.channel
        self.serves = False
        self.ready: Deferred[Any] = Deferred()
        self.over: Deferred[str] = Deferred()
        daemon: Any = self
        ours: Any = theirs
        self.partner = Partner(daemon, ours, clock)

    def begin(self) -> None:
        self.serves = True
        self.partner.start()
        self.ready.callback(self)

    def end(self) -> None:
        self.serves = False
        self.partner.stop()
        self.over.callback("gone")


class Site:
    """A parent and its workers."""

    def __init__(self, limits: Limits = Limits(), rates: Rates = Rates(), count: int = 2) -> None:  # noqa: B008
        self.clock = Clock()
        self.rates = rates
        self._limits = limits
        self.sharing = Sharing(self.clock, lambda: self.rates)
        self.workers = [self.another() for _ in range(count)]

    def another(self) -> Worker:
        worker = Worker(self.clock, self._limits, self.rates)
        process: Any = worker
        self.sharing.follow(process)
        worker.begin()
        return worker

    def run(self, seconds: float) -> None:
        self.clock.pump([STEP] * round(seconds / STEP))


def peer(host: str) -> IPv4Address:
    return IPv4Address("TCP", host, 1234)


# Connections.


def test_connections_of_an_address_count_with_all_workers() -> None:
    site = Site(Limits(per_address=4))
    first, second = site.workers
    came = [one.crowd.enter(peer("192.0.2.1")) for one in (first, second, first, second)]
    site.run(RELAXED_SECONDS * 2)
    for worker in site.workers:
        with pytest.raises(Full, match="its address has 4"):
            worker.crowd.enter(peer("192.0.2.1"))
        worker.crowd.enter(peer("192.0.2.2"))
    came[0].leave()
    site.run(RELAXED_SECONDS * 2)
    second.crowd.enter(peer("192.0.2.1"))


def test_near_a_limit_all_know_at_once() -> None:
    site = Site(Limits(per_address=8))
    first, second = site.workers
    for _ in range(3):
        first.crowd.enter(peer("192.0.2.1"))
    site.clock.advance(0)
    assert second.crowd.elsewhere.connections == 0
    first.crowd.enter(peer("192.0.2.1"))
    site.clock.pump([0, 0])
    assert second.crowd.elsewhere.addresses == {ADDRESS: 4}


def test_far_from_it_few_messages_are_sent() -> None:
    site = Site()
    (first, _) = site.workers
    for _ in range(20):
        first.crowd.leave(first.crowd.enter(peer("192.0.2.1")))
        site.run(RELAXED_SECONDS / 10)
    assert first.channel.other.told.count("here") <= 3


def test_what_a_dead_worker_had_is_gone() -> None:
    site = Site()
    first, second = site.workers
    for _ in range(3):
        first.crowd.enter(peer("192.0.2.1"))
    site.run(RELAXED_SECONDS * 2)
    assert second.crowd.elsewhere.connections == 3
    first.end()
    site.run(RELAXED_SECONDS)
    assert second.crowd.elsewhere.connections == 0
    third = site.another()
    second.crowd.enter(peer("192.0.2.9"))
    site.run(RELAXED_SECONDS * 2)
    assert third.crowd.elsewhere.connections == 1


@pytest.mark.parametrize(
    "content",
    [
        {"counts": {"zz": 1}},
        {"counts": {"00" * 17: 1}},
        {"counts": {"00": -1}},
        {"counts": {"00": 1.5}},
        {"counts": {"00": "1"}},
        {"counts": {f"{number:08x}": 1 for number in range(100_001)}},
        {"counts": {"C0000201": 0}},
        {"counts": {"c0 00 02 01": 0}},
    ],
)
def test_nonsense_from_a_worker_is_refused(content: dict[str, Any]) -> None:
    site = Site()
    first, second = site.workers
    with pytest.raises((ValueError, TypeError)):
        first.channel.other.tell("here", **content)
    site.run(1)
    assert second.crowd.elsewhere.connections == 0


def test_a_worker_has_no_more_addresses_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (3, 3))
    first = Site().workers[0].channel.other
    first.tell("here", counts={"c0000201": 1, "c0000202": 1, "c0000203": 1})
    first.tell("here", counts={"c0000201": 0, "c0000204": 1})
    with pytest.raises(ValueError, match="too many"):
        first.tell("here", counts={"c0000205": 1})


def test_a_worker_that_does_not_read_is_told_what_is_true_once_it_does() -> None:
    """Others may have much to tell, and would have it fall behind until it is given up."""
    site = Site()
    first, second = site.workers
    second.channel.busy = True
    told = second.channel.told
    for count in range(1, 4):
        first.channel.other.tell("here", counts={"c0000201": count})
        first.channel.other.tell("wrong", address="c0000201")
        site.clock.advance(0)
    assert told == []
    second.channel.busy = False
    second.channel.on_idle()
    site.clock.advance(0)
    assert told == ["elsewhere"]
    assert second.crowd.elsewhere.addresses == {ADDRESS: 3}


# Logins.


def test_what_comes_and_goes_is_not_kept_for_a_worker_that_does_not_read() -> None:
    site = Site()
    first, second = site.workers
    second.channel.busy = True
    say = first.channel.other.tell
    say("here", counts={"c0000201": 1})
    for number in range(100):
        say("here", counts={f"c000{number:04x}": 1})
        say("here", counts={f"c000{number:04x}": 0})
    second.channel.busy = False
    second.channel.on_idle()
    site.clock.advance(0)
    assert second.crowd.elsewhere.addresses == {ADDRESS: 1}
    say("here", counts={"c0000201": 0})
    site.clock.advance(0)
    assert second.crowd.elsewhere.addresses == {}
    assert second.channel.told == ["elsewhere"] * 2


def test_many_addresses_take_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "NEWS_MOST", 2)
    site = Site()
    first, second = site.workers
    first.channel.other.tell("here", counts={f"c000020{number}": 1 for number in range(5)})
    site.clock.advance(0)
    assert second.crowd.elsewhere.connections == 5
    assert second.channel.told == ["elsewhere"] * 3


def test_wrong_logins_count_with_all_workers() -> None:
    site = Site(count=3)
    first, *others = site.workers
    assert first.admission.logins.failures.failed(ADDRESS) == 1
    for other in others:
        assert other.admission.logins.failures.of(ADDRESS).count(0) == 1
    assert others[0].admission.logins.failures.failed(ADDRESS) == 2
    assert first.admission.logins.failures.of(ADDRESS).count(0) == 2


# Rates.


class Sender:
    """A connection to `worker` that always has more to send."""

    def __init__(self, worker: Worker, host: str, least: float = 1 << 60) -> None:
        assert worker.shaper is not None
        self.address = worker.crowd.enter(peer(host))
        self.sent = 0
        self.share = worker.shaper.join(self, self.address.key)

    def hold(self) -> None:
        pass

    def resume(self) -> bool:
        most = self.share.ask(1 << 16)
        if most:
            self.share.charge(most)
            self.sent += most
        return bool(most) and not self.share.waiting

    def abortConnection(self) -> None:
        raise AssertionError("an error was met")

    def start(self) -> None:
        while self.resume():
            pass


RATE = 10_000_000


def settled(site: Site, senders: list[Sender]) -> list[int]:
    """What each has sent in ten seconds, after some others."""
    for sender in senders:
        sender.start()
    site.run(4)
    before = [sender.sent for sender in senders]
    site.run(10)
    return [sender.sent - one for sender, one in zip(senders, before, strict=True)]


def test_thirteen_connections_to_two_workers_get_no_more_than_one() -> None:
    site = Site(rates=Rates(in_all=RATE))
    first, second = site.workers
    many = [Sender(worker, "192.0.2.1") for worker in (first, second) * 6]
    sent = settled(site, [*many, Sender(second, "192.0.2.1"), Sender(first, "192.0.2.2")])
    assert sum(sent) == pytest.approx(10 * RATE, rel=0.05)
    assert sent[-1] == pytest.approx(sum(sent[:-1]), rel=0.1)


def test_a_busy_worker_has_what_an_idle_one_leaves() -> None:
    site = Site(rates=Rates(in_all=RATE))
    (sent,) = settled(site, [Sender(site.workers[0], "192.0.2.1")])
    assert sent > 0.9 * 10 * RATE
    later = settled(site, [Sender(site.workers[1], "192.0.2.2")])
    assert later[0] == pytest.approx(5 * RATE, rel=0.1)


def test_an_address_has_its_rate_once() -> None:
    site = Site(rates=Rates(per_address=RATE))
    first, second = site.workers
    pairs = [Sender(worker, "192.0.2.1") for worker in (first, second)]
    sent = settled(site, [*pairs, Sender(first, "192.0.2.2")])
    assert sum(sent[:2]) == pytest.approx(10 * RATE, rel=0.05)
    assert sent[2] == pytest.approx(10 * RATE, rel=0.05)
    # And again, when its connections are to one worker.
    second.crowd.leave(pairs[1].address)
    pairs[1].share.leave()
    before = pairs[0].sent
    site.run(10)
    assert pairs[0].sent - before > 0.9 * 10 * RATE


def test_nothing_is_told_while_nothing_is_sent() -> None:
    site = Site(rates=Rates(in_all=RATE))
    told = site.workers[0].channel.other.told
    site.run(USE_SECONDS * 5)
    assert told == []
