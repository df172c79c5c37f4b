"""What stands between clients and a daemon: it counts bytes, and does something at one of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.daemons import SECONDS
from tests.faults.fetching import RESET


def size_of(path: Path) -> int:
    """Bytes that have been written to a file, which may have holes, or not be there yet."""
    return path.stat().st_blocks * 512 if path.exists() else 0


class Between:
    """Between clients and a daemon: counts what it passes on, and does something at some byte."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.passed = 0
        """Bytes that went to clients."""
        self._at = 0
        self._do: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def at(self, count: int, do: Callable[[], None]) -> None:
        """Call `do` when `count` bytes have been passed on."""
        self._at, self._do = count, do

    def __enter__(self) -> Between:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(SECONDS)

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket() as server:
            try:
                server.connect(("127.0.0.1", self.target))
                asking = threading.Thread(target=self._ask, args=(client, server))
                asking.start()
                try:
                    while data := server.recv(65536):
                        client.sendall(data)
                        self._count(len(data))
                    client.shutdown(socket.SHUT_WR)
                finally:
                    with suppress(OSError):
                        client.shutdown(socket.SHUT_RD)
                    asking.join()
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _count(self, count: int) -> None:
        with self._lock:
            self.passed += count
            do = self._do if self.passed >= self._at else None
            if do is not None:
                self._do = None
                do()
