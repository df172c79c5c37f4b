"""The addresses this machine can be reached at. Imports the standard library only."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator

_SIOCGIFADDR = 0x8915  # <linux/sockios.h>; ioctl fails elsewhere, and loopback remains


def machine_addresses() -> list[str]:
    """IPv4 and IPv6 addresses others may use, loopback only if there is no other.

    Link-local addresses are left out: they mean nothing without the name of an interface.
    """
    found = [ipaddress.ip_address(text) for text in (*_ipv4(), *_ipv6())]
    usable = [str(a) for a in found if not (a.is_loopback or a.is_link_local or a.is_multicast)]
    return list(dict.fromkeys(usable)) or ["127.0.0.1"]


def _ipv4() -> Iterator[str]:
    try:
        interfaces = socket.if_nameindex()
    except OSError:
        return  # a sandbox without netlink sockets
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in interfaces:
            request = struct.pack("256s", name[:15].encode())
            try:
                answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # the interface has no IPv4 address
            yield socket.inet_ntoa(answer[20:24])


def _ipv6() -> Iterator[str]:
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as table:
            lines = table.read().splitlines()
    except OSError:
        return
    for line in lines:
        yield socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line[:32]))
