"""What the fuzz targets share: they are run by atheris, and write their corpus."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import FunctionType

CORPUS = Path(__file__).resolve().parent / "corpus"

CUTS = 4
"""The first bytes of an input say how the rest is cut: one less than the length of each piece."""

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
    for found in gc.get_objects():  # what the libraries do inside is nothing to be guided by
        if type(found) is FunctionType and str(found.__module__).startswith("tcpdl."):
            atheris.instrument_func(found)
    # libFuzzer passes over what begins with two dashes, and hands it on to processes it starts.
    atheris.Setup(sys.argv, targets[chosen])
    atheris.Fuzz()


def write_corpus(seeds: Iterable[Seed]) -> None:
    """Write the seeds; what a fuzzer found and was added stays."""
    for folder, name, data in seeds:
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
        (CORPUS / folder / name).write_bytes(data)


def pieces(stream: bytes, cuts: bytes) -> Iterator[bytes]:
    """`stream`, cut as `cuts` say."""
    at = turn = 0
    cuts = (cuts + bytes(CUTS))[:CUTS]
    while at < len(stream):
        length = cuts[turn % CUTS] + 1
        yield stream[at : at + length]
        at, turn = at + length, turn + 1
