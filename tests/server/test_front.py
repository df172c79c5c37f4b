"""Tests the front door: that a client reaches its dialect, whatever the pieces, and in time."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.server.deadlines import GRAIN, Deadlines
from tcpdl.server.front import DECIDE_SECONDS, FrontDoor, FrontFactory
from tcpdl.server.http import Http, HttpFactory
from tcpdl.server.http_answers import HttpAnswers
from tcpdl.server.lingering import LINGER_SECONDS, LingeringProtocol
from tcpdl.server.native import Native, NativeFactory
from tcpdl.server.raw import Raw, RawFactory
from tcpdl.server.transfers import Transfers
from tcpdl.wire import native
from tcpdl.wire.native import MAGIC, Get, encode
from tcpdl.wire.recognise import tls_began
from tests.server.conftest import REQUEST_SECONDS, Connect, Connection, Log
from tests.server.front import Front
from tests.server.http_client import get
from tests.server.native_client import HELLO, Work

GET = HELLO + encode(Get(1, b"a.txt"))
HTTP = get("/a.txt")
QUIET = 0.05


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[Front]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_bytes(b"content of a")
    for name in ("README", "G", "GET", "GET http.txt", "GETTING", "HEAD", "POST", "POST a"):
        (root / name).write_bytes(b"content of " + name.encode())
    server = Front(root, connect)
    yield server
    server.close()


def dialect(connection: Connection) -> Any:
    """Which protocol gets the bytes, without anything between."""
    return getattr(connection.protocol.dataReceived, "__self__", None)


def answered(connection: Connection) -> bytes:
    return connection.drain()


@pytest.mark.parametrize("said", [b"a.txt\n", b"\0tcpdX", b"GET a.txt\n", b"\n"])
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


@pytest.mark.parametrize(
    "pieces",
    [
        [HTTP],
        [HTTP * 3],
        [HTTP[:3], HTTP[3:]],
        [HTTP[:5], HTTP[5:]],
        [bytes([byte]) for byte in HTTP * 2],
        [HTTP[:-1], HTTP[-1:] + HTTP[:1], HTTP[1:]],
    ],
)
def test_http(pieces: list[bytes], server: Front) -> None:
    """No byte is lost where the connection is handed over."""
    connection = server.front()
    for piece in pieces:
        connection.say(piece)
    assert isinstance(dialect(connection), Http)
    assert answered(connection).count(b"content of a") == b"".join(pieces).count(HTTP)
    assert answered(connection).count(b"HTTP/1.1 200 OK") == b"".join(pieces).count(HTTP)
    assert not connection.ended


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"HEAD /a.txt HTTP/1.0\r\n\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 204),
        (b"GET http://a/a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /a.txt\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /a.txt HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ],
)
def test_http_of_all_kinds(said: bytes, status: int, server: Front) -> None:
    connection = server.front()
    connection.say(said)
    assert isinstance(dialect(connection), Http)
    assert answered(connection).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("name", [b"README", b"GETTING", b"POST", b"POST a", b"GET http.txt"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0", b""])
def test_names_that_look_like_requests(name: bytes, end: bytes, server: Front) -> None:
    """They are raw as soon as that can be seen, and wait for nothing but the silence."""
    connection = server.front(quiet=QUIET)
    connection.say(name + end)
    assert isinstance(dialect(connection), Raw)
    server.clock.advance(QUIET)
    assert answered(connection) == b"content of " + name
    assert connection.ended


@pytest.mark.parametrize("name", [b"G", b"GET", b"HEAD"])
def test_names_that_may_become_requests(name: bytes, server: Front) -> None:
    """A line end tells at once; silence only after a while."""
    connection = server.front(quiet=QUIET)
    connection.say(name + b"\n")
    assert answered(connection) == b"content of " + name

    connection = server.front(quiet=QUIET)
    connection.say(name)
    server.wait(DECIDE_SECONDS / 2)
    assert dialect(connection) is connection.protocol
    server.wait(DECIDE_SECONDS / 2 + GRAIN)
    server.clock.advance(QUIET)
    assert answered(connection) == b"content of " + name
    assert connection.ended


@pytest.mark.parametrize("said", [b"G", b"GET", b"GET "])
def test_half_a_request_and_the_end(said: bytes, server: Front) -> None:
    connection = server.front()
    connection.say(said)
    connection.half_close()
    assert isinstance(dialect(connection), Raw)
    answered(connection)
    assert connection.ended


def test_half_close_reaches_http(server: Front) -> None:
    connection = server.front()
    connection.say(HTTP)
    connection.half_close()
    assert b"content of a" in answered(connection)
    assert connection.ended
    assert not connection.transport.connected


def test_a_request_that_comes_slowly(server: Front) -> None:
    """Once it is one, it has the time of a request."""
    connection = server.front()
    for byte in HTTP[:5]:
        connection.say(bytes([byte]))
    server.wait(DECIDE_SECONDS + 1)
    assert isinstance(dialect(connection), Http)
    connection.say(HTTP[5:])
    assert b"content of a" in answered(connection)


@given(said=st.binary(max_size=60), size=st.integers(1, 20))
@example(said=HTTP, size=4)
@example(said=GET, size=1)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_byte_is_lost(said: bytes, size: int, server: Front) -> None:
    """Whatever dialect it is: it gets all that came, in order."""
    assume(not tls_began(said))  # which nobody here speaks
    heard: list[bytes] = []

    class Listener(LingeringProtocol):
        def dataReceived(self, data: bytes) -> None:
            heard.append(data)

    def build(_transport: Any) -> Listener:
        return Listener(server.deadlines)

    protocol = FrontDoor(server.deadlines, build, build, build, Transfers(server.clock))
    connection = server._connect(protocol=protocol, clock=server.clock)
    for at in range(0, len(said), size):
        connection.say(said[at : at + size])
    server.wait(DECIDE_SECONDS + 1)
    connection.lose(ConnectionLost())
    assert b"".join(heard) == said


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
    server.wait(REQUEST_SECONDS - 1)
    answered(connection)
    assert not connection.ended
    server.wait(2)
    assert answered(connection) == b""
    assert connection.ended
    assert log.told == ["127.0.0.1:1 -: timeout 0, it sent nothing in time"]
    server.wait(LINGER_SECONDS + 1)
    assert not connection.transport.connected
    assert len(server.deadlines) == 0


@pytest.mark.parametrize("said", [b"GET /f HTTP/1.1\r\nHost: a\r\n\r\n", MAGIC, b"f\n", b"\0"])
def test_what_is_said_too_late_is_not_answered(said: bytes, server: Front, log: Log) -> None:
    """Nor does anybody tell of an answer: the end of the connection is on its way."""
    connection = server.front()
    server.wait(REQUEST_SECONDS + 1)
    connection.say(said)
    server.wait(2)
    assert answered(connection) == b""
    assert log.told == ["127.0.0.1:1 -: timeout 0, it sent nothing in time"]
    server.wait(LINGER_SECONDS + 1)
    assert not connection.transport.connected


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"f\n"])
def test_nothing_is_left_of_a_connection(said: bytes, server: Front) -> None:
    """Nor is it a collector's to find: port checks are many."""
    connection = server.front()
    left = weakref.ref(connection.protocol)
    if said:
        connection.say(said)
    connection.half_close()
    connection.drain()
    server.wait(1)
    assert not connection.transport.connected
    gc.disable()
    try:
        del connection.protocol
        assert left() is None
    finally:
        gc.enable()


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


