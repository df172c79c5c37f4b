"""Tests `client.download` over several connections, with one server."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client import crew, patience
from tcpdl.client.errors import ClientError, NothingThere
from tcpdl.client.pace import Growth
from tcpdl.client.part import Part
from tcpdl.wire.native import Digest, Get
from tests.client.download.conftest import CHUNK, NAME, PART, RECORD, Fetch, Hangs, some
from tests.client.native_server import (
    SECONDS,
    Asked,
    Ending,
    NativeServer,
    Payload,
    Pieces,
    flip,
)

SIZE = 40 * CHUNK + 1234

pytestmark = pytest.mark.usefixtures("eager")


def together(server: NativeServer, count: int) -> None:
    """Nothing of the file is sent until so many connections have asked for some."""
    barrier = threading.Barrier(count)
    arrived: set[int] = set()

    def wait(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            first = asked.connection < count and asked.connection not in arrived
            if isinstance(piece, Payload) and first:
                arrived.add(asked.connection)
                barrier.wait(SECONDS)
            yield piece

    server.hook = wait


@pytest.mark.parametrize("count", [2, 4, 8])
def test_spans_are_disjoint(count: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    together(server, count)
    fetched = fetch(server.put(b"f", data), connections=count)
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert server.connections == count
    assert server.payload == SIZE
    at = 0
    for start, end in sorted(server.spans):
        assert start == at
        at = end
    assert at == SIZE
    assert fetched.received < SIZE + 80 * 400
    assert fetched.kept == 0
    assert fetch.notes == []


@pytest.mark.parametrize("ending", [Ending.FIN, Ending.RESET, Ending.STALL])
@pytest.mark.parametrize("first", [True, False])
def test_one_breaks(first: bool, ending: Ending, server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    together(server, 3)
    cut = (CHUNK + 500, ending)
    server.cuts = [cut] if first else [(1 << 40, Ending.FIN), cut]
    fetch(server.put(b"f", data), connections=3, timeout=0.3)
    assert fetch.path.read_bytes() == data
    assert fetch.slept == []
    assert server.payload <= SIZE + 3 * CHUNK
    assert fetch.notes == []


def test_all_break(server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    together(server, 3)
    server.cuts = [(CHUNK + 500 * number, Ending.FIN) for number in range(9)]
    fetch(server.put(b"f", data), connections=3)
    assert fetch.path.read_bytes() == data
    assert server.payload <= SIZE + 20


def test_only_the_first_is_let_in(server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    server.cuts = [(1 << 40, Ending.FIN), *[(0, Ending.FIN)] * 1000]
    fetch(server.put(b"f", data), connections=4)
    assert fetch.path.read_bytes() == data
    assert server.payload == SIZE


@pytest.mark.parametrize("ending", [Ending.FIN, Ending.RESET])
def test_others_are_refused(ending: Ending, server: NativeServer, fetch: Fetch) -> None:
    """Each one later than the one before, and in the end no more are tried."""
    data = some(SIZE)
    enough = threading.Event()
    most = len(patience.PAUSES)

    def refuse(asked: Asked, pieces: Pieces) -> Pieces:
        if asked.connection:
            if asked.connection == most:
                enough.set()
            yield ending
        for piece in pieces:
            if isinstance(piece, Payload) and piece.offset >= SIZE // 2:
                assert enough.wait(SECONDS)
            yield piece

    server.hook = refuse
    fetch(server.put(b"f", data), connections=2)
    assert fetch.path.read_bytes() == data
    assert server.connections == 1 + most
    assert fetch.slept == []


def test_pauses_between_refusals(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSES", (30.0,) * 6)
    server.cuts = [(1 << 40, Ending.FIN), *[(0, Ending.FIN)] * 1000]
    fetch(server.put(b"f", some(SIZE)), connections=2)
    assert fetch.path.read_bytes() == some(SIZE)
    assert server.connections <= 2


def test_others_are_silent(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they took is fetched by the first as soon as that has nothing else to do."""
    forever = 300.0
    monkeypatch.setattr(crew, "BESIDE_MOST", forever)
    monkeypatch.setattr(crew, "USELESS_AFTER", 0.05)
    server.cuts = [(1 << 40, Ending.FIN), *[(0, Ending.STALL)] * 20]
    fetch(server.put(b"f", some(SIZE)), connections=4, timeout=forever)
    assert fetch.path.read_bytes() == some(SIZE)
    assert fetch.slept == []


