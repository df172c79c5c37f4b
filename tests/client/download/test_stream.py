"""Tests `client.stream`: nothing is written before it was checked, and nothing twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client import patience as engine
from tcpdl.client import stream as streaming
from tcpdl.client.api import fetch_bytes, fetch_stream
from tcpdl.client.errors import (
    BadRequest,
    CannotConnect,
    CannotWrite,
    Changed,
    ConnectionBroken,
    Damaged,
    NothingThere,
    TooLarge,
)
from tcpdl.client.fetched import Fetched
from tcpdl.client.session import Session
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.client.worker import DAMAGED_MOST
from tcpdl.wire import native
from tcpdl.wire.native import Chunk, Digest, End, Error, FileInfo
from tests.client.download.conftest import CHUNK, some
from tests.client.native_server import (
    MTIME,
    Asked,
    Ending,
    NativeServer,
    Payload,
    Pieces,
    break_after,
    flip,
)

SIZE = 5 * CHUNK + 321


class Sink:
    """Takes what is written, and checks it at that moment."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.got = bytearray()
        self.slept: list[float] = []
        self.notes: list[str] = []
        self.told = 0

    def write(self, piece: bytes) -> None:
        at = len(self.got)
        assert piece == self.data[at : at + CHUNK], "not what should come next"
        assert len(piece) == min(CHUNK, len(self.data) - at)
        self.got += piece

    def progress(self, count: int) -> None:
        self.told += count

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        assert len(self.slept) < 100

    def run(self, location: Location, **options: Any) -> Fetched:
        options = {"timeout": 5.0, "note": self.notes.append, "sleep": self.sleep, **options}
        ways = Ways(progress=self.progress, **options)
        return streaming.stream(location, self.write, ways)


@pytest.fixture
def sink() -> Sink:
    return Sink(some(SIZE))


@pytest.mark.parametrize("lag", range(streaming.AHEAD_MOST))
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, SIZE])
def test_sizes(size: int, lag: int, server: NativeServer) -> None:
    sink = Sink(some(size))
    server.lag = lag
    begun: list[tuple[int, int]] = []
    fetched = sink.run(server.put(b"f", sink.data), begun=lambda *args: begun.append(args))
    assert sink.got == sink.data
    assert (fetched.size, fetched.mtime_ns, fetched.mode) == (size, MTIME, 0o644)
    assert fetched.verified
    assert size <= fetched.received < size + 1000
    assert sink.told == size
    assert begun == [(size, 0)]
    assert server.payload == size


def test_nothing_before_its_digest(server: NativeServer, sink: Sink) -> None:
    """The digest of a chunk is sent only once the test has seen that the chunk is held back."""
    seen: list[tuple[int, int]] = []

    def watch(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Digest):
                seen.append((piece.chunk, len(sink.got)))
            yield piece

    server.hook = watch
    sink.run(server.put(b"f", sink.data))
    for chunk, written in seen:
        assert written <= chunk * CHUNK


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("where", [0, CHUNK, 3 * CHUNK + 7, SIZE - 1])
def test_flipped_byte(where: int, lag: int, server: NativeServer, sink: Sink) -> None:
    server.lag = lag
    server.hook = flip(where, times=1)
    sink.run(server.put(b"f", sink.data))
    assert sink.got == sink.data
    (note,) = sink.notes
    assert f"bytes from {where // CHUNK * CHUNK} arrived damaged" in note
    assert server.gets[1].offset == where // CHUNK * CHUNK


def test_one_chunk_after_the_other_is_damaged(server: NativeServer, sink: Sink) -> None:
    """Each of them comes right the next time, so nothing is wrong for good."""

    def damage(asked: Asked, pieces: Pieces) -> Pieces:
        yield from flip(server.gets[-1].offset + CHUNK)(asked, pieces)

    server.hook = damage
    sink.run(server.put(b"f", sink.data))
    assert sink.got == sink.data
    assert server.connections > DAMAGED_MOST


@pytest.mark.parametrize("where", [0, SIZE - 1])
def test_always_flipped(where: int, server: NativeServer, sink: Sink) -> None:
    server.hook = flip(where)
    with pytest.raises(Damaged):
        sink.run(server.put(b"f", sink.data))
    assert len(sink.got) == where // CHUNK * CHUNK
    assert server.connections == DAMAGED_MOST


