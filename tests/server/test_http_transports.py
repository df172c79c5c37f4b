"""Tests HTTP over transports that are not ours: those of a wrapper, a plugin, a test."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from tests.server.conftest import HEAD_SECONDS, IDLE_SECONDS, STALL_SECONDS, Connect, Log
from tests.server.http_client import Client, HttpServer, Replies, Reply, get, settle

LARGE = os.urandom(500_000)


@pytest.fixture
def server(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HttpServer]:
    settle(monkeypatch)
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "small").write_bytes(b"small content")
    (root / "large").write_bytes(LARGE)
    server = HttpServer(root, connect)
    yield server
    server.close()


class Other:
    """A connection on a transport that Twisted has for tests."""

    def __init__(self, server: HttpServer) -> None:
        self.protocol: Any = server.factory.buildProtocol(None)
        self.transport: Any = StringTransport()
        self._server = server
        self._replies = Replies()
        self._got = b""
        self.protocol.makeConnection(self.transport)

    def say(self, *requests: bytes) -> None:
        self._replies.methods += [request.split(b" ")[0].decode() for request in requests]
        self.protocol.dataReceived(b"".join(requests))

    def turn(self) -> None:
        """Ask whoever produces for more, as a transport that has room does."""
        transport = self.transport
        if transport.producer is not None and not transport.streaming:
            transport.producer.resumeProducing()
        self._server.clock.advance(0)

    def hear(self) -> list[Reply]:
        for _ in range(1000):
            if self.transport.producer is None or self.transport.streaming:
                break
            self.turn()
        self._got += self.transport.value()
        self._replies.feed(self.transport.value())
        self.transport.clear()
        found = []
        while (reply := self._replies.next(ended=self.transport.disconnecting)) is not None:
            found.append(reply)
        return found

    def lose(self) -> None:
        producer, self.transport.producer = self.transport.producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(Failure(ConnectionLost()))


@pytest.fixture
def other(server: HttpServer) -> Other:
    return Other(server)


def test_files(other: Other, descriptors: Callable[[], int]) -> None:
    before = descriptors()
    other.say(get("/small"), get("/large"), get("/absent"), get("/large", "Range: bytes=0-1,9-"))
    replies = other.hear()
    assert [reply.status for reply in replies] == [200, 200, 404, 206]
    assert replies[1].body == LARGE
    assert not other.transport.disconnecting
    assert descriptors() == before


@pytest.mark.parametrize("minor", [0, 1])
def test_archives(minor: int, other: Other, descriptors: Callable[[], int]) -> None:
    before = descriptors()
    other.say(get("/?archive=tar", minor=minor))
    (reply,) = other.hear()
    with tarfile.open(fileobj=io.BytesIO(reply.body)) as archive:
        member = archive.extractfile("files/large")
        assert member is not None
        assert member.read() == LARGE
    assert other.transport.disconnecting is not minor
    assert descriptors() == before


def test_pages(other: Other) -> None:
    other.say(get("/"), get("/large?info"), get("/?sums=sha256"), get("/.well-known/tcpdl/health"))
    assert [reply.status for reply in other.hear()] == [200] * 4


def test_it_ends(other: Other) -> None:
    other.say(get("/small", "Connection: close"), get("/large"))
    (reply,) = other.hear()
    assert reply.body == b"small content"
    assert other.transport.disconnecting


def test_back_pressure(server: HttpServer, other: Other) -> None:
    """A transport that is full pauses its producer: nothing more is answered until it has room."""
    honest = other.transport.registerProducer

    def register(producer: Any, streaming: bool) -> None:
        honest(producer, streaming)
        producer.pauseProducing()

    other.transport.registerProducer = register
    other.say(get("/small"), get("/small"))
    assert len(other.hear()) == 1
    for _ in range(3):
        other.protocol.dataReceived(get("/small") * 1000)
    assert other.transport.producerState == "paused"
    assert other.hear() == []
    other.transport.registerProducer = honest
    other.transport.producer.resumeProducing()
    server.wait(1)
    replies = other.hear()
    for _ in range(100):
        server.clock.advance(0)
        replies += other.hear()
    assert len(replies) == 3001
    assert other.transport.producerState == "producing"


def test_a_file_becomes_shorter(
    server: HttpServer, other: Other, log: Log, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    other.say(get("/large"), get("/small"))
    other.turn()
    os.truncate(server.root / "large", 100_000)
    assert other.hear() == []
    assert other.transport.disconnected
    assert ": 200 changed " in log.told[-1]
    assert descriptors() == before


@pytest.mark.parametrize("target", ["/large", "/?archive=tar", "/?archive=zip", "/"])
def test_lost(
    target: str, server: HttpServer, other: Other, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    server.work.hold = True
    other.say(get(target), get("/small"))
    server.work.release(2)
    other.turn()
    other.lose()
    server.work.release()
    assert descriptors() == before
    assert len(server.deadlines) == 0


@pytest.mark.parametrize(
    ("said", "seconds"), [(b"", IDLE_SECONDS), (get("/small"), IDLE_SECONDS), (b"G", HEAD_SECONDS)]
)
def test_deadlines(said: bytes, seconds: float, server: HttpServer, other: Other) -> None:
    other.protocol.dataReceived(said)
    server.wait(seconds - 1)
    assert not other.transport.disconnecting
    server.wait(2)
    assert other.transport.disconnecting
    server.wait(2 * STALL_SECONDS)
    assert other.transport.disconnected or other.transport.aborting
    assert len(server.deadlines) == 0


# Within a wrapper.


class Wrapped:
    """Builds protocols that have a wrapper between them and the transport."""

    def __init__(self, server: HttpServer) -> None:
        self._factory = WrappingFactory(server.factory)
        self._factory.protocol = ProtocolWrapper
        self._factory.doStart()

    def build(self) -> Any:
        return self._factory.buildProtocol(None)


@pytest.mark.parametrize("target", ["/small", "/large", "/?archive=zip", "/"])
@pytest.mark.parametrize("close", [False, True])
def test_wrapped(
    target: str, close: bool, server: HttpServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks like a transport that sends files and half-closes, and is not to be asked to."""
    alone = server.connect().fetch(target).body
    client = Client(connect(protocol=Wrapped(server).build(), clock=server.clock))
    transport = client.connection.transport
    for name in ("sendFile", "loseWriteConnection"):
        monkeypatch.setattr(transport, name, None)
    for _ in range(1 if close else 3):
        fields = ["Connection: close"] if close else []
        assert client.fetch(target, *fields).body == alone
    assert client.ended is close
    assert transport.connected is not close
