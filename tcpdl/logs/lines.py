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

from tcpdl.server.transfers import Ended, shown
from tcpdl.wire.text import clipped, printable

USER_MOST = 128
AGENT_MOST = 160
WHY_MOST = 256
"""Bytes of each that come into a line, which has less than 4096 for all of it: as many as go into a
pipe at once."""

WHO_MOST = 1024
"""Clients whose part of a line is kept, as far as they have asked for something lately."""

WHAT_MOST = 256
"""Requests whose part is: each may hold 16 KiB, if clients want it so."""

Format = Callable[[Ended, float], str]
"""A line, without its end, of what has ended, given what is to be added to its times to make them
seconds since 1970."""


def as_text(ended: Ended, offset: float) -> str:
    """As pairs of a key and a value."""
    when, began, outcome, dialect, peer, secure, method = ended[:7]
    asked, user, status, sent, agent, why, span, size = ended[7:]
    line = (
        f"time={_utc(int((when + offset) * 1000))} outcome={outcome} sent={sent} "
        f"seconds={'0.000' if when == began else f'{when - began:.3f}'} "
        f"{_who_text(peer, dialect, secure, user)} "
    )
    if size is None and span is None and not why:
        return line + _what_text(method, status, asked, agent)
    line += _what_text(method, status, asked)
    if span is not None:
        line += f" range={_span(span)}"
    if size is not None:
        line += f" size={size}"
    line += _agent_text(agent)
    if why:
        line += f" why={_quoted(_said(why, WHY_MOST))}"
    return line


def as_json(ended: Ended, offset: float) -> str:
    """As an object of JSON."""
    when, began, outcome, dialect, peer, secure, method = ended[:7]
    asked, user, status, sent, agent, why, span, size = ended[7:]
    line = (
        f'{{"time": "{_utc(int((when + offset) * 1000))}", "outcome": "{outcome}", '
        f'"sent": {sent}, "seconds": {0.0 if when == began else round(when - began, 3)}, '
        f"{_who_json(peer, dialect, secure, user)}, "
    )
    if size is None and span is None and not why:
        return line + _what_json(method, status, asked, agent) + "}"
    line += _what_json(method, status, asked)
    if span is not None:
        line += f', "range": "{_span(span)}"'
    if size is not None:
        line += f', "size": {size}'
    line += _agent_json(agent)
    if why:
        line += f', "why": {_string(_said(why, WHY_MOST))}'
    return line + "}"


_string: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode
"""A string of JSON."""

FORMATS: dict[str, Format] = {"text": as_text, "json": as_json}


@lru_cache(maxsize=4)
def _utc(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03}Z"


def _span(span: tuple[int, int]) -> str:
    """The first byte and the last, as in HTTP."""
    first, past = span
    return f"{first}-{past - 1}"


# What all answers on a connection have in common, and all to requests for one thing.


@lru_cache(maxsize=WHO_MOST)
def _who_text(peer: str, dialect: str, secure: bool, user: str | None) -> str:
    host, port = _host_and_port(peer)
    # Blanks would move what stands behind for whoever counts columns.
    name = "-" if user is None else _quoted(_said(user, USER_MOST)).replace(" ", r"\x20")
    tls = "yes" if secure else "no"
    shown_port = "-" if port is None else port
    return f"client={host} port={shown_port} dialect={dialect} tls={tls} user={name}"


@lru_cache(maxsize=WHO_MOST)
def _who_json(peer: str, dialect: str, secure: bool, user: str | None) -> str:
    host, port = _host_and_port(peer)
    name = "null" if user is None else _string(_said(user, USER_MOST))
    tls = "true" if secure else "false"
    shown_port = "null" if port is None else port
    spoken = "null" if dialect == "-" else _string(dialect)
    return (
        f'"client": {_string(host)}, "port": {shown_port}, "dialect": {spoken}, '
        f'"tls": {tls}, "user": {name}'
    )


@lru_cache(maxsize=WHAT_MOST)
def _what_text(method: str, status: int, asked: bytes, agent: bytes | None = None) -> str:
    what = f"method={method or '-'} status={status or '-'} name={_quoted(shown(asked))}"
    return what + _agent_text(agent)


@lru_cache(maxsize=WHAT_MOST)
def _what_json(method: str, status: int, asked: bytes, agent: bytes | None = None) -> str:
    verb = _string(method) if method else "null"
    what = f'"method": {verb}, "status": {status or "null"}, "name": {_string(shown(asked))}'
    return what + _agent_json(agent)


@lru_cache(maxsize=256)
def _agent_text(agent: bytes | None) -> str:
    return "" if agent is None else f" agent={_quoted(_said(agent, AGENT_MOST))}"


@lru_cache(maxsize=256)
def _agent_json(agent: bytes | None) -> str:
    return "" if agent is None else f', "agent": {_string(_said(agent, AGENT_MOST))}'


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
