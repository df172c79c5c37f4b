"""Tests what parent and worker can tell each other, and what nobody may tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from tcpdl.logs.observers import as_journal
from tcpdl.processes.channel import MESSAGE_MOST, UNSENT_MOST, Channel
from tcpdl.processes.events import unpacked


class Transport(StringTransport):
    """Remembers that it was aborted."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


def opened(**calls: Callable[[dict[str, Any]], object]) -> tuple[Any, Any]:
    channel: Any = Channel("worker-1")
    transport: Any = Transport()
    for kind, call in calls.items():
        channel.on(kind, call)
    channel.makeConnection(transport)
    return channel, transport


def said(transport: Any) -> bytes:
    data: bytes = transport.value()
    transport.clear()
    return data


@pytest.fixture
def log() -> Any:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
    yield events
    globalLogPublisher.removeObserver(events.append)  # type: ignore[arg-type]


values = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=20))


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["words", "text", "seconds"]),
            values | st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values),
        ),
        max_size=4,
    ),
    st.integers(1, 50),
)
def test_what_is_told_arrives_however_it_is_cut(told: list[dict[str, Any]], size: int) -> None:
    heard: list[Any] = []
    one, transport = opened()
    other, _ = opened(news=heard.append)
    for content in told:
        one.tell("news", **content)
    data = said(transport)
    for at in range(0, len(data), size):
        other.dataReceived(data[at : at + size])
    assert heard == told


def test_a_name_that_is_not_utf_8_arrives() -> None:
    heard: list[Any] = []
    one, transport = opened()
    other, _ = opened(words=heard.append)
    one.tell("words", words=["--root=\udcff"])
    other.dataReceived(said(transport))
    assert heard == [{"words": ["--root=\udcff"]}]


def test_a_kind_that_nobody_asked_for_is_passed_over() -> None:
    one, transport = opened()
    other, theirs = opened()
    one.tell("gossip")
    other.dataReceived(said(transport))
    assert not theirs.aborted


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"\xff", b"null", b"[]", b'["log"]', b'["log", 1, 2]', b'{"log": 1}', b"[" * 10_000],
)
def test_nonsense_closes_the_channel(nonsense: bytes, log: list[Any]) -> None:
    channel, transport = opened(log=lambda content: content["text"])
    channel.dataReceived(len(nonsense).to_bytes(4, "big") + nonsense)
    assert transport.aborted
    (event,) = log
    assert " said what makes no sense: " in formatEvent(event)


def test_nonsense_does_not_write_the_log(log: list[Any]) -> None:
    """Whose line it is would else be for the worker to say, and how long."""
    channel, _ = opened(log=lambda content: unpacked(content, "worker-1", 7))
    level = "\n<6>all is well\n" * 10_000
    event = {"text": "", "namespace": "", "system": "", "time": 0, "values": {}, "level": level}
    message = json.dumps(["log", event]).encode()
    channel.dataReceived(len(message).to_bytes(4, "big") + message)
    assert [len(line) < 200 and "well" not in line for line in as_journal(log[0]).split("\n")]
    assert len(as_journal(log[0])) < 200


def test_values_that_make_no_sense_close_the_channel(log: list[Any]) -> None:
    after: list[Any] = []
    channel, transport = opened(log=lambda content: content["text"], news=after.append)
    for kind in ("log", "news"):
        message = json.dumps([kind, {}]).encode()
        channel.dataReceived(len(message).to_bytes(4, "big") + message)
    assert transport.aborted
    assert after == [], "nothing is believed any more"
    assert len(log) == 1


def test_a_message_that_is_too_long_is_not_waited_for(log: list[Any]) -> None:
    channel, transport = opened()
    channel.dataReceived((MESSAGE_MOST + 1).to_bytes(4, "big"))
    assert transport.aborted
    assert log[0]["length"] == MESSAGE_MOST + 1


def test_a_message_that_is_too_long_is_not_told() -> None:
    channel, transport = opened()
    with pytest.raises(ValueError, match="bytes"):
        channel.tell("news", text="x" * MESSAGE_MOST)
    assert said(transport) == b""


def test_who_does_not_read_is_left(log: list[Any]) -> None:
    channel, transport = opened()
    channel.pauseProducing()
    size = MESSAGE_MOST // 2
    told = 0
    while not transport.aborted:
        channel.tell("news", text="x" * size)
        told += len(said(transport))
    assert told <= UNSENT_MOST
    channel.tell("news")
    assert said(transport) == b""
    assert "does not read" in log[0]["log_format"]


def test_who_reads_again_may_be_told_as_much_again() -> None:
    channel, transport = opened()
    idle: list[None] = []
    channel.on_idle = lambda: idle.append(None)
    for _ in range(10):
        channel.pauseProducing()
        assert channel.busy
        channel.tell("news", text="x" * (MESSAGE_MOST // 2))
        channel.tell("news", text="x" * (MESSAGE_MOST // 2))
        channel.resumeProducing()
        assert not channel.busy
    assert not transport.aborted
    assert len(idle) == 10


def test_one_that_is_not_open_says_nothing() -> None:
    channel: Any = Channel("worker-1")
    channel.tell("news")
    ended: list[None] = []
    channel.on_close = lambda: ended.append(None)
    transport: Any = Transport()
    channel.makeConnection(transport)
    channel.connectionLost(Failure(ConnectionDone()))
    channel.tell("news")
    assert transport.value() == b""
    assert ended == [None]


def test_closing_lets_go_what_was_told() -> None:
    channel, transport = opened()
    channel.tell("news")
    channel.close()
    assert b"news" in said(transport)
    assert transport.disconnecting
    assert not transport.aborted
    channel.tell("news")
    assert said(transport) == b""
