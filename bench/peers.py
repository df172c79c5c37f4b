"""What the benchmarks share: servers started and stopped, runs timed in turn, ratios printed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A running server process."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port

    def rss(self) -> int:
        """Its resident memory, in bytes; files it has mapped are not counted."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError(f"process {self.pid} tells no RssAnon")

    def cpu(self) -> float:
        """Processor time it has used, in seconds."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def installed() -> dict[str, str]:
    """The environment of a program as it is when it is installed: its modules stay compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def tool(name: str) -> str:
    """The path of a peer's program; ends the benchmark with a clear line if it is missing."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        sys.exit(f"{name} is not installed; this benchmark compares with it")
    return found


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[Server]:
    """Start `command`, wait until it listens on `port`, stop it at the end."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, start_new_session=True, env=installed()
    )
    try:
        for _ in range(200):
            if process.poll() is not None:
                sys.exit(f"{command[0]} ended with status {process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Server(process.pid, port)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def tcpdl_daemon(*options: str) -> tuple[list[str], int]:
    """The command of our daemon on a free port, and the port."""
    port = free_port()
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [twistd, "-n", "--pidfile=", "tcpdl", "--port", str(port), *options], port


def nginx(folder: Path, scratch: Path) -> tuple[list[str], int]:
    """The command of an nginx with one worker that serves `folder`, and its port."""
    port = free_port()
    config = scratch / "nginx.conf"
    config.write_text(
        f"""
        daemon off; master_process off; worker_processes 1;
        pid {scratch}/nginx.pid; error_log {scratch}/nginx.log;
        events {{ worker_connections 1024; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
            client_body_temp_path {scratch}; proxy_temp_path {scratch};
            fastcgi_temp_path {scratch}; uwsgi_temp_path {scratch}; scgi_temp_path {scratch};
            server {{ listen 127.0.0.1:{port}; root {folder}; }}
        }}
        """,
        encoding="ascii",
    )
    return [tool("nginx"), "-p", str(scratch), "-c", str(config)], port


def in_turn(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call all of `runs` once to warm up, then `rounds` times in turn; return what they gave.

    The order changes from round to round, so that none always comes after the same other.
    """
    results: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    names = list(runs)
    for turn in range(rounds):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            results[name].append(runs[name]())
    return results


def print_ratios(title: str, results: Mapping[str, Sequence[float]], base: str) -> None:
    """Print each median in relation to `base`, pair by pair; above 1 is better than it."""
    print(title)
    for name, values in results.items():
        ratios = [value / other for value, other in zip(values, results[base], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(
            f"  {name:28} {statistics.median(values):12,.1f}"
            f"   {middle:6.2f} x {base}  ({low:.2f} to {high:.2f})"
        )


def rsyncd(folder: Path, scratch: Path) -> tuple[list[str], int]:
    """The command of an rsync daemon that serves `folder` as the module `m`, and its port."""
    port = free_port()
    config = scratch / "rsyncd.conf"
    config.write_text(
        f"use chroot = no\nlog file = {scratch}/rsyncd.log\n[m]\npath = {folder}\nread only = yes\n"
        f"uid = {os.getuid()}\ngid = {os.getgid()}\n",
        encoding="ascii",
    )
    options = ["--daemon", "--no-detach", "--address=127.0.0.1"]
    return [tool("rsync"), *options, f"--port={port}", f"--config={config}"], port


def twistd_web(folder: Path) -> tuple[list[str], int]:
    """The command of Twisted's own web server for `folder`, and its port."""
    port = free_port()
    twistd = str(Path(sys.executable).with_name("twistd"))
    listen = f"--listen=tcp:{port}:interface=127.0.0.1"
    return [twistd, "-n", "--pidfile=", "web", listen, f"--path={folder}"], port
