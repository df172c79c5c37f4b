"""Tests `client.raw`: what is sent for a name, and what is made of every way a server answers."""

from __future__ import annotations

import os
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcpdl.client.errors import (
    BadRequest,
    CannotConnect,
    CannotWrite,
    ConnectionBroken,
    NothingThere,
)
from tcpdl.client.raw import Reply
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire.names import MAX_NAME

if TYPE_CHECKING:
    from tests.client.conftest import Script, Serve

LONG = 20.0
Read = Callable[[socket.socket], bytes]


def ignore(_count: int) -> None:
    """Take no notice of progress."""


@pytest.fixture
def out(no_descriptor_leaks: None, tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def fetch(location: Location, out: int, timeout: float, progress: Callable[[int], None]) -> int:
    """Fetch a file; return its size."""
    with Reply(location, Ways(timeout=timeout)) as reply:
        return reply.copy(out, progress)


def content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def at(port: int, name: bytes = b"name") -> Location:
    return Location("127.0.0.1", port, name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"hello.txt",
            b"a/b/c",
            b"/etc/passwd",
            b"../up",
            b"a b",
            b" ",
            b"%2e",
            b"a\rb",
            b"\r\x1b",
        ),
        *(b"\xff\xfe", "下载文件.txt".encode(), "下载文件.txt".encode("gbk"), b"a" * MAX_NAME),
    ],
)
def test_name_is_sent_as_it_is(name: bytes, serve: Serve, out: int, read_to_end: Read) -> None:
    asked: list[bytes] = []

    def answer(sock: socket.socket) -> None:
        asked.append(read_to_end(sock))  # ends, because the client half-closes
        sock.sendall(b"hello")

    assert fetch(at(serve(answer), name), out, LONG, ignore) == 5
    assert asked == [name]  # and no line end
    assert content(out) == b"hello"


def test_file_comes_whole(serve: Serve, out: int, read_to_end: Read) -> None:
    data = os.urandom(3_000_000)
    counts: list[int] = []

    def answer(sock: socket.socket) -> None:
        read_to_end(sock)
        sock.sendall(data)

    assert fetch(at(serve(answer)), out, LONG, counts.append) == len(data)
    assert content(out) == data
    assert sum(counts) == len(data)


def test_answer_before_the_name_was_read(serve: Serve, out: int, read_to_end: Read) -> None:
    def answer(sock: socket.socket) -> None:
        sock.sendall(b"hello")
        read_to_end(sock)

    assert fetch(at(serve(answer)), out, LONG, ignore) == 5
    assert content(out) == b"hello"


def test_answer_that_looks_like_something_else(serve: Serve, out: int, read_to_end: Read) -> None:
    # The dialect has no errors and no headers: whatever comes is the file.
    text = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n\0\x1b[2J"

    def answer(sock: socket.socket) -> None:
        read_to_end(sock)
        sock.sendall(text)

    fetch(at(serve(answer)), out, LONG, ignore)
    assert content(out) == text


def test_no_bytes(serve: Serve, out: int, read_to_end: Read) -> None:
    port = serve(lambda sock: read_to_end(sock) and None)
    with pytest.raises(NothingThere, match=r"no file '\\x1b\[2J下', or it is empty"):
        fetch(at(port, "\x1b[2J下".encode()), out, LONG, ignore)
    assert content(out) == b""


@pytest.mark.parametrize("count", [0, 5])
def test_reset(count: int, serve: Serve, out: int, read_to_end: Read, reset: Script) -> None:
    written = threading.Event()

    def answer(sock: socket.socket) -> None:
        read_to_end(sock)
        sock.sendall(b"hello"[:count])
        assert not count or written.wait(LONG)
        reset(sock)

    port = serve(answer)
    with pytest.raises(ConnectionBroken, match=f"connection reset by peer after {count} bytes"):
        fetch(at(port), out, LONG, lambda _count: written.set())
    assert content(out) == b"hello"[:count]


def test_reset_before_the_name_was_read(serve: Serve, out: int, reset: Script) -> None:
    # Whether that is met while connecting, sending or receiving is up to the kernel.
    with pytest.raises(
        (CannotConnect, ConnectionBroken), match=r"reset by peer|broken pipe|not connected"
    ):
        fetch(at(serve(reset)), out, LONG, ignore)


@pytest.mark.parametrize("text", [b"", b"hello"])
def test_stall(text: bytes, serve: Serve, out: int, read_to_end: Read) -> None:
    done = threading.Event()

    def answer(sock: socket.socket) -> None:
        read_to_end(sock)
        sock.sendall(text)
        done.wait(LONG)

    port = serve(answer)
    try:
        with pytest.raises(ConnectionBroken, match=f"the server fell silent after {len(text)} b"):
            fetch(at(port), out, 0.1, ignore)
    finally:
        done.set()
    assert content(out) == text


def test_slow_is_not_stalled(serve: Serve, out: int, read_to_end: Read) -> None:
    # The limit is one of each wait, not of the whole.
    arrived = threading.Semaphore(0)

    def answer(sock: socket.socket) -> None:
        read_to_end(sock)
        for _ in range(300):
            sock.sendall(b"x")
            assert arrived.acquire(timeout=LONG)

    assert fetch(at(serve(answer)), out, LONG, lambda _count: arrived.release()) == 300


def test_endless_stream_fills_no_memory(serve: Serve, read_to_end: Read) -> None:
    pieces = 64

    def answer(sock: socket.socket) -> None:
        read_to_end(sock)
        data = bytes(1024 * 1024)
        for _ in range(pieces):
            sock.sendall(data)

    port = serve(answer)
    tracemalloc.start()
    try:
        with open(os.devnull, "wb") as null:
            received = fetch(at(port), null.fileno(), LONG, ignore)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert received == pieces * 1024 * 1024
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (b"", "names no file"),
        (b"a\nb", "cannot carry"),
        (b"\n", "cannot carry"),
        (b"hello.txt\n", "cannot carry"),
        (b"a\0b", "cannot carry"),
        (b"hello.txt\r", "cannot carry"),
        (b"hello.txt\r\n", "cannot carry"),
        (b"a" * (MAX_NAME + 1), "1025 bytes"),
    ],
)
def test_name_that_cannot_be_sent(name: bytes, complaint: str, out: int) -> None:
    # It is refused before anything else happens: here is a server that nobody connects to.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(BadRequest, match=complaint):
            fetch(at(listener.getsockname()[1], name), out, LONG, ignore)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_no_server(refused: int, out: int) -> None:
    with pytest.raises(CannotConnect, match="connection refused"):
        fetch(at(refused), out, LONG, ignore)


def test_output_that_nobody_reads(serve: Serve, read_to_end: Read) -> None:
    def answer(sock: socket.socket) -> None:
        read_to_end(sock)
        sock.sendall(b"hello")

    port = serve(answer)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(CannotWrite, match="nobody reads"):
            fetch(at(port), writer, LONG, ignore)
    finally:
        os.close(writer)


def test_progress_that_fails_closes_the_connection(
    serve: Serve, out: int, read_to_end: Read
) -> None:
    def answer(sock: socket.socket) -> None:
        read_to_end(sock)
        sock.sendall(b"hello")

    def interrupt(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(at(serve(answer)), out, LONG, interrupt)  # the guard against leaks does the rest
