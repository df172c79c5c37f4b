"""Over a wide-area link: one file where packets get lost, and a tree of small files.

    python bench/wan.py [--mib 64] [--files 300] [--delay 80] [--rate 200] [--loss 0.5]
                        [--queue 50] [--seed 1] [--curl] [--rounds 5] [--folder /dev/shm]

The link is that of bench/link.py, and needs what that needs. One file goes by tcpdl get from the
tcpdl daemon, in turn with aria2c -x16 from nginx with one worker; and with curl, if that is asked
for, which takes minutes a round. Then, without loss, a tree of FILES files of at most 16 kB goes
into an empty folder, and again where it is already, by tcpdl mirror, in turn with rsync -rt from
its daemon. Every copy is compared. Figures are of whole client processes; the ratios are taken
round by round.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.link import Host, add_options, quality_of, wide_area
from bench.peers import (
    Tree,
    check_same,
    command_line,
    in_turn,
    library_tree,
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
    tree_copied,
)

LARGEST = 16_000
CONNECTIONS = 16


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--curl", action="store_true", help="compare with nginx + curl, too")
    add_options(parser)
    options = parser.parse_args()
    quality = quality_of(options)
    link = f"{options.delay:g} ms, {options.rate:g} Mbit/s"
    with scratch_folder(options.folder) as scratch:
        with wide_area(quality, options.seed) as (server, client):
            print(f"{link}, {options.loss:g} % lost, {options.rounds} rounds")
            one_file(scratch, server, client, options)
        with wide_area(replace(quality, loss=0), options.seed) as (server, client):
            print(f"{link}, nothing lost, {options.rounds} rounds")
            many_files(scratch, server, client, options)


def one_file(scratch: Path, server: Host, client: Host, options: argparse.Namespace) -> None:
    root, out = scratch / "file", scratch / "out"
    random_file(root / "big", options.mib)
    out.mkdir()

    def timed(name: str, command: list[str]) -> float:
        for left in out.iterdir():
            left.unlink()
        rate: float = options.mib / seconds(client.command(command))
        check_same(name, out / "big", root / "big")
        return rate

    daemon, port = tcpdl_daemon(root, address=server.address)
    files, their_port = nginx(root, scratch, server.address)
    url = f"http://{server.address}:{their_port}/big"
    split = [f"-x{CONNECTIONS}", f"-s{CONNECTIONS}", "-k1M", "--file-allocation=none"]
    get = [own("tcpdl"), "get", f"{server.address}:{port}/big", "-d", str(out)]
    aria = f"nginx + aria2c -x{CONNECTIONS}"
    commands = {aria: [tool("aria2c"), "-q", *split, "-d", str(out), url], "tcpdl get": get}
    if options.curl:
        commands["nginx + curl"] = [tool("curl"), "-s", "-o", str(out / "big"), url]
    with running(server.command(daemon), port), running(server.command(files), their_port):
        runs = {name: partial(timed, name, command) for name, command in commands.items()}
        print_ratios(f"{options.mib} MiB, MiB/s", in_turn(runs, options.rounds), aria)


def many_files(scratch: Path, server: Host, client: Host, options: argparse.Namespace) -> None:
    root = scratch / "tree"
    size = library_tree(root, options.files, LARGEST)
    original = Tree(root)

    daemon, port = tcpdl_daemon(root, address=server.address)
    sync, their_port = rsyncd(root, scratch, server.address)
    to_rsync, to_tcpdl = scratch / "rsync", scratch / "tcpdl"
    module = f"rsync://{server.address}:{their_port}/m/"
    rsync = client.command([tool("rsync"), "-rt", module, f"{to_rsync}/"])
    url = f"{server.address}:{port}/"
    mirror = client.command([own("tcpdl"), "mirror", url, str(to_tcpdl)])
    with running(server.command(daemon), port), running(server.command(sync), their_port):
        for title, fresh in (("into an empty folder", True), ("again, unchanged", False)):
            runs: dict[str, Callable[[], float]] = {
                "rsync -rt": partial(tree_copied, original, rsync, to_rsync, fresh),
                "tcpdl mirror": partial(tree_copied, original, mirror, to_tcpdl, fresh),
            }
            title = f"{options.files} files, {size / 1e6:.1f} MB, files per second, {title}"
            print_ratios(title, in_turn(runs, options.rounds), "rsync -rt")


if __name__ == "__main__":
    main()
