"""What descriptions of endpoints may say: those of Twisted's that people use. Imports Twisted, and
the module beside it.

Twisted takes the parts of a description for the arguments of a function, and what it says of one
that is wrong is about that function. Here they are held to a table first. Kinds that plugins add
are not in it, and are left to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from twisted.python import usage

from tcpdl.options.reading import number

Read = Callable[[str, str], object]
"""Is given what to call the option, and a value of it; raises `usage.UsageError`."""

_PARTS = re.compile(r"(?<!\\):")
_NAMED = re.compile(r"((?:[^\\=]|\\.)*)=(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _number(what: str, most: int, least: int = 0) -> Read:
    return lambda option, value: number(option, what, most, least)(value)


def _mode(option: str, value: str) -> None:
    if not re.fullmatch("[0-7]{1,4}", value):
        raise usage.UsageError(f"{option}: {value!r} is no mode such as 660, in octal digits")


def _switch(option: str, value: str) -> None:
    if value not in ("0", "1"):
        raise usage.UsageError(f"{option}: {value!r} is neither 0 nor 1")


def _family(option: str, value: str) -> None:
    if value not in ("INET", "INET6", "UNIX"):
        raise usage.UsageError(f"{option}: choose the domain INET, INET6 or UNIX, not {value!r}")


def _anything(option: str, value: str) -> None:
    """Whoever uses it says what is wrong with it."""


class _Kind(NamedTuple):
    fields: Mapping[str, Read]
    """What may stand in it, in the order of what has no name."""
    written: str


_PORT = _number("a port number", 65535)
_BACKLOG = _number("a number of connections", 2**31 - 1, 1)
_TCP = {"port": _PORT, "interface": _anything, "backlog": _BACKLOG}
_KINDS = {
    "tcp": _Kind(_TCP, "tcp:PORT[:interface=ADDR][:backlog=N]"),
    "tcp6": _Kind(_TCP, "tcp6:PORT[:interface=ADDR][:backlog=N]"),
    "unix": _Kind(
        {
            "address": _anything,
            "mode": _mode,
            "backlog": _BACKLOG,
            "lockfile": _switch,
        },
        "unix:PATH[:mode=OCTAL][:backlog=N][:lockfile=0]",
    ),
    "ssl": _Kind(
        {
            "port": _PORT,
            "privateKey": _anything,
            "certKey": _anything,
            "sslmethod": _anything,
            "interface": _anything,
            "backlog": _BACKLOG,
            "extraCertChain": _anything,
            "dhParameters": _anything,
        },
        "ssl:PORT:privateKey=FILE:certKey=FILE[:interface=ADDR], or tls:PORT with --tls-cert",
    ),
    "systemd": _Kind(
        {"domain": _family, "index": _number("a whole number", 2**16), "name": _anything},
        "systemd:domain=INET:index=N, or systemd:domain=INET:name=NAME",
    ),
}
_FOR_COLONS = r"with \: for each colon within a value"


def check_endpoint(description: str) -> None:
    """Raise `usage.UsageError` if it is clear that the description, given to --listen, is wrong."""
    option = f"--listen {description}"
    name, fields = _parsed(description)
    kind = _KINDS.get(name)
    if kind is None:
        return
    write = f"write {kind.written}"
    given: dict[str, str] = {}
    named = False
    for place, (key, value) in enumerate(fields):
        named = named or key is not None
        if key is None and (named or place >= len(kind.fields)):
            raise usage.UsageError(f"{option}: {value!r} has no name; {write}, {_FOR_COLONS}")
        key = [*kind.fields][place] if key is None else key
        if key not in kind.fields:
            raise usage.UsageError(f"{option}: {name} has no {key!r}; {write}")
        if key in given:
            raise usage.UsageError(f"{option}: {key} is given twice; {write}")
        kind.fields[key](option, value)
        given[key] = value
    first = next(iter(kind.fields))
    if not given.get(first):
        raise usage.UsageError(f"{option}: it names no {_CALLED[first]}; {write}")
    if name == "systemd" and ("index" in given) is ("name" in given):
        raise usage.UsageError(f"{option}: it names no socket, or two; {write}")


_CALLED = {"port": "port", "address": "socket", "domain": "domain"}


def what_is_wrong(description: str, error: Exception) -> str:
    """What is to be said of a description that cannot be used, since this was raised for it."""
    name, _ = _parsed(description)
    if name == "systemd":
        return "systemd has handed over no such socket; see the unit's .socket"
    if isinstance(error, OSError) and error.filename is not None:
        why = f"{error.filename!r} cannot be read: {error.strerror}"
        return f"{why}; write {_KINDS[name].written}" if name in _KINDS else why
    if isinstance(error, ValueError) and str(error).startswith("Unknown endpoint type"):
        meant = f"tcp:{name}" if name.isdigit() else "tcp:, tcp6:, tls:, unix: or systemd:"
        return f"there is no kind of endpoint {name!r}; write {meant}"
    if name == "ssl":
        return f"its key and certificate are of no use: {error}; {_KINDS[name].written} names them"
    return f"what reads {name!r} endpoints says: {str(error) or type(error).__name__}"


def _parsed(description: str) -> tuple[str, list[tuple[str | None, str]]]:
    """The kind of an endpoint, and its parts, with their names if they have some."""
    name, *parts = _PARTS.split(description)
    while name == "haproxy" and parts:  # it stands before another one
        name, *parts = parts
    return name, [*map(_field, parts)]


def _field(part: str) -> tuple[str | None, str]:
    found = _NAMED.fullmatch(part)
    if found is None:
        return None, _plain(part)
    return _plain(found[1]), _plain(found[2])


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
