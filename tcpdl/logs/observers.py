"""What writes the daemon's log: as text, as JSON, or for systemd's journal.

Imports Twisted, `wire` and its neighbours. Each event is one line, or one line with others that
belong to it, written with one call; nothing in it controls a terminal, whoever has said it. Events
of workers are those of the parent by then (`processes.events`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
)
from zope.interface import implementer

from tcpdl.logs.access import NAMESPACE
from tcpdl.server.listening import WithoutPorts
from tcpdl.wire.text import visible

LEVELS = ("debug", "info", "warn", "error", "critical")

_PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}
"""Those of syslog, which the journal takes in front of a line: sd-daemon(3)."""

_VALUE_MOST = 4096

Form = Callable[[LogEvent], str]
"""What is written of an event: lines, with their ends."""


def as_text(event: LogEvent) -> str:
    """A line with the time, where it comes from and what it says; more lines begin with a tab."""
    lines = _lines(event)
    if _is_access(event):
        return "".join(f"{line}\n" for line in lines)
    system = visible(str(event.get("log_system") or f"{_namespace(event)}#{_level(event)}"))
    return f"{_utc(event)} [{system}] " + "\n\t".join(lines) + "\n"


def as_json(event: LogEvent) -> str:
    """An object in one line; those of the access log that are objects already stay as they are."""
    lines = _lines(event)
    if _is_access(event):
        return "".join(
            f"{line if line.startswith('{') else _object(event, {'message': line})}\n"
            for line in lines
        )
    more: dict[str, Any] = {"message": lines[0]}
    if len(lines) > 1:
        more["traceback"] = lines[1:]
    for name, value in event.items():
        if not name.startswith("log_") and name not in _OWN and name not in more:
            more[name] = _plain(value)
    return _object(event, more) + "\n"


def as_journal(event: LogEvent) -> str:
    """Lines with their priority, without the time, which the journal has."""
    start = f"<{_PRIORITIES[_level(event)]}>"
    worker = f"{visible(str(event['worker']))}: " if "worker" in event else ""
    return "".join(f"{start}{worker}{line}\n" for line in _lines(event))


FORMS: dict[str, Form] = {"text": as_text, "json": as_json, "journald": as_journal}

_OWN = frozenset(("time", "level", "namespace", "message", "isError", "format", "system", "why"))
"""Names that are ours, or of Twisted's older log, which repeats what is there."""


@implementer(ILogObserver)
class Observer:
    """Writes events to a descriptor."""

    def __init__(self, fd: int, form: Form) -> None:
        self._fd = fd
        self._form = form
        self._torn = False  # what was written last does not end with the end of a line
        self._lost = 0

    def __call__(self, event: LogEvent) -> None:
        text = self._form(event).encode("utf-8", "backslashreplace")
        data = b"\n" + text if self._torn else text
        try:
            while data:
                sent = os.write(self._fd, data)
                self._torn = data[sent - 1 : sent] != b"\n"
                data = data[sent:]
        except OSError as error:
            # Nobody reads it, or the disk is full, and there is nowhere else to say so.
            self._lost += 1
            self._why = error.strerror or str(error)
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self(
                {
                    "log_format": "{lost} events were lost here ({why})",
                    "log_level": LogLevel.warn,
                    "log_namespace": __name__,
                    "log_time": time.time(),
                    "lost": lost,
                    "why": self._why,
                }
            )


@implementer(ILogObserver)
class Log:
    """Writes events to a descriptor, in a form and from a level on that may change."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.write_as("text", "info")

    def write_as(self, form: str, level: str) -> None:
        """In the form and from the level of these names, from now on."""
        self._observer = observer(self._fd, form, level)

    def __call__(self, event: LogEvent) -> None:
        self._observer(event)


def observer(fd: int, form: str, level: str = "info") -> ILogObserver:
    """Writes events from `level` on to `fd`, in the `form` of this name."""
    least = LogLevelFilterPredicate(defaultLogLevel=LogLevel.levelWithName(level))
    found: ILogObserver = FilteringLogObserver(Observer(fd, FORMS[form]), [WithoutPorts(), least])
    return found


def is_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Whether what is written to `fd` goes to systemd's journal, which says so in `environ`."""
    status = os.fstat(fd)
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _lines(event: LogEvent) -> list[str]:
    """What it says, and a traceback, if there is one, without anything that cannot be seen."""
    text = eventAsText(event, includeTraceback=True, includeTimestamp=False, includeSystem=False)
    lines = text.rstrip("\n").expandtabs(4).split("\n")
    return lines if "".join(lines).isprintable() else [visible(line) for line in lines]


def _is_access(event: LogEvent) -> bool:
    return event.get("log_namespace") == NAMESPACE


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    name = getattr(level, "name", "critical" if event.get("isError") else "info")
    return name if name in _PRIORITIES else "info"


def _namespace(event: LogEvent) -> str:
    return visible(str(event.get("log_namespace") or "-"))


def _utc(event: LogEvent) -> str:
    when = event.get("log_time") or 0.0
    whole = int(when)
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{date}.{int((when - whole) * 1000):03}Z"


def _object(event: LogEvent, more: dict[str, Any]) -> str:
    known = {"time": _utc(event), "level": _level(event), "namespace": _namespace(event)}
    return json.dumps({**known, **more}, ensure_ascii=False)


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return visible(str(value)[:_VALUE_MOST])
