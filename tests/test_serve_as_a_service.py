"""Tests `tcpdl serve` as a service manager starts it: with a socket, and told of by messages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.daemons import SECONDS, Log

PROJECT = Path(__file__).resolve().parent.parent

START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
out = os.fstat(1)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="files",
    JOURNAL_STREAM=f"{out.st_dev}:{out.st_ino}", WATCHDOG_USEC="500000")
os.execv(sys.executable, [sys.executable, "-m", "tcpdl", "serve", *sys.argv[2:]])
"""
"""Becomes the daemon, with its socket as descriptor 3."""


def test_from_its_start_to_its_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_text("content")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as sock,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(SECONDS)
        sock.set_inheritable(True)

        def told(what: str) -> None:
            while not (message := manager.recv(4096)).startswith(what.encode()):
                assert message == b"WATCHDOG=1"

        with subprocess.Popen(
            [sys.executable, "-c", START, str(sock.fileno()), str(root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "PYTHONPATH": str(PROJECT),
            },
            cwd=tmp_path,
            pass_fds=[sock.fileno()],
        ) as process:
            log = Log(process)
            try:
                told("READY=1")
                port = sock.getsockname()[1]
                url = f"http://127.0.0.1:{port}/file"
                with urllib.request.urlopen(url, timeout=SECONDS) as answer:
                    assert answer.read() == b"content"
                process.send_signal(signal.SIGHUP)
                told("RELOADING=1\nMONOTONIC_USEC=")
                told("READY=1")
                told("WATCHDOG=1")
                process.send_signal(signal.SIGTERM)
                told("STOPPING=1")
                assert process.wait(SECONDS) == 0
            finally:
                process.kill()
                log.join()
    assert f"127.0.0.1:{port}" in log.text  # where it serves, for the journal
    assert "Ctrl-C" not in log.text  # and nothing for a person at a terminal
