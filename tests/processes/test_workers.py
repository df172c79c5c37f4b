"""Tests several processes that serve one port: real ones, for what the kernel does is the point."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemons import SECONDS, Daemon, daemon_of, until

REQUEST = b"GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
COMPLETE = r"(2) workers serve\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"content")
    (root / "large").write_bytes(os.urandom(12_000_000))
    return root


def workers(daemon: Daemon) -> list[int]:
    """Their process numbers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue  # it has just ended
            if int(parent) == daemon.process.pid and state != "Z":
                found.append(int(entry.name))
    return found


def ask(daemon: Daemon, name: bytes = b"file") -> socket.socket:
    sock = daemon.connect()
    sock.sendall(REQUEST % name)
    return sock


def answer(sock: socket.socket) -> bytes:
    """The body of the answer."""
    with sock:
        data = b""
        while piece := sock.recv(1 << 20):
            data += piece
    return data.partition(b"\r\n\r\n")[2]


def gone(pids: list[int]) -> bool:
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@contextmanager
def asking(daemon: Daemon) -> Iterator[list[object]]:
    """Clients that ask one after the other meanwhile; what they got."""
    got: list[object] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            try:
                got.append(answer(ask(daemon)))
            except OSError as error:
                got.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield got
    finally:
        over.set()
        for thread in threads:
            thread.join(SECONDS)


def test_who_waits_for_a_worker_that_dies_is_served_by_the_next(root: Path) -> None:
    with daemon_of(root, "--workers=2", "--max-rate-per-connection=4M") as daemon:
        daemon.log.wait_for(COMPLETE)
        before = workers(daemon)
        assert len(before) == 2
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        clients = [ask(daemon) for _ in range(40)]
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert [answer(client) for client in clients] == [b"content"] * 40
        assert len(set(workers(daemon)) - set(before)) == 2

        # A client of ours gets on, and what it gets is right.
        target = root.parent / "large"
        command = [sys.executable, "-m", "tcpdl", "get", f"{daemon.where}/large"]
        with subprocess.Popen([*command, "-o", str(target)], stderr=subprocess.DEVNULL) as client:
            until(lambda: [*root.parent.glob("large*")])
            for pid in workers(daemon):
                os.kill(pid, signal.SIGKILL)
            assert client.wait(SECONDS) == 0
        assert target.read_bytes() == (root / "large").read_bytes()


def test_workers_end_when_their_parent_is_killed(root: Path) -> None:
    with daemon_of(root, "--workers=2") as daemon:
        daemon.log.wait_for(COMPLETE)
        pids = workers(daemon)
        client = ask(daemon, b"large")  # who takes nothing keeps nobody
        daemon.process.kill()
        daemon.process.wait(SECONDS)
        until(lambda: gone(pids))
        client.close()


def test_a_reload_turns_nobody_away(root: Path) -> None:
    (root / ".hidden").write_bytes(b"secret")
    config = root.parent / "tcpdl.toml"
    config.write_text("workers = 2\n")
    with daemon_of(root, f"--config={config}") as daemon:
        daemon.log.wait_for(COMPLETE)
        assert answer(ask(daemon, b".hidden")) != b"secret"

        def reload(said: str, times: int = 1) -> None:
            daemon.process.send_signal(signal.SIGHUP)
            until(lambda: daemon.log.text.count(said) >= times)

        with asking(daemon) as got:
            config.write_text("workers = 2\nhidden = true\n")
            reload("in place of those before")
            config.write_text("workers = 2\nhiden = true\n")
            reload("hiden")
            config.write_text("workers = 3\nhidden = true\n")
            reload("in place of those before", 2)
        assert "workers: 2 -> 3 takes effect at a restart" in daemon.log.text
        assert "hidden: false -> true" in daemon.log.text
        assert set(got) == {b"content"}
        assert answer(ask(daemon, b".hidden")) == b"secret"


@pytest.mark.parametrize("twice", [False, True])
def test_at_the_end_clients_get_what_they_asked_for_unless_it_is_urgent(
    root: Path, twice: bool
) -> None:
    options = ("--workers=2", "--max-rate-per-connection=4M", "--drain=50")
    with daemon_of(root, *options) as daemon:
        daemon.log.wait_for(COMPLETE)
        pids = workers(daemon)
        with ask(daemon, b"large") as client:
            begun = client.recv(1)
            daemon.process.send_signal(signal.SIGTERM)
            until(_refused(daemon))
            if twice:
                daemon.process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionError):
                    answer(client)
            else:
                assert (begun + _rest(client)).endswith((root / "large").read_bytes())
        assert daemon.process.wait(SECONDS) == -signal.SIGTERM
        assert gone(pids)


def _rest(sock: socket.socket) -> bytes:
    with sock:
        data = b""
        while piece := sock.recv(1 << 20):
            data += piece
    return data


def _refused(daemon: Daemon) -> Callable[[], bool]:
    def refused() -> bool:
        try:
            daemon.connect().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was on its way when the socket was closed
            pass
        return False

    return refused
