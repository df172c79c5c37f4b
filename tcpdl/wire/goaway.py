"""How a server says, in the native dialect, that a connection ends soon. Pure; imports nothing of
ours.

PROTOCOL.md section 4.17. `wire.native` has the other messages, and says what all have in common.
"""

from __future__ import annotations

from typing import NamedTuple

BODY_MOST = 256
"""Bytes that later versions may say more in."""


class GoAway(NamedTuple):
    """The requests that the server had got are answered; others are for another connection."""

    id: int = 0
    """Means nothing: 0."""

    def body(self) -> bytes:
        return b""

    @classmethod
    def parse(cls, number: int, body: bytes) -> GoAway:
        return cls(number)
