"""Tests of ports where TLS is required, and of those where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl.server.front import FrontFactory
from tcpdl.server.native import NativeFactory
from tcpdl.server.raw import RawFactory
from tcpdl.server.unencrypted import refusing
from tcpdl.wire import native
from tcpdl.wire.native import Get, encode
from tests.certificates import server_context
from tests.server.conftest import Connect, Connection, Log
from tests.server.front import Front
from tests.server.http_client import Client, get
from tests.server.native_client import HELLO
from tests.server.native_client import Client as NativeClient
from tests.server.tls_client import TlsClient

CONTEXT = server_context()
HELLO_TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(100))


class Strict(Front):
    """A server that serves nothing without TLS."""

    def strict(self, kind: str = "pair", **options: Any) -> Connection:
        work: Any = self.work
        raw = RawFactory(self.directory, self.clock, self.deadlines)
        native = NativeFactory(self.directory, self.deadlines, self.digests, work)
        unencrypted = refusing(self.deadlines, self.factory.transfers)
        front = FrontFactory(self.deadlines, raw, native, self.factory, unencrypted=unencrypted)
        protocol = front.buildProtocol(None)
        return self._connect(kind, protocol=protocol, clock=self.clock, **options)


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[Strict]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_bytes(b"nobody else's business")
    server = Strict(root, connect)
    yield server
    server.close()


def redirected(server: Strict, request: bytes) -> str:
    client = Client(server.strict("tcp", tls=lambda: CONTEXT))
    (reply,) = client.ask(request)
    assert reply.status == 308
    assert b"TLS" in reply.body
    assert not client.ended, "as with any answer that tells of another place"
    return reply["location"]


def test_http(server: Strict) -> None:
    assert redirected(server, get("/small")) == "https://files.example:8080/small"
    assert redirected(server, get("/a%20b/?archive=tar&x=%0d%0a")) == (
        "https://files.example:8080/a%20b/?archive=tar&x=%0d%0a"
    )


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("//evil.example/", "https://files.example:8080//evil.example/"),
        ("/\\evil.example", None),
        ("http://files.example:8080/small?q", "https://files.example:8080/small?q"),
        ("http://evil.example/", None),
        ("/@evil.example/%2e%2e", "https://files.example:8080/@evil.example/%2e%2e"),
    ],
)
def test_no_way_to_somewhere_else(target: str, where: str | None, server: Strict) -> None:
    client = Client(server.strict("tcp", tls=lambda: CONTEXT))
    (reply,) = client.ask(get(target))
    location = reply.get("location")
    if where is None:
        assert location is None or location.startswith("https://files.example:8080/")
    else:
        assert location == where


@pytest.mark.parametrize(
    "host",
    [
        b"Host: evil.example/\r\n",
        b"Host: a@evil.example\r\n",
        b"Host: a b\r\n",
        b"Host: [::1\r\n",
        b"Host: a\\b\r\n",
        b"Host: a:999999\r\n",
        b"Host:\r\n",
        b"Host: a\r\nHost: b\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("minor", [0, 1])
def test_a_bad_host(host: bytes, minor: int, server: Strict) -> None:
    client = Client(server.strict("tcp", tls=lambda: CONTEXT))
    (reply,) = client.ask(b"GET /small HTTP/1.%d\r\n%b\r\n" % (minor, host))
    assert reply.status == 400
    assert reply.get("location") is None


def test_http_that_is_refused_anyway(server: Strict) -> None:
    client = Client(server.strict("tcp", tls=lambda: CONTEXT))
    (reply,) = client.ask(b"DELETE /small HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reply.status == 501 or reply.status == 405
    assert client.ended


def test_native(server: Strict, log: Log) -> None:
    connection = server.strict("tcp", tls=lambda: CONTEXT)
    client = NativeClient(connection)
    client.say(HELLO, encode(Get(1, b"small")), encode(Get(2, b"small")))
    (error,) = client.hear()
    assert error.code == native.NEEDS_TLS
    assert error.id == 0
    assert client.chosen == 0
    assert client.ended
    (line,) = log.told
    assert line == "127.0.0.1:1 native: no-tls 0, TLS is required here"


@pytest.mark.parametrize("said", [b"small\n", b"\n", b"?\n", b"small"])
def test_raw(said: bytes, server: Strict, log: Log) -> None:
    connection = server.strict("tcp", tls=lambda: CONTEXT)
    connection.say(said)
    assert connection.drain(to_the_end=True) == b"", "a clean end"
    connection.half_close()
    assert log.told == ["127.0.0.1:1 raw: no-tls 0, TLS is required here"]
    assert not connection.transport.connected


@pytest.mark.parametrize("said", [b"small\n", get("/small"), HELLO + encode(Get(1, b"small"))])
def test_with_tls(said: bytes, server: Strict) -> None:
    client = TlsClient(server.strict(tls=lambda: CONTEXT)).shake()
    client.say(said)
    assert b"nobody else's business" in client.hear()


def test_a_unix_socket_leaves_no_machine(server: Strict) -> None:
    connection = server.strict("unix")
    connection.say(b"small\n")
    assert connection.drain() == b"nobody else's business"


# Where there is no TLS at all.


def test_tls_where_there_is_none(server: Strict, log: Log) -> None:
    connection = server.front("tcp")
    connection.say(HELLO_TLS)
    connection.say(HELLO_TLS)
    assert connection.drain(to_the_end=True) == b""
    assert log.told == [
        "127.0.0.1:1 -: no-tls 0, it speaks TLS, which this port does not (see --tls-cert)"
    ]
    connection.half_close()
    assert not connection.transport.connected


def test_a_name_like_the_first_byte_of_tls(server: Strict) -> None:
    (server.root / "\x16").write_bytes(b"content")
    connection = server.front()
    connection.say(b"\x16\n")
    assert connection.drain() == b"content"


def test_a_name_like_tls_within_tls(server: Strict) -> None:
    (server.root / "\x16\x03\x01").write_bytes(b"content")
    client = TlsClient(server.front(tls=lambda: CONTEXT)).shake()
    client.say(b"\x16\x03\x01\n")
    assert client.hear() == b"content"
