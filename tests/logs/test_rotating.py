"""Tests what is done on SIGUSR1."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tcpdl.logs.rotating import Rotations


class Reactor:
    """Does at once what is to be done in its time."""

    def callFromThread(self, call: Any) -> None:
        call()


@pytest.fixture(autouse=True)
def handler() -> Iterator[list[str]]:
    """What had the signal before."""
    heard: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("before"))
    yield heard
    signal.signal(signal.SIGUSR1, before)


def begin(heard: list[str]) -> Rotations:
    rotations = Rotations(Reactor())
    rotations.add(lambda: heard.append("reopened"))
    rotations.startService()
    return rotations


def test_both_are_told(handler: list[str]) -> None:
    """twistd puts its own log away on this signal."""
    rotations = begin(handler)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert handler == ["before", "reopened"]
    rotations.stopService()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert handler == ["before", "reopened", "before"]


def test_it_ends_nobody(handler: list[str]) -> None:
    """Also when it comes late."""
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    rotations = begin(handler)
    os.kill(os.getpid(), signal.SIGUSR1)
    rotations.stopService()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert handler == ["reopened"]
