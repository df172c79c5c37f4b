"""The receiving side of a connection: bytes into buffers, and what that took.

Imports the modules beside it. A fast stream is let to gather bytes before it wakes us.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

from tcpdl.client.receiving import FAST, broken

if TYPE_CHECKING:
    from tcpdl.client.tls import Tls

LOW_WATER = 512 * 1024
"""Bytes of a run that must have come before we are woken: fewer wake-ups (bench/native.py)."""

LATELY = 4 * 1024 * 1024
"""Bytes over which it is measured whether a stream is fast."""

_RTT_OFFSET = 68  # of tcpi_rtt in struct tcp_info, <linux/tcp.h>; in microseconds


def low_water(left: int, room: int) -> int:
    """How many bytes must have come before a fast stream wakes us, of which `left` are to come,
    for `room` of which there is room.

    A recv that has copied some bytes, and wants more, sleeps until that many more stand unread:
    they must still be to come, or it would sleep until the timeout (tcp_data_ready in Linux's
    net/ipv4/tcp_input.c).
    """
    mark = min(LOW_WATER, room)
    return mark if 2 * mark <= left else 1


class Inlet:
    """Receives from a connected, blocking socket, or from TLS on one; for one thread at a time."""

    def __init__(self, source: socket.socket | Tls) -> None:
        self._source = source
        # Of what is encrypted, nobody knows how many bytes of the socket are to come.
        self._sock = source if isinstance(source, socket.socket) else None
        self._low_water = 1
        self._is_fast = False
        self._lately = 0
        self._since = time.perf_counter()
        self.received = 0
        """Bytes that came."""
        self.waited = 0.0
        """Seconds spent waiting for runs, and taking them from the kernel."""

    def read(self, view: memoryview) -> int:
        """Receive into `view` what is there; return how many bytes, or 0 at the end of the stream.

        Raises `ConnectionBroken`.
        """
        self._set_low_water(1)
        try:
            count = self._source.recv_into(view)
        except OSError as error:
            raise broken(error, self.received) from error
        self.received += count
        return count

    def read_run(self, view: memoryview, left: int) -> int:
        """The same, of a run of which `left` bytes are still to come."""
        self._set_low_water(low_water(left, len(view)) if self._is_fast else 1)
        began = time.perf_counter()
        try:
            count = self._source.recv_into(view[:left])
        except OSError as error:
            raise broken(error, self.received) from error
        now = time.perf_counter()
        self.waited += now - began
        self.received += count
        self._lately += count
        if self._lately >= LATELY:
            self._is_fast = self._lately > FAST * (now - self._since)
            self._lately, self._since = 0, now
        return count

    def _set_low_water(self, count: int) -> None:
        if self._sock is not None and count != self._low_water:
            self._low_water = count
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def round_trip(sock: socket.socket) -> float:
    """Seconds from here to the peer and back, as the kernel has measured it; 0.1 where it does not
    tell."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_OFFSET + 4)
        return int.from_bytes(info[_RTT_OFFSET:], sys.byteorder) / 1e6 or 0.1
    except (OSError, AttributeError):
        return 0.1
