"""Move the bytes of a socket into a file until the stream ends. Imports `client.errors`.

Where the kernel can, bytes go from the socket through a pipe into the file without entering this
process (`splice(2)`); elsewhere they are read and written.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from tcpdl.client.errors import CannotWrite, ConnectionBroken, Silent

if TYPE_CHECKING:
    from tcpdl.client.tls import Tls

PIECE = 1024 * 1024
"""Bytes moved at a time, and the size of the pipe that is asked for."""

LOW_WATER = 256 * 1024
"""Bytes that must have come before a fast stream wakes us: half the wake-ups, and on loopback up
to twice the speed (bench/raw.py)."""

FAST = 64 * 1024 * 1024
"""Bytes a second from which a stream is fast: `LOW_WATER` then comes within 4 ms."""

_F_SETPIPE_SZ = 1031  # fcntl has the name from Python 3.10 on Linux only

Progress = Callable[[int], None]
"""Is told of bytes that were written, as they are."""


def limit_waits(sock: socket.socket, seconds: float) -> None:
    """Let no read or write on the blocking socket `sock` wait longer than `seconds`.

    Unlike `socket.settimeout`, this holds for `splice` as well.
    """
    whole = int(seconds)
    interval = struct.pack("ll", whole, int((seconds - whole) * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)


def receive_all(source: socket.socket | Tls, out: int, progress: Progress) -> int:
    """Write what `source` receives to the descriptor `out` until the stream ends; return how much.

    Raises `ConnectionBroken` if the stream is reset, or falls silent for as long as `limit_waits`
    allows; and `CannotWrite`.
    """
    if hasattr(os, "splice") and isinstance(source, socket.socket):
        return _Splice(source, out, progress).run()
    return _copy(source, out, progress, 0)


def receive_into(
    source: socket.socket | Tls, write: Callable[[bytes], object], progress: Progress
) -> int:
    """The same, but give the bytes to `write`."""
    buffer = memoryview(bytearray(PIECE))
    received = 0
    while True:
        try:
            count = source.recv_into(buffer)
        except OSError as error:
            raise broken(error, received) from error
        if not count:
            return received
        write(bytes(buffer[:count]))
        received += count
        progress(count)


class _Pace:
    """Lets a fast stream fill its socket a little before we are woken, and no other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._since = time.monotonic()
        self._count = 0
        self._fast = False

    def __call__(self, count: int) -> None:
        """`count` more bytes have come."""
        self._count += count
        if self._count < 4 * PIECE:
            return
        now = time.monotonic()
        fast = self._count > FAST * (now - self._since)
        if fast != self._fast:
            self._fast = fast
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, LOW_WATER if fast else 1)
        self._since = now
        self._count = 0


class _Splice:
    def __init__(self, sock: socket.socket, out: int, progress: Progress) -> None:
        self._sock = sock
        self._out = out
        self._progress = progress
        self._pace = _Pace(sock)
        self._received = 0

    def run(self) -> int:
        reader, writer = os.pipe()
        try:
            with suppress(OSError):
                fcntl.fcntl(writer, _F_SETPIPE_SZ, PIECE)
            return self._run(reader, writer)
        finally:
            os.close(reader)
            os.close(writer)

    def _run(self, reader: int, writer: int) -> int:
        number = self._sock.fileno()
        while True:
            try:
                count = os.splice(number, writer, PIECE)
            except OSError as error:
                if error.errno == errno.EINVAL and not self._received:
                    return _copy(self._sock, self._out, self._progress, 0)
                raise broken(error, self._received) from error
            if count == 0:
                return self._received
            if not self._drain(reader, count):
                # The output takes no splice: one opened for appending, some terminals.
                write_all(self._out, os.read(reader, count))
                self._received += count
                self._progress(count)
                return _copy(self._sock, self._out, self._progress, self._received)
            self._received += count
            self._progress(count)
            self._pace(count)

    def _drain(self, reader: int, count: int) -> bool:
        while count:
            try:
                count -= os.splice(reader, self._out, count)
            except BlockingIOError:
                _wait_for(self._out)
            except OSError as error:
                if error.errno == errno.EINVAL and not self._received:
                    return False
                raise cannot_write(error) from error
        return True


def _copy(source: socket.socket | Tls, out: int, progress: Progress, received: int) -> int:
    buffer = memoryview(bytearray(PIECE))
    while True:
        try:
            count = source.recv_into(buffer)
        except OSError as error:
            raise broken(error, received) from error
        if count == 0:
            return received
        write_all(out, buffer[:count])
        received += count
        progress(count)


def write_all(out: int, data: bytes | memoryview) -> None:
    """Write all of `data` to the descriptor `out`. Raises `CannotWrite`."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(out, view) :]
        except BlockingIOError:
            _wait_for(out)
        except OSError as error:
            raise cannot_write(error) from error


def _wait_for(out: int) -> None:
    """Wait until the descriptor `out`, which somebody made non-blocking, takes more."""
    poll = select.poll()
    poll.register(out, select.POLLOUT)
    poll.poll()


def cannot_write(error: OSError) -> CannotWrite:
    """`error`, met while writing, in words."""
    if error.errno == errno.EPIPE:
        return CannotWrite("nobody reads the output any more")
    return CannotWrite(f"cannot write: {os.strerror(error.errno or 0).lower()}")


def broken(error: OSError, received: int) -> ConnectionBroken:
    """`error`, met after `received` bytes had come, in words."""
    if isinstance(error, BlockingIOError):
        return Silent(f"the server fell silent after {received} bytes")
    return ConnectionBroken(f"{os.strerror(error.errno or 0).lower()} after {received} bytes")
