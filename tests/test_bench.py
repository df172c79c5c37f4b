"""Tests that the benchmarks still run, on small input; what they measure is not judged here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"


def needs(*programs: str) -> pytest.MarkDecorator:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCH / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(BENCH.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs("nginx", "curl", "nc")
def test_raw(tmp_path: Path) -> None:
    shown = run("raw.py", "--mib", "2", "--rounds", "1", "--folder", str(tmp_path))
    assert shown.count("tcpdl + nc -N") >= 2
    assert "the daemon's memory grew by" in shown


@needs("nginx", "curl", "nc")
def test_sizes(tmp_path: Path) -> None:
    shown = run("sizes.py", "--mib", "2", "--rounds", "1", "--folder", str(tmp_path))
    assert "send 64 KiB, unsent 128" in shown


def test_echo() -> None:
    shown = run("echo.py", "--seconds", "0.1", "--rounds", "1", "--idle", "20")
    assert "1.00 x asyncio" in shown
    assert "20 idle connections" in shown
