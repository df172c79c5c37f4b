"""Tests of a transport on a port where a client may begin with TLS."""

from __future__ import annotations

import os
import random
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted
from zope.interface import implementer

from tcpdl.server.direct import direct, encrypted
from tcpdl.server.outgoing import FileCutShort
from tcpdl.server.tls_transport import READ_MOST, IHandshakeWatcher
from tests.certificates import client_context, make, server_context
from tests.server.conftest import Connect, Log, Recorder
from tests.server.tls_client import TlsClient

OpenFile = Callable[[bytes], int]
Begin = Callable[..., TlsClient]

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
CONTENT = random.Random(6).randbytes(500_000)


@implementer(IHandshakeWatcher)
class Watcher(Recorder):
    """Remembers what it is told of handshakes, too."""

    def handshake_begun(self) -> None:
        self.events.append("handshake begun")

    def handshakeCompleted(self) -> None:
        self.events.append("handshake completed")

    def handshake_failed(self, why: str) -> None:
        self.events.append(f"no handshake: {why}")


@pytest.fixture
def begin(connect: Connect) -> Begin:
    """Connects, and does the handshake."""
    context = server_context()

    def make_one(
        kind: str = "pair", *, client: ssl.SSLContext | None = None, **options: Any
    ) -> TlsClient:
        connection = connect(kind, tls=lambda: context, **options)
        return TlsClient(connection, client).shake()

    return make_one


def records(wire: bytes) -> list[int]:
    """The types of the records on the wire. Raises unless it is made of whole ones."""
    found = []
    while wire:
        kind, major, length = wire[0], wire[1], int.from_bytes(wire[3:5], "big")
        assert major == 3
        assert len(wire) >= 5 + length
        found.append(kind)
        wire = wire[5 + length :]
    return found


# Recognised by the first byte.


@pytest.mark.parametrize("kind", ["pair", "tcp", "unix"])
def test_it_begins_with_tls(kind: str, connect: Connect) -> None:
    client = TlsClient(connect(kind, tls=server_context, protocol=Watcher()))
    assert not client.transport.secure
    client.shake()
    assert client.protocol.events == ["handshake begun", "handshake completed"]
    assert client.transport.secure
    assert encrypted(client.transport)
    assert direct(client.transport) is client.transport
    client.say(b"a name")
    assert client.protocol.data == b"a name"
    client.transport.write(b"an answer")
    assert client.hear() == b"an answer"
    assert set(records(client.wire)) <= {20, 22, 23}