@pytest.mark.parametrize("ending", [Ending.FIN, Ending.RESET, Ending.STALL])
@pytest.mark.parametrize("kind", [FileInfo, Chunk, Payload, Digest])
def test_broken(kind: type, ending: Ending, server: NativeServer, sink: Sink) -> None:
    server.hook = break_after([kind], ending)
    sink.run(server.put(b"f", sink.data), timeout=0.2)
    assert sink.got == sink.data
    assert server.connections == 2
    assert server.gets[1].tag == server.files[b"f"].tag
    assert server.gets[1].offset % CHUNK == 0


def test_gives_up(server: NativeServer, sink: Sink) -> None:
    server.hook = break_after([Payload], Ending.FIN, times=1000)
    with pytest.raises(ConnectionBroken):
        sink.run(server.put(b"f", sink.data))
    assert sink.got == b""
    assert len(sink.slept) == len(engine.PAUSES)


def test_goes_on_as_long_as_something_comes(server: NativeServer) -> None:
    sink = Sink(some(12 * CHUNK))
    server.hook = break_after([Digest], Ending.FIN, times=1000)
    sink.run(server.put(b"f", sink.data))
    assert sink.got == sink.data


def test_before_anything_came(server: NativeServer, sink: Sink) -> None:
    server.cuts = [(20, Ending.FIN)]
    sink.run(server.put(b"f", sink.data))
    assert sink.got == sink.data
    assert len(sink.slept) == 1


