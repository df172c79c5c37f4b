"""Tests `tcpdl get` with web servers that others wrote, as a person would use it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import peers
from tcpdl.client.fetched import Fetched
from tcpdl.commands.get import summary

if TYPE_CHECKING:
    from tests.commands.conftest import Run

MIB = 1 << 20
SECONDS = 60.0
SIZE = 9 * MIB + 5
TCPDL = [sys.executable, "-m", "tcpdl"]
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
MTIME = 1_600_000_000


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def http_server(folder: Path, _scratch: Path) -> tuple[list[str], int]:
    port = peers.free_port()
    where = ["--bind", "127.0.0.1", "--directory", str(folder), str(port)]
    return [sys.executable, "-m", "http.server", *where], port


def nginx(folder: Path, scratch: Path) -> tuple[list[str], int]:
    if NGINX is None:
        pytest.skip("nginx is not installed")
    return peers.nginx(folder, scratch)


def twisted_web(folder: Path, _scratch: Path) -> tuple[list[str], int]:
    return peers.twistd_web(folder)


SERVERS = [http_server, nginx, twisted_web]
Start = Callable[[Path, Path], tuple[list[str], int]]


@contextmanager
def serving(start: Start, folder: Path, scratch: Path) -> Iterator[int]:
    """The server runs; its port."""
    command, port = start(folder, scratch)
    with peers.running(command, port):
        yield port


@pytest.fixture(scope="module", params=SERVERS, ids=lambda start: start.__name__)
def port(
    request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    with serving(request.param, root, tmp_path_factory.mktemp("scratch")) as number:
        yield number


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    (folder / "large").write_bytes(os.urandom(SIZE))
    (folder / "small").write_bytes(b"small\n")
    (folder / "empty").write_bytes(b"")
    (folder / "a b%é").write_bytes(b"odd")
    for path in folder.iterdir():
        os.utime(path, (MTIME, MTIME))
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["large", "small", "empty"])
def test_file(name: str, port: int, root: Path, run: Run, tmp_path: Path) -> None:
    assert run("get", f"http://127.0.0.1:{port}/{name}?x#y") == (0, "", "")
    path = tmp_path / name
    assert path.read_bytes() == (root / name).read_bytes()
    assert path.stat().st_mtime == MTIME
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_odd_name(port: int, run: Run, tmp_path: Path) -> None:
    assert run("get", f"http://127.0.0.1:{port}/a%20b%25%C3%A9").status == 0
    assert (tmp_path / "a b%é").read_bytes() == b"odd"
    assert run("get", "--dialect", "http", f"127.0.0.1:{port}/a b%25é", "-o", "x").status == 0
    assert (tmp_path / "x").read_bytes() == b"odd"


def test_output(port: int, root: Path, run: Run) -> None:
    assert run("get", "-o", "-", f"http://127.0.0.1:{port}/small").out == "small\n"
    ran = run("get", "-o", "-", f"http://127.0.0.1:{port}/small", "--digest", "sha256:" + "0" * 64)
    assert ran.status == 8
    assert f"the file has the sha256 {sha256(root / 'small')}, and not 000" in ran.err


def test_digest(port: int, root: Path, run: Run, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{port}/large"
    assert run("get", url, "--digest", "sha256:" + "0" * 64).status == 8
    assert list(tmp_path.iterdir()) == []
    right = f"sha256:{sha256(root / 'large')}"
    assert run("get", url, "--digest", right) == (0, "", "")
    inode = (tmp_path / "large").stat().st_ino
    assert run("get", url, "--digest", right) == (0, "", "")
    assert (tmp_path / "large").stat().st_ino == inode


def test_is_not_there(port: int, run: Run, tmp_path: Path) -> None:
    ran = run("get", f"http://127.0.0.1:{port}/none")
    assert ran.status == 5
    assert "/none: the server has no '/none' to hand out: 404 " in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_server_found_out(root: Path, run: Run, tmp_path: Path) -> None:
    """Its complaint about our preface was once taken for the file."""
    with serving(nginx, root, make(tmp_path / "scratch")) as port:
        ran = run("get", f"127.0.0.1:{port}/small")
        assert ran == (0, "", f"tcpdl: 127.0.0.1:{port} is a web server: it is asked over HTTP\n")
        assert (tmp_path / "small").read_bytes() == b"small\n"
        assert run("get", "--dialect", "native", f"127.0.0.1:{port}/small").status == 4


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


class Slow:
    """Stands before a server, and lets through no more bytes to the client than it is told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._left = 0
        self._condition = threading.Condition()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.passed = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def allow(self, count: int) -> None:
        with self._condition:
            self._left += count
            self._condition.notify_all()

    def wait(self) -> None:
        """Until all that is allowed was let through."""
        with self._condition:
            assert self._condition.wait_for(lambda: not self._left, SECONDS)

    def close(self) -> None:
        self.allow(1 << 40)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += client, server
                for pair in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=self._pass, args=pair, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, source: socket.socket, to: socket.socket, counted: bool) -> None:
        with suppress(OSError), ExitStack() as stack:
            stack.callback(source.close)
            while data := source.recv(65536):
                while data:
                    part = self._take(data) if counted else data
                    to.sendall(part)
                    data = data[len(part) :]
            to.shutdown(socket.SHUT_WR)

    def _take(self, data: bytes) -> bytes:
        with self._condition:
            self._condition.wait_for(lambda: self._left, SECONDS)
            part = data[: self._left]
            self._left -= len(part)
            self.passed += len(part)
            self._condition.notify_all()
        return part


