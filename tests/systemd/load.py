"""Clients that keep a daemon busy until they are told to stop, and what became of them: a program.

    python -m tests.systemd.load PORT FILE SHA256

Prints `busy` once each client has been served, and, when it gets SIGTERM, the counts as JSON.
"""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tcpdl.client.api import fetch
from tcpdl.client.errors import ClientError

DOWNLOADS = 4


class Clients:
    """Of one daemon; each is a thread."""

    def __init__(self, port: int, name: str, digest: str) -> None:
        self._port = port
        self._name = name
        self._digest = digest
        self._over = threading.Event()
        self._counting = threading.Lock()
        self.counts = {"downloads": 0, "failed": 0, "connections": 0, "refused": 0}
        self.problems: list[str] = []

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        work = [self._download] * DOWNLOADS + [self._connect]
        threads = [threading.Thread(target=self._again, args=[one]) for one in work]
        for thread in threads:
            thread.start()
        while self.counts["downloads"] < DOWNLOADS and not self._over.wait(0.01):
            pass
        print("busy", flush=True)
        for thread in threads:
            thread.join()

    def _again(self, work: Callable[[], None]) -> None:
        while not self._over.is_set():
            work()

    def _count(self, what: str, problem: object = None) -> None:
        with self._counting:
            self.counts[what] += 1
            if problem is not None:
                self.problems.append(f"{what}: {problem}")

    def _download(self) -> None:
        """Fetch the file as `tcpdl get` does, which comes again when it is cut off."""
        with TemporaryDirectory() as folder:
            path = Path(folder, "file")
            try:
                fetch(f"tcpdl://127.0.0.1:{self._port}/{self._name}", path)
            except (ClientError, OSError) as error:
                self._count("failed", error)
                return
            if hashlib.sha256(path.read_bytes()).hexdigest() != self._digest:
                self._count("failed", "other bytes")
                return
            self._count("downloads")

    def _connect(self) -> None:
        """Connect, which fails if nobody listens at the moment, and say nothing."""
        try:
            socket.create_connection(("127.0.0.1", self._port), 30).close()
            self._count("connections")
        except OSError as error:
            self._count("refused", error)
        self._over.wait(0.002)


def main(port: str, name: str, digest: str) -> None:
    clients = Clients(int(port), name, digest)
    signal.signal(signal.SIGTERM, lambda *_: clients.stop())
    clients.run()
    print(json.dumps({**clients.counts, "problems": clients.problems[:5]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
