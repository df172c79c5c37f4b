"""Tests `client.download` with further servers of the same file."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tcpdl.client.pace import Growth
from tcpdl.client.url import Location
from tcpdl.wire import native
from tcpdl.wire.native import Chunk, Digest, Error, Get
from tests.client.download.conftest import CHUNK, NAME, Fetch, Start, some
from tests.client.native_server import (
    SECONDS,
    Asked,
    Ending,
    NativeServer,
    Payload,
    Pieces,
    break_after,
    flip,
)

SIZE = 40 * CHUNK + 1234

pytestmark = pytest.mark.usefixtures("eager")


class Gate:
    """Holds the main server's bytes back until another has sent some, or is known to be of no use.

    The first chunks are let through.
    """

    def __init__(self, server: NativeServer) -> None:
        self.open = threading.Event()
        server.hook = self.main

    def main(self, asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload) and piece.offset >= CHUNK:
                assert self.open.wait(SECONDS)
            yield piece

    def other(self, _asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield piece
            if isinstance(piece, Payload):
                self.open.set()

    def note(self, text: str) -> None:
        self.open.set()


@pytest.fixture
def gate(server: NativeServer, eager: None, monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(server)

    def wants_another(self: Any, *args: Any) -> bool:
        # Only sources make connections until then: each finds room for one of its own.
        return gate.open.is_set() and args[-1] < self._most and args[-2] > 0

    monkeypatch.setattr(Growth, "wants_another", wants_another)
    return gate


def test_is_used(server: NativeServer, serving: Start, fetch: Fetch, gate: Gate) -> None:
    data = some(SIZE)
    other = serving()
    other.hook = gate.other
    places = [other.put(b"elsewhere/g", data, tag=b"another tag here")]
    fetched = fetch(server.put(b"f", data), sources=places, connections=4)
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert server.payload > 0
    assert other.payload > 0
    assert server.payload + other.payload == SIZE
    assert all(get.tag == b"another tag here" for get in other.gets)
    assert fetched.size == SIZE
    assert fetch.notes == []


def other_file(other: NativeServer, data: bytes) -> None:
    other.put(b"f", data[:-1] + bytes([data[-1] ^ 1]))


def other_size(other: NativeServer, data: bytes) -> None:
    other.put(b"f", data + b"!")


def none(other: NativeServer, data: bytes) -> None:
    """It has nothing."""


def other_chunks(other: NativeServer, data: bytes) -> None:
    other.put(b"f", data)
    other.files[b"f"] = other.files[b"f"]._replace(shift=17)


def gone(other: NativeServer, data: bytes) -> None:
    other.hang_up()


def silent(other: NativeServer, data: bytes) -> None:
    other.cuts = [(0, Ending.FIN)] * 9


def broken(other: NativeServer, data: bytes) -> None:
    other.put(b"f", data)
    other.cuts = [(300, Ending.RESET)] * 9


@pytest.mark.parametrize(
    "spoil", [other_file, other_size, none, other_chunks, gone, silent, broken]
)
def test_is_not_used(
    spoil: object, server: NativeServer, serving: Start, fetch: Fetch, gate: Gate
) -> None:
    assert callable(spoil)
    data = some(SIZE)
    other = serving()
    spoil(other, data)
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        gate.note(text)

    place = Location("127.0.0.1", other.port, b"f")
    fetch(server.put(b"f", data), sources=[place], connections=4, note=note)
    assert fetch.path.read_bytes() == data
    assert (other.payload, server.payload) == (0, SIZE)
    (text,) = notes
    assert text.startswith(f"127.0.0.1:{other.port} is not used: ")


def test_of_another_algorithm(
    server: NativeServer, serving: Start, fetch: Fetch, gate: Gate
) -> None:
    """What it speaks cannot be compared with what the first server does."""
    data = some(SIZE)
    other = serving(algorithms=native.SHA256)
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        gate.note(text)

    fetch(server.put(b"f", data), sources=[other.put(b"f", data)], connections=4, note=note)
    assert fetch.path.read_bytes() == data
    assert other.payload == 0
    assert len(notes) == 1


def test_vanishes(server: NativeServer, serving: Start, fetch: Fetch, gate: Gate) -> None:
    data = some(SIZE)
    other = serving()

    def vanish(asked: Asked, pieces: Pieces) -> Pieces:
        yield from gate.other(asked, pieces)
        if isinstance(asked.request, Get):
            other.files.pop(b"f", None)

    other.hook = vanish
    fetch(server.put(b"f", data), sources=[other.put(b"f", data)], connections=4)
    assert fetch.path.read_bytes() == data
    assert any("is not used any more" in note for note in fetch.notes)


def test_changes(server: NativeServer, serving: Start, fetch: Fetch, gate: Gate) -> None:
    data = some(SIZE)
    other = serving()

    def change(asked: Asked, pieces: Pieces) -> Pieces:
        yield from gate.other(asked, pieces)
        if isinstance(asked.request, Get):
            other.put(b"f", some(SIZE, 1))

    other.hook = change
    fetch(server.put(b"f", data), sources=[other.put(b"f", data)], connections=4)
    assert fetch.path.read_bytes() == data
    assert any("is not used any more" in note for note in fetch.notes)


def test_main_server_dies(server: NativeServer, serving: Start, fetch: Fetch, gate: Gate) -> None:
    data = some(SIZE)
    other = serving()

    def kill(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload):
                server.hang_up()
                gate.open.set()
            yield piece

    other.hook = kill
    fetch(server.put(b"f", data), sources=[other.put(b"f", data)], connections=2)
    assert fetch.path.read_bytes() == data
    assert other.payload >= SIZE - 3 * CHUNK


def test_main_server_dies_and_the_other_breaks_once(
    server: NativeServer, serving: Start, fetch: Fetch, gate: Gate
) -> None:
    data = some(SIZE)
    other = serving()
    pending = [True]

    def kill(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload):
                server.hang_up()
                gate.open.set()
                if pending and piece.offset > 10 * CHUNK:
                    pending.pop()
                    yield Ending.FIN
            yield piece

    other.hook = kill
    fetch(server.put(b"f", data), sources=[other.put(b"f", data)], connections=2)
    assert fetch.path.read_bytes() == data


def test_breaks_now_and_then(
    server: NativeServer, serving: Start, fetch: Fetch, gate: Gate
) -> None:
    data = some(SIZE)
    other = serving()
    breaking = break_after([Digest], Ending.FIN, times=5)
    other.hook = lambda asked, pieces: gate.other(asked, iter(breaking(asked, pieces)))
    fetch(server.put(b"f", data), sources=[other.put(b"f", data)], connections=2)
    assert fetch.path.read_bytes() == data


def test_silent_one_is_not_waited_for(
    server: NativeServer, serving: Start, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcpdl.client.crew.USELESS_AFTER", 0.05)
    data = some(SIZE)
    other = serving()
    other.cuts = [(0, Ending.STALL)]
    began = time.monotonic()
    fetch(server.put(b"f", data), sources=[other.put(b"f", data)], connections=2, timeout=60)
    assert fetch.path.read_bytes() == data
    assert time.monotonic() - began < 30


def test_lies_about_its_digests(
    server: NativeServer, serving: Start, fetch: Fetch, gate: Gate
) -> None:
    """It has other bytes than the digests that it was chosen for, and digests of these."""
    data = some(SIZE)
    other = serving()
    place = other.put(b"f", data, tag=b"t" * 16)

    def lie(asked: Asked, pieces: Pieces) -> Pieces:
        if isinstance(asked.request, Get):
            other.files[b"f"] = other.files[b"f"]._replace(data=some(SIZE, 1))
        yield from gate.other(asked, pieces)

    other.hook = lie
    fetch(server.put(b"f", data), sources=[place], connections=2)
    assert fetch.path.read_bytes() == data


def test_sends_half_a_chunk_late(
    server: NativeServer,
    serving: Start,
    fetch: Fetch,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It gives up a chunk, and writes to it once the other server's is in its place."""
    monkeypatch.setattr("tcpdl.client.crew.FIRST_SPAN", 20 * CHUNK)
    monkeypatch.setattr("tcpdl.client.crew.SPAN_MOST", 32 * CHUNK)
    # What it gives up is for the other, and not for itself to ask for again.
    monkeypatch.setattr("tcpdl.client.worker.ASKED_MOST", 1)
    data = some(SIZE)
    other = serving()
    half = CHUNK // 2
    mended = threading.Event()

    def lie(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if (
                not isinstance(asked.request, Get)
                or not isinstance(piece, Payload)
                or gate.open.is_set()
            ):
                yield piece
                continue
            number, start = asked.request.id, piece.offset
            yield Payload(bytes(half), start)
            yield Digest(number, start // CHUNK, bytes(32))
            gate.open.set()
            mended.wait(1)
            yield Chunk(number, half)
            yield Payload(bytes(half), start + half)
            next(pieces)  # the digest

    def halve(asked: Asked, pieces: Pieces) -> Pieces:
        first = isinstance(asked.request, Get)
        for piece in lie(asked, pieces):
            if first and isinstance(piece, Chunk):
                first = False
                piece = piece._replace(length=half)
            yield piece

    def main(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in gate.main(asked, pieces):
            yield piece
            starts = [get.offset // CHUNK for get in other.gets]
            if isinstance(piece, Digest) and piece.chunk in starts:
                mended.set()

    other.hook = halve
    server.hook = main
    place = other.put(b"f", data)
    fetch(server.put(b"f", data), sources=[place], connections=2)
    assert fetch.path.read_bytes() == data


def test_always_damages(server: NativeServer, serving: Start, fetch: Fetch, gate: Gate) -> None:
    """Its own line is broken; that of the first server is not."""
    data = some(SIZE)
    other = serving()
    damaging = flip(*range(0, SIZE, CHUNK))
    other.hook = lambda asked, pieces: gate.other(asked, iter(damaging(asked, pieces)))
    # Only the source has time for the chunks it damaged.
    fetch(server.put(b"f", data), sources=[other.put(b"f", data)], connections=2)
    assert fetch.path.read_bytes() == data


def test_fails_for_now(server: NativeServer, serving: Start, fetch: Fetch, gate: Gate) -> None:
    data = some(SIZE)
    other = serving()
    left = [3]

    def fail(asked: Asked, pieces: Pieces) -> Pieces:
        if isinstance(asked.request, Get) and left[0]:
            left[0] -= 1
            gate.open.set()
            yield Error(asked.request.id, native.UNAVAILABLE, "not now")
            return
        yield from gate.other(asked, pieces)

    other.hook = fail
    fetch(server.put(b"f", data), sources=[other.put(b"f", data)], connections=2)
    assert fetch.path.read_bytes() == data


def test_several(server: NativeServer, serving: Start, fetch: Fetch, gate: Gate) -> None:
    data = some(SIZE)
    others = [serving() for _ in range(3)]
    ready = threading.Barrier(3)
    met = set()

    def together(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload) and threading.current_thread() not in met:
                met.add(threading.current_thread())
                ready.wait(SECONDS)
                gate.open.set()
            yield piece

    for other in others:
        other.hook = together
    places = [other.put(b"f", data) for other in others]
    fetch(server.put(b"f", data), sources=places, connections=4)
    assert fetch.path.read_bytes() == data
    # Two of them may come to use the same one, if they are found at the same moment.
    assert server.payload
    assert sum(bool(one.payload) for one in others) >= 2
