"""Tests SECURITY.md: what it says is tested is, and what it says of options is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tcpdl.options.daemon import Options

PROJECT = Path(__file__).resolve().parent.parent
TEXT = (PROJECT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+)`", TEXT)))


@pytest.mark.parametrize("name", NAMED)
def test_what_is_named_is_there(name: str) -> None:
    path = PROJECT / name
    assert path.is_dir() or "def test_" in path.read_text(encoding="utf-8")


def test_options_are_there() -> None:
    known = {option.rstrip("=") for option in Options().longOpt}
    named = set(re.findall(r"`--([a-z-]+)", TEXT))
    clients = {"digest", "max-size", "sync"}
    assert named - clients - {"uid"} <= known
    assert len(named) > 15


def test_the_number_of_fuzz_targets() -> None:
    targets = [path for path in (PROJECT / "tests/fuzz/corpus").iterdir() if path.is_dir()]
    assert f"{len(targets)} targets" in TEXT
