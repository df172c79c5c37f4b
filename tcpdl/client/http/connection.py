"""A connection to a web server: requests go out, heads and bodies come in.

Imports `tcpdl` and the modules beside it. Blocking; for one thread at a time, but for `interrupt`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import NoReturn

from tcpdl import __version__
from tcpdl.client.errors import BadRequest, ConnectionBroken, Garbled, Silent
from tcpdl.client.http.response import Body, Head, HeadParser, Nonsense, body_of
from tcpdl.client.line import SPEAKS_TLS, TLS_BEGINS, Line
from tcpdl.client.url import HTTP_PORT, HTTPS_PORT, Location, join
from tcpdl.client.ways import Ways

INFORMATIONAL_MOST = 16
"""Answers that say that the answer is still to come."""

PIECE = 64 * 1024
"""Bytes read at a time where a head, or a line between chunks, is to come."""

FRAMING = 64
"""Bytes that are looked at for what stands between two chunks: seldom are there more."""


class Connection(Line):
    """A server, and a connection to it: a new one whenever the last cannot be used again.

    Use it as a context manager. Nothing is connected before `open`, or before something is asked
    for.
    """

    protocols = ("http/1.1",)

    def __init__(self, place: Location, ways: Ways, *, address: str = "") -> None:
        super().__init__(place, ways, address=address)
        self._rest = memoryview(b"")  # read, and not used
        self._body = Body(0)
        self._persists = False

    @property
    def body(self) -> Body:
        """That of the last answer."""
        return self._body

    def ask(self, target: str, fields: Iterable[tuple[str, str]] = ()) -> Head:
        """GET `target`, with these fields besides those that every request has; the answer's head.

        Raises `CannotConnect`; `ConnectionBroken`, `Garbled` if what comes makes no sense;
        `BadRequest` if the login must not be sent there.
        """
        self.open()
        self._persists = False
        login = self.login
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {self._host()}",
            f"User-Agent: tcpdl/{__version__}",
            "Accept: */*",
            "Accept-Encoding: identity",
            *(f"{name}: {value}" for name, value in fields),
            *(() if login is None else (f"Authorization: {login.authorization}",)),
        ]
        request = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self._send(request)
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
        body, count = self._body, 0
        while True:
            # Of what was read already, as much as there is room for: chunks may be tiny.
            while not body.left and not body.done and (self._rest or not count):
                self._rest = self._rest or self._read() or self._ended()
                try:
                    used = body.feed(bytes(self._rest[:FRAMING]))
                except Nonsense as problem:
                    raise nonsense(problem) from None
                self._rest = self._rest[used:]
            piece = self._rest[: min(len(view) - count, body.left)]
            if not piece:
                break
            view[count : count + len(piece)] = piece
            self._rest = self._rest[len(piece) :]
            body.passed(len(piece))
            count += len(piece)
        if count or body.done:
            return count
        if body.ends_with_connection:  # nobody knows how much is to come: so what came is taken
            count = self._inlet.read(view)
            body.done = not count
        else:
            count = self._inlet.read_run(view, body.left) or self._ended()
        body.passed(count)
        return count

    def open(self) -> None:
        """Be connected, so that something can be asked for. Raises `CannotConnect`."""
        if not self._is_usable():
            self.close()
            super().open()
            self._persists, self._body = True, Body(0)

    def close(self) -> None:
        """End the connection."""
        super().close()
        self._persists = False
        self._rest = memoryview(b"")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_usable(self) -> bool:
        """Whether another request may be made on the connection that there is."""
        if self._sock is None or not self._persists or not self._body.done or self._rest:
            return False
        if self._tls is not None:
            return self._tls.is_quiet
        try:
            # It has ended; or what came belongs to no request, and must not be taken for an answer.
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def _head(self) -> Head:
        late = None
        data = self._rest
        for _ in range(INFORMATIONAL_MOST):
            parser = HeadParser()
            while True:
                data = data or self._read() or self._ended()
                if not self._tls and data[:2] == TLS_BEGINS:
                    raise BadRequest(SPEAKS_TLS)
                if (head := parser.feed(data)) is not None:
                    break
                # One byte now and then is not silence, and yet no answer.
                late = late or time.monotonic() + self._timeout
                if time.monotonic() > late:
                    raise Silent("the server does not come to the end of its answer")
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
        place = self.place
        host = place.host.partition("%")[0]  # a zone means something on this machine only
        try:
            if not host.isascii():
                host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise BadRequest(f"{host!r} is not a host name") from None
        usual = place.port == (HTTPS_PORT if place.tls else HTTP_PORT)
        return host if usual and ":" not in host else join(host, place.port)


def nonsense(problem: Exception) -> Garbled:
    """What to raise for an answer with this `problem`."""
    return Garbled(f"the server's answer makes no sense: {problem}")
