"""A TLS server for tests, that hands on what it gets to a plain one behind it, and back."""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import threading
from contextlib import suppress

SECONDS = 60.0
PIECE = 64 * 1024


class TlsFront:
    """Takes connections under TLS, and makes one to the port behind for each."""

    def __init__(self, behind: int, context: ssl.SSLContext) -> None:
        self.context = context
        self.cuts: list[int] = []
        """For each connection in turn, after how many bytes to the client it ends: without the end
        that TLS has, and not reset either."""
        self.names: list[str | None] = []
        """Which names the clients asked for."""
        self.protocols: list[str | None] = []
        """What was agreed on."""
        self.connections = 0
        self.failure: BaseException | None = None
        self.threads: list[threading.Thread] = []
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        context.sni_callback = lambda _object, name, _context: self.names.append(name)
        self._start(self._accept)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            cut = self.cuts.pop(0) if self.cuts else 1 << 62
            self._start(self._serve, sock, cut)

    def _serve(self, sock: socket.socket, cut: int) -> None:
        try:
            with sock, suppress(OSError):  # whoever is behind, or the client, may go at any time
                sock.settimeout(SECONDS)
                with socket.create_connection(("127.0.0.1", self._behind), SECONDS) as behind:
                    _Pump(self, sock, behind, cut).run()
        except BaseException as error:  # noqa: BLE001 - the fixture raises it
            self.failure = error


class _Pump:
    def __init__(
        self, front: TlsFront, client: socket.socket, behind: socket.socket, cut: int
    ) -> None:
        self._front = front
        self._client = client
        self._behind = behind
        self._left = cut
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = front.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_up = False

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._client, selectors.EVENT_READ, self._from_client)
            was_up = False
            while selector.get_map():
                ready = selector.select(SECONDS)
                assert ready, "nothing happens any more"
                for key, _ in ready:
                    if not key.data():
                        selector.unregister(key.fileobj)
                if self._is_up and not was_up:
                    was_up = True
                    selector.register(self._behind, selectors.EVENT_READ, self._from_behind)

    def _from_client(self) -> bool:
        """Hand on what the client sends; false once that has ended."""
        data = self._client.recv(PIECE)
        if not data:
            self._behind.shutdown(socket.SHUT_WR)
            return False
        self._incoming.write(data)
        try:
            if not self._is_up:
                self._tls.do_handshake()
                self._is_up = True
                self._front.protocols.append(self._tls.selected_alpn_protocol())
            while plain := self._tls.read(PIECE):
                self._behind.sendall(plain)
        except ssl.SSLWantReadError:
            self._flush()
            return True
        except ssl.SSLError:
            self._flush()
            raise
        self._behind.shutdown(socket.SHUT_WR)  # it said that it sends no more
        return False

    def _from_behind(self) -> bool:
        try:
            data = self._behind.recv(PIECE)
        except ConnectionResetError:
            linger = struct.pack("ii", 1, 0)
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            raise
        if not data:
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
            self._client.shutdown(socket.SHUT_WR)
            return False
        self._tls.write(data[: self._left])
        self._flush()
        self._left -= len(data)
        if self._left <= 0:
            self._client.shutdown(socket.SHUT_WR)
            while self._client.recv(PIECE):
                pass
            raise OSError("cut off")
        return True

    def _flush(self) -> None:
        self._client.sendall(self._outgoing.read())
