"""One big file in the native dialect, every byte checked, against tools that check nothing.

    python bench/native.py [--mib 1024] [--rounds 5] [--folder /dev/shm]

The same file goes to a new file in FOLDER, in turn by tcpdl get from the tcpdl daemon, curl and
aria2c -x4 from nginx with one worker, and rsync -W from its daemon. "digests unknown" is a daemon
that was started for the round, and so hashes the file while it sends it; the other has its digests
from the round before. Every file that arrives is compared. Figures are MiB/s, of whole client
processes; the ratios are taken round by round. The processor time of the server is set against that
of Twisted's own web server.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.peers import (
    Server,
    in_turn,
    installed,
    nginx,
    print_ratios,
    rsyncd,
    running,
    tcpdl_daemon,
    tool,
    twistd_web,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default="/dev/shm", help="where the files are (in memory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        bench(Path(scratch), options.mib, options.rounds)


def bench(scratch: Path, mib: int, rounds: int) -> None:
    root = scratch / "root"
    root.mkdir()
    with open(root / "big", "wb") as big:
        for _ in range(mib):
            big.write(os.urandom(1024 * 1024))
    time.sleep(2.5)  # digests of a file that has just been written are not kept
    out = scratch / "out" / "big"
    out.parent.mkdir()
    tcpdl = str(Path(sys.executable).with_name("tcpdl"))
    spent: dict[str, list[float]] = {}

    def timed(name: str, command: list[str], server: Server) -> float:
        out.unlink(missing_ok=True)
        cpu, start = server.cpu(), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=installed())
        seconds = time.perf_counter() - start
        spent.setdefault(name, []).append((server.cpu() - cpu) * 1024 / mib)
        if not filecmp.cmp(out, root / "big", shallow=False):
            sys.exit(f"{name}: what arrived differs from what was sent")
        return mib / seconds

    def get(port: int) -> list[str]:
        return [tcpdl, "get", f"127.0.0.1:{port}/big", "-o", str(out)]

    def cold() -> float:
        command, port = tcpdl_daemon("--root", str(root), "--interface", "127.0.0.1")
        with running(command, port) as server:
            return timed("tcpdl get, digests unknown", get(port), server)

    with ExitStack() as stack:
        ours, web, files, sync = (
            stack.enter_context(running(*started))
            for started in (
                tcpdl_daemon("--root", str(root), "--interface", "127.0.0.1"),
                twistd_web(root),
                nginx(root, scratch),
                rsyncd(root, scratch),
            )
        )
        url = f"http://127.0.0.1:{files.port}/big"
        aria = [tool("aria2c"), "-q", "-x4", "-s4", "--file-allocation=none", "-d", str(out.parent)]
        commands: dict[str, tuple[list[str], Server]] = {
            "nginx + curl": ([tool("curl"), "-s", "-o", str(out), url], files),
            "nginx + aria2c -x4": ([*aria, url], files),
            "rsync -W": (
                [tool("rsync"), "-W", f"rsync://127.0.0.1:{sync.port}/m/big", str(out)],
                sync,
            ),
            "twistd web + curl": (
                [tool("curl"), "-s", "-o", str(out), f"http://127.0.0.1:{web.port}/big"],
                web,
            ),
            "tcpdl get": (get(ours.port), ours),
        }
        runs: dict[str, Callable[[], float]] = {
            name: lambda name=name, what=what: timed(name, *what)  # type: ignore[misc]
            for name, what in commands.items()
        }
        runs["tcpdl get, digests unknown"] = cold
        results = in_turn(runs, rounds)
    peers = ("nginx + curl", "nginx + aria2c -x4", "rsync -W")
    best = max(peers, key=lambda name: statistics.median(results[name]))
    print_ratios(f"{mib} MiB to a file in {scratch.parent}, MiB/s, {rounds} rounds", results, best)
    for name in ("twistd web + curl", "nginx + curl", "tcpdl get", "tcpdl get, digests unknown"):
        print(f"  {name:28} {statistics.median(spent[name]):.2f} s of the server's CPU per GiB")


if __name__ == "__main__":
    main()
