"""What the tests of faults share: daemons, and what they serve.

Everything here is real: processes, sockets, files. Nothing waits for a time to pass: a test goes on
when it has received something, read it in the log or seen it in /proc, and at last gives up.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, daemon_of
from tests.faults.fetching import TLS, WAYS

SIZE = 6_000_000

_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_PR_CAPBSET_DROP = 24


def bytes_of(size: int, seed: int = 1) -> bytes:
    """Bytes of which no two runs are alike, the same each time."""
    return random.Random(seed).randbytes(size)


def become_ordinary() -> None:
    """Take from a program that root will start the right to read what its user may not."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that is served."""
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def daemon(root: Path) -> Iterator[Daemon]:
    """A daemon that cannot read more than any user could."""
    with daemon_of(root, *encrypting(root), before=become_ordinary) as running:
        yield running


def encrypting(root: Path) -> tuple[str, str]:
    """The options with which a daemon that serves `root` speaks TLS as well."""
    return "--tls=self-signed", f"--state-dir={root.parent}"


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Each dialect in turn, as it is and under TLS."""
    name: str = request.param
    return name


@pytest.fixture
def dialect(way: str) -> str:
    """The dialect of `way`."""
    return way.removesuffix(TLS)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("not installed: cc")
    path = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    command: list[str | Path] = [compiler, "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl"]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cc cannot make a library to preload: {made.stderr.splitlines()[:1]}")
    return path
