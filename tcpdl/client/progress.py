"""A line on the terminal that says how far a download is. Imports rich, where it is installed."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Any, TextIO

from tcpdl.wire.text import visible

INTERVAL = 0.2
"""Seconds between two updates of the line."""

PATIENCE = 0.5
"""Seconds before anything is shown: what is over sooner needs no line."""


class ProgressLine:
    """Shows bytes, rate and time left on `stream` if that is a terminal, and nothing elsewhere."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        """`label` says what is downloaded; it is shown as it is, so make it printable before."""
        self._stream = sys.stderr if stream is None else stream
        self._label = label
        self.on = self._stream.isatty()
        self._began = self._shown = time.monotonic()
        self._bytes = 0
        self._total: int | None = None
        self._there = 0
        self._bar: Any = None
        self._written = False

    def begun(self, total: int, there: int) -> None:
        """`total` bytes make it complete, of which so many are `there`."""
        self._total, self._there = total, there

    def __call__(self, count: int) -> None:
        """`count` more bytes have come."""
        self._bytes += count
        now = time.monotonic()
        if self.on and now - self._began >= PATIENCE and now - self._shown >= INTERVAL:
            self._shown = now
            self._show(now)

    def say(self, text: str) -> None:
        """Put a line of `text` above this one."""
        text = visible(text)
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, emoji=False)
            return
        self._write(f"\r\x1b[K{text}\n" if self._written else f"{text}\n")

    def close(self, last: str = "") -> None:
        """The download is over, one way or the other; `last` is what to say of it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif self._written:
            self._write("\r\x1b[K")
        if self.on and last:
            self._write(f"{last}\n")

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a line that cannot be shown is no reason to end a download
            self._stream.write(text)
            self._stream.flush()

    def _show(self, now: float) -> None:
        if not self._written and self._bar is None:
            self._bar = _bar(self._label, self._stream)
        rate = self._bytes / max(now - self._began, 0.001)
        there = self._there + self._bytes
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=there, total=self._total)
            return
        parts = [f"{human(there)}B", f"{human(rate)}B/s"]
        if self._total:
            left = max(self._total - there, 0)
            parts[0] += f" of {human(self._total)}B"
            parts.append(f"{left / max(rate, 1):.0f} s left")
        self._written = True
        self._write(f"\r\x1b[K{self._label}: {', '.join(parts)}")


def _bar(label: str, stream: TextIO) -> Any:
    """A bar of rich, if it is there. It takes a while to import, so only slow downloads get one."""
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        return None
    bar = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
    )
    bar.add_task(label, total=None)
    bar.start()
    return bar


def human(number: float) -> str:
    """`number` with three figures and a binary prefix: `12.3 Mi`."""
    for prefix in ("", "Ki", "Mi", "Gi"):
        if number < 1000:
            return f"{number:.3g} {prefix}"
        number /= 1024
    return f"{number:.3g} Ti"
