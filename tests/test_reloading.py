"""Tests that the configuration is read again while the daemon runs: what changes, and what not."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from tcpdl.access.users import token_line
from tcpdl.options.reloads import RELOADS
from tcpdl.reloading import Reloading
from tcpdl.service import Options, make_daemon
from tests.certificates import make
from tests.daemons import daemon_of
from tests.landlocked import VERSION
from tests.server.conftest import Log, log

__all__ = ["log"]


class Running:
    """A daemon that runs, its file, and what can be seen of it."""

    def __init__(self, folder: Path, log: Log, text: str) -> None:
        self.file = folder / "f"
        self.environ: dict[str, str] = {}
        self._log = log
        self.write(text)
        reactor: Any = MemoryReactorClock()
        options = Options(self.environ)
        options.parseOptions([f"--config={self.file}", "--listen=tcp:1", "--root=."])
        self.daemon = make_daemon(options, reactor)
        self._reloading = Reloading(self.daemon, options, self.environ)

    def write(self, text: str) -> None:
        self.file.write_text(text)
        self.file.chmod(0o600)

    def again(self, text: str | None = None) -> list[str]:
        """What the log says when the file says this, and is read again."""
        if text is not None:
            self.write(text)
        del self._log.lines[:]
        self._reloading.reload()
        return [line.replace(str(self.file.parent), "D") for line in self._log.lines]


@pytest.fixture
def run(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Running]]:
    monkeypatch.chdir(tmp_path)
    made: list[Running] = []

    def start(text: str) -> Running:
        made.append(Running(tmp_path, log, text))
        return made[-1]

    yield start
    for one in made:
        one.daemon.stopService()


LATER = f"takes effect at a restart; {RELOADS['port'].why}"
READ = "D/f has been read again: this has changed:"


def test_what_is_said(run: Callable[[str], Running]) -> None:
    running = run("max-accepts = 10\necho-port = 7\nhidden = true")
    assert running.again() == ["D/f has been read again: nothing has changed"]
    assert sorted(running.again("max-accepts = 20\necho-port = 8")) == [
        READ,
        f"echo-port: 7 -> 8 {LATER}",
        "hidden: true -> false",
        "max-accepts: 10 -> 20",
    ]
    # What waits for a restart is said each time.
    assert sorted(running.again("echo-port = 8\nmax-accepts = 5000")) == [
        READ,
        f"echo-port: 7 -> 8 {LATER}",
        "max-accepts: 20 -> 5000",
    ]
    # A default that is given is none that is changed.
    assert running.again("hidden = false\necho-port = 7") == [
        "D/f has been read again: nothing has changed"
    ]


def test_the_environment_and_the_command_line_stay(run: Callable[[str], Running]) -> None:
    running = run("max-accepts = 10")
    running.environ["TCPDL_MAX_ACCEPTS"] = "30"
    assert running.again() == [READ, "max-accepts: 10 -> 30"]
    assert running.again("max-accepts = 40\nlisten = ['tcp:2']") == [
        "D/f has been read again: nothing has changed"
    ]


def test_what_is_broken_changes_nothing(run: Callable[[str], Running]) -> None:
    running = run("max-accepts = 10")
    stays = "the configuration stays what it was; mend this, and reload it again"
    assert running.again("max-accepts = 20\nport = x") == [
        "D/f, line 2: not valid TOML: invalid value; texts stand in quotes; true and false are "
        "written like this",
        stays,
    ]
    assert running.again("max-accepts = 20\nx = 1\nrules = 'none'") == [
        "D/f, line 2: x is no option; tcpdl serve --help lists them",
        stays,
    ]
    running.file.unlink()
    assert running.again() == ["D/f: there is no such file", stays]
    make().write(running.file.parent)
    assert running.again("max-accepts = 20\ntls-cert = 'server.pem'") == [
        "D/server.pem holds no private key in PEM; name the file that does with --tls-key",
        stays,
    ]
    assert running.daemon.accepting._rate == 10


def test_limits_and_times(run: Callable[[str], Running]) -> None:
    running = run("")
    daemon = running.daemon
    running.again("max-connections = 7\nmax-files = 3\nrequest-seconds = 5\nmax-accepts = 9")
    assert daemon.crowd.limits.connections == 7
    assert daemon.deadlines.times.request == 5
    assert daemon.accepting._rate == 9
    running.again("drain = 7")
    assert daemon.drain_seconds == 7
    assert daemon.crowd.limits.connections == 10_000
    assert daemon.deadlines.times.request == 60


def test_rates(run: Callable[[str], Running]) -> None:
    running = run("")
    assert running.again("max-rate = '1M'") == [
        READ,
        "max-rate: unset -> 1M; for connections to come",
    ]
    assert running.again("max-rate = '2M'\nmax-rate-per-connection = '1M'") == [
        READ,
        "max-rate: 1M -> 2M",
        "max-rate-per-connection: unset -> 1M; for connections to come",
    ]


def test_answers(run: Callable[[str], Running]) -> None:
    running = run("")
    assert sorted(running.again("index = true\nhttp-host = ['a.example', 'b.example']")) == [
        READ,
        "http-host: unset -> a.example, b.example",
        "index: false -> true",
    ]


def test_rules_come_and_change_and_go(run: Callable[[str], Running], tmp_path: Path) -> None:
    (tmp_path / "one").write_text("/** anyone read\n")
    (tmp_path / "two").write_text("/** users read\n")
    running = run("")
    assert running.again("rules = 'one'") == [READ, "rules: unset -> D/one"]
    assert running.again("rules = 'two'\nauth = ['memory:ann:secret']") == [
        READ,
        "rules: D/one -> D/two",
        "auth: unset -> memory:...",
    ]
    # To let anyone read all is nothing that happens by the way.
    assert running.again("") == [
        READ,
        "rules: D/two -> unset takes effect at a restart; without it, anyone may read all",
        "auth: memory:... -> unset takes effect at a restart; without it, anyone may read all",
    ]


def test_certificates(run: Callable[[str], Running], tmp_path: Path) -> None:
    for name in ("one", "two"):
        make().write(tmp_path, name)
    running = run("tls-cert = 'one.pem'\ntls-key = 'one-key.pem'")
    credentials = running.daemon.credentials
    assert credentials is not None
    pin = credentials.pin
    assert running.again("tls-cert = 'two.pem'\ntls-key = 'two-key.pem'") == [
        READ,
        "tls-cert: D/one.pem -> D/two.pem; for connections to come",
        "tls-key: D/one-key.pem -> D/two-key.pem; for connections to come",
    ]
    assert running.daemon.credentials is credentials
    assert credentials.pin != pin
    assert running.again("")[1:] == [
        f"tls-{what}: D/two{which}.pem -> unset takes effect at a restart; "
        "TLS begins and ends with the daemon"
        for what, which in (("cert", ""), ("key", "-key"))
    ]


def test_without_a_file_there_is_nothing_to_do(tmp_path: Path) -> None:
    reactor: Any = MemoryReactorClock()
    options = Options({})
    options.parseOptions([f"--root={tmp_path}", "--listen=tcp:1"])
    daemon = make_daemon(options, reactor)
    before = len(daemon.hangups._calls)
    Reloading(daemon, options, {})
    assert len(daemon.hangups._calls) == before
    daemon.stopService()


def status(url: str, token: str = "") -> int:
    request = urllib.request.Request(url)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: int = answer.status
            return found
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_daemon_of_its_own(tmp_path: Path) -> None:
    """Rules and users come while it runs and is restricted, without a connection being lost."""
    root, conf, other = tmp_path / "root", tmp_path / "conf", tmp_path / "other"
    for folder in (root, conf, other):
        folder.mkdir()
    (root / "a.txt").write_text("this is a\n")
    for folder in (conf, other):
        (folder / "rules").write_text("/** users read\n")
    (conf / "users").write_text(f"ci:{token_line('t0k3n')}\n")
    (conf / "users").chmod(0o600)
    file = conf / "tcpdl.toml"
    file.write_text("max-requests = 9\n")
    with daemon_of(root, env={"TCPDL_CONFIG": str(file)}) as daemon:
        url = f"{daemon.url}/a.txt"
        assert status(url) == 200

        def reload(text: str, until: str) -> None:
            file.write_text(text)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.log.wait_for(f"({until})")

        with daemon.connect() as sock:
            head = b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
            sock.sendall(head)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            reload("rules = 'rules'\nauth = ['users:users']\n", "auth: unset -> users:")
            sock.sendall(head)
            assert sock.recv(65536).startswith(b"HTTP/1.1 401")
        assert status(url) == 401
        assert status(url, "t0k3n") == 200
        reload("rules = 'rules\n", r"tcpdl\.toml, line 1: not valid TOML")
        assert status(url, "t0k3n") == 200
        if VERSION:
            reload(f"rules = '{other}/rules'\n", "this process has given up reading there")
        reload("rules = 'rules'\nauth = ['users:users']\nport = 1\n", "has been read again: noth")
