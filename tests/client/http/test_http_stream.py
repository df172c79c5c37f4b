"""Tests `client.http.stream`: in order, nothing twice, and mended only where that is safe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tcpdl.client.errors import Changed, ClientError, ConnectionBroken, Damaged, NothingThere
from tcpdl.client.fetched import Fetched
from tcpdl.client.http.stream import stream
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tests.client.http.conftest import MIB
from tests.client.http.test_http_download import DATA, REPR_DIGEST, SHA256, SIZE, WRONG, some
from tests.client.http.web_server import MTIME, Asked, Ending, Piece, WebServer, chunked, reply


class Sink:
    """What was written, and said."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.notes: list[str] = []
        self.told: list[int] = []
        self.begun: list[int] = []
        self.slept: list[float] = []

    def __call__(self, location: Location, **options: Any) -> Fetched:
        ways = Ways(
            timeout=options.pop("timeout", 5.0),
            note=self.notes.append,
            progress=self.told.append,
            begun=lambda size, _: self.begun.append(size),
            sleep=self.slept.append,
            **options,
        )
        return stream(location, self.data.extend, ways)


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.mark.parametrize("size", [0, 5, SIZE])
def test_stream(size: int, server: WebServer, sink: Sink) -> None:
    fetched = sink(server.put("/f", DATA[:size]))
    assert sink.data == DATA[:size]
    assert (fetched.size, fetched.verified, fetched.mtime_ns) == (size, False, MTIME)
    assert fetched.received > size
    assert sum(sink.told) == size
    assert sink.begun == [size]
    assert server.ranges == [None]


@pytest.mark.parametrize("how", list(Ending))
@pytest.mark.parametrize("ranges", [True, False])
def test_break(ranges: bool, how: Ending, server: WebServer, sink: Sink) -> None:
    server.cuts = [(2 * MIB, how), (MIB, how), (MIB, how)]
    sink(server.put("/f", DATA, ranges=ranges), timeout=0.3)
    assert sink.data == DATA
    assert sum(sink.told) == SIZE
    if ranges:
        assert all(asked.fields["if-range"] == '"1"' for asked in server.asked[1:])
        if how is not Ending.RESET:
            assert server.sent < SIZE + 4 * 1000


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_break_without_a_validator(etag: str, server: WebServer, sink: Sink) -> None:
    server.cuts = [(2 * MIB, Ending.FIN)]
    with pytest.raises(ConnectionBroken):
        sink(server.put("/f", DATA, etag=etag, modified=""))
    assert server.connections == 1
    assert DATA.startswith(sink.data)


@pytest.mark.parametrize("ranges", [True, False])
def test_change(ranges: bool, server: WebServer, sink: Sink) -> None:
    def change(asked: Asked) -> Iterable[Piece]:
        yield server.honest(asked)[: 2 * MIB]
        server.put("/f", some(SIZE, 1), etag='"2"', ranges=ranges)
        yield Ending.FIN

    server.hook = change
    with pytest.raises(Changed):
        sink(server.put("/f", DATA, ranges=ranges))
    assert DATA.startswith(sink.data)


def test_gives_up(server: WebServer, sink: Sink) -> None:
    server.cuts = [(2 * MIB, Ending.FIN)] + [(0, Ending.FIN)] * 50
    with pytest.raises(ConnectionBroken):
        sink(server.put("/f", DATA))
    assert len(sink.slept) == 6


def test_is_not_there(server: WebServer, sink: Sink) -> None:
    with pytest.raises(NothingThere):
        sink(server.at("/f"))
    assert sink.data == b""


def test_digest(server: WebServer, sink: Sink) -> None:
    server.cuts = [(2 * MIB, Ending.FIN)]
    assert sink(server.put("/f", DATA), expected=[SHA256]).verified
    assert sink.data == DATA
    assert sink(server.put("/f", DATA, more=(REPR_DIGEST,))).verified


def test_wrong_digest(server: WebServer, sink: Sink) -> None:
    with pytest.raises(Damaged):
        sink(server.put("/f", DATA), expected=[WRONG])
    assert sink.data == DATA
    with pytest.raises(Damaged):
        sink(server.put("/f", DATA[1:], more=(REPR_DIGEST,)))


def test_chunks(server: WebServer, sink: Sink) -> None:
    answer = reply("200 OK", ("Transfer-Encoding", "chunked"), body=chunked(DATA, 70_000))
    server.hook = lambda _: [answer]
    sink(server.at("/f"))
    assert sink.data == DATA
    assert sink.begun == []


