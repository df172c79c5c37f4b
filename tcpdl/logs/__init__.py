"""What the daemon writes of what it does: its log, and a line for each answer.

`twistd --logger tcpdl.logs.json` has twistd log as `tcpdl serve --log-format json` does; `text` and
`journald` are the others. They write to standard output, as twistd does in the foreground.
"""

from __future__ import annotations

from twisted.logger import ILogObserver

from tcpdl.logs.observers import observer

__all__ = ["journald", "json", "text"]


def text() -> ILogObserver:
    """Writes the log as text."""
    return observer(1, "text")


def json() -> ILogObserver:
    """Writes the log as objects of JSON, one in a line."""
    return observer(1, "json")


def journald() -> ILogObserver:
    """Writes the log for systemd's journal."""
    return observer(1, "journald")
