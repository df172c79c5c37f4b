"""Options that say how fast the daemon sends. Imports Twisted and `server`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.python import usage

from tcpdl.server.shaping import Rates

_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_RATE = re.compile(r"([0-9]{1,15})(|[kMG]i?|Ki)")

LEAST = 1000
MOST = 10**12
"""Bytes a second that may be chosen as a limit."""


def rate(option: str) -> Callable[[str], int]:
    """What reads the bytes a second given to `option`. It raises `usage.UsageError`."""

    def coerce(text: str) -> int:
        found = _RATE.fullmatch(text)
        number = int(found[1]) * _SUFFIXES.get(found[2], 0) if found else 0
        if not LEAST <= number <= MOST:
            raise usage.UsageError(
                f"{option}: {text!r} is no number of bytes a second from 1k to 1000G "
                "(k, M, G are powers of 1000; Ki, Mi, Gi of 1024)"
            )
        return number

    return coerce


class RateOptions(usage.Options):
    """How fast the daemon sends."""

    optParameters: list[list[Any]] = [
        [
            "max-rate",
            None,
            None,
            "Bytes a second to send, in all, which all addresses share evenly: 50M, 400Ki.",
            rate("--max-rate"),
        ],
        [
            "max-rate-per-address",
            None,
            None,
            "Bytes a second to send to one address, which of IPv6 is a network of 64 bits.",
            rate("--max-rate-per-address"),
        ],
        [
            "max-rate-per-connection",
            None,
            None,
            "Bytes a second to send over one connection.",
            rate("--max-rate-per-connection"),
        ],
    ]

    def rates(self) -> Rates:
        """The limits that were chosen."""
        return Rates(
            self["max-rate"], self["max-rate-per-address"], self["max-rate-per-connection"]
        )
