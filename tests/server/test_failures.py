"""Tests `server.failures`: how long those who guess wait, and for how long that is remembered."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from tcpdl.server import failures
from tcpdl.server.failures import Address, Failures, Origin
from tests.server.conftest import Log

HERE = Origin(b"1", "192.0.2.1:1", secure=True)


def test_delays() -> None:
    address = Address()
    now, delays = 1000.0, []
    assert address.delay(now) == 0
    for _ in range(9):
        address.failed(now)
        delays.append(address.delay(now))
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_delay_runs_from_the_last_failure() -> None:
    address = Address()
    for _ in range(3):
        address.failed(100)
    assert address.delay(101.5) == 0.5
    assert address.delay(102) == 0
    assert address.delay(200) == 0


def test_failures_are_forgotten() -> None:
    address = Address()
    for _ in range(5):
        address.failed(0)
    assert [address.count(now) for now in (59, 60, 120, 299, 300, 1e9)] == [5, 4, 3, 1, 0, 0]
    address.failed(120)
    assert address.count(120) == 4
    for _ in range(1000):
        address.failed(200)
    assert address.count(200) == failures.COUNTED_MOST
    assert address.count(200 + 60 * failures.COUNTED_MOST) == 0


def test_a_few_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "ADDRESSES_MOST", 2)
    found = Failures(lambda: 0.0)
    one, two = found.of(b"1"), found.of(b"2")
    assert found.of(b"1") is one
    found.of(b"3")
    assert found.of(b"1") is one
    assert found.of(b"2") is not two
    assert len(found._addresses) == 2


def test_few_lines(log: Log) -> None:
    clock = Clock()
    clock.advance(1000)
    found = Failures(clock.seconds)
    for number in range(30):
        found.say(HERE, "ann", number)
    assert log.lines == [
        f"192.0.2.1:1 is not ann: the login was wrong; {number} lately from there"
        for number in range(20)
    ]
    clock.advance(60)
    found.say(HERE, "bob", 1)
    assert log.lines[20:] == [
        "10 more wrong logins",
        "192.0.2.1:1 is not bob: the login was wrong; 1 lately from there",
    ]
    clock.advance(60)
    found.say(HERE, "bob", 2)
    assert len(log.lines) == 23
