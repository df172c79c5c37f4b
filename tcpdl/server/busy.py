"""What is said to a client for whose connection there is no room: to come again later.

Imports `wire`, `web` and the modules beside it. It is said in the client's own dialect, and takes
no file, no thread and nothing that is kept. How long that may take, `server.accepting` sees to.
"""

from __future__ import annotations

import time

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from tcpdl.server.deadlines import Deadlines
from tcpdl.server.lingering import LingeringProtocol
from tcpdl.web import fields
from tcpdl.wire import native
from tcpdl.wire.recognise import http_began, native_preface, tls_began

SILENT_SECONDS = 2.0
"""How long it is waited for what tells the dialect."""

RETRY_SECONDS = 5
"""After which an HTTP client is told to come again, also for what cannot be opened now."""

SENTENCE = "the server has no room for another connection now"

_TLS_ALERT = bytes.fromhex("15 0303 0002 02 50")  # fatal, an internal error: RFC 8446, section 6


class Busy(LingeringProtocol):
    """One connection that is refused."""

    def __init__(self, deadlines: Deadlines, *, speaks: bool) -> None:
        """If the port `speaks` our dialects, the client is answered in its own."""
        super().__init__(deadlines)
        self._speaks = speaks
        self._head: bytes | None = b""

    def connectionMade(self) -> None:
        if self._speaks:
            self.deadlines.set(self, SILENT_SECONDS)
        else:
            self._say(b"")

    def dataReceived(self, data: bytes) -> None:
        if self._head is None:
            self.discard(data)
            return
        self._head += data
        is_native, is_http = native_preface(self._head), http_began(self._head)
        if is_native:
            self._say(native_answer())
        elif is_http:
            self._say(http_answer(is_head=self._head.startswith(b"HEAD ")))
        elif tls_began(self._head):
            self._say(_TLS_ALERT)
        elif is_native is False and is_http is False:
            self._say(b"")

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        if self._head is not None:
            self._say(b"")

    def overdue(self) -> None:
        if self._head is not None:
            self._say(b"")
        else:
            super().overdue()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._head = None
        super().connectionLost(reason)

    def _say(self, text: bytes) -> None:
        self._head = None
        if text:
            self.transport.write(text)
        self.finish()


def native_answer() -> bytes:
    """In the native dialect. It needs nothing that the client has said."""
    error = native.Error(0, native.BUSY, SENTENCE)
    return native.preface(0) + native.encode(error)


def http_answer(*, is_head: bool) -> bytes:
    """To any request over HTTP."""
    body = f"{SENTENCE}\n".encode("ascii")
    lines = (
        f"HTTP/1.1 503 {fields.REASONS[503]}",
        f"Date: {fields.http_date(int(time.time()))}",
        "Server: tcpdl",
        "Connection: close",
        f"Retry-After: {RETRY_SECONDS}",
        "Content-Type: text/plain; charset=utf-8",
        "X-Content-Type-Options: nosniff",
        f"Content-Length: {len(body)}",
    )
    head = "".join(f"{line}\r\n" for line in lines).encode("ascii") + b"\r\n"
    return head if is_head else head + body
