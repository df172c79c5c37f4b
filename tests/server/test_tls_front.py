"""Tests of the front door within TLS: all dialects, and how long a handshake may take."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost

from tcpdl.server.deadlines import GRAIN
from tcpdl.server.front import HANDSHAKE_SECONDS
from tcpdl.wire.native import Get, encode
from tests.certificates import client_context, server_context
from tests.server.conftest import REQUEST_SECONDS, Connect, Connection, Log
from tests.server.front import Front
from tests.server.http_client import get
from tests.server.native_client import HELLO
from tests.server.tls_client import TlsClient

CONTENT = b"These words must be seen by nobody on the way. " * 20_000
CONTEXT = server_context()
GET = HELLO + encode(Get(1, b"large"))


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[Front]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "large").write_bytes(CONTENT)
    (root / "small").write_bytes(CONTENT[:100])
    server = Front(root, connect)
    yield server
    server.close()


def connect_to(server: Front, kind: str = "pair", **options: Any) -> TlsClient:
    return TlsClient(server.front(kind, tls=lambda: CONTEXT, **options))


@pytest.mark.parametrize("name", ["small", "large"])
def test_raw(name: str, server: Front) -> None:
    client = connect_to(server).shake()
    client.say(f"{name}\n".encode())
    assert client.hear() == (server.root / name).read_bytes()
    assert client.ended
    client.half_close()
    assert not client.transport.connected


def test_native(server: Front) -> None:
    client = connect_to(server).shake()
    for byte in GET:
        client.say(bytes([byte]))
    assert CONTENT[-1000:] in client.hear()
    assert not client.ended


def test_what_was_sent_of_what_was_broken_off(server: Front, log: Log) -> None:
    """It is bytes of the file that are told of, and none that were still to be sent."""
    client = connect_to(server, sndbuf=4096).shake()
    shaken = client.transport.bytes_sent
    client.say(b"large\n")
    for _ in range(5):
        client.connection.take()
        client.connection.write_turn()
    client.connection.lose(ConnectionLost())
    (line,) = log.told
    found = re.fullmatch(r"127.0.0.1:1 raw large: broken (\d+)", line)
    assert found is not None
    sent = int(found[1])
    assert 0 < sent < len(CONTENT)
    assert 0 <= client.transport.bytes_sent - shaken - sent < 1000, "what TLS puts around it"


def test_http(server: Front) -> None:
    client = connect_to(server).shake()
    client.say(get("/large") + get("/large", "Connection: close"))
    assert client.hear().count(CONTENT) == 2
    assert client.ended


def test_pages_have_links_that_are_encrypted(server: Front) -> None:
    client = connect_to(server).shake()
    client.say(get("/small?info"))
    assert b"https://files.example:8080/small" in client.hear()


def test_the_clients_goodbye_ends_a_name(server: Front) -> None:
    client = connect_to(server).shake()
    client.connection.say(client.encrypt(b"small") + client.goodbye())
    assert client.hear() == CONTENT[:100]
    assert client.ended


@pytest.mark.parametrize("within", [b"small", b"G", b"HEAD "])
def test_being_cut_off_does_not(within: bytes, server: Front, log: Log) -> None:
    """Who cuts the connection must not choose what is fetched: `small` may begin a longer name."""
    client = connect_to(server, "tcp").shake()
    client.say(within)
    client.connection.half_close()
    server.clock.advance(0)
    assert not client.transport.connected
    with pytest.raises(ConnectionResetError):
        client.connection.read_to_end()
    assert log.told[-1] == "127.0.0.1:1 raw: broken 0, it was cut off within its request"


def test_what_was_asked_before_is_answered(server: Front) -> None:
    client = connect_to(server).shake()
    client.say(b"large\n")
    client.connection.half_close()
    assert client.hear() == CONTENT
    assert client.ended


@pytest.mark.parametrize("bytes_a_second", [0, 1, 4])
def test_a_slow_handshake(bytes_a_second: int, server: Front, log: Log) -> None:
    """However many bytes come: single ones do not prolong it."""
    client = connect_to(server, "tcp")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = client.encrypt(b"")
    client.connection.say(hello[:1])
    for second in range(int(HANDSHAKE_SECONDS)):
        assert client.transport.connected, second
        client.connection.say(hello[1 + second * bytes_a_second :][:bytes_a_second])
        server.wait(1)
    server.wait(2 * GRAIN)
    assert not client.transport.connected
    assert log.told == ["127.0.0.1:1 -: no-tls 0, it did not finish the TLS handshake in time"]
    with pytest.raises(ConnectionResetError):
        client.connection.read_to_end()


@pytest.mark.parametrize(
    ("lose", "why"),
    [
        (lambda one: one.half_close(), "it ended the connection"),
        (lambda one: one.lose(ConnectionLost()), "the connection was lost"),
    ],
)
def test_a_handshake_that_is_broken_off(
    lose: Callable[[Connection], None], why: str, server: Front, log: Log
) -> None:
    """It is told of once, whichever way the client goes."""
    client = connect_to(server, "tcp")
    client.connection.say(b"\x16\x03\x01")
    lose(client.connection)
    assert log.told == [f"127.0.0.1:1 -: no-tls 0, {why}"]


def test_a_slow_first_byte(server: Front, log: Log) -> None:
    client = connect_to(server)
    server.wait(REQUEST_SECONDS / 2)
    client.shake()
    server.wait(REQUEST_SECONDS / 2 - 1)
    assert client.transport.connected
    client.say(b"small\n")
    assert client.hear() == CONTENT[:100]
    client = connect_to(server).shake()
    server.wait(REQUEST_SECONDS + 2 * GRAIN)
    assert client.hear() == b""
    assert client.ended
    assert log.told[-1] == "127.0.0.1:1 -: timeout 0, it sent nothing in time"


def test_a_handshake_that_begins_too_late(server: Front, log: Log) -> None:
    """Nor does anybody tell of one, or wait for it: the end of the connection is on its way."""
    client = connect_to(server)
    server.wait(REQUEST_SECONDS + 1)
    with pytest.raises(ssl.SSLWantReadError):
        client.shake()
    client.connection.say(b"no TLS")
    assert client.hear() == b""
    assert log.told == ["127.0.0.1:1 -: timeout 0, it sent nothing in time"]
    client.connection.half_close()
    assert not client.transport.connected


@pytest.mark.parametrize("said", [b"small\n", GET, get("/small")])
def test_without_tls(said: bytes, server: Front) -> None:
    connection = server.front(tls=lambda: CONTEXT)
    connection.say(said)
    assert CONTENT[:100] in connection.drain()


def test_other_versions(server: Front) -> None:
    context = client_context(version=ssl.TLSVersion.TLSv1_2)
    client = TlsClient(server.front(tls=lambda: CONTEXT), context).shake()
    client.say(get("/large"))
    assert client.hear().endswith(CONTENT)
