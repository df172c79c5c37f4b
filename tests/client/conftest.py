"""What the tests of the client share: servers that follow a script, pairs of sockets, guards."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import FrameType

import pytest

from tests.client import silence

SECONDS = 60.0
"""Longest wait for anything: a test that needs it all has failed, and must not hang."""

Script = Callable[[socket.socket], None]
"""What a server does with one connection; the connection is closed afterwards."""

Serve = Callable[..., int]
Run = Callable[[Callable[[], None]], None]
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(autouse=True)
def _fail_rather_than_hang() -> Iterator[None]:
    def hung(_number: int, _frame: FrameType | None) -> None:
        pytest.fail("blocked, and would be for good")

    previous = signal.signal(signal.SIGALRM, hung)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(autouse=True)
def _no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "recv_into", silence.patient(socket.socket.recv_into))


@pytest.fixture
def no_descriptor_leaks() -> Iterator[None]:
    """Fails the test if it leaves a descriptor open; ask for it before any other fixture."""
    before = _held()
    yield
    # There may be fewer: some may have been held by what the collector has found meanwhile, and
    # their numbers are given anew.
    assert _held().items() <= before.items()


def _held() -> dict[int, tuple[int, int]]:
    """The open descriptors, and what they lead to."""
    found = {}
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # the one that lists them
            status = os.fstat(number)
            found[number] = status.st_dev, status.st_ino
    return found


@pytest.fixture
def run(no_descriptor_leaks: None) -> Iterator[Run]:
    """Runs functions beside the test; what they raise fails the test."""
    started: list[Future[None]] = []
    with ThreadPoolExecutor() as pool:
        yield lambda function: started.append(pool.submit(function))
        for future in started:
            future.result(SECONDS)


@pytest.fixture
def serve(run: Run) -> Serve:
    """Starts a server on loopback that follows `script` on each connection; returns its port."""

    def start(script: Script, *, connections: int = 1, rcvbuf: int | None = None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(SECONDS)
        if rcvbuf is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        port: int = listener.getsockname()[1]

        def answer() -> None:
            with listener:
                for _ in range(connections):
                    sock, _ = listener.accept()
                    with sock:
                        sock.settimeout(SECONDS)
                        script(sock)

        run(answer)
        return port

    return start


@pytest.fixture
def tcp_pair(no_descriptor_leaks: None) -> Iterator[Pair]:
    """Two ends of a TCP connection, ours and the peer's."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ours = stack.enter_context(socket.create_connection(listener.getsockname(), SECONDS))
        peer, _ = listener.accept()
        stack.enter_context(peer).settimeout(SECONDS)
        ours.setblocking(True)
        yield ours, peer


@pytest.fixture
def refused(no_descriptor_leaks: None) -> Iterator[int]:
    """A port of 127.0.0.1 that nobody listens on, nor will while the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def reset() -> Script:
    """Ends a connection with a reset."""

    def abort(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    return abort


@pytest.fixture
def read_to_end() -> Callable[[socket.socket], bytes]:
    """Reads all that comes until the stream ends."""

    def read(sock: socket.socket) -> bytes:
        return b"".join(iter(lambda: sock.recv(65536), b""))

    return read
