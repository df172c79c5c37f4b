"""Tests how the parent learns that a worker has ended."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tcpdl.processes.process import LAST_SECONDS, Process


class Transport:
    """A process that has ended, of which descriptors are still open elsewhere."""

    pid = 7

    def __init__(self) -> None:
        self.closed: list[int] = []

    def closeChildFD(self, number: int) -> None:
        self.closed.append(number)


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
