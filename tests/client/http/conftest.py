"""What the tests of the client's HTTP share: web servers, and one way to run a download."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl.client import crew, patience
from tcpdl.client.fetched import Fetched
from tcpdl.client.http import download as engine
from tcpdl.client.pace import Growth
from tcpdl.client.target import Target
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tests.client.http.web_server import WebServer

MIB = 1 << 20
FOREVER = 1e9
NAME = "file.bin"
PART = "file.bin.tcpdl-part"
RECORD = "file.bin.tcpdl-record"


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

    def __call__(self, location: Location, **options: Any) -> Fetched:
        """What `api.fetch_to` does over HTTP, without waiting."""
        options = {
            "timeout": 10.0,
            "connections": 1,
            "progress": self.told.append,
            "note": self.notes.append,
            "sleep": self.slept.append,
            **options,
        }
        with Target(str(self.folder), NAME.encode(), resume=True) as target:
            fetched = engine.download(location, target, Ways(**options))
            if not fetched.unchanged:
                target.keep(mtime_ns=fetched.mtime_ns or None)
        return fetched

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
def server(no_descriptor_leaks: None) -> Iterator[WebServer]:
    """A server; afterwards no thread is left running, and it has not failed."""
    before = set(threading.enumerate())
    started = WebServer()
    yield started
    left = set(threading.enumerate()) - before - set(started.threads)
    started.close()
    assert started.failure is None
    assert not left


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", tuple(pause / 10_000 for pause in patience.PAUSES))
    monkeypatch.setattr(crew, "TICK", 0.01)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many connections as are allowed, at once; each asks for little at a time, and none is
    taken for slow."""

    def wants_another(
        self: Any, now: float, cpu: float, received: int, left: int, working: int
    ) -> bool:
        return bool(working < self._most and left > 0)

    monkeypatch.setattr(Growth, "wants_another", wants_another)
    monkeypatch.setattr(crew, "FIRST_SPAN", MIB)
    monkeypatch.setattr(crew, "SPAN_MOST", MIB)
    monkeypatch.setattr(crew, "USELESS_AFTER", FOREVER)
    monkeypatch.setattr(crew, "SLOW_AFTER", FOREVER)
