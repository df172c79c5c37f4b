"""Send texts to an echo or text server and take its replies. Imports `client` and `wire`."""

from __future__ import annotations

import codecs
import os

from tcpdl.client.connect import connect
from tcpdl.client.errors import BadRequest, ConnectionBroken
from tcpdl.client.receiving import limit_waits

QUIET = 0.2
"""Seconds of silence that end a reply which is shorter than what was sent."""

LONGEST = 16 * 1024 * 1024
"""Longest reply taken, in bytes: a server that never stops must not fill our memory."""


class EchoClient:
    """A connection to a server that answers every text with one of its own."""

    def __init__(self, host: str, port: int, timeout: float, encoding: str) -> None:
        """Connect. `timeout` is in seconds, for connecting and for each reply to begin.

        Raises `BadRequest` for an unknown encoding, and `CannotConnect`.
        """
        try:
            "".encode(encoding)
        except (LookupError, UnicodeError):
            raise BadRequest(f"{encoding!r} is not a text encoding that Python knows") from None
        self._encoding = codecs.lookup(encoding).name
        self._timeout = timeout
        self._sock = connect(host, port, timeout)
        limit_waits(self._sock, timeout)

    def ask(self, text: str) -> str:
        """Send `text`; return the reply.

        A reply ends once it is as long as what was sent, as an echo is, or after a short
        silence, or with the connection. What cannot be decoded is shown as U+FFFD. Raises
        `BadRequest` for a text that the encoding cannot express, and `ConnectionBroken`.
        """
        try:
            message = text.encode(self._encoding)
        except UnicodeEncodeError as error:
            culprit = error.object[error.start]
            raise BadRequest(f"{self._encoding} cannot express {culprit!r}") from None
        if not message:
            return ""  # there is nothing to send, so nothing will come back
        reply = bytearray()
        sent = 0
        try:
            while sent < len(message) or len(reply) < len(message):
                if sent < len(message):
                    # Piece by piece, taking replies in between: an echo server stops reading
                    # while its own answer is not read.
                    piece = message[sent : sent + 16 * 1024]
                    self._sock.sendall(piece)
                    sent += len(piece)
                whole = sent == len(message)
                limit_waits(self._sock, QUIET if reply and whole else self._timeout)
                data = self._sock.recv(64 * 1024)
                if not data:
                    break
                reply += data
                if len(reply) > LONGEST:
                    raise ConnectionBroken(f"the reply has more than {LONGEST} bytes")
        except BlockingIOError:
            if not reply:
                raise ConnectionBroken(f"no reply within {self._timeout:g} s") from None
        except OSError as error:
            raise ConnectionBroken(os.strerror(error.errno or 0).lower()) from error
        if not reply:
            raise ConnectionBroken("the server closed the connection without a reply")
        return reply.decode(self._encoding, "replace")

    def close(self) -> None:
        """End the connection."""
        self._sock.close()

    def __enter__(self) -> EchoClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
