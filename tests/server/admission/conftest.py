"""What the tests of admission share: servers that say who may read what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.admission.visiting import GuardedServer, fill
from tests.server.conftest import Connect
from tests.server.http_client import settle

Make = Callable[..., GuardedServer]


@pytest.fixture
def make(tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    settle(monkeypatch)
    root = tmp_path / "root"
    fill(root)
    made: list[GuardedServer] = []

    def make_one(**options: Any) -> GuardedServer:
        made.append(GuardedServer(root, connect, **options))
        return made[-1]

    yield make_one
    for server in made:
        server.close()


@pytest.fixture
def server(make: Make) -> GuardedServer:
    return make(index=True, precompressed=True)
