"""The series that the daemon counts: one table. Imports the standard library only.

The names follow Prometheus: base units, and `_total` at the end of counters. Whatever has labels
has few values for each, none of which a peer chooses.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

Over = Literal["sum", "least", "each"]
"""What becomes of the values that several processes have: they are added up, the smallest is the
one that matters, or each is of interest by itself."""

PROCESS = "process"
"""The label of series that each process has for itself."""


class Series(NamedTuple):
    """What is counted or measured under one name."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    over: Over = "sum"

    @property
    def lasting(self) -> bool:
        """What it has counted stays true when the process has ended that did."""
        return self.kind != "gauge"


SERIES = (
    Series(
        "tcpdl_connections_accepted_total",
        "counter",
        "Connections accepted, those refused for lack of room among them.",
    ),
    Series("tcpdl_connections_open", "gauge", "Connections that are open."),
    Series(
        "tcpdl_memory_bytes",
        "gauge",
        "Memory that the process has resident.",
        over="each",
    ),
    Series("tcpdl_cpu_seconds_total", "counter", "Processor time, user and system."),
    Series(
        "tcpdl_start_time_seconds",
        "gauge",
        "When the process started, in seconds since 1970.",
        over="each",
    ),
)

BY_NAME = {series.name: series for series in SERIES}

_PARTS = ("_bucket", "_sum", "_count")


def series_of(sample: str) -> Series:
    """The series that a sample of this name belongs to: a histogram's have longer names.

    Raises `KeyError`.
    """
    found = BY_NAME.get(sample)
    if found is not None:
        return found
    for part in _PARTS:
        if sample.endswith(part):
            found = BY_NAME[sample.removesuffix(part)]
            if found.kind == "histogram":
                return found
    raise KeyError(sample)
