"""Tests the front door: that a client reaches its dialect, whatever the pieces, and in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost

from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.front import DECIDE_SECONDS, WORD_SECONDS, FrontFactory
from tcpdl.server.lingering import LINGER_SECONDS
from tcpdl.server.native import Native, NativeFactory
from tcpdl.server.raw import Raw, RawFactory
from tcpdl.wire import native
from tcpdl.wire.native import MAGIC, Get, encode
from tests.server.conftest import Connect, Connection, Log
from tests.server.native_client import HELLO, NativeServer, Work

GET = HELLO + encode(Get(1, b"a.txt"))


class Front(NativeServer):
    """A folder, and connections that do not say yet which dialect they speak."""

    def front(self, **options: Any) -> Connection:
        work: Any = Work()
        raw = RawFactory(self.directory, self.clock, self.deadlines, quiet=0)
        dialects = NativeFactory(self.directory, self.deadlines, self.digests, work)
        protocol = FrontFactory(self.deadlines, raw, dialects).buildProtocol(None)
        return self._connect(protocol=protocol, clock=self.clock, **options)


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[Front]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_bytes(b"content of a")
    server = Front(root, connect)
    yield server
    server.directory.close()


def dialect(connection: Connection) -> Any:
    """Which protocol gets the bytes, without anything between."""
    return getattr(connection.protocol.dataReceived, "__self__", None)


def answered(connection: Connection) -> bytes:
    return connection.drain()


@pytest.mark.parametrize("said", [b"a.txt\n", b"\0tcpdX", b"GET / HTTP/1.1\r\n", b"\n"])
def test_raw(said: bytes, server: Front) -> None:
    connection = server.front()
    connection.say(said)
    assert isinstance(dialect(connection), Raw)
    answered(connection)


def test_raw_is_answered(server: Front) -> None:
    connection = server.front()
    connection.say(b"a.txt\n")
    assert answered(connection) == b"content of a"
    assert connection.ended


@pytest.mark.parametrize("pieces", [[GET], [GET[:3], GET[3:]], [bytes([byte]) for byte in GET]])
def test_native(pieces: list[bytes], server: Front) -> None:
    connection = server.front()
    for piece in pieces:
        connection.say(piece)
    assert isinstance(dialect(connection), Native)
    assert b"content of a" in answered(connection)
    assert not connection.ended


def test_raw_byte_by_byte(server: Front) -> None:
    connection = server.front()
    for byte in b"a.txt\n":
        connection.say(bytes([byte]))
    assert answered(connection) == b"content of a"


def test_a_preface_is_decided_by_its_six_bytes(server: Front) -> None:
    connection = server.front()
    for end in range(1, len(MAGIC)):
        connection.say(MAGIC[end - 1 : end])
        assert dialect(connection) is connection.protocol
    connection.say(MAGIC[-1:])
    assert isinstance(dialect(connection), Native)


# Time.


def test_nothing_is_said(server: Front, log: Log) -> None:
    connection = server.front()
    server.wait(WORD_SECONDS - 1)
    answered(connection)
    assert not connection.ended
    server.wait(2)
    assert answered(connection) == b""
    assert connection.ended
    assert log.lines == ["127.0.0.1:1 sent nothing in time"]
    server.wait(LINGER_SECONDS + 1)
    assert not connection.transport.connected
    assert len(server.deadlines) == 0


@pytest.mark.parametrize("length", range(1, len(MAGIC)))
def test_half_a_magic_word(length: int, server: Front) -> None:
    """Raw, after a second, however many bytes were sent meanwhile: a NUL alone asks for help."""
    connection = server.front()
    for at in range(length):
        connection.say(MAGIC[at : at + 1])
        server.wait(DECIDE_SECONDS / (2 * length))
    assert dialect(connection) is connection.protocol
    server.wait(DECIDE_SECONDS + 0.5)
    assert isinstance(dialect(connection), Raw)
    assert answered(connection).startswith(b"This is tcpdl")


# Ends.


def test_a_port_check(server: Front, log: Log) -> None:
    connection = server.front()
    connection.half_close()
    assert answered(connection) == b""
    assert connection.ended
    assert not connection.transport.connected
    assert log.lines == []


def test_half_close_decides(server: Front) -> None:
    connection = server.front()
    connection.say(MAGIC[:3])
    connection.half_close()
    assert isinstance(dialect(connection), Raw)
    assert answered(connection)
    assert connection.ended


def test_half_close_reaches_the_dialect(server: Front) -> None:
    connection = server.front()
    connection.say(GET)
    answered(connection)
    connection.half_close()
    answered(connection)
    assert connection.ended
    assert not connection.transport.connected


@pytest.mark.parametrize("said", [b"", MAGIC[:2], b"a.", HELLO])
def test_lost(said: bytes, server: Front) -> None:
    connection = server.front()
    if said:
        connection.say(said)
    connection.lose(ConnectionLost())
    server.wait(WORD_SECONDS + 5)
    assert len(server.deadlines) == 0


def test_each_connection_has_its_own_protocols(server: Front) -> None:
    one, other = server.front(), server.front()
    one.say(HELLO)
    other.say(native.preface(native.SHA256))
    assert dialect(one) is not dialect(other)


def test_factories_share(tmp_path: Path) -> None:
    clock: Any = None
    directory = Directory(tmp_path)
    work: Any = Work()
    deadlines = Deadlines(clock)
    raw = RawFactory(directory, clock, deadlines)
    dialects = NativeFactory(directory, deadlines, Digests(None), work)
    factory = FrontFactory(deadlines, raw, dialects)
    assert factory.buildProtocol(None)._native().factory is dialects
    assert factory.buildProtocol(None)._raw().factory is raw
    directory.close()
