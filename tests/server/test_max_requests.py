"""Tests that a connection ends after so many requests, and that clients take no harm of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl.client import fetch, listdir, mirror
from tcpdl.wire import native
from tcpdl.wire.native import Error, Get
from tests.daemons import SECONDS, Daemon, daemon_of
from tests.server.conftest import Connect
from tests.server.http_client import HttpServer, get, settle
from tests.server.native_client import NativeServer

LARGE = os.urandom(3_000_000)
SMALL = get("/small")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settle(monkeypatch)
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "small").write_bytes(b"small content")
    (root / "large").write_bytes(LARGE)
    return root


@pytest.fixture
def http(root: Path, connect: Connect) -> Iterator[HttpServer]:
    server = HttpServer(root, connect)
    server.factory.requests_most = 3
    yield server
    server.close()


@pytest.mark.parametrize("last", ["/small", "/large", "/folder/", "/?archive=tar", "/absent"])
def test_the_last_answer_says_so(last: str, http: HttpServer) -> None:
    client = http.connect()
    for _ in range(2):
        assert client.fetch("/small").get("connection") is None
    assert client.fetch(last)["connection"] == "close"
    assert client.ended


def test_what_was_asked_beyond_is_not_answered(http: HttpServer) -> None:
    client = http.connect("tcp")
    replies = client.ask(SMALL * 5)
    assert [reply.get("connection") for reply in replies] == [None, None, "close"]
    assert client.rest == b""
    assert client.ended


def test_a_connection_that_is_closed_anyway(http: HttpServer) -> None:
    client = http.connect()
    assert client.fetch("/small", "Connection: close")["connection"] == "close"


class Native(NativeServer):
    """A server that takes so many requests on a connection."""

    def connect(self, hello: bytes = native.preface(native.SHA256), **options: Any) -> Any:
        client = super().connect(hello, **options)
        client.protocol._left = 3
        return client


@pytest.mark.parametrize("more", [b"", b"\x99nonsense"])
def test_natively_the_end_follows_the_last_answer(
    more: bytes,
    root: Path,
    connect: Connect,
) -> None:
    client = Native(root, connect).connect()
    client.say(*(Get(number, b"small") for number in range(200)), more)
    client.hear()
    received = client.connection.received
    ends = [native.encode(native.End(number)) for number in range(4)]
    assert [end in received for end in ends] == [True, True, True, False]
    assert not any(isinstance(one, Error) for one in client.hear())
    assert client.ended


def test_natively_one_after_the_other(root: Path, connect: Connect) -> None:
    client = Native(root, connect).connect()
    for number in range(3):
        assert not client.ended
        assert client.ask(Get(number, b"small"))
    assert client.ended


@pytest.fixture
def daemon(root: Path) -> Iterator[Daemon]:
    for number in range(30):
        (root / "folder" / f"{number}").write_bytes(os.urandom(1000 + number))
        (root / "folder" / f"large-{number}").write_bytes(os.urandom(1_100_000))
    (root / "large").write_bytes(os.urandom(100_000_000))
    with daemon_of(root, "--max-requests=2") as daemon:
        yield daemon


@pytest.mark.parametrize("scheme", ["tcpdl://", "http://"])
def test_the_client_connects_again(scheme: str, daemon: Daemon, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch(f"{scheme}{daemon.where}/large", out, connections=2)
    assert out.read_bytes() == (daemon.root / "large").read_bytes()


def test_trees_are_fetched(daemon: Daemon, tmp_path: Path) -> None:
    for _ in range(2):
        mirror(f"{daemon.where}/folder", tmp_path / "out")
        for path in (daemon.root / "folder").iterdir():
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
        (tmp_path / "out" / "7").write_bytes(b"changed")
        (tmp_path / "out" / "large-7").unlink()
    assert len(listdir(f"{daemon.where}/folder")) == 60


def test_the_command_says_nothing_of_it(daemon: Daemon, tmp_path: Path) -> None:
    names = [f"{daemon.where}/folder/{number}" for number in range(10)]
    program = [sys.executable, "-m", "tcpdl", "get", "-d", str(tmp_path / "out"), *names]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
