"""Tests `client.http.download` with parts that are not what their record says, or of another
version: every byte is right in the end, however often it has to be asked for."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client import crew
from tcpdl.client.errors import CannotWrite, ConnectionBroken
from tcpdl.client.record import Record
from tests.client.http.conftest import MIB, NAME, Fetch
from tests.client.http.test_http_download import DATA, SIZE, some
from tests.client.http.web_server import Asked, Ending, WebServer, reply

LAST = SIZE // MIB * MIB
"""Where the last chunk begins."""


class Killed(Exception):
    """Before the file gets its name."""


def complete_part(server: WebServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process leaves that is killed once all is on record."""

    def keep(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tcpdl.client.target.Target.keep", keep)
        with pytest.raises(Killed):
            fetch(server.put("/f", DATA))
    assert fetch.part.read_bytes() == DATA
    server.asked.clear()


def zeros(path: Path, start: int, end: int) -> None:
    """What is there of bytes that never reached the disk."""
    with path.open("r+b") as part:
        part.seek(start)
        part.write(bytes(end - start))


@pytest.mark.parametrize("start", [LAST, LAST + 1, LAST + 300, SIZE - 1, SIZE - 2])
def test_last_chunk_is_wrong(
    start: int, server: WebServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was once completed with the one byte that was asked for."""
    complete_part(server, fetch, monkeypatch)
    zeros(fetch.part, start, min(start + 100, SIZE))
    fetched = fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    assert fetched.kept == LAST
    assert server.ranges == [(LAST, LAST + crew.FIRST_SPAN)]


@pytest.mark.parametrize("size", [SIZE - 1, LAST + 1, LAST, LAST - 1])
def test_part_is_shorter_than_its_record(
    size: int, server: WebServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete_part(server, fetch, monkeypatch)
    os.truncate(fetch.part, size)
    fetched = fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    assert fetched.kept == size // MIB * MIB


def test_all_but_an_earlier_chunk_is_right(
    server: WebServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete_part(server, fetch, monkeypatch)
    zeros(fetch.part, MIB + 10, MIB + 20)
    fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    assert server.ranges[1:] == [(MIB, 2 * MIB)]


def test_all_is_there(server: WebServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    complete_part(server, fetch, monkeypatch)
    fetched = fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA
    assert (fetched.kept, len(server.asked)) == (SIZE, 1)


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, SIZE + 3 * MIB, LAST + 1, MIB, 5, 0])
def test_complete_part_of_another_version(
    size: int, server: WebServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete_part(server, fetch, monkeypatch)
    other = some(size, 1)
    assert fetch(server.put("/f", other, etag='"2"')).kept == 0
    assert fetch.path.read_bytes() == other
    assert any("changed on the server" in note for note in fetch.notes)


@pytest.mark.parametrize(("before", "after"), [(12, 14), (14, 12), (12, 20), (20, 12)])
@pytest.mark.parametrize("at", [5000, 21_000, 90_000])
def test_other_chunks(
    at: int,
    before: int,
    after: int,
    server: WebServer,
    fetch: Fetch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was asked for first begins where a chunk of the old version does."""
    monkeypatch.setattr("tcpdl.digest.chunk_shift", lambda _: before)
    monkeypatch.setattr(crew, "SMALL", 0)
    data, other = some(100_000), some(130_000, 1)
    server.cuts = [(at, Ending.FIN)] + [(0, Ending.FIN)] * 50
    with pytest.raises(ConnectionBroken):
        fetch(server.put("/f", data))
    server.cuts = []
    monkeypatch.setattr("tcpdl.digest.chunk_shift", lambda _: after)
    fetch(server.put("/f", other, etag='"2"'))
    assert fetch.path.read_bytes() == other


@pytest.mark.parametrize("at", [LAST, LAST - MIB, LAST + 300, 0])
def test_disk_is_full(
    at: int, server: WebServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk that was not written is not on record, and is fetched once there is room."""
    honest = os.pwrite

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if offset <= at < offset + len(data):
            raise OSError(errno.ENOSPC, "no space left on device")
        return honest(fd, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        with pytest.raises(CannotWrite, match="no space"):
            fetch(server.put("/f", DATA))
    if fetch.record.exists():
        assert at // MIB not in recorded(fetch)
    fetch(server.at("/f"))
    assert fetch.path.read_bytes() == DATA


def recorded(fetch: Fetch) -> dict[int, bytes]:
    """The digests that are on record, by chunk."""
    record = Record(os.open(fetch.record, os.O_RDONLY))
    record.close()
    return record.digests


def test_another_answer_is_longer_than_it_says(
    server: WebServer, fetch: Fetch, eager: None
) -> None:
    """Its last bytes do not count, and the server is asked for no part any more."""

    def lie(asked: Asked) -> list[bytes] | None:
        if asked.range is None:
            return None
        start, end = asked.range[0], min(asked.range[1], SIZE)
        where = f"bytes {start}-{end - 1}/{SIZE}"
        fields = (("ETag", '"1"'), ("Content-Range", where), ("Transfer-Encoding", "chunked"))
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (end - start + 50, DATA[start:end] + b"Y" * 50)
        return [reply("206 OK", *fields, body=body)]

    server.hook = lie
    fetch(server.put("/f", DATA))
    assert fetch.path.read_bytes() == DATA
    assert server.ranges == [(0, MIB), None]
    assert fetch.slept != []


@pytest.mark.parametrize("target", ["/f.gz", "/latest"])
def test_file_that_is_stored_in_a_coding(
    target: str, server: WebServer, fetch: Fetch, eager: None
) -> None:
    """By its own name, or that of the place to which the server redirects."""
    server.put("/f.gz", DATA, more=(("Content-Encoding", "gzip"),))
    server.hook = lambda asked: (
        [reply("302 Found", ("Location", "/f.gz"))] if asked.target == "/latest" else None
    )
    fetch(server.at(target))
    assert fetch.path.read_bytes() == DATA
    assert fetch.notes == ["the server says that the file is coded, as 'gzip'; it is kept as it is"]


SHIFT = 12
CHUNK = 1 << SHIFT
SPACE = 6 * CHUNK
Cut = tuple[int, Ending]
cuts = st.tuples(st.integers(0, 3 * CHUNK), st.sampled_from([Ending.FIN, Ending.RESET]))
ranges = st.tuples(st.integers(0, SPACE), st.integers(1, 2 * CHUNK))
runs = st.tuples(
    st.lists(cuts, max_size=4),
    st.integers(1, 3),  # connections
    st.one_of(st.none(), ranges),  # what is lost of the part before
    st.one_of(st.none(), st.integers(0, SPACE)),  # to how many bytes it is cut before
    st.one_of(st.none(), st.tuples(st.integers(0, SPACE), st.sampled_from([SHIFT, SHIFT + 1]))),
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, eager: None) -> list[int]:
    """Chunks of a few KiB, whose size a test can change; threads for any file."""
    shift = [SHIFT]
    monkeypatch.setattr("tcpdl.digest.chunk_shift", lambda _: shift[0])
    monkeypatch.setattr(crew, "SMALL", 0)
    monkeypatch.setattr(crew, "FIRST_SPAN", 2 * CHUNK)
    monkeypatch.setattr(crew, "SPAN_MOST", 2 * CHUNK)
    return shift


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(runs, min_size=1, max_size=4), takes_ranges=st.booleans())
def test_anything(
    steps: list[Any], takes_ranges: bool, server: WebServer, fetch: Fetch, tiny: list[int]
) -> None:
    """Connections break, bytes of the part are lost, versions and chunks change, run by run: a
    file that is complete is right, and so is whatever is on record."""
    version, tiny[0] = 0, SHIFT
    data = some(SPACE - 100)
    server.put("/f", data, etag='"0"', ranges=takes_ranges)
    for broken, connections, lost, size, change in [*steps, ([], 1, None, None, None)]:
        if change is not None:
            version += 1
            tiny[0] = change[1]
            data = some(change[0], version)
            server.put("/f", data, etag=f'"{version}"', ranges=takes_ranges)
        if fetch.part.exists():
            if lost is not None and (there := fetch.part.stat().st_size) > lost[0]:
                zeros(fetch.part, lost[0], min(sum(lost), there))
            if size is not None and size < fetch.part.stat().st_size:
                os.truncate(fetch.part, size)
        before = fetch.record.read_bytes() if fetch.record.exists() else b""
        server.cuts = [(1, Ending.FIN)] * server.connections + broken
        server.cuts += [(0, Ending.FIN)] * 50 if broken else []
        try:
            fetch(server.at("/f"), connections=connections)
        except ConnectionBroken:
            assert broken
            assert NAME not in fetch.names
        else:
            assert fetch.path.read_bytes() == data
            assert fetch.names == {NAME}
            fetch.path.unlink()
        if fetch.record.exists() and fetch.record.read_bytes() != before:
            for index, digest in recorded(fetch).items():
                start = index << tiny[0]
                assert digest == blake3(data[start : start + (1 << tiny[0])]).digest()
    assert fetch.names == set()
