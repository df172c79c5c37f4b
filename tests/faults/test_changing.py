"""Tests files that change while they are sent: what looks whole is one version of the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcpdl.wire import native
from tests.daemons import Daemon, daemon_of
from tests.faults.conftest import SIZE, become_ordinary, bytes_of, encrypting
from tests.faults.fetching import Fetch, How, Outcome, fetch

OLD = bytes_of(SIZE, 1)
NEW = bytes_of(SIZE, 2)
NOTHING = b""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("changing") / "root"
    root.mkdir()
    with daemon_of(root, *encrypting(root), before=become_ordinary) as running:
        yield running


def truncate(path: Path) -> None:
    os.truncate(path, SIZE // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(NEW)


def write_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(NEW)


def begin_anew(path: Path) -> None:
    path.write_bytes(NEW)


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(NEW)
    other.rename(path)


def make_unreadable(path: Path) -> None:
    path.chmod(0)


def rename_parent(path: Path) -> None:
    path.parent.rename(f"{path.parent}-renamed")


Change = Callable[[Path], None]

CHANGES: dict[Change, tuple[bool, bytes | None]] = {
    truncate: (False, OLD[: SIZE // 2]),
    empty: (False, NOTHING),
    write_over: (False, NEW),
    begin_anew: (False, NEW),
    grow: (True, OLD + NEW),
    replace: (True, NEW),
    Path.unlink: (True, None),
    make_unreadable: (True, None),
    rename_parent: (True, None),
}
"""Whether what was promised can still be had after a change, and what the file is then."""


def changed(daemon: Daemon, way: str, change: Change) -> Outcome:
    """What a download comes to during which the file changes when a quarter of it has come."""
    folder = daemon.root / f"{way}-{change.__name__}"
    folder.mkdir()
    path = folder / "file"
    path.write_bytes(OLD)
    with Fetch(daemon.port, way, f"{folder.name}/file") as download:
        download.read(SIZE // 4)
        change(path)
        return download.finish()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_while_it_is_sent(daemon: Daemon, way: str, dialect: str, change: Change) -> None:
    promise_kept, now = CHANGES[change]
    outcome = changed(daemon, way, change)
    assert OLD.startswith(outcome.content) or change in (write_over, begin_anew)
    if dialect == "native" and change is not rename_parent:
        # It takes no chance: any change may be one of the bytes. Of a run that cannot be finished,
        # only a reset tells.
        if outcome.how is How.ERROR:
            assert outcome.status == native.CHANGED
        else:
            assert (outcome.how, promise_kept) == (How.RESET, False)
    elif promise_kept:
        assert outcome.how is How.WHOLE
        assert outcome.content == OLD
    else:
        assert outcome.how is How.RESET
        assert len(outcome.content) < SIZE or dialect == "raw"
    after = fetch(daemon.port, way, f"{way}-{change.__name__}/file")
    if now is None:
        assert after.content == NOTHING or after.status == 404
        assert after.status == {"raw": 0, "http": 404, "native": after.status}[dialect]
        assert after.how is (How.WHOLE if dialect == "raw" else How.ERROR)
    else:
        assert (after.how, after.content) == (How.WHOLE, now)
