"""What ends a wait of the client's in tests: that its server has no more to send, and not a clock.

On a busy machine, what a thread of the server's is about to send may take longer than any timeout
of a test. A timeout here says how often it is looked whether the server has fallen silent.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Any

_hearings: dict[int, Hearing] = {}
"""By their ports. What becomes of connections to others is for the clock to say."""


class Hearing:
    """How a server hears its clients, and on which connections it does nothing else."""

    def __init__(self, listener: socket.socket) -> None:
        self._port: int = listener.getsockname()[1]
        self._waiting: dict[object, socket.socket] = {}
        _hearings[self._port] = self

    def close(self) -> None:
        """The port may be another one's."""
        _hearings.pop(self._port, None)

    def recv(self, sock: socket.socket) -> bytes:
        """Receive something."""
        peer = sock.getpeername()
        self._waiting[peer] = sock
        try:
            sock.recv(1, socket.MSG_PEEK)
        finally:
            del self._waiting[peer]
        return sock.recv(65536)

    def is_silent(self, client: socket.socket) -> bool:
        """Whether no more is on its way to `client` than what it can take at once."""
        ours = client.getsockname()
        sock = self._waiting.get(ours)
        if sock is None or _count(client, termios.TIOCOUTQ) or _count(sock, termios.FIONREAD):
            return False
        # It has heard all; if it has answered some of that just now, it waits anew.
        return self._waiting.get(ours) is sock and not _count(sock, termios.TIOCOUTQ)


def _count(sock: socket.socket, which: int) -> int:
    """Bytes that it has not read, or that its peer does not have yet."""
    count: int = struct.unpack("i", fcntl.ioctl(sock, which, bytes(4)))[0]
    return count


def patient(honest: Any) -> Any:
    """`honest`, which is `socket.recv_into`, with no end to a wait that is not for nothing."""

    def recv_into(self: socket.socket, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        while True:
            try:
                return honest(self, buffer, nbytes, flags)  # type: ignore[no-any-return]
            except BlockingIOError:
                if flags:
                    raise
                if _is_silent(self):
                    return honest(self, buffer, nbytes, socket.MSG_DONTWAIT)  # type: ignore[no-any-return]

    return recv_into


def _is_silent(client: socket.socket) -> bool:
    try:
        hearing = _hearings.get(client.getpeername()[1])
        return hearing is None or hearing.is_silent(client)
    except OSError:  # one of the two has ended the connection
        return False
