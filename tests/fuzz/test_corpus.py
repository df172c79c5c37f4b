"""Runs the targets of the fuzzers over their corpora, without a fuzzer."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
SCRIPTS: dict[str, dict[str, Any]] = {
    path.name: runpy.run_path(str(path)) for path in sorted(HERE.glob("fuzz_*.py"))
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
    """Every beginning of a seed is an input as well."""
    for target, _, data in SCRIPTS[script]["seeds"]():
        if len(data) < 200:
            for length in range(len(data)):
                SCRIPTS[script]["TARGETS"][target](data[:length])


@pytest.mark.parametrize("script", SCRIPTS)
def test_seeds_are_in_the_corpus(script: str) -> None:
    seeds = list(SCRIPTS[script]["seeds"]())
    assert {target for target, _, _ in seeds} == set(SCRIPTS[script]["TARGETS"])
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
