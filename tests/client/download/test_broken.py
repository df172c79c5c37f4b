"""Tests `client.download` where connections break: it goes on, and fetches nothing twice."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client import patience as engine
from tcpdl.client.errors import CannotConnect, ConnectionBroken
from tcpdl.client.patience import PAUSES
from tcpdl.wire import native
from tcpdl.wire.native import Chunk, Digest, End, Error, FileInfo
from tests.client.download.conftest import BETWEEN, CHUNK, DIGEST, END, NAME, Fetch, some
from tests.client.native_server import (
    Asked,
    Ending,
    NativeServer,
    Payload,
    Piece,
    Pieces,
    break_after,
)

SHORT = 3 * CHUNK + 100
LONG = 20 * CHUNK + 100
"""More than is fetched without a thread."""

ENDINGS = list(Ending)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("size", [SHORT, LONG])
@pytest.mark.parametrize("kind", [FileInfo, Chunk, Payload, Digest, End])
def test_after_each_kind_of_message(
    kind: type, size: int, ending: Ending, server: NativeServer, fetch: Fetch
) -> None:
    data = some(size)
    server.hook = break_after([kind], ending)
    fetched = fetch(server.put(b"f", data), timeout=0.25)
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert fetch.notes == []
    # An end after all has come is of no interest, unless it makes the kernel throw all away.
    if kind is not End or ending is not Ending.RESET:
        assert server.connections == (1 if kind is End else 2)
    # With a reset, the kernel throws away what was not read yet.
    assert ending is Ending.RESET or server.payload <= size + 2
    assert fetched.kept == 0
    assert len(fetch.slept) == server.connections - 1
    assert all(get.tag == server.files[b"f"].tag for get in server.gets[1:])


PROOF = -END - DIGEST + 8
"""Where the header of the last digest ends."""
POINTS = [1, CHUNK // 2, CHUNK - 1, CHUNK + 70_000, 2 * CHUNK + 1]
POINTS += [-300, -80, PROOF - 1, PROOF, -END - 1]


@pytest.mark.parametrize("size", [SHORT, LONG])
@pytest.mark.parametrize(
    ("at", "ending"),
    [*((at, Ending.FIN) for at in POINTS), (POINTS[3], Ending.STALL), (PROOF, Ending.STALL)],
)
def test_at_any_byte(
    at: int, ending: Ending, size: int, server: NativeServer, fetch: Fetch
) -> None:
    """Counted from before the first run, and from the end of the answer."""
    data = some(size)
    chunks = -(-size // CHUNK)
    whole = BETWEEN + size + chunks * (8 + DIGEST) + END
    server.cuts = [((BETWEEN if at > 0 else whole) + at, ending)]
    fetch(server.put(b"f", data), timeout=0.25)
    assert fetch.path.read_bytes() == data
    assert server.connections == 2
    assert server.payload <= size + 1


def test_what_is_missing_is_asked_for(server: NativeServer, fetch: Fetch) -> None:
    data = some(SHORT)
    server.cuts = [(BETWEEN + 8 + CHUNK + DIGEST + 8 + 1000, Ending.FIN)]
    fetch(server.put(b"f", data))
    first, second = server.gets
    assert (first.offset, first.tag) == (0, native.ANY_TAG)
    assert (second.offset, second.length) == (CHUNK + 1000, SHORT - CHUNK - 1000)
    assert server.payload == SHORT


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_again_and_again_with_progress(size: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(size)
    each = 20_000
    times = size // each
    assert times > len(engine.PAUSES)
    server.cuts = [(BETWEEN + 8 + each, Ending.FIN)] * times
    fetched = fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload <= size + times
    # Each time something came, and so each pause is the first.
    assert set(fetch.slept) == {engine.PAUSES[0]}
    assert fetched.received < size + (times + 25) * 400


def refuse_later(server: NativeServer, at: int) -> None:
    """Answer once, as far as the byte `at`; then be gone."""

    def once(_asked: Asked, pieces: Pieces) -> Pieces:
        count = 0
        for piece in pieces:
            if isinstance(piece, Payload):
                count += len(piece.data)
                if count > at:
                    yield piece._replace(data=piece.data[: len(piece.data) - count + at])
                    server.hang_up()
                    yield Ending.FIN
            yield piece

    server.hook = once


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_gives_up(size: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(size)
    refuse_later(server, CHUNK + 50)
    with pytest.raises(CannotConnect) as raised:
        fetch(server.put(b"f", data))
    assert raised.value.status == 3
    assert fetch.slept == list(engine.PAUSES)
    assert not fetch.path.exists()
    assert fetch.part.read_bytes() == data[: CHUNK + 50]


def test_pauses_begin_anew_after_progress(server: NativeServer, fetch: Fetch) -> None:
    data = some(SHORT)
    nothing = (0, Ending.FIN)
    server.cuts = [(BETWEEN + 8 + 100, Ending.FIN), *[nothing] * 3]
    server.cuts += [(BETWEEN + 8 + 100, Ending.FIN), *[nothing] * 2]
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    pauses = engine.PAUSES
    assert fetch.slept == [*pauses[:4], *pauses[:3]]


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_connections_without_a_byte(size: int, server: NativeServer, fetch: Fetch) -> None:
    """As from a forwarder whose server is gone."""
    data = some(size)
    server.cuts = [(BETWEEN + 8 + CHUNK + DIGEST, Ending.FIN), *[(0, Ending.FIN)] * 50]
    with pytest.raises(ConnectionBroken):
        fetch(server.put(b"f", data))
    assert fetch.slept == list(engine.PAUSES)
    assert fetch.part.read_bytes()[:CHUNK] == data[:CHUNK]
    assert not fetch.path.exists()


def broken_for_good(server: NativeServer, *answer: Piece) -> None:
    """After the first half, every request is answered with the same, which leads nowhere."""

    def stuck(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Chunk) and (asked.number or piece.length < CHUNK):
                for one in answer:
                    yield one._replace(id=asked.request.id) if isinstance(one, Error) else one
                yield Ending.FIN
            yield piece

    server.hook = stuck


@pytest.mark.parametrize(
    "answer", [[], [Error(0, native.UNAVAILABLE, "the disk fails")], [Error(0, 64, "what?")]]
)
@pytest.mark.parametrize("size", [SHORT, LONG])
def test_gives_up_where_nothing_more_comes(
    size: int, answer: list[Piece], server: NativeServer, fetch: Fetch
) -> None:
    """A byte of the server's disk cannot be read, say: it greets, begins, and breaks off."""
    broken_for_good(server, *answer)
    with pytest.raises(ConnectionBroken):
        fetch(server.put(b"f", some(size)))
    assert len(fetch.slept) <= 20


