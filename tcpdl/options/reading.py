"""Reads what options are given. Imports Twisted only."""

from __future__ import annotations

from collections.abc import Callable

from twisted.python import usage


def number(option: str, what: str, most: int, least: int = 0) -> Callable[[str], int]:
    """What reads a whole number from `least` to `most` given to `option`; `what` says what it is a
    number of. It raises `usage.UsageError`."""

    def coerce(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise usage.UsageError(f"{option}: {text!r} is not {what} from {least} to {most}")
        return int(text)

    return coerce
