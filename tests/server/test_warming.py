"""Tests the threads that read file pages from the disk, and connections that wait for them."""

from __future__ import annotations

import errno
import os
import queue
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from tcpdl.server import transport
from tcpdl.server.warming import WARM_MOST, Warmer, would_wait

if TYPE_CHECKING:
    from tests.server.conftest import Connect

OpenFile = Callable[[bytes], int]

CONTENT = random.Random(7).randbytes(WARM_MOST + 300_000)


class Readers:
    """Stands for a `Warmer`: remembers what it is asked to read, and reads nothing."""

    running = True

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.done: list[Callable[[], None]] = []

    def warm(self, fd: int, offset: int, count: int, done: Callable[[], None]) -> None:
        self.asked.append((offset, count))
        self.done.append(done)


@pytest.fixture
def all_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "would_wait", lambda fd, position: True)


@pytest.mark.usefixtures("all_cold")
def test_a_connection_waits_for_what_is_read(connect: Connect, open_file: OpenFile) -> None:
    readers = Readers()
    connection = connect(warmer=readers)
    outcome = connection.send(open_file(CONTENT), 0, len(CONTENT))
    assert readers.asked == [(0, WARM_MOST)]
    assert not connection.wants_to_write
    assert connection.drain() == b""

    readers.done.pop()()
    assert connection.drain() == CONTENT[:WARM_MOST]
    assert readers.asked == [(0, WARM_MOST), (WARM_MOST, 300_000)]

    readers.done.pop()()
    assert connection.drain() == CONTENT
    assert outcome == [len(CONTENT)]


@pytest.mark.usefixtures("all_cold")
def test_what_is_written_meanwhile_waits_too(connect: Connect, open_file: OpenFile) -> None:
    readers = Readers()
    connection = connect(warmer=readers)
    connection.transport.write(b"before ")
    connection.send(open_file(b"file"), 0, 4)
    connection.transport.write(b" after")
    connection.transport.loseConnection()
    assert not connection.wants_to_write
    readers.done.pop()()
    assert connection.drain(to_the_end=True) == b"before file after"


@pytest.mark.usefixtures("all_cold")
def test_a_connection_may_be_lost_while_it_waits(connect: Connect, open_file: OpenFile) -> None:
    readers = Readers()
    connection = connect(warmer=readers)
    outcome = connection.send(open_file(b"file"), 0, 4)
    connection.lose(ConnectionLost())
    assert isinstance(outcome[0], ConnectionLost)
    readers.done.pop()()
    assert not connection.wants_to_write


@pytest.mark.usefixtures("all_cold")
def test_an_abort_while_it_waits_wakes_nobody(connect: Connect, open_file: OpenFile) -> None:
    readers = Readers()
    connection = connect(warmer=readers)
    connection.send(open_file(b"file"), 0, 4)
    connection.transport.abortConnection()
    readers.done.pop()()
    assert not connection.wants_to_write


@pytest.mark.usefixtures("all_cold")
def test_threads_that_do_not_run_are_not_asked(connect: Connect, open_file: OpenFile) -> None:
    readers = Readers()
    readers.running = False
    connection = connect(warmer=readers)
    assert connection.send(open_file(b"file"), 0, 4) == [4]
    assert readers.asked == []


class NoDescriptor(Readers):
    def warm(self, fd: int, offset: int, count: int, done: Callable[[], None]) -> None:
        raise OSError(errno.EMFILE, "no descriptor is left")


@pytest.mark.usefixtures("all_cold")
def test_without_a_descriptor_to_spare_it_is_sent_cold(
    connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(warmer=NoDescriptor())
    assert connection.send(open_file(b"file"), 0, 4) == [4]


def test_pages_in_memory_are_sent_at_once(connect: Connect, open_file: OpenFile) -> None:
    readers = Readers()
    connection = connect(warmer=readers)
    assert connection.send(open_file(b"file"), 0, 4) == [4]
    assert readers.asked == []


def test_would_wait_is_false_where_it_cannot_be_told(open_file: OpenFile) -> None:
    fd = open_file(b"file")
    assert not would_wait(fd, 0)
    assert not would_wait(fd, 1000)  # past the end
    reader, writer = os.pipe()
    try:
        assert not would_wait(reader, 0)
    finally:
        os.close(reader)
        os.close(writer)


class Calls:
    """A reactor that keeps what threads ask it to call."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self.callLater = Clock().callLater

    def callFromThread(self, function: Callable[[], None]) -> None:
        self.calls.put(function)


@pytest.fixture
def calls() -> Calls:
    return Calls()


def run(warmer: Any, calls: Calls, *arguments: Any) -> None:
    warmer.startService()
    try:
        told: list[bool] = []
        warmer.warm(*arguments, lambda: told.append(True))
        calls.calls.get(timeout=20)()
        assert told == [True]
    finally:
        warmer.stopService()


def test_a_thread_reads_and_tells(
    calls: Calls, open_file: OpenFile, descriptors: Callable[[], int]
) -> None:
    fd = open_file(b"file")
    before = descriptors()
    run(Warmer(calls), calls, fd, 0, 4)
    assert descriptors() == before


def test_a_thread_tells_even_when_it_cannot_read(calls: Calls) -> None:
    reader, writer = os.pipe()
    try:
        run(Warmer(calls), calls, reader, 0, 4)
    finally:
        os.close(reader)
        os.close(writer)
