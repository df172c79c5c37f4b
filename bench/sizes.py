"""How much to send at a time: the choice of SEND_MOST and NOTSENT_LOWAT.

    python bench/sizes.py [--mib 1024] [--rounds 5] [--clients 1] [--folder /dev/shm]

Daemons that differ in these two figures send the same file to /dev/null, in turn with an nginx of
one worker. Each is asked by as many `nc -N` at once as `--clients` says, nginx by curl.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from bench.peers import (
    LOOPBACK,
    Server,
    command_line,
    free_port,
    in_turn,
    nginx,
    print_ratios,
    random_file,
    running,
    scratch_folder,
    tool,
)

KIB = 1024
PAIRS = [(64, 128), (128, 128), (256, 128), (1024, 128), (64, 1024), (1024, 1024)]

DAEMON = """
import sys
from twisted.internet import reactor
from tcpdl.server import listening, transport
from tcpdl.service import Options, make_daemon
transport.SEND_MOST, listening.NOTSENT_LOWAT = int(sys.argv[1]), int(sys.argv[2])
options = Options()
options.parseOptions(["--interface", "127.0.0.1", "--port", sys.argv[3], "--root", sys.argv[4]])
make_daemon(options, reactor).startService()
reactor.run()
"""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--clients", type=int, default=1)
    options = parser.parse_args()
    with scratch_folder(options.folder) as scratch, ExitStack() as stack:
        root = scratch / "root"
        random_file(root / "big", options.mib)
        peer = stack.enter_context(running(*nginx(root, scratch)))
        curl = [tool("curl"), "-s", "-o", "/dev/null", f"http://{LOOPBACK}:{peer.port}/big"]
        runs = {"nginx + curl": run(curl, peer, options.clients, options.mib)}
        for most, unsent in PAIRS:
            port = free_port()
            sizes = [str(most * KIB), str(unsent * KIB)]
            command = [sys.executable, "-c", DAEMON, *sizes, str(port), str(root)]
            daemon = stack.enter_context(running(command, port))
            nc = ["sh", "-c", f"printf 'big\\n' | {tool('nc')} -N {LOOPBACK} {port} > /dev/null"]
            runs[f"send {most} KiB, unsent {unsent}"] = run(
                nc, daemon, options.clients, options.mib
            )
        results = in_turn(runs, options.rounds)
    print_ratios(f"{options.clients} at once, MiB/s each", results, "nginx + curl")


def run(command: list[str], server: Server, clients: int, mib: int) -> Callable[[], float]:
    def timed() -> float:
        start = time.perf_counter()
        processes = [subprocess.Popen(command) for _ in range(clients)]
        if any(process.wait() for process in processes):
            sys.exit(f"{command[0]} failed with the server on port {server.port}")
        return mib / (time.perf_counter() - start)

    return timed


if __name__ == "__main__":
    main()
