"""Tests `client.http.download` where further connections are refused: the first goes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import pytest

from tcpdl.client import crew, patience
from tcpdl.client.errors import NothingThere
from tests.client.http.conftest import MIB, Fetch
from tests.client.http.test_http_download import DATA, SIZE, Gate, span
from tests.client.http.web_server import SECONDS, Asked, Ending, Piece, WebServer, reply

Refusal = Callable[[Asked], Iterable[Piece]]


class First:
    """Serves the first connection, and refuses all others; for as long as it takes until nobody
    tries any more, the first has to wait for its last bytes."""

    def __init__(self, server: WebServer, refuse: Refusal, until: int) -> None:
        self._server = server
        self._refuse = refuse
        self._until = until
        self._enough = threading.Event()
        self.refused = 0

    def __call__(self, asked: Asked) -> Iterable[Piece]:
        if asked.connection:
            self.refused += 1
            if self.refused >= self._until:
                self._enough.set()
            yield from self._refuse(asked)
            return
        if asked.number >= 2:
            assert self._enough.wait(SECONDS)
        yield self._server.honest(asked)


def status(line: str, *fields: tuple[str, object]) -> Refusal:
    return lambda _: [reply(line, *fields, body=b"no")]


def other_version(asked: Asked) -> Iterable[Piece]:
    """What another server behind the same name sends: If-Range names a version it has not."""
    return [reply("200 OK", ("ETag", '"2"'), ("Accept-Ranges", "bytes"), body=DATA)]


def part_of_other_version(asked: Asked) -> Iterable[Piece]:
    start, end = span(asked)
    where = f"bytes {start}-{end - 1}/{SIZE}"
    body = bytes(end - start)
    return [reply("206 OK", ("ETag", '"2"'), ("Content-Range", where), body=body)]


def whole(asked: Asked) -> Iterable[Piece]:
    return [reply("200 OK", ("ETag", '"1"'), ("Accept-Ranges", "bytes"), body=DATA)]


@pytest.mark.parametrize(
    "refuse",
    [
        *(status("503 Busy"), status("429 Slow Down"), status("500 Oh")),
        *(lambda _: [Ending.RESET], lambda _: [Ending.FIN], whole),
    ],
)
def test_one_connection_only(refuse: Refusal, server: WebServer, fetch: Fetch, eager: None) -> None:
    """Once so many were refused, no other is tried, and the first does it all, part by part."""
    first = server.hook = First(server, refuse, len(patience.PAUSES))
    fetch(server.put("/f", DATA), connections=2)
    assert fetch.path.read_bytes() == DATA
    assert first.refused <= len(patience.PAUSES)
    assert sorted(span(asked) for asked in server.asked if not asked.connection) == [
        (at, min(at + MIB, SIZE)) for at in range(0, SIZE, MIB)
    ]
    assert fetch.slept == []


def test_pauses_between_refusals(
    server: WebServer, fetch: Fetch, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get longer, and are as long as the server asks for."""
    monkeypatch.setattr(patience, "PAUSES", (30.0,) * 6)
    first = server.hook = First(server, status("503 Busy"), 1)
    fetch(server.put("/f", DATA), connections=2)
    assert first.refused == 1
    assert fetch.path.read_bytes() == DATA


def test_wait_that_is_asked_for(server: WebServer, fetch: Fetch, eager: None) -> None:
    first = server.hook = First(server, status("429 Slow", ("Retry-After", "20")), 1)
    fetch(server.put("/f", DATA), connections=2)
    assert first.refused == 1
    assert fetch.path.read_bytes() == DATA


@pytest.mark.parametrize(
    "refuse",
    [
        *(status("403 Forbidden"), status("404 No"), status("410 Gone")),
        *(other_version, part_of_other_version),
    ],
)
def test_said_on_one_connection_only(
    refuse: Refusal, server: WebServer, fetch: Fetch, eager: None
) -> None:
    first = server.hook = First(server, refuse, 1)
    fetch(server.put("/f", DATA), connections=2)
    assert fetch.path.read_bytes() == DATA
    assert first.refused == 1
    assert [note.partition(":")[0] for note in fetch.notes] == ["no further connection is made"]
    assert all(asked.range for asked in server.asked if not asked.connection)
    assert fetch.slept == []


def test_said_on_all_connections(server: WebServer, fetch: Fetch, eager: None) -> None:
    both = threading.Barrier(2)

    def gone(asked: Asked) -> Iterable[Piece] | None:
        if not asked.number:
            return None
        if asked.number < 3:
            both.wait(SECONDS)
        return [reply("410 Gone")]

    server.hook = gone
    with pytest.raises(NothingThere, match="410 Gone"):
        fetch(server.put("/f", DATA), connections=2)


FOREVER = 300.0
"""Seconds after which the test would have failed."""


def test_others_are_silent(
    server: WebServer, fetch: Fetch, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they took is fetched by the first as soon as that has nothing else to do."""
    monkeypatch.setattr(crew, "BESIDE_MOST", FOREVER)
    monkeypatch.setattr(crew, "USELESS_AFTER", 0.05)
    server.hook = Gate(lambda asked: [Ending.STALL] if asked.connection else None)
    fetch(server.put("/f", DATA), connections=4, timeout=FOREVER)
    assert fetch.path.read_bytes() == DATA
    assert fetch.slept == []


@pytest.fixture
def full(server: WebServer) -> Iterator[Callable[[socket.socket], None]]:
    """Fills up what a listening socket lets wait: whoever connects then hears nothing."""
    with ExitStack() as stack:

        def fill(listener: socket.socket) -> None:
            for _ in range(4):
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())

        yield fill


def test_others_cannot_connect(
    full: Callable[[socket.socket], None], server: WebServer, fetch: Fetch, eager: None
) -> None:
    """Until they are connected they hold nothing, and nobody waits for them in the end."""
    server.put("/f", DATA)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    tried = threading.Event()
    beside = crew.Crew._add

    def first() -> None:
        sock, _ = listener.accept()
        full(listener)
        with sock, socket.create_connection(("127.0.0.1", server.port)) as honest:
            while request := sock.recv(65536):
                honest.sendall(request)
                if b"bytes=0-" not in request:
                    assert tried.wait(SECONDS)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += honest.recv(1)
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
                sock.sendall(head)
                while length:
                    length -= len(piece := honest.recv(min(length, 65536)))
                    sock.sendall(piece)

    def add(self: crew.Crew[crew.Worker], worker: crew.Worker) -> None:
        beside(self, worker)
        tried.set()

    thread = threading.Thread(target=first)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crew.Crew, "_add", add)
        patch.setattr(crew, "BESIDE_MOST", FOREVER)
        place = server.at("/f")._replace(port=listener.getsockname()[1])
        fetch(place, connections=3, timeout=FOREVER)
    thread.join(SECONDS)
    listener.close()
    assert tried.is_set()
    assert fetch.path.read_bytes() == DATA
    assert fetch.slept == []
    # No part came twice: nobody else had one.
    assert [asked.range for asked in server.asked] == [
        (at, min(at + MIB, SIZE)) for at in range(0, SIZE, MIB)
    ]
