"""Tests `tcpdl get` and `verify` with a real daemon: what is checked, and what is continued."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tcpdl.client.download import download
from tcpdl.client.target import Target
from tcpdl.client.url import parse_url
from tcpdl.client.ways import Ways
from tests.commands.conftest import MTIME, SECONDS, Run, Served

MIB = 1024 * 1024
LARGE = "sub/deep/large"


class Proxy:
    """Stands between client and daemon: counts what the daemon sends, and may harm it."""

    def __init__(self, url: str) -> None:
        host, _, port = url.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        self.connections = 0
        self.flip_at: int | None = None
        """The byte of all that is sent which arrives with another value; that happens once."""
        self.break_at: int | None = None
        """After so many bytes the connection is closed; that happens once."""
        self.hold_at: int | None = None
        """From that byte on, nothing is sent on the first connection until another has ended."""
        self._another = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                first = self.connections == 1
                server = socket.create_connection(self._server, SECONDS)
                for pump, *more in ((self._up,), (self._down, first)):
                    threading.Thread(target=pump, args=(client, server, *more), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _down(self, client: socket.socket, server: socket.socket, first: bool) -> None:
        try:
            self._pass_on(client, server, first)
        finally:
            if not first:
                self._another.set()

    def _pass_on(self, client: socket.socket, server: socket.socket, first: bool) -> None:
        with suppress(OSError), client, server:
            while data := bytearray(server.recv(65536)):
                if self.flip_at is not None and self.sent <= self.flip_at < self.sent + len(data):
                    data[self.flip_at - self.sent] ^= 0x20
                    self.flip_at = None
                if self.break_at is not None and self.sent + len(data) > self.break_at:
                    data = data[: self.break_at - self.sent]
                    self.break_at = None
                    client.sendall(data)
                    self.sent += len(data)
                    client.shutdown(socket.SHUT_RDWR)
                    return
                if first and self.hold_at is not None and self.sent >= self.hold_at:
                    self._another.wait(SECONDS)
                client.sendall(data)
                self.sent += len(data)


@pytest.fixture
def proxy(served: Served) -> Iterator[Proxy]:
    made = Proxy(served.url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(served: Served, name: str = LARGE) -> bytes:
    return (served.root / name).read_bytes()


def left() -> list[str]:
    return sorted(os.listdir())


@pytest.mark.parametrize("name", ["a.txt", "sub/deep/medium", LARGE])
def test_get(name: str, served: Served, run: Run) -> None:
    assert run("get", f"{served.url}/{name}") == (0, "", "")
    (path,) = Path().iterdir()
    assert path.read_bytes() == content(served, name)
    assert path.stat().st_mtime_ns == MTIME


def test_get_to_standard_output(served: Served, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from tcpdl.cli import main

    assert main(["get", f"{served.url}/{LARGE}", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out == content(served)


@pytest.mark.parametrize("at", [100, MIB // 2, MIB + MIB // 2, 3 * MIB + 50])
def test_flipped_byte(at: int, served: Served, proxy: Proxy, run: Run) -> None:
    """It never is in the result, and costs no more than its chunk."""
    proxy.flip_at = at
    ran = run("get", f"{proxy.url}/{LARGE}")
    assert ran.status == 0
    assert "arrived damaged, and are fetched again" in ran.err
    assert Path("large").read_bytes() == content(served)
    assert proxy.sent < len(content(served)) + MIB + 4096


@pytest.mark.parametrize("at", [200, MIB + 7, 2 * MIB + MIB // 3, 3 * MIB])
def test_broken_connection_is_mended(at: int, served: Served, proxy: Proxy) -> None:
    """The download goes on where it was, by itself, on another connection."""
    proxy.break_at = at
    pauses: list[float] = []
    with Target(".", b"large", resume=True) as target:
        download(parse_url(f"{proxy.url}/{LARGE}"), target, Ways(sleep=pauses.append))
        target.keep()
    assert Path("large").read_bytes() == content(served)
    assert proxy.connections == 2
    assert proxy.sent < len(content(served)) + 8192
    assert len(pauses) == 1


def interrupted(proxy: Proxy, at: int) -> None:
    """Break a download off after `at` bytes, and leave what a killed process does."""

    class Killed(BaseException):
        pass

    def die(_: float) -> None:
        raise Killed

    proxy.break_at = at
    with pytest.raises(Killed), Target(".", b"large", resume=True) as target:
        download(parse_url(f"{proxy.url}/{LARGE}"), target, Ways(sleep=die))
    assert left() == ["large.tcpdl-part", "large.tcpdl-record"]


def test_what_is_there_is_not_fetched_again(served: Served, proxy: Proxy, run: Run) -> None:
    interrupted(proxy, 2 * MIB + MIB // 2)
    assert run("get", f"{proxy.url}/{LARGE}").status == 0
    assert Path("large").read_bytes() == content(served)
    assert proxy.sent < len(content(served)) + 8192
    assert left() == ["large"]


def harm_part() -> None:
    with open("large.tcpdl-part", "r+b") as part:
        part.seek(10)
        part.write(b"?")


def harm_beginning_of_a_chunk() -> None:
    with open("large.tcpdl-part", "r+b") as part:
        part.seek(2 * MIB + 10)
        part.write(b"?")


def tear_record() -> None:
    os.truncate("large.tcpdl-record", os.path.getsize("large.tcpdl-record") - 3)


def replace_record() -> None:
    Path("large.tcpdl-record").write_bytes(os.urandom(500))


def remove_record() -> None:
    os.unlink("large.tcpdl-record")


def lengthen_part() -> None:
    with open("large.tcpdl-part", "ab") as part:
        part.write(bytes(5 * MIB))


@pytest.mark.parametrize(
    "harm",
    [
        *(harm_part, harm_beginning_of_a_chunk, tear_record),
        *(replace_record, remove_record, lengthen_part),
    ],
)
def test_what_is_there_is_checked(
    harm: Callable[[], None], served: Served, proxy: Proxy, run: Run
) -> None:
    interrupted(proxy, 2 * MIB + MIB // 2)
    harm()
    assert run("get", f"{proxy.url}/{LARGE}").status == 0
    assert Path("large").read_bytes() == content(served)
    assert left() == ["large"]
    # At worst, the chunk that was harmed and the one that was begun come again.
    assert proxy.sent < len(content(served)) + 2 * MIB


def test_a_file_that_another_program_began(served: Served, proxy: Proxy, run: Run) -> None:
    Path("large").write_bytes(content(served)[: 2 * MIB + 1000])
    assert run("get", f"{proxy.url}/{LARGE}").status == 0
    assert Path("large").read_bytes() == content(served)
    assert proxy.sent < MIB + 8192


def test_a_file_with_a_wrong_byte(served: Served, proxy: Proxy, run: Run) -> None:
    wrong = bytearray(content(served))
    wrong[MIB + 5] ^= 1
    Path("large").write_bytes(wrong)
    ran = run("verify", f"{proxy.url}/{LARGE}", "large")
    assert (ran.status, ran.out) == (7, f"large: bytes {MIB} to {2 * MIB - 1} differ\n")
    assert run("verify", "--repair", f"{proxy.url}/{LARGE}", "large").status == 0
    assert Path("large").read_bytes() == content(served)
    assert proxy.sent < MIB + 8192
    assert run("verify", f"{proxy.url}/{LARGE}", "large") == (0, "", "")


def test_a_complete_file_is_left_alone(served: Served, proxy: Proxy, run: Run) -> None:
    Path("large").write_bytes(content(served))
    before = os.stat("large")
    assert run("get", f"{proxy.url}/{LARGE}").status == 0
    after = os.stat("large")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert proxy.sent < 4096
    assert left() == ["large"]


def test_an_older_version_stays_until_the_new_one_is_complete(
    served: Served, proxy: Proxy, run: Run
) -> None:
    old = os.urandom(2 * MIB)
    Path("large").write_bytes(old)
    proxy.break_at = MIB + 5000

    def die(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Target(".", b"large", resume=True) as target:
        download(parse_url(f"{proxy.url}/{LARGE}"), target, Ways(sleep=die))
    assert Path("large").read_bytes() == old
    assert run("get", f"{proxy.url}/{LARGE}").status == 0
    assert Path("large").read_bytes() == content(served)


def test_a_file_that_changed(served: Served, run: Run) -> None:
    proxy = Proxy(served.url)
    changing = served.root / "changing"
    shutil.copy(served.root / LARGE, changing)
    proxy.break_at = 2 * MIB

    def change(_: float) -> None:
        data = bytearray(changing.read_bytes())
        data[-1] ^= 1
        os.unlink(changing)
        changing.write_bytes(data)

    notes: list[str] = []
    try:
        with Target(".", b"changing", resume=True) as target:
            location = parse_url(f"{proxy.url}/changing")
            download(location, target, Ways(sleep=change, note=notes.append))
            target.keep()
        assert Path("changing").read_bytes() == changing.read_bytes()
        assert any("changed on the server" in note for note in notes)
        # What is the same in the new version was not fetched twice.
        assert proxy.sent < changing.stat().st_size + 2 * MIB
    finally:
        proxy.close()
        changing.unlink()


def test_a_second_source(served: Served, proxy: Proxy, run: Run) -> None:
    ran = run("get", f"{served.url}/{LARGE}", "--from", f"{proxy.url}/{LARGE}")
    assert ran == (0, "", "")
    assert Path("large").read_bytes() == content(served)


def test_a_source_of_another_file(served: Served, proxy: Proxy, run: Run) -> None:
    proxy.hold_at = MIB
    ran = run("get", f"{proxy.url}/{LARGE}", "--from", f"{served.url}/sub/deep/medium")
    assert ran.status == 0
    assert "is not used: its file is another one" in ran.err
    assert Path("large").read_bytes() == content(served)
