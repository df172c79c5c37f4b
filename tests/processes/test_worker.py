"""Tests what a worker tells its parent before it serves, without being one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher

from tcpdl.processes.process import PROTOCOL
from tcpdl.processes.worker import Worker


class Channel:
    """Remembers what is told."""

    def __init__(self) -> None:
        self.calls: dict[str, Any] = {}
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.closed = False

    def on(self, kind: str, call: Any) -> None:
        self.calls[kind] = call

    def tell(self, kind: str, **content: Any) -> None:
        self.told.append((kind, content))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def channel() -> Any:
    channel = Channel()
    Worker(MemoryReactorClock(), channel)  # type: ignore[arg-type]
    return channel


def serve(channel: Any, **content: Any) -> None:
    order = {"protocol": PROTOCOL, "words": [], "ports": [], "workers": 2}
    channel.calls["serve"]({**order, **content})


def why(channel: Any) -> str:
    ((kind, content),) = channel.told
    assert kind == "failed"
    assert channel.closed
    reason: str = content["why"]
    return reason


def test_one_of_another_program_says_so(channel: Any) -> None:
    serve(channel, protocol=PROTOCOL + 1)
    assert "another one than its parent's; restart the daemon" in why(channel)


def test_one_that_cannot_do_what_the_options_say_tells_why(channel: Any, tmp_path: Path) -> None:
    serve(channel, words=[f"--root={tmp_path}/absent"])
    assert "absent' does not exist" in why(channel)


def test_one_without_its_certificate_tells_why(channel: Any, tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("no certificate")
    serve(channel, words=[f"--root={tmp_path}", f"--tls-cert={tmp_path}/pem"])
    assert why(channel).startswith("no TLS: ")


def test_what_nobody_expected_is_told_as_well(channel: Any) -> None:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
    try:
        serve(channel, ports=[["x"]])
    finally:
        globalLogPublisher.removeObserver(events.append)  # type: ignore[arg-type]
    assert why(channel)
    assert any("log_failure" in event for event in events)
