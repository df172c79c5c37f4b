"""Tests that what comes, goes, is late and goes wrong is counted, each once, under its own name."""

from __future__ import annotations

import os
import random
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from tcpdl.server.deadlines import Deadlines
from tcpdl.server.echo import IDLE_SECONDS, EchoFactory
from tcpdl.server.lag import LOOK_SECONDS, LoopLag
from tcpdl.server.metrics import MISSED, Histogram, Metrics
from tcpdl.server.outgoing import FileCutShort
from tcpdl.server.process import ThisProcess
from tcpdl.server.transfers import COMPLETE, Transfers
from tests.certificates import client_context, server_context
from tests.server.conftest import Connect, move
from tests.server.front import Front
from tests.server.tls_client import TlsClient

OpenFile = Callable[[bytes], int]

CONTENT = random.Random(5).randbytes(300_000)
KINDS = pytest.mark.parametrize("kind", ["pair", "tcp", "unix"])


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[Front]:
    (tmp_path / "a.txt").write_bytes(b"content of a")
    server = Front(tmp_path, connect)
    yield server
    server.close()


def sent(metrics: Metrics) -> tuple[int, int, int]:
    return metrics.sent_by_sendfile, metrics.sent_by_copying, metrics.sent_encrypted


@KINDS
@pytest.mark.parametrize("copies", [False, True])
def test_bytes_by_the_way_they_take(
    kind: str, copies: bool, connect: Connect, open_file: OpenFile
) -> None:
    metrics = Metrics()
    options: dict[str, Any] = {"sendfile": None} if copies else {}
    connection = connect(kind, sndbuf=1, metrics=metrics, **options)
    connection.transport.write(b"head")
    connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.write(b"tail" * 10_000)
    connection.transport.writeSequence([b"a", b"bc"])
    connection.say(b"question")
    whole = len(connection.drain())
    assert whole == 4 + len(CONTENT) + 40_000 + 3
    by_sendfile = 0 if copies else len(CONTENT)
    assert sent(metrics) == (by_sendfile, whole - by_sendfile, 0)
    assert metrics.received == 8
    assert connection.transport.bytes_sent == whole


def test_pieces_that_wait_for_nothing(connect: Connect) -> None:
    metrics = Metrics()
    connection = connect("pair", metrics=metrics)
    connection.transport.writeSequence([b"a", b"bc"])
    assert sent(metrics) == (0, 3, 0)
    filled = len(connection.fill())
    assert metrics.sent_by_copying < 3 + filled
    connection.drain()
    assert metrics.sent_by_copying == 3 + filled


def test_what_is_encrypted_is_counted_as_it_is_on_the_wire(
    connect: Connect, open_file: OpenFile
) -> None:
    metrics = Metrics()
    context = server_context()
    client = TlsClient(connect("pair", sndbuf=1, tls=lambda: context, metrics=metrics)).shake()
    assert (metrics.handshakes, metrics.handshakes_failed) == (1, 0)
    client.connection.send(open_file(CONTENT), 0, len(CONTENT))
    client.transport.write(b"tail")
    assert client.hear() == CONTENT + b"tail"
    assert sent(metrics) == (0, 0, len(client.wire))
    before = metrics.received
    client.say(b"question")
    assert metrics.received > before + len(b"question")
    client.transport.abortConnection()
    assert metrics.handshakes_failed == 0


def test_plain_bytes_where_tls_is_spoken_too(connect: Connect) -> None:
    metrics = Metrics()
    context = server_context()
    connection = connect("pair", tls=lambda: context, metrics=metrics)
    connection.say(b"question")
    connection.say(b"more")
    connection.transport.write(b"answer")
    assert metrics.received == 12
    assert sent(metrics) == (0, 6, 0)
    connection.transport.abortConnection()
    assert metrics.handshakes_failed == 0


@pytest.mark.parametrize("how", ["ends", "nonsense", "does not trust"])
def test_handshakes_that_fail(how: str, connect: Connect) -> None:
    metrics = Metrics()
    context = server_context()
    connection = connect("pair", tls=lambda: context, metrics=metrics)
    if how == "does not trust":
        with pytest.raises(ssl.SSLError):
            TlsClient(connection, ssl.create_default_context()).shake()
        TlsClient(connection, client_context())
        connection.half_close()
    else:
        connection.say(b"\x16\x03\x01")
        connection.say(b"\xff" * 9) if how == "nonsense" else connection.half_close()
    assert (metrics.handshakes, metrics.handshakes_failed) == (0, 1)


