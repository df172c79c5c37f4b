"""Tests what connections cost the daemon: README.md says how much memory one takes."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.daemons import Daemon, daemon_of
from tests.faults.conftest import SIZE, bytes_of, encrypting
from tests.faults.fetching import DIALECTS, SECONDS, TLS, WAYS, Fetch, fetch

IDLE, STALLED, ENCRYPTED = 10_000, 1000, 300
KILOBYTE = 1024
IDLE_MOST, STALLED_MOST = 6 * KILOBYTE, 16 * KILOBYTE
"""Bytes of memory for a connection on which nothing happens, and for one whose client takes nothing
of a large file."""
ENCRYPTED_MOST = {"small": 64 * KILOBYTE, "large": 128 * KILOBYTE}
"""The same for each under TLS."""

NO_LIMITS = ("--max-connections=0", "--max-accepts=0")


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("memory") / "root"
    root.mkdir()
    (root / "large").write_bytes(bytes_of(SIZE))
    (root / "small").write_bytes(b"small")
    with daemon_of(root, *encrypting(root), *NO_LIMITS) as running:
        for way in WAYS:
            for name in ("small", "large"):
                fetch(running.port, way, name)
        yield running


def count_of(wanted: int, each: int = 1) -> int:
    """As many connections as there may be, each with so many descriptors of the daemon."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(wanted, (hard - 200) // each)
    if count < wanted // 10:
        pytest.skip(f"only {hard} descriptors for a process")
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return count


def assert_served(daemon: Daemon) -> None:
    """All that were connected before are known to be accepted then."""
    assert fetch(daemon.port, "raw", "small").content == b"small"


def test_idle_connections(daemon: Daemon) -> None:
    count = count_of(IDLE)
    before = daemon.memory()
    with ExitStack() as stack:
        for number in range(count):
            if number % 2:
                address = ("127.0.0.1", daemon.port)
                stack.enter_context(socket.create_connection(address, SECONDS))
                continue
            dialect = ("native", "http")[number // 2 % 2]
            kept = stack.enter_context(Fetch(daemon.port, dialect, "small"))
            kept.read(5)
        assert_served(daemon)
        assert (daemon.memory() - before) / count < IDLE_MOST


def test_stalled_downloads(daemon: Daemon) -> None:
    count = count_of(STALLED, each=2)
    before = daemon.memory()
    with ExitStack() as stack:
        for number in range(count):
            dialect = tuple(DIALECTS)[number % len(DIALECTS)]
            stalled = Fetch(daemon.port, dialect, "large", buffer=4096)
            stack.enter_context(stalled)
            stalled.read(1)
        assert_served(daemon)
        assert (daemon.memory() - before) / count < STALLED_MOST


@pytest.mark.parametrize("name", ENCRYPTED_MOST)
def test_encrypted_connections(daemon: Daemon, name: str) -> None:
    count = count_of(ENCRYPTED, each=2)
    before = daemon.memory()
    with ExitStack() as stack:
        for number in range(count):
            dialect = ("native", "http")[number % 2]
            kept = Fetch(daemon.port, dialect + TLS, name, buffer=4096)
            stack.enter_context(kept)
            kept.read(1)
        assert_served(daemon)
        assert (daemon.memory() - before) / count < ENCRYPTED_MOST[name]
