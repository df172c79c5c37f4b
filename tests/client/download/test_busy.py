"""Tests the client with servers that have enough to do with others, or end connections."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tcpdl.client import crew
from tcpdl.client.errors import Busy, ClientError, ConnectionBroken, Garbled
from tcpdl.client.pace import Growth
from tcpdl.client.patience import PAUSES
from tcpdl.client.session import Session
from tcpdl.client.stream import stream
from tcpdl.client.ways import Ways
from tcpdl.wire import native
from tcpdl.wire.native import BUSY, End, Error, FileInfo, Get, GetDigests
from tests.client.download.conftest import CHUNK, PART, Fetch, Start, some
from tests.client.native_server import Asked, Ending, NativeServer, Pieces

SIZE = 20 * CHUNK + 321


def says_busy(on: set[int], server: NativeServer) -> None:
    """On these connections, the server has no time."""

    def hook(asked: Asked, pieces: Pieces) -> Pieces:
        if asked.connection in on:
            yield Error(0, BUSY, "connect again later")
            yield Ending.FIN
        else:
            yield from pieces

    server.hook = hook


def test_at_first(server: NativeServer, fetch: Fetch) -> None:
    says_busy(set(range(len(PAUSES))), server)
    fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)
    assert len(fetch.slept) == len(PAUSES)
    assert fetch.notes == []


def test_for_good(server: NativeServer, fetch: Fetch) -> None:
    says_busy(set(range(99)), server)
    with pytest.raises(Busy, match="the server is busy: connect again later"):
        fetch(server.put(b"f", some(SIZE)))
    assert len(fetch.slept) == len(PAUSES)
    assert fetch.names == set()


def test_beside_others(server: NativeServer, fetch: Fetch, eager: None) -> None:
    """One connection does it all."""
    says_busy(set(range(1, 99)), server)
    fetch(server.put(b"f", some(SIZE)), connections=4)
    assert fetch.path.read_bytes() == some(SIZE)
    assert fetch.slept == []


def test_in_the_middle(server: NativeServer, fetch: Fetch) -> None:
    server.cuts = [(3 * CHUNK, Ending.RESET)]
    says_busy({1, 2, 3}, server)
    fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)
    assert server.connections == 5


def test_stream(server: NativeServer) -> None:
    says_busy({0, 1}, server)
    slept: list[float] = []
    got: list[bytes] = []
    stream(server.put(b"f", some(SIZE)), got.append, Ways(timeout=5, sleep=slept.append))
    assert b"".join(got) == some(SIZE)
    assert len(slept) == 2


@pytest.mark.parametrize("code", [99, 65535])
def test_error_that_is_not_known_ends_the_connection(
    code: int, server: NativeServer, fetch: Fetch
) -> None:
    def hook(asked: Asked, pieces: Pieces) -> Pieces:
        if asked.connection:
            yield from pieces
            return
        yield Error(0, code, "for some reason")
        yield End(asked.request.id)  # what comes after it means nothing

    server.hook = hook
    with pytest.raises(ConnectionBroken, match="for some reason"):
        fetch(server.put(b"f", some(SIZE)))
    assert server.connections == 1
    server.hook = None
    fetch(server.put(b"f", some(SIZE)))


# Servers that end a connection after some answers.


@pytest.mark.parametrize("most", [1, 2, 3])
def test_connection_ends_after_some_answers(
    most: int, server: NativeServer, fetch: Fetch, eager: None
) -> None:
    """That is no failure, so there is no pause, and nothing is asked for twice."""
    server.most = most
    server.put(b"f", some(SIZE))
    fetched = fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)
    assert fetch.slept == []
    assert fetch.notes == []
    assert server.payload == fetched.size
    assert server.connections >= len(server.asked) // most


@pytest.mark.parametrize("most", [1, 2])
def test_resumed(most: int, server: NativeServer, fetch: Fetch, eager: None) -> None:
    server.most = most
    fetch.part.write_bytes(some(SIZE)[: 7 * CHUNK + 99])
    fetched = fetch(server.put(b"f", some(SIZE)), connections=3)
    assert fetch.path.read_bytes() == some(SIZE)
    assert fetched.kept == 7 * CHUNK
    assert fetch.slept == []


def read_on(session: Session) -> None:
    """Take messages until something is wrong."""
    while True:
        session.next()


def test_requests_are_asked_again(server: NativeServer) -> None:
    server.most = 2
    location = server.put(b"f", some(SIZE))
    with Session(server.place, Ways(timeout=5)) as session:
        for _ in range(5):
            session.ask(lambda number: GetDigests(number, location.path, 0, 1))
        found = 0
        while found < 5:
            found += isinstance(session.next(), End)
        assert session.received > 5 * 100
    assert server.connections == 3
    assert [asked.request.id for asked in server.asked if asked.connection == 2] == [5]


def test_end_before_an_answer_is_a_failure(server: NativeServer, fetch: Fetch) -> None:
    """Else a server that never answers would be asked for ever."""
    server.hook = lambda asked, pieces: iter([Ending.FIN])
    server.put(b"f", some(SIZE))
    with pytest.raises(ConnectionBroken):
        fetch(server.put(b"f", some(SIZE)))
    assert len(fetch.slept) == len(PAUSES)
    assert fetch.names <= {PART}


def test_end_within_an_answer_is_a_failure(server: NativeServer) -> None:
    location = server.put(b"f", some(SIZE))

    def hook(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield piece
            if asked.number and isinstance(piece, FileInfo):
                yield Ending.FIN

    server.hook = hook
    with Session(server.place, Ways(timeout=5)) as session:
        for _ in range(2):
            session.ask(lambda number: GetDigests(number, location.path, 0, 1))
        with pytest.raises(ConnectionBroken):
            read_on(session)
    assert server.connections == 1


def test_another_digest_on_the_next_connection(server: NativeServer) -> None:
    """What is hashed is one file, whoever sends it."""
    location = server.put(b"f", some(SIZE))
    server.most = 1
    chosen = iter([native.SHA256, native.BLAKE3])
    server.choose = lambda offered: next(chosen)  # type: ignore[method-assign]
    with Session(server.place, Ways(timeout=5)) as session:
        for _ in range(2):
            session.ask(lambda number: GetDigests(number, location.path, 0, 1))
        with pytest.raises(Garbled, match="it chose digest 2, and 1 before"):
            read_on(session)


def test_web_page_on_the_next_connection(server: NativeServer) -> None:
    """The server was there, and spoke the dialect: this is not one of another."""
    location = server.put(b"f", some(SIZE))
    server.most = 1
    page = b"HTTP/1.1 200 OK\r\n\r\n"
    server.says = lambda connection, before, data: data if not connection else page
    with Session(server.place, Ways(timeout=5)) as session:
        for _ in range(2):
            session.ask(lambda number: GetDigests(number, location.path, 0, 1))
        with pytest.raises(ConnectionBroken, match="is a web server"):
            read_on(session)


# Further servers.


def test_what_others_refuse_does_not_count_against_the_first(
    serving: Start, fetch: Fetch, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other takes one question and no further connection, and is left alone for long; that one
    goes on with the first."""
    main, other = serving(), serving()
    data = some(40 * CHUNK)
    location = main.put(b"f", data)
    source = other.put(b"f", data)
    says_busy(set(range(1, 99)), other)
    refused, further = threading.Event(), threading.Event()

    def hold(asked: Asked, pieces: Pieces) -> Pieces:
        if asked.connection and isinstance(asked.request, Get):
            further.set()
        elif asked.number and not asked.connection:
            assert further.wait(20)
        yield from pieces

    def pause(failed: int, error: ClientError) -> float:
        refused.set()
        return 1e9

    def wants_another(self: Any, *_: object) -> bool:
        return refused.is_set()

    main.hook = hold
    monkeypatch.setattr(crew, "pause", pause)
    monkeypatch.setattr(Growth, "wants_another", wants_another)
    fetch(location, sources=[source], connections=2)
    assert further.is_set()
    assert fetch.path.read_bytes() == data
    assert other.connections == 2
