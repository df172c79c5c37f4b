"""Tests connections served through a set of connections inside each kind of reactor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tcpdl.server import epoll

pytestmark = pytest.mark.skipif(not epoll.available(), reason="this platform has no epoll")


@pytest.mark.parametrize("reactor", ["epoll", "poll", "select", "asyncio"])
def test_connections_are_served_inside(reactor: str) -> None:
    script = Path(__file__).with_name("nested.py")
    ended = subprocess.run(
        [sys.executable, "-W", "error", script, reactor],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
