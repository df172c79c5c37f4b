"""Tests which connections of a crew are of use to it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tcpdl.client.crew import SLOW_AFTER, USELESS_AFTER, Crew, Standing
from tcpdl.client.errors import ConnectionBroken, ServerFailed
from tcpdl.client.patience import PAUSES

NOW = 1000.0
MIB = 1 << 20


class Worker:
    """One that has worked for ten seconds."""

    def __init__(self, rate: float, outstanding: int = 0, *, seconds: float = 10.0) -> None:
        self.connection = self
        self.received = int(rate * seconds)
        self.began = NOW - seconds
        self.useful = rate > 0
        self.outstanding = outstanding
        self.interrupted = False

    def interrupt(self) -> None:
        self.interrupted = True


@pytest.mark.parametrize(
    ("workers", "stopped"),
    [
        ([Worker(4 * MIB), Worker(0.1 * MIB, 16 * MIB)], [False, True]),
        ([Worker(4 * MIB), Worker(1 * MIB, int(SLOW_AFTER) * MIB)], [False, False]),
        ([Worker(4 * MIB), Worker(1 * MIB, int(SLOW_AFTER) * MIB + 1)], [False, True]),
        ([Worker(4 * MIB), Worker(3 * MIB, 100 * MIB)], [False, False]),
        ([Worker(4 * MIB, 100 * MIB), Worker(4 * MIB)], [False, False]),
        ([Worker(0.1 * MIB, 16 * MIB)], [False]),
        ([Worker(4 * MIB), Worker(0, 16 * MIB)], [False, True]),
        ([Worker(4 * MIB), Worker(0, 16 * MIB, seconds=USELESS_AFTER / 2)], [False, False]),
        ([Worker(1, 10), Worker(4 * MIB, seconds=0.0)], [False, False]),
    ],
)
def test_those_that_others_wait_for_in_vain(
    workers: list[Worker], stopped: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: NOW)
    one: Any = SimpleNamespace(_workers=workers)
    Crew._stop_useless(one)
    assert [worker.interrupted for worker in workers] == stopped


def test_standing() -> None:
    """How often a server may refuse a connection beside others, and when it is asked again."""
    standing = Standing()
    for failed, pause in enumerate(PAUSES):
        now = 100.0 * failed
        assert standing.takes_another(now)
        standing.refused(now, ConnectionBroken("x"))
        assert not standing.takes_another(now + pause * 0.9)
        assert standing.takes_another(now + pause * 1.1) == (failed + 1 < len(PAUSES))
    standing.was_useful()
    assert standing.takes_another(1000.0)


def test_standing_of_a_server_that_says_how_long() -> None:
    standing = Standing()
    error = ServerFailed("x")
    error.wait = 5.0
    standing.refused(0.0, error)
    standing.refused(1.0, ConnectionBroken("x"))
    assert not standing.takes_another(4.9)
    assert standing.takes_another(5.1)


def test_standing_of_a_server_that_takes_none() -> None:
    """It has said so, and that one of its connections is of use does not take that back."""
    standing = Standing()
    standing.close()
    standing.was_useful()
    assert not standing.takes_another(1000.0)
