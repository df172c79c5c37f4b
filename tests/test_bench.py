"""Tests that the benchmarks still run, on small input; what they measure is not judged here."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bench.link import Quality, Way

BENCH = Path(__file__).resolve().parent.parent / "bench"
NOT_RUN = [
    path.name
    for path in sorted(BENCH.glob("*.py"))
    if "__main__" in path.read_text() and f'"{path.name}"' not in Path(__file__).read_text()
]
"""Those that no test here has measure something."""


def needs(*programs: str) -> pytest.MarkDecorator:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@contextmanager
def started(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(BENCH / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(BENCH.parent)},
    )
    try:
        yield process
    finally:
        process.terminate()  # it stops its servers, as it would not if it were killed
        process.communicate(timeout=30)


def run(script: str, *arguments: str) -> str:
    with started(script, *arguments) as process:
        shown, complaints = process.communicate(timeout=120)
    if process.returncode == 2 and len(complaints.splitlines()) == 1:
        pytest.skip(complaints)
    assert process.returncode == 0, complaints
    return shown


@pytest.mark.parametrize("script", NOT_RUN)
def test_help(script: str) -> None:
    assert f"python bench/{script}" in run(script, "--help")


@needs("nginx", "curl", "nc")
def test_raw(tmp_path: Path) -> None:
    shown = run("raw.py", "--mib", "2", "--rounds", "1", "--folder", str(tmp_path))
    assert shown.count("tcpdl + nc -N") >= 2
    assert "the daemon's memory grew by" in shown
    assert not list(tmp_path.iterdir())


@needs("nginx", "curl", "wrk", "openssl")
def test_tls(tmp_path: Path) -> None:
    few = ("--mib", "2", "--seconds", "1", "--idle", "5", "--rounds", "1")
    shown = run("tls.py", *few, "--folder", str(tmp_path))
    assert shown.count("x nginx") == 6
    assert "5 idle connections" in shown
    assert not list(tmp_path.iterdir())


@needs("nginx", "curl", "nc")
def test_sizes(tmp_path: Path) -> None:
    shown = run("sizes.py", "--mib", "2", "--rounds", "1", "--folder", str(tmp_path))
    assert "send 64 KiB, unsent 128" in shown


def test_echo() -> None:
    shown = run("echo.py", "--seconds", "0.1", "--rounds", "1", "--idle", "20")
    assert "1.00 x asyncio" in shown
    assert "20 idle connections" in shown


@needs("nginx", "curl", "aria2c", "rsync")
def test_native(tmp_path: Path) -> None:
    shown = run("native.py", "--mib", "2", "--rounds", "1", "--folder", str(tmp_path))
    assert "tcpdl get, digests unknown" in shown


@needs("nginx", "curl", "wget", "aria2c", "wrk")
def test_http(tmp_path: Path) -> None:
    sizes = ("--seconds", "1", "--mib", "2", "--entries", "20", "--pages", "2")
    shown = run("web.py", *sizes, "--rounds", "1", "--folder", str(tmp_path))
    assert shown.count("x twistd web") >= 2
    assert "pages of 20 entries" in shown
    assert "aria2c -x4" in shown


def test_answers(tmp_path: Path) -> None:
    few = ("--requests", "20", "--connections", "10", "--names", "2", "--rounds", "1")
    shown = run("answers.py", *few, "--folder", str(tmp_path))
    assert shown.count("x nothing") == 3 * 2 * 5
    assert not list(tmp_path.iterdir())


@needs("wrk")
def test_workers(tmp_path: Path) -> None:
    few = ("--seconds", "1", "--entries", "20", "--rounds", "1", "--load", "page")
    shown = run("workers.py", *few, "--folder", str(tmp_path))
    assert "2 workers" in shown
    assert shown.count("requests per second of the daemon's") == 2


@needs("rsync", "tar", "nc")
def test_tree(tmp_path: Path) -> None:
    shown = run("tree.py", "--files", "20", "--rounds", "1", "--folder", str(tmp_path))
    assert shown.count("tcpdl mirror") == 2
    assert "1.00 x rsync -rtW" in shown


def test_small(tmp_path: Path) -> None:
    shown = run("small.py", "--rounds", "1", "--folder", str(tmp_path))
    assert "1.00 x python -c 'import socket'" in shown


def test_broken(tmp_path: Path) -> None:
    sizes = ("--mib", "4", "--megabytes", "4", "--kills", "2")
    shown = run("broken.py", *sizes, "--rounds", "1", "--seed", "1", "--folder", str(tmp_path))
    assert "--seed 1; every file was right" in shown
    assert not list(tmp_path.iterdir())


@needs("ip", "nginx", "aria2c", "rsync")
def test_wan(tmp_path: Path) -> None:
    sizes = ("--mib", "1", "--files", "5", "--delay", "10")
    shown = run("wan.py", *sizes, "--rounds", "1", "--folder", str(tmp_path))
    assert "10 ms, 200 Mbit/s, nothing lost" in shown


@needs("ip")
def test_link() -> None:
    shown = run("link.py", "--packets", "50", "--delay", "10", "--loss", "0")
    assert "round trip 1" in shown
    assert shown.count("0.00 % of 50 packets lost") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tidies_up_when_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ("--mib", "64", "--megabytes", "1", "--folder", str(tmp_path))
    with started("broken.py", *arguments) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("*/out/big.tcpdl-part")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert not list(tmp_path.iterdir())
    assert not [line for line in command_lines() if os.fsencode(tmp_path) in line]


def command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            yield path.read_bytes()


def test_way_has_delay_rate_and_room() -> None:
    way = Way(Quality(delay=0.5, rate=1000, loss=0, queue=0.25), random.Random(1))
    for _ in range(5):  # each takes 0.1 s; the last two would wait for too long
        way.send(bytes(100), 7.0)
    arrivals = []
    while (due := way.due()) is not None:
        assert list(way.arrived(due - 1e-6)) == []
        arrivals += [round(due, 3) for _ in way.arrived(due)]
    assert arrivals == [7.35, 7.45, 7.55]


def test_way_loses_its_share() -> None:
    way = Way(Quality(delay=0, rate=1e9, loss=0.1, queue=1), random.Random(1))
    for number in range(10_000):
        way.send(b"x", number)
    assert len(list(way.arrived(20_000))) == pytest.approx(9_000, rel=0.02)
