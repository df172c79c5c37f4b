"""What is under way, as one document: of one process, and of several together.

Imports `tcpdl.daemon`, its layer below, and the modules beside it. All texts in it are fit to be
shown. It is bounded: of many answers and many addresses, the largest are told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from heapq import nlargest
from ipaddress import IPv4Address, IPv6Network
from typing import Any

from twisted.internet.address import UNIXAddress

import tcpdl
from tcpdl.admin.counting import FIGURES
from tcpdl.admin.snapshot import Snapshot, parse
from tcpdl.daemon import Daemon
from tcpdl.server.crowd import Address
from tcpdl.server.listening import Listening
from tcpdl.server.peer import peer_name
from tcpdl.server.transfers import Transfer
from tcpdl.wire.text import printable

TRANSFERS_MOST = 200
"""Answers that are told: those of which the most was sent."""

ADDRESSES_MOST = 20
"""Addresses that are told: those with the most connections."""

_PART = 4000
"""Of more live answers than so many, the ones that have gone on for longest are looked at: what is
large is among them, and a reactor has other things to do."""


def daemon_status(daemon: Daemon) -> dict[str, Any]:
    """What is under way in the process of `daemon`, fit for JSON:

    - `version`, `pid`, `time` and `started` (seconds since 1970), `uptime` (seconds), `running`;
    - `connections`: `open`, `limit` (0: any number), `refused` by limit;
    - `bytes`: `sent` and `received` so far;
    - `requests`: how many are `live`, how many are `over`;
    - `transfers`: the live ones, each with `number`, `process`, `peer`, `user`, `dialect`,
      `secure`, `what`, `span`, `size`, `sent` (bytes), `seconds` since it began, and `rate`, bytes
      a second since then;
    - `addresses`: `address` and `connections` of those that have the most;
    - `limits`: those that were configured; 0 stands for any number;
    - `ports`: what is listened on; `certificate_ends`, in seconds since 1970, or null;
    - `processes`: the same figures for each process, by its name, where there are several; and
      whether it `answers`: of one that does not, they are what it said last.
    """
    metrics, crowd = daemon.metrics, daemon.crowd
    daemon.transfers.flush()
    return {
        "version": tcpdl.__version__,
        "pid": os.getpid(),
        "time": time.time(),
        "started": daemon.process.started,
        "uptime": daemon.process.uptime,
        "running": bool(daemon.running),
        "connections": {
            "open": crowd.connections,
            "limit": crowd.limits.connections,
            "refused": dict(crowd.full),
        },
        "bytes": {
            "sent": metrics.sent_by_sendfile + metrics.sent_by_copying + metrics.sent_encrypted,
            "received": metrics.received,
        },
        "requests": {
            "live": len(daemon.transfers.live),
            "over": sum(sum(outcomes.values()) for outcomes in metrics.answers.values()),
        },
        "figures": daemon.process.figures(),
        "transfers": [*_transfers(daemon)],
        "addresses": [*_addresses(daemon)],
        "limits": _limits(daemon),
        "ports": [*_ports(daemon)],
        "certificate_ends": daemon.credentials.ends if daemon.credentials is not None else None,
    }


def last_status(snapshot: Snapshot, pid: int, now: float) -> dict[str, Any]:
    """What is known of a process that does not answer, by the last it has counted, in the form of
    `daemon_status`. `now` is in seconds since 1970."""
    counts: dict[str, float] = {}
    refused: dict[str, float] = {}
    for of, value in snapshot.items():
        sample = parse(of)
        counts[sample.name] = counts.get(sample.name, 0) + value
        if sample.name == "tcpdl_connections_refused_total":
            refused[sample.labels["limit"]] = value
    started = counts.get("tcpdl_start_time_seconds", now)
    return {
        **_NOBODY,
        "pid": pid,
        "started": started,
        "uptime": max(now - started, 0.0),
        "answers": False,
        "connections": {
            "open": counts.get("tcpdl_connections_open", 0),
            "limit": counts.get("tcpdl_connections_limit", 0),
            "refused": refused,
        },
        "bytes": {
            "sent": counts.get("tcpdl_sent_bytes_total", 0),
            "received": counts.get("tcpdl_received_bytes_total", 0),
        },
        "requests": {
            "live": counts.get("tcpdl_requests_in_progress", 0),
            "over": counts.get("tcpdl_requests_total", 0),
        },
        "figures": {name: counts[of] for name, of in FIGURES.items() if of in counts},
    }


def added_status(by_process: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What `daemon_status` has said of each process, as of one that has all their connections."""
    all_of = list(by_process.values()) or [_NOBODY]
    first = max(all_of, key=lambda one: bool(one["limits"]))  # who answers knows them
    transfers = [
        {**transfer, "process": process}
        for process, one in by_process.items()
        for transfer in one["transfers"]
    ]
    addresses: dict[str, int] = {}
    for one in all_of:
        for entry in one["addresses"]:
            where = entry["address"]
            addresses[where] = addresses.get(where, 0) + entry["connections"]
    ends = [one["certificate_ends"] for one in all_of if one["certificate_ends"] is not None]
    return {
        "version": first["version"],
        "pid": first["pid"],
        "time": max(one["time"] for one in all_of),
        "started": min(one["started"] for one in all_of),
        "uptime": max(one["uptime"] for one in all_of),
        "running": all(one["running"] for one in all_of),
        "connections": {
            "open": sum(one["connections"]["open"] for one in all_of),
            "limit": first["connections"]["limit"],
            "refused": _sums(one["connections"]["refused"] for one in all_of),
        },
        "bytes": _sums(one["bytes"] for one in all_of),
        "requests": _sums(one["requests"] for one in all_of),
        "figures": _sums(one["figures"] for one in all_of),
        "transfers": nlargest(TRANSFERS_MOST, transfers, key=lambda one: int(one["sent"])),
        "addresses": [
            {"address": where, "connections": count}
            for where, count in nlargest(ADDRESSES_MOST, addresses.items(), key=lambda one: one[1])
        ],
        "limits": first["limits"],
        "ports": sorted({port for one in all_of for port in one["ports"]}),
        "certificate_ends": min(ends) if ends else None,
        "processes": {
            process: {**{name: one[name] for name in _OF_EACH}, "answers": one.get("answers", True)}
            for process, one in by_process.items()
        },
    }


