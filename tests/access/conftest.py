"""What the tests of access share: hashes that are quickly checked."""

from __future__ import annotations

import pytest

from tcpdl.access import users
from tcpdl.access.users import Password


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new passwords be hashed with little work."""
    monkeypatch.setattr(users, "DEFAULT", Password(4, 1, 1, b"", b""))
