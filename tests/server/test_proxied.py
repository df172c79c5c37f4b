"""Tests connections that a proxy passes on: whose they are, for all that depends on it, and what is
believed of whom."""

from __future__ import annotations

import ipaddress
import ssl
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tcpdl.server.accepting import Accepting, Door
from tcpdl.server.admission import Admission
from tcpdl.server.busy import Busy
from tcpdl.server.crowd import Crowd, Limits
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import address_of, encrypted, is_local
from tcpdl.server.peer import network, peer_name
from tcpdl.server.proxied import HEADER_SECONDS, Proxies
from tcpdl.server.shaping import Rates, Shaper
from tests.server.conftest import Connect, Connection, Log, Recorder, StubReactor, move

HERE = "127.0.0.1"
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\n"
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
OWN = SIGNATURE + bytes.fromhex("20000000")
FOUR = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 1234, 80)
WITH_TLS = SIGNATURE + bytes.fromhex("21110014") + FOUR + bytes.fromhex("2000050100000000")


def proxies(*networks: str, unix: bool = False) -> Proxies:
    return Proxies([ipaddress.ip_network(one) for one in networks], unix=unix)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        (IPv4Address("TCP", "10.1.2.3", 1), True),
        (IPv4Address("TCP", "11.1.2.3", 1), False),
        (IPv6Address("TCP", "::ffff:10.1.2.3", 1), True),
        (IPv6Address("TCP", "2001:db8::5", 1), True),
        (IPv6Address("TCP", "2001:db9::5", 1), False),
        (IPv6Address("TCP", "fe80::1%eth0", 1), False),
        (IPv4Address("TCP", "nonsense", 1), False),
        (UNIXAddress(None), False),
    ],
)
def test_who_is_believed(address: Any, trusted: bool) -> None:
    assert proxies("10.0.0.0/8", "2001:db8::/32").trusts(address) is trusted


def test_a_unix_socket_is_believed_if_it_is_to_be() -> None:
    assert proxies(unix=True).trusts(UNIXAddress("/a"))
    assert not proxies(unix=True).trusts(IPv4Address("TCP", HERE, 1))


class World:
    """A port behind proxies on 127.0.0.1, and what is counted."""

    def __init__(self, connect: Connect) -> None:
        self.reactor = StubReactor()
        clock: Any = self.reactor.clock
        self.deadlines = Deadlines(clock)
        self.crowd = Crowd(Limits(100, per_address=1, per_network=1))
        self.shaper = Shaper(Rates(per_address=1000), clock)
        self.accepting = Accepting(clock, self.crowd, self.deadlines)
        self.accepting.proxies = proxies("127.0.0.1/32", "203.0.113.1/32", unix=True)
        self._connect = connect

    def come(self, kind: str = "tcp", host: str = HERE, **options: Any) -> Connection:
        """Accept a connection, as a port does."""
        factory: Any = SimpleNamespace(buildProtocol=lambda _: Recorder())
        door = Door(factory, self.accepting, lambda: Busy(self.deadlines, speaks=True))
        peer = UNIXAddress(None) if kind == "unix" else IPv4Address("TCP", host, 1)
        protocol: Any = door.buildProtocol(peer)
        connection = self._connect(
            kind,
            protocol=protocol,
            host=host,
            clock=self.reactor.clock,
            shaper=self.shaper,
            metrics=self.deadlines.metrics,
            **options,
        )
        door.bind(connection.transport)
        return connection

    @property
    def counted(self) -> dict[bytes, int]:
        return {one.key: one.connections for one in self.crowd.addresses()}


@pytest.fixture
def world(connect: Connect) -> World:
    return World(connect)


FOUR_KEY = bytes([192, 0, 2, 7])
HERE_KEY = bytes([127, 0, 0, 1])


@pytest.mark.parametrize("cut", [1, 7, len(LINE), 1000])
@pytest.mark.parametrize("options", [{}, {"tls": ssl.create_default_context}])
def test_whose_it_is(cut: int, options: dict[str, Any], world: World) -> None:
    connection = world.come(**options)
    assert world.counted == {HERE_KEY: 1}
    said = LINE + b"name\n"
    for at in range(0, len(said), cut):
        connection.say(said[at : at + cut])
    assert connection.protocol.data == b"name\n"
    assert world.deadlines.metrics.received == len(said)
    transport = connection.transport
    assert peer_name(transport.getPeer()) == "192.0.2.7:1234"
    assert world.counted == {FOUR_KEY: 1}
    assert address_of(transport) is next(iter(world.crowd.addresses()))
    assert transport._share._address.key == FOUR_KEY
    assert len(world.deadlines) == 0
    assert "doRead" not in transport.__dict__ or options
    connection.lose(ConnectionError())
    assert world.counted == {}
    assert peer_name(transport.getPeer()) == "192.0.2.7:1234", "the log may still ask"


@pytest.mark.parametrize("said", [LINE, b"PROXY nonsense\r\n"])
def test_who_is_aborted_and_then_resets_leaves_once(said: bytes, world: World) -> None:
    connection = world.come()
    connection.say(said)
    connection.transport.abortConnection()
    connection.lose(ConnectionError())
    world.reactor.clock.advance(1)
    assert world.counted == {}
    assert world.crowd.connections == 0


