"""Tests sending a file over a transport that knows nothing of files."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.testing import StringTransport

from tcpdl.server.outgoing import FileCutShort
from tcpdl.server.sending import PIECE, send_file

OpenFile = Callable[[bytes], int]

CONTENT = random.Random(6).randbytes(3 * PIECE)


def send(transport: StringTransport, fd: int, offset: int, count: int) -> list[Any]:
    """Start to send; what it comes to, a number or an exception, will be in the list."""
    outcome: list[Any] = []
    sending = send_file(transport, fd, offset, count)
    sending.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
    return outcome


def ask(transport: StringTransport) -> None:
    """What a transport does with a pull producer when it has room for more."""
    producer: Any = transport.producer
    assert not transport.streaming
    producer.resumeProducing()


def test_a_file_is_read_piece_by_piece(open_file: OpenFile) -> None:
    transport = StringTransport()
    outcome = send(transport, open_file(CONTENT), 10, 2 * PIECE + 5)
    for pieces in (1, 2):
        ask(transport)
        assert transport.value() == CONTENT[10 : 10 + pieces * PIECE]
        assert outcome == []
    ask(transport)
    assert transport.value() == CONTENT[10 : 15 + 2 * PIECE]
    assert outcome == [2 * PIECE + 5]
    assert transport.producer is None
    assert not transport.disconnecting


def test_no_bytes_of_a_file(open_file: OpenFile) -> None:
    transport = StringTransport()
    assert send(transport, open_file(CONTENT), 10, 0) == [0]
    assert transport.producer is None
    assert transport.value() == b""


def test_a_file_grows(open_file: OpenFile) -> None:
    transport = StringTransport()
    fd = open_file(CONTENT)
    outcome = send(transport, fd, 0, len(CONTENT))
    os.pwrite(fd, b"grown" * 1000, len(CONTENT))
    for _ in range(3):
        ask(transport)
    assert transport.value() == CONTENT
    assert outcome == [len(CONTENT)]


def test_a_file_shrinks(open_file: OpenFile) -> None:
    transport = StringTransport()
    fd = open_file(CONTENT)
    outcome = send(transport, fd, 0, len(CONTENT))
    ask(transport)
    os.ftruncate(fd, PIECE + 7)
    ask(transport)
    assert outcome == []
    ask(transport)

    assert isinstance(outcome[0], FileCutShort)
    assert str(outcome[0]) == f"{PIECE + 7} of {3 * PIECE} bytes sent: the file became shorter"
    assert transport.disconnected, "aborted, so that a short file never looks whole"
    assert transport.producer is None


def test_a_file_that_cannot_be_read() -> None:
    transport = StringTransport()
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        outcome = send(transport, folder, 0, 1)
        ask(transport)
    finally:
        os.close(folder)
    assert isinstance(outcome[0], FileCutShort)
    assert transport.disconnected


def test_the_connection_is_lost(open_file: OpenFile) -> None:
    transport = StringTransport()
    outcome = send(transport, open_file(CONTENT), 0, len(CONTENT))
    ask(transport)
    producer: Any = transport.producer
    producer.stopProducing()
    assert isinstance(outcome[0], FileCutShort)
    assert (outcome[0].sent, outcome[0].count) == (PIECE, len(CONTENT))


def test_to_cancel_is_to_abort(open_file: OpenFile) -> None:
    transport = StringTransport()
    sending = send_file(transport, open_file(CONTENT), 0, len(CONTENT))
    outcome: list[object] = []
    sending.addErrback(lambda failure: outcome.append(failure.type))
    ask(transport)
    sending.cancel()
    assert outcome == [CancelledError]
    assert transport.disconnected
    producer: Any = transport.producer
    producer.stopProducing()
    assert outcome == [CancelledError]


@pytest.mark.parametrize("kind", ["pair", "unix"])
def test_our_own_transports_send_it_themselves(
    kind: str, connect: Callable[..., Any], open_file: OpenFile
) -> None:
    connection = connect(kind)
    outcome = send(connection.transport, open_file(CONTENT), 0, 10)
    assert connection.transport.producer is None
    assert outcome == [10]
    assert connection.drain() == CONTENT[:10]