def test_chunks_with_a_tag_that_break_off(server: WebServer, sink: Sink) -> None:
    fields = (("ETag", '"1"'), ("Transfer-Encoding", "chunked"))
    answer = reply("200 OK", *fields, body=chunked(DATA, 70_000))

    def cut(asked: Asked) -> Iterable[Piece]:
        return [answer[: MIB + asked.number * MIB], Ending.FIN] if asked.number < 3 else [answer]

    server.hook = cut
    sink(server.at("/f"))
    assert sink.data == DATA


@pytest.mark.parametrize("ending", [Ending.FIN, Ending.RESET])
def test_body_that_ends_with_the_connection(ending: Ending, server: WebServer, sink: Sink) -> None:
    server.hook = lambda _: [b"HTTP/1.0 200 OK\r\n\r\n" + DATA, ending]
    try:
        sink(server.at("/f"))
    except ClientError:
        assert ending is Ending.RESET
    else:
        assert sink.data == DATA
    assert "nobody can tell" in sink.notes[0]


# Answers that bring something else than they say.


def part(asked: Asked, framing: str, body: bytes) -> list[Piece]:
    """A 206 for all that was asked for, with this body."""
    assert asked.range is not None
    start, end = asked.range
    fields = [("ETag", '"1"'), ("Content-Range", f"bytes {start}-{end - 1}/{SIZE}")]
    if framing == "chunked":
        framed = chunked(body, 70_000)
        return [reply("206 OK", *fields, ("Transfer-Encoding", "chunked"), body=framed)]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return [f"HTTP/1.0 206 OK\r\n{head}\r\n".encode() + body, Ending.FIN]


@pytest.mark.parametrize("framing", ["chunked", "the end of the connection"])
@pytest.mark.parametrize("more", [-SIZE + 3 * MIB, -1, 1, 1000])
def test_part_of_another_length(framing: str, more: int, server: WebServer, sink: Sink) -> None:
    """Too short, the rest is asked for; too long, all of the file is, of which no more is used."""

    def answer(asked: Asked) -> Iterable[Piece] | None:
        if asked.number == 0:
            return [server.honest(asked)[: 2 * MIB], Ending.FIN]
        if asked.range is None:
            return None
        start, end = asked.range
        body = DATA[start : end + more] if more < 0 and asked.number == 1 else DATA[start:end]
        return part(asked, framing, body + b"Y" * more)

    server.hook = answer
    sink(server.put("/f", DATA))
    assert sink.data == DATA
    assert sum(sink.told) == SIZE
    assert (server.ranges[-1] is None) == (more > 0)
    assert sink.notes == []


def test_whole_that_became_shorter(server: WebServer, sink: Sink) -> None:
    """No length was named before, and so nothing else tells that it is another file."""
    fields = (("ETag", '"1"'), ("Transfer-Encoding", "chunked"))

    def answer(asked: Asked) -> Iterable[Piece]:
        if not asked.number:
            return [reply("200 OK", *fields, body=chunked(DATA, 70_000))[: 3 * MIB], Ending.FIN]
        return [reply("200 OK", *fields, body=chunked(DATA[:MIB], 70_000))]

    server.hook = answer
    with pytest.raises(Changed):
        sink(server.at("/f"))
    assert DATA.startswith(sink.data)


@pytest.mark.parametrize("times", [1, 3])
def test_break_before_the_first_byte(times: int, server: WebServer, sink: Sink) -> None:
    """Nothing is there then, and so all is asked for, in the same way as at first."""

    def answer(asked: Asked) -> Iterable[Piece]:
        honest = server.honest(asked)
        return [honest[: -len(DATA)], Ending.FIN] if asked.number < times else [honest]

    server.hook = answer
    sink(server.put("/f", DATA))
    assert sink.data == DATA
    assert server.ranges == [None] * (times + 1)
    assert all("range" not in asked.fields for asked in server.asked)


def test_file_that_is_stored_in_a_coding(server: WebServer, sink: Sink) -> None:
    sink(server.put("/f.tgz", DATA, more=(("Content-Encoding", "x-gzip"),)))
    assert sink.data == DATA
    assert sink.notes == [
        "the server says that the file is coded, as 'x-gzip'; it is kept as it is"
    ]
