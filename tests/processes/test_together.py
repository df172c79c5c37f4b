"""Tests limits that hold for all workers together, with workers that are processes."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemons import SECONDS, daemon_of, until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of the machine"
)

MOST = 12
"""Connections of an address."""


def answered(sock: socket.socket) -> bool:
    """Whether there is room for this connection."""
    sock.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
    status = sock.recv(12)
    assert status in (b"HTTP/1.1 200", b"HTTP/1.1 503"), status
    return status.endswith(b"200")


def test_an_address_has_so_many_connections_with_all_workers(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"content")
    limit = f"--max-connections-per-address={MOST}"
    with daemon_of(root, "--workers=2", limit) as daemon, ExitStack() as kept:

        def comes_in() -> bool:
            sock = socket.create_connection(("127.0.0.1", daemon.port), SECONDS, ("127.0.0.2", 0))
            if not answered(sock):
                sock.close()
                return False
            kept.enter_context(sock)
            return True

        came = 0
        refused = 0
        # Each worker may not know yet of what the other has just accepted; soon both do.
        while refused < 20:
            came, refused = (came + 1, 0) if comes_in() else (came, refused + 1)
        assert MOST <= came <= 2 * MOST
        others = socket.create_connection(("127.0.0.1", daemon.port), SECONDS, ("127.0.0.3", 0))
        assert answered(kept.enter_context(others))
        # When they have gone, there is room again, wherever they were.
        kept.close()
        until(comes_in)
