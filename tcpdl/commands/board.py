"""What a daemon is at, as lines and tables for people. Imports `tcpdl.client` and `tcpdl.wire`.

Pure. What it is given was told by a daemon: all texts are made fit to be shown here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tcpdl.client.progress import human
from tcpdl.wire.text import visible

Status = Mapping[str, Any]

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Table(NamedTuple):
    """A table."""

    title: str
    columns: tuple[str, ...]
    """Their names; those of numbers begin with a `>`."""
    rows: Sequence[tuple[str, ...]]


class Board(NamedTuple):
    """All that is shown."""

    lines: list[str]
    tables: list[Table]


def board(status: Status, before: Status | None = None) -> Board:
    """What `status` says; with another one from `before`, at what rates just now, and else since
    the beginning. Raises `KeyError`, `TypeError` and `ValueError` if it says something else."""
    rates = _Rates(status, before)
    tables = [_workers(status, rates), _transfers(status, rates), _addresses(status)]
    lines = [visible(line) for line in _lines(status, rates)]
    return Board(lines, [_fit(table) for table in tables if table.rows])


def plain(shown: Board) -> Iterator[str]:
    """The same as lines of text."""
    yield from shown.lines
    for table in shown.tables:
        yield ""
        yield table.title
        heads = [column.lstrip(">") for column in table.columns]
        widths = [max(map(len, column)) for column in zip(heads, *table.rows, strict=True)]
        for row in (heads, *table.rows):
            cells = [
                cell.rjust(width) if column.startswith(">") else cell.ljust(width)
                for cell, width, column in zip(row, widths, table.columns, strict=True)
            ]
            yield f"  {'  '.join(cells)}".rstrip()


class _Rates:
    """Bytes a second, of what is in one status and, perhaps, in one before."""

    def __init__(self, status: Status, before: Status | None) -> None:
        self._seconds = float(status["time"]) - float(before["time"]) if before else 0.0
        self._before = before if before and self._seconds > 0 else None
        transfers = self._before["transfers"] if self._before else ()
        self._sent = {_name(transfer): int(transfer["sent"]) for transfer in transfers}

    def of(self, now: Status, before: Status | None, name: str) -> float:
        """Of the bytes that are counted under `name`."""
        if before is None:
            return int(now["bytes"][name]) / max(float(now["uptime"]), 1.0)
        # A worker may have been replaced: it counts anew.
        return max(int(now["bytes"][name]) - int(before["bytes"][name]), 0) / self._seconds

    def total(self, status: Status, name: str) -> float:
        return self.of(status, self._before, name)

    def worker(self, process: str, now: Status, name: str) -> float:
        others = self._before.get("processes", {}) if self._before else {}
        return self.of(now, others.get(process), name)

    def transfer(self, transfer: Status) -> float:
        sent = self._sent.get(_name(transfer))
        if sent is None:
            return float(transfer["rate"])
        return max(int(transfer["sent"]) - sent, 0) / self._seconds


def _name(transfer: Status) -> tuple[object, object]:
    return transfer.get("process"), transfer["number"]


def _lines(status: Status, rates: _Rates) -> Iterator[str]:
    health = str(status.get("health", ""))
    if status.get("healthy") is not True:
        health = f"NOT WELL: {health}"
    yield f"tcpdl {status['version']}, up {duration(status['uptime'])}: {health}"
    connections, requests = status["connections"], status["requests"]
    most = f" of {connections['limit']}" if connections["limit"] else ""
    yield (
        f"{connections['open']}{most} connections, {requests['live']} answers under way, "
        f"{requests['over']} over"
    )
    yield ", ".join(
        f"{name} {human(status['bytes'][name])}B ({human(rates.total(status, name))}B/s)"
        for name in ("sent", "received")
    )
    refused = [f"{count} by {limit}" for limit, count in connections["refused"].items() if count]
    if refused:
        yield f"no room for connections: {', '.join(refused)}"
    if status["ports"]:
        yield f"listens on {', '.join(map(str, status['ports']))}"
    ends = status["certificate_ends"]
    if ends is not None:
        left = float(ends) - float(status["time"])
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(float(ends)))
        yield f"the certificate ends {when}" + (f", in {duration(left)}" if left > 0 else ": ENDED")


def _workers(status: Status, rates: _Rates) -> Table:
    columns = ("worker", ">pid", ">up", ">connections", ">answers", ">memory", ">cpu", ">sent/s")
    rows = [
        (
            str(process) if one.get("answers", True) else f"{process}: no answer",
            str(one["pid"]),
            duration(one["uptime"]),
            str(one["connections"]["open"]),
            str(one["requests"]["live"]),
            f"{human(one['figures'].get('memory', 0))}B",
            f"{one['figures'].get('cpu', 0):.0f} s",
            f"{human(rates.worker(process, one, 'sent'))}B",
        )
        for process, one in status.get("processes", {}).items()
    ]
    return Table("Workers", columns, rows)


def _transfers(status: Status, rates: _Rates) -> Table:
    columns = ("who", "login", "dialect", ">done", ">of", ">%", ">rate", ">since", "what")
    rows = [
        (
            str(one["peer"]),
            str(one["user"] or "-"),
            f"{one['dialect']}{' (TLS)' if one['secure'] else ''}",
            f"{human(one['sent'])}B",
            *_share(one),
            f"{human(rates.transfer(one))}B/s",
            duration(one["seconds"]),
            str(one["what"]),
        )
        for one in status["transfers"]
    ]
    more = int(status["requests"]["live"]) - len(rows)
    title = f"Transfers (and {more} more)" if more > 0 else "Transfers"
    return Table(title, columns, rows)


def _share(transfer: Status) -> tuple[str, str]:
    """What will have been sent in the end, and how much of it was, in percent."""
    span, size = transfer["span"], transfer["size"]
    wanted = span[1] - span[0] if span else size
    if not wanted:
        return "-", "-"
    return f"{human(wanted)}B", f"{100 * transfer['sent'] / wanted:.0f}"


def _addresses(status: Status) -> Table:
    rows = [(str(one["address"]), str(one["connections"])) for one in status["addresses"]]
    return Table("Addresses", ("address", ">connections"), rows)


def _fit(table: Table) -> Table:
    """With texts that are fit to be shown."""
    return table._replace(rows=[tuple(visible(cell) for cell in row) for row in table.rows])


def duration(seconds: float) -> str:
    """A time in its two largest units: `3 d 4 h`."""
    left = max(int(seconds), 0)
    parts: list[str] = []
    for unit, name in _UNITS:
        count, left = divmod(left, unit)
        if parts or count or unit == 1:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])
