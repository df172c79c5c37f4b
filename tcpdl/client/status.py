"""Asks a daemon on this machine what it is at. Imports `client.errors` and the standard library.

It is HTTP on a Unix socket, or on the loopback interface, and so small that `http.client` will do.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import Any, NamedTuple

from tcpdl.client.errors import BadRequest, CannotConnect, ConnectionBroken

DEFAULT = "unix:/run/tcpdl/admin.sock"

STATUS_MOST = 8 << 20
"""Bytes of an answer that are read."""

_TCP = re.compile(r"tcp:([0-9]{1,5})(?::interface=(.+))?")

_NO_STATUS = "what answers there tells no status: is it the --admin of a tcpdl daemon?"


class AdminEndpoint(NamedTuple):
    """Where a daemon has its --admin."""

    path: str | None
    """Of a Unix socket; or else `host` and `port`."""
    host: str = ""
    port: int = 0


def parse_endpoint(text: str) -> AdminEndpoint:
    """What the daemon was given as --admin. Raises `BadRequest`."""
    kind, _, path = text.partition(":")
    if kind == "unix" and path:
        return AdminEndpoint(path)
    found = _TCP.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= 65535:
        raise BadRequest(f"{text!r} is no address: write unix:PATH or tcp:PORT, as the daemon has")
    host = (found[2] or "127.0.0.1").replace("\\:", ":")
    return AdminEndpoint(None, host, int(found[1]))


def fetch_status(endpoint: AdminEndpoint, timeout: float) -> dict[str, Any]:
    """What the daemon says of itself.

    Raises `CannotConnect` if there is none, or one that does not let us ask, and
    `ConnectionBroken` if it says something else.
    """
    connection = _Connection(endpoint, timeout)
    try:
        try:
            connection.connect()
        except OSError as error:
            raise CannotConnect(_why_not(endpoint, error)) from error
        connection.request("GET", "/status", headers={"Accept": "application/json"})
        response = connection.getresponse()
        text = response.read(STATUS_MOST)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionBroken(f"the daemon did not say what it is at: {_short(error)}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise ConnectionBroken(f"{_NO_STATUS} (it says {response.status})")
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict) or "version" not in status:
        raise ConnectionBroken(_NO_STATUS)
    return status


class _Connection(http.client.HTTPConnection):
    """HTTP to an endpoint of either kind."""

    def __init__(self, endpoint: AdminEndpoint, timeout: float) -> None:
        super().__init__(endpoint.host or "localhost", endpoint.port or None, timeout=timeout)
        self._path = endpoint.path

    def connect(self) -> None:
        if self._path is None:
            super().connect()
            return
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


def _why_not(endpoint: AdminEndpoint, error: OSError) -> str:
    where = endpoint.path or f"port {endpoint.port} of {endpoint.host}"
    if isinstance(error, PermissionError):
        return f"this user may not ask at {where}: it is for the daemon's user and group, and root"
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return f"no daemon answers at {where}: start it with --admin, or say where with --admin"
    return f"no daemon answers at {where}: {_short(error)}"


def _short(error: Exception) -> str:
    strerror: str | None = getattr(error, "strerror", None)
    return strerror or str(error) or type(error).__name__
