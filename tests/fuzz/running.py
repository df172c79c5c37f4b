"""What the fuzz targets share: they are run by atheris, and write their corpus."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"

Seed = tuple[str, str, bytes]
"""A folder of the corpus, the name of a file in it, and what that holds."""


def main(usage: str, targets: Mapping[str, Callable[[bytes], None]], seeds: Iterable[Seed]) -> None:
    """Do what the command line says: fuzz one of the targets, or write the seeds."""
    if sys.argv[1:] == ["--seed"]:
        write_corpus(seeds)
        return
    chosen = sys.argv[1].removeprefix("--") if sys.argv[1:] else ""
    if chosen not in targets:
        raise SystemExit(usage)
    atheris = import_module("atheris")
    atheris.instrument_all()
    # libFuzzer passes over what begins with two dashes, and hands it on to processes it starts.
    atheris.Setup(sys.argv, targets[chosen])
    atheris.Fuzz()


def write_corpus(seeds: Iterable[Seed]) -> None:
    """Write the seeds; what a fuzzer found and was added stays."""
    for folder, name, data in seeds:
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
        (CORPUS / folder / name).write_bytes(data)
