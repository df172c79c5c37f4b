"""Tests `client.http.download` with servers that are honest, or break off: it goes on."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import threading
from collections.abc import Iterable

import pytest
from blake3 import blake3

from tcpdl.client.crew import FIRST_SPAN
from tcpdl.client.errors import CannotWrite, ConnectionBroken, Damaged, NothingThere
from tcpdl.client.expected import Expected
from tcpdl.client.patience import PAUSES
from tests.client.http.conftest import MIB, NAME, PART, RECORD, Fetch
from tests.client.http.web_server import (
    MTIME,
    SECONDS,
    Asked,
    Ending,
    Hook,
    Piece,
    WebServer,
    chunked,
    reply,
)

SIZE = 5 * MIB + 321


def some(size: int, seed: int = 0) -> bytes:
    """Bytes in which nothing repeats."""
    return random.Random(seed).randbytes(size)


DATA = some(SIZE)
SHA256 = Expected("sha256", hashlib.sha256(DATA).digest())
WRONG = Expected("sha256", hashlib.sha256(b"other").digest())
REPR_DIGEST = ("Repr-Digest", f"sha-256=:{base64.b64encode(SHA256.digest).decode()}:")


@pytest.mark.parametrize("size", [0, 1, 1000, MIB - 1, MIB, MIB + 1, SIZE])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', ""])
def test_fresh(size: int, ranges: bool, etag: str, server: WebServer, fetch: Fetch) -> None:
    data = some(size)
    fetched = fetch(server.put("/f", data, ranges=ranges, etag=etag))
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert fetch.path.stat().st_mtime_ns == MTIME
    assert (fetched.size, fetched.verified, fetched.unchanged) == (size, False, False)
    assert sum(fetch.told) >= size
    assert fetch.notes == []
    assert server.connections <= (1 if size and etag == '"1"' else 2)


def test_one_request_tells_all_and_brings_the_beginning(server: WebServer, fetch: Fetch) -> None:
    fetch(server.put("/f", DATA))
    assert server.ranges == [(0, FIRST_SPAN)]
    assert server.asked[0].fields["want-repr-digest"] == "sha-256=10"
    assert server.asked[0].fields["accept-encoding"] == "identity"
    assert server.asked[0].fields["host"] == f"127.0.0.1:{server.port}"
    assert server.asked[0].fields["user-agent"].startswith("tcpdl/")


def test_file_longer_than_the_first_answer(server: WebServer, fetch: Fetch, eager: None) -> None:
    fetch(server.put("/f", DATA))
    assert fetch.path.read_bytes() == DATA
    assert server.ranges == [(at, min(at + MIB, SIZE)) for at in range(0, SIZE, MIB)]
    assert {asked.fields.get("if-range", '"1"') for asked in server.asked} == {'"1"'}
    assert server.connections == 1


def test_server_that_ends_each_connection(server: WebServer, fetch: Fetch, eager: None) -> None:
    location = server.put("/f", DATA, more=(("Connection", "close"),))
    fetch(location)
    assert fetch.path.read_bytes() == DATA
    assert server.connections == 6
    assert fetch.slept == []


class Gate:
    """Lets the first connection have no second answer before another has asked for something."""

    def __init__(self, then: Hook | None = None) -> None:
        self._then = then
        self._open = threading.Event()

    def __call__(self, asked: Asked) -> Iterable[Piece] | None:
        if asked.connection:
            self._open.set()
        elif asked.number:
            assert self._open.wait(SECONDS)
        return self._then(asked) if self._then else None


@pytest.mark.parametrize("connections", [2, 3, 8])
def test_several_connections(
    connections: int, server: WebServer, fetch: Fetch, eager: None
) -> None:
    data = some(12 * MIB + 5)
    server.hook = Gate()
    fetched = fetch(server.put("/f", data), connections=connections)
    assert fetch.path.read_bytes() == data
    assert 1 < server.connections <= connections
    assert sum(end - start for start, end in map(span, server.asked)) <= 13 * MIB
    assert fetched.received < len(data) + 10_000


def span(asked: Asked) -> tuple[int, int]:
    assert asked.range is not None
    return asked.range


@pytest.mark.parametrize("how", [Ending.FIN, Ending.RESET, Ending.STALL])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("at", [300, MIB + 300, 3 * MIB + 7, SIZE - 5])
def test_break(at: int, ranges: bool, how: Ending, server: WebServer, fetch: Fetch) -> None:
    server.cuts = [(at, how)]
    fetch(server.put("/f", DATA, ranges=ranges), timeout=0.3)
    assert fetch.path.read_bytes() == DATA
    assert fetch.names == {NAME}


@pytest.mark.parametrize("how", list(Ending))
@pytest.mark.parametrize("at", [0, 1, 100])
def test_break_before_it_has_answered(
    at: int, how: Ending, server: WebServer, fetch: Fetch
) -> None:
    """Nobody knows whether there is such a server: so silence is not waited for again. But who is
    busy resets connections."""
    attempts = 1 + (0 if how is Ending.STALL else len(PAUSES))
    server.cuts = [(at, how)] * 2 * attempts
    with pytest.raises(ConnectionBroken):
        fetch(server.put("/f", DATA), timeout=0.3)
    assert len(fetch.slept) == attempts - 1
    assert fetch.names == set()
    server.cuts = []
    fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA


@pytest.mark.parametrize("how", [Ending.FIN, Ending.RESET])
def test_nothing_is_fetched_twice(how: Ending, server: WebServer, fetch: Fetch) -> None:
    server.cuts = [(MIB + 7, how), (2 * MIB, how), (MIB, how)]
    fetch(server.put("/f", DATA))
    assert fetch.path.read_bytes() == DATA
    starts = [span(asked)[0] for asked in server.asked]
    assert starts == sorted(starts)
    if how is Ending.FIN:  # a reset takes away what was under way
        assert server.sent < SIZE + 4 * 1000


def test_break_without_a_validator_starts_over(server: WebServer, fetch: Fetch) -> None:
    """What comes after it may be another file: so none of what came before is kept."""
    other = some(SIZE, 1)
    location = server.put("/f", DATA, etag="", modified="")

    def change(asked: Asked) -> Iterable[Piece]:
        yield server.honest(asked)[: 3 * MIB if asked.number < 2 else SIZE * 2]
        server.put("/f", other, etag="", modified="")
        if asked.number < 2:
            yield Ending.FIN

    server.hook = change
    fetch(location)
    assert fetch.path.read_bytes() == other
    assert fetch.path.stat().st_mtime_ns != MTIME


@pytest.mark.parametrize("ranges", [True, False])
def test_gives_up(ranges: bool, server: WebServer, fetch: Fetch) -> None:
    server.cuts = [(3 * MIB, Ending.FIN)] + [(0, Ending.FIN)] * 50
    location = server.put("/f", DATA, ranges=ranges)
    with pytest.raises(ConnectionBroken):
        fetch(location)
    assert fetch.names == {PART, RECORD}
    server.cuts = []
    asked = len(server.asked)
    fetched = fetch(location)
    assert fetch.path.read_bytes() == DATA
    assert fetch.names == {NAME}
    assert fetched.kept == 2 * MIB
    if ranges:
        assert span(server.asked[asked])[0] == 2 * MIB


def broken_off(server: WebServer, fetch: Fetch, at: int = 3 * MIB + 1000) -> None:
    """What is here after a server went away in the middle."""
    server.cuts = [(at, Ending.FIN)] + [(0, Ending.FIN)] * 50
    with pytest.raises(ConnectionBroken):
        fetch(server.put("/f", DATA))
    server.cuts = []
    server.asked.clear()
    fetch.notes.clear()


def test_resume_checks_what_is_there(server: WebServer, fetch: Fetch) -> None:
    broken_off(server, fetch)
    with fetch.part.open("r+b") as part:
        part.seek(MIB + 5)
        part.write(b"foreign")
    fetched = fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    assert fetched.kept == 2 * MIB
    assert sorted(span(asked)[0] for asked in server.asked) == [MIB, 3 * MIB]


@pytest.mark.parametrize("size", [0, 1, MIB, 2 * MIB + 1])
def test_resume_of_a_part_that_lost_bytes(size: int, server: WebServer, fetch: Fetch) -> None:
    broken_off(server, fetch)
    os.truncate(fetch.part, size)
    fetched = fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    assert fetched.kept == size // MIB * MIB


@pytest.mark.parametrize("record", [b"", b"x" * 100, b"tcpdl record 1\n" + b"\xff" * 100])
def test_resume_with_another_record(record: bytes, server: WebServer, fetch: Fetch) -> None:
    broken_off(server, fetch)
    fetch.record.write_bytes(record)
    assert fetch(server.at("/f")).kept == 0
    assert fetch.path.read_bytes() == DATA


def test_resume_where_all_is_there(server: WebServer, fetch: Fetch) -> None:
    """The process was killed before the file got its name."""
    broken_off(server, fetch)
    kept = fetch.record.read_bytes()
    fetch(server.at("/f"))
    part = fetch.path.read_bytes()
    fetch.path.unlink()
    fetch.part.write_bytes(part)
    entries = [
        index.to_bytes(8, "big") + blake3(DATA[index * MIB : (index + 1) * MIB]).digest()
        for index in range(3, 6)
    ]
    fetch.record.write_bytes(kept + b"".join(entries))
    server.sent = 0
    fetched = fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    assert fetched.kept == SIZE
    assert server.sent < MIB


@pytest.mark.parametrize("size", [SIZE, SIZE + MIB, 2 * MIB, 0])
def test_another_version_starts_anew(size: int, server: WebServer, fetch: Fetch) -> None:
    broken_off(server, fetch)
    other = some(size, 1)
    fetched = fetch(server.put("/f", other, etag='"2"'))
    assert fetch.path.read_bytes() == other
    assert fetched.kept == 0
    assert any("changed on the server; it is fetched anew" in note for note in fetch.notes)


def test_part_of_another_url_is_none_of_this(server: WebServer, fetch: Fetch) -> None:
    broken_off(server, fetch)
    fetch(server.put("/g", DATA))
    assert fetch.path.read_bytes() == DATA
    assert fetch.notes


def test_change_while_it_comes(server: WebServer, fetch: Fetch, eager: None) -> None:
    other = some(SIZE, 1)

    def change(asked: Asked) -> Iterable[Piece]:
        if asked.number == 2:
            server.put("/f", other, etag='"2"')
        yield server.honest(asked)

    server.hook = change
    location = server.put("/f", DATA)
    fetch(location)
    assert fetch.path.read_bytes() == other
    assert any("changed on the server" in note for note in fetch.notes)


def test_changes_all_the_time(server: WebServer, fetch: Fetch, eager: None) -> None:
    def change(asked: Asked) -> Iterable[Piece]:
        server.put("/f", DATA, etag=f'"{asked.number}"')
        yield server.honest(asked)

    server.hook = change
    with pytest.raises(ConnectionBroken, match="changes faster"):
        fetch(server.at("/f"))
    assert NAME not in fetch.names


def test_goes_away_while_it_comes(server: WebServer, fetch: Fetch, eager: None) -> None:
    def remove(asked: Asked) -> Iterable[Piece] | None:
        return [reply("410 Gone")] if asked.number == 3 else None

    server.hook = remove
    with pytest.raises(NothingThere, match="410 Gone"):
        fetch(server.put("/f", DATA))
    assert fetch.names == {PART, RECORD}


# Digests of the whole.


@pytest.mark.parametrize("size", [0, 1000, SIZE])
@pytest.mark.parametrize("named", ["by the server", "by the user"])
def test_digest(named: str, size: int, server: WebServer, fetch: Fetch) -> None:
    data = DATA[:size]
    right = Expected("sha256", hashlib.sha256(data).digest())
    field = ("Repr-Digest", f"sha-256=:{base64.b64encode(right.digest).decode()}:")
    if named == "by the server":
        fetched = fetch(server.put("/f", data, more=(field,)))
    else:
        fetched = fetch(server.put("/f", data), expected=[right])
    assert fetched.verified
    assert fetch.path.read_bytes() == data
    asked = len(server.asked)
    again = fetch(server.at("/f"), expected=[right])
    assert again.unchanged
    assert again.verified
    assert len(server.asked) == asked + 1 + (not size)


@pytest.mark.parametrize("size", [0, 1000, SIZE])
@pytest.mark.parametrize("ranges", [True, False])
def test_wrong_digest(ranges: bool, size: int, server: WebServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(b"precious")
    with pytest.raises(Damaged, match=f"and not {WRONG.digest.hex()}"):
        fetch(server.put("/f", DATA[:size], ranges=ranges), expected=[WRONG])
    assert fetch.path.read_bytes() == b"precious"
    assert fetch.names == {NAME}


def test_every_digest_is_checked(server: WebServer, fetch: Fetch) -> None:
    sha512 = ("Repr-Digest", f"sha-512=:{base64.b64encode(bytes(64)).decode()}:")
    with pytest.raises(Damaged, match="sha512"):
        fetch(server.put("/f", DATA, more=(REPR_DIGEST, sha512)))
    with pytest.raises(Damaged, match="sha256"):
        fetch(server.put("/f", DATA, more=(REPR_DIGEST,)), expected=[WRONG])
    assert fetch.names == set()


def test_server_that_computes_a_digest_for_long(server: WebServer, fetch: Fetch) -> None:
    def compute(asked: Asked) -> Iterable[Piece] | None:
        return [Ending.STALL] if "want-repr-digest" in asked.fields else None

    server.hook = compute
    fetch(server.put("/f", DATA), timeout=0.3)
    assert fetch.path.read_bytes() == DATA
    assert server.connections == 2


@pytest.mark.parametrize("size", [1, MIB, 3 * MIB + 5, SIZE - 1])
@pytest.mark.parametrize("ranges", [True, False])
def test_file_that_another_program_began(
    ranges: bool, size: int, server: WebServer, fetch: Fetch
) -> None:
    fetch.path.write_bytes(DATA[:size])
    fetched = fetch(server.put("/f", DATA, ranges=ranges, more=(REPR_DIGEST,)))
    assert fetch.path.read_bytes() == DATA
    assert fetched.verified
    assert fetched.kept == size // MIB * MIB


def test_what_it_began_is_not_trusted_without_a_digest(server: WebServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(DATA[: 3 * MIB])
    assert fetch(server.put("/f", DATA)).kept == 0
    assert fetch.path.read_bytes() == DATA


@pytest.mark.parametrize("size", [3 * MIB, SIZE, SIZE + MIB])
def test_what_it_began_is_of_another_file(size: int, server: WebServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(some(size, 1))
    fetched = fetch(server.put("/f", DATA, more=(REPR_DIGEST,)))
    assert fetch.path.read_bytes() == DATA
    assert fetched.kept == 0
    assert fetch.names == {NAME}


def test_older_file_stays_until_the_new_one_is_there(server: WebServer, fetch: Fetch) -> None:
    fetch.path.write_bytes(DATA[: 3 * MIB])
    server.cuts = [(2 * MIB, Ending.FIN)] + [(0, Ending.FIN)] * 50
    with pytest.raises(ConnectionBroken):
        fetch(server.put("/f", DATA, more=(REPR_DIGEST,)))
    assert fetch.path.read_bytes() == DATA[: 3 * MIB]


# Answers that do not say how long they are.


@pytest.mark.parametrize("size", [0, 5, 3 * MIB])
def test_chunks(size: int, server: WebServer, fetch: Fetch) -> None:
    data = DATA[:size]
    server.hook = lambda _: [
        reply("200 OK", ("Transfer-Encoding", "chunked"), body=chunked(data, 70_000))
    ]
    fetched = fetch(server.at("/f"))
    assert fetch.path.read_bytes() == data
    assert (fetched.size, fetched.verified) == (size, False)
    assert fetch.notes == []


def test_chunks_that_break_off(server: WebServer, fetch: Fetch) -> None:
    answer = reply("200 OK", ("Transfer-Encoding", "chunked"), body=chunked(DATA, 70_000))

    def cut(asked: Asked) -> Iterable[Piece]:
        return [answer] if asked.number == 2 else [answer[: 3 * MIB], Ending.FIN]

    server.hook = cut
    fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    server.hook = lambda _: [answer[:-1], Ending.FIN]
    fetch.path.unlink()
    with pytest.raises(ConnectionBroken):
        fetch(server.at("/f"))
    assert fetch.names == set()


def test_chunks_of_a_part(server: WebServer, fetch: Fetch, eager: None) -> None:
    def part(asked: Asked) -> Iterable[Piece]:
        start, end = span(asked)
        end = min(end, SIZE)
        fields = (("ETag", '"1"'), ("Content-Range", f"bytes {start}-{end - 1}/{SIZE}"))
        body = chunked(DATA[start:end], 70_000)
        return [reply("206 OK", *fields, ("Transfer-Encoding", "chunked"), body=body)]

    server.hook = part
    fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    assert server.connections == 1


@pytest.mark.parametrize("size", [0, 5, 3 * MIB])
def test_body_that_ends_with_the_connection(size: int, server: WebServer, fetch: Fetch) -> None:
    server.hook = lambda _: [b"HTTP/1.0 200 OK\r\n\r\n" + DATA[:size], Ending.FIN]
    fetched = fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA[:size]
    assert not fetched.verified
    assert "nobody can tell whether all of it came" in fetch.notes[0]


def test_body_that_ends_with_a_reset(server: WebServer, fetch: Fetch) -> None:
    server.hook = lambda _: [b"HTTP/1.0 200 OK\r\n\r\n" + DATA, Ending.RESET]
    with pytest.raises(ConnectionBroken):
        fetch(server.at("/f"))
    assert fetch.names == set()
    assert len(server.asked) > 1
    assert len(fetch.notes) == 1


@pytest.mark.parametrize("expected", [SHA256, WRONG])
def test_digest_of_an_unknown_length(expected: Expected, server: WebServer, fetch: Fetch) -> None:
    server.hook = lambda _: [b"HTTP/1.0 200 OK\r\n\r\n" + DATA, Ending.FIN]
    if expected is WRONG:
        with pytest.raises(Damaged):
            fetch(server.at("/f"), expected=[expected])
        assert fetch.names == set()
    else:
        assert fetch(server.at("/f"), expected=[expected]).verified


def test_disk_without_room(server: WebServer, fetch: Fetch) -> None:
    huge = str((1 << 63) - 1)
    server.hook = lambda _: [reply("200 OK", ("Content-Length", huge), body=b"x"), Ending.FIN]
    with pytest.raises(CannotWrite, match="the disk has room for"):
        fetch(server.at("/f"))
    assert fetch.names == set()
