"""A line for each answer: what is written of a transfer that has ended.

Imports `wire` and `server.transfers`. Most of a line is the same for all answers on a connection,
or for all requests for one file, and is kept: thousands are made in a second. docs/observing.md
has the formats.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tcpdl.server.transfers import Transfer, shown
from tcpdl.wire.text import clipped, printable

USER_MOST = 128
AGENT_MOST = 160
WHY_MOST = 256
"""Bytes of each that come into a line, which has less than 4096 for all of it: as many as go into a
pipe at once."""

Format = Callable[[Transfer, float], str]
"""A line, without its end, of a transfer; and what is to be added to its times, which makes them
seconds since 1970."""


def as_text(transfer: Transfer, offset: float) -> str:
    """As pairs of a key and a value."""
    ended = transfer.ended
    when = ended + offset
    whole = int(when)
    taken = ended - transfer.began
    line = (
        f"time={_date(whole)}.{int((when - whole) * 1000):03}Z outcome={transfer.outcome} "
        f"sent={transfer.counted} seconds={f'{taken:.3f}' if taken else '0.000'} "
    )
    about = (
        transfer.peer,
        transfer.dialect,
        transfer.secure,
        transfer.user,
        transfer.method,
        transfer.status,
        transfer.asked,
    )
    if transfer.size is None and transfer.span is None and not transfer.why:
        return line + _all_about(transfer.agent, *about)
    line += _about(*about)
    if transfer.span is not None:
        line += f" range={_span(transfer)}"
    if transfer.size is not None:
        line += f" size={transfer.size}"
    line += _agent_text(transfer.agent)
    if transfer.why:
        line += f" why={_quoted(_said(transfer.why, WHY_MOST))}"
    return line


def as_json(transfer: Transfer, offset: float) -> str:
    """As an object of JSON."""
    host, port = _host_and_port(transfer.peer)
    line: dict[str, Any] = {
        "time": _utc(transfer.ended + offset),
        "outcome": transfer.outcome,
        "sent": transfer.counted,
        "seconds": round(transfer.ended - transfer.began, 3),
        "client": host,
        "port": port,
        "dialect": None if transfer.dialect == "-" else transfer.dialect,
        "tls": transfer.secure,
        "user": None if transfer.user is None else _said(transfer.user, USER_MOST),
        "method": transfer.method or None,
        "status": transfer.status or None,
        "name": shown(transfer.asked),
    }
    if transfer.span is not None:
        line["range"] = _span(transfer)
    if transfer.size is not None:
        line["size"] = transfer.size
    if transfer.agent is not None:
        line["agent"] = _said(transfer.agent, AGENT_MOST)
    if transfer.why:
        line["why"] = _said(transfer.why, WHY_MOST)
    return json.dumps(line, ensure_ascii=False)


FORMATS: dict[str, Format] = {"text": as_text, "json": as_json}


def _utc(seconds: float) -> str:
    whole = int(seconds)
    return f"{_date(whole)}.{int((seconds - whole) * 1000):03}Z"


@lru_cache(maxsize=4)
def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _span(transfer: Transfer) -> str:
    """The first byte and the last, as in HTTP."""
    assert transfer.span is not None
    first, past = transfer.span
    return f"{first}-{past - 1}"


@lru_cache(maxsize=256)  # of which each may hold 16 KiB, if clients want it so
def _all_about(agent: bytes | None, *about: Any) -> str:
    """What is the same each time that a client asks for the same small thing."""
    return _about(*about) + _agent_text(agent)


def _about(
    peer: str,
    dialect: str,
    secure: bool,
    user: str | None,
    method: str,
    status: int,
    asked: bytes,
) -> str:
    return (
        f"{_who_text(peer, dialect, secure, user)} method={method or '-'} status={status or '-'} "
        f"name={_quoted(shown(asked))}"
    )


@lru_cache(maxsize=1024)
def _who_text(peer: str, dialect: str, secure: bool, user: str | None) -> str:
    host, port = _host_and_port(peer)
    # Blanks would move what stands behind for whoever counts columns.
    name = "-" if user is None else _quoted(_said(user, USER_MOST)).replace(" ", r"\x20")
    tls = "yes" if secure else "no"
    shown_port = "-" if port is None else port
    return f"client={host} port={shown_port} dialect={dialect} tls={tls} user={name}"


@lru_cache(maxsize=256)
def _agent_text(agent: bytes | None) -> str:
    return "" if agent is None else f" agent={_quoted(_said(agent, AGENT_MOST))}"


@lru_cache(maxsize=1024)
def _host_and_port(peer: str) -> tuple[str, int | None]:
    host, colon, port = peer.rpartition(":")
    if colon and port.isdecimal():
        return host.removeprefix("[").removesuffix("]").replace(" ", r"\x20"), int(port)
    return "unix" if peer == "a Unix socket" else peer.replace(" ", r"\x20"), None


def _said(text: bytes | str, most: int) -> str:
    return clipped(printable(text, most), most)


def _quoted(text: str) -> str:
    """What is printable, in quotes. What is escaped in it stays so."""
    return '"' + text.replace('"', r"\"") + '"'