def test_defect_is_raised(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file was asked for, and not lost in a thread."""

    def right(self: Part, index: int, found: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Part, "right", right)
    with pytest.raises(ZeroDivisionError):
        fetch(server.put(b"f", some(SIZE)), connections=2)
    assert not fetch.path.exists()


def test_damage_on_one(server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    together(server, 3)
    honest = server.hook
    damaging = flip(5, 5 * CHUNK + 7, 11 * CHUNK, 30 * CHUNK, times=2)
    assert honest is not None
    server.hook = lambda asked, pieces: honest(asked, iter(damaging(asked, pieces)))
    fetch(server.put(b"f", data), connections=3)
    assert fetch.path.read_bytes() == data
    assert server.payload == SIZE + 8 * CHUNK
    assert len(fetch.notes) == 8


def test_is_gone_on_one(server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    together(server, 2)
    honest = server.hook
    assert honest is not None

    def gone(asked: Asked, pieces: Pieces) -> Pieces:
        yield from honest(asked, pieces)
        if asked.connection == 1:
            server.files.pop(b"f", None)

    server.hook = gone
    with pytest.raises(NothingThere):
        fetch(server.put(b"f", data), connections=2)
    assert fetch.names == {PART, RECORD}


def test_interrupted(server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    together(server, 3)
    location = server.put(b"f", data)

    def interrupt(_count: int) -> None:
        if server.payload > 10 * CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(location, connections=3, progress=interrupt)
    assert not fetch.path.exists()
    assert fetch.names <= {PART, RECORD}
    server.hook = None
    sent = server.payload
    server.forget()
    fetched = fetch(location, connections=3)
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert server.payload <= SIZE - fetched.kept
    assert sent >= fetched.kept


@pytest.mark.parametrize("number", [0, 3, 20])
def test_interrupted_while_waiting(
    number: int, server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever time control-C comes, the threads end."""
    left = [number]
    eager = Growth.wants_another

    def wants_another(self: Growth, *args: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return eager(self, *args)

    def stalling(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload) and piece.offset >= 10 * CHUNK:
                yield Ending.STALL
            yield piece

    monkeypatch.setattr(Growth, "wants_another", wants_another)
    server.hook = stalling
    with pytest.raises(KeyboardInterrupt):
        fetch(server.put(b"f", some(SIZE)), connections=3)
    server.hook = None
    left[0] = 1 << 30
    fetch(server.put(b"f", some(SIZE)), connections=3)
    assert fetch.path.read_bytes() == some(SIZE)


def test_late_write_of_a_damaged_chunk(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is slow with what was damaged, while another connection fetches it anew."""
    data = some(SIZE)
    server.hook = flip(0, times=1)
    honest = os.pwrite
    again = threading.Event()
    pending = [True]

    def pwrite(fd: int, piece: Any, offset: int) -> int:
        if offset == 0 and pending:
            pending.pop()
            again.wait(0.5)  # in the thread that writes for the first connection
            return honest(fd, piece, offset)
        count = honest(fd, piece, offset)
        if offset == 0:
            again.set()
        return count

    monkeypatch.setattr(os, "pwrite", pwrite)
    busy = threading.Event()
    flipping = server.hook

    def hook(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in flipping(asked, pieces):
            if asked.connection == 0 and isinstance(piece, Payload) and piece.offset >= CHUNK:
                busy.wait(1)  # the first connection has enough to do
            elif asked.connection and isinstance(piece, Digest) and piece.chunk == 0:
                yield piece
                busy.set()
                continue
            yield piece

    server.hook = hook
    fetch(server.put(b"f", data), connections=2)
    assert fetch.path.read_bytes() == data


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    count=st.integers(1, 5),
    size=st.integers(17 * CHUNK, 40 * CHUNK),
    cuts=st.lists(st.integers(0, 8 * CHUNK), max_size=8),
    flips=st.lists(st.integers(0, 17 * CHUNK - 1), max_size=3, unique=True),
    lag=st.integers(0, 1),
)
def test_anything(
    count: int,
    size: int,
    cuts: list[int],
    flips: list[int],
    lag: int,
    server: NativeServer,
    fetch: Fetch,
) -> None:
    data = some(size)
    server.lag = lag
    server.cuts = [(cut, Ending.FIN) for cut in cuts]
    server.hook = flip(*flips, times=1)
    server.asked.clear()
    for _ in range(len(cuts) + 1):
        fetch.slept.clear()
        try:
            fetch(server.put(b"f", data), connections=count)
            break
        except (ClientError, Hangs):
            assert not fetch.path.exists()
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert all(isinstance(one.request, Get) for one in server.asked)
    fetch.path.unlink()
