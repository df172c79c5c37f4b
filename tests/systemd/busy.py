"""Clients that keep the daemon of a machine busy while something happens to it."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.systemd.machine import PROJECT, SECONDS, Machine


def until(condition: Callable[[], object]) -> None:
    """Return once `condition` holds, which others bring about."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)


@contextmanager
def busy(machine: Machine, digest: str, port: int = 8080) -> Iterator[dict[str, Any]]:
    """Clients keep the daemon busy meanwhile; then, what became of them."""
    words = ["env", f"PYTHONPATH={PROJECT}", sys.executable, "-m", "tests.systemd.load"]
    counts: dict[str, Any] = {}
    with machine.start(*words, str(port), "big", digest) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "busy\n"
            yield counts
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=SECONDS)
            counts.update(json.loads(said))
            print(counts)
        finally:
            process.kill()
    assert counts["downloads"] > 0
    assert (counts["failed"], counts["refused"]) == (0, 0), counts["problems"]
