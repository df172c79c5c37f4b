"""Tests that plain socket programs, as tutorials have them, understand us, and we them.

There are five: two clients and three servers, each run as a program of its own. They read once
and take what comes for the whole, send names with no line end, and speak GBK where they like.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60.0
CHINESE = "下载文件.txt"
BINARY = bytes(range(250)) * 200
assert len(BINARY) == 50_000

FETCH = """
import socket, sys
host, port, name = sys.argv[1:]
with socket.create_connection((host, int(port)), 20) as sock:
    sock.sendall(name.encode("gbk"))
    data = sock.recv(1024 * 1024)
if data:
    with open("saved " + name, "wb") as file:
        file.write(data)
"""
"""Asks in GBK; what the first read brings is the file."""

TALK = """
import socket, sys
host, port, text = sys.argv[1:]
with socket.create_connection((host, int(port)), 20) as sock:
    sock.sendall(text.encode())
    sys.stdout.buffer.write(sock.recv(1024).decode("gbk").encode())
"""
"""Speaks UTF-8, and understands GBK."""

_LISTEN = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(20)
print("port", listener.getsockname()[1], flush=True)
"""

SERVE_FILE = f"""
{_LISTEN}
sock, _ = listener.accept()
name = sock.recv(1024).decode()
try:
    with open(name, "rb") as file:
        content = file.read()
except OSError:
    print("nothing is called", ascii(name))
    content = b""
sock.sendall(content)
sock.close()
"""
"""Serves one file to one client; what the first read brings is the name."""

SAY_HELLO = f"""
{_LISTEN}
sock, _ = listener.accept()
print("got", ascii(sock.recv(1024).decode("gbk")))
sock.sendall(b"hello")
sock.close()
"""
"""Takes one text, answers it and goes."""

LAUGH = f"""
{_LISTEN}
while True:
    sock, _ = listener.accept()
    while text := sock.recv(1024).decode("gbk"):
        print("got", ascii(text), flush=True)
        sock.sendall("haha".encode("gbk"))
    sock.close()
"""
"""Answers every read of one client after the other with the same text."""


@contextlib.contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[bytes], *patterns: str) -> list[str]:
    """Read what a program prints until it holds each pattern; returns what their groups hold."""
    assert process.stdout is not None
    text = b""
    while not all(found := [re.search(pattern, text.decode()) for pattern in patterns]):
        assert select.select([process.stdout], [], [], SECONDS)[0], text
        data = os.read(process.stdout.fileno(), 65536)
        assert data, text
        text += data
    return [match[1] for match in found if match]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that is served, by us or by them."""
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "hello.txt").write_bytes(b"hello\n")
    (folder / "binary").write_bytes(BINARY)
    (folder / CHINESE).write_bytes("你好\n".encode())
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder that clients work in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


# Their clients, our daemon.


@contextlib.contextmanager
def our_daemon(root: Path, *options: str) -> Iterator[list[str]]:
    """The ports of a daemon for `root`: of the files, and of echo."""
    program = str(Path(sys.executable).with_name("twistd"))
    options = ("--port=0", "--echo-port=0", "--interface=127.0.0.1", f"--root={root}", *options)
    with running(program, "-n", "--pidfile=", "tcpdl", *options, cwd=root) as process:
        yield read_until(process, r"serving .* on \S+:(\d+)\n", r"echo on \S+:(\d+)\n")


def their_client(program: str, port: str, text: str, work: Path) -> bytes:
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program, "127.0.0.1", port, text],
        cwd=work,
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        check=True,
    ).stdout


def test_their_client_fetches_from_us(root: Path, work: Path) -> None:
    with our_daemon(root) as (port, _):
        for name in ("hello.txt", "binary", CHINESE):
            their_client(FETCH, port, name, work)
            assert (work / f"saved {name}").read_bytes() == (root / name).read_bytes()
        their_client(FETCH, port, "没有.txt", work)
        their_client(FETCH, port, "missing", work)
        their_client(FETCH, port, "../root/hello.txt", work)
    assert len(list(work.iterdir())) == 3


def test_their_client_talks_to_our_echo(root: Path, work: Path) -> None:
    with our_daemon(root) as (_, port):
        assert their_client(TALK, port, "hello", work) == b"hello"
        assert their_client(TALK, port, "a longer text, all in ASCII", work).endswith(b"in ASCII")


def test_their_client_talks_to_our_fixed_reply(root: Path, work: Path) -> None:
    with our_daemon(root, "--echo-reply=你好", "--echo-encoding=gbk") as (_, port):
        for text in ("hello", "下载"):
            assert their_client(TALK, port, text, work).decode() == "你好"


# Their servers, our client.


@contextlib.contextmanager
def their_server(program: str, root: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with running(sys.executable, "-X", "utf8", "-c", program, cwd=root) as process:
        (port,) = read_until(process, r"port (\d+)\n")
        yield f"127.0.0.1:{port}", process


Ours = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def ours(work: Path) -> Ours:
    """Runs our client in `work`."""

    def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-X", "utf8", "-m", "tcpdl", *arguments],
            cwd=work,
            input=text.encode(),
            capture_output=True,
            timeout=SECONDS,
        )

    return run


@pytest.mark.parametrize("name", ["hello.txt", "binary", CHINESE])
def test_we_fetch_from_their_server(name: str, root: Path, work: Path, ours: Ours) -> None:
    with their_server(SERVE_FILE, root) as (address, process):
        # It serves one connection: there is none left for asking which dialect it speaks.
        done = ours("get", f"{address}/{name}", "--dialect", "raw")
        assert (done.returncode, done.stderr) == (0, b"")
        assert process.wait(SECONDS) == 0
    assert (work / name).read_bytes() == (root / name).read_bytes()


def test_we_miss_a_file_on_their_server(root: Path, work: Path, ours: Ours) -> None:
    with their_server(SERVE_FILE, root) as (address, process):
        done = ours("get", f"{address}/没有.txt", "--dialect", "raw")
        assert done.returncode == 5
        assert "the server has no file '没有.txt'" in done.stderr.decode()
        # It has looked for the name as it is, with nothing after it.
        assert read_until(process, r"nothing is called '(.*)'\n") == [r"\u6ca1\u6709.txt"]
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("text", ["hi", "hello", "a longer text than the reply", "你好"])
def test_we_talk_to_their_server(text: str, root: Path, ours: Ours) -> None:
    with their_server(SAY_HELLO, root) as (address, process):
        done = ours("echo", address, text, "--encoding", "gbk")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")
        (got,) = read_until(process, r"got (.*)\n")
        assert got == ascii(text)


def test_we_talk_to_their_server_at_length(root: Path, ours: Ours) -> None:
    with their_server(LAUGH, root) as (address, process):
        for _ in range(2):  # one client after the other
            done = ours("echo", address, "--encoding", "gbk", text="你好\nhi\n再见\n")
            assert (done.returncode, done.stdout, done.stderr) == (0, b"haha\n" * 3, b"")
        assert read_until(process, rf"(got {re.escape(ascii('再见'))}\n)(?s:.*)\1")
