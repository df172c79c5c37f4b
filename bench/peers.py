"""What the benchmarks share: servers started and stopped, runs timed in turn, ratios printed.

Imported, it changes this process's environment: programs that are timed keep their modules
compiled, as installed ones do.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

TICKS = os.sysconf("SC_CLK_TCK")
LOOPBACK = "127.0.0.1"
LISTENING = "0A"
"""A socket that listens, as /proc/net/tcp has it."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


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

    def listens(self) -> bool:
        """Whether anything listens on its port; it is not connected to, and may be on a network
        of its own."""
        for table in ("tcp", "tcp6"):
            with suppress(FileNotFoundError), open(f"/proc/{self.pid}/net/{table}") as sockets:
                for line in sockets:
                    local, state = line.split()[1], line.split()[3]
                    if state == LISTENING and int(local.rpartition(":")[2], 16) == self.port:
                        return True
        return False


def command_line(doc: str | None, rounds: int = 5, files: bool = True) -> argparse.ArgumentParser:
    """What every benchmark takes from its command line; `doc` is its docstring."""
    tidy_up_when_told()
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help=f"({rounds})")
    if files:
        parser.add_argument("--folder", default="/dev/shm", help="where they are (/dev/shm)")
    return parser


def tidy_up_when_told() -> None:
    """From here on, being told to end is an exit, which stops servers and removes files."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


@contextmanager
def scratch_folder(folder: str) -> Iterator[Path]:
    """A new folder below `folder`, which goes at the end."""
    with tempfile.TemporaryDirectory(prefix="tcpdl-bench-", dir=folder) as scratch:
        yield Path(scratch)


def unable(reason: str) -> NoReturn:
    """End the benchmark, which cannot run here, with one line and status 2."""
    print(reason, file=sys.stderr)
    sys.exit(2)


def tool(name: str) -> str:
    """The path of a program; ends the benchmark with a clear line if it is missing."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        unable(f"{name} is not installed; this benchmark needs it")
    return found


def own(name: str) -> str:
    """The path of a program that is installed beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[Server]:
    """Start `command`, wait until it listens on `port`; stop it and its children at the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    server = Server(process.pid, port)
    try:
        end = time.monotonic() + 20
        while not server.listens():
            if process.poll() is not None:
                sys.exit(f"{command[0]} ended with status {process.returncode}")
            if time.monotonic() > end:
                sys.exit(f"{command[0]} does not listen on port {port}")
            time.sleep(0.01)
        yield server
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a session, and what it started there."""
    if process.returncode is not None:
        return  # its number may be another's by now
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
            break


def tcpdl_daemon(root: Path, *options: str, address: str = LOOPBACK) -> tuple[list[str], int]:
    """The command of our daemon on a free port, and the port."""
    port = free_port()
    listen = ["--port", str(port), "--interface", address, "--root", str(root)]
    return [own("twistd"), "-n", "--pidfile=", "tcpdl", *listen, *options], port


def nginx(
    folder: Path,
    scratch: Path,
    address: str = LOOPBACK,
    *,
    autoindex: bool = False,
    tls: tuple[Path, Path] | None = None,
    connections: int = 1024,
) -> tuple[list[str], int]:
    """The command of an nginx with one worker that serves `folder`, and its port; over TLS, if it
    is given a certificate and its key."""
    port = free_port()
    secrets = "ssl_certificate {}; ssl_certificate_key {};".format(*tls) if tls else ""
    config = scratch / "nginx.conf"
    config.write_text(
        f"""
        daemon off; master_process off; worker_processes 1;
        pid {scratch}/nginx.pid; error_log {scratch}/nginx.log;
        events {{ worker_connections {connections}; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
            client_body_temp_path {scratch}; proxy_temp_path {scratch};
            fastcgi_temp_path {scratch}; uwsgi_temp_path {scratch}; scgi_temp_path {scratch};
            server {{
                listen {address}:{port} {"ssl" if tls else ""}; {secrets}
                root {folder}; autoindex {"on" if autoindex else "off"};
            }}
        }}
        """,
        encoding="ascii",
    )
    return [tool("nginx"), "-p", str(scratch), "-c", str(config)], port


def rsyncd(folder: Path, scratch: Path, address: str = LOOPBACK) -> tuple[list[str], int]:
    """The command of an rsync daemon that serves `folder` as the module `m`, and its port."""
    port = free_port()
    config = scratch / "rsyncd.conf"
    config.write_text(
        f"use chroot = no\nlog file = {scratch}/rsyncd.log\n[m]\npath = {folder}\nread only = yes\n"
        f"uid = {os.getuid()}\ngid = {os.getgid()}\n",
        encoding="ascii",
    )
    options = ["--daemon", "--no-detach", f"--address={address}"]
    return [tool("rsync"), *options, f"--port={port}", f"--config={config}"], port


def twistd_web(folder: Path) -> tuple[list[str], int]:
    """The command of Twisted's own web server for `folder`, and its port."""
    port = free_port()
    listen = f"--listen=tcp:{port}:interface={LOOPBACK}"
    return [own("twistd"), "-n", "--pidfile=", "web", listen, f"--path={folder}"], port


