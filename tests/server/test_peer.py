"""Tests how the addresses of clients are written."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tcpdl.server.peer import host_name, network, peer_name


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (IPv4Address("TCP", "192.0.2.1", 80), "192.0.2.1:80"),
        (IPv6Address("TCP", "2001:db8::1", 80), "[2001:db8::1]:80"),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 80), "192.0.2.1:80"),
        (IPv4Address("TCP", "192.0.2.1\x1b[31m", 80), r"192.0.2.1\x1b[31m:80"),
        (IPv4Address("TCP", "x\nforged line", 80), r"x\nforged line:80"),
        (IPv6Address("TCP", "\u202e::1", 80), r"[\u202e::1]:80"),
    ],
)
def test_peer_name(address: object, shown: str) -> None:
    assert peer_name(address) == shown


def test_a_unix_socket_has_a_printable_name() -> None:
    assert peer_name(UNIXAddress("/run/\x1b")).isprintable()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (IPv4Address("TCP", "192.0.2.1", 8080), "192.0.2.1:8080"),
        (IPv6Address("TCP", "::1", 8080), "[::1]:8080"),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 80), "192.0.2.1:80"),
        (UNIXAddress(b"/run/tcpdl.sock"), "localhost"),
    ],
)
def test_our_own_address_as_a_host(address: object, name: str) -> None:
    assert host_name(address) == name


def test_a_client_of_a_unix_socket() -> None:
    assert peer_name(UNIXAddress(None)) == "a Unix socket"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("2001:db8::1%eth0", "2001:db8::1", True),
        ("fe80::1%eth0", "fe80::2%eth0", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_what_counts_as_one_client(one: str, other: str, same: bool) -> None:
    def address(host: str) -> object:
        return (IPv6Address if ":" in host else IPv4Address)("TCP", host, 1)

    assert (network(address(one)) == network(address(other))) is same


@pytest.mark.parametrize("address", [UNIXAddress(None), UNIXAddress(b"x"), None, "elsewhere"])
def test_clients_without_an_address_count_as_one(address: object) -> None:
    assert network(address) == b""


@pytest.mark.parametrize("host", ["claimed", "1.2.3", "1.2.3.4.5", ":", "\0", "é", ""])
def test_an_address_that_is_none_counts_as_none(host: str) -> None:
    assert network(IPv4Address("TCP", host, 1)) == b""
