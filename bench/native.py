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

import socket
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.peers import (
    LOOPBACK,
    Server,
    check_same,
    command_line,
    in_turn,
    nginx,
    own,
    print_ratios,
    random_file,
    rsyncd,
    running,
    scratch_folder,
    seconds,
    tcpdl_daemon,
    tool,
    twistd_web,
)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    options = parser.parse_args()
    with scratch_folder(options.folder) as scratch:
        bench(scratch, options.mib, options.rounds)


def bench(scratch: Path, mib: int, rounds: int) -> None:
    root = scratch / "root"
    random_file(root / "big", mib)
    time.sleep(2.5)  # digests of a file that has just been written are not kept
    out = scratch / "out" / "big"
    out.parent.mkdir()
    spent: dict[str, list[float]] = {}

    def timed(name: str, command: list[str], server: Server) -> float:
        out.unlink(missing_ok=True)
        cpu = server.cpu()
        rate = mib / seconds(command)
        spent.setdefault(name, []).append((server.cpu() - cpu) * 1024 / mib)
        check_same(name, out, root / "big")
        return rate

    def get(port: int) -> list[str]:
        return [own("tcpdl"), "get", f"{LOOPBACK}:{port}/big", "-o", str(out)]

    def cold() -> float:
        with running(*tcpdl_daemon(root)) as server:
            with socket.create_connection((LOOPBACK, server.port), 10) as sock:
                sock.sendall(b"?\n")
                while sock.recv(4096):  # it listens before it answers
                    pass
            return timed("tcpdl get, digests unknown", get(server.port), server)

    with ExitStack() as stack:
        ours, web, files, sync = (
            stack.enter_context(running(*started))
            for started in (
                tcpdl_daemon(root),
                twistd_web(root),
                nginx(root, scratch),
                rsyncd(root, scratch),
            )
        )
        curl = [tool("curl"), "-s", "-o", str(out)]
        url = f"http://{LOOPBACK}:{files.port}/big"
        aria = [tool("aria2c"), "-q", "-x4", "-s4", "--file-allocation=none", "-d", str(out.parent)]
        module = f"rsync://{LOOPBACK}:{sync.port}/m"
        commands: dict[str, tuple[list[str], Server]] = {
            "nginx + curl": ([*curl, url], files),
            "nginx + aria2c -x4": ([*aria, url], files),
            "rsync -W": ([tool("rsync"), "-W", f"{module}/big", str(out)], sync),
            "twistd web + curl": ([*curl, f"http://{LOOPBACK}:{web.port}/big"], web),
            "tcpdl get": (get(ours.port), ours),
        }
        runs: dict[str, Callable[[], float]] = {
            name: partial(timed, name, command, server)
            for name, (command, server) in commands.items()
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
