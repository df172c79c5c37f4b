"""A connection to a web server: requests go out, heads and bodies come in.

Imports `tcpdl` and the modules beside it. Blocking; for one thread at a time, but for `interrupt`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from tcpdl import __version__
from tcpdl.client.connect import connect
from tcpdl.client.errors import BadRequest, ConnectionBroken, Garbled
from tcpdl.client.http.response import Body, Head, HeadParser, Nonsense, body_of
from tcpdl.client.inlet import Inlet, round_trip
from tcpdl.client.receiving import broken, limit_waits
from tcpdl.client.url import join

INFORMATIONAL_MOST = 16
"""Answers that say that the answer is still to come."""

PIECE = 64 * 1024
"""Bytes read at a time where a head, or a line between chunks, is to come."""


class Connection:
    """A server, and a connection to it: a new one whenever the last cannot be used again.

    Use it as a context manager.
    """

    def __init__(self, host: str, port: int, timeout: float) -> None:
        """`timeout`, in seconds, bounds the connecting, and then every wait for more bytes.

        Nothing is connected before something is asked for.
        """
        self.host = host
        self.port = port
        self._timeout = timeout
        self._lock = threading.Lock()  # held to change the next four, and by other threads
        self._sock: socket.socket | None = None
        self._inlet: Inlet
        self._interrupted = False
        self._before = 0, 0.0  # on sockets that are closed
        self._rest = memoryview(b"")  # read, and not used
        self._body = Body(0)
        self._persists = False

    @property
    def received(self) -> int:
        """Bytes that came, heads included."""
        with self._lock:
            return self._before[0] + (self._inlet.received if self._sock else 0)

    @property
    def waited(self) -> float:
        """Seconds spent waiting for bodies, and taking them from the kernel."""
        with self._lock:
            return self._before[1] + (self._inlet.waited if self._sock else 0.0)

    @property
    def round_trip(self) -> float:
        """Seconds from here to the server and back."""
        return round_trip(self._sock) if self._sock else 0.1

    @property
    def body(self) -> Body:
        """That of the last answer."""
        return self._body

    def ask(self, target: str, fields: Iterable[tuple[str, str]] = ()) -> Head:
        """GET `target`, with these fields besides those that every request has; the answer's head.

        Raises `CannotConnect`; `ConnectionBroken`, `Garbled` if what comes makes no sense.
        """
        if not self._is_usable():
            self.close()
        self._persists = False
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {self._host()}",
            f"User-Agent: tcpdl/{__version__}",
            "Accept: */*",
            "Accept-Encoding: identity",
            *(f"{name}: {value}" for name, value in fields),
        ]
        request = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        sock = self._open()
        try:
            sock.sendall(request)
        except OSError as error:
            raise broken(error, self.received) from error
        try:
            head = self._head()
            self._body = body_of(head)
        except Nonsense as problem:
            raise nonsense(problem) from None
        self._persists = head.persists and not self._body.ends_with_connection
        return head

    def receive(self, view: memoryview) -> int:
        """Receive into `view` what comes next of the body; return how many bytes, 0 at its end.

        Raises `ConnectionBroken`, and `Garbled` if its framing makes no sense.
        """
        body = self._body
        while not body.left and not body.done:
            if not self._rest:
                self._rest = self._read() or self._ended()
            try:
                used = body.feed(bytes(self._rest))
            except Nonsense as problem:
                raise nonsense(problem) from None
            self._rest = self._rest[used:]
        if body.done:
            return 0
        if self._rest:
            count = min(len(view), len(self._rest), body.left)
            view[:count] = self._rest[:count]
            self._rest = self._rest[count:]
        else:
            count = self._inlet.read_run(view, body.left)
            if not count:
                if not body.ends_with_connection:
                    self._ended()
                body.done = True
        body.passed(count)
        return count

    def interrupt(self) -> None:
        """End it, from another thread: whoever waits on it gets `ConnectionBroken`."""
        with self._lock:
            self._interrupted = True
            if self._sock is not None:
                with suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            if self._sock is not None:
                received, waited = self._before
                self._before = received + self._inlet.received, waited + self._inlet.waited
                self._sock.close()
                self._sock = None
        self._rest = memoryview(b"")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_usable(self) -> bool:
        """Whether another request may be made on the connection that there is."""
        if self._sock is None or not self._persists or not self._body.done or self._rest:
            return False
        try:
            # It has ended; or what came belongs to no request, and must not be taken for an answer.
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def _open(self) -> socket.socket:
        if self._sock is not None:
            return self._sock
        sock = connect(self.host, self.port, self._timeout)
        limit_waits(sock, self._timeout)
        with self._lock:
            self._sock, self._inlet = sock, Inlet(sock)
            if self._interrupted:
                raise ConnectionBroken("nothing more is wanted")
        return sock

    def _head(self) -> Head:
        late = None
        data = self._rest
        for _ in range(INFORMATIONAL_MOST):
            parser = HeadParser()
            while True:
                data = data or self._read() or self._ended()
                if (head := parser.feed(data)) is not None:
                    break
                # One byte now and then is not silence, and yet no answer.
                late = late or time.monotonic() + self._timeout
                if time.monotonic() > late:
                    raise ConnectionBroken("the server does not come to the end of its answer")
                data = memoryview(b"")
            data = self._rest = memoryview(parser.rest)
            if head.status == 101 or head.status >= 600:
                raise Nonsense(f"a status of {head.status}")
            if head.status >= 200:
                return head
        raise Nonsense(f"{INFORMATIONAL_MOST} answers that say that the answer is to come")

    def _read(self) -> memoryview:
        view = memoryview(bytearray(PIECE))
        return view[: self._inlet.read(view)]

    def _ended(self) -> NoReturn:
        raise ConnectionBroken(f"the server ended the connection after {self.received} bytes")

    def _host(self) -> str:
        host = self.host.partition("%")[0]  # a zone means something on this machine only
        try:
            if not host.isascii():
                host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise BadRequest(f"{host!r} is not a host name") from None
        return host if self.port == 80 and ":" not in host else join(host, self.port)


def nonsense(problem: Exception) -> Garbled:
    """What to raise for an answer with this `problem`."""
    return Garbled(f"the server's answer makes no sense: {problem}")
