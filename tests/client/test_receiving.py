"""Tests `client.receiving`: every byte of a stream reaches the output, whatever either one is."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tcpdl.client import receiving
from tcpdl.client.errors import CannotWrite, ConnectionBroken
from tcpdl.client.receiving import LOW_WATER, PIECE, limit_waits, receive_all, write_all

if TYPE_CHECKING:
    from tests.client.conftest import Pair, Run, Script

LARGE = os.urandom(1024 * 1024) * 20
"""More than any buffer on the way takes."""

SECONDS = 60.0


class Received:
    """Takes part as the progress: counts, and lets the peer wait for a count."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def __call__(self, count: int) -> None:
        assert count > 0
        with self._changed:
            self.count += count
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        """Wait until `count` bytes were written to the output."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, SECONDS)


@pytest.fixture
def received() -> Received:
    return Received()


@pytest.fixture(autouse=True, params=["splice", "copy"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is run both ways: through the kernel's pipe, and without `os.splice`."""
    if request.param == "copy":
        monkeypatch.delattr(os, "splice", raising=False)
    elif not hasattr(os, "splice"):
        pytest.skip("this Python has no os.splice")


@pytest.fixture
def out(no_descriptor_leaks: None, tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def read_all(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, 65536, PIECE, PIECE + 1])
def test_whole(size: int, tcp_pair: Pair, run: Run, out: int, received: Received) -> None:
    sock, peer = tcp_pair

    def send() -> None:
        peer.sendall(LARGE[:size])
        peer.shutdown(socket.SHUT_WR)

    run(send)
    assert receive_all(sock, out, received) == size
    assert content(out) == LARGE[:size]
    assert received.count == size


def test_large(tcp_pair: Pair, run: Run, out: int, received: Received) -> None:
    sock, peer = tcp_pair

    def send() -> None:
        peer.sendall(LARGE)
        peer.shutdown(socket.SHUT_WR)

    run(send)
    assert receive_all(sock, out, received) == len(LARGE)
    assert content(out) == LARGE
    assert received.count == len(LARGE)


def test_in_drips(tcp_pair: Pair, run: Run, out: int, received: Received) -> None:
    sock, peer = tcp_pair

    def send() -> None:
        for number in range(200):
            peer.sendall(bytes([number]))
            received.wait(number + 1)  # each has arrived before the next is sent
        peer.shutdown(socket.SHUT_WR)

    run(send)
    assert receive_all(sock, out, received) == 200
    assert content(out) == bytes(range(200))


def test_over_a_unix_socket(run: Run, out: int, received: Received) -> None:
    sock, peer = socket.socketpair()
    peer.settimeout(SECONDS)

    def send() -> None:
        with peer:
            peer.sendall(LARGE[: 3 * PIECE])

    with sock:
        run(send)
        assert receive_all(sock, out, received) == 3 * PIECE
    assert content(out) == LARGE[: 3 * PIECE]


def test_continues_where_the_output_stands(tcp_pair: Pair, out: int, received: Received) -> None:
    sock, peer = tcp_pair
    os.write(out, b"before ")
    peer.sendall(b"after")
    peer.shutdown(socket.SHUT_WR)
    assert receive_all(sock, out, received) == 5
    assert content(out) == b"before after"


def test_appends(tcp_pair: Pair, run: Run, tmp_path: Path, received: Received) -> None:
    # splice(2) refuses a file that is open for appending, which `>>` of a shell makes of stdout.
    sock, peer = tcp_pair
    path = tmp_path / "log"
    path.write_bytes(b"before ")

    def send() -> None:
        peer.sendall(LARGE)
        peer.shutdown(socket.SHUT_WR)

    run(send)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        assert receive_all(sock, fd, received) == len(LARGE)
    finally:
        os.close(fd)
    assert path.read_bytes() == b"before " + LARGE
    assert received.count == len(LARGE)


def test_into_a_pipe(tcp_pair: Pair, run: Run, received: Received) -> None:
    sock, peer = tcp_pair
    reader, writer = os.pipe()
    read: list[bytes] = []

    def send() -> None:
        peer.sendall(LARGE)
        peer.shutdown(socket.SHUT_WR)

    run(send)
    taker = threading.Thread(target=lambda: read.append(read_all(reader)))
    taker.start()
    try:
        assert receive_all(sock, writer, received) == len(LARGE)
    finally:
        os.close(writer)
        taker.join(SECONDS)
    assert read == [LARGE]


def test_into_a_socket(tcp_pair: Pair, received: Received) -> None:
    sock, peer = tcp_pair
    peer.sendall(b"hello")
    peer.shutdown(socket.SHUT_WR)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert receive_all(sock, ours.fileno(), received) == 5
        assert theirs.recv(100) == b"hello"


def test_into_nothing(tcp_pair: Pair, run: Run, received: Received) -> None:
    sock, peer = tcp_pair

    def send() -> None:
        peer.sendall(LARGE)
        peer.shutdown(socket.SHUT_WR)

    run(send)
    with open(os.devnull, "wb") as null:
        assert receive_all(sock, null.fileno(), received) == len(LARGE)
    assert received.count == len(LARGE)