def test_server_is_away_for_a_moment(
    server: NativeServer, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.hook = break_after([Digest], Ending.FIN)
    attempts = []

    def session(*args: Any) -> Any:
        attempts.append(args)
        if len(attempts) == 2:
            raise CannotConnect("connection refused")
        return Session(*args)

    monkeypatch.setattr("tcpdl.client.stream.Session", session)
    sink.run(server.put(b"f", sink.data))
    assert sink.got == sink.data


@pytest.mark.parametrize("written", [0, 2])
def test_changed_in_between(written: int, server: NativeServer, sink: Sink) -> None:
    def change(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload) and piece.offset == written * CHUNK:
                server.put(b"f", some(SIZE, 9))
                yield Ending.FIN
            yield piece

    server.hook = change
    with pytest.raises(Changed):
        sink.run(server.put(b"f", sink.data))
    assert sink.data.startswith(bytes(sink.got))


def resealed(asked: Asked, pieces: Pieces) -> Pieces:
    for piece in pieces:
        yield asked.seal(piece) if isinstance(piece, FileInfo) else piece


def test_other_version_in_spite_of_the_tag(server: NativeServer, sink: Sink) -> None:
    def careless(asked: Asked, pieces: Pieces) -> Pieces:
        if asked.connection:
            server.put(b"f", some(SIZE, 9))
            request = asked.request._replace(tag=native.ANY_TAG)
            pieces = resealed(asked, server.answer(request, asked.algorithm))
        yield from breaking(asked, pieces)

    breaking = break_after([Digest], Ending.FIN)
    server.hook = careless
    with pytest.raises(Changed):
        sink.run(server.put(b"f", sink.data))
    assert sink.data.startswith(bytes(sink.got))
    assert server.connections == 2


def swap_digests(asked: Asked, pieces: Pieces) -> Pieces:
    for piece in pieces:
        yield piece._replace(chunk=piece.chunk ^ 1) if isinstance(piece, Digest) else piece


def no_digests(asked: Asked, pieces: Pieces) -> Pieces:
    return (piece for piece in pieces if not isinstance(piece, Digest))


def halves(asked: Asked, pieces: Pieces) -> Pieces:
    for piece in pieces:
        if isinstance(piece, Chunk):
            yield piece._replace(length=piece.length // 2)
        elif isinstance(piece, Payload):
            yield piece._replace(data=piece.data[: len(piece.data) // 2])
        else:
            yield piece


def early_end(asked: Asked, pieces: Pieces) -> Pieces:
    for piece in pieces:
        yield piece
        if isinstance(piece, Digest):
            yield End(asked.request.id)
            return


def error(asked: Asked, pieces: Pieces) -> Pieces:
    for piece in pieces:
        if isinstance(piece, Digest) and piece.chunk == 2:
            yield Error(asked.request.id, native.UNAVAILABLE, "\x1b[2J")
            return
        yield piece


@pytest.mark.parametrize("lie", [swap_digests, no_digests, halves, error])
def test_lies(lie: Any, server: NativeServer, sink: Sink) -> None:
    server.hook = lie
    with pytest.raises(ConnectionBroken) as raised:
        sink.run(server.put(b"f", sink.data))
    assert str(raised.value).isprintable()
    assert sink.data.startswith(bytes(sink.got))


def test_early_end(server: NativeServer, sink: Sink) -> None:
    server.hook = early_end
    sink.run(server.put(b"f", sink.data))
    assert sink.got == sink.data
    assert server.connections == 6


def test_too_many_chunks_without_digests(server: NativeServer) -> None:
    sink = Sink(some(8 * CHUNK))
    server.lag = streaming.AHEAD_MOST
    with pytest.raises(ConnectionBroken, match="other pieces"):
        sink.run(server.put(b"f", sink.data))
    assert sink.got == b""


def test_absent(server: NativeServer, sink: Sink) -> None:
    with pytest.raises(NothingThere):
        sink.run(Location("127.0.0.1", server.port, b"none"))


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=st.integers(0, 6 * CHUNK),
    cuts=st.lists(st.integers(8, 3 * CHUNK), max_size=5),
    flips=st.lists(st.integers(0, 6 * CHUNK), max_size=3, unique=True),
    lag=st.integers(0, streaming.AHEAD_MOST - 1),
)
def test_anything(
    size: int, cuts: list[int], flips: list[int], lag: int, server: NativeServer
) -> None:
    sink = Sink(some(size))
    server.cuts = [(cut, Ending.FIN) for cut in cuts]
    server.lag = lag
    server.hook = flip(*flips, times=1)
    location = server.put(b"f", sink.data)
    try:
        sink.run(location)
        assert sink.got == sink.data
    except ConnectionBroken:
        assert sink.got == b""  # it broke before anything had come


# What is built on it.


def url(location: Location) -> str:
    return f"127.0.0.1:{location.port}/{location.path.decode()}"


def test_fetch_bytes(server: NativeServer, sink: Sink) -> None:
    location = server.put(b"f", sink.data)
    assert fetch_bytes(url(location), timeout=5) == sink.data
    assert fetch_bytes(url(location), timeout=5, most=SIZE) == sink.data
    server.forget()
    with pytest.raises(TooLarge, match=f"no more than {SIZE - 1} are wanted"):
        fetch_bytes(url(location), timeout=5, most=SIZE - 1)
    with pytest.raises(BadRequest):
        fetch_bytes(url(location), dialect="other")


def test_fetch_bytes_of_a_server_that_lies_about_the_size(server: NativeServer) -> None:
    location = server.put(b"f", some(SIZE))

    def lie(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield asked.seal(piece._replace(size=100)) if isinstance(piece, FileInfo) else piece

    server.hook = lie
    with pytest.raises(ConnectionBroken, match="other pieces"):
        fetch_bytes(url(location), timeout=5, most=100)


@pytest.mark.usefixtures("no_descriptor_leaks")
def test_pipe_that_nobody_reads(server: NativeServer) -> None:
    location = server.put(b"f", some(SIZE))
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(CannotWrite, match="nobody reads"):
            fetch_stream(location, writer, Ways(timeout=5))
    finally:
        os.close(writer)


def test_file_as_a_stream(server: NativeServer, tmp_path: Any) -> None:
    location = server.put(b"f", some(SIZE))
    with (tmp_path / "out").open("wb") as file:
        fetched = fetch_stream(location, file.fileno(), Ways(timeout=5))
    assert (tmp_path / "out").read_bytes() == some(SIZE)
    assert fetched.verified


@pytest.mark.parametrize("way", ["stream", "bytes"])
def test_never_falls_back_once_something_was_written(
    way: str, server: NativeServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forwarder takes connections, and closes those for which its server is not there."""
    location = server.put(b"f", some(SIZE))
    server.hook = break_after([Digest], Ending.FIN)
    server.cuts = [(1 << 40, Ending.FIN), *[(0, Ending.FIN)] * 50]
    asked: list[Location] = []

    def reply(location: Location, *_: object) -> Any:
        asked.append(location)
        raise BadRequest("asked in the raw dialect")

    monkeypatch.setattr("tcpdl.client.api.Reply", reply)
    with (tmp_path / "out").open("wb") as out:
        ways: dict[str, Callable[[], object]] = {
            "stream": lambda: fetch_stream(location, out.fileno(), Ways(timeout=5)),
            "bytes": lambda: fetch_bytes(url(location), timeout=5),
        }
        with pytest.raises((BadRequest, ConnectionBroken)):
            ways[way]()
    assert asked == []
