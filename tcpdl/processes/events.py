"""The log of a worker, on its way to that of the parent. Imports the channel, `wire` and Twisted.

An event is written out by the worker, and becomes one of the parent's with the same text, level,
namespace and time, and with those of its values that are simple. So whatever observes the parent's
log, observes that of all workers. What comes from a worker is checked: it may be somebody else who
speaks for it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from zope.interface import implementer

from tcpdl.processes.channel import Channel
from tcpdl.wire.text import visible

WAITING_MOST = 1000
"""Events that wait for the parent to read what it was told. More are counted only."""

TEXT_MOST = 256 << 10
"""Characters of an event's text: more than a batch of the access log has."""

NAME_MOST = 64
VALUE_MOST = 4096
VALUES_MOST = 32
"""Characters of the name of a value, and of one that is text; and how many there may be."""

_OF_TWISTED = frozenset(("failure", "format", "isError", "message", "system", "time", "why"))
"""What Twisted's old observers, as that for syslog, take for parts of the event itself."""

TIME_MOST = 1 << 33
"""The time of an event, in seconds since 1970: later ones are no dates everywhere."""


@implementer(ILogObserver)
class Sender:
    """Observes the log of a worker, and tells the parent."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: deque[dict[str, Any]] = deque()
        self._lost = 0
        channel.on_idle = self.flush

    def __call__(self, event: LogEvent) -> None:
        content = packed(event)
        if self._channel.open and not self._channel.busy:
            self._channel.tell("log", **content)
        elif len(self._waiting) < WAITING_MOST:
            self._waiting.append(content)
        else:
            self._lost += 1

    def flush(self) -> None:
        """Tell what has waited."""
        channel = self._channel
        while self._waiting and channel.open and not channel.busy:
            channel.tell("log", **self._waiting.popleft())
        if self._lost and not self._waiting:
            lost, self._lost = self._lost, 0
            self(
                {
                    "log_format": "{lost} lines of this log were lost: the parent was too slow",
                    "lost": lost,
                    "log_level": LogLevel.warn,
                    "log_namespace": __name__,
                    "log_time": time.time(),
                }
            )


def packed(event: LogEvent) -> dict[str, Any]:
    """`event` as the values of a message."""
    text = eventAsText(event, includeTraceback=True, includeTimestamp=False, includeSystem=False)
    level = event.get("log_level")
    return {
        "text": text[:TEXT_MOST],
        "level": level.name if level is not None else "info",
        "namespace": str(event.get("log_namespace", "-")),
        "system": str(event.get("log_system") or ""),
        "time": event.get("log_time", 0.0),
        "values": {
            name: value
            for name, value in list(event.items())[: 2 * VALUES_MOST]
            if _is_ours(name) and _is_simple(value)
        },
    }


def unpacked(content: dict[str, Any], worker: str, pid: int) -> LogEvent:
    """The event that a worker has told of. Raises an exception if it is none."""
    text, namespace, system = content["text"], content["namespace"], content["system"]
    when, values = float(content["time"]), content["values"]
    level = LogLevel.levelWithName(content["level"])
    if not (all(isinstance(one, str) for one in (text, namespace, system))):
        raise TypeError("an event says what it is in text")
    if len(text) > TEXT_MOST or len(values) > 2 * VALUES_MOST:
        raise ValueError("an event is too large")
    if not 0 <= when <= TIME_MOST:
        raise ValueError("an event has a time")
    lines = [visible(line) for line in text.expandtabs(4).split("\n")]
    namespace = visible(namespace[:NAME_MOST])
    system = visible(system[:NAME_MOST]) or f"{namespace}#{level.name}"
    event: LogEvent = {
        name: value for name, value in values.items() if _is_ours(name) and _is_simple(value)
    }
    event.update(
        log_format="{log_text}",
        log_text="\n".join(lines),
        log_level=level,
        log_namespace=namespace,
        log_time=when,
        log_system=f"{worker} {system}",
        worker=worker,
        worker_pid=pid,
    )
    return event


def _is_ours(name: object) -> bool:
    return (
        isinstance(name, str)
        and len(name) <= NAME_MOST
        and name.isidentifier()
        and not name.startswith("log_")
        and name not in _OF_TWISTED
    )


def _is_simple(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= VALUE_MOST
    return value is None or isinstance(value, (bool, int, float))
