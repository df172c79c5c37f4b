"""Two workers against one process.

    python bench/workers.py [--load kept|new|tls|page]... [--seconds 3] [--connections 32]
                            [--entries 300] [--workers 2] [--rounds 5] [--folder /dev/shm]

wrk with one thread asks for a file of 1,000 bytes over connections that are kept alive, and over a
new one each time, plain and under TLS; and for the page of a folder with ENTRIES files. One process
and several workers in turn; the ratios are taken round by round.

The load generator runs on the same processors, so both sides tell what they used of them: several
workers cannot be faster than what it leaves them, and a generator that is busy all the time is what
was measured. The last figure, requests for each second of processor time that the daemon has used,
says what it costs to have several. How much of that is the machine's, whose processors may slow
each other down, is measured first: as many loops of Python as there are workers, against one.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.peers import (
    LOOPBACK,
    TICKS,
    Server,
    command_line,
    in_turn,
    print_ratios,
    running,
    scratch_folder,
    tcpdl_daemon,
    tool,
    unable,
)

ONE = "one process"
LOOP = """
import sys, time
end, count = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    count += 1
print(count)
"""
CLOSE = ("-H", "Connection: close")


class Load(NamedTuple):
    """What is asked for, and how."""

    title: str
    scheme: str
    name: str
    headers: tuple[str, ...] = ()


class Use(NamedTuple):
    """What was used meanwhile: processors, by the daemon and by the generator."""

    daemon: float
    generator: float
    requests: float
    """For each second of processor time that the daemon has used."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--entries", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--load", choices=["kept", "new", "tls", "page"], action="append")
    options = parser.parse_args()
    loads = {
        "kept": Load("1,000 bytes, connections kept alive", "http", "small"),
        "new": Load("1,000 bytes, a connection each", "http", "small", CLOSE),
        "tls": Load("1,000 bytes, a TLS connection each", "https", "small", CLOSE),
        "page": Load(f"a page of {options.entries:,} entries", "http", "many/"),
    }
    several = f"{options.workers} workers"
    with scratch_folder(options.folder) as scratch:
        root = scratch / "root"
        (root / "many").mkdir(parents=True)
        (root / "small").write_bytes(bytes(1000))
        for number in range(options.entries):
            (root / "many" / f"measurement-{number:05}.dat").touch()
        time.sleep(2)  # what was changed this moment may change again, and nobody relies on it
        common = [
            *("--tls=self-signed", f"--state-dir={scratch}/state"),
            *("--max-accepts=0", "--access-log=none"),
        ]
        with (
            running(*tcpdl_daemon(root, *common)) as one,
            running(*tcpdl_daemon(root, *common, f"--workers={options.workers}")) as other,
        ):
            wait_for_workers(other, options.workers)
            machine(options)
            for name in options.load or loads:
                bench(loads[name], {ONE: one, several: other}, options)


def machine(options: argparse.Namespace) -> None:
    """What several processes come to that have nothing in common."""

    def rate(count: int) -> float:
        command = [sys.executable, "-c", LOOP, str(options.seconds)]
        loops = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        return sum(float(loop.communicate()[0]) for loop in loops)

    names = {"one loop": 1, f"{options.workers} loops": options.workers}
    ways = {name: partial(rate, count) for name, count in names.items()}
    print_ratios("Loops of Python", in_turn(ways, options.rounds), "one loop")


def bench(load: Load, servers: dict[str, Server], options: argparse.Namespace) -> None:
    uses: dict[str, list[Use]] = {name: [] for name in servers}
    length, connections, rounds = options.seconds, options.connections, options.rounds

    def rate(name: str, server: Server) -> float:
        daemon, generator, began = cpu(server), children(), time.monotonic()
        where = f"{load.scheme}://{LOOPBACK}:{server.port}/{load.name}"
        ran = subprocess.run(
            [tool("wrk"), "-t1", f"-c{connections}", f"-d{length}s", *load.headers, where],
            capture_output=True,
            text=True,
            check=True,
        )
        spent = time.monotonic() - began
        found = re.search(r"(\d+) requests in .*\n(?s:.*)Requests/sec: +([0-9.]+)", ran.stdout)
        if found is None or "Non-2xx" in ran.stdout:
            unable(f"wrk failed:\n{ran.stdout}")
        used = max(cpu(server) - daemon, 0.01)
        uses[name].append(Use(used / spent, (children() - generator) / spent, int(found[1]) / used))
        return float(found[2])

    results = in_turn(
        {name: partial(rate, name, server) for name, server in servers.items()}, rounds
    )
    print_ratios(f"{load.title}, requests per second", results, ONE)
    for name, found in uses.items():
        daemon, generator, requests = (
            statistics.median(values) for values in zip(*found[-rounds:], strict=True)
        )
        print(
            f"  {name:28} processors used: {daemon:.2f} by the daemon, {generator:.2f} by wrk;"
            f" {requests:,.0f} requests per second of the daemon's"
        )


def wait_for_workers(server: Server, count: int) -> None:
    """Wait until so many have come to rest, which serve then."""
    end = time.monotonic() + 60
    before = -1.0
    while time.monotonic() < end:
        now = cpu(server)
        if len(family(server.pid)) == count + 1 and now == before:
            return
        before = now
        time.sleep(0.5)
    unable("the workers do not start")


def cpu(server: Server) -> float:
    """Processor time that a server and its children have used, in seconds."""
    total = 0.0
    for pid in family(server.pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            if int(fields[1]) == pid:
                found.append(int(entry))
    return found


def children() -> float:
    """Processor time of programs that this one has run to their end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
