"""HTTP: many requests for a small file, one big file, and a page of a large folder.

    python bench/web.py [--seconds 3] [--connections 16] [--mib 1024] [--entries 10000]
                         [--pages 10] [--rounds 5] [--folder /dev/shm]

A file of 1,000 bytes is asked for over connections that are kept alive, by wrk with one thread,
from the tcpdl daemon, `twistd web --path` and nginx with one worker; then one big file by curl to
/dev/null, and the page of a folder with ENTRIES files by curl, PAGES times in a row, from nginx's
autoindex and ours; and the big file from nginx to a file, by curl, wget, aria2 and our client over
HTTP, which has nothing to check it against there. All of them in turn; the ratios are taken round
by round. nginx writes no access log; tcpdl does. What a request costs is told in processor time of
the server as well, which a busy machine or a slow load generator changes less than the rate.
"""

from __future__ import annotations

import re
import subprocess
import time
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
    twistd_web,
    unable,
)

SIZE = 1000


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=10)
    options = parser.parse_args()
    with scratch_folder(options.folder) as scratch:
        root = scratch / "root"
        random_file(root / "big", options.mib)
        (root / "small").write_bytes(bytes(SIZE))
        many = root / "many"
        many.mkdir()
        for number in range(options.entries):
            (many / f"measurement-{number:05}.dat").touch()
        time.sleep(2)  # what was changed this moment may change again, and nobody relies on it
        with (
            running(*tcpdl_daemon(root)) as ours,
            running(*nginx(root, scratch, autoindex=True)) as theirs,
            running(*twistd_web(root)) as web,
        ):
            servers = {"nginx": theirs, "twistd web": web, "tcpdl": ours}
            requests(servers, options.seconds, options.connections, options.rounds)
            del servers["twistd web"]
            one_file(servers, options.mib, options.rounds)
            pages(servers, options.entries, options.pages, options.rounds)
            clients(url(theirs, "big"), root / "big", scratch / "out", options.mib, options.rounds)


def requests(servers: dict[str, Server], length: int, connections: int, rounds: int) -> None:
    costs: dict[str, list[float]] = {name: [] for name in servers}

    def rate(name: str, server: Server) -> float:
        before = server.cpu()
        ran = subprocess.run(
            [tool("wrk"), "-t1", f"-c{connections}", f"-d{length}s", url(server, "small")],
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r"(\d+) requests in .*\n(?s:.*)Requests/sec: +([0-9.]+)", ran.stdout)
        if found is None or "Non-2xx" in ran.stdout or "Socket errors" in ran.stdout:
            unable(f"wrk failed:\n{ran.stdout}")
        costs[name].append(int(found[1]) / max(server.cpu() - before, 0.01))
        return float(found[2])

    results = in_turn(
        {name: partial(rate, name, server) for name, server in servers.items()}, rounds
    )
    title = f"{SIZE:,} bytes, {connections} connections kept alive, requests per second"
    print_ratios(title, results, "nginx")
    print_ratios("the same", results, "twistd web")
    # The first round of each is there to warm up, and is not among the results.
    costs = {name: found[-rounds:] for name, found in costs.items()}
    title = "the same, requests per second of the server's processor time"
    print_ratios(title, costs, "nginx")
    print_ratios("the same", costs, "twistd web")


def one_file(servers: dict[str, Server], mib: int, rounds: int) -> None:
    def rate(server: Server) -> float:
        return mib / seconds([tool("curl"), "-sf", "-o", "/dev/null", url(server, "big")])

    results = in_turn({name: partial(rate, server) for name, server in servers.items()}, rounds)
    print_ratios(f"{mib:,} MiB by curl to /dev/null, MiB/s", results, "nginx")


def pages(servers: dict[str, Server], entries: int, count: int, rounds: int) -> None:
    def rate(server: Server) -> float:
        outputs = [argument for _ in range(count) for argument in ("-o", "/dev/null")]
        urls = [url(server, "many/")] * count
        return count / seconds([tool("curl"), "-sf", *outputs, *urls])

    results = in_turn({name: partial(rate, server) for name, server in servers.items()}, rounds)
    print_ratios(f"pages of {entries:,} entries per second", results, "nginx")


def clients(source: str, original: Path, folder: Path, mib: int, rounds: int) -> None:
    folder.mkdir()
    out = folder / original.name
    aria = [tool("aria2c"), "-q", "-x4", "-s4", "--file-allocation=none", "-d", str(folder)]

    def rate(name: str, command: list[str]) -> float:
        out.unlink(missing_ok=True)
        took = seconds([*command, source])
        check_same(name, out, original)
        return mib / took

    commands = {
        "curl": [tool("curl"), "-s", "-o", str(out)],
        "wget": [tool("wget"), "-q", "-O", str(out)],
        "aria2c -x4": aria,
        "tcpdl get": [own("tcpdl"), "get", "-d", str(folder)],
    }
    runs = {name: partial(rate, name, command) for name, command in commands.items()}
    results = in_turn(runs, rounds)
    print_ratios(
        f"{mib:,} MiB from nginx to a file in {folder.parent.parent}, MiB/s", results, "curl"
    )


def url(server: Server, path: str) -> str:
    return f"http://{LOOPBACK}:{server.port}/{path}"


if __name__ == "__main__":
    main()
