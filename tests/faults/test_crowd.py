"""Tests a crowd of slow clients: others are served meanwhile, and all of the crowd are ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.daemons import SECONDS, daemon_of
from tests.faults.conftest import SIZE, bytes_of, encrypting
from tests.faults.fetching import WAYS, How, fetch

CROWD = Path(__file__).resolve().parents[2] / "bench" / "slow.py"
CLIENTS = 300


def test_a_crowd_of_slow_clients(root: Path) -> None:
    content = bytes_of(SIZE)
    (root / "large").write_bytes(content)
    times = "--request-seconds=2", "--idle-seconds=2", "--stall-seconds=5"
    with daemon_of(root, *encrypting(root), *times) as daemon:
        command = [sys.executable, str(CROWD), str(daemon.port), "large", f"--clients={CLIENTS}"]
        command += ["--addresses=15", "--ways=http,native,raw,tls", f"--most={SECONDS}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == "here\n"
            for way in WAYS:
                outcome = fetch(daemon.port, way, "large")
                assert (outcome.how, outcome.content) == (How.WHOLE, content)
            told = json.loads(crowd.stdout.read())
    assert told["left"] == 0
    assert len(told["stays"]) == 7
