"""Tests the whole daemon in a process of its own, under each kind of reactor, over real sockets."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECONDS = 60
"""After this long without a byte, a client gives up and its test fails."""

CONTENT = random.Random(8).randbytes(20_000_000)
REACTORS = ["epoll", "poll", "select", "asyncio"]


class Daemon:
    """A running daemon."""

    def __init__(self, root: Path, reactor: str, *options: str) -> None:
        self.root = root
        command = [sys.executable, "-m", "twisted", f"--reactor={reactor}", "--log-format=text"]
        self._process = subprocess.Popen(
            [*command, "tcpdl", f"--root={root}", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log: list[str] = []
        self._logged = threading.Condition()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._logged:
                self.log.append(line)
                self._logged.notify_all()

    def wait_for(self, pattern: str, times: int = 1) -> list[str]:
        """What the group in `pattern` matched in the log, once it has been there so often."""

        def found() -> list[str]:
            return [m[1] for line in self.log if (m := re.search(pattern, line))]

        with self._logged:
            if not self._logged.wait_for(lambda: len(found()) >= times, SECONDS):
                raise AssertionError(f"{pattern} not in {self.log}")
            return found()

    def port(self, what: str = "serving") -> int:
        return int(self.wait_for(rf"{what} .*on .*:(\d+)$")[0])

    def memory(self) -> int:
        """Bytes of memory that the process holds, and that are its own."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        match = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert match
        return int(match[1]) * 1024

    def stop(self) -> int:
        self._process.terminate()
        try:
            return self._process.wait(SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join(SECONDS)
            assert self._process.stdout is not None
            self._process.stdout.close()


Start = Callable[..., Daemon]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    (root / "large").write_bytes(CONTENT)
    (root / "small").write_bytes(b"small content")
    return root


@pytest.fixture(scope="module", params=REACTORS)
def daemon(request: pytest.FixtureRequest, root: Path) -> Iterator[Daemon]:
    """One daemon for many tests: each kind of reactor starts once."""
    options = ("--interface=127.0.0.1", "--port=0", "--echo-port=0")
    daemon = Daemon(root, request.param, *options)
    try:
        daemon.wait_for(r"(Starting reactor|SIGTERM)")
        yield daemon
    finally:
        status = daemon.stop()
    assert status == -signal.SIGTERM or status == 0
    assert not [line for line in daemon.log if "Traceback" in line or "#error" in line]


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Starts daemons with other options."""
    started: list[Daemon] = []

    def start(*options: str) -> Daemon:
        started.append(Daemon(root, "epoll", *options))
        return started[-1]

    yield start
    for daemon in started:
        daemon.stop()


def connect(port: int, *, rcvbuf: int | None = None) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(SECONDS)
    if rcvbuf is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.connect(("127.0.0.1", port))
    return sock


def read_all(sock: socket.socket) -> bytes:
    """All up to the end of the stream. Raises `ConnectionResetError` if that is a reset."""
    pieces = []
    while piece := sock.recv(1 << 18):
        pieces.append(piece)
    return b"".join(pieces)


def get(port: int, name: bytes) -> bytes:
    with connect(port) as sock:
        sock.sendall(name + b"\n")
        return read_all(sock)


def test_a_large_file(daemon: Daemon) -> None:
    assert get(daemon.port(), b"large") == CONTENT


def test_many_clients_at_once(daemon: Daemon) -> None:
    socks = [connect(daemon.port()) for _ in range(200)]
    for sock in socks:
        sock.sendall(b"small\n")
    for sock in socks:
        assert read_all(sock) == b"small content"
        sock.close()


def test_a_name_and_a_half_close(daemon: Daemon) -> None:
    with connect(daemon.port()) as sock:
        sock.sendall(b"large")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == CONTENT


def test_a_name_and_silence(daemon: Daemon) -> None:
    with connect(daemon.port()) as sock:
        sock.sendall(b"small")
        assert read_all(sock) == b"small content"


def test_no_bytes_and_a_clean_end(daemon: Daemon) -> None:
    assert get(daemon.port(), b"absent") == b""


def test_bytes_nobody_asked_for_cost_the_client_nothing(daemon: Daemon) -> None:
    """A server that closed with these unread would reset the connection, and truncate the file."""
    with connect(daemon.port(), rcvbuf=4096) as sock:
        sock.sendall(b"large\n" + b"not asked for\n" * 10_000)
        got = bytearray()
        while len(got) < len(CONTENT) - 100_000:
            got += sock.recv(65536)
        # Now the daemon has sent all, as far as it can tell.
        sock.sendall(b"nor this\n" * 10_000)
        assert got + read_all(sock) == CONTENT


def test_a_slow_reader(daemon: Daemon) -> None:
    with connect(daemon.port(), rcvbuf=4096) as sock:
        sock.sendall(b"large\n")
        got = b"".join(sock.recv(1000) for _ in range(1000))
        assert get(daemon.port(), b"small") == b"small content", "others are served meanwhile"
        assert got + read_all(sock) == CONTENT


def test_a_file_that_shrinks(daemon: Daemon) -> None:
    name = "shrinking"
    path = daemon.root / name
    path.write_bytes(CONTENT)
    with connect(daemon.port(), rcvbuf=4096) as sock:
        sock.sendall(name.encode() + b"\n")
        assert sock.recv(1000)
        os.truncate(path, 15_000_000)
        with pytest.raises(ConnectionResetError):
            read_all(sock)
    path.unlink()


def test_a_client_that_resets(daemon: Daemon) -> None:
    """It does no harm to anybody else."""
    for _ in range(20):
        sock = connect(daemon.port())
        sock.sendall(b"large\n")
        sock.recv(1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert get(daemon.port(), b"small") == b"small content"


def test_echo(daemon: Daemon) -> None:
    text = CONTENT[:5_000_000]
    with connect(daemon.port("echo")) as sock:
        sender = threading.Thread(target=sock.sendall, args=(text,))
        sender.start()
        got = b""
        while len(got) < len(text) and (piece := sock.recv(1 << 18)):
            got += piece
        sender.join(SECONDS)
        assert got == text
        sock.sendall(b"last words")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"last words"


def test_echo_to_a_client_that_never_reads(daemon: Daemon) -> None:
    """The daemon stops reading it, and holds a bounded part of what it sends."""
    with connect(daemon.port("echo"), rcvbuf=4096) as sock:
        sock.sendall(b"x")
        sock.recv(1)
        before = daemon.memory()
        sock.setblocking(False)
        left = 64_000_000
        stuck = 0
        while left and stuck < 3:
            try:
                left -= sock.send(CONTENT[: min(left, 1_000_000)])
                stuck = 0
            except BlockingIOError:
                stuck += 1
                # Another connection's answer shows that the daemon has turned meanwhile.
                assert get(daemon.port(), b"absent") == b""
        assert left, "the daemon read more than it could send"
        assert daemon.memory() - before < 8_000_000


def test_without_sendfile(start: Start) -> None:
    daemon = start("--interface=127.0.0.1", "--port=0", "--no-sendfile")
    assert get(daemon.port(), b"large") == CONTENT


def test_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    daemon = start(f"--listen=unix:{path}")
    daemon.wait_for(r"(starting on .*socket)")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(str(path))
        sock.sendall(b"large")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == CONTENT
    daemon.stop()
    assert not path.exists()


def test_endpoints(start: Start) -> None:
    endpoint = "--listen=tcp:0:interface=127.0.0.1"
    daemon = start(endpoint, endpoint, "--port=0", "--interface=127.0.0.1")
    ports = {int(port) for port in daemon.wait_for(r"starting on (\d+)", times=3)}
    assert daemon.port() in ports
    assert len(ports) == 3
    for port in ports:
        assert get(port, b"large") == CONTENT
