"""A connection in the native dialect: requests go out, messages and runs come in.

Imports `wire`, `digest` and the modules beside it. Blocking; for one thread at a time, but for
`interrupt`. Reading stops exactly where a run of file bytes begins, so that those come in pieces of
their own, straight from the socket.
"""

from __future__ import annotations

import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from tcpdl import digest
from tcpdl.client.connect import connect
from tcpdl.client.errors import (
    Changed,
    ClientError,
    ConnectionBroken,
    Garbled,
    NothingThere,
    OtherDialect,
    ServerFailed,
)
from tcpdl.client.receiving import FAST, broken, limit_waits
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, Room, State
from tcpdl.wire.native import (
    MAGIC,
    Answer,
    DigestList,
    End,
    Error,
    FileInfo,
    ProtocolError,
    Request,
    WrongUse,
)
from tcpdl.wire.text import printable

LOW_WATER = 512 * 1024
"""Bytes of a run that must have come before we are woken: fewer wake-ups (bench/native.py)."""

LATELY = 4 * 1024 * 1024
"""Bytes over which it is measured whether a stream is fast."""


def low_water(left: int, room: int) -> int:
    """How many bytes must have come before a fast stream wakes us, of which `left` are to come,
    for `room` of which there is room.

    A recv that has copied some bytes, and wants more, sleeps until that many more stand unread:
    they must still be to come, or it would sleep until the timeout (tcp_data_ready in Linux's
    net/ipv4/tcp_input.c).
    """
    mark = min(LOW_WATER, room)
    return mark if 2 * mark <= left else 1


_RTT_OFFSET = 68  # of tcpi_rtt in struct tcp_info, <linux/tcp.h>; in microseconds


