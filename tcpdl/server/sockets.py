"""What the kernel says of a connection's bytes, and what it does with them at the end.

Imports the standard library only. A socket may be closed, or be one that knows nothing of it.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Any

_TCP_CLOSE = 7  # <netinet/tcp.h>
_RESET = struct.pack("ii", 1, 0)
_FLUSH = struct.pack("ii", 0, 0)


def under_way(sock: Any) -> int:
    """Bytes in the kernel's hands that the peer has not acknowledged, an end counted as one; for a
    Unix socket, the memory that they are in; 0 if that cannot be told."""
    try:
        waiting = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, AttributeError):
        return 0
    number: int = struct.unpack("i", waiting)[0]
    return number


def unacknowledged(sock: Any) -> int:
    """The same, but nothing where there is nobody any more who could acknowledge it."""
    try:
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE:
            return 0
    except (OSError, AttributeError):
        return 0  # a Unix socket, whose peer has at once what is sent; or it is closed
    return under_way(sock)


def reset_when_closed(sock: Any, reset: bool) -> None:
    """Have the kernel reset the connection however it is closed; or no more."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET if reset else _FLUSH)
