"""Ask for a file in the raw dialect: send its name, take bytes until the end.

Imports `client` and `wire`. PROTOCOL.md section 2 is the specification.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from tcpdl.client.errors import BadRequest, NothingThere
from tcpdl.client.line import Line
from tcpdl.client.receiving import Progress, broken, receive_all, receive_into
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire.names import MAX_NAME


class Reply(Line):
    """The answer about one file: its bytes, until the stream ends. Use it as a context manager."""

    def __init__(self, place: Location, ways: Ways) -> None:
        """Ask for the file at `place`; its first byte has come then.

        The dialect cannot tell a file that is absent from an empty one: both are answered with no
        bytes, and raise `NothingThere`. Raises `BadRequest` for a name that cannot be sent,
        `CannotConnect` and `ConnectionBroken`.
        """
        name = place.path
        if not name:
            raise BadRequest("the URL names no file; write host:port/name")
        if any(byte in name for byte in b"\n\0") or name.endswith(b"\r"):
            raise BadRequest("the raw dialect cannot carry a name with a line end or NUL in it")
        if len(name) > MAX_NAME:
            raise BadRequest(f"the name has {len(name)} bytes; {MAX_NAME} is the most")
        super().__init__(place, ways)
        try:
            if not self._ask(name):
                raise NothingThere(f"the server has no file '{place.label}', or it is empty")
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise broken(error, 0) from error
            raise

    def copy(self, out: int, progress: Progress) -> int:
        """Write what comes to the descriptor `out`. The rest is that of `receive_all`."""
        return receive_all(self._open(), out, progress)

    def give(self, write: Callable[[bytes], object], progress: Progress) -> int:
        """The same, but give the bytes to `write`."""
        return receive_into(self._open(), write, progress)

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, name: bytes) -> bool:
        """Send `name`; whether anything comes for it."""
        self.open()
        if self._tls is not None:
            # The end of a stream under TLS, many servers take for the end of the connection.
            self._tls.sendall(name + b"\n")
            return self._tls.wait()
        assert self._sock is not None
        # No line end: servers that take the first read as the name would look for one with it.
        # The half-close ends the name for those that wait for an end.
        self._sock.sendall(name)
        self._sock.shutdown(socket.SHUT_WR)
        return bool(self._sock.recv(1, socket.MSG_PEEK))
