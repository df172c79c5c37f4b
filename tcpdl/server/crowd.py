"""Who may have another connection: how many there are in all, and of each address.

Imports `server.peer`. Pure: no sockets, no clock. There is one `Crowd` for all ports of a daemon.
It can be told what connections other processes have that serve the same ports, and that a
connection is another client's than it seemed to be when it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tcpdl.server.peer import network

REFUSALS_MOST = 256
"""Connections at a time whose clients are told that there is no room for them. More are reset."""

REFUSALS_EACH = 8
"""As many of one address."""

_LOOPBACK_6 = bytes(8)
_ANY = 1 << 30


class Limits(NamedTuple):
    """How many connections there may be; 0 stands for any number."""

    connections: int = 10_000
    per_address: int = 256
    per_network: int = 1024
    local_address: int = 0
    """In place of `per_address` for this machine's own, among them a proxy on it."""
    local_network: int = 0


class Counts:
    """Connections that there are elsewhere."""

    def __init__(self) -> None:
        self.connections = 0
        self.addresses: dict[bytes, int] = {}
        """By what `peer.network` gives."""
        self.networks: dict[bytes, int] = {}
        """By `Address.network`."""

    def set(self, key: bytes, count: int) -> None:
        """There are `count` from the address `key`."""
        more = count - self.addresses.get(key, 0)
        _put(self.addresses, key, count)
        net = Address(key).network
        _put(self.networks, net, self.networks.get(net, 0) + more)
        self.connections += more


def _put(counts: dict[bytes, int], key: bytes, count: int) -> None:
    if count:
        counts[key] = count
    else:
        counts.pop(key, None)


class Full(Exception):
    """There is no room for another connection; the text says of which kind."""


class Address:
    """Where clients are that are counted as one: an IPv4 address, an IPv6 network of 64 bits, or a
    Unix socket, of which there is one for all."""

    __slots__ = ("_crowd", "connections", "key", "local", "refusals")

    def __init__(self, key: bytes, crowd: Crowd | None = None) -> None:
        """`key` is what `peer.network` gives."""
        self._crowd = crowd
        self.key = key
        self.local = not key or key == _LOOPBACK_6 or (len(key) == 4 and key[0] == 127)
        """It is this machine's own."""
        self.connections = 0
        self.refusals = 0
        """Connections from there for which there was no room, and that are not over yet."""

    def leave(self) -> None:
        """A connection from there is over."""
        assert self._crowd is not None
        self._crowd.leave(self)

    @property
    def network(self) -> bytes:
        """24 bits of an IPv4 address, 48 of an IPv6 one."""
        return self.key[:3] if len(self.key) == 4 else self.key[:6]


class Crowd:
    """Counts connections."""

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008
        self.limits = limits
        self.places = 0
        """For how many connections there are descriptors; 0: for more than there may be."""
        self.connections = 0
        self.refusals = 0
        self.refusals_most = REFUSALS_MOST
        self.elsewhere = Counts()
        """What other processes have, as far as it is known here."""
        self.on_leave: Callable[[], object] | None = None
        """Is called when a connection has left."""
        self.on_change: Callable[[Address], object] | None = None
        """Is called when there is one more from an address, or one less."""
        self.full = {"connections": 0, "address": 0, "network": 0}
        """How often there was no room for another connection, by the limit that was met."""
        self._addresses: dict[bytes, Address] = {}
        self._networks: dict[bytes, int] = {}

    @property
    def room(self) -> int:
        """How many connections may come before there is no descriptor for one."""
        return self.places - self.connections if self.places else _ANY

    def addresses(self) -> Iterable[Address]:
        """Where there are connections from, or refusals."""
        return self._addresses.values()

    def enter(self, peer: object, *, passes_on: bool = False) -> Address:
        """Count a connection that has come from `peer`; one that `passes_on` those of others may
        have any number, each of which is moved once it is known whose it is. Raises `Full`."""
        address = self._address(peer)
        self._check(address, each=not passes_on)
        self._count(address)
        return address

    def leave(self, address: Address) -> None:
        """A connection from there is over."""
        self._uncount(address)
        if self.on_leave is not None:
            self.on_leave()

    def move(self, address: Address, peer: object) -> Address:
        """A connection from there is that of `peer` in truth, as a proxy says.

        Raises `Full` if there is no room for another one of that; it stays counted where it was.
        """
        self._uncount(address)
        try:
            return self.enter(peer)
        except Full:
            self._count(address)
            raise

    def refuse(self, peer: object, *, passes_on: bool = False) -> Address | None:
        """Count a connection that is to be told that there is no room; none, if that is too much
        as well."""
        address = self._address(peer)
        any_number = address.local or passes_on
        most = self.refusals_most if any_number else min(REFUSALS_EACH, self.refusals_most)
        if self.refusals >= self.refusals_most or address.refusals >= most:
            return None
        self._addresses[address.key] = address
        self.refusals += 1
        address.refusals += 1
        return address

    def refused(self, address: Address) -> None:
        """One of those connections is over."""
        self.refusals -= 1
        address.refusals -= 1
        self._forget(address)

    def is_close(self, address: Address) -> bool:
        """Whether there are half as many as there may be, of any kind."""
        limits, elsewhere, net = self.limits, self.elsewhere, address.network
        each = limits.local_address if address.local else limits.per_address
        most = limits.local_network if address.local else limits.per_network
        here = address.connections + elsewhere.addresses.get(address.key, 0)
        there = self._networks.get(net, 0) + elsewhere.networks.get(net, 0)
        return (
            0 < limits.connections <= 2 * (self.connections + elsewhere.connections)
            or 0 < each <= 2 * here
            or 0 < most <= 2 * there
        )

    def _address(self, peer: object) -> Address:
        key = network(peer)
        return self._addresses.get(key) or Address(key, self)

    def _check(self, address: Address, *, each: bool) -> None:
        limits, elsewhere = self.limits, self.elsewhere
        if limits.connections and self.connections + elsewhere.connections >= limits.connections:
            self.full["connections"] += 1
            raise Full(f"there are {limits.connections} connections")
        if each:
            self._check_address(address)

    def _check_address(self, address: Address) -> None:
        limits, elsewhere, key = self.limits, self.elsewhere, address.key
        each = limits.local_address if address.local else limits.per_address
        if each and address.connections + elsewhere.addresses.get(key, 0) >= each:
            self.full["address"] += 1
            raise Full(f"its address has {each} connections")
        most = limits.local_network if address.local else limits.per_network
        if most:
            net = address.network
            there = self._networks.get(net, 0) + elsewhere.networks.get(net, 0)
            if there >= most:
                self.full["network"] += 1
                raise Full(f"its network has {most} connections")

    def _count(self, address: Address) -> None:
        self._addresses[address.key] = address
        net = address.network
        self._networks[net] = self._networks.get(net, 0) + 1
        self.connections += 1
        address.connections += 1
        if self.on_change is not None:
            self.on_change(address)

    def _uncount(self, address: Address) -> None:
        net = address.network
        self._networks[net] -= 1
        if not self._networks[net]:
            del self._networks[net]
        self.connections -= 1
        address.connections -= 1
        self._forget(address)
        if self.on_change is not None:
            self.on_change(address)

    def _forget(self, address: Address) -> None:
        if not (address.connections or address.refusals):
            del self._addresses[address.key]