@pytest.mark.parametrize("kind", ["pair", "unix"])
def test_it_begins_with_anything_else(kind: str, connect: Connect, open_file: OpenFile) -> None:
    """It is then what it is on any other port; no TLS is looked for any more."""
    connection = connect(kind, tls=server_context, protocol=Watcher())
    connection.say(b"\x15\x03\x01")
    connection.say(b"\x16\x03\x01")
    connection.transport.write(b"answer ")
    connection.transport.sendFile(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.writeSequence([b" and", b" more"])
    connection.transport.loseWriteConnection()
    assert connection.drain(to_the_end=True) == b"answer " + CONTENT + b" and more"
    assert connection.protocol.data == b"\x15\x03\x01\x16\x03\x01"
    assert connection.protocol.events == ["write side lost"]
    assert not connection.transport.secure
    assert not encrypted(connection.transport)
    connection.half_close()
    assert connection.protocol.events == ["write side lost", "read side lost"]
    assert not connection.transport.truncated


def test_nothing_comes(connect: Connect) -> None:
    connection = connect(tls=server_context)
    connection.half_close()
    assert connection.protocol.events == ["read side lost"]


def test_no_tls_within_tls(begin: Begin) -> None:
    client = begin()
    client.say(b"\x16\x03\x01\x02\x00")
    assert client.protocol.data == b"\x16\x03\x01\x02\x00"


# In order.


@VERSIONS
@pytest.mark.parametrize("sndbuf", [1, None])
def test_files_and_bytes_in_order(
    version: ssl.TLSVersion, sndbuf: int | None, begin: Begin, open_file: OpenFile
) -> None:
    client = begin(client=client_context(version=version), sndbuf=sndbuf)
    transport, fd = client.transport, open_file(CONTENT)
    transport.write(b"first ")
    transport.writeSequence([b"second ", b"", b"third "])
    outcomes = [client.connection.send(fd, 10, 200_000)]
    transport.write(b" between ")
    transport.write(b"")
    outcomes.append(client.connection.send(fd, 0, 0))
    outcomes.append(client.connection.send(fd, 1, 5))
    transport.write(CONTENT)
    expected = b"first second third " + CONTENT[10:200_010] + b" between " + CONTENT[1:6] + CONTENT
    assert client.hear() == expected
    assert outcomes == [[200_000], [0], [5]]
    assert transport.unsent == 0
    assert transport.bytes_sent == len(client.wire)
    records(client.wire)
    for at in range(0, len(CONTENT), 50_000):
        assert CONTENT[at : at + 12] not in client.wire


def test_a_file_is_in_the_kernels_hands_when_that_is_said(
    begin: Begin, open_file: OpenFile
) -> None:
    """What is encrypted and waits is not."""
    client = begin(sndbuf=1)
    sent = client.connection.send(open_file(CONTENT), 0, 30_000)
    assert client.transport.unsent > 0
    assert sent == []
    assert client.hear() == CONTENT[:30_000]
    assert sent == [30_000]


def test_sendfile_is_not_asked(begin: Begin, open_file: OpenFile) -> None:
    asked: list[object] = []
    client = begin(sendfile=lambda *args: asked.append(args))
    client.connection.send(open_file(CONTENT), 0, len(CONTENT))
    assert client.hear() == CONTENT
    assert asked == []


def test_back_pressure(begin: Begin) -> None:
    client = begin(sndbuf=1)
    told: list[str] = []

    class Producer:
        def pauseProducing(self) -> None:
            told.append("pause")

        def resumeProducing(self) -> None:
            told.append("resume")

        def stopProducing(self) -> None:
            told.append("stop")

    client.transport.registerProducer(Producer(), True)
    client.transport.write(CONTENT)
    assert told == ["pause"]
    assert len(client.hear()) == len(CONTENT)
    assert told == ["pause", "resume"]
    client.transport.unregisterProducer()


def test_a_pull_producer(begin: Begin) -> None:
    client = begin()
    left = [b"one ", b"two ", b"three"]

    class Producer:
        def resumeProducing(self) -> None:
            if left:
                client.transport.write(left.pop(0))
            else:
                client.transport.unregisterProducer()

        def stopProducing(self) -> None: ...

    client.transport.registerProducer(Producer(), False)
    assert client.hear() == b"one two three"


def test_what_is_written_is_bytes(begin: Begin, connect: Connect, open_file: OpenFile) -> None:
    client: Any = begin()
    with pytest.raises(TypeError):
        client.transport.write("text")
    early: Any = connect(tls=server_context)
    early.say(b"\x16")
    with pytest.raises(RuntimeError, match="handshake"):
        early.transport.write(b"nothing plain")
    with pytest.raises(RuntimeError, match="handshake"):
        early.transport.sendFile(open_file(CONTENT), 0, 1)
    assert early.received == b""


def test_long_records_and_many(begin: Begin) -> None:
    """What OpenSSL has decrypted, and epoll does not know of, is not left there."""
    client = begin()
    data = b"".join(client.encrypt(CONTENT[at : at + 40]) for at in range(0, 20_000, 40))
    client.connection.say(data + client.encrypt(CONTENT[20_000:90_000]))
    assert client.protocol.data == CONTENT[:90_000]


def test_nothing_is_read_while_paused(begin: Begin) -> None:
    client = begin()
    client.transport.pauseProducing()
    client.say(b"later")
    assert client.protocol.data == b""
    client.transport.resumeProducing()
    client.connection.read_turn()
    assert client.protocol.data == b"later"


# Ends.


@VERSIONS
def test_we_half_close(version: ssl.TLSVersion, begin: Begin, open_file: OpenFile) -> None:
    client = begin(client=client_context(version=version), sndbuf=1)
    client.connection.send(open_file(CONTENT), 0, len(CONTENT))
    client.transport.write(b" end")
    client.transport.loseWriteConnection()
    assert client.hear() == CONTENT + b" end"
    assert client.ended
    assert client.connection.take() == 0
    assert client.connection.ended, "the stream below it has ended as well"
    assert client.protocol.events == ["write side lost"]
    client.say(b"still heard")
    assert client.protocol.data == b"still heard"
    client.half_close()
    assert client.protocol.events == ["write side lost", "read side lost"]
    assert not client.transport.truncated
    client.transport.write(b"too late")
    client.transport.loseConnection()
    assert client.protocol.events[2:] == ["lost"]


@VERSIONS
def test_the_client_half_closes(version: ssl.TLSVersion, begin: Begin, open_file: OpenFile) -> None:
    client = begin(client=client_context(version=version))
    client.connection.say(client.encrypt(b"a name") + client.goodbye())
    assert client.protocol.data == b"a name"
    assert client.protocol.events == ["read side lost"]
    assert not client.connection.wants_to_read
    assert not client.transport.truncated
    client.connection.send(open_file(CONTENT), 0, len(CONTENT))
    client.transport.loseConnection()
    assert client.hear() == CONTENT
    assert client.ended
    assert client.protocol.events == ["read side lost", "lost"]


@VERSIONS
def test_the_client_is_cut_off(version: ssl.TLSVersion, begin: Begin) -> None:
    """Its stream ends, and nothing in it says so: who reads it is told of the difference."""
    client = begin(client=client_context(version=version))
    client.say(b"a na")
    client.connection.half_close()
    assert client.protocol.events == ["read side lost"]
    assert client.transport.truncated
    client.transport.write(b"what was asked for before")
    client.transport.loseConnection()
    assert client.hear() == b"what was asked for before"
    assert client.ended


def test_the_end_of_a_client_that_said_so(begin: Begin) -> None:
    """Should anybody look for more, that is no cut."""
    client = begin()
    client.connection.say(client.encrypt(b"a name") + client.goodbye())
    client.connection.peer.shutdown(socket.SHUT_WR)
    client.transport.resumeProducing()
    client.connection.read_turn()
    assert not client.transport.truncated
    assert not client.connection.wants_to_read


def test_the_client_is_cut_off_within_a_record(begin: Begin) -> None:
    client = begin()
    client.connection.say(client.encrypt(b"a name")[:-1])
    client.connection.half_close()
    assert client.protocol.data == b""
    assert client.transport.truncated


def test_close(begin: Begin) -> None:
    client = begin()
    client.transport.write(b"all of it")
    client.transport.loseConnection()
    assert client.hear() == b"all of it"
    assert client.ended
    assert client.protocol.events == ["lost"]


def assert_reset(client: TlsClient) -> None:
    """The connection was reset, and nothing in it said that it would end."""
    client.connection.reactor.clock.advance(0)
    with pytest.raises(ConnectionResetError):
        client.connection.read_to_end()
    client.hear()
    assert not client.ended


def test_abort(begin: Begin, open_file: OpenFile) -> None:
    client = begin("tcp")
    sent = client.connection.send(open_file(CONTENT * 20), 0, len(CONTENT) * 20)
    client.transport.write(b"behind")
    client.transport.loseWriteConnection()
    client.transport.abortConnection()
    client.transport.write(b"nothing")
    assert_reset(client)
    assert isinstance(sent[0], ConnectionAborted)


def test_a_file_becomes_shorter(begin: Begin, open_file: OpenFile) -> None:
    client = begin("tcp", sndbuf=1)
    fd = open_file(CONTENT)
    sent = client.connection.send(fd, 0, len(CONTENT))
    client.transport.loseConnection()
    os.ftruncate(fd, 200_000)
    while not sent:
        client.connection.write_turn()
        client.connection.take()
    assert isinstance(sent[0], FileCutShort)
    assert sent[0].sent == 200_000
    assert_reset(client)


def test_the_client_goes_away(begin: Begin, open_file: OpenFile) -> None:
    client = begin(sndbuf=1)
    sent = client.connection.send(open_file(CONTENT), 0, len(CONTENT))
    client.connection.peer.close()
    client.connection.write_turn()
    assert client.protocol.events == ["lost"]
    assert isinstance(sent[0], Exception)


# Handshakes that fail.


def failing(connect: Connect, *said: bytes, **options: Any) -> Any:
    connection = connect("tcp", tls=server_context, protocol=Watcher(), **options)
    for data in said:
        connection.say(data)
    return connection


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"\x16", "it ended the connection"),
        (b"\x16\x03\x01\x00\x05hello", "unexpected message"),
        (b"\x16is not a name here", "wrong version number"),
    ],
)
def test_what_is_no_tls(said: bytes, why: str, connect: Connect) -> None:
    connection = failing(connect, said)
    if connection.transport.connected:
        connection.half_close()
    assert connection.protocol.events == ["handshake begun", f"no handshake: {why}", "lost"]
    assert connection.read_to_end()[:1] in (b"", b"\x15"), "the client may be told"
    assert connection.protocol.data == b""


