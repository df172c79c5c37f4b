"""What the tests of the Twisted client share: a client in memory, and what a server may say.

There is no socket, the clock is moved by hand, and threads wait until they are told to work.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.protocol import Entry, NativeClientFactory
from tcpdl.wire import native, pack
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.native import Chunk, Digest, End, FileInfo, Message, Pack
from tests.sealing import Sealer

TAG = bytes(range(16))
GREETING = native.preface(native.SHA256)
SHIFT = 16
CHUNK = 1 << SHIFT
DATA = bytes(range(251)) * 800
assert 3 * CHUNK < len(DATA) < 4 * CHUNK


class World(Clock):
    """A reactor: time moves when it is told to, and threads work when they are."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Callable[[], None]] = []

    def getThreadPool(self) -> World:
        return self

    def callFromThread(self, call: Callable[..., None], *args: Any, **named: Any) -> None:
        call(*args, **named)

    def callInThreadWithCallback(
        self, told: Callable[[bool, Any], None], work: Callable[..., Any], *args: Any
    ) -> None:
        def job() -> None:
            try:
                result = work(*args)
            except Exception:  # noqa: BLE001 - as deferToThreadPool does
                told(False, Failure())
            else:
                told(True, result)

        self.jobs.append(job)


class Wire:
    """A client whose server is the test."""

    def __init__(self, timeout: float | None = 30.0) -> None:
        self.world = World()
        self.transport: Any = StringTransport()
        factory: Any = NativeClientFactory(self.world, timeout)
        self.client = factory.buildProtocol(None)
        self.client.makeConnection(self.transport)
        self._heard = Incoming(State.REQUESTS)
        self._requests: list[Any] = []
        self._sealer = Sealer()

    def hear(self, *messages: Message | bytes) -> None:
        for message in messages:
            self.feed(self.sealed(message))

    def feed(self, data: bytes, cut: int = 1 << 30) -> None:
        """Let the client have `data` as it is, in pieces of so many bytes."""
        for at in range(0, len(data), cut):
            self.client.dataReceived(data[at : at + cut])

    def sealed(self, message: Message | bytes) -> bytes:
        """What `hear` makes of `message`."""
        self._listen()
        said = message if isinstance(message, bytes) else in_bytes(message)
        return self._sealer.sealed(said)

    def asked(self) -> list[Any]:
        """The requests that were sent since this was called last."""
        self._listen()
        requests, self._requests = self._requests, []
        return requests

    def _listen(self) -> None:
        self._heard.feed(self.transport.value())
        self.transport.clear()
        requests: list[Any] = list(iter(self._heard.next, None))
        for request in requests:
            self._requests.append(request)
            self._sealer.asked(request)

    def lose(self, reason: Exception) -> None:
        self.client.connectionLost(Failure(reason))

    @property
    def held(self) -> bool:
        return bool(self.transport.producerState == "paused")

    @property
    def aborted(self) -> bool:
        return bool(getattr(self.transport, "disconnected", False))


@pytest.fixture
def wire() -> Iterator[Wire]:
    """At its end no timer is left, if nothing is asked of the server any more."""
    made = Wire()
    made.hear(GREETING)
    yield made
    made.lose(ConnectionDone())
    assert made.world.getDelayedCalls() == []


@implementer(IConsumer)
class Consumer:
    """An `IConsumer` that remembers what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.producer: Any = None
        self.pause_at_once = False

    def registerProducer(self, producer: object, streaming: bool) -> None:
        assert self.producer is None
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        assert self.producer is not None
        self.producer = None

    def write(self, data: bytes) -> None:
        self.data += data
        if self.pause_at_once:
            self.producer.pauseProducing()


def in_bytes(message: Message) -> bytes:
    return native.encode(message)


class Say:
    """Makes what a server says. If nothing else is given, it is about `data`."""

    greeting = GREETING
    data = DATA
    tag = TAG

    def sha256(self, data: Any) -> bytes:
        return hashlib.sha256(data).digest()

    def info(self, number: int, size: int, shift: int = SHIFT, tag: bytes = TAG) -> bytes:
        return in_bytes(FileInfo(number, size, 0, 0o644, shift, tag))

    def chunk(self, number: int, index: int, data: bytes = DATA, shift: int = SHIFT) -> bytes:
        run = data[index << shift : (index + 1) << shift]
        return in_bytes(Chunk(number, len(run))) + run

    def proof(self, number: int, index: int, data: bytes = DATA, shift: int = SHIFT) -> bytes:
        return in_bytes(
            Digest(number, index, self.sha256(data[index << shift : (index + 1) << shift]))
        )

    def file(
        self, number: int, data: bytes = DATA, shift: int = SHIFT, chunks: range | None = None
    ) -> bytes:
        """The answer to a request for `chunks` of a file; each digest comes one chunk late."""
        wanted = range(-(-len(data) >> shift)) if chunks is None else chunks
        parts = [self.info(number, len(data), shift)]
        for index in wanted:
            parts.append(self.chunk(number, index, data, shift))
            if index > wanted[0]:
                parts.append(self.proof(number, index - 1, data, shift))
        if wanted:
            parts.append(self.proof(number, wanted[-1], data, shift))
        return b"".join([*parts, in_bytes(End(number))])

    def pack(self, number: int, *entries: Entry) -> bytes:
        return in_bytes(Pack(number, pack.pack(entries, self.sha256)))


@pytest.fixture
def say() -> Say:
    return Say()


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def connect() -> type[Wire]:
    """Connects a client that has not heard anything yet."""
    return Wire


def _got(deferred: Deferred[Any]) -> Any:
    results: list[Any] = []
    deferred.addBoth(results.append)
    assert results, "it has not fired"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


@pytest.fixture
def got() -> Callable[[Deferred[Any]], Any]:
    """What a Deferred has fired with; an exception is raised."""
    return _got


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """A failure that is logged, such as one of a Deferred that nobody looked at, fails the test."""
    failures: list[Any] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        if event.get("log_failure") is not None:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    yield
    gc.collect()
    globalLogPublisher.removeObserver(observe)
    assert failures == []
