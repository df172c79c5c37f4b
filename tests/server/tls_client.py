"""The other end of a connection that is encrypted, without a reactor."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

from tests.certificates import client_context
from tests.server.conftest import Connection


class TlsClient:
    """A client that speaks TLS over the peer's end of `connection`.

    What its context allows or asks for is `client_context`'s.
    """

    def __init__(self, connection: Connection, context: ssl.SSLContext | None = None) -> None:
        self.connection = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        context = context or client_context()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._fed = 0
        self.ended = False
        """The server has said, encrypted, that it sends no more."""

    @property
    def protocol(self) -> Any:
        return self.connection.protocol

    @property
    def transport(self) -> Any:
        return self.connection.transport

    @property
    def wire(self) -> bytes:
        """All that has come, as it was on the wire."""
        return self.connection.received

    def shake(self) -> TlsClient:
        """Do the handshake. Raises `ssl.SSLError`."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                before = self._fed
                self.flush()
                self._listen()
                if self._fed == before:
                    raise
        self.flush()
        return self

    def flush(self) -> None:
        """Send what is encrypted."""
        if self._outgoing.pending:
            self.connection.say(self._outgoing.read())

    def encrypt(self, data: bytes) -> bytes:
        """`data` as it goes over the wire, without sending it."""
        if data:
            self.tls.write(data)
        return self._outgoing.read()

    def say(self, data: bytes) -> None:
        self.connection.say(self.encrypt(data))

    def goodbye(self) -> bytes:
        """What says that the client sends no more, without sending it."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()

    def half_close(self) -> None:
        """Say that there is no more, and let the connection end there as well."""
        self.connection.say(self.goodbye())
        self.connection.half_close()

    def hear(self) -> bytes:
        """What the server has said since this was called last."""
        return self.decrypt(self.connection.drain())

    def decrypt(self, received: bytes) -> bytes:
        """The same, of all that has come over the wire."""
        self._incoming.write(received[self._fed :])
        self._fed = len(received)
        parts = []
        try:
            while part := self.tls.read(65536):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(parts)

    def _listen(self) -> None:
        received = self.connection.drain()
        self._incoming.write(received[self._fed :])
        self._fed = len(received)
