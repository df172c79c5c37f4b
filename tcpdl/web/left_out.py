"""What is in a folder and not in what is sent of it. Pure; imports `tcpdl.wire`."""

from __future__ import annotations

from tcpdl.wire.names import MAX_NAME
from tcpdl.wire.text import printable

BYTES_MOST = 1024 * 1024
"""Bytes of what is said of them. Of what comes then only the number is said: a folder may hold a
million names that may not be read."""


class LeftOut:
    """Names with the reasons why they are left out, to be told once all else is sent."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._room = BYTES_MOST
        self._more = 0

    def add(self, name: bytes, why: str) -> None:
        """Take a note of `name`; with no name, of the folder itself."""
        line = f"{printable(name or b'.', MAX_NAME)}: {printable(why)}"
        size = len(line.encode()) + 1
        if self._more or size > self._room:
            self._more += 1
        else:
            self._room -= size
            self._lines.append(line)

    def lines(self) -> list[str]:
        """A line for each, fit for a terminal, and one that says how many more there are."""
        more = [f"... and {self._more} more"] if self._more else []
        return self._lines + more