def test_file_that_ends_early(connect: Connect, open_file: OpenFile) -> None:
    metrics = Metrics()
    connection = connect("pair", metrics=metrics)
    outcome = connection.send(open_file(b"short"), 0, 100)
    connection.write_turn()
    assert isinstance(outcome[0], FileCutShort)
    assert metrics.read_errors == 1


@pytest.mark.parametrize(
    ("said", "dialect"),
    [(b"a.txt\n", "raw"), (b"\0tcpdl\1\1", "native"), (b"GET / HTTP/1.1\r\n", "http"), (b"", None)],
)
def test_dialects_that_are_recognised(said: bytes, dialect: str | None, server: Front) -> None:
    connection = server.front()
    if said:
        connection.say(said)
        connection.drain()
    counted = server.deadlines.metrics.connections
    assert counted == {**dict.fromkeys(counted, 0), **({dialect: 1} if dialect else {})}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"", "recognition"),
        (b"GET / HTTP/1.1\r\n", "request"),
        (b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", "idle"),
    ],
)
def test_who_is_late(said: bytes, kind: str, server: Front) -> None:
    connection = server.front()
    if said:
        connection.say(said)
        connection.drain()
    for _ in range(200):
        server.clock.advance(0.5)
        connection.drain()
    missed = server.deadlines.metrics.missed
    assert missed == {**dict.fromkeys(MISSED, 0), kind: 1}


def test_echoed_bytes_and_those_that_say_nothing(connect: Connect) -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    connection = connect(protocol=EchoFactory(deadlines).buildProtocol(None), clock=clock)
    connection.say(b"hello")
    connection.drain()
    assert deadlines.metrics.echoed == 5
    assert deadlines.metrics.connections["echo"] == 1
    clock.pump([2] * round(IDLE_SECONDS / 2 + 20))
    assert deadlines.metrics.missed["idle"] == 1


def test_who_takes_nothing(connect: Connect) -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    connection = connect(protocol=EchoFactory(deadlines).buildProtocol(None), clock=clock, sndbuf=1)
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection.fill()
    move(clock, 100)
    assert deadlines.metrics.missed == {**dict.fromkeys(MISSED, 0), "stall": 1}


def test_answers_that_are_over() -> None:
    metrics = Metrics()
    transfers = Transfers(Clock())
    transfers.on_end.append(metrics.ended)
    for dialect in ("http", "http", "raw", "-", "from a plugin"):
        transfer = transfers.begin(dialect, "a", False)
        transfer.counted = 7
        transfer.end(COMPLETE)
    assert metrics.answers["http"][COMPLETE] == 2
    assert metrics.content["http"] == 14
    assert metrics.answers["raw"][COMPLETE] == 1
    # What is no dialect adds no label of its own.
    assert metrics.answers["none"][COMPLETE] == 2


def test_histogram() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5, 100):
        histogram.add(value)
    assert histogram.counts == [2, 2, 2]
    assert histogram.sum == 107.5


def test_loop_that_is_late() -> None:
    clock = Clock()
    lag = LoopLag(clock)
    lag.startService()
    clock.advance(LOOK_SECONDS)
    clock.advance(LOOK_SECONDS + 0.3)
    assert lag.seconds.sum == pytest.approx(0.3)
    assert sum(lag.seconds.counts) == 2
    lag.stopService()
    assert not clock.getDelayedCalls()


def test_this_process(descriptors: Callable[[], int]) -> None:
    process = ThisProcess()
    before = process.figures()
    assert "memory" not in before
    process.begin()
    figures = process.figures()
    # Threads that wait in accept(2) have taken some already, as those of other tests may.
    assert figures["descriptors"] >= descriptors() - 3
    assert figures["memory"] > 1 << 20
    assert 0 < figures["cpu"] == pytest.approx(before["cpu"], abs=1)
    opened = descriptors()
    with open(os.devnull), open(os.devnull):
        assert process.figures()["descriptors"] == figures["descriptors"] + 2
    process.close()
    assert descriptors() == opened - 2
    assert "descriptors" not in process.figures()


def test_descriptors_of_a_process_without_threads() -> None:
    script = """if True:
    import os
    from tcpdl.server.process import ThisProcess

    process = ThisProcess()
    process.begin()
    figure = process.figures()["descriptors"]
    print(figure - len(os.listdir("/proc/self/fd")))  # for which one is open
    """
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert said == b"-1\n"


def test_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr("tcpdl.server.process.os.open", fails)
    process = ThisProcess()
    process.begin()
    assert {"cpu", "limit"} >= process.figures().keys()
    process.close()
