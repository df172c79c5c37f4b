"""What a download came to, in whatever dialect. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Begun = Callable[[int, int], None]
"""Is told of the size of a file, and of how much of it is there already."""

Note = Callable[[str], None]
"""Is told what a person may want to know."""


class Fetched(NamedTuple):
    """What a download came to."""

    size: int
    """Bytes of the file."""
    mtime_ns: int = 0
    """When it was last changed on the server, in nanoseconds since 1970; 0 if that is unknown."""
    mode: int = 0
    """Its permission bits there; 0 if they are unknown."""
    received: int = 0
    """Bytes that crossed the wire."""
    kept: int = 0
    """Bytes that were there already, and right."""
    verified: bool = True
    """Every byte was checked: against the server's digests, or those of the whole file."""
    unchanged: bool = False
    """The file was there, complete, under its final name."""
    seconds: float = 0.0
    limited_by: str = ""
    """What kept it from being faster, in words."""


def say_nothing(text: str) -> None:
    """Nobody wants to know."""


def show_nothing(count: int) -> None:
    """Show no progress."""


def begin_nothing(size: int, there: int) -> None:
    """Nobody wants to know how much is to come."""
