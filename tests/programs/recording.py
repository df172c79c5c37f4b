"""A proxy that keeps what it passes on, both ways."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType

from tests.daemons import SECONDS


class Recording:
    """Passes connections on to a port of loopback while it is entered."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.said: list[bytearray] = []
        """By clients, a buffer for each connection."""
        self.answered: list[bytearray] = []
        """To them."""
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)

    def __enter__(self) -> Recording:
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in (self._accepting, *self._threads):
            thread.join(SECONDS)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass_on, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._to), SECONDS)
        said, answered = bytearray(), bytearray()
        self.said.append(said)
        self.answered.append(answered)
        with client, server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, (server, said))
            selector.register(server, selectors.EVENT_READ, (client, answered))
            while selector.get_map():
                for key, _ in selector.select(SECONDS):
                    source: socket.socket = key.fileobj  # type: ignore[assignment]
                    target, kept = key.data
                    try:
                        data = source.recv(1 << 16)
                        kept += data
                        if data:
                            target.sendall(data)
                        else:
                            target.shutdown(socket.SHUT_WR)
                    except OSError:
                        return  # one side was reset: so is the other
                    if not data:
                        selector.unregister(source)
