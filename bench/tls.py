"""TLS: one big file, small ones, handshakes, and the memory of idle connections.

    python bench/tls.py [--mib 1024] [--seconds 3] [--idle 500] [--rounds 5] [--folder /dev/shm]

One big file by curl to /dev/null; a file of 1,000 bytes over connections that are kept alive, by
wrk with one thread; and new connections, each with a handshake of its own, by `openssl s_time`;
from the tcpdl daemon and from nginx with one worker, with the same certificate (ECDSA, P-256), in
turn; and the big file from the daemon to a file, by curl and by `tcpdl get` on one connection. The
ratios are taken round by round. Then IDLE connections are opened to the daemon, on which a small
file was fetched, and then the big one's first MiB: what its memory has grown by for each.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.peers import (
    LOOPBACK,
    Server,
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
    unable,
)

SIZE = 1000
FETCHED = 1 << 20


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=500)
    options = parser.parse_args()
    with scratch_folder(options.folder) as scratch:
        root = scratch / "root"
        random_file(root / "big", options.mib)
        (root / "small").write_bytes(bytes(SIZE))
        certificate, key = make_certificate(scratch)
        time.sleep(2)  # what was changed this moment may change again, and nobody relies on it
        secrets = ("--tls-cert", str(certificate), "--tls-key", str(key))
        with (
            running(*tcpdl_daemon(root, *secrets)) as ours,
            running(*nginx(root, scratch, tls=(certificate, key))) as theirs,
        ):
            servers = {"nginx": theirs, "tcpdl": ours}
            one_file(servers, certificate, options.mib, options.rounds)
            by_clients(ours, certificate, scratch / "out", options.mib, options.rounds)
            requests(servers, options.seconds, options.rounds)
            handshakes(servers, certificate, options.seconds, options.rounds)
            memory(ours, certificate, options.idle)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=bench"
    more = f"-addext subjectAltName=IP:{LOOPBACK} -out {certificate} -keyout {key}"
    options = [*command.split(), *more.split()]
    subprocess.run([tool("openssl"), *options], check=True, capture_output=True)
    return certificate, key


def one_file(servers: dict[str, Server], certificate: Path, mib: int, rounds: int) -> None:
    spent: dict[str, list[float]] = {name: [] for name in servers}
    get = [tool("curl"), "-sf", "--cacert", str(certificate), "-o", "/dev/null"]

    def rate(name: str, server: Server) -> float:
        before = server.cpu()
        took = seconds([*get, url(server, "big")])
        spent[name].append(server.cpu() - before)
        return mib / took

    runs = {name: partial(rate, name, server) for name, server in servers.items()}
    print_ratios(f"{mib:,} MiB by curl to /dev/null, MiB/s", in_turn(runs, rounds), "nginx")
    for name, found in spent.items():
        print(f"  {name:28} {sum(found) / len(found) * 1024 / mib:.2f} s of processor time per GiB")


def by_clients(server: Server, certificate: Path, out: Path, mib: int, rounds: int) -> None:
    ours = ["--ca-file", str(certificate), "--connections", "1", "-o", str(out)]
    https = url(server, "big")
    commands = {
        "curl": [tool("curl"), "-sf", "--cacert", str(certificate), "-o", str(out), https],
        "tcpdl, over HTTP": [own("tcpdl"), "get", https, *ours],
        "tcpdl": [own("tcpdl"), "get", f"tcpdls://{LOOPBACK}:{server.port}/big", *ours],
    }

    def rate(command: list[str]) -> float:
        out.unlink(missing_ok=True)
        return mib / seconds(command)

    runs = {name: partial(rate, command) for name, command in commands.items()}
    print_ratios(f"{mib:,} MiB to a file, MiB/s", in_turn(runs, rounds), "curl")
    out.unlink()


def requests(servers: dict[str, Server], length: int, rounds: int) -> None:
    def rate(server: Server) -> float:
        command = [tool("wrk"), "-t1", "-c16", f"-d{length}s", url(server, "small")]
        return found(r"Requests/sec: +([0-9.]+)", command)

    results = in_turn({name: partial(rate, server) for name, server in servers.items()}, rounds)
    print_ratios(
        f"{SIZE:,} bytes, 16 connections kept alive, requests per second", results, "nginx"
    )


def handshakes(servers: dict[str, Server], certificate: Path, length: int, rounds: int) -> None:
    def rate(server: Server) -> float:
        where = f"{LOOPBACK}:{server.port}"
        command = [tool("openssl"), "s_time", "-new", "-connect", where]
        command += ["-time", str(length), "-CAfile", str(certificate)]
        return found(r"(\d+) connections in \d+ real seconds", command) / length

    results = in_turn({name: partial(rate, server) for name, server in servers.items()}, rounds)
    print_ratios("new connections per second", results, "nginx")


def found(pattern: str, command: list[str]) -> float:
    """The number that `command` prints."""
    ran = subprocess.run(command, capture_output=True, text=True)
    match = re.search(pattern, ran.stdout)
    if match is None or ran.returncode or "Non-2xx" in ran.stdout:
        unable(f"{command[0]} failed:\n{ran.stdout}{ran.stderr}")
    return float(match[1])


def memory(server: Server, certificate: Path, count: int) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    with ExitStack() as stack:
        before = server.rss()
        opened = []
        for _ in range(count):
            sock = socket.create_connection((LOOPBACK, server.port))
            opened.append(stack.enter_context(context.wrap_socket(sock, server_hostname=LOOPBACK)))
            fetch(opened[-1], "small", SIZE)
        print(f"{count} idle connections: {(server.rss() - before) / count / 1024:.1f} KiB each")
        for one in opened:
            fetch(one, "big", FETCHED)
        grown = (server.rss() - before) / count / 1024
        print(f"  {grown:.1f} KiB each, once something big was fetched")


def fetch(sock: ssl.SSLSocket, name: str, count: int) -> None:
    """Fetch the first `count` bytes of a file."""
    ask = f"GET /{name} HTTP/1.1\r\nHost: bench\r\nRange: bytes=0-{count - 1}\r\n\r\n"
    sock.sendall(ask.encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    while count:
        count -= len(sock.recv(count))


def url(server: Server, path: str) -> str:
    return f"https://{LOOPBACK}:{server.port}/{path}"


if __name__ == "__main__":
    main()
