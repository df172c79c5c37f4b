"""Tests that a file is hashed once for all who ask at the same time, and for nobody else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tcpdl.content.digests import STEP, Digests
from tcpdl.content.directory import Directory
from tcpdl.content.source import File
from tcpdl.digest import FileEnded
from tcpdl.server.hashing import STEPS_MOST, Busy, Hashing, NotWanted
from tcpdl.server.pools import Pool
from tcpdl.server.working import Stopped
from tcpdl.wire.names import parse_name
from tests.server.native_client import Work

SIZE = 2 * STEP + 5


class Folder:
    """A folder of files, and what hashes them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = Directory(root)
        self.work = Work()
        self.work.hold = True
        workers: Any = self.work
        self.hashing = Hashing(Digests(None), workers)

    def make(self, name: str, size: int = SIZE) -> str:
        with (self.root / name).open("wb") as file:
            file.write(name.encode())
            file.truncate(size)
        return sha256((self.root / name).read_bytes()).hexdigest()

    def open(self, name: str) -> File:
        return self.directory.open_file(parse_name(name.encode()))

    def ask(self, name: str, wanted: Callable[[], bool] = lambda: True) -> list[Any]:
        """Ask for the digest of a file that is closed at once; it will be in the list, or what
        went wrong."""
        file = self.open(name)
        try:
            return outcome(self.hashing.find(file, wanted))
        finally:
            file.close()


def outcome(done: Deferred[bytes]) -> list[Any]:
    found: list[Any] = []
    done.addCallbacks(
        lambda digest: found.append(digest.hex()),
        lambda failure: found.append(failure.type),
    )
    return found


@pytest.fixture
def folder(tmp_path: Path, descriptors: Callable[[], int]) -> Iterator[Folder]:
    before = descriptors()
    folder = Folder(tmp_path)
    yield folder
    folder.work.release()
    folder.directory.close()
    assert descriptors() == before


def test_all_who_ask_get_the_one_that_is_computed(folder: Folder) -> None:
    digest = folder.make("a")
    asked = [folder.ask("a") for _ in range(3)]
    assert len(folder.work.jobs) == 1
    folder.work.release(1)
    asked.append(folder.ask("a"))
    assert len(folder.work.jobs) == 1
    folder.work.release()
    assert asked == [[digest]] * 4


def test_it_is_done_in_steps(folder: Folder) -> None:
    digest = folder.make("a")
    found = folder.ask("a")
    steps = 0
    while folder.work.jobs:
        assert len(folder.work.jobs) == 1
        folder.work.release(1)
        steps += 1
    assert steps >= 3
    assert found == [digest]


def test_one_who_leaves_is_let_go_and_the_others_are_served(folder: Folder) -> None:
    digest = folder.make("a")
    leaves = [True]
    first = folder.ask("a", lambda: leaves[0])
    second = folder.ask("a")
    folder.work.release(1)
    leaves[0] = False
    folder.work.release(1)
    assert first == [NotWanted]
    assert second == []
    folder.work.release()
    assert second == [digest]


def test_what_nobody_waits_for_any_more_is_not_computed(
    folder: Folder, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    folder.make("a")
    leaves = [True]
    found = folder.ask("a", lambda: leaves[0])
    folder.work.release(1)
    leaves[0] = False
    folder.work.release(1)
    assert found == [NotWanted]
    assert not folder.work.jobs
    assert descriptors() == before
    again = folder.ask("a")
    folder.work.release()
    assert len(again) == 1, "another may ask for it"


def test_files_on_a_disk_that_hangs_keep_no_others_waiting(folder: Folder) -> None:
    for number in range(STEPS_MOST):
        folder.make(f"hangs-{number}", 10)
        folder.ask(f"hangs-{number}")
    hanging = [folder.work.jobs.popleft() for _ in range(STEPS_MOST)]
    digest = folder.make("other", 10)
    found = folder.ask("other")
    assert not folder.work.jobs
    folder.work.waiting = STEPS_MOST
    for tell in folder.work.tell:
        tell()
    folder.work.release()
    assert found == [digest]
    folder.work.jobs.extend(hanging)


def test_a_long_file_keeps_no_short_one_waiting(folder: Folder) -> None:
    for number in range(4):
        folder.make(f"long-{number}", 6 * STEP)
    digest = folder.make("short", 10)
    long = [folder.ask(f"long-{number}") for number in range(4)]
    short = folder.ask("short")
    for _ in range(6):
        assert len(folder.work.jobs) <= STEPS_MOST
        folder.work.release(1)
    assert short == [digest]
    assert long == [[]] * 4
    leave_nothing(folder)


def test_so_many_files_at_a_time(folder: Folder) -> None:
    folder.hashing.files = Pool(3)
    digests = [folder.make(f"file-{number}", 10) for number in range(4)]
    found = [folder.ask(f"file-{number}") for number in range(3)]
    with pytest.raises(Busy):
        folder.ask("file-3")
    found.append(folder.ask("file-2"))
    leave_nothing(folder)
    found.append(folder.ask("file-3"))
    leave_nothing(folder)
    assert found == [[digest] for digest in (*digests[:3], digests[2], digests[3])]


def test_who_leaves_is_let_go_while_others_have_their_turn(folder: Folder) -> None:
    for number in range(STEPS_MOST):
        folder.make(f"long-{number}", 6 * STEP)
        folder.ask(f"long-{number}")
    folder.make("a")
    leaves = [True]
    found = folder.ask("a", lambda: leaves[0])
    leaves[0] = False
    folder.work.release(1)
    assert found == [NotWanted]
    leave_nothing(folder)


def leave_nothing(folder: Folder) -> None:
    while folder.work.jobs:
        folder.work.release(1)


def test_a_file_that_becomes_shorter(folder: Folder) -> None:
    folder.make("a")
    folder.make("b", 10)
    found = [folder.ask("a"), folder.ask("a")]
    folder.work.release(1)
    os.truncate(folder.root / "a", STEP)
    folder.work.release()
    assert found == [[FileEnded], [FileEnded]]
    other = folder.ask("b")
    folder.work.release()
    assert len(other) == 1


def test_the_daemon_stops(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.make("a")

    def stopped(*_: object) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        done.errback(Stopped())
        return done

    monkeypatch.setattr(folder.work, "run", stopped)
    assert folder.ask("a") == [Stopped]


def test_a_digest_that_is_known(folder: Folder) -> None:
    file = folder.open("a") if folder.make("a") else None
    assert file is not None
    assert folder.hashing.known(file._replace(settled=True)) is None
    file.close()
