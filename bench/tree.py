"""A tree of many small files, against rsync from its daemon, and tar over nc.

    python bench/tree.py [--files 10000] [--rounds 5] [--folder /dev/shm]

The tree is made of the files of this Python's standard library of at most 100 kB, again and again
under numbered folders until there are enough. It goes into an empty folder by `tcpdl mirror`,
`rsync -rtW` and `tar | nc | tar`, in turn, and then again where it is already, by the first two.
Every copy is compared with the original, file by file. Figures are files per second, of whole
client processes; the ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.peers import (
    free_port,
    in_turn,
    installed,
    print_ratios,
    rsyncd,
    running,
    tcpdl_daemon,
    tool,
)

LARGEST = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default="/dev/shm", help="where the files are (in memory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        bench(Path(scratch), options.files, options.rounds)


def sources() -> Iterator[Path]:
    """Files of the standard library, without what is installed beside it or compiled."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    for folder, below, names in os.walk(stdlib):
        below[:] = sorted(set(below) - {"site-packages", "dist-packages", "__pycache__"})
        for name in sorted(names):
            path = Path(folder, name)
            plain = path.is_file() and not path.is_symlink() and not name.startswith(".")
            if plain and path.stat().st_size <= LARGEST:
                yield path.relative_to(stdlib)


def make(root: Path, files: int) -> int:
    """Make the tree; return its bytes."""
    stdlib, made, size, turn = Path(sysconfig.get_path("stdlib")), 0, 0, 0
    while made < files:
        for path in sources():
            if made == files:
                break
            target = root / str(turn) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(stdlib / path, target)
            made, size = made + 1, size + target.stat().st_size
        turn += 1
    return size


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def bench(scratch: Path, files: int, rounds: int) -> None:
    root = scratch / "root"
    size = make(root, files)
    original = contents(root)
    ours, port = tcpdl_daemon("--root", str(root), "--interface", "127.0.0.1")
    theirs, their_port = rsyncd(root, scratch)
    tcpdl = str(Path(sys.executable).with_name("tcpdl"))
    into = {name: scratch / name for name in ("tcpdl", "rsync", "tar")}
    mirror = [tcpdl, "mirror", f"127.0.0.1:{port}/", str(into["tcpdl"])]
    module = f"rsync://127.0.0.1:{their_port}/m/"

    def timed(command: list[str], target: Path, fresh: bool) -> Callable[[], float]:
        def run() -> float:
            if fresh:
                shutil.rmtree(target, ignore_errors=True)
            start = time.perf_counter()
            subprocess.run(command, check=True, env=installed())
            seconds = time.perf_counter() - start
            if contents(target) != original:
                sys.exit(f"{command[0]}: what arrived differs from what was sent")
            return files / seconds

        return run

    def tar() -> float:
        target, port = into["tar"], free_port()
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        send = f"tar -C {root} -cf - . | {tool('nc')} -N -l 127.0.0.1 {port}"
        with subprocess.Popen(["sh", "-c", send]) as sender:
            time.sleep(0.2)  # until nc listens; it serves one connection, so trying would use it up
            start = time.perf_counter()
            take = f"{tool('nc')} -d 127.0.0.1 {port} | tar -C {target} -xf -"
            subprocess.run(["sh", "-c", take], check=True)
            seconds = time.perf_counter() - start
            sender.wait(20)
        if contents(target) != original:
            sys.exit("tar: what arrived differs from what was sent")
        return files / seconds

    with running(ours, port), running(theirs, their_port):
        rsync = [tool("rsync"), "-rtW", module, f"{into['rsync']}/"]
        results = in_turn(
            {
                "rsync -rtW": timed(rsync, into["rsync"], True),
                "tar | nc | tar": tar,
                "tcpdl mirror": timed(mirror, into["tcpdl"], True),
            },
            rounds,
        )
        title = f"{files:,} files, {size / 1e6:,.0f} MB, files per second, {rounds} rounds"
        print_ratios(f"{title}\ninto an empty folder", results, "rsync -rtW")
        rsync[1] = "-rt"
        results = in_turn(
            {
                "rsync -rt": timed(rsync, into["rsync"], False),
                "tcpdl mirror": timed(mirror, into["tcpdl"], False),
            },
            rounds,
        )
        print_ratios("again, unchanged", results, "rsync -rt")


if __name__ == "__main__":
    main()
