"""Tests clients that leave at any moment, in any way: nothing of them is left behind."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tcpdl import digest
from tcpdl.wire import native
from tests.daemons import Daemon, daemon_of, until
from tests.faults.conftest import SIZE, bytes_of, encrypting
from tests.faults.fetching import RESET, SECONDS, TLS, WAYS, Fetch, anybody, fetch

TIMES = 12
CONNECTIONS = 10_000
GROWTH_MOST = 300 * CONNECTIONS
"""Bytes of memory: an object that is left behind by each connection takes more."""

PREFACE = native.preface(digest.AVAILABLE)
GET = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("peers") / "root"
    root.mkdir()
    (root / "large").write_bytes(bytes_of(SIZE))
    (root / "small").write_bytes(b"small")
    # Names that nothing ends are waited for.
    with daemon_of(root, *encrypting(root), "--quiet-period=60000") as running:
        # Its digests have been written by then, to a file that stays open.
        running.wait_until_settled("large")
        for way in WAYS:
            fetch(running.port, way, "large")
        yield running


@pytest.fixture
def base(daemon: Daemon) -> int:
    """Descriptors of the daemon when it has no client."""
    fetch(daemon.port, "native", "small")
    until(lambda: connections_of(daemon) == 0)
    return daemon.descriptors()


def connections_of(daemon: Daemon) -> int:
    """Connections that the daemon has a descriptor of."""
    mine = {link.name for link in sockets_of(daemon.process.pid)}
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    port = f"{daemon.port:04X}"
    return sum(row[1].endswith(f":{port}") and row[3] != "0A" and row[9] in mine for row in rows)


def sockets_of(pid: int) -> Iterator[Path]:
    """The numbers of the sockets of a process, as the names of paths."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = str(path.readlink())
            if target.startswith("socket:["):
                yield Path(target[len("socket:[") : -1])


def hello() -> bytes:
    """What a client of TLS says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        anybody().wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


HELLO = hello()

SAID = {
    "nothing": b"",
    "a beginning of a request": b"GE",
    "a beginning of a preface": PREFACE[:4],
    "a part of a name": b"sma",
    "a part of a request": GET[:-9],
    "a preface": PREFACE,
    "a part of a native request": PREFACE + native.encode(native.Get(1, b"large"))[:-3],
    "a part of a hello": HELLO[: len(HELLO) // 2],
    "a hello": HELLO,
    "a name": b"large\n",
    "a request": GET,
    "many requests": 5 * GET,
    "a native request": PREFACE + native.encode(native.Get(1, b"large")),
    "a name that is absent": b"absent\n",
    "a last request": LAST,
    "native nonsense": PREFACE + b"\xff" * 100,
    "nonsense": bytes(range(256)) * 8,
}


def close(sock: socket.socket) -> None:
    sock.close()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def half_close(sock: socket.socket) -> None:
    """End one side, and wait for the end of the other, which comes soon."""
    with sock, suppress(ConnectionError):
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 18):
            pass


def read_a_little(sock: socket.socket) -> None:
    """Wait until there is an answer, or none is to come, and reset."""
    with suppress(TimeoutError, ConnectionError):
        sock.settimeout(0.01)
        sock.recv(1)
    reset(sock)


@pytest.mark.parametrize("leave", [close, reset, half_close, read_a_little])
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_leaving(
    daemon: Daemon, base: int, said: bytes, leave: Callable[[socket.socket], None]
) -> None:
    for _ in range(TIMES):
        sock = socket.create_connection(("127.0.0.1", daemon.port), SECONDS)
        sock.sendall(said)
        leave(sock)
    until(lambda: daemon.descriptors() <= base)


@pytest.mark.parametrize("leave", [Fetch.reset, Fetch.finish])
@pytest.mark.parametrize("count", [1, SIZE // 2, SIZE])
def test_leaving_during_an_answer(
    daemon: Daemon, base: int, way: str, count: int, leave: Callable[[Fetch], object]
) -> None:
    for _ in range(3):
        with Fetch(daemon.port, way, "large") as download:
            download.read(count)
            leave(download)
    until(lambda: daemon.descriptors() <= base)


@pytest.mark.parametrize("way", [way for way in WAYS if way.endswith(TLS)])
def test_leaving_without_a_word_below_tls(daemon: Daemon, base: int, way: str) -> None:
    for _ in range(TIMES):
        sock = socket.create_connection(("127.0.0.1", daemon.port), SECONDS)
        sock = anybody().wrap_socket(sock)
        if way == "http+tls":
            sock.sendall(GET[:5])
        elif way == "native+tls":
            sock.sendall(PREFACE)
        sock.close()
    until(lambda: daemon.descriptors() <= base)


@pytest.mark.parametrize("leave", [close, reset])
def test_connections_that_come_and_go(
    daemon: Daemon, base: int, leave: Callable[[socket.socket], None]
) -> None:
    """They cost no memory, and nothing is said of them."""
    memory = log = 0
    for number in range(CONNECTIONS):
        if number == CONNECTIONS // 4:
            memory, log = daemon.memory(), len(daemon.log.text)
        leave(socket.create_connection(("127.0.0.1", daemon.port), SECONDS))
        if number % 100 == 99:  # those that are there at the same time cost something
            until(lambda: daemon.descriptors() <= base)
    assert daemon.memory() - memory < GROWTH_MOST
    assert len(daemon.log.text) - log < CONNECTIONS  # and that is about who came before


def test_who_never_reads(daemon: Daemon, base: int) -> None:
    """Each holds no more than its connection and its file."""
    said = [text for text in SAID.values() if text]
    socks = []
    for number in range(10 * len(said)):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", daemon.port))
        sock.sendall(said[number % len(said)])
        socks.append(sock)
    assert fetch(daemon.port, "native", "large").content
    assert daemon.descriptors() - base <= 2 * len(socks)
    for sock in socks:
        reset(sock)
    until(lambda: daemon.descriptors() <= base)
