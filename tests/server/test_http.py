"""Tests connections that speak HTTP: which requests are answered, in which order, how many."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from tcpdl.server.answering import IN_A_ROW_MOST, UNSENT_MOST
from tcpdl.server.lingering import LINGER_BYTES, LINGER_SECONDS
from tcpdl.web.request import BODY_MOST, HEAD_MOST
from tests.server.conftest import IDLE_SECONDS, Connect
from tests.server.http_client import Client, HttpServer, get, settle

LARGE = os.urandom(3_000_000)
SMALL = get("/small")


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[HttpServer]:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "small").write_bytes(b"small content")
    (root / "other").write_bytes(b"other content")
    (root / "empty").touch()
    (root / "large").write_bytes(LARGE)
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


# Which requests may follow.


def test_connections_are_kept(client: Client) -> None:
    for _ in range(3):
        reply = client.fetch("/small")
        assert (reply.status, reply.body) == (200, b"small content")
        assert reply.get("connection") is None
    assert not client.ended


@pytest.mark.parametrize(
    ("minor", "said", "answered"),
    [
        (1, ["Connection: close"], "close"),
        (1, ["Connection: Foo, CLOSE"], "close"),
        (0, [], "close"),
        (0, ["Connection: close, keep-alive"], "close"),
        (0, ["Connection: keep-alive"], "keep-alive"),
        (1, ["Connection: keep-alive"], None),
    ],
)
@pytest.mark.parametrize("name", ["/small", "/large", "/absent", "/folder/", "/folder"])
def test_who_ends_it(
    name: str, minor: int, said: list[str], answered: str | None, client: Client
) -> None:
    client.say(get(name, *said, minor=minor), SMALL)
    first, *others = client.hear()
    assert first.get("connection") == answered
    assert client.ended is (answered == "close")
    assert [reply.body for reply in others] == ([] if answered == "close" else [b"small content"])


def test_the_last_answer_arrives_though_more_was_asked(server: HttpServer) -> None:
    """What is unread when a socket is closed makes the kernel throw away what is to be sent."""
    client = server.connect("tcp")
    client.say(get("/large", "Connection: close"), SMALL * 10_000)
    (reply,) = client.hear()
    assert reply.body == LARGE
    assert client.ended
    assert not client.was_reset


def test_the_date_is_that_of_the_answer(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    dates = []
    for now in (1_700_000_000, 1_700_000_000.9, 1_700_000_001):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        dates.append(client.fetch("/small")["date"])
    assert dates == [*["Tue, 14 Nov 2023 22:13:20 GMT"] * 2, "Tue, 14 Nov 2023 22:13:21 GMT"]


# Pipelines.

TARGETS = ["/small", "/large", "/empty", "/folder/", "/absent", "/folder", "/small?info", "/other"]


@given(
    targets=st.lists(st.sampled_from(TARGETS), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 1000), max_size=5),
    hold=st.booleans(),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_answers_come_in_order(
    targets: list[str], cuts: list[int], hold: bool, server: HttpServer
) -> None:
    """Whatever takes waiting, and however the requests come in pieces."""
    alone = [server.connect().fetch(target) for target in targets]
    server.work.hold = hold
    client = server.connect()
    requests = [get(target) for target in targets]
    client.say(*requests[:1])
    said = b"".join(requests[1:])
    places = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    client._replies.methods += ["GET"] * (len(targets) - 1)
    for start, end in itertools.pairwise(places):
        client.connection.say(said[start:end])
    replies = client.hear()
    while server.work.jobs:
        server.work.release(1)
        replies += client.hear()
    server.work.hold = False
    assert [reply.body for reply in replies] == [reply.body for reply in alone]
    assert client.rest == b""
    assert not client.protocol._paused


def test_nothing_overtakes_an_answer_that_is_waited_for(server: HttpServer, client: Client) -> None:
    server.work.hold = True
    assert client.ask(get("/folder/"), SMALL) == []
    server.work.release()
    assert [reply.body for reply in client.hear()][1:] == [b"small content"]


def test_a_client_that_asks_much_and_reads_nothing(server: HttpServer) -> None:
    """Megabytes of requests: few are read, few answers are held; all of them come in the end."""
    client = server.connect(sndbuf=4096)
    requests = get("/small") * 40_000
    taken = client.push(requests)
    assert taken < 1_000_000
    buffered = client.protocol._requests.buffered
    assert buffered <= HEAD_MOST + client.connection.transport.bufferSize
    assert client.connection.transport.unsent <= UNSENT_MOST + 1024
    assert not client.connection.wants_to_read

    other = server.connect().connection
    other.say(SMALL)
    one = len(other.drain())
    count = 0
    while count < 40_000 * one:
        before = count
        count += len(client.take())
        client.connection.received = b""
        assert count > before
        taken += client.push(requests[taken : taken + 1_000_000])
    assert count == 40_000 * one
    assert client.connection.wants_to_read
    assert client.protocol._requests.buffered == 0


def test_a_client_that_asks_faster_than_it_is_answered(server: HttpServer) -> None:
    """It takes all that it is sent; what it asks for is read no faster than it is answered."""
    client = server.connect()
    connection, requests = client.connection, SMALL * 5000
    most = HEAD_MOST + connection.transport.bufferSize
    sent = 0
    while sent < len(requests) or client.protocol._requests.buffered:
        with suppress(BlockingIOError):
            sent += connection.peer.send(requests[sent:], socket.MSG_DONTWAIT)
        connection.read_turn()  # one in each turn of the reactor
        server.clock.advance(0)
        connection.write_turn()
        connection.take()
        assert client.protocol._requests.buffered <= most
    assert connection.drain().count(b"small content") == 5000


@pytest.mark.parametrize("target", ["/small", "/folder/?format=json", "/absent"])
def test_a_client_that_asks_much_keeps_nobody_waiting(
    target: str, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some answers others have their turn, however many requests have come."""
    turns: list[Deferred[None]] = []

    def next_turn() -> Deferred[None]:
        turns.append(Deferred())
        return turns[-1]

    monkeypatch.setattr(server.deadlines, "next_turn", next_turn)
    client = server.connect()
    client.say(*[get(target)] * (3 * IN_A_ROW_MOST))
    for number in range(3):
        assert len(client.hear()) == IN_A_ROW_MOST
        turns[number].callback(None)
    assert client.fetch("/small").body == b"small content"
    assert len(turns) == 3


