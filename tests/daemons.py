"""Daemons in processes of their own, for tests that need a real one."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

SECONDS = 60.0
"""How long anything may take before it is taken for stuck."""


def until(condition: Callable[[], object]) -> None:
    """Return once `condition` holds, which another process brings about without telling."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.005)


class Log:
    """What a program prints, read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._text = b""
        self._ended = False
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while data := os.read(self._stream.fileno(), 65536):
            with self._more:
                self._text += data
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    @property
    def text(self) -> str:
        with self._more:
            return self._text.decode("utf-8", "replace")

    def wait_for(self, pattern: str) -> str:
        """The first group of `pattern`, once the text holds it."""
        with self._more:
            self._more.wait_for(
                lambda: self._ended or re.search(pattern, self._text.decode("utf-8", "replace")),
                SECONDS,
            )
        found = re.search(pattern, self.text)
        assert found is not None, f"no {pattern!r} in {self.text}"
        return found[1]

    def join(self) -> None:
        self._thread.join(SECONDS)


class Answered(NamedTuple):
    """A line of the daemon's log about an answer."""

    peer: str
    method: str
    target: str
    """Without escapes."""
    status: int
    sent: int
    """Bytes of the body."""


_ANSWERED = re.compile(
    r"sent=(?P<sent>\d+) seconds=\S+ client=(?P<client>\S+) port=(?P<port>\d+) \S+ \S+ \S+ "
    r'method=(?P<method>[A-Z]+) status=(?P<status>\d+) name="(?P<name>(?:[^"\\]|\\.)*)"'
)


class Daemon(NamedTuple):
    """A daemon that runs, and what it serves."""

    root: Path
    port: int
    log: Log
    process: subprocess.Popen[bytes]

    @property
    def where(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.where}"

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self) -> int:
        """Bytes of memory that it holds, and that are its own."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def stop(self) -> list[Answered]:
        """Stop it as an administrator does; returns what it has answered."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == -signal.SIGTERM  # twistd passes it on to itself
        self.log.join()
        return [
            Answered(
                f"{found['client']}:{found['port']}",
                found["method"],
                unquote(found["name"]),
                int(found["status"]),
                int(found["sent"]),
            )
            for found in _ANSWERED.finditer(self.log.text)
        ]

    def wait_until_settled(self, name: str) -> None:
        """Wait until the daemon tells this file's versions apart for certain, which takes some
        seconds after it was written: only then may a client continue what it began."""
        deadline = time.monotonic() + SECONDS
        request = urllib.request.Request(f"{self.url}/{name}", method="HEAD")
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            etag = answer.headers["ETag"]
        while etag.startswith("W/"):
            assert time.monotonic() < deadline
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                etag = answer.headers["ETag"]


@contextmanager
def daemon_of(
    root: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
    twistd: Sequence[str] = (),
) -> Iterator[Daemon]:
    """A daemon that serves `root`. Asserts in the end that nothing in it went wrong.

    `env` is added to its environment, and it calls `before` before it becomes the daemon. `twistd`
    are options of that program.
    """
    program = str(Path(sys.executable).with_name("twistd"))
    options = ("--port=0", "--interface=127.0.0.1", f"--root={root}", *options)
    with subprocess.Popen(
        [program, "-n", "--pidfile=", *twistd, "tcpdl", *options],
        cwd=root.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(env or {})},
        preexec_fn=before,
    ) as process:
        log = Log(process)
        try:
            port = int(log.wait_for(r"serving .* on \S+:(\d+)\n"))
            daemon = Daemon(root, port, log, process)
            yield daemon
            if process.returncode is None:
                daemon.stop()
            assert_sound(log.text)
        finally:
            process.kill()
            log.join()


def assert_sound(log: str) -> None:
    """Assert that the daemon met nothing that it did not expect, and that its log can be read."""
    assert all(line.lstrip("\t").isprintable() for line in log.split("\n")), log
    assert "Traceback" not in log, log
    assert "nexpected error" not in log, log
