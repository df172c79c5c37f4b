"""Tests two minutes of what `make soak` does for an hour."""

from __future__ import annotations

import os
from pathlib import Path

from tests.soak.soaking import Soak

SECONDS = 100.0
"""Besides what it takes to begin, to count and to end."""


def test_two_minutes(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    soak = Soak(SECONDS, 1, tmp_path, print)
    soak.run()
    print(soak.report())
    assert not soak.failures
    assert len(soak.quiet) >= 2
