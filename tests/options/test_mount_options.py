"""Tests `options.mounts`: what is mounted, and what must not be said of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

from tcpdl.access.rules import Level
from tcpdl.content.directory import Directory, Symlinks
from tcpdl.content.mounts import Mounts
from tcpdl.options.daemon import Options
from tcpdl.options.reading import folder
from tcpdl.serve import ServeOptions
from tcpdl.service import make_daemon
from tcpdl.wire.names import parse_name
from tests.server.conftest import Log
from tests.server.conftest import log as log


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in a folder with some others."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "a=b", "caf\udce9"):
        Path(name).mkdir()
    Path("rules").write_text("/pub/** anyone read\n")


def parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


@pytest.fixture
def content_of() -> Iterator[Any]:
    opened: list[Directory | Mounts] = []

    def open_content(*arguments: str) -> Directory | Mounts:
        opened.append(parsed(*arguments).open_content())
        return opened[-1]

    yield open_content
    for content in opened:
        content.close()


def test_the_working_directory_if_nothing_is_said(content_of: Any) -> None:
    assert isinstance(content_of(), Directory)
    assert parsed()["root"] == "."
    assert parsed().folders() == {"": "."}


def test_names_and_folders(content_of: Any) -> None:
    mounts = content_of(
        "--mount=b=two", "--mount", "a=one", "--mount", "c=a=b", "--mount=é=caf\udce9"
    )
    assert isinstance(mounts, Mounts)
    names = [entry.name for entry in mounts.list(parse_name(b""))]
    assert names == [b"a", b"b", b"c", "é".encode()]
    options = parsed("--mount=b=two", "--mount=a=one")
    assert options["root"] is None
    assert options.folders() == {"b": "two", "a": "one"}
    assert options.served() == "'two' as 'b', 'one' as 'a'"


def test_what_holds_for_all_and_for_one(content_of: Any) -> None:
    def of(*arguments: str) -> dict[bytes, tuple[bool, Symlinks]]:
        mounts = content_of("--mount=a=one", "--mount=b=two", *arguments)
        return {name: (one.hidden, one.symlinks) for name, one in mounts._all.items()}

    inside, never = Symlinks.INSIDE, Symlinks.NEVER
    assert of() == {b"a": (False, inside), b"b": (False, inside)}
    assert of("--mount-hidden=a") == {b"a": (True, inside), b"b": (False, inside)}
    assert of("--hidden") == {b"a": (True, inside), b"b": (True, inside)}
    assert of("--mount-symlinks=b=never") == {b"a": (False, inside), b"b": (False, never)}
    assert of("--symlinks=never", "--mount-symlinks=b=inside") == {
        b"a": (False, never),
        b"b": (False, inside),
    }


def levels(*arguments: str) -> list[Level]:
    options = parsed("--mount=a=one", "--mount=b=two", *arguments)
    workers: Any = None
    content = options.open_content()
    admission = options.admission(content, workers, Clock())
    content.close()
    assert admission is not None
    assert admission._rules is not None
    permissions = admission._rules.get().of(None)
    return [permissions.level(at) for at in ((), (b"a",), (b"a", b"pub"), (b"b", b"pub"))]


def test_rules(tmp_path: Path) -> None:
    nothing, read = Level.NOTHING, Level.READ
    assert levels("--mount-rules=a=rules") == [read, nothing, read, read]
    assert levels("--mount-rules=a=rules", "--rules=rules") == [nothing, nothing, read, nothing]
    login = "--auth=memory:ann:secret"
    assert levels("--mount-rules=a=rules", login) == [nothing, nothing, read, nothing]
    options = parsed("--mount=a=one", "--mount-rules=a=rules")
    assert options.access_files() == [str(tmp_path / "rules")]


def test_links_may_be_made_where_one_has_rules() -> None:
    Path("key").write_text("00" * 32)
    Path("key").chmod(0o600)
    mounted = ["--mount=a=one", "--link-key=key"]
    parsed(*mounted, "--mount-rules=a=rules")
    with pytest.raises(usage.UsageError, match="--link-key needs"):
        parsed(*mounted)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--mount a", "--mount: 'a' is not NAME=DIR"),
        ("--mount a=", "--mount: 'a=' is not NAME=DIR"),
        ("--mount =one", "--mount: '=one' is not NAME=DIR"),
        ("--mount a/b=one", "--mount: 'a/b' cannot be a name: .* single segment"),
        ("--mount a/=one", "--mount: 'a/' cannot be a name: .* single segment"),
        ("--mount .=one", "--mount: '.' cannot be a name"),
        ("--mount ..=one", "--mount: '..' cannot be a name: .* climbs"),
        ("--mount .a=one", "--mount: '.a' cannot be a name: .* dot"),
        ("--mount /a=one", "--mount: '/a' cannot be a name: .* absolute"),
        (f"--mount {'a' * 256}=one", "--mount: 'a{256}' cannot be a name: .*255"),
        ("--mount a=one --mount a=two", "--mount: 'a' is given twice"),
        ("--mount a=none", "--mount a: 'none' does not exist"),
        ("--mount a=rules", "--mount a: 'rules' is not a folder"),
        ("--mount a=one --root two", "exclude each other: .* --mount files=two"),
        ("--root . --mount a=one", "exclude each other"),
        ("--mount a=one --mount-hidden b", "--mount-hidden: nothing is mounted as 'b'; .*b=DIR"),
        ("--mount-hidden b", "--mount-hidden: nothing is mounted as 'b'"),
        ("--mount a=one --mount-symlinks a", "--mount-symlinks: 'a' is not NAME=inside or"),
        ("--mount a=one --mount-symlinks a=all", "--mount-symlinks: choose 'inside' or 'never'"),
        ("--mount a=one --mount-symlinks b=never", "--mount-symlinks: nothing is mounted as 'b'"),
        ("--mount a=one --mount-rules a", "--mount-rules: 'a' is not NAME=FILE"),
        ("--mount a=one --mount-rules b=rules", "--mount-rules: nothing is mounted as 'b'"),
        ("--mount a=one --mount-rules a=none", "--mount-rules a: .*none: there is no such file"),
        (
            "--mount a=one --mount-rules a=one",
            "--mount-rules a: .*one: it is a folder, and no file",
        ),
        (
            "--mount a=one --mount-rules a=rules --mount-rules a=rules",
            "--mount-rules: 'a' is given twice",
        ),
    ],
)
def test_what_is_wrong(arguments: str, problem: str) -> None:
    with pytest.raises(usage.UsageError) as raised:
        parsed(*arguments.split())
    assert re.search(problem, str(raised.value))


def test_a_folder_to_serve_and_mounts() -> None:
    options = ServeOptions()
    with pytest.raises(usage.UsageError, match="exclude each other"):
        options.parseOptions(["one", "--mount", "a=two"])
    options = ServeOptions()
    options.parseOptions(["--mount", "a=two"])
    assert parsed(*options.words).folders() == {"a": os.path.abspath("two")}


def test_rules_that_are_broken() -> None:
    Path("rules").write_text("nonsense\n")
    with pytest.raises(usage.UsageError, match=r"--mount-rules a: .*rules: line 1"):
        parsed("--mount=a=one", "--mount-rules=a=rules")


def test_one_within_another_is_told(log: Log) -> None:
    """Where there are rules: those for one name say nothing of the other."""
    Path("one/sub").mkdir()
    mounted = ["--mount=all=one", "--mount=sub=one/sub", "--mount=two=two"]
    for arguments in (mounted, [*mounted, "--mount-rules=sub=rules"]):
        daemon = make_daemon(parsed(*arguments, "--no-sandbox"), MemoryReactorClock(), ())
        for begin in daemon._to_begin:
            begin()
        daemon.stopService()
    told = [line for line in log.lines if "--mount" in line]
    assert told == [
        "--mount sub: its folder can be had by --mount all as well, of which other rules may hold"
    ]


def test_they_are_in_the_help() -> None:
    text = str(Options())
    for option in ("--mount", "--mount-hidden", "--mount-symlinks", "--mount-rules"):
        assert text.count(f"\n      {option} NAME") == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "--root: this user may not read '/a/b'"),
        (NotADirectoryError(20, "Not a directory"), "--root: '/a/b' does not exist"),
        (
            OSError(5, "Input/output error"),
            "--root: '/a/b' cannot be looked at: Input/output error",
        ),
    ],
)
def test_why_a_folder_cannot_be_served(
    monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    """One that this user may not reach is not said to be missing."""

    def look(path: str) -> NoReturn:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("os.stat", look)
        with pytest.raises(usage.UsageError) as failure:
            folder("--root", "/a/b")
    assert str(failure.value) == said
