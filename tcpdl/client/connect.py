"""Connect to a host that has several addresses (Happy Eyeballs, RFC 8305).

Imports `client.errors` and `client.url`. The addresses are tried in the order of the system's
preference, families alternating, each a moment after the one before; the first that answers wins.
A host whose IPv6 is broken thus costs a quarter of a second and not a time-out.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any

from tcpdl.client.errors import CannotConnect
from tcpdl.client.url import join

ATTEMPT_DELAY = 0.25
"""Seconds between two attempts: RFC 8305, section 8."""

LOOK = 0.1
"""Seconds between two looks whether a connection is still wanted."""

Address = tuple[int, Any]
"""An address family, and an address of that family."""


def connect(
    host: str, port: int, timeout: float, wanted: Callable[[], bool] | None = None
) -> socket.socket:
    """A connected, blocking TCP socket.

    Raises `CannotConnect` when the name has no address, when every address was refused, when none
    answered within `timeout` seconds, or when it is not `wanted` any more.
    """
    addresses = interleave(_resolve(host, port))
    try:
        sock = first_to_answer(addresses, timeout, _attempt, wanted)
    except CannotConnect as error:
        raise CannotConnect(f"cannot connect to {join(host, port)}: {error}") from None
    sock.setblocking(True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def interleave(addresses: Iterable[Address]) -> list[Address]:
    """`addresses` with their families alternating, the order within each kept (section 4)."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rounds = zip_longest(*families.values())
    return [address for address in chain.from_iterable(rounds) if address is not None]


def first_to_answer(
    addresses: list[Address],
    timeout: float,
    attempt: Callable[[Address], socket.socket],
    wanted: Callable[[], bool] | None = None,
) -> socket.socket:
    """The first socket to be connected, all others closed (section 5).

    `attempt` begins to connect and returns at once, or raises `OSError`. `wanted` is asked now and
    then whether to go on.
    """
    waiting = list(addresses)
    refusals: list[str] = []
    deadline = time.monotonic() + timeout
    next_attempt = 0.0
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                now = time.monotonic()
                if wanted is not None and not wanted():
                    refusals.append("it is not wanted any more")
                    break
                if waiting and (now >= next_attempt or not selector.get_map()):
                    address = waiting.pop(0)
                    try:
                        selector.register(attempt(address), selectors.EVENT_WRITE, address)
                    except OSError as error:
                        refusals.append(_refusal(address, error.errno))
                        continue
                    next_attempt = now + ATTEMPT_DELAY
                until = min(deadline, next_attempt) if waiting else deadline
                until = until if wanted is None else min(until, now + LOOK)
                ready = selector.select(max(0.0, until - time.monotonic()))
                for key, _ in ready:
                    sock: Any = key.fileobj
                    selector.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        return sock  # type: ignore[no-any-return]
                    sock.close()
                    refusals.append(_refusal(key.data, code))
                    next_attempt = 0.0  # do not make the next one wait for a dead one
                # A process that was stopped meanwhile looks first at what has come.
                if not ready and time.monotonic() >= deadline:
                    refusals.append(f"no answer within {timeout:g} s")
                    break
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    raise CannotConnect("; ".join(dict.fromkeys(refusals)))


def peer_of(sock: socket.socket) -> str:
    """The address that `sock` is connected to, as `connect` takes it for a host; empty if it is
    connected no more."""
    try:
        host, _, *more = sock.getpeername()
    except OSError:
        return ""
    zone = more[1] if more else 0  # of an address that means something on one network only
    return f"{host}%{zone}" if zone else host


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise CannotConnect(f"cannot find the host {host!r}: {error.strerror}") from None
    except (UnicodeError, ValueError):
        raise CannotConnect(f"{host!r} is not a host name") from None
    return [(family, address) for family, _, _, _, address in found]


def _attempt(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.connect(where)
    except BaseException:
        sock.close()
        raise
    return sock


def _refusal(address: Address, code: int | None) -> str:
    why = os.strerror(code or errno.EIO).lower()
    return f"{why} ({address[1][0]})"
