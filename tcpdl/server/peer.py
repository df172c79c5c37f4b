"""Addresses of clients, written for people. Imports `wire` and Twisted."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tcpdl.wire.text import printable

_LINK_LOCAL = bytes.fromhex("fe80")
"""How the addresses begin that all clients of a link share the first half of."""


def peer_name(address: object) -> str:
    """`address` as `192.0.2.1:1234` or `[2001:db8::1]:1234`.

    An IPv4 client of a port that serves both families comes as `::ffff:192.0.2.1`; it is shown
    as what it is. Other addresses (a Unix socket's) are shown as their class shows them. Nothing
    controls a terminal, though a PROXY header may claim any text to be an address.
    """
    return printable(_name(address))


def _name(address: object) -> str:
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        mapped = address.host.removeprefix("::ffff:")
        if "." in mapped:
            return f"{mapped}:{address.port}"
        return f"[{address.host}]:{address.port}"
    if isinstance(address, UNIXAddress):
        return "a Unix socket"
    return str(address)


def named(peer: str, user: str | None) -> str:
    """`peer`, with the name of who has logged in, for the log."""
    return peer if user is None else f"{_shown(user)}@{peer}"


@lru_cache(maxsize=256)
def _shown(user: str) -> str:
    return printable(user, 64).replace(" ", "_")


def host_name(address: object) -> str:
    """Our own `address` as the host of a URL, with the port."""
    if isinstance(address, (IPv4Address, IPv6Address)):
        return _name(address)
    return "localhost"


def network(address: object) -> bytes:
    """What the limits for each address count as one: an IPv4 address, or the 64 bits of an IPv6 one
    that say which network it is in, of which a single client may use all others. Clients of a
    Unix socket are one.
    """
    host = getattr(address, "host", "").partition("%")[0].removeprefix("::ffff:")
    try:
        if "." in host:
            return socket.inet_pton(socket.AF_INET, host)
        whole = socket.inet_pton(socket.AF_INET6, host)
    except (OSError, ValueError):
        return b""
    return whole if whole.startswith(_LINK_LOCAL) else whole[:8]


def is_near(address: object) -> bool:
    """Whether `address` is one of this machine's own, as far as that can be seen from it."""
    if not isinstance(address, (IPv4Address, IPv6Address)):
        return True
    return _is_loopback(address.host)


@lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0].removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False
