"""Send texts to an echo or text server and take its replies. Imports `client`."""

from __future__ import annotations

import codecs
import os
import select

from tcpdl.client.connect import connect
from tcpdl.client.errors import BadRequest, ConnectionBroken

QUIET = 0.2
"""Seconds of silence that end a reply which is shorter than what was sent."""

SHORT = 16 * 1024
"""Bytes of text that an echo brings back in one go. A longer one that falls silent half-way is
not taken for a reply."""

LONGEST = 16 * 1024 * 1024
"""Longest reply taken, in bytes: a server that never stops must not fill our memory."""

_PIECE = 64 * 1024


class EchoClient:
    """A connection to a server that answers every text with one of its own."""

    def __init__(self, host: str, port: int, timeout: float, encoding: str) -> None:
        """Connect. `timeout` is in seconds, for connecting and for each reply to begin.

        Raises `BadRequest` for an unknown encoding, and `CannotConnect`.
        """
        try:
            "".encode(encoding)
            self._encoding = codecs.lookup(encoding).name
        except (LookupError, UnicodeError, ValueError):
            raise BadRequest(f"{encoding!r} is not a text encoding that Python knows") from None
        try:
            b"?".decode(self._encoding, "replace")
            self._errors = "replace"
        except UnicodeError:  # a few encodings, such as idna, replace nothing
            self._errors = "strict"
        self._timeout = timeout
        self._sock = connect(host, port, timeout)
        self._sock.setblocking(False)

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
        except UnicodeError as error:
            raise BadRequest(f"{self._encoding} cannot express the text: {error}") from None
        try:
            reply = self._exchange(message)
        except OSError as error:
            raise ConnectionBroken(os.strerror(error.errno or 0).lower()) from error
        try:
            return reply.decode(self._encoding, self._errors)
        except UnicodeError as error:
            raise ConnectionBroken(f"the reply is no {self._encoding}: {error}") from None

    def close(self) -> None:
        """End the connection."""
        self._sock.close()

    def __enter__(self) -> EchoClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, message: bytes) -> bytes:
        """Send and receive at once: an echo reads no further while its answers are not read."""
        reply = bytearray()
        left = memoryview(message)
        while left or len(reply) < len(message):
            echoed = len(message) > SHORT and message.startswith(reply)
            done = reply and not left and not echoed
            ready = self._wait(bool(left), QUIET if done else self._timeout)
            if not ready:
                if done:
                    break
                what = f"no more than {len(reply)} bytes of a reply" if reply else "no reply"
                raise ConnectionBroken(f"{what} within {self._timeout:g} s")
            if ready & select.POLLOUT:
                left = left[self._sock.send(left[:_PIECE]) :]
            if ready & ~select.POLLOUT:
                data = self._sock.recv(_PIECE)
                if not data:
                    break
                reply += data
                if len(reply) > LONGEST:
                    raise ConnectionBroken(f"the reply has more than {LONGEST} bytes")
        if message and not reply:
            raise ConnectionBroken("the server closed the connection without a reply")
        return bytes(reply)

    def _wait(self, writing: bool, seconds: float) -> int:
        """Wait until the socket is ready; return for what, in the flags of poll(2)."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | (select.POLLOUT if writing else 0))
        return sum(event for _, event in poll.poll(seconds * 1000))
