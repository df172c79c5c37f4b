"""A tree of many small files, against rsync from its daemon, and tar over nc.

    python bench/tree.py [--files 10000] [--rounds 5] [--folder /dev/shm]

The tree is made of the files of this Python's standard library of at most 100 kB, again and again
under numbered folders until there are enough. It goes into an empty folder by `tcpdl mirror`,
`rsync -rtW` and `tar | nc | tar`, in turn, and then again where it is already, by the first two.
Every copy is compared with the original, file by file, and so are the times of last change but for
tar's. Figures are files per second, of whole client processes; the ratios are taken round by round.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.peers import (
    LOOPBACK,
    Tree,
    command_line,
    free_port,
    in_turn,
    library_tree,
    own,
    print_ratios,
    rsyncd,
    running,
    scratch_folder,
    seconds,
    tcpdl_daemon,
    tool,
    tree_copied,
)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    with scratch_folder(options.folder) as scratch:
        bench(scratch, options.files, options.rounds)


def bench(scratch: Path, files: int, rounds: int) -> None:
    root = scratch / "root"
    size = library_tree(root, files)
    original = Tree(root)

    def tar() -> float:
        target, port = scratch / "tar", free_port()
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        send = f"{tool('tar')} -C {root} -cf - . | {tool('nc')} -N -l {LOOPBACK} {port}"
        take = f"{tool('nc')} -d {LOOPBACK} {port} | {tool('tar')} -C {target} -xf -"
        with running(["sh", "-c", send], port):
            rate = files / seconds(["sh", "-c", take])
        original.check("tar", target, times=False)
        return rate

    with running(*tcpdl_daemon(root)) as ours, running(*rsyncd(root, scratch)) as theirs:
        module = f"rsync://{LOOPBACK}:{theirs.port}/m/"
        to_rsync, to_tcpdl = scratch / "rsync", scratch / "tcpdl"
        whole = [tool("rsync"), "-rtW", module, f"{to_rsync}/"]
        rsync = [tool("rsync"), "-rt", module, f"{to_rsync}/"]
        mirror = [own("tcpdl"), "mirror", f"{LOOPBACK}:{ours.port}/", str(to_tcpdl)]
        fresh: dict[str, Callable[[], float]] = {
            "rsync -rtW": partial(tree_copied, original, whole, to_rsync, True),
            "tar | nc | tar": tar,
            "tcpdl mirror": partial(tree_copied, original, mirror, to_tcpdl, True),
        }
        again: dict[str, Callable[[], float]] = {
            "rsync -rt": partial(tree_copied, original, rsync, to_rsync, False),
            "tcpdl mirror": partial(tree_copied, original, mirror, to_tcpdl, False),
        }
        title = f"{files:,} files, {size / 1e6:,.0f} MB, files per second, {rounds} rounds"
        print_ratios(f"{title}\ninto an empty folder", in_turn(fresh, rounds), "rsync -rtW")
        print_ratios("again, unchanged", in_turn(again, rounds), "rsync -rt")


if __name__ == "__main__":
    main()