def test_gives_up_where_a_digest_never_comes(server: NativeServer, fetch: Fetch) -> None:
    def hold_back(_asked: Asked, pieces: Pieces) -> Pieces:
        return (one for one in pieces if not (isinstance(one, Digest) and one.chunk == 1))

    server.hook = hold_back
    with pytest.raises(ConnectionBroken):
        fetch(server.put(b"f", some(SHORT)))


def test_progress_is_told_once(server: NativeServer, fetch: Fetch) -> None:
    data = some(SHORT)
    server.cuts = [(BETWEEN + 8 + CHUNK + DIGEST, Ending.FIN)]
    fetched = fetch(server.put(b"f", data))
    assert fetched.received - 40 <= sum(fetch.told) <= fetched.received


@pytest.mark.parametrize("size", [CHUNK // 2, SHORT, LONG])
@pytest.mark.parametrize("ending", ENDINGS)
def test_before_anything_came(
    ending: Ending, size: int, server: NativeServer, fetch: Fetch
) -> None:
    """Nobody knows whether there is such a server. Silence is not waited for again; a clean end may
    be another dialect's, and is tried once more; who is busy resets connections."""
    attempts = {Ending.STALL: 1, Ending.FIN: 2, Ending.RESET: 1 + len(PAUSES)}[ending]
    server.cuts = [(0, ending)] * attempts
    with pytest.raises(ConnectionBroken):
        fetch(server.put(b"f", some(size)), timeout=0.25)
    assert fetch.names == set()
    assert len(fetch.slept) == attempts - 1


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=st.integers(1, 24 * CHUNK),
    cuts=st.lists(st.integers(1, 6 * CHUNK), max_size=6),
    lag=st.integers(0, 1),
    resets=st.booleans(),
)
def test_anywhere(
    size: int, cuts: list[int], lag: int, resets: bool, server: NativeServer, fetch: Fetch
) -> None:
    """Over several runs, if need be: in the end, the file is right, and cost little more."""
    data = some(size)
    location = server.put(b"f", data)
    server.lag = lag
    server.cuts = [(cut, Ending.RESET if resets else Ending.FIN) for cut in cuts]
    server.forget()
    for _ in range(len(cuts) + 1):
        fetch.slept.clear()
        try:
            fetch(location)
            break
        except ConnectionBroken:
            assert not fetch.path.exists()
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    if not resets:
        # A whole chunk without its digest is asked for by its last byte; and that is all.
        assert server.payload <= size + 2 * len(cuts)
    fetch.path.unlink()
