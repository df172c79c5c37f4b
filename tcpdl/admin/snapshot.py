"""What was counted at one moment, and what several processes have counted together.

Imports `admin.series`. Pure. A `Snapshot` is fit for JSON: a number for each sample, whose key is
its name and labels as Prometheus writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from tcpdl.admin.series import PROCESS, Series, series_of

Snapshot = dict[str, float]
"""A number for each sample, by its `key`."""

_DIGITS = 6
"""Of a sum, behind the point. With all that floating point has, it would depend on the order in
which it is added up, and what never falls would, by the last digit: to Prometheus, that is a new
beginning."""

_LABEL = r'([a-z_]+)="([^"\\{}\n]{0,100})"'
_LABELS = re.compile(_LABEL)
_KEY = re.compile(rf"([a-z0-9_]+)(?:\{{({_LABEL}(?:,{_LABEL})*)\}})?")
_BUCKET = "le"
_BOUND = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?(e-?[0-9]{1,2})?|\+Inf")


class Sample(NamedTuple):
    """A key, taken apart."""

    name: str
    labels: dict[str, str]
    series: Series


def key(name: str, **labels: str) -> str:
    """What a sample is kept under. Values of labels hold neither quotes nor backslashes."""
    if not labels:
        return name
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


@lru_cache(maxsize=4096)
def parse(of: str) -> Sample:
    """What `key` has put together. Raises `KeyError` if no series has such samples."""
    found = _KEY.fullmatch(of)
    if found is None:
        raise KeyError(of)
    sample = Sample(found[1], dict(_LABELS.findall(found[2] or "")), series_of(found[1]))
    series, labels = sample.series, {*sample.labels}
    expected = {_BUCKET} if sample.name == f"{series.name}_bucket" else {*series.labels}
    if series.over == "each":
        labels -= {PROCESS}
    if labels != expected or not _BOUND.fullmatch(sample.labels.get(_BUCKET, "0")):
        raise KeyError(of)
    return sample


def remains(snapshot: Snapshot) -> Snapshot:
    """What stays true of `snapshot` when its process has ended: what was counted."""
    return {of: value for of, value in snapshot.items() if parse(of).series.lasting}


def added(snapshots: Iterable[Snapshot]) -> Snapshot:
    """What several processes have together; what each has for itself is left out.

    A count that never falls in any of them, and of which the remains are handed in once a process
    has ended, never falls here.
    """
    total: Snapshot = {}
    for snapshot in snapshots:
        for of, value in snapshot.items():
            over = parse(of).series.over
            if over == "sum":
                total[of] = round(total.get(of, 0) + round(value, _DIGITS), _DIGITS)
            elif over == "least":
                total[of] = min(total.get(of, value), value)
    return total


def combined(by_process: Mapping[str, Snapshot]) -> Snapshot:
    """What is shown of several processes: their sums, and what each has for itself under a label
    more, which names the process."""
    total = added(by_process.values())
    for process, snapshot in by_process.items():
        total.update(_own(process, snapshot))
    return total


def _own(process: str, snapshot: Snapshot) -> Iterator[tuple[str, float]]:
    for of, value in snapshot.items():
        sample = parse(of)
        if sample.series.over == "each":
            yield key(sample.name, **{**sample.labels, PROCESS: process}), value