def test_an_ipv6_client(world: World) -> None:
    connection = world.come()
    connection.say(b"PROXY TCP6 2001:db8::7 ::1 1234 80\r\n")
    assert connection.transport.getPeer() == IPv6Address("TCP", "2001:db8::7", 1234)


@pytest.mark.parametrize("begins", [LINE, OWN, WITH_TLS])
def test_others_are_not_believed(begins: bytes, world: World) -> None:
    connection = world.come(host="198.51.100.9")
    connection.say(begins)
    assert connection.protocol.data == begins
    assert connection.transport.getPeer().host == "198.51.100.9"
    assert not encrypted(connection.transport)


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", b"name\n", b"\x16\x03", b"PROXY TCP5 "])
@pytest.mark.parametrize("options", [{}, {"tls": ssl.create_default_context}])
def test_without_a_header_nothing_is_served(
    said: bytes, options: dict[str, Any], world: World, log: Log
) -> None:
    connection = world.come(**options)
    connection.say(said.ljust(120))
    world.reactor.clock.advance(0)
    assert connection.protocol.data == b""
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    assert "127.0.0.1:1 was refused: without a valid PROXY header" in log.lines[0]
    assert world.counted == {}
    assert len(world.deadlines) == 0


def test_a_header_that_does_not_come(world: World, log: Log) -> None:
    connection = world.come()
    connection.say(LINE[:-2])
    move(world.reactor.clock, HEADER_SECONDS + 1)
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()
    assert "in time" in log.lines[0]
    assert world.counted == {}


@pytest.mark.parametrize("said", [b"", LINE[:9]])
def test_who_comes_and_goes(said: bytes, world: World, log: Log) -> None:
    connection = world.come()
    connection.say(said)
    connection.half_close()
    assert connection.protocol.events == ["read side lost"]
    connection.lose(ConnectionError())
    assert (log.lines, world.counted, len(world.deadlines)) == ([], {}, 0)


# Limits.


def test_limits_of_an_address_are_not_those_of_the_proxy(world: World) -> None:
    connections = [world.come(host="203.0.113.1") for _ in range(3)]
    for number, connection in enumerate(connections):
        connection.say(LINE.replace(b"192.0.2", b"192.0.%d" % number))
    assert all(isinstance(one.transport.protocol, Recorder) for one in connections)
    assert sorted(world.counted.values()) == [1, 1, 1]


@pytest.mark.parametrize("options", [{}, {"tls": ssl.create_default_context}])
@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"GET / HTTP/1.1\r\n", b"HTTP/1.1 503 "),
        (b"\0tcpdl\1\1", b"\0tcpdl"),
        (b"\x16\x03\x01", b"\x15\x03"),
    ],
)
def test_who_has_enough_is_told_so(
    said: bytes, heard: bytes, options: dict[str, Any], world: World, log: Log
) -> None:
    first, second = world.come(**options), world.come(**options)
    first.say(LINE + b"name")
    second.say(LINE.replace(b"1234", b"1235"))
    replaced = second.protocol
    assert replaced.events == ["lost"]
    assert log.lines == ["192.0.2.7:1235 was refused: its address has 1 connections"]
    second.say(said)
    assert second.drain(to_the_end=True).startswith(heard)
    assert world.counted == {FOUR_KEY: 1}
    second.half_close()
    second.drain()
    move(world.reactor.clock, 1)
    first.lose(ConnectionError())
    assert (world.counted, world.crowd.refusals) == ({}, 0)


def test_who_comes_when_there_is_no_room_at_all(world: World) -> None:
    world.crowd.limits = Limits(1)
    first, second = world.come(), world.come()
    first.say(LINE + b"name")
    second.say(LINE + b"GET / HTTP/1.1\r\n")
    assert second.drain(to_the_end=True).startswith(b"HTTP/1.1 503 ")
    assert world.crowd.connections == 1


# What depends on where the client is.


@pytest.mark.parametrize(
    ("host", "said", "near"),
    [
        (HERE, LINE, False),
        (HERE, LINE.replace(b"192.0.2.7", b"127.0.0.9"), True),
        (HERE, b"PROXY UNKNOWN\r\n", False),
        (HERE, OWN, True),
        ("203.0.113.1", LINE.replace(b"192.0.2.7", b"127.0.0.1"), False),
        ("203.0.113.1", OWN, False),
    ],
)
def test_who_is_taken_for_one_of_this_machine(
    host: str, said: bytes, near: bool, world: World
) -> None:
    connection = world.come(host=host)
    connection.say(said)
    assert is_local(connection.transport) is near
    nothing: Any = None
    assert Admission(nothing).is_secure(connection.transport) is near


def test_a_client_behind_a_proxy_on_a_unix_socket(world: World) -> None:
    connection = world.come("unix")
    assert not is_local(connection.transport), "it is not known yet"
    connection.say(LINE)
    assert not is_local(connection.transport)
    assert network(connection.transport.getPeer()) == FOUR_KEY


def test_a_client_that_came_with_tls(world: World) -> None:
    connection = world.come()
    assert not encrypted(connection.transport)
    connection.say(WITH_TLS)
    assert encrypted(connection.transport)


def test_the_proxys_own_connections(world: World) -> None:
    connections = [world.come() for _ in range(3)]
    for connection in connections:
        connection.say(OWN + b"name")
        assert connection.protocol.data == b"name"
        assert connection.transport.getPeer().host == HERE
        assert connection.transport.place.own
    assert world.counted == {HERE_KEY: 3}
