"""What the tests of the download engine share: servers, data, and one way to run a download."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tcpdl.client import crew, patience
from tcpdl.client.download import download
from tcpdl.client.fetched import Fetched
from tcpdl.client.pace import Growth
from tcpdl.client.target import Target
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire import native
from tcpdl.wire.native import Digest, End, FileInfo
from tests.client.native_server import NativeServer

CHUNK = 1 << 16
NAME = "file.bin"
PART = "file.bin.tcpdl-part"
RECORD = "file.bin.tcpdl-record"
BETWEEN = native.PREFACE.size + native.HEADER.size + native.FORMS[FileInfo].least
"""Bytes of an answer before its first run's header."""
DIGEST = native.HEADER.size + native.FORMS[Digest].least
END = native.HEADER.size + native.FORMS[End].least
SMALL_ANSWER = 400
"""More than the messages around the bytes of one chunk."""

Start = Callable[..., NativeServer]


def some(size: int, seed: int = 0) -> bytes:
    """Bytes in which nothing repeats."""
    return random.Random(seed).randbytes(size)


HANGS = 20.0
FOREVER = 1e9
"""Seconds."""


class Hangs(AssertionError):
    """Nothing came for long, or nothing more will."""


class Fetch:
    """Downloads to one name in a folder, and what was said meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.part = folder / PART
        self.record = folder / RECORD
        self.notes: list[str] = []
        self.slept: list[float] = []
        self.told: list[int] = []
        self.begun: list[tuple[int, int]] = []

    def __call__(
        self, location: Location, *, sources: Sequence[Location] = (), **options: Any
    ) -> Fetched:
        """What `api.fetch_to` does in the native dialect, without waiting."""
        sync = options.pop("sync", False)
        options = {
            "timeout": 10.0,
            "connections": 1,
            "progress": self.told.append,
            "note": self.notes.append,
            "begun": lambda size, there: self.begun.append((size, there)),
            "sleep": self.sleep,
            **options,
        }
        with Target(os.fsencode(self.folder), NAME.encode(), resume=True) as target:
            fetched = download(location, target, Ways(sources=sources, **options))
            if not fetched.unchanged:
                target.keep(mtime_ns=fetched.mtime_ns, sync=sync)
        return fetched

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > 100:
            raise Hangs("it is tried again and again")

    @property
    def names(self) -> set[str]:
        """What is in the folder."""
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    folder = tmp_path / "here"
    folder.mkdir()
    return Fetch(folder)


@pytest.fixture
def serving(no_descriptor_leaks: None) -> Iterator[Start]:
    """Starts servers; afterwards no thread is left running, and no server has failed."""
    before = set(threading.enumerate())
    started: list[NativeServer] = []

    def start(**options: Any) -> NativeServer:
        server = NativeServer(**options)
        started.append(server)
        return server

    yield start
    ours = {thread for server in started for thread in server.threads}
    left = set(threading.enumerate()) - before - ours
    for server in started:
        server.close()
        assert server.failure is None
    assert not left


@pytest.fixture
def server(serving: Start) -> NativeServer:
    return serving()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what cannot be given a `sleep`: as many pauses, none of which is felt."""
    monkeypatch.setattr(patience, "PAUSES", tuple(pause / 10_000 for pause in patience.PAUSES))


@pytest.fixture(autouse=True)
def _no_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raises in the thread that waits for a download if nothing comes for long."""
    monkeypatch.setattr("tcpdl.client.crew.TICK", 0.01)
    honest = Growth.wants_another
    seen = [-1, 0.0]

    def wants_another(
        self: Growth, now: float, cpu: float, received: int, left: int, working: int
    ) -> bool:
        if received != seen[0]:
            seen[:] = [received, now]
        if now - seen[1] > HANGS:
            raise Hangs
        return honest(self, now, cpu, received, left, working)

    monkeypatch.setattr(Growth, "wants_another", wants_another)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many connections as are allowed, at once; each asks for little at a time, and none is
    taken for slow."""

    def wants_another(
        self: Any, now: float, cpu: float, received: int, left: int, working: int
    ) -> bool:
        return bool(working < self._most and left > 0)

    monkeypatch.setattr(Growth, "wants_another", wants_another)
    monkeypatch.setattr(crew, "FIRST_SPAN", 2 * CHUNK)
    monkeypatch.setattr(crew, "SPAN_MOST", 2 * CHUNK)
    monkeypatch.setattr(crew, "USELESS_AFTER", FOREVER)
    monkeypatch.setattr(crew, "SLOW_AFTER", FOREVER)
