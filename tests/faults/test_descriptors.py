"""Tests a daemon that has no descriptors left for connections: what it sends goes on, and in the
end all are served."""

from __future__ import annotations

import resource
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tcpdl.wire import native
from tests.daemons import SECONDS, Daemon, daemon_of, until
from tests.faults.conftest import SIZE, bytes_of, encrypting
from tests.faults.fetching import WAYS, Fetch, How, Outcome, fetch

DESCRIPTORS = 64
CONTENT = bytes_of(SIZE)
SMALL = b"small content"


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


@pytest.fixture
def daemon(root: Path) -> Iterator[Daemon]:
    (root / "large").write_bytes(CONTENT)
    (root / "small").write_bytes(SMALL)
    with daemon_of(root, *encrypting(root), before=limit) as running:
        yield running


def served_in_the_end(port: int, way: str, name: str) -> Outcome:
    """What a client gets that tries again as long as it is sent away."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            outcome = fetch(port, way, name)
        except (ConnectionError, ssl.SSLEOFError):  # before it had asked
            outcome = Outcome(How.RESET, b"", 0)
        if outcome.how is How.WHOLE:
            return outcome
        if outcome.how is How.ERROR:
            assert outcome.status in (503, native.UNAVAILABLE)
        assert time.monotonic() < deadline


# Python does not close a socket that is reset before it begins to speak TLS.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_running_out_of_descriptors(daemon: Daemon) -> None:
    daemon.wait_until_settled("large")
    for way in WAYS:  # digests are written to a file that stays open
        assert fetch(daemon.port, way, "large").content == CONTENT
    before = daemon.descriptors()
    with ExitStack() as stack, ThreadPoolExecutor(3 * len(WAYS)) as pool:
        running = [stack.enter_context(Fetch(daemon.port, way, "large")) for way in WAYS]
        for download in running:
            download.read(SIZE // 4)
        # All that takes places by now is connections that say nothing.
        places = int(daemon.log.wait_for(r"(\d+) connections and \d+ files may be open"))
        idle = []
        for _ in range(DESCRIPTORS):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", daemon.port))
            idle.append(sock)
        until(lambda: daemon.descriptors() >= before + places)
        others = [
            pool.submit(served_in_the_end, daemon.port, way, name)
            for way in WAYS
            for name in ("small", "large", "small")
        ]
        for download in running:
            outcome = download.finish()
            assert (outcome.how, outcome.content) == (How.WHOLE, CONTENT)
        for sock in idle:
            sock.close()
        for other in others:
            assert other.result(SECONDS).content in (SMALL, CONTENT)
    for way in WAYS:
        assert fetch(daemon.port, way, "large").content == CONTENT
    until(lambda: daemon.descriptors() <= before + 1)
