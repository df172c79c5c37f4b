"""A file of five bytes, against starting Python.

    python bench/small.py [--rounds 30]

The whole process of `tcpdl get`, checked and put under its name, against the same interpreter that
does nothing but `import socket`. Both have their modules compiled, as installed programs have. The
ratio says how many times as long ours takes, round by round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.peers import in_turn, installed, print_ratios, running, tcpdl_daemon


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--folder", default="/dev/shm", help="where the files are (in memory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        bench(Path(scratch), options.rounds)


def bench(scratch: Path, rounds: int) -> None:
    root = scratch / "root"
    root.mkdir()
    (root / "five").write_bytes(b"five\n")
    out = scratch / "out"
    tcpdl = str(Path(sys.executable).with_name("tcpdl"))
    command, port = tcpdl_daemon("--root", str(root), "--interface", "127.0.0.1")
    commands = {
        "python -c 'import socket'": [sys.executable, "-c", "import socket"],
        "tcpdl get": [tcpdl, "get", f"127.0.0.1:{port}/five", "-o", str(out)],
    }

    def timed(name: str) -> Callable[[], float]:
        def run() -> float:
            out.unlink(missing_ok=True)
            start = time.perf_counter()
            subprocess.run(commands[name], check=True, env=installed())
            seconds = time.perf_counter() - start
            if name == "tcpdl get" and out.read_bytes() != b"five\n":
                sys.exit("what arrived differs from what was sent")
            return seconds * 1000

        return run

    with running(command, port):
        results = in_turn({name: timed(name) for name in commands}, rounds)
    print_ratios(f"Milliseconds, {rounds} rounds", results, next(iter(commands)))


if __name__ == "__main__":
    main()
