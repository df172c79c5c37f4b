"""Tests how the parent learns that a worker has ended."""

from __future__ import annotations

import os
import signal
import sysconfig
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from tcpdl.processes.process import (
    LAST_SECONDS,
    LINE_MOST,
    LINES_MOST,
    TERMINAL,
    Order,
    Process,
    _environment,
    spawn,
)


@pytest.fixture
def log() -> Iterator[list[Any]]:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
    yield events
    globalLogPublisher.removeObserver(events.append)  # type: ignore[arg-type]


class Transport:
    """A process that has ended, of which descriptors are still open elsewhere."""

    pid = 7

    def __init__(self) -> None:
        self.closed: list[int] = []

    def closeChildFD(self, number: int) -> None:
        self.closed.append(number)


def test_what_it_says_without_a_log(log: list[Any]) -> None:
    process: Any = Process(0, Clock())
    for piece in (b"one\nt", b"wo\n", b"x" * LINE_MOST, b"\n" * (LINES_MOST + 7)):
        process.childDataReceived(2, piece)
    lines = [event["line"] for event in log]
    assert lines[:2] == ["one", "two"]
    assert lines[2].startswith("xxx")
    assert lines[3:] == [""] * LINES_MOST + ["7 more lines"]


@pytest.mark.parametrize("held", [True, False])
def test_one_that_has_left_another_behind_is_over(held: bool) -> None:
    clock, transport = Clock(), Transport()
    process: Any = Process(0, clock)
    process.makeConnection(transport)
    over: list[str] = []
    process.over.addCallback(over.append)
    process.ready.addErrback(lambda _: None)
    ended = Failure(ProcessTerminated(exitCode=0))
    process.processExited(ended)
    if held:
        clock.advance(LAST_SECONDS)
    else:
        process.processEnded(ended)
        clock.advance(LAST_SECONDS)
    assert transport.closed == ([2] if held else [])
    if held:
        process.processEnded(ended)
    assert over == ["status 0"]
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("given", [None, "/given", "STDLIB"])
def test_a_worker_looks_for_modules_where_its_interpreter_does_and_its_parent_did(
    given: str | None,
) -> None:
    """Those of the parent's interpreter would keep a newer one from starting."""
    stdlib, packages = (sysconfig.get_path(name) for name in ("stdlib", "purelib"))
    given = stdlib if given == "STDLIB" else given
    path = ["", "relative", "/made", stdlib, f"{stdlib}/lib-dynload", packages, f"{stdlib}-more"]
    environ = {"NOTIFY_SOCKET": "/run/notify", "TZ": "UTC"}
    if given is not None:
        path.insert(1, given)
        environ["PYTHONPATH"] = given
    expected = [*filter(None, [given]), "/made", f"{stdlib}-more"]
    if given == stdlib:
        expected.insert(2, stdlib)
    assert _environment(environ, path) == {
        "TZ": "UTC",
        "PYTHONPATH": os.pathsep.join(expected),
        "PYTHONSAFEPATH": "1",
    }


class Starting(Clock):
    """A reactor that cannot start processes, and notes what they would not have heard."""

    blocked: frozenset[int] = frozenset()

    def adoptStreamConnection(self, *_: object) -> None:
        pass

    def spawnProcess(self, *_: object, **__: object) -> None:
        self.blocked = frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        raise OSError


def test_a_worker_does_not_hear_the_terminal_while_it_starts() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    reactor = Starting()
    with pytest.raises(OSError):  # noqa: PT011 - it is ours
        spawn(reactor, Order([], ""), 0, 1, [])
    assert reactor.blocked == before | TERMINAL
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
