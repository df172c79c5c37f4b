"""What 5,000 slow clients cost one that is not slow.

    python bench/crowd.py [--clients 5000] [--addresses 250] [--mib 300] [--rounds 3]

curl fetches a file to /dev/null again and again: first alone, and then beside a crowd of slow
clients (bench/slow.py), for as long as one of these has a connection; from the tcpdl daemon, and
from nginx with one worker, if that is installed, in turn. Half of the crowd sends a request byte by
byte, in all dialects and as TLS begins (to nginx: HTTP), the other half asks for the same file and
never reads.

The ratio is that of the median times beside the crowd and alone, of the same round. It also says
how long the last of the crowd stayed, and the processor time that the crowd, and the server, took.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.peers import (
    LOOPBACK,
    Server,
    command_line,
    nginx,
    random_file,
    running,
    scratch_folder,
    seconds,
    tcpdl_daemon,
    tool,
    unable,
)

ALONE = 8
"""Downloads before the crowd comes."""

PAUSE = 1.5
"""Seconds between two downloads."""


class Round(NamedTuple):
    """What was measured of a server."""

    alone: list[float]
    beside: list[float]
    """Seconds of each download."""
    left: int
    """Slow clients that it did not end."""
    stays: dict[str, float]
    """Longest stay of a slow client, for each kind of them."""
    crowd_cpu: float
    server_cpu: float

    @property
    def ratio(self) -> float:
        return statistics.median(self.beside) / statistics.median(self.alone)


def main() -> None:
    parser = command_line(__doc__, rounds=3)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--addresses", type=int, default=250)
    parser.add_argument("--mib", type=int, default=300)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < 2 * options.clients + 100:
        unable(f"a process may have {most} descriptors, and this needs two for each client")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with scratch_folder(options.folder) as scratch:
        root = scratch / "root"
        random_file(root / "big", options.mib)
        time.sleep(2)  # what was changed this moment may change again, and nobody relies on it
        secrets = ("--tls", "self-signed", "--state-dir", str(scratch))
        with running(*tcpdl_daemon(root, *secrets)) as ours, ExitStack() as stack:
            servers = [("tcpdl", ours, "http,native,raw,tls")]
            if shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin"):
                command = nginx(root, scratch, connections=2 * options.clients)
                servers.append(("nginx", stack.enter_context(running(*command)), "http"))
            rounds: dict[str, list[Round]] = {name: [] for name, *_ in servers}
            for _ in range(options.rounds):
                for name, server, ways in servers:
                    measured = measure(server, ways, options.clients, options.addresses)
                    show(name, measured)
                    rounds[name].append(measured)
    for name, found in rounds.items():
        ratios = sorted(one.ratio for one in found)
        print(f"{name}: {statistics.median(ratios):.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def measure(server: Server, ways: str, clients: int, addresses: int) -> Round:
    """Downloads alone, then beside a crowd until that is gone."""
    command = [tool("curl"), "-sf", "-o", "/dev/null", f"http://{LOOPBACK}:{server.port}/big"]
    alone = [download(command) for _ in range(ALONE)]
    before = server.cpu()
    crowd = [sys.executable, str(Path(__file__).with_name("slow.py")), str(server.port), "big"]
    crowd += ["--clients", str(clients), "--addresses", str(addresses), "--ways", ways]
    with subprocess.Popen(crowd, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "here\n":
                sys.exit("the crowd did not come about")
            beside = []
            while process.poll() is None:
                beside.append(download(command))
            told = json.loads(process.stdout.read())
        finally:
            process.kill()
    spent = server.cpu() - before
    return Round(alone, beside, told["left"], told["stays"], told["cpu"], spent)


def download(command: list[str]) -> float:
    """How long it took, in seconds."""
    time.sleep(PAUSE)
    return seconds(command)


def show(name: str, measured: Round) -> None:
    stays = ", ".join(f"{kind} {stay:.1f} s" for kind, stay in measured.stays.items())
    print(
        f"{name}: {statistics.median(measured.alone):.3f} s alone, "
        f"{statistics.median(measured.beside):.3f} s beside the crowd "
        f"(worst of {len(measured.beside)}: {max(measured.beside):.3f}): {measured.ratio:.2f} x\n"
        f"  longest stays: {stays}; not ended: {measured.left}; processor time: "
        f"crowd {measured.crowd_cpu:.1f} s, server {measured.server_cpu:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
