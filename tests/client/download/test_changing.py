"""Tests `client.download` where the file changes: it ends as one version, never as a mixture."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client.crew import VERSIONS_MOST
from tcpdl.client.errors import Changed, NothingThere
from tcpdl.wire import native
from tcpdl.wire.native import Digest, DigestList, End, Error, FileInfo
from tests.client.download.conftest import CHUNK, NAME, PART, RECORD, Fetch, some
from tests.client.native_server import Asked, Ending, NativeServer, Payload, Pieces

SHORT = 5 * CHUNK + 99
LONG = 20 * CHUNK + 99


def change(server: NativeServer, new: bytes, at: int, ending: Ending | None = None) -> None:
    """Once, before the run at or after `at`: replace the file, and say so or break off."""
    pending = [True]

    def changing(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if pending and isinstance(piece, Payload) and piece.offset >= at:
                pending.pop()
                server.put(b"f", new)
                yield piece  # that was under way
                if ending is not None:
                    yield ending
                yield Error(asked.request.id, native.CHANGED, "it changed")
                return
            yield piece

    server.hook = changing


@pytest.mark.parametrize("ending", [None, Ending.FIN, Ending.RESET])
@pytest.mark.parametrize("size", [CHUNK // 2, SHORT, LONG])
@pytest.mark.parametrize("at", [0, 2 * CHUNK])
def test_once(
    at: int, size: int, ending: Ending | None, server: NativeServer, fetch: Fetch
) -> None:
    old, new = some(size, 1), some(size, 2)
    location = server.put(b"f", old)
    change(server, new, min(at, size // 2 // CHUNK * CHUNK), ending)
    fetched = fetch(location)
    assert fetch.path.read_bytes() == new
    assert fetch.names == {NAME}
    assert fetched.size == size
    assert any("changed" in note for note in fetch.notes)


@pytest.mark.parametrize("new_size", [0, 1, CHUNK, SHORT - CHUNK, SHORT + CHUNK, LONG + 1])
@pytest.mark.parametrize("size", [SHORT, LONG])
def test_to_another_size(size: int, new_size: int, server: NativeServer, fetch: Fetch) -> None:
    old, new = some(size, 1), some(new_size, 2)
    location = server.put(b"f", old)
    change(server, new, CHUNK)
    fetched = fetch(location)
    assert fetch.path.read_bytes() == new
    assert fetched.size == new_size
    assert fetch.names == {NAME}


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_what_is_the_same_is_kept(size: int, server: NativeServer, fetch: Fetch) -> None:
    old = some(size)
    new = old[: 3 * CHUNK] + some(CHUNK, 1) + old[4 * CHUNK :]
    location = server.put(b"f", old)
    change(server, new, 4 * CHUNK)
    fetched = fetch(location)
    assert fetch.path.read_bytes() == new
    assert fetched.kept >= 3 * CHUNK
    assert server.payload <= size + 2 * CHUNK + 2


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_noticed_by_the_tag(size: int, server: NativeServer, fetch: Fetch) -> None:
    """The second connection is told of another version, though it asked for this one."""
    old, new = some(size, 1), some(size, 2)
    location = server.put(b"f", old)

    def careless(asked: Asked, pieces: Pieces) -> Pieces:
        if not asked.connection:
            for piece in pieces:
                yield piece
                if isinstance(piece, Digest):
                    server.put(b"f", new)
                    yield Ending.FIN
        else:
            request = asked.request._replace(tag=native.ANY_TAG)
            for piece in server.answer(request, asked.algorithm):
                if isinstance(piece, FileInfo):
                    yield asked.seal(piece)
                else:
                    yield asked.seal(piece) if isinstance(piece, DigestList) else piece

    server.hook = careless
    fetch(location)
    assert fetch.path.read_bytes() == new


@pytest.mark.parametrize("size", [CHUNK // 2, SHORT, LONG])
def test_for_ever(size: int, server: NativeServer, fetch: Fetch) -> None:
    counter = itertools.count(1)
    location = server.put(b"f", some(size))

    def changing(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield piece
            if isinstance(piece, Payload):
                server.put(b"f", some(size, next(counter)))
                yield Error(asked.request.id, native.CHANGED, "it changed")
                return

    server.hook = changing
    with pytest.raises(Changed, match="changes faster than it can be fetched") as raised:
        fetch(location)
    assert raised.value.status == 4
    assert not fetch.path.exists()
    assert fetch.names <= {PART, RECORD}
    assert server.connections == VERSIONS_MOST
    server.hook = None
    fetch(location)
    assert fetch.path.read_bytes() == server.files[b"f"].data


def test_between_the_question_and_the_digests(server: NativeServer, fetch: Fetch) -> None:
    old, new = some(SHORT, 1), some(SHORT, 2)
    fetch.part.write_bytes(old)
    location = server.put(b"f", old)

    def changing(asked: Asked, pieces: Pieces) -> Pieces:
        yield from pieces
        if not asked.number:
            server.put(b"f", new)

    server.hook = changing
    fetch(location)
    assert fetch.path.read_bytes() == new


def test_old_version_stays_meanwhile(server: NativeServer, fetch: Fetch) -> None:
    mine = some(LONG, 7)
    fetch.path.write_bytes(mine)
    seen = set()
    location = server.put(b"f", some(LONG, 1))
    change(server, some(LONG, 2), 5 * CHUNK)
    fetch(location, progress=lambda _: seen.add(fetch.path.read_bytes()))
    assert seen == {mine}
    assert fetch.path.read_bytes() == some(LONG, 2)


def test_vanishes(server: NativeServer, fetch: Fetch) -> None:
    location = server.put(b"f", some(LONG))
    server.cuts = [(3 * CHUNK, Ending.FIN)]

    def vanish(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield piece
            if isinstance(piece, FileInfo):
                server.files.pop(b"f", None)

    server.hook = vanish
    with pytest.raises(NothingThere):
        fetch(location)
    assert not fetch.path.exists()
    assert fetch.part.exists()


def test_mended_in_place_with_the_same_tag(server: NativeServer, fetch: Fetch) -> None:
    """A server whose tags are of no use: bytes and digests do not fit, and are fetched again."""
    old, new = some(SHORT, 1), some(SHORT, 2)
    location = server.put(b"f", old, tag=b"t" * 16)
    new_file = server.files[b"f"]._replace(data=new)

    def careless(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, End) and not asked.number:
                server.files[b"f"] = new_file
            if isinstance(piece, Payload) and not asked.number and piece.offset == CHUNK:
                piece = piece._replace(data=new[CHUNK : 2 * CHUNK])
            yield piece

    server.hook = careless
    fetch(location)
    # Each chunk is one that the server vouched for. More cannot be known.
    found = fetch.path.read_bytes()
    for at in range(0, SHORT, CHUNK):
        assert found[at : at + CHUNK] in (old[at : at + CHUNK], new[at : at + CHUNK])


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 6 * CHUNK), min_size=2, max_size=VERSIONS_MOST),
    at=st.integers(0, 3),
    same=st.integers(0, 4),
)
def test_any_versions(
    sizes: list[int], at: int, same: int, server: NativeServer, fetch: Fetch
) -> None:
    common = some(same * CHUNK)
    versions = [(common + some(size, number))[:size] for number, size in enumerate(sizes)]
    location = server.put(b"f", versions.pop(0), tag=b"0" * 16)

    def changing(asked: Asked, pieces: Pieces) -> Pieces:
        count = 0
        for piece in pieces:
            if isinstance(piece, Payload) and versions:
                count += 1
                if count > at:
                    server.put(b"f", versions.pop(0), tag=b"%16d" % len(versions))
                    yield piece
                    yield Error(asked.request.id, native.CHANGED, "it changed")
                    return
            yield piece

    server.hook = changing
    fetch(location)
    assert fetch.path.read_bytes() == server.files[b"f"].data
    assert fetch.names == {NAME}
    fetch.path.unlink()
