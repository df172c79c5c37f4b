"""The server's end of one TLS connection: bytes in, bytes out. Pure; imports `server.direct`.

It is OpenSSL by the standard library's `ssl`, between two buffers of memory. An `SSLSocket` would
read by itself, for as long as a client sends what is not for us: one that sent nothing but
KeyUpdates had it stay in a single read for good. Here it gets what one read brought, and no more.
It costs less time, too: what is encrypted in four records goes out in one call.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any

from tcpdl.server.direct import ClientCertificate

HELLO = 0x16
"""The first byte of a client that speaks TLS: the type of a record of the handshake."""

RECORD_MOST = 16 * 1024
"""Bytes of one record (RFC 8446, section 5.1)."""

WRITE_MOST = 64 * 1024
"""Bytes that are encrypted in one call: what a file is sent in. OpenSSL's buffer grows to hold
them, and never shrinks: a connection that was sent something long keeps 83 KiB, and not 41 as with
16 KiB a call, which takes a tenth longer (bench/tls.py)."""

IDLE_MOST = 64 * 1024
"""Bytes that may come in a row and bring nothing for us, and bytes that TLS itself may have us
answer on a connection: a record has less, and a client has no use for thousands of KeyUpdates."""


class TlsFailure(Exception):
    """The client and we do not understand each other; the text says why, in OpenSSL's words."""


class TlsSession:
    """What one connection needs to encrypt and decrypt."""

    established = False
    """The handshake is over."""

    ended = False
    """The client has said that it sends no more."""

    closed = False
    """We have."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._idle = 0
        self._answered = 0

    def feed(self, data: bytes) -> bytes:
        """Take what has come; return what it brought for us. Raises `TlsFailure`.

        In either case, what `take` returns is to be sent then.
        """
        self._incoming.write(data)
        try:
            if not self.established:
                self._tls.do_handshake()
                self.established = True
                return self._read() if self._incoming.pending else b""
            self._idle += len(data)
            found = self._read()
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            raise TlsFailure(_reason(error)) from None
        if found or self.ended:
            self._idle = 0
        self._answered += self._outgoing.pending
        if max(self._idle, self._answered) > IDLE_MOST:
            raise TlsFailure("it sends messages of TLS itself and little else")
        return found

    def take(self) -> bytes:
        """What TLS itself has to say, as it goes over the wire."""
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """`data` as it goes over the wire, after what went before; once the handshake is over."""
        if not self.established:
            raise RuntimeError("nothing can be sent before the TLS handshake is over")
        if len(data) <= WRITE_MOST:
            if data:
                self._tls.write(data)
            return self._outgoing.read()
        parts = []
        for at in range(0, len(data), WRITE_MOST):
            self._tls.write(memoryview(data)[at : at + WRITE_MOST])
            parts.append(self._outgoing.read())
        return b"".join(parts)

    def close(self) -> bytes:
        """What says, on the wire, that we send no more; nothing if it was said, or cannot be."""
        if self.closed or not self.established:
            return b""
        self.closed = True
        with suppress(ssl.SSLError):  # the client has not said so yet, and need not
            self._tls.unwrap()
        return self._outgoing.read()

    def client_certificate(self) -> ClientCertificate | None:
        """What the client has proven to be, once the handshake is over."""
        found: Any = self._tls.getpeercert()
        if not found:
            return None
        common = [value for part in found["subject"] for key, value in part if key == "commonName"]
        alternative = found.get("subjectAltName", ())
        return ClientCertificate(
            common[0] if len(common) == 1 else None,
            tuple(value for kind, value in alternative if kind == "DNS"),
            tuple(value for kind, value in alternative if kind == "email"),
        )

    def _read(self) -> bytes:
        parts = []
        try:
            while self._incoming.pending or self._tls.pending():
                part = self._tls.read(RECORD_MOST)
                if not part:
                    self.ended = True
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(parts)


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    words = (error.reason or "it is no TLS").replace("_", " ").lower()
    _, alert, said = words.partition(" alert ")
    return f"it says: {said}" if alert else words
