"""What the tests of access share: hashes that are quickly checked, files that have settled."""

from __future__ import annotations

import time

import pytest

from tcpdl.access import users
from tcpdl.access.users import Password


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new passwords be hashed with little work."""
    monkeypatch.setattr(users, "DEFAULT", Password(4, 1, 1, b"", b""))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it a minute later, so that files that were just written have settled."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 60 * 10**9)
