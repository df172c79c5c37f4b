"""Tests what several processes are at together, and how it is written where clients are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock

from tcpdl.admin.believing import checked_status
from tcpdl.admin.provider import SingleProcess, added, daemon_snapshot
from tcpdl.admin.status import ADDRESSES_MOST, TRANSFERS_MOST, added_status, daemon_status, where
from tcpdl.daemon import Daemon
from tcpdl.server.crowd import Address
from tcpdl.server.transfers import Transfer


@pytest.fixture
def daemon() -> Daemon:
    return Daemon(MemoryReactorClock())


def begin(daemon: Daemon, sent: int, peer: str = "192.0.2.1:1") -> Transfer:
    transfer = daemon.transfers.begin("http", peer, False, "GET", b"/a\x1b", "ann\n")
    transfer.counted = sent
    return transfer


def test_largest_transfers_are_told_and_fit_to_be_shown(daemon: Daemon) -> None:
    begin(daemon, 1).end("complete")
    for sent in range(TRANSFERS_MOST + 50):
        begin(daemon, sent)
    status = json.loads(json.dumps(daemon_status(daemon)))
    assert status["requests"] == {"live": TRANSFERS_MOST + 50, "over": 1}
    told = [transfer["sent"] for transfer in status["transfers"]]
    assert told == [*range(TRANSFERS_MOST + 49, 49, -1)]
    assert status["transfers"][0]["what"] == r"/a\x1b"
    assert status["transfers"][0]["user"].isprintable()


def test_bytes_under_way_are_counted_once(daemon: Daemon) -> None:
    transfer = begin(daemon, 7)
    name = 'tcpdl_content_bytes_total{dialect="http"}'
    assert daemon_snapshot(daemon)[name] == 7
    transfer.end("complete")
    assert daemon_snapshot(daemon)[name] == 7
    assert daemon_snapshot(daemon)['tcpdl_requests_total{dialect="http",outcome="complete"}'] == 1


def test_snapshots_are_fit_for_json_and_for_sums(daemon: Daemon) -> None:
    snapshot = daemon_snapshot(daemon)
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert added([snapshot, snapshot])["tcpdl_connections_limit"] == 10_000


def test_addresses_with_the_most_connections_are_told(daemon: Daemon) -> None:
    for number in range(1, ADDRESSES_MOST + 6):
        for _ in range(number):
            daemon.crowd.enter(IPv4Address("TCP", f"192.0.2.{number}", 1))
    told = daemon_status(daemon)["addresses"]
    assert len(told) == ADDRESSES_MOST
    assert told[0] == {"address": "192.0.2.25", "connections": 25}


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (b"", "Unix sockets"),
        (bytes([192, 0, 2, 1]), "192.0.2.1"),
        (bytes.fromhex("20010db800010002"), "2001:db8:1:2::/64"),
    ],
)
def test_addresses_and_networks(key: bytes, shown: str) -> None:
    assert where(Address(key)) == shown


def test_processes_are_told_of_together(daemon: Daemon) -> None:
    begin(daemon, 5)
    one: dict[str, Any] = {**daemon_status(daemon), "certificate_ends": 10.0, "ports": ["a", "b"]}
    one["addresses"] = [{"address": "x", "connections": 2}]
    other = {**one, "certificate_ends": None, "ports": ["b"], "running": True}
    whole = added_status({"worker-1": one, "worker-2": other})
    assert {transfer["process"] for transfer in whole["transfers"]} == {"worker-1", "worker-2"}
    assert whole["requests"]["live"] == 2
    assert whole["addresses"] == [{"address": "x", "connections": 4}]
    assert whole["certificate_ends"] == 10.0
    assert whole["ports"] == ["a", "b"]
    assert whole["running"] is False
    assert whole["processes"].keys() == {"worker-1", "worker-2"}
    assert added_status({}).keys() == whole.keys()


def test_what_another_process_says_is_believed_if_it_has_the_form(daemon: Daemon) -> None:
    transfer = begin(daemon, 5)
    transfer.span, transfer.size = (0, 9), 100
    daemon.crowd.enter(IPv4Address("TCP", "192.0.2.1", 1))
    status = json.loads(json.dumps(daemon_status(daemon)))
    assert checked_status({**status, "of tomorrow": 1}) == status
    status["transfers"][0]["peer"] = "\x1b[2J"
    assert checked_status(status)["transfers"][0]["peer"] == r"\x1b[2J"


LIES: dict[str, list[Any]] = {
    "uptime": ["1", None, True, float("nan"), 1e300, 1 << 64],
    "ports": [[1], "a", ["a"] * 10_000, ["a" * 10_000]],
    "addresses": [[1], [{"address": "x"}], [{"address": 1}]],
    "figures": [[], {"cpu": "1"}, {str(number): 1 for number in range(10_000)}],
    "running": [1],
    "connections": [{}],
    "transfers": [{}],
    "certificate_ends": ["soon"],
}


@pytest.mark.parametrize(("name", "lie"), [(name, lie) for name in LIES for lie in LIES[name]])
def test_what_another_process_makes_up_is_not_believed(daemon: Daemon, name: str, lie: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        checked_status({**daemon_status(daemon), name: lie})


def test_health(daemon: Daemon) -> None:
    provider = SingleProcess(daemon)
    assert provider.health() == (False, "the daemon has not started, or is stopping")
    daemon.running = True
    assert provider.health() == (True, "the daemon serves")
    daemon.deadlines.draining = True
    well, sentence = provider.health()
    assert not well
    assert "going away" in sentence
