"""Tests `options.access`: what the daemon's command line says of who may read what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.python import usage
from zope.interface import implementer

from tcpdl.access import users
from tcpdl.access.users import Password
from tcpdl.content.directory import Directory
from tcpdl.options.daemon import Options
from tcpdl.server.admission import Admission

KEY = "00" * 32


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in a folder with a file of each kind."""
    monkeypatch.setattr(users, "DEFAULT", Password(4, 1, 1, b"", b""))
    monkeypatch.chdir(tmp_path)
    Path("users").write_text(f"ann:{users.hash_password(b'secret')}\n")
    Path("users").chmod(0o600)
    Path("rules").write_text("/pub/** anyone read\n")
    Path("key").write_text(KEY)
    Path("key").chmod(0o600)


def parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def admission_of(*arguments: str) -> Admission | None:
    directory = Directory(".")
    workers: Any = None
    try:
        return parsed(*arguments).admission(directory, workers, Clock())
    finally:
        directory.close()


@pytest.fixture
def admission() -> Callable[..., Admission]:
    def make(*arguments: str) -> Admission:
        found = admission_of(*arguments)
        assert found is not None
        return found

    return make


def test_nothing_is_asked_of_anyone() -> None:
    assert admission_of() is None
    assert admission_of("--state-dir=.") is None


def test_rules(admission: Callable[..., Admission]) -> None:
    made = admission("--rules=rules")
    assert made.logins is None
    assert not made.takes_links


def test_logins(admission: Callable[..., Admission]) -> None:
    made = admission("--auth=users:users")
    assert made.logins is not None
    assert made.logins.takes_passwords
    assert made.logins.takes_tokens
    made = admission("--auth=memory:ann:secret", "--auth=users:users", "--link-key=key")
    assert made.takes_links
    assert made.logins is not None
    assert len(made.logins._checkers) == 2
    made = admission("--auth=memory:ann:secret")
    assert made.logins is not None
    assert not made.logins.takes_tokens


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--link-key=key"], "--link-key needs --rules or --auth: without these, anyone may read"),
        (["--insecure-logins"], "--insecure-logins needs --auth"),
        (["--insecure-logins", "--rules=rules"], "--insecure-logins needs --auth"),
        (["--rules=none"], "--rules: .*none: there is no such file"),
        (["--rules=."], "--rules: .*: it is a folder, and no file"),
        (["--rules=users"], "--rules: .*users: line 1: 1 words where there should be three"),
        (["--rules=rules", "--link-key=none"], "--link-key: .*none: there is no such file"),
        (["--rules=rules", "--link-key=rules"], "--link-key: .*rules: line 1: not 32 bytes"),
        (["--auth=users:none"], "--auth users: .*none: there is no such file"),
        (["--auth=users:rules"], "--auth users: .*rules: line 1"),
        (["--auth=users:"], "--auth users: the file is missing; write users:FILE"),
        (["--auth=users"], "--auth users: the file is missing"),
        (["--auth=memory:ann"], "--auth memory: "),
        (["--auth=oracle:ann"], "--auth: there is no type 'oracle'; --help-auth lists those"),
        (["--auth=anonymous"], "--auth: the type .anonymous. takes neither"),
        (["--auth=sshkey:."], "--auth: (the type|there is no type) 'sshkey'"),
        (["--auth="], "--auth: there is no type ''"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], why: str) -> None:
    with pytest.raises(usage.UsageError, match=why) as problem:
        parsed(*arguments)
    assert "\n" not in str(problem.value)
    assert "secret" not in str(problem.value)


def test_no_secret_is_repeated() -> None:
    for description in ("memory:ann:secret:bob", "memory:secret", "nonsense:ann:secret"):
        with pytest.raises(usage.UsageError) as problem:
            parsed(f"--auth={description}")
        assert "secret" not in str(problem.value)


def test_help_tells_the_types(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    for arguments, expected in (
        (["--help-auth"], ["users", "memory", "file"]),
        (["--help-auth-type", "users"], ["tcpdl passwd writes it", "users:/etc/tcpdl/users"]),
    ):
        monkeypatch.setattr(Options, "authOutput", sys.stdout)
        with pytest.raises(SystemExit) as left:
            parsed(*arguments)
        assert left.value.code == 0
        out = capsys.readouterr().out
        assert [text for text in expected if text not in out] == []


@implementer(ILogObserver)
class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: Any) -> None:
        self.lines.append(formatEvent(event))


@pytest.fixture
def log() -> Iterator[list[str]]:
    watch = Lines()
    globalLogPublisher.addObserver(watch)
    yield watch.lines
    globalLogPublisher.removeObserver(watch)


def test_what_others_can_read_is_told_once_the_daemon_runs(
    admission: Callable[..., Admission], log: list[str]
) -> None:
    Path("users").chmod(0o644)
    Path("key").chmod(0o644)
    made = admission("--auth=users:users", "--link-key=key", "--rules=rules")
    assert log == []
    made.reload()
    assert sorted(log) == [
        f"{Path(name).resolve()}: others can read or change it; chmod 600 ends that"
        for name in ("key", "users")
    ]
    made.reload()
    assert len(log) == 2
