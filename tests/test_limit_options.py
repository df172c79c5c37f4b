"""Tests the options that say how much there may be of something, and how long it may take."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.python import usage

from tcpdl.options.limits import LimitOptions
from tcpdl.server.crowd import Limits
from tcpdl.server.deadlines import Times
from tcpdl.server.progress import Pace


def parsed(*options: str) -> LimitOptions:
    make: Any = LimitOptions
    made: LimitOptions = make()
    made.parseOptions(list(options))  # type: ignore[no-untyped-call]
    return made


def test_what_is_given_by_nobody() -> None:
    assert parsed().limits() == Limits()
    assert parsed().limits().local_address == parsed().limits().local_network == 0
    assert parsed().times() == Times()


def test_a_number_that_is_given_holds_for_this_machine_as_well() -> None:
    options = parsed("--max-connections=7", "--max-connections-per-address=3")
    assert options.limits() == Limits(7, 3, 1024, local_address=3, local_network=0)
    options = parsed("--max-connections-per-network=5")
    assert options.limits() == Limits(10_000, 256, 5, local_address=0, local_network=5)


def test_zero_is_no_limit() -> None:
    names = ("connections", "connections-per-address", "connections-per-network")
    assert parsed(*(f"--max-{name}=0" for name in names)).limits() == (0, 0, 0, 0, 0)


def test_times() -> None:
    options = parsed("--request-seconds=20", "--idle-seconds=5", "--min-rate=0")
    assert options.times() == Times(20, 20, 5, Pace(0, 60))
    assert parsed("--stall-seconds=600").times().pace == Pace(500, 600)


def test_help_tells_what_holds_if_nothing_is_given() -> None:
    text = " ".join(parsed().getUsage().split())
    for number in ("10000", "256", "1024"):
        assert f"({number}," in text
    named: Any = LimitOptions.optParameters
    for name, _, default, *_ in named:
        assert f"--{name}=" in text
        assert default is None or f"[default: {default}]" in text


@pytest.mark.parametrize(
    "bad",
    [
        *("--max-connections=-1", "--max-connections=x", "--max-connections=1000000001"),
        *("--max-accepts=1.5", "--max-files=", "--request-seconds=0", "--stall-seconds=4"),
        *("--min-rate=1k", "--idle-seconds=86401"),
    ],
)
def test_what_is_wrong_is_named(bad: str) -> None:
    with pytest.raises(usage.UsageError, match=bad.partition("=")[0]):
        parsed(bad)
