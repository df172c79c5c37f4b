"""Runs the targets of the fuzzers over their corpora, without a fuzzer."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
SCRIPTS: dict[str, dict[str, Any]] = {
    name: runpy.run_path(str(HERE / name)) for name in ("fuzz_wire.py", "fuzz_http.py")
}


class Input(NamedTuple):
    """A file of a corpus."""

    script: str
    path: Path

    @property
    def target(self) -> Callable[[bytes], None]:
        target: Callable[[bytes], None] = SCRIPTS[self.script]["TARGETS"][self.path.parent.name]
        return target


INPUTS = [
    Input(script, path)
    for script, names in SCRIPTS.items()
    for target in names["TARGETS"]
    for path in sorted((HERE / "corpus" / target).iterdir())
]


@pytest.mark.parametrize("one", INPUTS, ids=lambda one: f"{one.path.parent.name}-{one.path.name}")
def test_corpus(one: Input) -> None:
    one.target(one.path.read_bytes())


@pytest.mark.parametrize("script", SCRIPTS)
def test_shorter_inputs(script: str) -> None:
    """Every beginning of a file of the corpus is an input as well."""
    for one in INPUTS:
        data = one.path.read_bytes()
        if one.script == script and len(data) < 200:
            for length in range(len(data)):
                one.target(data[:length])


@pytest.mark.parametrize("script", SCRIPTS)
def test_seeds_are_in_the_corpus(script: str) -> None:
    seeds = list(SCRIPTS[script]["seeds"]())
    assert len(seeds) > 30
    for folder, name, data in seeds:
        assert (HERE / "corpus" / folder / name).read_bytes() == data, f"run {script} --seed"


@pytest.mark.parametrize("target", ["server", "client"])
def test_most_seeds_get_past_the_preface(target: str) -> None:
    # A corpus that is refused at its first bytes would test nothing.
    greeted = [one for one in INPUTS if one.path.read_bytes()[4:].startswith(b"\0tcpdl\1")]
    assert len([one for one in greeted if one.path.parent.name == target]) > 12


def test_the_seeds_meet_each_status() -> None:
    # A corpus that is refused for one reason would test nothing.
    http = SCRIPTS["fuzz_http.py"]
    streams = http["streams"]()
    met = {http["fed"]([stream])[1] for stream in streams.values()}
    assert met == {0, *http["STATUSES"]}
    accepted = [name for name, stream in streams.items() if http["fed"]([stream])[0]]
    assert len(accepted) > 12
