"""Clients that fetch one file, as slowly as a test wants it, and tell what came and how it ended.

One for each dialect. They check all that the dialect lets a client check: lengths, digests, seals.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import NamedTuple, Protocol
from urllib.parse import quote_from_bytes

from tcpdl import digest
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.native import Chunk, Digest, End, Error, FileInfo, Get

SECONDS = 60.0
"""How long a client waits for more bytes. A daemon gives up after 60."""

RESET = struct.pack("ii", 1, 0)
"""What SO_LINGER is to be for a close to be a reset."""


class How(Enum):
    """How a download came to its end."""

    WHOLE = "all came, as far as this dialect can tell"
    RESET = "the connection was reset"
    ERROR = "the server said why not"
    SHORT = "the connection ended cleanly before all had come"


class Outcome(NamedTuple):
    """What a download came to."""

    how: How
    content: bytes
    status: int
    """Of an answer over HTTP, or the code of a native error; else 0."""


class Answer(Protocol):
    """What is understood of an answer."""

    request: bytes
    content: bytearray
    whole: bool
    """All has come, and nothing else is to come."""
    status: int

    def feed(self, data: bytes) -> None: ...

    def ended(self) -> None:
        """The stream came to a clean end."""
        ...


class RawAnswer:
    """The bytes of the file; their end is that of the stream."""

    def __init__(self, name: bytes) -> None:
        self.request = name + b"\n"
        self.content = bytearray()
        self.whole = False
        self.status = 0

    def feed(self, data: bytes) -> None:
        self.content += data

    def ended(self) -> None:
        self.whole = True


class HttpAnswer:
    """A head that says how long the body is, and the body."""

    def __init__(self, name: bytes) -> None:
        lines = f"GET /{quote_from_bytes(name)} HTTP/1.1", "Host: localhost", "", ""
        self.request = "\r\n".join(lines).encode()
        self.content = bytearray()
        self.whole = False
        self.status = 0
        self.head = b""
        self._length = 0

    def feed(self, data: bytes) -> None:
        if not self.status:
            self.head += data
            head, found, data = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            self.head = head
            start, *lines = head.decode("latin-1").split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines)
            self.status = int(start.split(" ")[1])
            self._length = int(fields["Content-Length"])
        self.content += data
        assert len(self.content) <= self._length, "more than the head said"
        self.whole = len(self.content) == self._length

    def ended(self) -> None:
        pass


class Damaged(AssertionError):
    """A chunk has come that its digest is not of."""


class NativeAnswer:
    """Messages: what the file is, runs of its bytes, digests, an end or an error."""

    def __init__(self, name: bytes) -> None:
        self._get = native.encode(Get(1, name))
        self.request = native.preface(digest.AVAILABLE) + self._get
        self.content = bytearray()
        self.whole = False
        self.status = 0
        self._incoming = Incoming(State.ANSWER)
        self._info: FileInfo | None = None
        self._checked = 0

    def feed(self, data: bytes) -> None:
        self._incoming.feed(data)
        while True:
            self.content += self._incoming.take(self._incoming.payload)
            if self._incoming.payload or (message := self._incoming.next()) is None:
                return
            if isinstance(message, FileInfo):
                assert message.seal == self._digest(self._get, message.unsealed)
                self._info = message
            elif isinstance(message, Digest):
                self._check(message)
            elif isinstance(message, Error):
                self.status = message.code
            elif isinstance(message, End):
                assert self._info is not None
                assert len(self.content) == self._checked == self._info.size
                self.whole = True
            else:
                assert isinstance(message, Chunk), message

    def _check(self, message: Digest) -> None:
        """Assert that a digest is that of what came. A server sends none that may be another's."""
        assert self._info is not None
        start = message.chunk << self._info.chunk_shift
        assert start == self._checked
        self._checked = min(start + (1 << self._info.chunk_shift), self._info.size)
        run = memoryview(self.content)[start : self._checked]
        if message.digest != self._digest(run):
            raise Damaged(f"chunk {message.chunk}")

    def _digest(self, *parts: bytes | memoryview) -> bytes:
        return digest.digest(self._incoming.digests, *parts)

    def ended(self) -> None:
        pass


DIALECTS: dict[str, Callable[[bytes], Answer]] = {
    "raw": RawAnswer,
    "native": NativeAnswer,
    "http": HttpAnswer,
}


TLS = "+tls"

WAYS = (*DIALECTS, *(dialect + TLS for dialect in DIALECTS))
"""The dialects, as they are and under TLS."""


def anybody() -> ssl.SSLContext:
    """TLS with whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Fetch:
    """A download that goes on only when it is told to."""

    def __init__(
        self, port: int, way: str, name: bytes | str, *, buffer: int | None = 16384
    ) -> None:
        """Ask for `name`, over a connection whose receive `buffer` has so many bytes."""
        name = name if isinstance(name, bytes) else name.encode()
        answer = DIALECTS[way.removesuffix(TLS)](name)
        self.request = answer.request
        self.answer: Answer = answer
        self.sock: socket.socket = socket.socket()
        self.sock.settimeout(SECONDS)
        if buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            self.sock.connect(("127.0.0.1", port))
            if way.endswith(TLS):
                # An end that the other side did not announce is none.
                self.sock = anybody().wrap_socket(self.sock, suppress_ragged_eofs=False)
            self.sock.sendall(self.request)
        except BaseException:
            self.sock.close()
            raise

    def read(self, count: int) -> None:
        """Receive until `count` bytes of the file have come."""
        while len(self.answer.content) < count:
            data = self.sock.recv(4096)
            assert data, f"an end after {len(self.answer.content)} bytes"
            self.answer.feed(data)

    def finish(self) -> Outcome:
        """Receive all that still comes, and close."""
        with self.sock:
            how = self._finish()
        return Outcome(how, bytes(self.answer.content), self.answer.status)

    def _finish(self) -> How:
        with suppress(ConnectionResetError, ssl.SSLEOFError):
            while not self.answer.whole:
                data = self.sock.recv(1 << 18)
                if not data:
                    self.answer.ended()
                    return How.WHOLE if self.answer.whole else How.SHORT
                self.answer.feed(data)
                if isinstance(self.answer, NativeAnswer) and self.answer.status:
                    return How.ERROR
            if isinstance(self.answer, HttpAnswer) and self.answer.status != 200:
                return How.ERROR
            return How.WHOLE
        return How.RESET

    def reset(self) -> None:
        """Close in the rudest way."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    def __enter__(self) -> Fetch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()


def fetch(port: int, way: str, name: bytes | str) -> Outcome:
    """All of a file, or how that came to nothing."""
    return Fetch(port, way, name, buffer=None).finish()
