"""Tests a system that has no descriptors left for anybody: who has a connection is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, daemon_of
from tests.faults.fetching import Fetch, HttpAnswer

REQUESTS = 500
LINES_MOST = 50
"""About what could not be accepted."""


@pytest.fixture
def daemon(root: Path, shim: Path) -> Iterator[Daemon]:
    (root / "small").write_bytes(b"small")
    env = {"LD_PRELOAD": str(shim), "SHIM_FULL": str(root.parent / "full")}
    with daemon_of(root, env=env) as running:
        yield running


def test_a_full_system(daemon: Daemon) -> None:
    full = daemon.root.parent / "full"
    with Fetch(daemon.port, "http", "small") as kept:
        kept.read(5)
        full.touch()
        with Fetch(daemon.port, "http", "small") as waiting:
            daemon.log.wait_for("(Could not accept new connection)")
            for _ in range(REQUESTS):
                kept.answer = HttpAnswer(b"small")
                kept.sock.sendall(kept.request)
                kept.read(5)
            assert daemon.log.text.count("Could not accept") < LINES_MOST
            full.unlink()
            waiting.read(5)
