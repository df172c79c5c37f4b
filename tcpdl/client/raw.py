"""Fetch a file in the raw dialect: send its name, take bytes until the end.

Imports `client` and `wire`. PROTOCOL.md section 2 is the specification.
"""

from __future__ import annotations

import socket

from tcpdl.client.connect import connect
from tcpdl.client.errors import BadRequest, NothingThere
from tcpdl.client.receiving import Progress, broken, limit_waits, receive_all
from tcpdl.client.url import Location
from tcpdl.wire.names import MAX_NAME
from tcpdl.wire.text import printable


def fetch(location: Location, out: int, timeout: float, progress: Progress) -> int:
    """Write the file at `location` to the descriptor `out`; return its size in bytes.

    Raises what `request` and `receive_all` raise.
    """
    with request(location, timeout) as sock:
        return receive_all(sock, out, progress)


def request(location: Location, timeout: float) -> socket.socket:
    """Ask for the file at `location`; return the connection once its first byte has come.

    The dialect cannot tell a file that is absent from an empty one: both are answered with no
    bytes, and raise `NothingThere`. Raises `BadRequest` for a name that cannot be sent,
    `CannotConnect` and `ConnectionBroken`. `timeout`, in seconds, bounds the connecting, and then
    every wait for more bytes.
    """
    name = location.path
    if not name:
        raise BadRequest("the URL names no file; write host:port/name")
    if any(byte in name for byte in b"\n\0") or name.endswith(b"\r"):
        raise BadRequest("the raw dialect cannot carry a name with a line end or NUL in it")
    if len(name) > MAX_NAME:
        raise BadRequest(f"the name has {len(name)} bytes; {MAX_NAME} is the most")
    sock = connect(location.host, location.port, timeout)
    try:
        limit_waits(sock, timeout)
        # No line end: servers that take the first read as the name would look for one with it.
        # The half-close ends the name for those that wait for an end.
        sock.sendall(name)
        sock.shutdown(socket.SHUT_WR)
        if not sock.recv(1, socket.MSG_PEEK):
            raise NothingThere(f"the server has no file '{printable(name)}', or it is empty")
    except OSError as error:
        sock.close()
        raise broken(error, 0) from error
    except BaseException:
        sock.close()
        raise
    return sock
