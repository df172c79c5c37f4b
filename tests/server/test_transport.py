"""Tests the order in which a transport sends bytes and files, and when it does."""

from __future__ import annotations

import gc
import os
import random
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import main, tcp
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from tcpdl.server.transport import SEND_MOST, FileTransport, UNIXFileTransport

if TYPE_CHECKING:
    from tests.server.conftest import Connect

OpenFile = Callable[[bytes], int]

CONTENT = random.Random(1).randbytes(300_000)


# Order.


@pytest.mark.parametrize("kind", ["pair", "tcp", "unix"])
@pytest.mark.parametrize("sendfile", [os.sendfile, None], ids=["sendfile", "copying"])
def test_bytes_and_files_keep_their_order(
    kind: str, sendfile: Any, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(kind, sendfile=sendfile)
    transport = connection.transport
    fd = open_file(CONTENT)

    transport.write(b"first ")
    sendings = [connection.send(fd, 0, 4)]
    transport.write(b" second ")
    sendings.append(connection.send(fd, 10, 200_000))
    transport.writeSequence([b" third", b" fourth "])
    sendings.append(connection.send(fd, 4, 6))
    sent = b"first %b second %b third fourth %b" % (
        CONTENT[:4],
        CONTENT[10:200_010],
        CONTENT[4:10],
    )
    transport.loseConnection()

    assert connection.drain(to_the_end=True) == sent
    assert sendings == [[4], [200_000], [6]]
    assert transport.bytes_sent == len(sent)


@pytest.mark.parametrize("sendfile", [os.sendfile, None], ids=["sendfile", "copying"])
def test_order_is_kept_through_a_tiny_buffer(
    sendfile: Any, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1, sendfile=sendfile)
    transport = connection.transport
    fd = open_file(CONTENT)

    transport.write(b"<")
    first = connection.send(fd, 0, len(CONTENT))
    transport.write(b"|" * 70_000)
    second = connection.send(fd, 1, 99_999)
    transport.write(b">")
    assert first == second == []

    assert connection.drain() == b"<%b%b%b>" % (CONTENT, b"|" * 70_000, CONTENT[1:100_000])
    assert (first, second) == ([len(CONTENT)], [99_999])
    assert transport.bytes_sent == len(connection.received)


def test_files_wait_for_bytes_that_wait(connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    before = connection.fill()
    sending = connection.send(open_file(b"file"), 0, 4)

    assert sending == []
    assert connection.drain() == before + b"file"


def test_a_callback_may_write_and_send_more(connect: Connect, open_file: OpenFile) -> None:
    """What it writes comes after what was written before it was called."""
    connection = connect(sndbuf=1)
    transport = connection.transport
    fd = open_file(CONTENT)

    def more(_: int) -> None:
        transport.write(b" and ")
        transport.sendFile(fd, 0, 5)

    transport.sendFile(fd, 0, 100_000).addCallback(more)
    transport.write(b" then")

    assert connection.drain() == CONTENT[:100_000] + b" then and " + CONTENT[:5]


# At once.


@pytest.mark.parametrize("kind", ["pair", "tcp", "unix"])
def test_a_file_is_sent_at_once_if_nothing_waits(
    kind: str, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(kind)

    assert connection.send(open_file(b"content"), 0, 7) == [7]

    assert not connection.wants_to_write
    connection.take()
    assert connection.received == b"content"


@pytest.mark.parametrize("kind", ["pair", "tcp", "unix"])
def test_bytes_are_written_at_once_if_nothing_waits(kind: str, connect: Connect) -> None:
    connection = connect(kind)

    connection.transport.write(b"one ")
    connection.transport.writeSequence([b"two ", b"three"])

    assert not connection.wants_to_write
    connection.take()
    assert connection.received == b"one two three"
    assert connection.transport.bytes_sent == 13


def test_what_is_not_taken_at_once_waits(connect: Connect) -> None:
    connection = connect(sndbuf=1)

    connection.transport.write(CONTENT)
    at_once = connection.transport.bytes_sent
    assert 0 < at_once < len(CONTENT)
    assert connection.wants_to_write
    connection.transport.write(b"after")
    assert connection.transport.bytes_sent == at_once

    assert connection.drain() == CONTENT + b"after"
    connection.transport.write(b", at once")
    assert not connection.wants_to_write


def test_nothing_is_nothing(connect: Connect, open_file: OpenFile) -> None:
    connection = connect()
    fd = open_file(b"content")

    connection.transport.write(b"")
    connection.transport.writeSequence([])
    assert connection.send(fd, 3, 0) == [0]
    assert not connection.wants_to_write

    before = connection.fill()
    sendings = [connection.send(fd, 0, 2)]
    connection.transport.writeSequence([])
    sendings.append(connection.send(fd, 0, 0))
    sendings.append(connection.send(fd, 2, 3))
    assert connection.drain() == before + b"conte"
    assert sendings == [[2], [0], [3]]


# Ranges.


@pytest.mark.parametrize("sendfile", [os.sendfile, None], ids=["sendfile", "copying"])
@pytest.mark.parametrize(("offset", "count"), [(0, 1), (1, 9), (5, 0), (9, 1), (10, 0)])
def test_offset_and_count(
    offset: int, count: int, sendfile: Any, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sendfile=sendfile)
    fd = open_file(b"0123456789")

    assert connection.send(fd, offset, count) == [count]
    assert connection.drain() == b"0123456789"[offset : offset + count]
    assert os.lseek(fd, 0, os.SEEK_CUR) == 0, "the descriptor's own position is not used"


@pytest.mark.parametrize(("offset", "count"), [(-1, 1), (0, -1)])
def test_negative_numbers_are_an_error(
    offset: int, count: int, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect()
    with pytest.raises(ValueError, match="negative"):
        connection.transport.sendFile(open_file(b"x"), offset, count)


def test_one_call_sends_a_bounded_piece(connect: Connect, open_file: OpenFile) -> None:
    asked: list[tuple[int, int]] = []

    def sendfile(_out: int, _file: int, offset: int, count: int) -> int:
        asked.append((offset, count))
        return count

    connection = connect(sendfile=sendfile)
    fd = open_file(b"")
    sending = connection.send(fd, 7, 2 * SEND_MOST + 1)
    assert asked == [(7, SEND_MOST)]
    connection.write_turn()
    assert asked[1:] == [(7 + SEND_MOST, SEND_MOST)]
    assert sending == []
    connection.write_turn()
    assert asked[2:] == [(7 + 2 * SEND_MOST, 1)]
    assert sending == [2 * SEND_MOST + 1]
    assert not connection.wants_to_write


def test_one_copy_is_bounded(connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=4 * SEND_MOST, sendfile=None)
    connection.transport.sendFile(open_file(bytes(2 * SEND_MOST)), 0, 2 * SEND_MOST)
    assert 0 < connection.transport.bytes_sent <= SEND_MOST
    assert len(connection.drain()) == 2 * SEND_MOST


# What it is built on.


@pytest.mark.parametrize("kind", [FileTransport, UNIXFileTransport])
def test_the_base_class_has_what_is_overridden(kind: Any) -> None:
    """Were one of these renamed in Twisted, our override would never be called."""
    for name in (
        "write",
        "writeSequence",
        "writeSomeData",
        "doWrite",
        "stopWriting",
        "startWriting",
        "loseConnection",
        "loseWriteConnection",
        "abortConnection",
        "connectionLost",
    ):
        assert callable(getattr(tcp.Server, name))
        assert getattr(kind, name) is not getattr(tcp.Server, name)


def test_the_base_class_has_what_is_read() -> None:
    assert tcp.Port.transport is tcp.Server
    for name in ("producer", "streamingProducer", "producerPaused", "bufferSize", "TLS"):
        assert hasattr(tcp.Server, name)
    for name in ("connected", "disconnecting"):
        assert not getattr(tcp.Server, name)


def test_nothing_is_kept_of_connections_that_were_lost(
    connect: Connect, open_file: OpenFile
) -> None:
    """There is one `main.CONNECTION_LOST` for all of them, and what is raised keeps its frames."""

    class Mine:
        """Is in the frame that waits."""

    kept: list[weakref.ref[Mine]] = []

    async def wait(sending: Deferred[int]) -> None:
        mine = Mine()
        kept.append(weakref.ref(mine))
        with pytest.raises(ConnectionLost):
            await sending

    for _ in range(2):
        connection = connect(sndbuf=1)
        Deferred.fromCoroutine(wait(connection.transport.sendFile(open_file(CONTENT), 0, 300_000)))
        connection.lose(main.CONNECTION_LOST)

    gc.collect()
    assert [one() for one in kept] == [None, None]
    assert main.CONNECTION_LOST.__traceback__ is None
