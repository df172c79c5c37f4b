"""Tests what is done when settings change."""

from __future__ import annotations

from typing import Any

import pytest

from tcpdl.server.changes import Change, Changes, NotInPlace
from tests.server.conftest import Log


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def changes(told: list[str]) -> Changes:
    made = Changes()

    def rates(options: Any) -> str:
        told.append(f"rates {options}")
        return "for connections to come"

    made.on(("max-rate", "max-rate-per-address"), rates)
    made.on(("index",), lambda options: told.append(f"index {options}"))
    return made


def said(changes: Changes, changed: list[Change], options: str = "new") -> list[str]:
    return [str(outcome) for outcome in changes.apply(changed, options)]


def test_each_is_done_once_if_it_is_concerned(changes: Changes, told: list[str]) -> None:
    changed = [Change("max-rate", "1M", "2M"), Change("max-rate-per-address", "1k", "2k")]
    assert said(changes, changed) == [
        "max-rate: 1M -> 2M; for connections to come",
        "max-rate-per-address: 1k -> 2k; for connections to come",
    ]
    assert told == ["rates new"]
    assert said(changes, [Change("index", "false", "true")], "newer") == ["index: false -> true"]
    assert told == ["rates new", "index newer"]
    assert said(changes, []) == []
    assert len(told) == 2


def test_what_nobody_registered_needs_a_restart(changes: Changes, told: list[str]) -> None:
    assert changes.names == {"max-rate", "max-rate-per-address", "index"}
    assert said(changes, [Change("port", "8080", "9090")]) == [
        "port: 8080 -> 9090 takes effect at a restart"
    ]
    assert told == []


def test_what_turns_out_to_need_a_restart(changes: Changes) -> None:
    def refuse(options: Any) -> None:
        raise NotInPlace("without it, anyone may read all")

    changes.on(("rules",), refuse)
    (outcome,) = changes.apply([Change("rules", "a", "unset")], "new")
    assert not outcome.applied
    assert str(outcome) == (
        "rules: a -> unset takes effect at a restart; without it, anyone may read all"
    )


def test_one_that_fails_is_told_and_keeps_the_others_from_nothing(
    changes: Changes, told: list[str], log: Log
) -> None:
    def fail(options: Any) -> None:
        raise ZeroDivisionError

    broken = Changes()
    broken.on(("a",), fail)
    broken.on(("b",), lambda options: told.append("b"))
    changed = [Change("a", "1", "2"), Change("b", "1", "2")]
    assert said(broken, changed) == [
        "a: 1 -> 2 takes effect at a restart",
        "b: 1 -> 2",
    ]
    assert told == ["b"]
    assert [type(error) for error in log.flush()] == [ZeroDivisionError]