@pytest.mark.parametrize("count", [0, 5, 3 * PIECE])
def test_reset(
    count: int, tcp_pair: Pair, run: Run, out: int, received: Received, reset: Script
) -> None:
    sock, peer = tcp_pair

    def send() -> None:
        peer.sendall(LARGE[:count])
        received.wait(count)
        reset(peer)

    run(send)
    with pytest.raises(ConnectionBroken, match=f"^connection reset by peer after {count} bytes$"):
        receive_all(sock, out, received)
    assert content(out) == LARGE[:count]  # what came is there


@pytest.mark.parametrize("text", [b"", b"begin"])
def test_silence(text: bytes, tcp_pair: Pair, out: int, received: Received) -> None:
    sock, peer = tcp_pair
    limit_waits(sock, 0.05)
    peer.sendall(text)
    with pytest.raises(ConnectionBroken, match=f"^the server fell silent after {len(text)} bytes$"):
        receive_all(sock, out, received)
    assert content(out) == text


def test_tail_of_a_fast_stream(
    tcp_pair: Pair, run: Run, out: int, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Taken to be fast, the stream wakes us for LOW_WATER bytes only: fewer must arrive as well.
    monkeypatch.setattr(receiving, "FAST", 0)
    sock, peer = tcp_pair
    limit_waits(sock, 0.2)

    def send() -> None:
        peer.sendall(LARGE[: 6 * PIECE])
        received.wait(6 * PIECE)
        peer.sendall(b"tail")

    run(send)
    with pytest.raises(ConnectionBroken, match=f"silent after {6 * PIECE + 4} bytes$"):
        receive_all(sock, out, received)
    assert content(out) == LARGE[: 6 * PIECE] + b"tail"


@pytest.mark.parametrize("size", [5, 3 * PIECE])
def test_nobody_reads_the_output(size: int, tcp_pair: Pair, run: Run, received: Received) -> None:
    sock, peer = tcp_pair

    def send() -> None:
        peer.sendall(LARGE[:size])
        peer.shutdown(socket.SHUT_WR)

    run(send)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(CannotWrite, match="nobody reads the output any more"):
            receive_all(sock, writer, received)
    finally:
        os.close(writer)
        while sock.recv(65536):  # lets the peer come to an end
            pass
    assert received.count == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_full_disk(tcp_pair: Pair, received: Received) -> None:
    sock, peer = tcp_pair
    peer.sendall(b"hello")
    peer.shutdown(socket.SHUT_WR)
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(CannotWrite) as raised:
        receive_all(sock, full.fileno(), received)
    assert str(raised.value) == "cannot write: no space left on device"
    assert received.count == 0


def test_output_that_may_not_be_written(tcp_pair: Pair, tmp_path: Path, received: Received) -> None:
    sock, peer = tcp_pair
    peer.sendall(b"hello")
    peer.shutdown(socket.SHUT_WR)
    (tmp_path / "read-only").touch()
    fd = os.open(tmp_path / "read-only", os.O_RDONLY)
    try:
        with pytest.raises(CannotWrite, match="bad file descriptor"):
            receive_all(sock, fd, received)
    finally:
        os.close(fd)


def test_write_all_writes_all(no_descriptor_leaks: None) -> None:
    reader, writer = os.pipe()
    read: list[bytes] = []
    taker = threading.Thread(target=lambda: read.append(read_all(reader)))
    taker.start()
    try:
        write_all(writer, LARGE[:PIECE])  # more than a pipe takes at once
    finally:
        os.close(writer)
        taker.join(SECONDS)
    assert read == [LARGE[:PIECE]]


def test_write_all_goes_on_after_a_part(out: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:2]))
    write_all(out, b"hello")
    assert content(out) == b"hello"


@pytest.mark.parametrize("seconds", [0.001, 0.25, 30.0, 86400.0])
def test_limits_of_waits(seconds: float, tcp_pair: Pair) -> None:
    sock, _ = tcp_pair
    limit_waits(sock, seconds)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        whole, micro = memoryview(sock.getsockopt(socket.SOL_SOCKET, option, 16)).cast("l")
        # The kernel rounds to its own ticks, and never to 0, which would mean for ever.
        assert whole + micro / 1_000_000 > 0
        assert abs(whole + micro / 1_000_000 - seconds) <= 0.01


@pytest.fixture
def pace(tcp_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, float], int]:
    """Tells of bytes that came within seconds; returns how many the socket then waits for."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(receiving, "time", SimpleNamespace(monotonic=lambda: clock.now))
    sock, _ = tcp_pair
    told = receiving._Pace(sock)

    def tell(count: int, seconds: float) -> int:
        clock.now += seconds
        told(count)
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    return tell


def test_slow_stream_wakes_us_for_every_byte(pace: Callable[[int, float], int]) -> None:
    assert [pace(PIECE, 1.0) for _ in range(20)] == [1] * 20


def test_small_file_wakes_us_for_every_byte(pace: Callable[[int, float], int]) -> None:
    assert [pace(PIECE, 0.0) for _ in range(3)] == [1] * 3


def test_fast_stream_waits_for_more_while_it_is_fast(pace: Callable[[int, float], int]) -> None:
    assert [pace(PIECE, 0.0) for _ in range(4)] == [1, 1, 1, LOW_WATER]
    assert [pace(PIECE, 0.0) for _ in range(8)] == [LOW_WATER] * 8
    assert [pace(PIECE, 1.0) for _ in range(4)] == [LOW_WATER] * 3 + [1]
    assert [pace(PIECE, 1.0) for _ in range(8)] == [1] * 8
    assert [pace(4 * PIECE, 0.001)] == [LOW_WATER]
