"""Tests that producers are held back while their bytes wait behind a file, and asked again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from tests.server.conftest import Connect

OpenFile = Callable[[bytes], int]

CONTENT = random.Random(4).randbytes(300_000)


@implementer(IPushProducer)
class Push:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


def test_a_producer_pauses_while_much_waits_behind_a_file(
    connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1)
    transport = connection.transport
    producer = Push()
    transport.registerProducer(producer, True)
    connection.send(open_file(CONTENT), 0, len(CONTENT))

    transport.write(bytes(transport.bufferSize))
    assert producer.told == []
    transport.write(b"x")
    assert producer.told == ["pause"]
    transport.write(b"y")
    assert producer.told == ["pause"]

    assert connection.drain() == CONTENT + bytes(transport.bufferSize) + b"xy"
    assert producer.told[-1] == "resume"
    assert producer.told.count("resume") == 1
    transport.unregisterProducer()


def test_a_producer_that_pauses_may_be_paused_again(connect: Connect, open_file: OpenFile) -> None:
    """What waits is counted anew for each file."""
    connection = connect(sndbuf=1)
    transport = connection.transport
    producer = Push()
    transport.registerProducer(producer, True)
    fd = open_file(CONTENT)
    for _ in range(3):
        producer.told.clear()
        connection.send(fd, 0, len(CONTENT))
        transport.write(bytes(transport.bufferSize))
        assert producer.told == []
        transport.write(b"x")
        assert producer.told == ["pause"]
        connection.drain()
        assert producer.told[-1] == "resume"
    transport.unregisterProducer()


def test_a_producer_is_not_paused_for_the_file_itself(
    connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1)
    producer = Push()
    connection.transport.registerProducer(producer, True)
    connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.write(b"x")
    assert connection.drain() == CONTENT + b"x"
    assert producer.told == []
    connection.transport.unregisterProducer()


def test_close_waits_for_a_producer(connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    producer = Push()
    transport = connection.transport
    transport.registerProducer(producer, True)
    connection.send(open_file(CONTENT), 0, len(CONTENT))
    transport.write(bytes(transport.bufferSize + 1))
    transport.loseConnection()
    connection.drain()
    assert producer.told[-1] == "resume"
    assert connection.protocol.events == []

    transport.write(b"last")
    transport.unregisterProducer()
    assert connection.drain(to_the_end=True).endswith(b"\0last")
    assert connection.protocol.events == ["lost"]


def test_a_producer_is_stopped_when_the_connection_is_lost(
    connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1)
    producer = Push()
    connection.transport.registerProducer(producer, True)
    connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.abortConnection()
    connection.reactor.clock.advance(0)
    assert producer.told == ["stop"]


def test_much_written_at_once_pauses_too(connect: Connect) -> None:
    connection = connect(sndbuf=1)
    producer = Push()
    connection.transport.registerProducer(producer, True)
    connection.transport.write(CONTENT)
    assert producer.told == ["pause"]
    assert connection.drain() == CONTENT
    assert producer.told == ["pause", "resume"]
    connection.transport.write(b"little")
    assert producer.told == ["pause", "resume"]
    connection.transport.unregisterProducer()
