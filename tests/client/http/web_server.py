"""A web server for tests: honest, unless a test gets at what it answers."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from tcpdl.client.url import Location
from tests.client.silence import Hearing

SECONDS = 60.0
MODIFIED = "Sun, 13 Sep 2020 12:26:40 GMT"
MTIME = 1_600_000_000 * 10**9
NOW = "Mon, 14 Sep 2020 12:26:40 GMT"


class Ending(Enum):
    """What a server does with a connection in place of going on."""

    FIN = "end it"
    RESET = "reset it"
    STALL = "send nothing more, until the client has had enough"


class Asked(NamedTuple):
    """A request, as a hook is told of it."""

    connection: int
    """From 0, in the order of arrival."""
    number: int
    """From 0, over all connections."""
    target: str
    fields: dict[str, str]
    """By name, in lower case."""

    @property
    def range(self) -> tuple[int, int] | None:
        """From the first byte that is wanted to the one after the last, if it is a part."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.fields.get("range", ""))
        return (int(found[1]), int(found[2]) + 1) if found else None


Piece = bytes | Ending
Hook = Callable[[Asked], Iterable[Piece] | None]
"""From a request to all that is sent for it; `None` for the honest answer."""


class Page(NamedTuple):
    """A file that is served."""

    data: bytes
    etag: str = '"1"'
    modified: str = MODIFIED
    ranges: bool = True
    more: tuple[tuple[str, str], ...] = ()


def reply(status: str, *fields: tuple[str, object], body: bytes = b"") -> bytes:
    """An answer, its length with it unless another field says how it is framed."""
    framed = any(name.lower() in ("content-length", "transfer-encoding") for name, _ in fields)
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields)]
    if not framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(data: bytes, size: int = 1000) -> bytes:
    """`data` in chunks."""
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return (
        b"".join(b"%x;x=y\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nA: b\r\n\r\n"
    )


class WebServer:
    """Serves `pages` on any number of connections, each in a thread."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.hook: Hook | None = None
        self.cuts: list[tuple[int, Ending]] = []
        """For each connection in turn, after how many bytes it ends, and how."""
        self.asked: list[Asked] = []
        self.sent = 0
        self.connections = 0
        self.failure: BaseException | None = None
        self.threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._hearing = Hearing(self._listener)
        self._closed = False
        self._start(self._accept)

    def put(self, target: str, data: bytes, **more: object) -> Location:
        """Serve `data` at `target`."""
        self.pages[target] = Page(data, **more)  # type: ignore[arg-type]
        return self.at(target)

    def at(self, target: str) -> Location:
        """What is at `target`."""
        return Location("127.0.0.1", self.port, target[1:].partition("?")[0].encode(), target)

    @property
    def ranges(self) -> list[tuple[int, int] | None]:
        """What was asked for, request by request."""
        return [one.range for one in self.asked]

    def close(self) -> None:
        """End all connections and threads."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        self._hearing.close()
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def hang_up(self) -> None:
        """End all connections."""
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def honest(self, asked: Asked) -> bytes:
        """The answer that is right."""
        page = self.pages.get(asked.target)
        if page is None:
            return reply("404 Not Found", body=b"<h1>no</h1>")
        fields: list[tuple[str, object]] = [("Date", NOW), *page.more]
        if page.etag:
            fields.append(("ETag", page.etag))
        if page.modified:
            fields.append(("Last-Modified", page.modified))
        condition = asked.fields.get("if-range", page.etag)
        if page.ranges and asked.range and condition in (page.etag, page.modified):
            start, end = asked.range
            end = min(end, len(page.data))
            if start >= end:
                return reply("416 No", ("Content-Range", f"bytes */{len(page.data)}"))
            fields.append(("Content-Range", f"bytes {start}-{end - 1}/{len(page.data)}"))
            return reply("206 Partial Content", *fields, body=page.data[start:end])
        if page.ranges:
            fields.append(("Accept-Ranges", "bytes"))
        return reply("200 OK", *fields, body=page.data)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(SECONDS)
            with self._lock:
                self._open.add(sock)
                number, self.connections = self.connections, self.connections + 1
            cut = self.cuts[number] if number < len(self.cuts) else None
            self._start(self._serve, sock, number, cut)

    def _serve(self, sock: socket.socket, number: int, cut: tuple[int, Ending] | None) -> None:
        try:
            with sock, suppress(OSError):
                self._talk(sock, number, cut)
        except BaseException as error:  # noqa: BLE001 - the fixture raises it
            self.failure = error
        finally:
            with self._lock:
                self._open.discard(sock)

    def _talk(self, sock: socket.socket, number: int, cut: tuple[int, Ending] | None) -> None:
        data, left = b"", cut[0] if cut else 1 << 62
        while True:
            while b"\r\n\r\n" not in data:
                more = self._hearing.recv(sock)
                if not more:
                    return
                data += more
                if not data.startswith(b"G"):
                    sock.sendall(reply("400 Bad Request", ("Connection", "close"), body=b"what?"))
                    return
            head, _, data = data.partition(b"\r\n\r\n")
            asked = self._read(head, number)
            pieces = self.hook(asked) if self.hook else None
            for piece in [self.honest(asked)] if pieces is None else pieces:
                if isinstance(piece, Ending):
                    return self._end(sock, piece)
                with self._lock:
                    self.sent += min(left, len(piece))
                sock.sendall(piece[:left])
                left -= min(left, len(piece))
                if cut and not left:
                    return self._end(sock, cut[1])

    def _read(self, head: bytes, number: int) -> Asked:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        assert (method, version) == ("GET", "HTTP/1.1")
        fields = {}
        for line in lines:
            name, value = line.split(": ", 1)
            assert name.lower() not in fields
            fields[name.lower()] = value
        with self._lock:
            asked = Asked(number, len(self.asked), target, fields)
            self.asked.append(asked)
        return asked

    def _end(self, sock: socket.socket, how: Ending) -> None:
        if how is Ending.RESET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how is Ending.STALL:
            while self._hearing.recv(sock):
                pass
