"""One big file in the raw dialect, against nginx and curl.

    python bench/raw.py [--mib 1024] [--rounds 5] [--folder /dev/shm]

The same file goes to /dev/null and to a new file in FOLDER, by tcpdl's client and by nc from the
tcpdl daemon, and by curl from nginx with one worker, in turn. Every file that arrives is compared.
Figures are MiB/s, of whole client processes; the ratios are taken round by round.
"""

from __future__ import annotations

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
    running,
    scratch_folder,
    seconds,
    tcpdl_daemon,
    tool,
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
    with running(*tcpdl_daemon(root)) as daemon, running(*nginx(root, scratch)) as files:
        before = daemon.rss()
        for kind in ("null", "file"):
            compare(kind, scratch, daemon, files.port, mib, rounds)
        grown = daemon.rss() - before
    print(f"the daemon's memory grew by {grown / 1024:,.0f} KiB")


def compare(
    kind: str, scratch: Path, daemon: Server, their_port: int, mib: int, rounds: int
) -> None:
    out = Path("/dev/null") if kind == "null" else scratch / "out"
    nc = f"printf 'big\\n' | {tool('nc')} -N {LOOPBACK} {daemon.port} > {out}"
    get = [own("tcpdl"), "get", "--dialect", "raw", f"{LOOPBACK}:{daemon.port}/big"]
    commands: dict[str, list[str]] = {
        "nginx + curl": [
            *(tool("curl"), "-s", "-o", str(out), f"http://{LOOPBACK}:{their_port}/big")
        ],
        "tcpdl + nc -N": ["sh", "-c", nc],
        "tcpdl + tcpdl get": [*get, "-o", str(out)],
    }
    spent = dict.fromkeys(commands, 0.0)

    def timed(name: str) -> float:
        if kind == "file":
            out.unlink(missing_ok=True)
        cpu = daemon.cpu()
        rate = mib / seconds(commands[name])
        spent[name] = daemon.cpu() - cpu
        if kind == "file":
            check_same(name, out, scratch / "root" / "big")
        return rate

    results = in_turn({name: partial(timed, name) for name in commands}, rounds)
    target = "/dev/null" if kind == "null" else f"a file in {scratch.parent}"
    print_ratios(f"{mib} MiB to {target}, MiB/s, {rounds} rounds", results, "nginx + curl")
    for name in commands:
        if spent[name]:
            print(f"  {name:28} daemon's processor time {spent[name] * 1024 / mib:.2f} s per GiB")


if __name__ == "__main__":
    main()