@pytest.mark.parametrize("said", [b"OPTIONS ", MAGIC])
def test_no_byte_buys_more_time(said: bytes, server: Front) -> None:
    connection = server.front()
    for byte in said[:4]:
        connection.say(bytes([byte]))
        server.wait(DECIDE_SECONDS / 2)
    assert isinstance(dialect(connection), Raw)
    answered(connection)


# Ends.


def test_a_port_check(server: Front, log: Log) -> None:
    connection = server.front()
    connection.half_close()
    assert answered(connection) == b""
    assert connection.ended
    assert not connection.transport.connected
    assert log.told == []


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


@pytest.mark.parametrize(
    "said", [b"", MAGIC[:2], b"a.", HELLO, b"GE", b"GET /a", HTTP, get("/?archive=tar")]
)
def test_lost(said: bytes, server: Front) -> None:
    connection = server.front()
    if said:
        connection.say(said)
    connection.lose(ConnectionLost())
    server.wait(REQUEST_SECONDS + 5)
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
    digests = Digests(None)
    dialects = NativeFactory(directory, deadlines, digests, work)
    http = HttpFactory(HttpAnswers(directory, digests, work), deadlines)
    factory = FrontFactory(deadlines, raw, dialects, http)
    door: Any = factory.buildProtocol(None)
    assert door._native(None).factory is dialects
    assert door._raw(None).factory is raw
    assert door._http(None).factory is http
    directory.close()
