"""Tests what a transport makes of each answer that sendfile(2) can give."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionLost

from tcpdl.server.outgoing import FileCutShort

if TYPE_CHECKING:
    from tests.server.conftest import Connect, Connection

OpenFile = Callable[[bytes], int]

CONTENT = random.Random(2).randbytes(300_000)


class Scripted:
    """A sendfile whose first answers are given; later ones are the kernel's.

    An answer is an error to raise, or the most that is sent of what was asked for.
    """

    def __init__(self, *answers: OSError | int) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[int, int]] = []

    def __call__(self, out: int, file: int, offset: int, count: int) -> int:
        self.asked.append((offset, count))
        answer = self._answers.pop(0) if self._answers else count
        if isinstance(answer, OSError):
            raise answer
        return os.sendfile(out, file, offset, min(answer, count)) if answer else 0


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def assert_reset(connection: Connection) -> None:
    """The connection was aborted: no writer, and a reset once the reactor turned."""
    assert not connection.wants_to_write
    assert not connection.wants_to_read
    connection.reactor.clock.advance(0)
    assert connection.protocol.events == ["lost"]
    assert connection.protocol.reason.check(ConnectionAborted)
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()


# The call is to be made again.


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINTR])
def test_try_again_at_first(number: int, connect: Connect, open_file: OpenFile) -> None:
    script = Scripted(error(number))
    connection = connect(sendfile=script)
    sent = connection.send(open_file(CONTENT), 0, len(CONTENT))

    assert sent == []
    assert connection.wants_to_write
    assert connection.drain() == CONTENT
    assert sent == [len(CONTENT)]
    assert script.asked[0] == script.asked[1]


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINTR])
def test_try_again_in_the_middle(number: int, connect: Connect, open_file: OpenFile) -> None:
    script = Scripted(1000, error(number), 1, error(number), error(number))
    connection = connect(sendfile=script)
    sent = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.write(b"after")

    assert connection.drain() == CONTENT + b"after"
    assert sent == [len(CONTENT)]
    assert [offset for offset, _ in script.asked[:6]] == [0, 1000, 1000, 1001, 1001, 1001]


def test_less_is_sent_than_was_asked_for(connect: Connect, open_file: OpenFile) -> None:
    script = Scripted(1, 2, 3, 4)
    connection = connect(sendfile=script)
    sent = connection.send(open_file(CONTENT), 5, 20)

    assert connection.transport.bytes_sent == 1
    connection.write_turn()
    assert connection.transport.bytes_sent == 3
    assert sent == []
    assert connection.drain() == CONTENT[5:25]
    assert script.asked == [(5, 20), (6, 19), (8, 17), (11, 14), (15, 10)]


# The call cannot be used.


@pytest.mark.parametrize(
    "number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSOCK, errno.EBUSY]
)
@pytest.mark.parametrize("before", [[], [700, 1]], ids=["at first", "later"])
def test_the_file_is_copied_where_sendfile_will_not(
    number: int, before: list[int], connect: Connect, open_file: OpenFile
) -> None:
    script = Scripted(*before, error(number))
    connection = connect(sendfile=script, sndbuf=1)
    sent = connection.send(open_file(CONTENT), 100, 40_000)
    connection.transport.write(b"after")

    assert connection.drain() == CONTENT[100:40_100] + b"after"
    assert sent == [40_000]
    assert len(script.asked) == len(before) + 1, "it is not asked again for this file"


def test_another_file_is_tried_anew(connect: Connect, open_file: OpenFile) -> None:
    """It may well be the file, and not the kernel, that does without."""
    script = Scripted(error(errno.EINVAL))
    connection = connect(sendfile=script)
    fd = open_file(CONTENT)
    connection.transport.sendFile(fd, 0, 10)
    connection.transport.sendFile(fd, 10, 10)
    assert connection.drain() == CONTENT[:20]
    assert script.asked == [(0, 10), (10, 10)]


# The file fails.


def test_a_file_that_ended_resets_the_connection(connect: Connect, open_file: OpenFile) -> None:
    connection = connect("tcp", sendfile=Scripted(1000, 0))
    sent = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.write(b"never sent")
    connection.write_turn()

    (problem,) = sent
    assert isinstance(problem, FileCutShort)
    assert (problem.sent, problem.count) == (1000, len(CONTENT))
    assert str(problem) == "1000 of 300000 bytes sent: the file became shorter"
    assert_reset(connection)


@pytest.mark.parametrize("first", [0, error(errno.EIO)], ids=["ended", "EIO"])
def test_a_file_that_fails_at_once_is_told_later(
    first: Any, connect: Connect, open_file: OpenFile
) -> None:
    """Not within `sendFile`: who calls it has not got its Deferred yet."""
    connection = connect("tcp", sendfile=Scripted(first, first))
    sent = connection.send(open_file(CONTENT), 0, len(CONTENT))
    assert sent == []

    connection.write_turn()
    assert isinstance(sent[0], FileCutShort)
    assert sent[0].sent == 0
    assert_reset(connection)


@pytest.mark.parametrize("number", [errno.EIO, errno.EOVERFLOW, errno.EBADF])
def test_a_file_that_cannot_be_read_resets_the_connection(
    number: int, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect("tcp", sendfile=Scripted(1000, error(number)))
    sent = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.write_turn()

    (problem,) = sent
    assert isinstance(problem, FileCutShort)
    assert str(problem) == f"1000 of 300000 bytes sent: {os.strerror(number)}"
    assert_reset(connection)


def test_a_copied_file_that_cannot_be_read_resets_the_connection(connect: Connect) -> None:
    """A folder can be opened, and fails when it is read."""
    connection = connect("tcp", sendfile=None)
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        sent = connection.send(folder, 0, 1)
        connection.write_turn()
    finally:
        os.close(folder)
    assert str(sent[0]) == f"0 of 1 bytes sent: {os.strerror(errno.EISDIR)}"
    assert_reset(connection)


@pytest.mark.parametrize("sendfile", [os.sendfile, None], ids=["sendfile", "copying"])
def test_a_file_shrinks_while_it_is_sent(
    sendfile: Any, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1, sendfile=sendfile)
    fd = open_file(CONTENT)
    sent = connection.send(fd, 0, len(CONTENT))
    assert 0 < connection.transport.bytes_sent < 200_000
    os.ftruncate(fd, 200_000)

    got = connection.drain()
    assert isinstance(sent[0], FileCutShort)
    assert sent[0].sent == len(got) == 200_000
    connection.reactor.clock.advance(0)
    assert connection.protocol.reason.check(ConnectionAborted)


@pytest.mark.parametrize("sendfile", [os.sendfile, None], ids=["sendfile", "copying"])
def test_a_file_grows_while_it_is_sent(
    sendfile: Any, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1, sendfile=sendfile)
    fd = open_file(CONTENT)
    sent = connection.send(fd, 0, len(CONTENT))
    connection.transport.write(b"after")
    os.pwrite(fd, b"grown" * 1000, len(CONTENT))

    assert connection.drain() == CONTENT + b"after"
    assert sent == [len(CONTENT)]


# The client fails.


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT])
@pytest.mark.parametrize("before", [[], [1000]], ids=["at first", "later"])
def test_a_client_that_went_away(
    number: int, before: list[int], connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sendfile=Scripted(*before, error(number), error(number)))
    fd = open_file(CONTENT)
    sent = connection.send(fd, 0, len(CONTENT))
    behind = connection.send(fd, 0, 1)
    assert connection.protocol.events == [], "the protocol is told by the reactor, not before"

    connection.write_turn()
    assert connection.protocol.events == ["lost"]
    for (problem,) in (sent, behind):
        assert isinstance(problem, ConnectionLost)


@pytest.mark.parametrize("sendfile", [os.sendfile, None], ids=["sendfile", "copying"])
def test_a_client_that_really_went_away(
    sendfile: Any, connect: Connect, open_file: OpenFile
) -> None:
    connection = connect(sndbuf=1, sendfile=sendfile)
    sent = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.peer.close()
    connection.write_turn()
    assert isinstance(sent[0], ConnectionLost)
    assert connection.protocol.events == ["lost"]


def test_write_meets_a_client_that_went_away(connect: Connect) -> None:
    connection = connect()
    connection.peer.close()
    connection.transport.write(b"lost")
    assert connection.protocol.events == [], "the protocol is told by the reactor, not before"
    connection.write_turn()
    assert connection.protocol.reason.check(ConnectionLost)
