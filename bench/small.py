"""A file of five bytes, against starting Python.

    python bench/small.py [--rounds 30] [--folder /dev/shm]

The whole process of `tcpdl get`, checked and put under its name, against the same interpreter that
does nothing but `import socket`. Both have their modules compiled, as installed programs have. The
ratio says how many times as long ours takes, round by round.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.peers import (
    LOOPBACK,
    check_same,
    command_line,
    in_turn,
    own,
    print_ratios,
    running,
    scratch_folder,
    seconds,
    tcpdl_daemon,
)

PYTHON = "python -c 'import socket'"


def main() -> None:
    options = command_line(__doc__, rounds=30).parse_args()
    with scratch_folder(options.folder) as scratch:
        bench(scratch, options.rounds)


def bench(scratch: Path, rounds: int) -> None:
    root = scratch / "root"
    root.mkdir()
    (root / "five").write_bytes(b"five\n")
    out = scratch / "out"

    def python() -> float:
        return seconds([sys.executable, "-c", "import socket"]) * 1000

    def get() -> float:
        out.unlink(missing_ok=True)
        spent = seconds([own("tcpdl"), "get", f"{LOOPBACK}:{server.port}/five", "-o", str(out)])
        check_same("tcpdl get", out, root / "five")
        return spent * 1000

    with running(*tcpdl_daemon(root)) as server:
        results = in_turn({PYTHON: python, "tcpdl get": get}, rounds)
    print_ratios(f"Five bytes, milliseconds (less is better), {rounds} rounds", results, PYTHON)


if __name__ == "__main__":
    main()
