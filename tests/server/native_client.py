"""The other end of a connection in the native dialect, and threads that work when they are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tcpdl import digest
from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.server.answers import PACKS_MOST
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.native import NativeFactory
from tcpdl.server.pools import Pool
from tcpdl.server.unreadable import Unreadable
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.login import Login
from tcpdl.wire.native import SHA256, DigestList, FileInfo, Request
from tests.server.conftest import Connect, Connection, move

HELLO = native.preface(SHA256)


class Work:
    """Stands for the threads: does jobs at once, or, if it is to `hold` them, when it is told."""

    def __init__(self) -> None:
        self.jobs: deque[Callable[[], None]] = deque()
        self.hold = False
        self.waiting = 0
        self.tell: list[Callable[[], None]] = []

    def run(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()

        def job() -> None:
            try:
                found = work(*args)
            except Exception:  # noqa: BLE001 - as a thread's, it is the Deferred's
                done.errback(Failure())
            else:
                done.callback(found)

        self.jobs.append(job)
        if not self.hold:
            self.release()
        return done

    def when_more_wait(self, tell: Callable[[], None]) -> None:
        self.tell.append(tell)

    def release(self, most: int = 1 << 30) -> None:
        """Do the jobs that wait, and those that come of them; `most` at most."""
        while self.jobs and most:
            most -= 1
            self.jobs.popleft()()


class Client:
    """A client, and the connection it is on."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.protocol: Any = connection.protocol
        self._heard = Incoming(State.ANSWER)
        self._fed = 0

    def say(self, *parts: bytes | Request | Login) -> None:
        said = (part if isinstance(part, bytes) else native.encode(part) for part in parts)
        self.connection.say(b"".join(said))

    def hear(self) -> list[Any]:
        """What the server has said since this was called last: messages, and bytes for runs."""
        received = self._drain()
        self._heard.feed(received[self._fed :])
        self._fed = len(received)
        parts: list[Any] = []
        while True:
            if self._heard.payload:
                parts.append(self._heard.take(self._heard.payload))
            if self._heard.payload or not (message := self._heard.next()):
                return parts
            parts.append(message)

    def _drain(self) -> bytes:
        """All that the server has said, the turns that it waits for included."""
        before, received = None, self.connection.drain()
        while received != before:
            self.connection.reactor.clock.advance(0)
            before, received = received, self.connection.drain()
        return received

    def ask(self, *requests: Request) -> list[Any]:
        self.say(*requests)
        return self.hear()

    @property
    def ended(self) -> bool:
        """The server ended the stream."""
        self._drain()
        return self.connection.ended

    @property
    def chosen(self) -> int:
        """The digest that the server chose."""
        return self._heard.digests


class NativeServer:
    """A folder, and connections that speak the native dialect for it on a clock moved by hand."""

    def __init__(self, root: Path, connect: Connect) -> None:
        self.root = root
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.directory = Directory(root)
        self.digests = Digests(None)
        self.work = Work()
        self.unreadable = Unreadable()
        self.packs = Pool(PACKS_MOST)
        self._connect = connect

    def connect(self, hello: bytes = HELLO, **options: Any) -> Client:
        workers: Any = self.work
        factory = NativeFactory(self.directory, self.deadlines, self.digests, workers)
        factory.unreadable = self.unreadable
        factory.packs = self.packs
        protocol = factory.buildProtocol(None)
        client = Client(self._connect(protocol=protocol, clock=self.clock, **options))
        client.say(hello)
        return client

    def wait(self, seconds: float) -> None:
        move(self.clock, seconds)


def sealed(request: Request, message: FileInfo | DigestList) -> bytes:
    """The seal that `message` should have in the answer to `request`."""
    return digest.digest(SHA256, native.encode(request), message.unsealed)
