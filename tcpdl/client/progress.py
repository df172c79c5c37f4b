"""A line on the terminal that says how far a download is. Imports nothing of ours."""

from __future__ import annotations

import sys
import time
from typing import TextIO

INTERVAL = 0.2
"""Seconds between two updates of the line."""


class ProgressLine:
    """Shows bytes and rate on `stream` if that is a terminal, and nothing elsewhere."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        """`label` says what is downloaded; it is shown as it is, so make it printable before."""
        self._stream = sys.stderr if stream is None else stream
        self._label = label
        self._on = self._stream.isatty()
        self._began = self._shown = time.monotonic()
        self._bytes = 0

    def __call__(self, count: int) -> None:
        """`count` more bytes have come."""
        self._bytes += count
        if self._on and (now := time.monotonic()) - self._shown >= INTERVAL:
            self._shown = now
            self._show("")

    def close(self) -> None:
        """The download is over, one way or the other."""
        if self._on:
            self._show("\n")

    def _show(self, end: str) -> None:
        seconds = max(time.monotonic() - self._began, 0.001)
        rate = human(self._bytes / seconds)
        self._stream.write(f"\r\x1b[K{self._label}: {human(self._bytes)}B, {rate}B/s{end}")
        self._stream.flush()


def human(number: float) -> str:
    """`number` with three figures and a binary prefix: `12.3 Mi`."""
    for prefix in ("", "Ki", "Mi", "Gi"):
        if number < 1000:
            return f"{number:.3g} {prefix}"
        number /= 1024
    return f"{number:.3g} Ti"
