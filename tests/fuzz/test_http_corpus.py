"""Runs the targets of fuzz_http.py over the corpus, without a fuzzer."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
FUZZ: dict[str, Any] = runpy.run_path(str(HERE / "fuzz_http.py"))
TARGETS: dict[str, Callable[[bytes], None]] = FUZZ["TARGETS"]
FILES = sorted(path for target in TARGETS for path in (HERE / "corpus" / target).iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_corpus(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_shorter_inputs(target: str) -> None:
    """Every beginning of a file of the corpus is an input as well."""
    for path in FILES:
        data = path.read_bytes()
        if path.parent.name == target and len(data) < 200:
            for length in range(FUZZ["CUTS"], len(data)):
                TARGETS[target](data[:length])


def test_seeds_are_in_the_corpus() -> None:
    seeds = list(FUZZ["seeds"]())
    assert len(seeds) > 30
    for folder, name, data in seeds:
        assert (HERE / "corpus" / folder / name).read_bytes() == data, "run fuzz_http.py --seed"


def test_the_seeds_meet_each_status() -> None:
    # A corpus that is refused for one reason would test nothing.
    streams = FUZZ["streams"]()
    met = {FUZZ["fed"]([stream])[1] for stream in streams.values()}
    assert met == {0, *FUZZ["STATUSES"]}
    accepted = [name for name, stream in streams.items() if FUZZ["fed"]([stream])[0]]
    assert len(accepted) > 12
