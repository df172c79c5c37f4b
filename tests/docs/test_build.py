"""Tests that the documentation is made without a warning, as of a dead link within it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import PROJECT


@pytest.mark.skipif(find_spec("furo") is None, reason="the extra docs is not installed")
def test_documentation_is_made(tmp_path: Path) -> None:
    made = tmp_path / "html"
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        str(tmp_path / "kept"),
    ]
    build += [str(PROJECT / "docs"), str(made)]
    ran = subprocess.run(build, cwd=PROJECT, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    reference = (made / "manual" / "tcpdld.8.html").read_text("utf-8")
    assert "--max-connections" in reference
    names = {path.name for path in made.rglob("*.html")}
    assert {"index.html", "security.html", "protocol.html", "tcpdl.1.html"} <= names
