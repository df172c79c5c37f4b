"""What is believed of what a process says that it is at. Imports `wire`. Pure.

It may be somebody else who speaks for it: what `admin.status` adds up, and what is shown, has the
form of what `daemon_status` gives, whatever was said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tcpdl.wire.text import visible

ENTRIES_MOST = 1000
"""Of a list, or of figures under names."""

TEXT_MOST = 8192
"""Characters of a text."""

NUMBER_MOST = 1 << 63

_Check = Callable[[Any], Any]


def checked_status(status: Any) -> dict[str, Any]:
    """What `daemon_status` has said in another process, as it is believed here; what is unknown is
    left out. Raises `KeyError`, `TypeError` and `ValueError` if it is none."""
    return _fields(status, _STATUS)


def _fields(value: Any, checks: Mapping[str, _Check]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("it is no object")
    return {name: check(value[name]) for name, check in checks.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("it is no text")
    if len(value) > TEXT_MOST:
        raise ValueError("a text is too long")
    return visible(value)


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("it is no number")
    if not -NUMBER_MOST <= value <= NUMBER_MOST:
        raise ValueError("a number is too large, or none")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("it is neither true nor false")
    return value


def _figures(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("it is no object")
    if len(value) > ENTRIES_MOST:
        raise ValueError("there are too many figures")
    return {_text(name): _number(one) for name, one in value.items()}


def _maybe(check: _Check) -> _Check:
    return lambda value: None if value is None else check(value)


def _each(check: _Check) -> _Check:
    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise TypeError("it is no list")
        if len(value) > ENTRIES_MOST:
            raise ValueError("a list is too long")
        return [check(one) for one in value]

    return checked


def _of(**checks: _Check) -> _Check:
    return lambda value: _fields(value, checks)


_STATUS: Mapping[str, _Check] = {
    "version": _text,
    **dict.fromkeys(("pid", "time", "started", "uptime"), _number),
    "running": _flag,
    "connections": _of(open=_number, limit=_number, refused=_figures),
    **dict.fromkeys(("bytes", "requests", "figures", "limits"), _figures),
    "transfers": _each(
        _of(
            **dict.fromkeys(("number", "sent", "seconds", "rate"), _number),
            **dict.fromkeys(("peer", "dialect", "what"), _text),
            secure=_flag,
            user=_maybe(_text),
            size=_maybe(_number),
            span=_maybe(_each(_number)),
        )
    ),
    "addresses": _each(_of(address=_text, connections=_number)),
    "ports": _each(_text),
    "certificate_ends": _maybe(_number),
}
