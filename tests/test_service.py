"""Tests the daemon's options, its start in every way there is, and what it says when it cannot."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

import tcpdl
from tcpdl.content.directory import Symlinks
from tcpdl.options.serving import DEFAULT_PORT
from tcpdl.server.listening import CannotListen
from tcpdl.service import Options, make_daemon, makeService
from tests.descriptors import open_descriptors

SECONDS = 60
"""After this long, a process that should have ended or answered is taken to hang."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"content")
    return root


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        yield port


def parsed(*options: str) -> Options:
    made = Options()
    made.parseOptions(list(options))
    return made


# Options.


LIMITS: dict[str, Any] = {
    "proxy-from": [],
    "max-connections": None,
    "max-connections-per-address": None,
    "max-connections-per-network": None,
    "max-accepts": 5000,
    "max-requests": 100_000,
    "max-files": 0,
    "request-seconds": 60,
    "idle-seconds": 75,
    "min-rate": 500,
    "stall-seconds": 60,
    "drain": 30,
    "workers": None,
    "hang-seconds": 30,
    "admin": None,
}
MOUNTS: dict[str, Any] = {
    "mount": {},
    "mount-hidden": set(),
    "mount-symlinks": {},
    "mount-rules": {},
}


LOGS = {"access-log": None, "access-log-format": None, "log-format": None, "log-level": None}


def test_defaults() -> None:
    assert dict(parsed()) == {
        "port": DEFAULT_PORT,
        "interface": None,
        "root": ".",
        "echo-port": None,
        "echo-reply": None,
        "echo-encoding": "utf-8",
        "quiet-period": 50,
        "name-encodings": ("utf-8", "gbk"),
        "symlinks": Symlinks.INSIDE,
        "state-dir": None,
        "handed": [],
        "index": 0,
        "precompressed": 0,
        "hidden": 0,
        "no-sendfile": 0,
        "listen": [],
        "http-host": [],
        **MOUNTS,
        **LOGS,
        **LIMITS,
        "listen-tls": [],
        "tls": None,
        "tls-cert": None,
        "tls-key": None,
        "tls-client-ca": None,
        "tls-required": 0,
        "max-rate": None,
        "max-rate-per-address": None,
        "max-rate-per-connection": None,
        "rules": None,
        "link-key": None,
        "insecure-logins": 0,
        "no-sandbox": 0,
        "config": None,
    }


def test_all_given(root: Path) -> None:
    options = parsed(
        "--port=0",
        "--interface=127.0.0.1",
        f"--root={root}",
        "--echo-port=65535",
        "--echo-reply=你好",
        "--echo-encoding=gbk",
        "--quiet-period=0",
        "--name-encodings=GBK, UTF8",
        "--symlinks=never",
        "--state-dir=state",
        "--index",
        "--precompressed",
        "--hidden",
        "--no-sendfile",
        "--max-rate=1G",
        "--max-rate-per-address=50M",
        "--max-rate-per-connection=400Ki",
        "--tls=self-signed",
        f"--tls-client-ca={root}",
        "--tls-required",
        "--no-sandbox",
        "--http-host=Files.Example",
        "--http-host=other.example.",
        "--listen=tcp:1",
        "-l",
        "unix:2",
        "-l",
        "tls:3",
    )
    assert dict(options) == {
        "port": 0,
        "interface": "127.0.0.1",
        "root": str(root),
        "echo-port": 65535,
        "echo-reply": "你好".encode("gbk"),
        "echo-encoding": "gbk",
        "quiet-period": 0,
        "name-encodings": ("gbk", "utf-8"),
        "state-dir": "state",
        "symlinks": Symlinks.NEVER,
        "index": 1,
        "precompressed": 1,
        "hidden": 1,
        "no-sendfile": 1,
        "max-rate": 1_000_000_000,
        "max-rate-per-address": 50_000_000,
        "max-rate-per-connection": 400 * 1024,
        "tls": "self-signed",
        "tls-cert": None,
        "tls-key": None,
        "tls-client-ca": str(root),
        "tls-required": 1,
        "rules": None,
        "link-key": None,
        "insecure-logins": 0,
        "no-sandbox": 1,
        "config": None,
        "listen": ["tcp:1", "unix:2"],
        "http-host": ["files.example", "other.example"],
        **MOUNTS,
        **LOGS,
        **LIMITS,
        "listen-tls": [(3, None)],
        "handed": [],
    }
    assert options.rates() == (1_000_000_000, 50_000_000, 400 * 1024)


