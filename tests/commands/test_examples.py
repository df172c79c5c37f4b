"""Tests docs/examples: programs that use the library, as they are shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tcpdl.client import fetch_bytes
from tests.commands.conftest import SECONDS, Served

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def test_twisted_serve(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    command = [
        sys.executable,
        str(EXAMPLES / "twisted_serve.py"),
        "tcp:0:interface=127.0.0.1",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().rpartition("=")[2].strip(")\n")
            assert fetch_bytes(f"127.0.0.1:{port}/file", dialect="native") == b"content"
        finally:
            server.terminate()


def test_twisted_get(served: Served) -> None:
    command = [sys.executable, str(EXAMPLES / "twisted_get.py"), f"tcp:{served.url}", "a.txt"]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (0, b"alpha\n"), done.stderr
    assert done.stderr == b"a.txt: 6 bytes, all of them checked\n"
