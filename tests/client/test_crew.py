"""Tests which connections of a crew are of use to it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tcpdl.client.crew import SLOW_AFTER, USELESS_AFTER, Crew

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
