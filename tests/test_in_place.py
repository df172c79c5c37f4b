"""Tests what a reload makes of each option: that it does what the table of them says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import Logger

from tcpdl import serve
from tcpdl.admin.counting import daemon_snapshot
from tcpdl.content.errors import NotServed
from tcpdl.options.daemon import Options
from tcpdl.options.reloads import RELOADS, When, takes_restart
from tcpdl.server.changes import Change
from tcpdl.server.front import FrontFactory
from tcpdl.server.listening import Listening
from tcpdl.server.transfers import COMPLETE
from tcpdl.service import make_daemon
from tcpdl.wire.names import NameRefused
from tests.certificates import make
from tests.daemons import until
from tests.server.conftest import log

__all__ = ["log"]

ALL = sorted(RELOADS)


def test_every_option_is_in_the_table() -> None:
    assert set(RELOADS) == set(Options({}).known.kinds)
    assert all(one.why for one in RELOADS.values() if one.when is When.RESTART)


def test_with_workers_only_what_is_their_parents_takes_a_restart() -> None:
    assert {name for name in RELOADS if takes_restart(name, with_workers=True)} == {
        *("port", "interface", "listen", "echo-port", "admin", "workers"),
    }


class Reactor(MemoryReactorClock):
    """Does at once what is to be done in its time."""

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        call(*arguments)


class Running:
    """A daemon on the options that a test gives it, and gives it next."""

    def __init__(self, *words: str) -> None:
        self.reactor: Any = Reactor()  # type: ignore[no-untyped-call]
        self.options = self._options(*words)
        self.daemon = make_daemon(self.options, self.reactor)

    def _options(self, *words: str) -> Options:
        options = Options({})
        options.parseOptions(["--listen=tcp:1", *words])
        return options

    def change(self, name: str, *words: str) -> str:
        """Have the daemon take up the option, of those that are given now."""
        options = self._options(*words) if words else self.options
        (outcome,) = self.daemon.changes.apply([Change(name, "a", "b")], options)
        assert outcome.applied is not str(outcome).startswith(f"{name}: a -> b takes effect at a r")
        return "; ".join(outcome.notes)

    @property
    def front(self) -> FrontFactory:
        (service,) = self.listening
        assert isinstance(service.factory, FrontFactory)
        return service.factory

    @property
    def listening(self) -> list[Listening]:
        return [service for service in self.daemon if isinstance(service, Listening)]

    def has(self, name: bytes) -> bool:
        """Whether a client is given the file of that name."""
        raw: Any = self.front.dialects.raw
        try:
            file, _ = raw.open(name, raw.admission.visit(None))
        except (NameRefused, NotServed):
            return False
        file.close()
        return True


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    for name in ("file", ".hidden"):
        (root / name).write_text("content")
    (root / "link").symlink_to("file")
    return root


@pytest.fixture
def run(root: Path) -> Any:
    made: list[Running] = []

    def start(*words: str) -> Running:
        made.append(Running(*(words or (f"--root={root}",))))
        return made[-1]

    yield start
    for one in made:
        one.daemon.stopService()


def test_each_option_does_what_the_table_says(run: Any, root: Path) -> None:
    make().write(root.parent)
    (root.parent / "rules").write_text("/** anyone read\n")
    words = ("--tls-cert=server.pem", "--tls-key=server-key.pem", "--rules=rules", "--max-rate=1M")
    running = run(f"--root={root}", *words)
    serve._logging(running.options, running.daemon)
    assert running.daemon.changes.names == set(RELOADS)
    for name, reload in RELOADS.items():
        said = running.change(name)
        assert said == {
            When.AT_ONCE: "",
            When.TO_COME: "for connections to come",
            When.RESTART: reload.why,
        }.get(reload.when), name


@pytest.mark.parametrize("name", [name for name in ALL if RELOADS[name].why])
def test_where_it_takes_a_restart_it_is_said_why(run: Any, name: str) -> None:
    """Without TLS, and without rules."""
    assert RELOADS[name].why in run().change(name)


def test_hidden_files_and_links(run: Any, root: Path) -> None:
    running = run()
    where = f"--root={root}"
    assert [running.has(name) for name in (b".hidden", b"link")] == [False, True]
    running.change("hidden", where, "--hidden")
    running.change("symlinks", where, "--hidden", "--symlinks=never")
    assert [running.has(name) for name in (b".hidden", b"link")] == [True, False]
    running.change("hidden", where)
    assert [running.has(name) for name in (b".hidden", b"link")] == [False, True]


def test_of_several_folders(run: Any, root: Path) -> None:
    mounts = [f"--mount={name}={root}" for name in "ab"]
    running = run(*mounts)
    names = (b"a/.hidden", b"b/.hidden", b"a/link", b"b/link")
    assert [running.has(name) for name in names] == [False, False, True, True]
    running.change("mount-hidden", *mounts, "--mount-hidden=b", "--mount-symlinks=a=never")
    assert [running.has(name) for name in names] == [False, True, False, True]
    # One that goes at a restart stays as it is until then.
    running.change("symlinks", mounts[0], "--symlinks=never")
    assert [running.has(name) for name in names] == [False, True, False, True]


def test_a_visitor_who_is_there_sees_what_is_shown_now(run: Any, root: Path) -> None:
    (root.parent / "rules").write_text("/** anyone read\n")
    words = (f"--root={root}", "--rules=rules")
    running = run(*words)
    visit = running.front.dialects.raw.admission.visit(StringTransport())
    source, _ = visit.look_up(b"file")
    assert not source.hidden
    running.change("hidden", *words, "--hidden")
    assert source.hidden


def test_who_is_believed_to_pass_connections_on(run: Any, root: Path) -> None:
    running = run()
    address = IPv4Address("TCP", "10.1.2.3", 1)
    running.change("proxy-from", f"--root={root}", "--proxy-from=10.0.0.0/8")
    assert running.daemon.accepting.proxies.trusts(address)
    running.change("proxy-from", f"--root={root}")
    assert running.daemon.accepting.proxies is None


def test_sendfile(run: Any, root: Path) -> None:
    running = run()
    (service,) = running.listening
    assert service._sending["sendfile"] is not None
    running.change("no-sendfile", f"--root={root}", "--no-sendfile")
    assert service._sending["sendfile"] is None


def test_whether_tls_is_required(run: Any, root: Path) -> None:
    make().write(root.parent)
    words = (f"--root={root}", "--tls-cert=server.pem", "--tls-key=server-key.pem")
    running = run(*words)
    assert running.front.unencrypted is None
    running.change("tls-required", *words, "--tls-required")
    assert running.front.unencrypted is not None
    # To give TLS up takes a restart; to serve everybody without it meanwhile is not what was meant.
    running.change("tls-required", f"--root={root}")
    assert running.front.unencrypted is not None
    running.change("tls-required", *words)
    assert running.front.unencrypted is None


def test_wrong_logins_are_told_of_after_a_reload(run: Any, root: Path) -> None:
    words = (f"--root={root}", "--auth=memory:a:b")
    running = run(*words)
    daemon = running.daemon
    before = daemon.admission.logins.failures
    running.change("auth", f"--root={root}", "--auth=memory:c:d")
    assert daemon.admission.logins.failures is before
    without = run()
    without.change("auth", *words)
    assert without.daemon.admission.logins.failures.on_wrong


def test_the_access_log(run: Any, root: Path, log: Any) -> None:
    running = run()
    one, two = root.parent / "one", root.parent / "two"

    def ended(name: str, *words: str) -> None:
        running.daemon.transfers.once(COMPLETE, "raw", "", False, asked=name.encode())
        assert running.change("access-log", f"--root={root}", *words) == ""

    ended("a", f"--access-log={one}")
    assert any('name="a"' in line for line in log.lines)  # to where lines went until then
    ended("b", f"--access-log={one}", "--access-log-format=json")
    ended("c", f"--access-log={two}")
    ended("d", "--access-log=none")
    ended("e", f"--access-log={two}")
    ended("f")
    ended("g", f"--access-log={one}")
    running.daemon.stopService()
    assert [line[:1] for line in one.read_text().splitlines()] == ["t", "{"]
    assert [name for name in "abcdefg" if f'name="{name}"' in one.read_text()] == ["b"]
    assert '"name": "c"' in one.read_text()
    assert [name for name in "abcdefg" if f'name="{name}"' in two.read_text()] == ["d", "f"]
    assert [name for name in "abcdefg" if f'name="{name}"' in "".join(log.lines)] == ["a", "g"]


def test_an_access_log_that_cannot_be_written(run: Any, root: Path) -> None:
    running = run(f"--root={root}", "--access-log=one")
    said = running.change("access-log", f"--root={root}", "--access-log=absent/log")
    assert said == f"{root.parent}/absent/log cannot be written: No such file or directory"
    running.daemon.transfers.once(COMPLETE, "raw", "", False, asked=b"a")
    running.daemon.stopService()
    assert 'name="a"' in (root.parent / "one").read_text()


def test_lines_that_could_not_be_written_are_counted(run: Any, root: Path) -> None:
    """Wherever they were to go by then."""
    full = [root.parent / "full", root.parent / "full too"]
    for path in full:
        path.symlink_to("/dev/full")
    running = run(f"--root={root}", f"--access-log={full[0]}")
    daemon = running.daemon

    def lost() -> float:
        return daemon_snapshot(daemon)["tcpdl_log_lines_lost_total"]

    assert lost() == 0
    for count, path in enumerate([full[1], root.parent / "one", full[0]], 1):
        daemon.transfers.once(COMPLETE, "raw", "", False, asked=b"a")
        assert running.change("access-log", f"--root={root}", f"--access-log={path}") == ""
        until(lambda count=count: lost() == min(count, 2))  # type: ignore[misc]
    daemon.stopService()
    assert lost() == 2


def test_the_log(run: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = run()
    path = root.parent / "printed"
    with path.open("w") as printed:
        monkeypatch.setattr(sys, "stderr", printed)
        watch: Any = serve._logging(running.options, running.daemon)
        say = Logger("tcpdl.some", observer=watch)
        say.info("a")
        running.change("log-level", f"--root={root}", "--log-level=warn")
        say.info("b")
        say.warn("c")
        running.change("log-format", f"--root={root}", "--log-format=json")
        say.info("d")
    said = path.read_text().splitlines()
    assert [line[25:] for line in said[:2]] == ["[tcpdl.some#info] a", "[tcpdl.some#warn] c"]
    assert '"message": "d"' in said[2]
