"""Tests nc, and the client of the project, on the port that browsers are answered on."""

from __future__ import annotations

import sys
from filecmp import cmp
from pathlib import Path

import pytest

from tests.daemons import Daemon
from tests.programs.conftest import CANARY, Run, needs

pytestmark = needs("nc")


def nc(daemon: Daemon) -> tuple[str, ...]:
    return ("nc", "-N", "127.0.0.1", str(daemon.port))


@pytest.mark.parametrize("name", ["hello.txt", "empty", "medium", "tree/sub/deep/下载.bin"])
def test_http_by_hand(daemon: Daemon, run: Run, name: str) -> None:
    out = run(*nc(daemon), data=f"GET /{name} HTTP/1.0\r\n\r\n".encode()).out
    head, _, body = out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == (daemon.root / name).read_bytes()


def test_a_listing_by_hand(daemon: Daemon, run: Run) -> None:
    out = run(*nc(daemon), data=b"GET /tree/?format=json HTTP/1.0\r\n\r\n").out
    assert b'"file19.txt"' in out


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0", b""])
@pytest.mark.parametrize("name", ["hello.txt", "medium", "names/下载文件.txt", "names/-rf"])
def test_names_of_the_raw_dialect(daemon: Daemon, run: Run, name: str, end: bytes) -> None:
    content = (daemon.root / name).read_bytes()
    assert run(*nc(daemon), data=name.encode() + end).out == content


@pytest.mark.parametrize(
    "name",
    [b"fifo", b"socket", b"link-out", b".hidden", b"../outside/secret", b"GETS", b"G", b"GET"],
)
def test_what_the_raw_dialect_does_not_hand_out(daemon: Daemon, run: Run, name: bytes) -> None:
    assert run(*nc(daemon), data=name + b"\n").out == b""


def test_names_that_look_like_requests(run: Run, daemon: Daemon) -> None:
    """They are answered as what they look like, and with no content."""
    for line in (b"GET ../outside/secret HTTP/1.1", b"GET /../outside/secret", b"POST /x"):
        out = run(*nc(daemon), data=line + b"\r\n\r\n").out
        assert CANARY not in out
        assert out.startswith(b"HTTP/1.1 4"), line


@pytest.mark.parametrize("dialect", ["native", "raw"])
def test_the_client(daemon: Daemon, run: Run, work: Path, dialect: str) -> None:
    tcpdl = (sys.executable, "-m", "tcpdl", "get", "--dialect", dialect)
    run(*tcpdl, f"127.0.0.1:{daemon.port}/medium", f"127.0.0.1:{daemon.port}/hello.txt")
    for name in ("medium", "hello.txt"):
        assert cmp(work / name, daemon.root / name, shallow=False)
