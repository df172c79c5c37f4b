"""Tests docs/examples, each program as it stands: a client of the daemon, and a server of its own.

The server is made of the daemon's parts, on Twisted's own transports.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl.client import fetch_bytes, listdir, mirror

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "docs/examples"
SECONDS = 60.0
LONG = bytes(range(253)) * 20_000

ASK = """
import sys
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react
from tcpdl.protocol import NativeClientFactory, fetch_bytes

async def main(reactor, server):
    endpoint = clientFromString(reactor, server)
    client = await endpoint.connect(NativeClientFactory())
    parts = []
    asked = [
        client.get("long", parts.append, 1_000_001, 3_000_000),
        client.digests("long"),
        client.listdir("", recursive=True),
        client.get_bytes("notes/a.txt"),
        fetch_bytes(endpoint, "long"),
    ]
    info, digests, listed, text, whole = await gatherResults(asked)
    client.transport.loseConnection()
    assert b"".join(parts) == whole[1_000_001:4_000_001]
    assert digests.root() and digests.info.tag == info.tag and info.size == len(whole)
    print(*(entry.name.decode() for entry in listed), text.decode())

react(main, sys.argv[1:])
"""
"""Asks for all there is to ask for, one behind the other."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes/a.txt").write_bytes(b"hello\n")
    (folder / "long").write_bytes(LONG)
    return folder


@contextlib.contextmanager
def running(pattern: str, *command: object) -> Iterator[str]:
    """Run a program; yields what the pattern's group finds in what it prints."""
    text = b""
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, env=environment()
    ) as process:
        try:
            assert process.stdout is not None
            while not (found := re.search(pattern, text.decode())):
                assert select.select([process.stdout], [], [], SECONDS)[0], text
                data = os.read(process.stdout.fileno(), 65536)
                assert data, text
                text += data
            yield found[1]
        finally:
            process.kill()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "error"}


def run(*command: object) -> Any:
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        timeout=SECONDS,
        env=environment(),
    )


@pytest.fixture(params=["daemon", "example", "example over a Unix socket"])
def server(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> Iterator[str]:
    """Each kind of server there is, as a client's endpoint."""
    if request.param == "daemon":
        twistd = Path(sys.executable).with_name("twistd")
        options = "tcpdl", "--port=0", "--interface=127.0.0.1", f"--root={root}"
        with running(r"serving .* on \S+:(\d+)\n", twistd, "-n", "--pidfile=", *options) as port:
            yield f"tcp:127.0.0.1:{port}"
    elif request.param == "example":
        with our_server("tcp:0:interface=127.0.0.1", root) as port:
            yield f"tcp:127.0.0.1:{port}"
    else:
        path = tmp_path / "socket"
        with running("(serving)", sys.executable, SERVE, f"unix:{path}", root):
            yield f"unix:{path}"


GET = EXAMPLES / "twisted_get.py"
SERVE = EXAMPLES / "twisted_serve.py"


def our_server(port: str, root: Path) -> contextlib.AbstractContextManager[str]:
    return running(r"serving .*port=(\d+)\)", sys.executable, SERVE, port, root)


def test_the_example_fetches_a_file(server: str, tmp_path: Path) -> None:
    ran = run(GET, server, "long")
    assert ran.stdout == LONG
    assert ran.stderr.decode() == f"long: {len(LONG)} bytes, all of them checked\n"
    assert ran.returncode == 0
    ran = run(GET, server, "absent")
    assert b"NotServed: nothing has that name" in ran.stderr
    assert (ran.returncode, ran.stdout) == (1, b"")


def test_files_are_served_by_twisteds_own_transports(root: Path) -> None:
    with our_server("tcp:0:interface=127.0.0.1", root) as port:
        assert fetch_bytes(f"127.0.0.1:{port}/long") == LONG


def test_trees_are_served_by_twisteds_own_transports(root: Path, tmp_path: Path) -> None:
    with our_server("tcp:0:interface=127.0.0.1", root) as port:
        names = {entry.name for entry in listdir(f"127.0.0.1:{port}/", timeout=5)}
        assert names == {b"long", b"notes"}
        mirror(f"127.0.0.1:{port}/", tmp_path / "mirrored", timeout=5)
    assert (tmp_path / "mirrored/notes/a.txt").read_bytes() == b"hello\n"
    assert (tmp_path / "mirrored/long").read_bytes() == LONG


@pytest.mark.parametrize("server", ["daemon"], indirect=True)
def test_everything_that_can_be_asked(server: str) -> None:
    ran = run("-c", ASK, server)
    assert (ran.stdout, ran.stderr) == (b"long notes notes/a.txt hello\n\n", b"")


@pytest.mark.parametrize("path", [GET, SERVE], ids=lambda path: path.name)
def test_examples_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len([line for line in text.splitlines()[1:] if line]) <= 20
