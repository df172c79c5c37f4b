"""Tests what no HTTP client should send, over real connections: whole, in pieces, byte by byte, and
between requests that are well formed.

Nothing of it is answered with a file, nor is anything that comes after it; the connection ends, and
the daemon goes on. That the parser refuses it, and as what, is tested in tests/web.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from tests.daemons import Daemon, assert_sound
from tests.programs.conftest import CANARY
from tests.programs.malformed import ALL, BROKEN_OFF, GOOD, SMUGGLED, Case, fields

LAST = b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HELLO = (200, b"hello\n")

ANSWERED = (b"GET /", b"HEAD /", b"OPTIONS /", b"OPTIONS *")
"""What begins a request that may be had. Anything else may be a name of the raw dialect, to one who
has seen a part of it only."""

TRICKLED_MOST = 2000
"""Bytes that are sent one by one; of what has more, each piece has so many that few are needed."""

PIECE = 997

STUCK_SECONDS = 15.0
"""After so much silence, a connection that should end is stuck. The others are not waited for."""


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def in_two(data: bytes) -> Iterator[bytes]:
    yield data[: len(data) // 2]
    yield data[len(data) // 2 :]


def trickled(data: bytes) -> Iterator[bytes]:
    size = 1 if len(data) <= TRICKLED_MOST else PIECE
    for start in range(0, len(data), size):
        yield data[start : start + size]


WAYS = [whole, in_two, trickled]


def told(daemon: Daemon, pieces: Iterator[bytes], *, leave: bool) -> bytes:
    """All that is answered until the connection ends, with or without an end from this side. Fails
    if it does not end."""
    with daemon.connect() as sock:
        sock.settimeout(STUCK_SECONDS)
        try:
            for piece in pieces:
                sock.sendall(piece)
            if leave:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has heard enough
        return read_to_end(sock)


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


HEAD = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]+\r\n((?:[A-Za-z-]+: [ -~]*\r\n)+)\r\n")
LENGTH = re.compile(rb"^Content-Length: ([0-9]+)\r$", re.MULTILINE)


def answers(data: bytes) -> list[tuple[int, bytes]]:
    """The statuses and bodies of `data`, which holds answers to GET and nothing else."""
    found = []
    at = 0
    while at < len(data):
        head = HEAD.match(data, at)
        assert head is not None, data[at : at + 200]
        (length,) = LENGTH.findall(head[2])
        at = head.end() + int(length)
        assert at <= len(data)
        found.append((int(head[1]), data[head.end() : at]))
    assert CANARY[:6] not in data
    return found


def taken_for_a_name(said: bytes) -> bool:
    """Whether this is what the raw dialect answers if there is no such file, or no name."""
    return not said or said.startswith(b"This is tcpdl")


@pytest.fixture(autouse=True)
def _daemon_goes_on(daemon: Daemon) -> Iterator[None]:
    """After each test, whatever was sent, the daemon answers, and met nothing unexpected."""
    yield
    assert answers(told(daemon, whole(GOOD + LAST), leave=False)) == [HELLO, HELLO]
    assert daemon.process.poll() is None
    assert_sound(daemon.log.text)


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_alone(daemon: Daemon, case: Case) -> None:
    """It is refused, and the connection ends without any help from the client."""
    for way in WAYS:
        said = told(daemon, way(case.data), leave=False)
        if case.data.startswith(ANSWERED) or not taken_for_a_name(said):
            ((status, body),) = answers(said)
            assert status in case.statuses, way
            assert body.endswith(b"\n")


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_between_good_ones(daemon: Daemon, case: Case) -> None:
    """What came before is answered, what comes after is not, whether or not the client leaves."""
    for way in WAYS:
        for leave in (False, True):
            stream = GOOD + case.data + SMUGGLED
            first, (status, _) = answers(told(daemon, way(stream), leave=leave))
            assert first == HELLO
            assert status in case.statuses, way


@pytest.mark.parametrize("data", BROKEN_OFF)
def test_what_was_broken_off(daemon: Daemon, data: bytes) -> None:
    """It is no request; at the most, the client is told so."""
    for way in WAYS:
        said = told(daemon, way(data), leave=True)
        if not taken_for_a_name(said):
            assert [status for status, _ in answers(said)] == [400]
        first, *more = answers(told(daemon, way(GOOD + data), leave=True))
        assert first == HELLO
        assert [status for status, _ in more] in ([], [400])


def test_many_at_once(daemon: Daemon) -> None:
    """Nobody waits for those who have not ended what they began."""
    begun = [daemon.connect() for _ in BROKEN_OFF]
    for sock, data in zip(begun, BROKEN_OFF, strict=True):
        sock.sendall(data)
    for case in ALL[::7]:
        told(daemon, whole(case.data), leave=False)
    assert answers(told(daemon, whole(LAST), leave=False)) == [HELLO]
    for sock in begun:
        sock.close()


def test_bodies_that_hold_requests(daemon: Daemon) -> None:
    """What is in a body of known length is no request, and what comes after it is one."""
    for way in WAYS:
        stream = fields(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) + LAST
        assert answers(told(daemon, way(stream), leave=False)) == [HELLO, HELLO]


def test_resets(daemon: Daemon) -> None:
    """Clients that vanish at any point."""
    for data in (*BROKEN_OFF, GOOD, GOOD * 50, b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n" * 3):
        sock = daemon.connect()
        sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