class Session:
    """A connection on which any number of requests is made, and answered in order.

    Use it as a context manager.
    """

    def __init__(self, host: str, port: int, timeout: float) -> None:
        """Connect. `timeout`, in seconds, bounds that, and then every wait for more bytes.

        Raises `CannotConnect`.
        """
        self._sock = connect(host, port, timeout)
        limit_waits(self._sock, timeout)
        self._incoming = Incoming(State.ANSWER)
        self._room = Room(self._incoming)
        self._out = bytearray(native.preface(digest.AVAILABLE))
        self._asked: deque[tuple[int, bytes]] = deque()  # ids, and requests as they were sent
        self._number = 0
        self._greeted = False
        self._low_water = 1
        self._is_fast = False
        self._lately = 0
        self._since = time.perf_counter()
        self.received = 0
        """Bytes that came on this connection."""
        self.waited = 0.0
        """Seconds spent waiting for runs, and taking them from the kernel."""

    @property
    def algorithm(self) -> int:
        """The digest that the server chose; 0 until its first message came."""
        return self._incoming.digests

    @property
    def round_trip(self) -> float:
        """Seconds from here to the server and back, as the kernel has measured it; 0.1 where it
        does not tell."""
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_OFFSET + 4)
            return int.from_bytes(info[_RTT_OFFSET:], sys.byteorder) / 1e6 or 0.1
        except (OSError, AttributeError):
            return 0.1

    def digest(self, data: bytes | bytearray | memoryview) -> bytes:
        """The digest of `data`, as this connection computes it."""
        return digest.digest(self.algorithm, data)

    def seal(self, data: bytes | bytearray | memoryview) -> bytes:
        """The digest of the request whose answer is under way, and of `data`."""
        return digest.digest(self.algorithm, self._asked[0][1], data)

    def ask(self, make: Callable[[int], Request]) -> int:
        """Queue the request that `make` makes of an id; return that id. `flush` sends it."""
        self._number = (self._number + 1) & 0xFFFF
        try:
            request = native.encode(make(self._number))
        except WrongUse as problem:
            raise NothingThere(str(problem)) from None
        self._out += request
        self._asked.append((self._number, request))
        return self._number

    def flush(self) -> None:
        """Send the requests that are queued. Raises `ConnectionBroken`."""
        out, self._out = self._out, bytearray()
        if out:
            try:
                self._sock.sendall(out)
            except OSError as error:
                self._lost(error)

    def next(self) -> Answer:
        """The next message, errors included: a part of the answer to what was asked first. Sends
        what is queued before.

        Raises `ConnectionBroken`; `Garbled` if that was damaged, or makes no sense; `OtherDialect`
        if the very first bytes are none of ours.
        """
        self.flush()
        while True:
            try:
                message = self._incoming.next()
                if self._incoming.version and not self._greeted:
                    self._check_greeting()
                if message is not None:
                    self._check(message)
                    return message  # type: ignore[return-value]  # only answers pass the table
            except ProtocolError as problem:
                raise Garbled(f"the server's answer makes no sense: {problem}") from None
            self._receive()

    def take(self, length: int) -> bytes:
        """All `length` bytes of the run that was announced last."""
        self._set_low_water(1)
        data = bytearray(length)
        view = memoryview(data)
        while view:
            try:
                count = self._sock.recv_into(view)
            except OSError as error:
                self._lost(error)
            if not count:
                self._ended()
            self.received += count
            self._incoming.passed(count)
            view = view[count:]
        return bytes(data)

    def receive(self, view: memoryview, left: int) -> int:
        """Receive into `view` some of the run that was announced last, of which `left` bytes are
        still to come; return how many. Raises `ConnectionBroken`."""
        self._set_low_water(low_water(left, len(view)) if self._is_fast else 1)
        began = time.perf_counter()
        try:
            count = self._sock.recv_into(view[:left])
        except OSError as error:
            self._lost(error)
        if not count:
            self._ended()
        now = time.perf_counter()
        self.waited += now - began
        self._incoming.passed(count)
        self.received += count
        self._lately += count
        if self._lately >= LATELY:
            self._is_fast = self._lately > FAST * (now - self._since)
            self._lately, self._since = 0, now
        return count

    def interrupt(self) -> None:
        """End the connection, from another thread: whoever waits on it gets `ConnectionBroken`."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        self._sock.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> None:
        self._set_low_water(1)
        view = self._room.view()
        try:
            count = self._sock.recv_into(view)
        except OSError as error:
            self._lost(error)
        if not count:
            self._ended()
        if not self._greeted and bytes(view[: min(count, len(MAGIC))]) != MAGIC[:count]:
            raise OtherDialect("the server does not speak the native dialect")
        self.received += count
        self._room.filled(count)

    def _check_greeting(self) -> None:
        self._greeted = True
        chosen = self._incoming.digests
        if chosen and not (chosen & digest.AVAILABLE and chosen in (native.SHA256, native.BLAKE3)):
            raise ProtocolError(f"it chose digest {chosen}, which was not offered")

    def _check(self, message: Any) -> None:
        """Raise `ProtocolError` unless `message` belongs to the request whose turn it is."""
        if isinstance(message, Error) and message.code >= native.FATAL:
            return
        if not self._asked:
            raise ProtocolError("an answer, though nothing was asked for")
        number = self._asked[0][0]
        if message.id != number:
            raise ProtocolError(f"an answer to request {message.id}, where {number} has its turn")
        if isinstance(message, (End, Error)):
            self._asked.popleft()
        elif not self.algorithm:
            raise ProtocolError("no digest was chosen, and yet there is an answer")
        elif (
            isinstance(message, (FileInfo, DigestList))
            and self.seal(message.unsealed) != message.seal
        ):
            raise ProtocolError("it was damaged on its way, or the request was")

    def _set_low_water(self, count: int) -> None:
        if count != self._low_water:
            self._low_water = count
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def _lost(self, error: OSError) -> NoReturn:
        raise broken(error, self.received) from error

    def _ended(self) -> NoReturn:
        if not self._greeted:
            raise OtherDialect("the server does not answer in the native dialect")
        raise ConnectionBroken(f"the server ended the connection after {self.received} bytes")


def failure(error: Error, name: bytes) -> ClientError:
    """The exception that stands for an `Error` message about the file or folder `name`."""
    said = printable(error.sentence)
    shown = printable(name)
    if error.code in (native.ABSENT, native.REFUSED):
        return NothingThere(f"the server has no '{shown}' to hand out: {said}")
    if error.code == native.IS_FOLDER:
        return NothingThere(f"'{shown}' is a folder; use tcpdl mirror or tcpdl ls for it")
    if error.code == native.NOT_A_FOLDER:
        return NothingThere(f"'{shown}' is no folder; use tcpdl get for a file")
    if error.code == native.CHANGED:
        return Changed(f"'{shown}' changed on the server")
    return ServerFailed(f"the server could not send '{shown}': {said}")
