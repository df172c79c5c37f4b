"""Tests how descriptors are shared out."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.content.open_files import OpenFiles
from tcpdl.server import descriptors
from tcpdl.server.crowd import Crowd, Limits
from tcpdl.server.descriptors import SPARE, Budget, free_descriptors, share, share_out

if TYPE_CHECKING:
    from tests.server.conftest import Log


@pytest.mark.parametrize(
    ("free", "wanted", "budget"),
    [
        (1_000_000, (10_000, 256, 0), Budget(10_000, 256, 989_744)),
        (19_970, (10_000, 256, 0), Budget(10_000, 256, 9714)),
        (10_000, (10_000, 256, 0), Budget(5648, 256, 4096)),
        (1000, (10_000, 256, 0), Budget(469, 62, 469)),
        (1000, (50, 256, 0), Budget(50, 62, 888)),
        (1000, (0, 256, 100), Budget(838, 62, 100)),
        (1000, (0, 256, 0), Budget(469, 62, 469)),
        (30, (10_000, 256, 0), Budget(15, 1, 14)),
        (0, (10_000, 256, 0), Budget(1, 0, 1)),
    ],
)
def test_examples(free: int, wanted: tuple[int, int, int], budget: Budget) -> None:
    assert share_out(free, *wanted) == budget


@given(st.integers(2, 10**6), st.integers(0, 10**6), st.integers(0, 256), st.integers(0, 10**6))
def test_all_of_it_fits(free: int, connections: int, refusals: int, files: int) -> None:
    found = share_out(free, connections, refusals, files)
    assert sum(found) <= free
    assert min(found.connections, found.files) >= 1
    assert found.connections <= (connections or free)
    assert found.files <= (files or free)
    if 0 < connections + refusals + files <= free and connections and files:
        assert found.connections == connections or found.files == files


def test_what_is_open_is_not_free() -> None:
    before = free_descriptors()
    fd = os.open("/", os.O_RDONLY)
    try:
        assert free_descriptors() == before - 1
    finally:
        os.close(fd)
    assert before < resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE


def shared(monkeypatch: pytest.MonkeyPatch, free: int, limits: Limits, files: int = 0) -> Crowd:
    monkeypatch.setattr(descriptors, "free_descriptors", lambda: free)
    crowd, open_files = Crowd(limits), OpenFiles()
    share(crowd, open_files, files)
    assert open_files.most > 0
    return crowd


def test_what_fits_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    assert shared(monkeypatch, 100_000, Limits()).places == 0
    assert log.lines == []


def test_what_nobody_asked_for_is_only_told(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    assert shared(monkeypatch, 1000, Limits()).places == 469
    assert log.lines == ["469 connections and 469 files may be open at a time"]


def test_what_was_asked_for_and_does_not_fit(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    crowd = shared(monkeypatch, 1000, Limits(connections=500), files=700)
    assert (crowd.places, crowd.refusals_most) == (469, 62)
    assert log.lines == [
        "--max-connections=500 is more than there are descriptors for (ulimit -n); it is 469",
        "--max-files=700 is more than there are descriptors for (ulimit -n); it is 469",
        "469 connections and 469 files may be open at a time",
    ]


def test_a_limit_that_cannot_be_raised(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 2000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    shared(monkeypatch, 100_000, Limits())
    assert log.lines == [
        "the limit of open files stays as it is: not allowed to raise maximum limit"
    ]


def test_what_is_open_already_is_shared_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = shared(monkeypatch, 1000, Limits(connections=0))
    before = crowd.places
    crowd.enter(None)
    files = OpenFiles()
    files.add(os.open("/", os.O_RDONLY))
    monkeypatch.setattr(descriptors, "free_descriptors", lambda: 998)
    share(crowd, files, 0)
    assert crowd.places == before
    crowd.limits = Limits(connections=100)
    share(crowd, files, 0)
    assert crowd.places == 0, "there are enough"
    files.close(*files._all)
