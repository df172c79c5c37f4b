"""Tests of what a service manager is told, over a real socket of its kind."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tcpdl.daemon import Daemon
from tcpdl.server.hangup import Hangups
from tcpdl.server.notify import STATUS_MOST, Notifier, Watchdog, watchdog_seconds
from tests.server.conftest import Log, StubReactor


class Manager:
    """Stands for the service manager."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.name = address.replace("\0", "@")
        self.listen()

    def listen(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self._address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """What it was told since it was asked last."""
        told = []
        while True:
            try:
                told.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return told


@pytest.fixture(params=["a path", "an abstract address"])
def manager(request: Any, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    made = Manager(path if request.param == "a path" else f"\0tcpdl-test{path}")
    yield made
    made.socket.close()


@pytest.fixture
def notifier(manager: Manager) -> Iterator[Notifier]:
    environ = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}
    made = Notifier(environ, pid=lambda: 7, nanoseconds=lambda: 12_345_678)
    yield made
    made.close()


def test_what_is_said(manager: Manager, notifier: Notifier) -> None:
    assert notifier.heard
    notifier.ready()
    notifier.ready("serves /srv")
    notifier.reloading()
    notifier.status("two\nlines" + "s" * 1000)
    notifier.ping()
    notifier.stopping()
    notifier.stopping(30)
    assert manager.heard() == [
        "READY=1",
        "READY=1\nSTATUS=serves /srv",
        "RELOADING=1\nMONOTONIC_USEC=12345",
        "STATUS=" + ("two lines" + "s" * 1000)[:STATUS_MOST],
        "WATCHDOG=1",
        "STOPPING=1",
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000",
    ]
    notifier.status("")
    notifier.close()
    notifier.ready()
    assert manager.heard() == []
    assert not notifier.heard


def test_nobody_to_be_told(log: Log) -> None:
    for name in ("", "@", "relative", "vsock:2:1234"):
        silent = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1"})
        silent.ready()
        assert not silent.heard
        assert silent.watchdog is None
    assert log.lines == []


def test_a_manager_that_is_not_there_stops_nobody(tmp_path: Path, log: Log) -> None:
    lost = Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")})
    assert log.lines == []
    lost.ready("it serves")
    long = Notifier({"NOTIFY_SOCKET": "/" + "n" * 200})
    long.stopping()
    assert log.lines == [
        "the service manager was not told READY=1: No such file or directory",
        "the service manager was not told STOPPING=1: AF_UNIX path too long",
    ]


def test_a_manager_that_made_its_socket_anew_is_told_there(tmp_path: Path, log: Log) -> None:
    manager = Manager(str(tmp_path / "notify"))
    notifier = Notifier({"NOTIFY_SOCKET": manager.name})
    notifier.ready()
    assert manager.heard() == ["READY=1"]
    manager.socket.close()
    os.unlink(manager.name)
    manager.listen()
    notifier.reloading()
    assert [text.partition("=")[0] for text in manager.heard()] == ["RELOADING"]
    assert log.lines == []
    notifier.close()
    manager.socket.close()


def test_a_manager_that_does_not_listen_holds_nobody_up(
    manager: Manager, notifier: Notifier, log: Log
) -> None:
    while not log.lines:
        notifier.ping()
    assert "WATCHDOG=1" in log.lines[0]
    notifier.stopping()  # waits for a moment
    assert len(log.lines) == 2
    assert set(manager.heard()) == {"WATCHDOG=1"}


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
        ({"WATCHDOG_USEC": str(2**64)}, None),
    ],
)
def test_watchdog_seconds(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, lambda: 7) == seconds


@given(st.dictionaries(st.sampled_from(["WATCHDOG_USEC", "WATCHDOG_PID"]), st.text()))
def test_any_environment_is_fit(environ: dict[str, str]) -> None:
    watchdog_seconds(environ, lambda: 7)


def test_signs_of_life_come_twice_as_often_as_wanted(manager: Manager, notifier: Notifier) -> None:
    clock = Clock()
    watchdog = Watchdog(notifier, clock)
    watchdog.startService()
    for _ in range(60):
        clock.advance(1)
    assert manager.heard() == ["WATCHDOG=1"] * 5
    watchdog.stopService()
    clock.advance(60)
    assert manager.heard() == []
    assert clock.getDelayedCalls() == []


def test_no_signs_of_life_unless_they_are_wanted(manager: Manager) -> None:
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": manager.name})
    watchdog = Watchdog(notifier, clock)
    watchdog.startService()
    assert clock.getDelayedCalls() == []
    watchdog.stopService()
    assert manager.heard() == []
    notifier.close()


class Reactor(StubReactor):
    """Does at once what comes from a signal."""

    seconds = time.monotonic

    def callFromThread(self, call: Any) -> None:
        call()


@pytest.fixture(autouse=True)
def _as_a_terminal_leaves_it() -> Iterator[None]:
    # What starts the tests may ignore the signal, as nohup does.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN, lambda number, frame: None])
def test_sighup_is_told(manager: Manager, notifier: Notifier, before: Any) -> None:
    signal.signal(signal.SIGHUP, before)
    hangups = Hangups(Reactor())
    hangups.notifier = notifier
    hangups.begin()
    os.kill(os.getpid(), signal.SIGHUP)  # nothing is read again, and it ends nothing
    hangups.add(lambda: notifier.status("reading"))
    os.kill(os.getpid(), signal.SIGHUP)
    assert [text.partition("\n")[0] for text in manager.heard()] == [
        *("RELOADING=1", "READY=1"),
        *("RELOADING=1", "STATUS=reading", "READY=1"),
    ]
    hangups.stopService()
    # What ended the process ends it no more: whoever drains owes clients the rest.
    after = signal.SIG_IGN if before is signal.SIG_DFL else before
    assert signal.getsignal(signal.SIGHUP) == after


def test_a_reload_that_fails_ends_as_well(manager: Manager, notifier: Notifier) -> None:
    hangups = Hangups(Reactor())
    hangups.notifier = notifier
    hangups.add(lambda: [][0])
    with pytest.raises(IndexError):
        hangups._act()
    assert manager.heard()[-1] == "READY=1"


def test_the_daemon_tells_of_itself(manager: Manager, notifier: Notifier) -> None:
    reactor: Any = Reactor()
    daemon = Daemon(reactor)
    daemon.report_to(notifier)
    daemon.at_start(lambda: notifier.status("starting"))
    daemon.startService()
    assert manager.heard() == ["STATUS=starting", "WATCHDOG=1", "READY=1"]
    daemon.stopService()
    assert manager.heard() == ["STOPPING=1"]
    assert not notifier.heard
