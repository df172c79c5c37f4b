"""Tests `client.download` and `client.stream` with a server that lies: a clear error, at worst."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl import digest
from tcpdl.client.errors import CannotWrite, ClientError, ConnectionBroken, Garbled
from tcpdl.client.stream import stream
from tcpdl.client.ways import Ways
from tcpdl.wire import native
from tcpdl.wire.native import HEADER, Chunk, Digest, DigestList, End, Error, FileInfo
from tests.client.download.conftest import BETWEEN, CHUNK, PART, RECORD, Fetch, some
from tests.client.native_server import MTIME, Asked, Ending, NativeServer, Payload, Piece, Pieces

SIZE = 9 * CHUNK + 1234
LONG = 20 * CHUNK + 1234

MEMORY = 24 * 1024 * 1024
"""More than a download needs, and less than any server could make it take."""

NOTHING = bytes(native.CHUNK_MOST)

SEAL = "damaged on its way"
"""What is said of an answer that is not to what was asked. A lie is to be noticed by itself."""

Lie = Callable[[Asked, Pieces], Iterator[Piece]]
P = TypeVar("P", FileInfo, Digest)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Fails the test if it takes much; ask for it last."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY


def changed(kind: type[P], change: Callable[[Asked, P], Iterator[Piece]]) -> Lie:
    """The honest answer, but for all messages of one kind."""

    def lie(asked: Asked, pieces: Pieces) -> Iterator[Piece]:
        for piece in pieces:
            if isinstance(piece, kind):
                yield from change(asked, piece)
            else:
                yield piece

    return lie


def info(asked: Asked, size: int, shift: int, tag: bytes = b"t" * 16) -> bytes:
    """A `FileInfo` as it is, whether it may be or not; with its seal."""
    body = struct.pack("!QqHBx16s", size, MTIME, 0o644, shift, tag)
    body += digest.digest(asked.algorithm, native.encode(asked.request), body)
    return HEADER.pack(0x41, 0, asked.request.id, len(body)) + body


def told(size: int, shift: int, tag: bytes = b"t" * 16) -> Lie:
    """That, and nothing else."""
    return lambda asked, _: iter([info(asked, size, shift, tag)])


def instead(make: Callable[[int], list[Piece]]) -> Lie:
    """Not the answer at all."""
    return lambda asked, _: iter(make(asked.request.id))


def run_of(number: int, length: int) -> list[Piece]:
    return [Chunk(number, length), NOTHING[:length]]


def within(make: Callable[[int], list[Piece]]) -> Lie:
    """The right beginning, and then this."""

    def lie(asked: Asked, pieces: Pieces) -> Iterator[Piece]:
        for piece in pieces:
            yield piece
            if isinstance(piece, FileInfo):
                for one in make(asked.request.id):
                    yield asked.seal(one) if isinstance(one, DigestList) else one
                yield Ending.FIN

    return lie


def message(kind: int, body: bytes, number: int = 1, flags: int = 0) -> bytes:
    return HEADER.pack(kind, flags, number, len(body)) + body


LIES: dict[str, Lie] = {
    "run across the end of a chunk": within(lambda n: run_of(n, CHUNK + 1)),
    "longest run": within(lambda n: run_of(n, native.CHUNK_MOST)),
    "run beyond the longest": within(lambda n: [message(0x42, b"")[:4] + b"\x01\0\0\1"]),
    "empty run": within(lambda n: [message(0x42, b"", n)]),
    "digest of what was not sent": within(lambda n: [Digest(n, 3, bytes(32))]),
    "digest of what is not there": within(lambda n: [Digest(n, 1 << 63, bytes(32))]),
    "digest twice": changed(Digest, lambda _, piece: iter([piece, piece])),
    "digests of others": changed(
        Digest,
        lambda _, piece: iter([piece._replace(chunk=piece.chunk + 1)]),
    ),
    "list of digests": within(lambda n: [DigestList(n, 0, (bytes(32),) * 1024)]),
    "nothing but an end": instead(lambda n: [End(n)]),
    "a digest first": instead(lambda n: [Digest(n, 0, bytes(32))]),
    "a run first": instead(lambda n: run_of(n, 100)),
    "information twice": changed(FileInfo, lambda _, piece: iter([piece, piece])),
    "pack": instead(lambda n: [message(0x45, bytes(40), n)]),
    "request": instead(lambda n: [message(0x01, bytes(40), n)]),
    "unknown type": instead(lambda n: [message(0x7F, b"", n)]),
    "flags": instead(lambda n: [message(0x4E, bytes(8), n, 1)]),
    "optional message that is too long": instead(lambda n: [HEADER.pack(0x80, 0, n, 65537)]),
    "no tag": told(SIZE, 16, bytes(16)),
    "chunks too small": told(SIZE, 15),
    "chunks too large": told(SIZE, 25),
    "too many chunks": told((65536 << 16) + 1, 16),
    "larger than can be": told(1 << 63, 24),
    "another id within": within(lambda n: [Chunk(n + 1, CHUNK), some(CHUNK)]),
    "fatal error": within(lambda n: [Error(0, 64, "\x1b]0;owned\x07 \u202e")]),
    "fatal error first": instead(lambda n: [Error(0, 65, "\x1b[2J" * 100)]),
    "error about the connection that is not fatal": within(lambda n: [Error(0, 5, "\n\r")]),
    "more after a fatal error": instead(lambda n: [Error(n, 64, ""), End(n)]),
    "an end": within(lambda n: [End(n)]),
    "an end of packs": within(lambda n: [End(n, packs=1)]),
    "another preface": instead(lambda n: [native.preface(1)]),
}


def problem_of(run: Callable[[], object]) -> ClientError | None:
    """What `run` raises; its text is fit to be shown, and not that the seal is wrong."""
    try:
        run()
    except ClientError as error:
        problem = error
    else:
        return None
    assert str(problem).isprintable()
    assert SEAL not in str(problem)
    return problem


@pytest.mark.parametrize("size", [SIZE, LONG])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_lies(lie: Lie, size: int, server: NativeServer, fetch: Fetch) -> None:
    """None of them makes a file, nor takes memory, nor leaves text that is not fit to be shown."""
    server.hook = lie
    location = server.put(b"f", some(size))
    problem = problem_of(lambda: fetch(location))
    if problem is None:
        assert fetch.path.read_bytes() == some(size)
    else:
        assert not fetch.path.exists()
    assert all(note.isprintable() for note in fetch.notes)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_lies_to_a_stream(lie: Lie, server: NativeServer, fetch: Fetch) -> None:
    server.hook = lie
    got: list[bytes] = []
    location = server.put(b"f", some(SIZE))
    ways = Ways(timeout=5, note=fetch.notes.append, sleep=fetch.sleep)
    problem = problem_of(lambda: stream(location, got.append, ways))
    assert problem or b"".join(got) == some(SIZE)
    assert some(SIZE).startswith(b"".join(got))


@pytest.mark.parametrize("chunks", [0, 1, 3])
@pytest.mark.parametrize("size", [SIZE, LONG])
def test_ends_too_early(chunks: int, size: int, server: NativeServer, fetch: Fetch) -> None:
    left = [chunks]

    def lie(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Chunk):
                left[0] -= 1
                if left[0] < 0:
                    yield End(asked.request.id)
                    return
            yield piece

    server.hook = lie
    with pytest.raises(ConnectionBroken):
        fetch(server.put(b"f", some(size)))


def test_ends_too_early_once(server: NativeServer, fetch: Fetch) -> None:
    lie = LIES["an end"]
    server.hook = lambda asked, pieces: pieces if asked.number else lie(asked, pieces)
    fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)


def test_preface_without_a_digest(server: NativeServer, fetch: Fetch) -> None:
    told = FileInfo(1, 9, MTIME, 0, 16, b"t" * 16)
    server.choose = lambda offered: 0  # type: ignore[method-assign]
    server.answer = lambda request, algorithm: iter(  # type: ignore[method-assign]
        [told, Chunk(1, 9), b"123456789", End(1)]
    )
    with pytest.raises(Garbled, match="no digest was chosen"):
        fetch(server.put(b"f", some(9)))
    assert server.connections == 2  # it is asked for again once


@pytest.mark.parametrize("preface", [0, 3, 4, 128])
def test_preface_with_an_unknown_digest(preface: int, server: NativeServer, fetch: Fetch) -> None:
    server.choose = lambda offered: preface  # type: ignore[method-assign]
    server.refusals[b"f"] = (64, "nothing in common")
    with pytest.raises(ConnectionBroken):
        fetch(server.put(b"f", b"hello"))


# Sizes.


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("size", [1 << 40, 1 << 56, (1 << 63) - 1])
@pytest.mark.parametrize("there", [0, 1000, 3 * CHUNK])
def test_size_beyond_the_disk(size: int, there: int, server: NativeServer, fetch: Fetch) -> None:
    beyond = told(size, 24)
    server.hook = lambda asked, _: [*beyond(asked, iter([])), End(asked.request.id)]
    if there:
        fetch.part.write_bytes(some(there))
    with pytest.raises((CannotWrite, ConnectionBroken)):
        fetch(server.put(b"f", b""))
    assert fetch.names <= {PART, RECORD}
    assert not there or fetch.part.read_bytes() == some(there)


@pytest.mark.usefixtures("little_memory")
def test_size_beyond_a_disk_that_does_not_tell(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fstatvfs(_fd: int) -> os.statvfs_result:
        raise OSError

    monkeypatch.setattr(os, "fstatvfs", fstatvfs)
    location = server.put(b"f", b"")

    def lie(asked: Asked, _pieces: Pieces) -> Iterator[Piece]:
        if len(fetch.slept) > 20:
            server.hang_up()
        yield info(asked, (1 << 63) - 1, 24)
        yield Ending.FIN

    server.hook = lie
    with pytest.raises(ClientError):
        fetch(location)


def test_size_that_is_not_that_of_the_bytes(server: NativeServer, fetch: Fetch) -> None:
    location = server.put(b"f", some(SIZE))
    server.hook = changed(
        FileInfo,
        lambda asked, piece: iter([asked.seal(piece._replace(size=SIZE - CHUNK))]),
    )
    assert problem_of(lambda: fetch(location))
    assert not fetch.path.exists()


# What never ends.


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("size", [SIZE, LONG])
def test_optional_messages(size: int, server: NativeServer, fetch: Fetch) -> None:
    """They are skipped, and take no room."""
    noise = message(0xF0, bytes(65536), 77)

    def chatty(asked: Asked, pieces: Pieces) -> Iterator[Piece]:
        for piece in pieces:
            if not isinstance(piece, Payload):  # nothing comes between a run and its header
                yield from [noise] * 20
            yield piece

    server.hook = chatty
    fetch(server.put(b"f", some(size)))
    assert fetch.path.read_bytes() == some(size)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("each", [1, 1024])
def test_endless_digests(each: int, server: NativeServer, fetch: Fetch) -> None:
    fetch.part.write_bytes(some(SIZE))

    def endless(asked: Asked, pieces: Pieces) -> Iterator[Piece]:
        for piece in pieces:
            if isinstance(piece, DigestList):
                for at in range(0, 1 << 30, each):
                    yield asked.seal(DigestList(asked.request.id, at, (bytes(32),) * each))
            yield piece

    server.hook = endless
    no_use(server, fetch)


def no_use(server: NativeServer, fetch: Fetch) -> None:
    """A list that makes no sense is asked for again, until it is clear that it never will."""
    location = server.put(b"f", some(SIZE))
    problem = problem_of(lambda: fetch(location))
    assert "digests" in str(problem)
    assert fetch.part.read_bytes() == some(SIZE)
    assert len(fetch.slept) == 6
    server.hook = None
    assert fetch(location).kept == SIZE
    assert server.payload == 0


def lists(*parts: tuple[int, int]) -> Lie:
    """A list of digests in these parts: first, and how many."""

    def lie(asked: Asked, pieces: Pieces) -> Iterator[Piece]:
        for piece in pieces:
            if isinstance(piece, DigestList):
                for first, count in parts:
                    yield asked.seal(DigestList(asked.request.id, first, (bytes(32),) * count))
            else:
                yield piece

    return lie


@pytest.mark.parametrize(
    "parts", [[], [(0, 9)], [(0, 11)], [(1, 10)], [(0, 5), (6, 5)], [(0, 5), (4, 6)], [(5, 5)]]
)
def test_lists_of_digests(parts: list[tuple[int, int]], server: NativeServer, fetch: Fetch) -> None:
    fetch.part.write_bytes(some(SIZE))
    server.hook = lists(*parts)
    no_use(server, fetch)


def test_lists_of_wrong_digests(server: NativeServer, fetch: Fetch) -> None:
    fetch.part.write_bytes(some(SIZE))
    server.hook = lists((0, 4), (4, 6))
    fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("size", [SIZE, LONG])
def test_longest_run_again_and_again(size: int, server: NativeServer, fetch: Fetch) -> None:
    """Where no more than a little was asked for."""
    server.hook = LIES["longest run"]
    location = server.put(b"f", some(size))
    with pytest.raises(ConnectionBroken):
        fetch(location)
    assert not fetch.path.exists()


SPOTS = st.integers(native.PREFACE.size, BETWEEN - 1) | st.integers(0, 400)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choose=st.data())
def test_any_bytes(choose: st.DataObject, server: NativeServer, fetch: Fetch) -> None:
    """The honest answer, with some of its bytes changed, messages included."""
    size = choose.draw(st.integers(0, 3 * CHUNK))
    spots = choose.draw(st.lists(st.tuples(SPOTS, st.integers(1, 255)), min_size=1, max_size=3))
    left = [1]

    def spoil(_asked: Asked, pieces: Pieces) -> Iterator[Piece]:
        if not left[0]:
            yield from pieces
            return
        left[0] = 0
        at = 0
        for piece in pieces:
            assert not isinstance(piece, Ending)
            if isinstance(piece, Payload):
                yield piece.data
                continue
            sent = bytearray(piece if isinstance(piece, bytes) else native.encode(piece))
            for spot, mask in spots:
                if 0 <= spot - at < len(sent):
                    sent[spot - at] ^= mask
            at += len(sent)
            yield bytes(sent)
        yield Ending.FIN

    server.hook = spoil
    location = server.put(b"f", some(size))
    for path in (fetch.path, fetch.part, fetch.record):
        path.unlink(missing_ok=True)
    fetch.slept.clear()
    try:
        fetched = fetch(location)
    except ClientError:
        assert not fetch.path.exists()
    else:
        assert fetch.path.read_bytes() == some(size)
        assert (fetched.size, fetched.mtime_ns, fetched.mode) == (size, MTIME, 0o644)