@pytest.mark.parametrize("last", [SMALL, get("/small", "Connection: close")])
def test_a_client_is_lost_while_others_have_their_turn(
    last: bytes, server: HttpServer, client: Client
) -> None:
    client.say(*[SMALL] * (IN_A_ROW_MOST - 1), last, SMALL)
    assert client.protocol._answering
    client.connection.lose(ConnectionLost())
    server.wait(IDLE_SECONDS)
    assert len(server.deadlines) == 0
    assert not server.clock.getDelayedCalls()


def test_requests_that_come_while_work_is_done_are_bounded(
    server: HttpServer, client: Client
) -> None:
    server.work.hold = True
    client.say(get("/folder/"))
    client.push(SMALL * 20_000)
    assert client.protocol._requests.buffered <= HEAD_MOST + client.connection.transport.bufferSize
    assert not client.connection.wants_to_read
    server.work.release()
    client.hear()
    assert client.connection.wants_to_read


def test_a_paused_client_that_is_no_longer_served_is_read_to_its_end(server: HttpServer) -> None:
    """What is left unread would reset the connection."""
    client = server.connect("tcp")
    server.work.hold = True
    client.say(get("/folder/", "Connection: close"))
    client.push(SMALL * 2000)
    assert not client.connection.wants_to_read
    server.work.release()
    assert len(client.hear()) == 1
    assert client.connection.wants_to_read
    while client.connection.protocol._discarded < len(SMALL) * 1000:
        client.connection.read_turn()
    assert client.ended
    assert not client.was_reset


# Bodies.


@pytest.mark.parametrize("count", [0, 1, 100, BODY_MOST])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_body_is_thrown_away(count: int, method: str, client: Client) -> None:
    body = (b"GET /other HTTP/1.1\r\n\r\n" * BODY_MOST)[:count]
    request = get("/small", f"Content-Length: {count}", method=method) + body
    first, second = client.ask(request, SMALL)
    assert first.status in (200, 204)
    assert second.body == b"small content"


def test_a_body_comes_later_in_pieces(client: Client) -> None:
    request = get("/small", "Content-Length: 30")
    assert client.ask(request)[0].body == b"small content"
    for _ in range(3):
        client.connection.say(b"GET / HT\r\n")
        assert client.hear() == []
    assert client.fetch("/other").body == b"other content"


@pytest.mark.parametrize(
    "field",
    [f"Content-Length: {BODY_MOST + 1}", "Content-Length: 9" * 2, "Transfer-Encoding: chunked"],
)
def test_a_body_that_is_not_taken(field: str, server: HttpServer) -> None:
    client = server.connect("tcp")
    (reply,) = client.ask(get("/small", field))
    assert reply.status in (413, 400)
    assert reply["connection"] == "close"
    taken = client.push(b"." * (2 * LINGER_BYTES))
    assert taken >= LINGER_BYTES
    assert client.ended
    assert not client.connection.wants_to_read, "it is not read for ever"
    server.wait(LINGER_SECONDS + 1)
    assert not client.connection.transport.connected


@pytest.mark.parametrize(
    ("fields", "status", "kept"),
    [
        (["Expect: 100-continue"], 200, True),
        (["Expect: 100-continue", "Content-Length: 0"], 200, True),
        (["Expect: 100-continue", "Content-Length: 5"], 200, False),
        (["Expect: something-else"], 417, False),
    ],
)
def test_expectations(fields: list[str], status: int, kept: bool, client: Client) -> None:
    """The answer comes at once, so there is nothing to go on with."""
    reply = client.fetch("/small", *fields)
    assert reply.status == status
    assert client.ended is not kept
    assert (reply.get("connection") == "close") is not kept
