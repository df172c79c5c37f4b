"""Tests what is done on SIGUSR1."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from tcpdl.logs.rotating import Rotations
from tcpdl.service import Options, make_daemon


class Reactor(MemoryReactorClock):
    """Does at once what is to be done in its time."""

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        call(*arguments)


@pytest.fixture(autouse=True)
def handler() -> Iterator[list[str]]:
    """What had the signal before."""
    heard: list[str] = []
    hangup = signal.getsignal(signal.SIGHUP)
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("before"))
    yield heard
    signal.signal(signal.SIGUSR1, before)
    signal.signal(signal.SIGHUP, hangup)


def begin(heard: list[str]) -> Rotations:
    rotations = Rotations(Reactor())  # type: ignore[no-untyped-call]
    rotations.add(lambda: heard.append("reopened"))
    rotations.begin()
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


def test_a_daemon_hears_it_before_it_says_that_it_is_there(
    tmp_path: Path, handler: list[str]
) -> None:
    """Whoever waits for that may put the log away at once, when no line was written yet."""
    log = tmp_path / "log"
    options = Options({})
    options.parseOptions(["--listen=tcp:1", f"--root={tmp_path}", f"--access-log={log}"])
    reactor: Any = Reactor()  # type: ignore[no-untyped-call]
    daemon = make_daemon(options, reactor)
    log.rename(tmp_path / "log.1")
    daemon.at_start(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    daemon.startService()
    assert log.exists()
    assert handler == ["before"]
    daemon.stopService()
