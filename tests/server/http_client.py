"""The other end of a connection that speaks HTTP, and a server for it without a reactor.

What the server says is taken apart strictly: a byte too many or too few is an error.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.content.mounts import Mounts
from tcpdl.server.admission import Admission
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.http import HttpFactory
from tcpdl.server.http_answers import HttpAnswers
from tests.server.conftest import Connect, Connection, move
from tests.server.native_client import Work


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it a minute later, so that files that were just written have settled."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 60 * 10**9)


def outlast(path: Path) -> None:
    """Return once a change of the file at `path` would bear another stamp than its last."""
    ctime = path.stat().st_ctime_ns
    clock = path.parents[1] / "clock"
    while True:  # until the clock that the kernel stamps with has ticked
        clock.touch()
        if clock.stat().st_ctime_ns > ctime:
            return


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    fields: dict[str, str]
    """By lower-case names; none comes twice."""
    body: bytes

    def __getitem__(self, name: str) -> str:
        return self.fields[name]

    def get(self, name: str) -> str | None:
        return self.fields.get(name)

    @property
    def steady(self) -> dict[str, str]:
        """The fields, but for the time."""
        return {name: value for name, value in self.fields.items() if name != "date"}


def get(target: str | bytes, *fields: str, method: str = "GET", minor: int = 1) -> bytes:
    """A request."""
    if isinstance(target, str):
        target = target.encode("latin-1")
    lines = "".join(f"{line}\r\n" for line in ("Host: files.example:8080", *fields))
    head = b"%b %b HTTP/1.%d\r\n" % (method.encode(), target, minor)
    return head + lines.encode("latin-1") + b"\r\n"


class Replies:
    """Takes apart what a server says."""

    def __init__(self) -> None:
        self._buffer = b""
        self.methods: deque[str] = deque()
        """Of the requests that are still to be answered."""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def rest(self) -> bytes:
        """What is no whole answer."""
        return self._buffer

    def next(self, *, ended: bool) -> Reply | None:
        """The next answer, if it is whole; if the stream has `ended`, that ends a body too."""
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        start, *lines = head.decode("latin-1").split("\r\n")
        version, status, reason = start.split(" ", 2)
        assert version == "HTTP/1.1"
        assert reason
        fields: dict[str, str] = {}
        for name, value in (line.split(": ", 1) for line in lines):
            if name == "WWW-Authenticate" and name.lower() in fields:
                value = f"{fields[name.lower()]}, {value}"
            else:
                assert name.lower() not in fields, head
            fields[name.lower()] = value
        assert fields["server"] == "tcpdl"
        assert fields["date"].endswith(" GMT")
        method = self.methods[0] if self.methods else "GET"
        if method == "HEAD" or status in ("204", "304"):
            body: bytes | None = b""
            length = 0
        elif "transfer-encoding" in fields:
            assert fields["transfer-encoding"] == "chunked"
            assert "content-length" not in fields
            body, length = _chunked(rest)
        elif "content-length" in fields:
            length = int(fields["content-length"])
            body = rest[:length] if len(rest) >= length else None
        else:
            assert fields["connection"] == "close"
            body, length = (rest, len(rest)) if ended else (None, 0)
        if body is None:
            return None
        if self.methods:
            self.methods.popleft()
        self._buffer = rest[length:]
        return Reply(int(status), fields, body)


def _chunked(data: bytes) -> tuple[bytes | None, int]:
    """The body that is so encoded, if it is whole, and how many bytes it takes."""
    body, at = b"", 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None, 0
        size = int(data[at:end], 16)
        at = end + 2
        if len(data) < at + size + 2:
            return None, 0
        assert data[at + size : at + size + 2] == b"\r\n"
        body += data[at : at + size]
        at += size + 2
        if not size:
            return body, at


class Client:
    """A client, and the connection it is on."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.protocol: Any = connection.protocol
        self._replies = Replies()
        self._fed = 0

    def say(self, *requests: bytes) -> None:
        """Send all of this in one piece."""
        self._replies.methods += [request.split(b" ")[0].decode() for request in requests]
        self.connection.say(b"".join(requests))

    def push(self, data: bytes) -> int:
        """Send as much of `data` as is taken without anything being read; returns how much."""
        connection, at = self.connection, 0
        while True:
            while connection.wants_to_read and select.select([connection.transport], [], [], 0)[0]:
                connection.read_turn()
            if at == len(data):
                return at
            try:
                at += connection.peer.send(data[at : at + 65536], socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not connection.wants_to_read:
                    return at

    def take(self) -> bytes:
        """All that the server says until it is done, however many turns that takes it."""
        connection = self.connection
        while True:
            count = len(connection.drain())
            if connection.transport._aborted:
                break  # who wants to know asks `was_reset`
            connection.reactor.clock.advance(0)
            self.push(b"")  # what the server had left unread until it had answered some
            if len(connection.drain()) == count:
                break
        return connection.received

    def hear(self) -> list[Reply]:
        """The answers that have come since this was called last."""
        received = self.take()
        self._replies.feed(received[self._fed :])
        self._fed = len(received)
        found = []
        while (reply := self._replies.next(ended=self.connection.ended)) is not None:
            found.append(reply)
        return found

    def ask(self, *requests: bytes) -> list[Reply]:
        self.say(*requests)
        return self.hear()

    def fetch(
        self, target: str | bytes, *fields: str, method: str = "GET", minor: int = 1
    ) -> Reply:
        """The answer to one request; there must be nothing else."""
        (reply,) = self.ask(get(target, *fields, method=method, minor=minor))
        assert self.rest == b""
        return reply

    @property
    def rest(self) -> bytes:
        """What has come of an answer that is not whole."""
        return self._replies.rest

    @property
    def ended(self) -> bool:
        """The server ended the stream."""
        self.take()
        return self.connection.ended

    @property
    def was_reset(self) -> bool:
        """The server has reset the connection. Only sockets of TCP tell."""
        self.connection.reactor.clock.advance(0)
        if self.connection.transport.connected:
            return False
        try:
            self.connection.read_to_end()
        except ConnectionResetError:
            return True
        return False


class HttpServer:
    """A folder, and connections that speak HTTP for it on a clock moved by hand."""

    def __init__(
        self,
        root: Path,
        connect: Connect,
        *,
        hidden: bool = False,
        content: Directory | Mounts | None = None,
        admit: Callable[[Any], Admission] | None = None,
        **options: Any,
    ) -> None:
        """`content` is what is served instead; `admit` makes, of this, what says who may read
        what."""
        self.root = root
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.directory = content or Directory(root, hidden=hidden)
        self.digests = Digests(None)
        self.work = Work()
        workers: Any = self.work
        self.admission = admit(self) if admit is not None else None
        self.answers = HttpAnswers(
            self.directory, self.digests, workers, admission=self.admission, **options
        )
        self.factory = HttpFactory(self.answers, self.deadlines)
        self._connect = connect

    def connect(self, kind: str = "pair", **options: Any) -> Client:
        protocol = self.factory.buildProtocol(None)
        return Client(self._connect(kind, protocol=protocol, clock=self.clock, **options))

    def wait(self, seconds: float) -> None:
        move(self.clock, seconds)

    def close(self) -> None:
        self.work.release()
        self.directory.close()
