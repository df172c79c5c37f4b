"""Sockets that systemd opened and handed over (sd_listen_fds(3)). Imports Twisted and `listening`.

Each has a name, the FileDescriptorName= of its socket unit, which says what is served on it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.plugins.twisted_core import systemdEndpointParser

from tcpdl.server.listening import CannotListen

FILES, TLS, ECHO = "files", "tls", "echo"
"""What may be served on a port: files; files, and nothing that is not encrypted; the echo."""


def handed_over(environ: Mapping[str, str]) -> Sequence[str]:
    """What is to be served on each of the sockets that were handed to this process.

    Raises `ValueError` if one of them has a name that does not say so.
    """
    # Twisted has looked whether they are meant for us, and has taken that out of the environment
    # so that no child takes them for its own.
    count = 0
    while _descriptor(count) is not None:
        count += 1
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    return [served_as(name) for name in names[:count]]


def served_as(name: str) -> str:
    """What is served on a socket of this name: files, if it has none but that of its unit.

    Raises `ValueError` if it could be meant for anything.
    """
    if name in (FILES, TLS, ECHO):
        return name
    if name.endswith(".socket"):
        return FILES
    raise ValueError(
        f"systemd hands over a socket called {name!r}: write FileDescriptorName={FILES}, {TLS} or "
        f"{ECHO} in its unit"
    )


def take(index: int) -> socket.socket:
    """A duplicate of one of the sockets that were handed over. Raises `CannotListen`."""
    descriptor = _descriptor(index)
    if descriptor is None:
        raise CannotListen(f"systemd has handed over no socket number {index}")
    sock = socket.socket(fileno=os.dup(descriptor))
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise CannotListen(
            "systemd hands over a socket on which nobody can connect: write ListenStream= and "
            "Accept=no in its unit"
        )
    sock.setblocking(False)
    return sock


def _descriptor(index: int) -> int | None:
    """Of the socket with this number, if there is one. It stays open."""
    parser: Any = systemdEndpointParser
    try:
        endpoint = parser.parseStreamServer(None, domain="INET", index=str(index))
    except IndexError:
        return None
    found: int = endpoint.fileno
    return found