@pytest.fixture
def slow(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    with serving(nginx, root, tmp_path_factory.mktemp("scratch")) as port:
        made = Slow(port)
        yield made
        made.close()


def test_client_is_killed(slow: Slow, root: Path, run: Run, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{slow.port}/large"
    with subprocess.Popen([*TCPDL, "get", url], cwd=tmp_path) as process:
        slow.allow(5 * MIB)
        slow.wait()
        wait_for_record(tmp_path / "large.tcpdl-record", 3)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "large").exists()
    slow.allow(1 << 40)
    before = slow.passed
    assert run("get", url) == (0, "", "")
    assert (tmp_path / "large").read_bytes() == (root / "large").read_bytes()
    assert slow.passed - before < SIZE - 3 * MIB + 1000
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


def wait_for_record(path: Path, chunks: int) -> None:
    """Until so many chunks are on record: 42 bytes, and 40 for each."""
    done = threading.Event()
    for _ in range(int(SECONDS * 100)):
        with suppress(FileNotFoundError):
            if path.stat().st_size >= 42 + 40 * chunks:
                return
        done.wait(0.01)
    pytest.fail("nothing was put on record")


def test_server_is_killed(root: Path, tmp_path: Path) -> None:
    """And started again: the stream goes on where it was."""
    command, port = nginx(root, make(tmp_path / "scratch"))
    get = [*TCPDL, "get", f"http://127.0.0.1:{port}/large", "-o", "-"]
    with ExitStack() as stack:
        server = stack.enter_context(peers.running(command, port))
        # Nobody reads what the client writes, so it takes no more than fits into its buffers.
        stream = stack.enter_context(subprocess.Popen(get, stdout=subprocess.PIPE))
        assert stream.stdout is not None
        begun = stream.stdout.read(MIB)
        os.kill(server.pid, signal.SIGKILL)
        # It listens again before the client has given up.
        stack.enter_context(peers.running(command, port))
        data = begun + stream.stdout.read()
        assert stream.wait(SECONDS) == 0
        assert data == (root / "large").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["get", "http://host/"], "names no file"),
        (["get", "http://host/a/?b=c"], "names no file"),
        (["get", "http://host/a/.."], "names no file"),
        (["get", "http://me:secret@host/a"], "user name or password"),
        (["get", "--dialect", "native", "http://host/a"], "fetched over HTTP"),
        (["get", "--dialect", "raw", "http://host/a"], "fetched over HTTP"),
        (["get", "host/a", "--from", "http://host/a"], "--from needs the native dialect"),
        (["get", "http://host/a", "--from", "host/a"], "--from needs the native dialect"),
        (["get", "--dialect", "http", "host/a", "--from", "host/a"], "--from needs"),
        (["get", "host/a", "--digest", "md5:00"], "is no digest"),
        (["get", "host/a", "host/b", "--digest", "sha256:" + "0" * 64], "give one URL"),
        (["mirror", "http://host/a", "x"], "mirror does not speak HTTP"),
        (["ls", "http://host/a"], "ls does not speak HTTP"),
        (["verify", "http://host/a", "x"], "verify does not speak HTTP"),
        (["echo", "http://host:7", "x"], "write HOST:PORT"),
    ],
)
def test_wrong_command(arguments: list[str], complaint: str, run: Run) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert complaint in ran.err


def test_summary() -> None:
    """It is said whether it was checked."""
    assert ", not checked, " in summary("f", Fetched(5, verified=False))
    assert "5 B, checked, " in summary("f", Fetched(5))