def test_an_endpoint_takes_the_place_of_the_port() -> None:
    assert parsed("--listen=tcp:1")["port"] is None
    assert parsed("--listen=tcp:1", "--port=2")["port"] == 2
    assert parsed()["listen"] == [], "nothing is shared with the options made before"


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (["--port=x"], "--port"),
        (["--port=65536"], "--port"),
        (["--port=-1"], "--port"),
        (["--port="], "--port"),
        (["--port=٣"], "--port"),
        (["--port= 1"], "--port"),
        (["--echo-port=99999"], "--echo-port"),
        (["--quiet-period=1.5"], "--quiet-period"),
        (["--quiet-period=60001"], "--quiet-period"),
        (["--root=absent"], "--root"),
        (["--root=file"], "--root"),
        (["--name-encodings=utf-8,klingon"], "--name-encodings"),
        (["--name-encodings="], "--name-encodings"),
        (["--name-encodings=base64"], "--name-encodings"),
        (["--symlinks=yes"], "--symlinks"),
        (["--echo-reply=text"], "--echo-reply"),
        (["--echo-port=1", "--echo-reply=x", "--echo-encoding=klingon"], "--echo-encoding"),
        (["--echo-port=1", "--echo-reply=你", "--echo-encoding=ascii"], "--echo-encoding"),
        (["--max-rate=999"], "--max-rate"),
        (["--max-rate=1001G"], "--max-rate"),
        (["--max-rate=1K"], "--max-rate"),
        (["--max-rate=1ki"], "--max-rate"),
        (["--max-rate=1.5M"], "--max-rate"),
        (["--max-rate=٣M"], "--max-rate"),
        (["--max-rate=1M "], "--max-rate"),
        (["--max-rate-per-address="], "--max-rate-per-address"),
        (["--max-rate-per-connection=M"], "--max-rate-per-connection"),
        (["--http-host=http://files.example"], "--http-host"),
        (["--unknown"], "unknown"),
        (["--port"], "port"),
        (["--hidden=yes"], "hidden"),
        (["argument"], "argument"),
    ],
)
def test_what_is_wrong_is_named(
    bad: list[str], named: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    with pytest.raises(usage.UsageError) as problem:
        parsed(*bad)
    text = str(problem.value)
    assert named in text
    assert "\n" not in text


def test_a_folder_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the superuser everything may be read, so the question is answered in its place."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(usage.UsageError, match="--root"):
        parsed(f"--root={root}")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed("--version")
    assert not ended.value.code
    assert capsys.readouterr().out == f"tcpdl {tcpdl.__version__}\n"


def test_help_lists_every_option() -> None:
    text = Options().getUsage()
    named: Any = [*Options.optParameters, *Options.optFlags, ["listen"]]
    for option in named:
        assert f"--{option[0]}" in text


# The service.


def memory_reactor() -> Any:
    return MemoryReactorClock()


def test_ports_are_open_before_the_service_runs(root: Path) -> None:
    reactor = memory_reactor()
    daemon = make_daemon(
        parsed(
            f"--root={root}", "--port=0", "--interface=127.0.0.1", "--echo-port=0", "-l", "tcp:3"
        ),
        reactor,
    )
    assert IService.providedBy(daemon)
    assert not daemon.running
    assert len(reactor.adoptedPorts) == 2
    assert len(reactor.tcpServers) == 1


def test_a_busy_port_can_be_caught(root: Path, busy: int) -> None:
    options = parsed(f"--root={root}", f"--port={busy}", "--interface=127.0.0.1")
    with pytest.raises(CannotListen, match=f"port {busy} of 127.0.0.1 is in use"):
        makeService(options)


def test_an_address_of_another_machine_can_be_caught(root: Path) -> None:
    options = parsed(f"--root={root}", "--port=0", "--interface=192.0.2.1")
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1"):
        make_daemon(options, memory_reactor())


@pytest.mark.parametrize("endpoint", ["", "nonsense:1", "ssl:1:privateKey=absent"])
def test_a_bad_endpoint_can_be_caught(endpoint: str, root: Path) -> None:
    with pytest.raises(CannotListen) as problem:
        make_daemon(parsed(f"--root={root}", f"--listen={endpoint}"), memory_reactor())
    assert "--listen" in str(problem.value)


def test_an_endpoint_in_no_folder_can_be_caught(root: Path) -> None:
    from twisted.internet import reactor

    with pytest.raises(CannotListen) as problem:
        make_daemon(parsed(f"--root={root}", "--listen=unix:/none/a"), reactor)
    assert (
        str(problem.value)
        == "--listen unix:/none/a: there is no folder /none for the socket; make it"
    )


def test_a_busy_unix_socket_can_be_caught(root: Path, tmp_path: Path) -> None:
    from twisted.internet import reactor

    path = tmp_path / "socket"
    first = make_daemon(parsed(f"--root={root}", f"--listen=unix:{path}"), reactor)
    for workers in ([], ["--workers=2"]):
        with pytest.raises(CannotListen, match=f"--listen unix:{path}: {path} is in use by"):
            makeService(parsed(f"--root={root}", f"--listen=unix:{path}", *workers))
    assert path.exists()
    first.stopService()


# Processes.

Command = Callable[..., list[str]]


def twistd(*options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("twistd")), "--pidfile=", "-n", "tcpdl", *options]


