"""What the tests of `content` share: no test may leave a descriptor behind, or wait for good."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

import pytest


@pytest.fixture(autouse=True)
def _no_descriptor_leaks() -> Iterator[None]:
    before = set(os.listdir("/dev/fd"))
    yield
    # There may be fewer: some may have been held by what the collector has found meanwhile.
    assert set(os.listdir("/dev/fd")) <= before


@pytest.fixture(autouse=True)
def _fail_rather_than_hang() -> Iterator[None]:
    def hung(_number: int, _frame: FrameType | None) -> None:
        pytest.fail("blocked, and would be for good")

    previous = signal.signal(signal.SIGALRM, hung)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes it a minute later, so that files that were just written have settled."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 60 * 10**9)
