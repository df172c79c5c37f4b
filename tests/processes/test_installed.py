"""Tests how a process learns that what it runs is not what is installed any more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcpdl.processes.installed import FILES, Installed


def test_what_is_installed_is_what_runs() -> None:
    assert all(os.path.isfile(path) for path in FILES)
    assert not Installed().replaced


@pytest.mark.parametrize("content", ["1", "2"])
def test_a_file_that_was_made_anew_is_another_one(tmp_path: Path, content: str) -> None:
    """Even with the same version: what it is built on may be another."""
    files = [tmp_path / "python", tmp_path / "program"]
    for file in files:
        file.write_text("1")
    installed = Installed(map(str, files))
    assert not installed.replaced
    new = tmp_path / "new"
    new.write_text(content)
    files[1].unlink()
    assert not installed.replaced, "an upgrade is under way, or this is another root"
    new.rename(files[1])
    assert installed.replaced
