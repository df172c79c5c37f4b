"""Tests what is written of an event: in each form, whatever somebody has said in it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, Logger, eventAsJSON, eventFromJSON
from twisted.python.failure import Failure

from tcpdl import logs
from tcpdl.logs.access import NAMESPACE
from tcpdl.logs.observers import FORMS, as_journal, as_json, as_text, is_journal, observer
from tcpdl.processes.events import packed, unpacked


def event_of(level: str = "info", text: str = "{what}", **values: object) -> LogEvent:
    """What a logger makes."""
    events: list[LogEvent] = []
    watch: Any = events.append
    log = Logger("tcpdl.some", observer=watch)
    getattr(log, level)(text, **values)
    (event,) = events
    event["log_time"] = 1_777_889_472.345
    return event


def failure_of() -> LogEvent:
    events: list[LogEvent] = []
    watch: Any = events.append
    log = Logger("tcpdl.some", observer=watch)
    try:
        raise ZeroDivisionError("a\n\x1b[31mb")
    except ZeroDivisionError:
        log.failure("unexpected error while {peer} was served", Failure(), peer="192.0.2.1:1")
    return events[0]


def test_text() -> None:
    assert as_text(event_of(what="a\nb\x1b")) == (
        "2026-05-04T10:11:12.345Z [tcpdl.some#info] a\n\tb\\x1b\n"
    )
    assert "[worker 1]" in as_text({**event_of(what="a"), "log_system": "worker 1"})


def test_json() -> None:
    event = event_of("warn", what="a", count=3, odd=object)
    assert as_json(event).endswith("}\n")
    assert json.loads(as_json(event)) == {
        "time": "2026-05-04T10:11:12.345Z",
        "level": "warn",
        "namespace": "tcpdl.some",
        "message": "a",
        "what": "a",
        "count": 3,
        "odd": "<class 'object'>",
    }


def test_journal() -> None:
    for level, number in (("debug", 7), ("info", 6), ("warn", 4), ("error", 3), ("critical", 2)):
        assert as_journal(event_of(level, what="a\nb")) == f"<{number}>a\n<{number}>b\n"


def test_a_failure() -> None:
    event = failure_of()
    text = as_text(event)
    first, *lines = text.split("\n")
    assert first.endswith("unexpected error while 192.0.2.1:1 was served")
    assert lines.pop() == ""
    assert all(line.startswith("\t") for line in lines)
    assert lines[0] == "\tTraceback (most recent call last):"
    assert r"\x1b[31mb" in text
    found = json.loads(as_json(event))
    assert found["message"] == "unexpected error while 192.0.2.1:1 was served"
    assert found["traceback"][0] == "Traceback (most recent call last):"
    assert found["level"] == "critical"
    assert as_json(event).count("\n") == 1
    assert all(line.startswith("<2>") for line in as_journal(event).split("\n")[:-1])


@pytest.mark.parametrize("form", FORMS)
def test_lines_for_answers_stay_as_they_are(form: str) -> None:
    event = {**event_of(what="time=1\ntime=2"), "log_namespace": NAMESPACE}
    lines = FORMS[form](event).split("\n")[:-1]
    if form == "json":
        assert [json.loads(line)["message"] for line in lines] == ["time=1", "time=2"]
        event["what"] = '{"a": 1}\n{"a": 2}'
        assert as_json(event) == '{"a": 1}\n{"a": 2}\n'
    else:
        assert [line.removeprefix("<6>") for line in lines] == ["time=1", "time=2"]


@pytest.mark.parametrize("form", FORMS)
@given(what=st.text(), system=st.none() | st.text(), level=st.sampled_from(["info", "error"]))
def test_whatever_is_said(form: str, what: str, system: str | None, level: str) -> None:
    event = event_of(level, what=what)
    if system is not None:
        event["log_system"] = system
    for one in (event, eventFromJSON(eventAsJSON(dict(event)))):
        lines = FORMS[form](one).split("\n")
        assert lines.pop() == ""
        assert lines
        for line in lines:
            assert line.removeprefix("\t").isprintable()
        if form == "json":
            json.loads(lines[0])
            assert len(lines) == 1


@pytest.mark.parametrize("form", FORMS)
def test_events_of_workers(form: str) -> None:
    for event in (event_of("warn", what="a\nb"), failure_of()):
        text = FORMS[form](unpacked(packed(event), "worker 3", 77))
        assert "worker 3" in text
        assert text.count("\n") == (1 if form == "json" else text.count("\n"))
    lines = {**event_of(what="time=1\ntime=2"), "log_namespace": NAMESPACE}
    found = FORMS[form](unpacked(packed(lines), "worker 3", 77)).split("\n")[:-1]
    assert len(found) == 2


def test_odd_events() -> None:
    for form in FORMS.values():
        assert form({}).count("\n") <= 1
        assert form({"message": ("old",), "isError": 1, "log_namespace": None})


def test_levels(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        for level in ("warn", "debug"):
            watch = observer(file.fileno(), "text", level)
            for one in ("debug", "info", "warn"):
                watch(event_of(one, what=one))
    assert [line.split(" ")[-1] for line in path.read_text().splitlines()] == [
        *("warn", "debug", "info", "warn")
    ]


def test_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    observer(writing, "text")(event_of(what="a"))
    os.close(writing)


def test_factories_for_twistd(capfd: pytest.CaptureFixture[str]) -> None:
    for make, start in ((logs.text, "2026-"), (logs.json, "{"), (logs.journald, "<6>")):
        make()(event_of(what="a"))
        assert capfd.readouterr().out.startswith(start)


def test_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        status = os.fstat(file.fileno())
        assert is_journal(file.fileno(), {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not is_journal(file.fileno(), {"JOURNAL_STREAM": "8:1"})
        assert not is_journal(file.fileno(), {})


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is torn ends there: the next event begins on a line of its own, and the loss is told."""
    room = [1000]
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sent = write(fd, data[: room[0]])
        room[0] -= sent
        return sent

    monkeypatch.setattr(os, "write", full)
    path = tmp_path / "log"
    with path.open("wb") as file:
        watch = observer(file.fileno(), "json")
        watch(event_of(what="a"))
        room[0] = 7
        for what in "bcd":
            watch(event_of(what=what))
        room[0] = 1000
        watch(event_of(what="e"))
        watch(event_of(what="f"))
    first, torn, *others = path.read_text().splitlines()
    assert (json.loads(first)["what"], torn) == ("a", '{"time"')
    assert [json.loads(line)["message"] for line in others] == [
        *("e", "3 events were lost here (No space left on device)", "f"),
    ]
