"""Tests what is known of answers while they are given, and after."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tcpdl.server.transfers import BROKEN, COMPLETE, FAILED, OUTCOMES, STOPPED, Ended, Transfers
from tests.server.conftest import Log


class Part(Deferred[int]):
    sent = 7


@pytest.fixture
def ended() -> list[Ended]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transfers(clock: Clock, ended: list[Ended]) -> Transfers:
    transfers = Transfers(clock)
    transfers.on_end.append(ended.extend)
    return transfers


def test_one_that_takes_its_time(transfers: Transfers, clock: Clock, ended: list[Ended]) -> None:
    transfer = transfers.begin("raw", "127.0.0.1:1", False, asked=b"a\x1b", user="ann")
    assert list(transfers.live.values()) == [transfer]
    assert transfer.outcome == ""
    assert transfer.what == r"a\x1b"
    transfer.counted = 5
    assert transfer.sent == 5
    part = Part()
    transfer.watch(part)
    assert transfer.sent == 12
    part.sent = 8
    part.callback(8)
    assert transfer.sent == 13
    transfer.watch(Part())
    assert transfer.sent == 20
    clock.advance(3)
    transfer.end(COMPLETE, "as it should")
    assert not transfers.live
    assert [(one.outcome, one.why, one.sent) for one in ended] == [(COMPLETE, "as it should", 20)]
    assert (transfer.outcome, transfer.sent) == (COMPLETE, 20)
    assert ended[0].ended - ended[0].began == 3


def test_it_ends_once(transfers: Transfers, ended: list[Ended]) -> None:
    transfer = transfers.begin("raw", "127.0.0.1:1", False)
    transfer.end(COMPLETE)
    transfer.end(BROKEN)
    assert [one.outcome for one in ended] == [COMPLETE]


def test_one_that_takes_no_time(transfers: Transfers, ended: list[Ended]) -> None:
    transfers.once(COMPLETE, "http", "127.0.0.1:1", True, "GET", b"/a", status=200, sent=5)
    assert not transfers.live
    (transfer,) = ended
    assert (transfer.outcome, transfer.status, transfer.sent) == (COMPLETE, 200, 5)
    assert transfer.ended == transfer.began


def test_numbers_differ(transfers: Transfers) -> None:
    made = [transfers.begin("raw", "", False), transfers.begin("raw", "", False)]
    assert len({transfer.number for transfer in made}) == 2


def test_what_breaks_when_the_daemon_ends_is_its_doing(transfers: Transfers) -> None:
    transfers.stopping = True
    transfer = transfers.begin("raw", "127.0.0.1:1", False)
    transfer.end(BROKEN)
    assert transfer.outcome == STOPPED
    other = transfers.begin("raw", "127.0.0.1:1", False)
    other.end(FAILED)
    assert other.outcome == FAILED


def test_outcomes_are_words() -> None:
    for word, meaning in OUTCOMES.items():
        assert word.replace("-", "").isalpha()
        assert meaning


def test_a_listener_that_raises_stops_nobody(log: Log) -> None:
    def fail(_: list[Ended]) -> None:
        raise KeyError("listener")

    ended: list[Ended] = []
    transfers = Transfers(Clock())
    transfers.on_end += [ended.extend, fail]
    transfers.begin("raw", "127.0.0.1:1", False).end(COMPLETE)
    assert len(ended) == 1
    assert [type(problem) for problem in log.flush()] == [KeyError]
