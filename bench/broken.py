"""Downloads that are broken off and damaged: right at the end, and what that costs.

    python bench/broken.py [--mib 1024] [--kills 10] [--megabytes 100] [--rounds 5] [--seed N]
                           [--folder /dev/shm]

First, client and server are killed in turn (kill -9), KILLS times in all, at random moments of one
download, and started again. All goes through a proxy, which lets MEGABYTES pass a second and counts
what crosses the wire between it and the client; what a killed client had not read has crossed, too.
Then, as fast as it goes, the proxy changes one bit at a random place of what the server sends.

The file must be the same each time, and nothing else be left. Printed is what crossed in excess of
the file's size: in the first part as a percentage, in the second in chunks, which is what digests
are for.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.peers import (
    LOOPBACK,
    check_same,
    command_line,
    own,
    random_file,
    running,
    scratch_folder,
    stop,
    tcpdl_daemon,
)
from bench.proxy import Proxy
from tcpdl.digest import chunk_shift


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--megabytes", type=float, default=100.0)
    parser.add_argument("--seed", type=int, help="for the same moments and places again")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    chance = random.Random(seed)
    with scratch_folder(options.folder) as scratch:
        root = scratch / "root"
        random_file(root / "big", options.mib)
        size = (root / "big").stat().st_size
        chunk = 1 << chunk_shift(size)
        rate = options.megabytes * 1e6

        with Scene(root) as scene:
            scene.proxy.rate = rate
            # Even if each pause is the longest, all is not there before the last of them.
            longest = size / rate / (options.kills + 1)
            killed = [
                broken(scene, [chance.uniform(0, longest) for _ in range(options.kills)])
                for _ in range(options.rounds)
            ]
            scene.proxy.rate = 0
            flipped = [
                damaged(scene, chance.randrange(size), chance.randrange(8))
                for _ in range(options.rounds)
            ]
    print(f"{options.mib} MiB, {options.rounds} rounds, --seed {seed}; every file was right")
    title = f"killed {options.kills} times at {options.megabytes:g} MB/s"
    show(title, "% more than the file's size", [extra / size * 100 for extra, _ in killed])
    show(
        "  as it left the server",
        "% more than the file's size",
        [extra / size * 100 for _, extra in killed],
    )
    title = f"one bit changed, chunks of {chunk >> 20} MiB"
    show(title, "chunks more than the file's size", [extra / chunk for extra, _ in flipped])


def show(title: str, unit: str, values: list[float]) -> None:
    middle = statistics.median(values)
    print(f"  {title:36} {middle:6.2f} {unit}  ({min(values):.2f} to {max(values):.2f})")


class Scene:
    """A server and a client with a proxy between them; both may be killed and started again."""

    def __init__(self, root: Path) -> None:
        self.original = root / "big"
        self.out = root.with_name("out") / "big"
        self._daemon, self._port = tcpdl_daemon(root)
        self.proxy = Proxy(self._port)
        self._stack = ExitStack()

    def __enter__(self) -> Scene:
        self.start_server()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_server(self) -> None:
        self._server = self._stack.enter_context(running(self._daemon, self._port))

    def start_client(self) -> None:
        url = f"{LOOPBACK}:{self.proxy.port}/big"
        command = [own("tcpdl"), "get", url, "-o", str(self.out)]
        self._client = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        self._stack.callback(stop, self._client)

    def kill_server(self) -> None:
        os.kill(self._server.pid, signal.SIGKILL)
        self.start_server()

    def kill_client(self) -> None:
        if self._client.poll() is not None:
            sys.exit(f"tcpdl get ended with status {self._client.returncode} before it was killed")
        self._client.kill()
        self._client.wait()
        self.start_client()

    def excess(self, disturb: Callable[[], None]) -> tuple[int, int]:
        """Download the file, with a disturbance; bytes that crossed in excess of its size, and
        those that left the server."""
        self.out.unlink(missing_ok=True)
        self.out.parent.mkdir(exist_ok=True)
        crossed, between = self.proxy.crossed, self.proxy.between
        self.start_client()
        disturb()
        if status := self._client.wait():
            sys.exit(f"tcpdl get ended with status {status}")
        self.proxy.settle()
        check_same("tcpdl get", self.out, self.original)
        if left := set(os.listdir(self.out.parent)) - {self.out.name}:
            sys.exit(f"tcpdl get left {', '.join(sorted(left))} behind")
        size = self.original.stat().st_size
        return self.proxy.crossed - crossed - size, self.proxy.between - between - size


def broken(scene: Scene, pauses: list[float]) -> tuple[int, int]:
    def disturb() -> None:
        for turn, pause in enumerate(pauses):
            time.sleep(pause)
            if turn % 2:
                scene.kill_server()
            else:
                scene.kill_client()

    return scene.excess(disturb)


def damaged(scene: Scene, place: int, bit: int) -> tuple[int, int]:
    return scene.excess(lambda: scene.proxy.damage(place, bit))


if __name__ == "__main__":
    main()
