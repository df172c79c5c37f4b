"""Tests that lines for answers come together, and all of them."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tcpdl.logs.access import EVENT_MOST, NAMESPACE, AccessLog, to_log
from tcpdl.server.transfers import BATCH_MOST, BATCH_SECONDS, COMPLETE, Ended, Transfers


class Log:
    def __init__(self) -> None:
        self.clock = Clock()
        self.transfers = Transfers(self.clock)
        self.batches: list[list[str]] = []

        def form(transfer: Ended, offset: float) -> str:
            return f"{transfer.what} at {transfer.ended + offset}"

        sink = self.batches.append
        AccessLog(self.transfers, form, sink, lambda: 1000 + self.clock.seconds())

    def end(self, name: str) -> None:
        self.transfers.once(COMPLETE, "raw", "", False, asked=name.encode())


@pytest.fixture
def log() -> Log:
    return Log()


def test_lines_come_together(log: Log) -> None:
    log.end("a")
    log.clock.advance(BATCH_SECONDS / 2)
    log.end("b")
    assert not log.batches
    log.clock.advance(BATCH_SECONDS / 2)
    assert log.batches == [["a at 1000.0", f"b at {1000 + BATCH_SECONDS / 2}"]]
    assert not log.clock.getDelayedCalls()


def test_many_do_not_wait(log: Log) -> None:
    for number in range(2 * BATCH_MOST + 1):
        log.end(str(number))
    assert [len(batch) for batch in log.batches] == [BATCH_MOST, BATCH_MOST]
    log.transfers.flush()
    lines = [line for batch in log.batches for line in batch]
    assert lines == [f"{number} at 1000.0" for number in range(2 * BATCH_MOST + 1)]
    assert not log.clock.getDelayedCalls()


def test_nothing_waits_once_it_is_closed(log: Log) -> None:
    """Connections that are broken off at the end of the daemon are told of, too."""
    log.end("a")
    log.transfers.close()
    log.end("b")
    assert log.batches == [["a at 1000.0"], ["b at 1000.0"]]
    log.transfers.flush()
    assert len(log.batches) == 2


def test_lines_in_the_log_of_the_daemon() -> None:
    events: list[LogEvent] = []
    watch: Any = events.append
    globalLogPublisher.addObserver(watch)
    try:
        to_log([f"{{lines}} {number}" for number in range(EVENT_MOST + 1)])
    finally:
        globalLogPublisher.removeObserver(watch)
    assert [event["log_namespace"] for event in events] == [NAMESPACE] * 2
    text = "\n".join(formatEvent(event) for event in events)
    assert text.split("\n") == [f"{{lines}} {number}" for number in range(EVENT_MOST + 1)]
