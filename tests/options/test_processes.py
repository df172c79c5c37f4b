"""Tests how many processes are asked for."""

from __future__ import annotations

import os

import pytest
from twisted.python import usage

from tcpdl.options.daemon import Options
from tcpdl.options.processes import MOST, processors


def parsed(*words: str) -> Options:
    options = Options({})
    options.parseOptions(list(words))
    return options


def test_auto_is_a_worker_for_each_processor() -> None:
    assert parsed("--workers=auto")["workers"] == min(processors(), MOST)
    assert 1 <= processors() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("wrong", ["0", "-1", "", "two", "1.5", "٢", str(MOST + 1), "AUTO"])
def test_a_number_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(usage.UsageError, match="neither 'auto' nor a number"):
        parsed(f"--workers={wrong}")


@pytest.mark.parametrize("wrong", ["4", "0", "3601", "x"])
def test_a_worker_has_some_seconds_to_say_something(wrong: str) -> None:
    with pytest.raises(usage.UsageError, match="--hang-seconds"):
        parsed(f"--hang-seconds={wrong}")


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        ("max 100000", 8),
        ("150000 100000", 2),
        ("100000 100000", 1),
        ("1000 100000", 1),
        ("nonsense", 8),
        ("", 8),
    ],
)
def test_what_a_control_group_has_the_time_of(
    monkeypatch: pytest.MonkeyPatch, limit: str, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    paths = {
        "/proc/self/cgroup": "0::/system.slice/tcpdl.service\n",
        "/sys/fs/cgroup/system.slice/cpu.max": limit,
    }

    def read(path: str) -> str:
        try:
            return paths[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    assert processors(read) == count
    del paths["/sys/fs/cgroup/system.slice/cpu.max"]
    paths["/sys/fs/cgroup/cpu.max"] = limit  # as it looks from within a container
    assert processors(read) == count
