"""One big file in the raw dialect, against nginx and curl.

    python bench/raw.py [--mib 1024] [--rounds 5] [--folder /dev/shm]

The same file goes to /dev/null and to a new file in FOLDER, by tcpdl's client and by nc from the
tcpdl daemon, and by curl from nginx with one worker, in turn. Every file that arrives is compared.
Figures are MiB/s, of whole client processes; the ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.peers import Server, in_turn, nginx, print_ratios, running, tcpdl_daemon, tool


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
    ours, port = tcpdl_daemon("--root", str(root), "--interface", "127.0.0.1")
    theirs, their_port = nginx(root, scratch)
    with running(ours, port) as daemon, running(theirs, their_port):
        before = daemon.rss()
        for kind in ("null", "file"):
            compare(kind, scratch, daemon, their_port, mib, rounds)
        grown = daemon.rss() - before
    print(f"the daemon's memory grew by {grown / 1024:,.0f} KiB")


def compare(
    kind: str, scratch: Path, daemon: Server, their_port: int, mib: int, rounds: int
) -> None:
    out = Path("/dev/null") if kind == "null" else scratch / "out"
    tcpdl = str(Path(sys.executable).with_name("tcpdl"))
    nc = f"printf 'big\\n' | {tool('nc')} -N 127.0.0.1 {daemon.port} > {out}"
    commands: dict[str, list[str]] = {
        "nginx + curl": [
            *(tool("curl"), "-s", "-o", str(out), f"http://127.0.0.1:{their_port}/big")
        ],
        "tcpdl + nc -N": ["sh", "-c", nc],
        "tcpdl + tcpdl get": [tcpdl, "get", f"127.0.0.1:{daemon.port}/big", "-o", str(out)],
    }
    spent = dict.fromkeys(commands, 0.0)

    def timed(name: str) -> Callable[[], float]:
        def run() -> float:
            if kind == "file":
                out.unlink(missing_ok=True)
            cpu, start = daemon.cpu(), time.perf_counter()
            subprocess.run(commands[name], check=True)
            seconds = time.perf_counter() - start
            spent[name] = daemon.cpu() - cpu
            if kind == "file" and not filecmp.cmp(out, scratch / "root" / "big", shallow=False):
                sys.exit(f"{name}: what arrived differs from what was sent")
            return mib / seconds

        return run

    results = in_turn({name: timed(name) for name in commands}, rounds)
    target = "/dev/null" if kind == "null" else f"a file in {scratch.parent}"
    print_ratios(f"{mib} MiB to {target}, MiB/s, {rounds} rounds", results, "nginx + curl")
    for name in commands:
        if spent[name]:
            print(f"  {name:28} daemon's processor time {spent[name] * 1024 / mib:.2f} s per GiB")


if __name__ == "__main__":
    main()
