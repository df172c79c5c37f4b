"""Tests `client.download` where bytes are damaged on their way, or digests are."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client.errors import ClientError, Damaged, Garbled
from tcpdl.client.worker import DAMAGED_MOST
from tcpdl.wire import native
from tcpdl.wire.native import Digest, FileInfo, Get
from tests.client.download.conftest import CHUNK, NAME, Fetch, some
from tests.client.native_server import Asked, NativeServer, Payload, Pieces, flip

SHORT = 3 * CHUNK + 100
LONG = 20 * CHUNK + 100
"""More than is fetched without a thread."""


@pytest.mark.parametrize("size", [SHORT, LONG])
@pytest.mark.parametrize("where", [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 5, -100, -1])
def test_one_byte(size: int, where: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(size)
    where %= size
    server.hook = flip(where, times=1)
    fetched = fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    chunk = where // CHUNK
    length = min(CHUNK, size - chunk * CHUNK)
    assert server.payload == size + length
    assert fetched.received < size + length + 4000
    assert server.connections == 1
    assert fetch.slept == []
    (note,) = fetch.notes
    assert f"bytes {chunk * CHUNK} to {chunk * CHUNK + length} arrived damaged" in note


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_a_byte_of_every_chunk(size: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(size)
    server.hook = flip(*range(7, size, CHUNK), times=1)
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload == 2 * size


def test_often_but_not_too_often(server: NativeServer, fetch: Fetch) -> None:
    data = some(SHORT)
    server.hook = flip(3, CHUNK + 3, times=DAMAGED_MOST - 1)
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert len(fetch.notes) == 2 * (DAMAGED_MOST - 1)


@pytest.mark.parametrize("size", [1, SHORT, LONG])
def test_always(size: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(size)
    server.hook = flip(size - 1)
    with pytest.raises(Damaged, match="arrived damaged 4 times") as raised:
        fetch(server.put(b"f", data))
    assert raised.value.status == 8
    assert not fetch.path.exists()
    assert len(fetch.notes) == DAMAGED_MOST - 1
    last = (size - 1) % CHUNK + 1
    assert server.payload <= size + (DAMAGED_MOST - 1) * last
    # Later, elsewhere, it goes on from there.
    server.hook = None
    server.forget()
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert server.payload <= last + 1


@pytest.mark.parametrize("size", [SHORT, LONG])
@pytest.mark.parametrize("chunk", [0, 1, 3])
def test_digest(size: int, chunk: int, server: NativeServer, fetch: Fetch) -> None:
    left = [1]

    def lie(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Digest) and piece.chunk == chunk and left[0]:
                left[0] -= 1
                piece = piece._replace(digest=bytes(32))
            yield piece

    data = some(size)
    server.hook = lie
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload <= size + CHUNK
    assert len(fetch.notes) == 1


def test_digest_always(server: NativeServer, fetch: Fetch) -> None:
    def lie(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield piece._replace(digest=bytes(32)) if isinstance(piece, Digest) else piece

    server.hook = lie
    with pytest.raises(Damaged):
        fetch(server.put(b"f", some(LONG)))
    assert not fetch.path.exists()


@pytest.mark.parametrize("algorithm", [native.SHA256, native.BLAKE3])
@pytest.mark.parametrize(
    ("seals", "error"), [(True, Damaged), (False, Garbled)], ids=["but the seal", "and the seal"]
)
def test_digest_of_the_other_algorithm(
    seals: bool, error: type[ClientError], algorithm: int, server: NativeServer, fetch: Fetch
) -> None:
    """What it says it speaks, and what it computes, are two things."""

    def confused(asked: Asked, _pieces: Pieces) -> Pieces:
        for piece in server.answer(asked.request, 3 - asked.algorithm):
            yield asked.seal(piece) if seals and isinstance(piece, FileInfo) else piece

    server.choose = lambda offered: algorithm  # type: ignore[method-assign]
    server.hook = confused
    with pytest.raises(error):
        fetch(server.put(b"f", some(SHORT)))
    assert not fetch.path.exists()


def test_swapped_chunks(server: NativeServer, fetch: Fetch) -> None:
    """All that comes is right, but not in its place."""
    data = some(4 * CHUNK)
    swapped = data[CHUNK : 2 * CHUNK] + data[:CHUNK] + data[2 * CHUNK :]

    def swap(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload) and not asked.number:
                at, end = piece.offset, piece.offset + len(piece.data)
                piece = Payload(swapped[at:end], at)
            yield piece

    server.hook = swap
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload == 6 * CHUNK


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choose=st.data())
def test_any_bytes(choose: st.DataObject, server: NativeServer, fetch: Fetch) -> None:
    size = choose.draw(st.integers(1, 6 * CHUNK))
    offsets = choose.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=5, unique=True))
    server.lag = choose.draw(st.integers(0, 1))
    whole = some(size)
    server.hook = flip(*offsets, times=1)
    fetch(server.put(b"f", whole))
    assert fetch.path.read_bytes() == whole
    fetch.path.unlink()


def test_of_one_span_of_many(
    server: NativeServer, fetch: Fetch, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = some(LONG)
    server.hook = flip(5 * CHUNK, 9 * CHUNK, times=1)
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    again = [get for get in server.gets if isinstance(get, Get) and get.offset == 5 * CHUNK]
    assert again[-1].length == CHUNK