def twistd_daemon(*options: str) -> list[str]:
    """One that goes to the background, if it can start."""
    program = str(Path(sys.executable).with_name("twistd"))
    return [program, "--pidfile=pid", "--logfile=log", "tcpdl", *options]


def twist(*options: str) -> list[str]:
    return [sys.executable, "-m", "twisted", "tcpdl", *options]


WAYS = [twistd, twistd_daemon, twist]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (["--interface=127.0.0.1", "--port={busy}"], "port {busy} of 127.0.0.1 is in use"),
        (["--listen=tcp:{busy}:interface=127.0.0.1"], "port {busy} of 127.0.0.1 is in use"),
        (["--root=absent"], "--root: 'absent' does not exist"),
        (["--unknown"], "unknown"),
        (["--listen=nonsense:1"], "--listen nonsense:1"),
    ],
    ids=["busy port", "busy endpoint", "missing root", "unknown option", "bad endpoint"],
)
def test_a_start_that_fails_says_why_in_one_line(
    bad: list[str], words: str, root: Path, busy: int
) -> None:
    assert_ends_with_one_line(twistd, bad, words, root, busy)


@pytest.mark.parametrize("way", [twistd_daemon, twist])
@pytest.mark.parametrize("bad", ["--listen=tcp:{busy}:interface=127.0.0.1", "--unknown"])
def test_so_it_does_however_it_is_started(way: Command, bad: str, root: Path, busy: int) -> None:
    assert_ends_with_one_line(way, [bad], "", root, busy)


def assert_ends_with_one_line(
    way: Command, bad: list[str], words: str, root: Path, busy: int
) -> None:
    ended = run(way(*(option.format(busy=busy) for option in bad)), root)
    (line,) = ended.stderr.splitlines()
    assert line.startswith("tcpdl: ")
    assert words.format(busy=busy) in line
    assert ended.returncode in (1, 2)
    assert not (root / "pid").exists()


@pytest.mark.parametrize("way", WAYS)
def test_help(way: Command, root: Path) -> None:
    ended = run(way("--help"), root)
    assert ended.returncode == 0
    named: Any = [*Options.optParameters, *Options.optFlags, ["listen"]]
    for option in named:
        assert f"--{option[0]}" in ended.stdout


def test_it_goes_to_the_background_and_stops(root: Path, tmp_path: Path) -> None:
    """Its port is open once `twistd` has returned, and serves what a caller then asks."""
    path = tmp_path / "socket"
    ended = run(twistd_daemon(f"--root={root}", f"--listen=unix:{path}"), tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(str(path))
        sock.sendall(b"file\n")
        assert sock.recv(100) == b"content"
        # Answered, so it runs; and a daemon that runs has written its pidfile.
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        while sock.recv(100):
            pass
    _wait_for_the_end_of(pid)
    assert not (tmp_path / "pid").exists()
    assert not path.exists()
    log = (tmp_path / "log").read_text()
    assert "outcome=complete sent=7" in log
    assert "Traceback" not in log


def _wait_for_the_end_of(pid: int) -> None:
    """It is no child of ours, so there is nothing to wait on but its descriptor."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([ended], [], [], SECONDS)[0], "it did not stop"
    finally:
        os.close(ended)


def test_a_daemon_that_cannot_be_made_leaves_nothing_open(root: Path, busy: int) -> None:
    options = parsed(
        *("--root", str(root), "--interface=127.0.0.1", "--port=0", f"--echo-port={busy}")
    )
    before = open_descriptors()
    with pytest.raises(CannotListen):
        make_daemon(options, MemoryReactorClock())
    assert os.listdir("/proc/self/fd") == before
