"""Tests a daemon to which more clients come than it has room for: processes and sockets."""

from __future__ import annotations

import contextlib
import http.client
import resource
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcpdl.client import fetch_bytes
from tcpdl.client.errors import ServerFailed
from tcpdl.server.busy import native_answer
from tcpdl.server.crowd import REFUSALS_MOST
from tcpdl.wire import native
from tests.daemons import SECONDS, Daemon, daemon_of

CONTENT = bytes(range(256)) * 2000
RAW = b"large\n"
HTTP = b"GET /large HTTP/1.0\r\nHost: here\r\n\r\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "large").write_bytes(CONTENT)
    (root / "small").write_bytes(b"small")
    return root


def descriptors(count: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


@contextlib.contextmanager
def connected(daemon: Daemon, count: int) -> Iterator[list[socket.socket]]:
    """So many connections, which need not be accepted yet."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(daemon.connect()) for _ in range(count)]


def served(sockets: list[socket.socket]) -> list[bytes]:
    """What comes on each of them until it ends. Raises if one is reset."""
    answers = [b""] * len(sockets)
    with selectors.DefaultSelector() as selector:
        for number, sock in enumerate(sockets):
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, number)
        while selector.get_map():
            ready = selector.select(SECONDS)
            assert ready, "nothing comes any more"
            for key, _ in ready:
                sock = sockets[key.data]
                data = sock.recv(65536)
                answers[key.data] += data
                if not data:
                    selector.unregister(sock)
                    sock.close()
    return answers


@pytest.mark.parametrize("request_", [RAW, HTTP], ids=["raw", "http"])
def test_few_descriptors_and_many_clients(request_: bytes, root: Path) -> None:
    """Nobody is accepted to be turned away: who comes too early waits, and is served."""
    with daemon_of(root, before=descriptors(64)) as daemon, connected(daemon, 200) as sockets:
        for sock in sockets:
            sock.sendall(request_)
        answers = served(sockets)
        assert [answer[-len(CONTENT) :] == CONTENT for answer in answers] == [True] * 200
        if request_ == HTTP:
            assert {answer.partition(b" 200 ")[0] for answer in answers} == {b"HTTP/1.1"}
        daemon.stop()
        assert "EMFILE" not in daemon.log.text
        assert "refused" not in daemon.log.text


def test_descriptors_are_enough_for_silent_clients(root: Path) -> None:
    """Those who are let in and say nothing keep others out for a minute, and no longer."""
    with contextlib.ExitStack() as stack:
        options = ("--request-seconds=1",)
        daemon = stack.enter_context(daemon_of(root, *options, before=descriptors(64)))
        stack.enter_context(connected(daemon, 20))
        (late,) = stack.enter_context(connected(daemon, 1))
        late.sendall(RAW)
        assert served([late]) == [CONTENT]


LIMIT = pytest.mark.parametrize(
    "option",
    ["--max-connections=3", "--max-connections-per-address=3", "--max-connections-per-network=3"],
)


@LIMIT
def test_who_comes_too_late_is_told(option: str, root: Path) -> None:
    with daemon_of(root, option, "--echo-port=0") as daemon, connected(daemon, 3) as sockets:
        for sock in sockets[:2]:
            sock.sendall(b"GET /small HTTP/1.1\r\nHost: here\r\n\r\n")
            assert b" 200 " in sock.recv(65536)
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=SECONDS)
        connection.request("GET", "/small")
        answer = connection.getresponse()
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Connection"] == "close"
        assert answer.read()
        connection.close()
        with connected(daemon, 1) as (raw,):
            raw.sendall(RAW)
            assert served([raw]) == [b""]
        echo = int(daemon.log.wait_for(r"echo on \S+:(\d+)\n"))
        with socket.create_connection(("127.0.0.1", echo), SECONDS) as sock:
            assert served([sock]) == [b""]
        with connected(daemon, 1) as (sock,):
            sock.sendall(native.preface(native.SHA256))
            assert served([sock]) == [native_answer()]
        sockets[2].close()
        assert daemon.log.wait_for(r"(127.0.0.1:\d+ was refused: .* 3 connections)")
        # The one that went has left its room: to the kernel that may take a moment to say.
        assert fetch_bytes(f"{daemon.where}/small") == b"small"


def test_refusals_themselves_are_few(root: Path) -> None:
    """Beyond them, connections are reset; and those who are in notice nothing."""
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(daemon_of(root, "--max-connections-per-address=1"))
        (first,) = stack.enter_context(connected(daemon, 1))
        told = resets = 0
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(2 * REFUSALS_MOST):
            try:
                sock = stack.enter_context(daemon.connect())
            except ConnectionResetError:
                resets += 1
            else:
                selector.register(sock, selectors.EVENT_READ)
        while told + resets < 2 * REFUSALS_MOST:
            for key, _ in selector.select(SECONDS):
                selector.unregister(key.fileobj)
                try:
                    told += not key.fileobj.recv(1)  # type: ignore[union-attr]
                except ConnectionResetError:
                    resets += 1
        assert told >= REFUSALS_MOST
        assert resets
        first.sendall(RAW)
        assert served([first]) == [CONTENT]


@pytest.mark.parametrize("rate", [20, 200])
def test_a_flood_of_connections(rate: int, root: Path) -> None:
    """They are served as fast as the daemon accepts, each of them."""
    with daemon_of(root, f"--max-accepts={rate}") as daemon, connected(daemon, 60) as sockets:
        for sock in sockets:
            sock.sendall(b"small\n")
        assert served(sockets) == [b"small"] * 60


def test_few_files_at_a_time(root: Path) -> None:
    """Who asks for another one is told to come again, in all dialects."""
    with open(root / "huge", "wb") as huge:
        huge.truncate(1 << 30)
    with daemon_of(root, "--max-files=2") as daemon, contextlib.ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", daemon.port))
            sock.sendall(b"huge\n")
            assert sock.recv(1)
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=SECONDS)
        for _ in range(2):
            connection.request("GET", "/small")
            answer = connection.getresponse()
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert b"too many files are open" in answer.read()
        connection.close()
        with connected(daemon, 1) as (raw,):
            raw.sendall(RAW)
            with pytest.raises(ConnectionResetError):
                served([raw])
        with pytest.raises(ServerFailed, match="too many files are open; ask again later"):
            fetch_bytes(f"{daemon.where}/small")
        stack.close()
        assert fetch_bytes(f"{daemon.where}/small") == b"small"


def test_running_transfers_end_though_all_room_is_taken(root: Path) -> None:
    with daemon_of(root, "--max-connections=2") as daemon, connected(daemon, 2) as sockets:
        for sock in sockets:
            sock.sendall(RAW)

        def bother() -> None:
            for _ in range(100):
                with contextlib.suppress(OSError), daemon.connect() as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.sendall(HTTP)

        thread = threading.Thread(target=bother)
        thread.start()
        try:
            assert served(sockets) == [CONTENT] * 2
        finally:
            thread.join()