def test_a_certificate_that_is_not_trusted(connect: Connect) -> None:
    """The client says so; there is nothing wrong with us."""
    client = TlsClient(connect(tls=server_context, protocol=Watcher()), client_context(make()))
    with pytest.raises(ssl.SSLCertVerificationError):
        client.shake()
    client.flush()
    assert "no handshake: it says: unknown ca" in client.protocol.events


def test_a_client_certificate(connect: Connect) -> None:
    authority = make("An authority", authority=True)
    context = server_context()
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=authority.pem)
    own = make("ann", issuer=authority, names=["ann.example"], emails=["ann@example.com"])
    client = TlsClient(connect(tls=lambda: context), client_context(own=own)).shake()
    assert client.transport.client_certificate == ("ann", ("ann.example",), ("ann@example.com",))
    client = TlsClient(connect(tls=lambda: context)).shake()
    assert client.transport.client_certificate is None


@pytest.mark.parametrize("end", ["loseConnection", "loseWriteConnection", "abortConnection"])
def test_an_end_within_the_handshake(end: str, connect: Connect) -> None:
    connection = failing(connect, b"\x16\x03\x01\x02\x00")
    getattr(connection.transport, end)()
    connection.reactor.clock.advance(0)
    assert connection.protocol.events == ["handshake begun", "lost"]


def test_a_damaged_record(begin: Begin, log: Log) -> None:
    client = begin()
    client.connection.say(client.encrypt(b"a name")[:-1] + b"!")
    assert client.protocol.data == b""
    assert client.protocol.events == ["lost"]
    (line,) = log.lines
    assert "broke TLS" in line


def test_little_is_read_at_a_time(begin: Begin) -> None:
    client = begin()
    peer = client.connection.peer
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    peer.sendall(b"".join(client.encrypt(b".") for _ in range(1000)))
    client.connection.read_turn()
    assert 0 < len(client.protocol.data) <= READ_MOST // 22
