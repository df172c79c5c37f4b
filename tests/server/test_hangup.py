"""Tests of SIGHUP: what is done, and that others keep what they had."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl.server import hangup
from tcpdl.server.hangup import Hangups
from tests.server.conftest import Log


class Reactor:
    """Remembers what is to be done in its time."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def callFromThread(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        while self.calls:
            self.calls.pop(0)()


@pytest.fixture(autouse=True)
def before() -> Iterator[list[int]]:
    """What the signal does before and after: it is counted."""
    heard: list[int] = []
    original = signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGHUP, original)


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


def test_it_is_done_while_the_service_runs(before: list[int]) -> None:
    reactor, told = Reactor(), []
    hangups = Hangups(reactor)
    hangups.add(lambda: told.append("one"))
    hangups.add(lambda: told.append("two"))
    hang_up()
    assert len(before) == 1
    for _ in range(2):
        hangups.begin()
        hang_up()
        assert told == [], "not within whatever ran at the moment"
        reactor.turn()
        assert told == ["one", "two"]
        told.clear()
        hangups.stopService()
    hang_up()
    reactor.turn()
    assert told == []
    assert len(before) == 2


def test_one_that_comes_while_the_daemon_ends_does_not_cut_that_short() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    hangups = Hangups(Reactor())
    hangups.begin()
    hangups.stopService()
    hang_up()


def test_nothing_to_do(before: list[int], log: Log) -> None:
    """A daemon that has nothing to read again is not ended by being told to."""
    reactor = Reactor()
    hangups = Hangups(reactor)
    hangups.begin()
    hang_up()
    reactor.turn()
    assert before == []
    assert log.lines == ["SIGHUP: there is nothing to read again"]
    hangups.stopService()
    hang_up()
    assert len(before) == 1


def test_what_comes_first() -> None:
    reactor, told = Reactor(), []
    hangups = Hangups(reactor)
    hangups.add(lambda: told.append("later"))
    hangups.add(lambda: hangups.add(lambda: told.append("next time")), first=True)
    hangups.begin()
    hang_up()
    reactor.turn()
    assert told == ["later"]
    hangups.stopService()


def test_somebody_else_took_it_over(before: list[int]) -> None:
    hangups = Hangups(Reactor())
    hangups.add(lambda: None)
    hangups.begin()
    other: Any = lambda *_: None  # noqa: E731
    signal.signal(signal.SIGHUP, other)
    hangups.stopService()
    assert signal.getsignal(signal.SIGHUP) is other


def test_not_in_the_main_thread(log: Log, before: list[int]) -> None:
    hangups = Hangups(Reactor())
    hangups.add(lambda: None)
    thread = threading.Thread(target=hangups.begin)
    thread.start()
    thread.join()
    hangups.stopService()
    hang_up()
    assert len(before) == 1
    assert log.lines == ["SIGHUP has no effect: the daemon does not run in the main thread"]


@pytest.mark.parametrize(
    ("at_first", "later", "previous", "ends"),
    [
        (True, False, signal.SIG_DFL, True),
        (True, True, signal.SIG_DFL, False),
        (False, False, signal.SIG_DFL, False),
        (True, False, signal.SIG_IGN, False),
    ],
)
def test_the_terminal_is_gone(
    at_first: bool, later: bool, previous: Any, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who closes the window that it runs in ends it; who sends the signal does not."""
    signal.signal(signal.SIGHUP, previous)
    killed: list[int] = []
    reactor, told = Reactor(), []
    hangups = Hangups(reactor)
    hangups.add(lambda: told.append("read again"))
    monkeypatch.setattr(hangup, "_has_terminal", lambda: at_first)
    hangups.begin()
    hang_up()
    monkeypatch.setattr(hangup, "_has_terminal", lambda: later)
    monkeypatch.setattr(os, "kill", lambda _, number: killed.append(number))
    reactor.turn()
    assert killed == ([signal.SIGHUP] if ends else [])
    assert told == ([] if ends else ["read again"])
    if ends:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    hangups.stopService()


def test_a_terminal_that_is_really_gone(tmp_path: Path) -> None:
    """A daemon that was started from one ends with it, though it reads again when it is told to."""
    master, slave = pty.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    options = ("--port=0", "--interface=127.0.0.1", "--tls=self-signed", f"--state-dir={tmp_path}")
    with subprocess.Popen(
        [sys.executable, "-m", "tcpdl", "serve", str(tmp_path), *options],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=own_terminal,
    ) as process:
        try:
            os.close(slave)
            shown = b""
            while shown.count(b"the certificate is sha256:") < 1:
                shown += os.read(master, 65536)
            process.send_signal(signal.SIGHUP)
            while shown.count(b"the certificate is sha256:") < 2:
                shown += os.read(master, 65536)
            os.close(master)
            assert process.wait(60) == -signal.SIGHUP
        finally:
            process.kill()