_NOBODY: Mapping[str, Any] = {
    "version": tcpdl.__version__,
    "pid": 0,
    "time": 0.0,
    "started": 0.0,
    "uptime": 0.0,
    "running": False,
    "connections": {"open": 0, "limit": 0, "refused": {}},
    "bytes": {"sent": 0, "received": 0},
    "requests": {"live": 0, "over": 0},
    "figures": {},
    "transfers": [],
    "addresses": [],
    "limits": {},
    "ports": [],
    "certificate_ends": None,
}
"""What is told where no process has said anything."""

_OF_EACH = ("pid", "uptime", "running", "connections", "bytes", "requests", "figures")


def _sums(mappings: Iterator[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for mapping in mappings:
        for name, value in mapping.items():
            total[name] = total.get(name, 0) + value
    return total


def _transfers(daemon: Daemon) -> Iterator[dict[str, Any]]:
    now = daemon.deadlines.now()
    live = daemon.transfers.live
    oldest = [transfer for transfer, _ in zip(live.values(), range(_PART), strict=False)]
    for transfer in nlargest(TRANSFERS_MOST, oldest, key=_sent):
        seconds = max(now - transfer.began, 0.0)
        sent = transfer.sent
        yield {
            "number": transfer.number,
            "peer": transfer.peer,
            "user": None if transfer.user is None else printable(transfer.user, 64),
            "dialect": transfer.dialect,
            "secure": transfer.secure,
            "what": transfer.what,
            "span": transfer.span,
            "size": transfer.size,
            "sent": sent,
            "seconds": seconds,
            "rate": sent / seconds if seconds > 0 else 0.0,
        }


def _sent(transfer: Transfer) -> int:
    return transfer.sent


def _addresses(daemon: Daemon) -> Iterator[dict[str, Any]]:
    for address in nlargest(ADDRESSES_MOST, daemon.crowd.addresses(), key=_connections_of):
        yield {"address": where(address), "connections": address.connections}


def _connections_of(address: Address) -> int:
    return address.connections


def where(address: Address) -> str:
    """An address, or the network that counts as one, for people."""
    if not address.key:
        return "Unix sockets"
    if len(address.key) == 4:
        return str(IPv4Address(address.key))
    return str(IPv6Network((address.key.ljust(16, b"\0"), 8 * len(address.key))))


def _limits(daemon: Daemon) -> dict[str, Any]:
    limits, times = daemon.crowd.limits, daemon.deadlines.times
    return {
        "connections": limits.connections,
        "connections_per_address": limits.per_address,
        "connections_per_network": limits.per_network,
        "request_seconds": times.request,
        "idle_seconds": times.idle,
        "min_rate": times.pace.rate,
        "stall_seconds": times.pace.seconds,
    }


def _ports(daemon: Daemon) -> Iterator[str]:
    for service in daemon:
        if isinstance(service, Listening) and service.port is not None:
            yield _port(service.port.getHost())


def _port(address: object) -> str:
    if isinstance(address, UNIXAddress):
        return f"unix:{printable(address.name or b'')}"
    return peer_name(address)
