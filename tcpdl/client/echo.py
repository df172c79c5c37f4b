"""Send texts to an echo or text server and take its replies. Imports `client`."""

from __future__ import annotations

import codecs
import os
import select

from tcpdl.client.connect import connect
from tcpdl.client.errors import BadRequest, ConnectionBroken

QUIET = 0.2
"""Seconds of silence that end a reply which is shorter than what was sent."""

PAUSE = 2.0
"""The same while the reply is the beginning of what was sent: it may be an echo on its way."""

SHORT = 16 * 1024
"""Bytes of a text whose echo is not broken off for longer. Half of a longer one is no reply."""

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

        A reply ends once it equals what was sent, as an echo does, or after a short silence, or
        with the connection. What cannot be decoded is shown as U+FFFD. Raises
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
        while reply != message:
            wait = self._timeout
            if reply and not left:
                if not message.startswith(reply):
                    wait = QUIET
                elif len(message) <= SHORT:
                    wait = min(PAUSE, wait)
            ready = self._wait(bool(left), wait)
            if not ready:
                if reply and not left and wait < self._timeout:
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
