"""Tests `server.addresses`: the addresses that a person is told, on machines of all kinds."""

from __future__ import annotations

import errno
import fcntl
import io
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tcpdl.server.addresses import machine_addresses
from tests.descriptors import open_descriptors

Machine = Callable[..., None]

LOOPBACK6 = "::1"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes this machine one with the given interfaces and addresses."""

    def make(
        ipv4: dict[str, str | None] | OSError | None = None,
        ipv6: list[str] | OSError | None = None,
    ) -> None:
        names = ipv4 if isinstance(ipv4, dict) else {}

        def if_nameindex() -> list[tuple[int, str]]:
            if isinstance(ipv4, OSError):
                raise ipv4
            return list(enumerate(names, 1))

        def ioctl(_fd: int, _request: int, argument: bytes) -> bytes:
            assert len(argument) >= 40  # the size of a struct ifreq
            name = argument[:16].rstrip(b"\0").decode()
            address = names[name]
            if address is None:
                raise OSError(errno.EADDRNOTAVAIL, "made up")
            family = struct.pack("=HH", socket.AF_INET, 0)
            return argument[:16] + family + socket.inet_aton(address) + argument[24:]

        def opened(path: str, **_options: Any) -> io.StringIO:
            assert path == "/proc/net/if_inet6"
            if isinstance(ipv6, OSError):
                raise ipv6
            packed = [socket.inet_pton(socket.AF_INET6, address).hex() for address in ipv6 or ()]
            return io.StringIO("".join(f"{text} 02 40 00 80     eth0\n" for text in packed))

        monkeypatch.setattr(socket, "if_nameindex", if_nameindex)
        monkeypatch.setattr(fcntl, "ioctl", ioctl)
        monkeypatch.setattr("builtins.open", opened)

    return make


def test_this_machine() -> None:
    before = len(open_descriptors())
    addresses = machine_addresses()
    assert len(os.listdir("/dev/fd")) == before
    assert addresses
    parsed = [ipaddress.ip_address(address) for address in addresses]
    assert not any(address.is_link_local for address in parsed)
    assert len(set(parsed)) == len(parsed)
    assert addresses == ["127.0.0.1"] or not any(address.is_loopback for address in parsed)


def test_this_machine_has_them() -> None:
    # One can listen on an address that is the machine's own, and on no other.
    for address in machine_addresses():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        socket.create_server((address, 0), family=family).close()


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "expected"),
    [
        ({"lo": "127.0.0.1"}, [LOOPBACK6], ["127.0.0.1"]),
        ({}, [], ["127.0.0.1"]),
        ({"lo": "127.0.0.1", "eth0": "192.0.2.1"}, [LOOPBACK6], ["192.0.2.1"]),
        (
            {"lo": "127.0.0.1", "eth0": "10.0.0.1", "wlan0": "192.168.1.2"},
            [LOOPBACK6, "fe80::1", "2001:db8::1"],
            ["10.0.0.1", "192.168.1.2", "2001:db8::1"],
        ),
        # An interface without an IPv4 address keeps no other from being named.
        ({"lo": "127.0.0.1", "tun0": None, "eth0": "192.0.2.1"}, [], ["192.0.2.1"]),
        ({"lo": "127.0.0.1"}, ["fd00::2"], ["fd00::2"]),
        # Link-local ones mean nothing by themselves.
        ({"eth0": "169.254.1.1"}, ["fe80::1", "febf::1"], ["127.0.0.1"]),
        (
            {"eth0": "192.0.2.1", "br0": "192.0.2.1"},
            ["fd00::2", "fd00::2"],
            ["192.0.2.1", "fd00::2"],
        ),
        ({"eth0": "127.0.0.2"}, [], ["127.0.0.1"]),
        ({"interface-of-15": "192.0.2.1"}, [], ["192.0.2.1"]),
    ],
)
def test_machines(
    ipv4: dict[str, str | None], ipv6: list[str], expected: list[str], machine: Machine
) -> None:
    machine(ipv4, ipv6)
    assert machine_addresses() == expected


def test_without_proc(machine: Machine) -> None:
    machine({"eth0": "192.0.2.1"}, FileNotFoundError(errno.ENOENT, "made up"))
    assert machine_addresses() == ["192.0.2.1"]


def test_without_netlink(machine: Machine) -> None:
    machine(PermissionError(errno.EPERM, "made up"), ["2001:db8::1"])
    assert machine_addresses() == ["2001:db8::1"]


def test_with_nothing_at_all(machine: Machine) -> None:
    machine(OSError(errno.EPERM, "made up"), OSError(errno.EACCES, "made up"))
    assert machine_addresses() == ["127.0.0.1"]
