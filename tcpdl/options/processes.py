"""Options that say how many processes serve. Imports Twisted."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from twisted.python import usage

from tcpdl.options.reading import number

MOST = 512
"""Workers that may be asked for."""

_CGROUPS = "/sys/fs/cgroup"


def processors(read: Callable[[str], str] | None = None) -> int:
    """How many processors this process may use at a time, one at least: those that it may run on,
    or less if its control group has less time (`CPUQuota=`, `docker run --cpus`)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(count or 1, _quota(read or _read))))


def _quota(read: Callable[[str], str]) -> float:
    """Processors that the control group has the time of, and those that it is in."""
    try:
        groups = [line.split(":", 2)[2] for line in read("/proc/self/cgroup").splitlines()]
    except (OSError, IndexError):
        groups = []
    least = math.inf
    places = {""}
    for group in groups:
        parts = [part for part in group.split("/") if part not in ("", "..")]
        places |= {"/".join(["", *parts[:length]]) for length in range(len(parts) + 1)}
    for place in places:
        try:
            quota, period = read(f"{_CGROUPS}{place}/cpu.max").split()
            least = min(least, int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):  # there is none, or it is "max"
            continue
    return least


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read(4096)


def _workers(text: str) -> int:
    if text == "auto":
        return min(processors(), MOST)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise usage.UsageError(
            f"--workers: {text!r} is neither 'auto' nor a number of processes from 1 to {MOST}"
        )
    return int(text)


class ProcessOptions(usage.Options):
    """How many processes serve."""

    optParameters: list[list[Any]] = [
        [
            "workers",
            None,
            None,
            "Processes that serve, or 'auto': one for each processor; if left out, this one does.",
            _workers,
        ],
        [
            "hang-seconds",
            None,
            30,
            "Seconds after which a worker that says nothing is ended, and another one started.",
            number("--hang-seconds", "a number of seconds", 3600, 5),
        ],
    ]
