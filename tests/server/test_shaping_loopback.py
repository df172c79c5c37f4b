"""Tests limits of rate in a real daemon, whose clients have several addresses."""

from __future__ import annotations

import os
import selectors
import socket
import sys
from pathlib import Path

import pytest

from tests.daemons import SECONDS, daemon_of

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of the machine"
)


def test_thirteen_connections_get_no_more_than_one_of_another_address(tmp_path: Path) -> None:
    """What each has got is compared, not when: a slow machine changes nothing."""
    root = tmp_path / "root"
    root.mkdir()
    with open(root / "large", "wb") as file:
        os.truncate(file.fileno(), 1 << 30)
    hosts = ["127.0.0.1"] * 13 + ["127.0.0.2"]
    got = dict.fromkeys(hosts, 0)
    with daemon_of(root, "--max-rate=20M") as daemon, selectors.DefaultSelector() as selector:
        for host in hosts:
            sock = socket.create_connection(("127.0.0.1", daemon.port), SECONDS, (host, 0))
            sock.sendall(b"large\n")
            selector.register(sock, selectors.EVENT_READ, host)

        def read(until: int) -> None:
            while sum(got.values()) < until:
                events = selector.select(SECONDS)
                assert events
                for key, _ in events:
                    assert isinstance(key.fileobj, socket.socket)
                    data = key.fileobj.recv(1 << 16)
                    assert data
                    got[key.data] += len(data)

        try:
            # At first each has what its buffers hold, and what it may send at once.
            read(until=20_000_000)
            many, one = got.values()
            read(until=50_000_000)
        finally:
            for key in list(selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
        many, one = got["127.0.0.1"] - many, got["127.0.0.2"] - one
        assert one == pytest.approx(many, rel=0.1)