def random_file(path: Path, mib: int) -> None:
    """Make a file of that size, which nothing can compress."""
    path.parent.mkdir(exist_ok=True)
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1024 * 1024))


def library_tree(root: Path, files: int, largest: int = 100_000) -> int:
    """Make a tree of the standard library's files of at most `largest` bytes; return its bytes.

    They are repeated under numbered folders until there are `files`.
    """
    stdlib = Path(sysconfig.get_path("stdlib"))
    made = size = turn = 0
    while made < files:
        for path in _library(stdlib, largest):
            if made == files:
                break
            target = root / str(turn) / path.relative_to(stdlib)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
            made, size = made + 1, size + target.stat().st_size
        turn += 1
    return size


def _library(stdlib: Path, largest: int) -> Iterator[Path]:
    """Files of the standard library, without what is installed beside it, compiled or hidden."""
    for folder, below, names in os.walk(stdlib):
        left_out = {"site-packages", "dist-packages", "__pycache__"}
        below[:] = sorted(n for n in below if n not in left_out and not n.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            plain = path.is_file() and not path.is_symlink() and not name.startswith(".")
            if plain and path.stat().st_size <= largest:
                yield path


class Tree:
    """What a tree holds, to compare its copies with."""

    def __init__(self, root: Path) -> None:
        self._folders: set[str] = set()
        self._files: dict[str, tuple[int, bytes]] = {}
        for folder, below, names in os.walk(root):
            at = os.path.relpath(folder, root)
            self._folders.update(os.path.join(at, name) for name in below)
            for name in names:
                path = Path(folder, name)
                self._files[os.path.join(at, name)] = path.stat().st_mtime_ns, path.read_bytes()

    def __len__(self) -> int:
        return len(self._files)

    def check(self, name: str, copy: Path, times: bool = True) -> None:
        """End the benchmark unless `copy` holds the same folders and files, with the same bytes,
        and the same times of change if these are asked for."""
        other = Tree(copy)
        names = self._folders == other._folders and self._files.keys() == other._files.keys()
        if not names or any(
            data != other._files[path][1] or (times and changed != other._files[path][0])
            for path, (changed, data) in self._files.items()
        ):
            sys.exit(f"{name}: what arrived differs from what was sent")


def check_same(name: str, copy: Path, original: Path) -> None:
    """End the benchmark unless two files are the same, byte for byte."""
    filecmp.clear_cache()  # which goes by size and time, and a copy may have those of the last one
    if not filecmp.cmp(copy, original, shallow=False):
        sys.exit(f"{name}: what arrived differs from what was sent")


def seconds(command: Sequence[str]) -> float:
    """Run a client to its end; how long that took. Ends the benchmark if it fails."""
    start = time.perf_counter()
    status = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
    spent = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    return spent


def tree_copied(original: Tree, command: Sequence[str], target: Path, fresh: bool) -> float:
    """Run a client that copies a tree to `target`, which is new if `fresh`; files a second."""
    if fresh:
        shutil.rmtree(target, ignore_errors=True)
    rate = len(original) / seconds(command)
    original.check(" ".join(command), target)
    return rate


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
