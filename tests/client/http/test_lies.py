"""Tests `client.http.download` and `stream` with a server that lies: the right file, or an error.

Whatever it answers, no wrong byte is ever put under the final name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client.errors import ClientError, ConnectionBroken, Garbled
from tcpdl.client.http.stream import stream
from tcpdl.client.ways import Ways
from tests.client.http.conftest import MIB, NAME, Fetch
from tests.client.http.test_http_download import DATA, SIZE, Gate, some, span
from tests.client.http.web_server import Asked, Ending, Piece, WebServer, reply

OTHER = some(SIZE + MIB, 1)
Answer = Callable[[int, int], bytes]


def part(
    start: int, end: int, *more: tuple[str, object], total: object = SIZE, **other: object
) -> bytes:
    """A 206 that says that it brings the bytes from `start` to `end`."""
    fields: list[tuple[str, object]] = [
        ("ETag", other.get("etag", '"1"')),
        ("Content-Range", f"bytes {start}-{end - 1}/{total}"),
        *more,
    ]
    body = other.get("body", DATA[start:end])
    assert isinstance(body, bytes)
    return reply("206 Partial Content", *fields, body=body)


def whole(etag: str = '"1"', body: bytes = DATA) -> bytes:
    return reply("200 OK", ("ETag", etag), ("Accept-Ranges", "bytes"), body=body)


# From the range that was asked for to the answer; all but the last bring bytes of another file.
LIES: dict[str, Answer] = {
    "the whole": lambda start, end: whole(),
    "shifted": lambda start, end: part(start + 1, end + 1, body=OTHER[start:end]),
    "earlier": lambda start, end: part(0, end - start, body=OTHER[: end - start]),
    "short": lambda start, end: part(start, end - 7, body=OTHER[start : end - 7]),
    "long": lambda start, end: part(start, end + 7, body=OTHER[start : end + 7]),
    "longer than it says": lambda start, end: part(start, end, body=OTHER[start : end + 7]),
    "shorter than it says": lambda start, end: part(start, end, body=OTHER[start : end - 7]),
    "wrong total": lambda start, end: part(start, end, total=SIZE + 1, body=OTHER[start:end]),
    "no total": lambda start, end: part(start, end, total="*", body=OTHER[start:end]),
    "another tag": lambda start, end: part(start, end, etag='"2"', body=OTHER[start:end]),
    "a weak tag": lambda start, end: part(start, end, etag='W/"1"', body=OTHER[start:end]),
    "no tag": lambda start, end: reply(
        "206 OK", ("Content-Range", f"bytes {start}-{end - 1}/{SIZE}"), body=OTHER[start:end]
    ),
    "no range": lambda start, end: reply("206 OK", ("ETag", '"1"'), body=OTHER[start:end]),
    "two ranges": lambda start, end: part(
        start, end, ("Content-Range", "bytes 0-1/2"), body=OTHER[start:end]
    ),
    "several parts": lambda start, end: part(
        start, end, ("Content-Type", "multipart/byteranges; boundary=x"), body=OTHER[start:end]
    ),
    "compressed": lambda start, end: part(
        start, end, ("Content-Encoding", "gzip"), body=OTHER[start:end]
    ),
    "two lengths": lambda start, end: part(
        start, end, ("Content-Length", 5), ("Content-Length", 6), body=OTHER[start:end]
    ),
    "no such range": lambda start, end: reply("416 No", ("Content-Range", f"bytes */{SIZE}")),
    "nothing has changed": lambda start, end: reply("304 Not Modified"),
    "no content": lambda start, end: reply("204 No Content"),
    "a failure": lambda start, end: reply("500 Oh"),
    "another dialect": lambda start, end: b"\0tcpdl" + OTHER[start:end],
    "a page": lambda start, end: b"<html>" + OTHER[start:end],
}


@pytest.mark.parametrize("lie", sorted(LIES.keys() - {"earlier", "wrong total", "another tag"}))
@pytest.mark.parametrize("connections", [1, 4])
def test_lie_to_every_request_for_a_part(
    connections: int, lie: str, server: WebServer, fetch: Fetch, eager: None
) -> None:
    """Asked for all of the file, it is honest. Lies that nothing contradicts are left out."""

    def answer(asked: Asked) -> Iterable[Piece] | None:
        return [LIES[lie](*span(asked))] if asked.range else None

    server.hook = answer
    check(server, fetch, connections)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("connections", [1, 4])
def test_lie_once_it_is_trusted(
    connections: int, lie: str, server: WebServer, fetch: Fetch, eager: None
) -> None:
    def answer(asked: Asked) -> Iterable[Piece] | None:
        if asked.range and asked.number >= 2:
            start, end = asked.range
            return [LIES[lie](start, min(end, SIZE))]
        return None

    server.hook = answer
    check(server, fetch, connections)


@pytest.mark.parametrize("lie", LIES)
def test_lie_of_one_connection(lie: str, server: WebServer, fetch: Fetch, eager: None) -> None:
    """The others are honest, so the file comes to its end."""

    def answer(asked: Asked) -> Iterable[Piece] | None:
        if asked.range and asked.connection == 1:
            start, end = asked.range
            return [LIES[lie](start, min(end, SIZE))]
        return None

    server.hook = Gate(answer)
    fetch(server.put("/f", DATA), connections=4)
    assert server.connections > 1
    assert fetch.path.read_bytes() == DATA


def check(server: WebServer, fetch: Fetch, connections: int) -> None:
    """Fetch; it is the right file, or an error and none."""
    try:
        fetch(server.put("/f", DATA), connections=connections)
    except ConnectionBroken:
        assert NAME not in fetch.names
        server.hook = None
        fetch(server.at("/f"), connections=connections)
    assert fetch.path.read_bytes() == DATA


MENDED = [
    *("the whole", "shifted", "earlier", "short", "long", "wrong total", "no total"),
    *("another tag", "a weak tag", "no tag", "no range", "two ranges", "several parts"),
]


@pytest.mark.parametrize("lie", MENDED)
def test_lie_about_parts_is_mended(lie: str, server: WebServer, fetch: Fetch, eager: None) -> None:
    """A server of which no part can be had, but all of the file."""

    def answer(asked: Asked) -> Iterable[Piece] | None:
        if asked.range and asked.number >= 2:
            start, end = asked.range
            return [LIES[lie](start, min(end, SIZE))]
        return None

    server.hook = answer
    fetch(server.put("/f", DATA))
    assert fetch.path.read_bytes() == DATA
    assert server.asked[-1].range is None or lie == "the whole"
    assert len(server.asked) <= 5


@pytest.mark.parametrize("lie", LIES)
def test_lie_to_a_stream(lie: str, server: WebServer) -> None:
    def answer(asked: Asked) -> Iterable[Piece] | None:
        if asked.range:
            start, end = asked.range
            return [LIES[lie](start, min(end, SIZE))]
        return [server.honest(asked)[: 3 * MIB], Ending.FIN] if not asked.number else None

    server.hook = answer
    written = bytearray()
    pauses: list[float] = []
    try:
        stream(server.put("/f", DATA), written.extend, Ways(sleep=pauses.append))
    except ConnectionBroken:
        assert DATA.startswith(written)
    else:
        assert written == DATA


NONSENSE = [
    b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n" * 1000,
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nA: " + b"b" * 1_000_000,
    b"HTTP/1.1 999 Odd\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
]


@pytest.mark.parametrize("answer", NONSENSE)
def test_nonsense(answer: bytes, server: WebServer, fetch: Fetch) -> None:
    server.hook = lambda _: [answer, Ending.STALL]
    with pytest.raises(Garbled) as raised:
        fetch(server.at("/f"))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400
    assert fetch.names == set()
    assert server.connections in (2, 7)  # it may have been damaged on its way


def test_informational_answers_are_passed_over(server: WebServer, fetch: Fetch) -> None:
    location = server.put("/f", DATA)
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 5
    server.hook = lambda asked: [early + server.honest(asked)]
    fetch(location)
    assert fetch.path.read_bytes() == DATA


def test_bytes_after_the_answer_are_no_answer(server: WebServer, fetch: Fetch, eager: None) -> None:
    """What was sent before it was asked for is never taken for an answer."""
    wrong = part(MIB, 2 * MIB, body=OTHER[:MIB])
    server.hook = lambda asked: [server.honest(asked) + wrong]
    fetch(server.put("/f", DATA))
    assert fetch.path.read_bytes() == DATA


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 400), flip=st.integers(1, 255), size=st.integers(1, 4000))
def test_any_damaged_byte_of_a_head(
    at: int, flip: int, size: int, server: WebServer, fetch: Fetch
) -> None:
    """The head of a part says twice what matters. (Of a body, only a digest would tell.)"""

    def damage(asked: Asked) -> Iterable[Piece]:
        answer = bytearray(server.honest(asked))
        if not asked.number and at < answer.index(b"\r\n\r\n") + 4:
            answer[at] ^= flip
        return [bytes(answer), Ending.FIN]

    server.asked.clear()
    server.hook = damage
    fetch.path.unlink(missing_ok=True)
    try:
        fetch(server.put("/f", DATA[:size]), timeout=0.2)
    except ClientError:
        assert NAME not in fetch.names
    else:
        assert fetch.path.read_bytes() == DATA[:size]
