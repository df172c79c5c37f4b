"""Tests how a transport ends: after its last file, in the middle of one, or by the client."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import main
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock

from tcpdl.server.direct import direct
from tcpdl.server.sending import send_file
from tcpdl.server.transfers import Transfers

if TYPE_CHECKING:
    from tests.server.conftest import Connect

OpenFile = Callable[[bytes], int]

CONTENT = random.Random(3).randbytes(300_000)


# In order.


@pytest.mark.parametrize("kind", ["pair", "tcp", "unix"])
def test_close_comes_after_the_file(kind: str, connect: Connect, open_file: OpenFile) -> None:
    connection = connect(kind, sndbuf=1)
    sent = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.write(b"after")
    connection.transport.loseConnection()
    assert not connection.wants_to_read
    assert connection.protocol.events == []

    assert connection.drain(to_the_end=True) == CONTENT + b"after"
    assert sent == [len(CONTENT)]
    assert connection.protocol.events == ["lost"]
    assert connection.protocol.reason.check(ConnectionDone)


@pytest.mark.parametrize("kind", ["pair", "tcp", "unix"])
def test_half_close_comes_after_the_file(kind: str, connect: Connect, open_file: OpenFile) -> None:
    connection = connect(kind, sndbuf=1)
    sent = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.write(b"after")
    connection.transport.loseWriteConnection()
    assert connection.protocol.events == []

    assert connection.drain(to_the_end=True) == CONTENT + b"after"
    assert sent == [len(CONTENT)]
    assert connection.protocol.events == ["write side lost"]

    connection.peer.sendall(b"still heard")
    connection.transport.doRead()
    assert connection.protocol.data == b"still heard"
    connection.transport.loseConnection()
    assert connection.protocol.events == ["write side lost", "lost"]


@pytest.mark.parametrize("end", ["loseConnection", "loseWriteConnection"])
@pytest.mark.parametrize("count", [0, 4])
def test_an_end_right_after_a_file_that_was_sent_at_once(
    end: str, count: int, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect("tcp")
    assert connection.send(open_file(b"file"), 0, count) == [count]
    getattr(connection.transport, end)()
    assert connection.drain(to_the_end=True) == b"file"[:count]


@pytest.mark.parametrize("end", ["loseConnection", "loseWriteConnection"])
def test_a_callback_may_end_the_connection(end: str, connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    sending = connection.transport.sendFile(open_file(CONTENT), 0, len(CONTENT))
    sending.addCallback(lambda _: getattr(connection.transport, end)())
    connection.transport.write(b"after")
    assert connection.drain(to_the_end=True) == CONTENT + b"after"


def test_close_after_half_close_closes(connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.loseWriteConnection()
    connection.transport.loseConnection()
    assert connection.drain(to_the_end=True) == CONTENT
    assert connection.protocol.events == ["lost"]


def test_half_close_after_close_closes(connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.loseConnection()
    connection.transport.loseWriteConnection()
    assert connection.drain(to_the_end=True) == CONTENT
    assert connection.protocol.events == ["lost"]


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "behind bytes"])
def test_no_file_is_sent_once_the_connection_closes(
    waiting: bool, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1)
    before = connection.fill() if waiting else b""
    connection.transport.loseConnection()
    (problem,) = connection.send(open_file(CONTENT), 0, 1)
    assert isinstance(problem, ConnectionDone)
    assert connection.drain(to_the_end=True) == before

    (problem,) = connection.send(open_file(CONTENT), 0, 1)
    assert isinstance(problem, ConnectionDone)


@pytest.mark.parametrize("end", ["loseConnection", "loseWriteConnection", "abortConnection"])
def test_no_file_is_sent_once_an_end_waits(end: str, connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    connection.send(open_file(CONTENT), 0, len(CONTENT))
    getattr(connection.transport, end)()
    (problem,) = connection.send(open_file(CONTENT), 0, 1)
    assert isinstance(problem, ConnectionDone)
    # It tells how much was sent, as all do.
    transfer = Transfers(Clock()).begin("raw", "a", False)
    outcome: list[Any] = []
    sending = send_file(connection.transport, open_file(CONTENT), 0, 1, transfer)
    sending.addErrback(lambda failure: outcome.append(failure.type))
    assert outcome == [ConnectionDone]
    assert transfer.sent == 0
    connection.transport.abortConnection()


# At once.


def test_abort_in_the_middle_of_a_file(connect: Connect, open_file: OpenFile) -> None:
    connection = connect("tcp", sndbuf=1)
    sent = connection.send(open_file(CONTENT * 10), 0, len(CONTENT) * 10)
    connection.transport.write(b"after")
    behind = connection.send(open_file(CONTENT), 0, 1)
    connection.take()
    connection.write_turn()

    connection.transport.abortConnection()
    assert not connection.wants_to_write
    assert not connection.wants_to_read
    assert connection.protocol.events == [], "the protocol is told in another turn"
    connection.reactor.clock.advance(0)

    assert connection.protocol.events == ["lost"]
    assert connection.protocol.reason.check(ConnectionAborted)
    for outcome in (sent, behind):
        assert [type(problem) for problem in outcome] == [ConnectionAborted]
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    assert CONTENT.startswith(connection.received[: len(CONTENT)])


def test_a_callback_may_abort(connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    fd = open_file(CONTENT)
    sending = connection.transport.sendFile(fd, 0, len(CONTENT))
    sending.addCallback(lambda _: connection.transport.abortConnection())
    behind = connection.send(fd, 0, 1)
    assert connection.drain() == CONTENT
    connection.reactor.clock.advance(0)
    assert isinstance(behind[0], ConnectionAborted)


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "behind a file"])
def test_writes_after_an_abort_ask_for_nothing(
    waiting: bool, connect: Connect, open_file: OpenFile
) -> None:
    """A writer that does nothing when it is called would keep the reactor busy for ever."""
    connection = connect(sndbuf=1)
    if waiting:
        connection.send(open_file(CONTENT), 0, len(CONTENT))
    sent = connection.transport.bytes_sent
    connection.transport.abortConnection()
    connection.transport.write(b"never sent")
    connection.transport.writeSequence([b"never", b"sent"])
    connection.transport.loseWriteConnection()
    connection.transport.loseConnection()
    assert not connection.wants_to_write
    connection.reactor.clock.advance(0)
    connection.transport.write(b"never sent")
    assert not connection.wants_to_write
    assert connection.transport.bytes_sent == sent


def test_a_lost_connection_fails_all_files(connect: Connect, open_file: OpenFile) -> None:
    connection = connect(sndbuf=1)
    fd = open_file(CONTENT)
    sendings = [connection.send(fd, 0, len(CONTENT)), connection.send(fd, 0, 0)]
    connection.transport.write(b"between")
    sendings.append(connection.send(fd, 5, 5))
    connection.lose(main.CONNECTION_LOST)

    assert [[type(problem) for problem in sent] for sent in sendings] == [[ConnectionLost]] * 3
    assert connection.protocol.events == ["lost"]
    assert not connection.wants_to_write


def test_the_protocol_may_send_when_the_connection_is_lost(
    connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1)
    fd = open_file(CONTENT)
    outcomes: list[Any] = []
    sending = connection.transport.sendFile(fd, 0, len(CONTENT))
    sending.addErrback(lambda _: outcomes.append(connection.send(fd, 0, 1)))
    connection.lose(main.CONNECTION_LOST)
    assert isinstance(outcomes[0][0], ConnectionDone)


def test_an_aborted_unix_connection_ends(connect: Connect, open_file: OpenFile) -> None:
    connection = connect("unix", sndbuf=1)
    connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.abortConnection()
    connection.reactor.clock.advance(0)
    assert CONTENT.startswith(connection.read_to_end())


# TLS.


def test_no_file_is_sent_into_a_tls_stream(connect: Connect, open_file: OpenFile) -> None:
    connection = connect()
    assert direct(connection.transport) is connection.transport
    connection.transport.TLS = True
    with pytest.raises(RuntimeError, match="TLS"):
        connection.transport.sendFile(open_file(CONTENT), 0, 1)
    assert direct(connection.transport) is None
    connection.transport.TLS = False
    assert not connection.take()
