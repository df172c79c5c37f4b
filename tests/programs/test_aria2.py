"""Tests aria2 against the daemon: one file over several connections, and continued."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from filecmp import cmp
from pathlib import Path

from tests.daemons import SECONDS, Daemon
from tests.programs.conftest import Run, needs

pytestmark = needs("aria2c")

ARIA2 = (
    *("aria2c", "--no-conf", "--no-netrc", "--async-dns=false", "--console-log-level=warn"),
    *("--allow-overwrite=true", "--file-allocation=none", "--max-tries=1"),
    *(f"--timeout={SECONDS:.0f}", "-x4", "-s4", "-k1M"),
)

PIECE = 16 * 1024
"""What aria2 rounds the bytes down to that it finds."""


def test_four_connections(daemon: Daemon, run: Run, work: Path) -> None:
    run(*ARIA2, "--log=log", "--log-level=info", f"{daemon.url}/huge")
    assert cmp(work / "huge", daemon.root / "huge", shallow=False)
    log = (work / "log").read_text()
    assert len(set(re.findall(r"Range: bytes=(\d+)-", log))) >= 3
    assert not list(work.glob("*.aria2"))
    (work / "huge").unlink()


def test_a_small_file(daemon: Daemon, run: Run, work: Path) -> None:
    run(*ARIA2, f"{daemon.url}/hello.txt", f"{daemon.url}/hello.txt")
    assert (work / "hello.txt").read_bytes() == b"hello\n"


def test_many_files(daemon: Daemon, run: Run, work: Path) -> None:
    urls = "".join(f"{daemon.url}/tree/file{number}.txt\n" for number in range(20))
    run(*ARIA2, "-j8", "-i", "-", data=urls.encode())
    for number in range(20):
        name = f"file{number}.txt"
        assert cmp(work / name, daemon.root / "tree" / name, shallow=False)


def test_its_own_broken_download(daemon: Daemon, run: Run, work: Path) -> None:
    """Killed once some of it is there; then it fetches the rest, and no more than that."""
    half = ("--max-overall-download-limit=40M", "--auto-save-interval=1", "--max-tries=5")
    command = (*ARIA2, *half, f"{daemon.url}/huge")
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + SECONDS
        while not (work / "huge.aria2").exists() or (work / "huge").stat().st_blocks < 16384:
            assert process.poll() is None
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
    assert (work / "huge.aria2").exists()
    run(*ARIA2, "-c", "--log=log", "--log-level=info", f"{daemon.url}/huge")
    assert "Range: bytes=" in (work / "log").read_text()
    assert cmp(work / "huge", daemon.root / "huge", shallow=False)
    assert not (work / "huge.aria2").exists()
    (work / "huge").unlink()


def test_what_another_program_began(daemon: Daemon, run: Run, work: Path) -> None:
    (work / "medium").write_bytes((daemon.root / "medium").read_bytes()[:1_000_000])
    run(*ARIA2, "-c", "--log=log", "--log-level=info", f"{daemon.url}/medium")
    starts = map(int, re.findall(r"Range: bytes=(\d+)-", (work / "log").read_text()))
    assert min(starts) >= 1_000_000 - PIECE
    assert cmp(work / "medium", daemon.root / "medium", shallow=False)


def test_what_is_not_there(daemon: Daemon, run: Run, work: Path) -> None:
    run(*ARIA2, f"{daemon.url}/missing", status=3)  # resource not found
    assert list(work.iterdir()) == []
