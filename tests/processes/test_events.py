"""Tests how a worker's log becomes the parent's."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.logger import Logger, LogLevel, eventAsText, formatEvent

from tcpdl.processes.channel import Channel
from tcpdl.processes.events import WAITING_MOST, Sender, packed, unpacked


def logged(text: str, level: LogLevel = LogLevel.info, **values: Any) -> Any:
    events: list[Any] = []
    Logger("tcpdl.test", observer=events.append).emit(level, text, **values)  # type: ignore[arg-type]
    return events[0]


def passed_on(event: Any) -> Any:
    return unpacked(json.loads(json.dumps(packed(event))), "worker-2", 77)


def test_an_event_arrives_as_it_was() -> None:
    event = logged("{count} of {what!r}", LogLevel.warn, count=3, what="f", thing=object())
    found = passed_on(event)
    assert formatEvent(found) == "3 of 'f'"
    assert found["log_level"] is LogLevel.warn
    assert found["log_namespace"] == "tcpdl.test"
    assert found["log_time"] == event["log_time"]
    assert (found["count"], found["what"]) == (3, "f")
    assert "thing" not in found
    assert (found["worker"], found["worker_pid"]) == ("worker-2", 77)
    assert "[worker-2 tcpdl.test#warn] 3 of 'f'" in eventAsText(found)


def test_a_failure_keeps_its_traceback() -> None:
    events: list[Any] = []
    log = Logger("tcpdl.test", observer=events.append)  # type: ignore[arg-type]
    try:
        raise LookupError("gone")
    except LookupError:
        log.failure("unexpected error")
    text = formatEvent(passed_on(events[0]))
    assert text.startswith("unexpected error\nTraceback")
    assert "LookupError: gone" in text


def test_a_worker_neither_formats_nor_controls_anything() -> None:
    content = packed(logged("x"))
    content["text"] = "{log_time.__class__} \x1b[2J\nsecond\tline"
    content["namespace"] = "\x07name"
    content["system"] = "\r"
    content["values"] = {"log_format": "{y}", "worker": "worker-1", "a b": 1, "x": {"y": 1}, "z": 1}
    content["values"] |= {"format": "%(z)99999999d", "isError": 1}
    found = unpacked(content, "worker-2", 77)
    assert formatEvent(found) == "{log_time.__class__} \\x1b[2J\nsecond  line"
    assert found["log_system"] == "worker-2 \\r"
    assert found["worker"] == "worker-2"
    assert found["z"] == 1
    assert not {"a b", "x", "format", "isError"} & set(found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": None},
        {"text": "x" * (1 << 20)},
        {"level": "dire"},
        {"level": []},
        {"time": "now"},
        {"time": float("nan")},
        {"time": 1e300},
        {"time": -1e300},
        {"namespace": 1},
        {"values": []},
        {"values": {f"v{number}": 1 for number in range(1000)}},
    ],
)
def test_what_is_no_event_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - the channel takes any for nonsense
        unpacked({**packed(logged("x")), **wrong}, "worker-2", 77)


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_whatever_a_worker_says_is_an_event_or_an_error(content: dict[str, Any]) -> None:
    base = packed(logged("x"))
    try:
        event = unpacked({**base, **content}, "worker-2", 77)
    except Exception:  # noqa: BLE001 - the channel takes any for nonsense
        return
    assert all(line.isprintable() for line in eventAsText(event).replace("\t", "").split("\n"))


def test_events_wait_while_the_parent_does_not_read() -> None:
    channel: Any = Channel("the parent")
    sender = Sender(channel)
    for number in range(WAITING_MOST + 5):
        sender(logged("{number}", number=number, log_time=time.time()))
    transport: Any = StringTransport()
    channel.makeConnection(transport)
    assert transport.value() == b""
    sender.flush()
    heard: list[str] = []
    other: Any = Channel("worker-2")
    other.on("log", lambda content: heard.append(content["text"]))
    other.makeConnection(StringTransport())
    other.dataReceived(transport.value())
    assert heard[:WAITING_MOST] == [str(number) for number in range(WAITING_MOST)]
    assert heard[WAITING_MOST:] == ["5 lines of this log were lost: the parent was too slow"]
