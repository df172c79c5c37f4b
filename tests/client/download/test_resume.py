"""Tests `client.download` where an earlier attempt, or another program, left a part."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client.errors import CannotConnect, CannotWrite
from tcpdl.client.stock import GRAIN
from tests.client.download.conftest import CHUNK, NAME, PART, RECORD, Fetch, some
from tests.client.native_server import Asked, Ending, NativeServer, Payload, Pieces

SIZE = 9 * CHUNK + 1234
LONG = 20 * CHUNK + 1234
KEPT = 5 * CHUNK + 777
"""Bytes that came before the first attempt ended."""


def interrupt(server: NativeServer, at: int) -> None:
    """Let the client be interrupted once it asks for more after `at` bytes."""
    count = [0]

    def cut(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload):
                if count[0] + len(piece.data) > at:
                    yield piece._replace(data=piece.data[: at - count[0]])
                    yield Ending.FIN
                count[0] += len(piece.data)
            yield piece

    server.hook = cut


def leave_part(server: NativeServer, fetch: Fetch, data: bytes, at: int = KEPT) -> None:
    """Have a first attempt break off."""

    def stop(_seconds: float) -> None:
        raise KeyboardInterrupt

    interrupt(server, at)
    with pytest.raises(KeyboardInterrupt):
        fetch(server.put(b"f", data), sleep=stop)
    assert fetch.part.read_bytes() == data[:at]
    assert fetch.names == {PART, RECORD}
    server.hook = None
    server.forget()
    fetch.begun.clear()


@pytest.mark.parametrize("size", [SIZE, LONG])
def test_only_what_is_missing(size: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(size)
    leave_part(server, fetch, data)
    fetched = fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert server.payload == size - KEPT
    assert fetched.kept == 5 * CHUNK
    assert fetch.begun == [(size, 5 * CHUNK)]
    assert fetched.received < size - KEPT + 4000
    assert fetch.notes == []
    # The record says what the digests are, so they need not be asked for.
    assert len(server.asked) == len(server.gets)


@pytest.mark.parametrize("where", [0, CHUNK, 3 * CHUNK + 5, 5 * CHUNK - 1])
def test_chunk_that_was_damaged_on_the_disk(where: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    leave_part(server, fetch, data)
    with fetch.part.open("r+b") as file:
        file.seek(where)
        file.write(bytes([data[where] ^ 1]))
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload <= SIZE - KEPT + CHUNK + 1
    assert fetch.notes == []  # it was not damaged on its way


def test_beginning_of_a_chunk_that_was_damaged(server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    leave_part(server, fetch, data)
    with fetch.part.open("r+b") as file:
        file.seek(KEPT - 10)
        file.write(b"!" * 10)
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload == SIZE - KEPT + CHUNK
    assert fetch.notes == []


Spoil = Callable[[bytes], bytes]

RECORDS: dict[str, Spoil] = {
    "torn entry": lambda record: record[:-7],
    "torn head": lambda record: record[:20],
    "empty": lambda record: b"",
    "garbage": lambda record: os.urandom(len(record)),
    "other release": lambda record: record.replace(b"record 1", b"record 2"),
    "other digest": lambda record: record[:24] + bytes([record[24] ^ 3]) + record[25:],
    "other chunks": lambda record: record[:23] + b"\x11" + record[24:],
    "other tag": lambda record: record[:25] + bytes(16) + record[41:],
    "wrong digests": lambda record: record[:41] + bytes(len(record) - 41),
    "far chunk": lambda record: record + b"\xff" * 8 + bytes(32),
    "twice": lambda record: record + record[41:],
    "with more": lambda record: record + b"and more",
}


@pytest.mark.parametrize("spoil", RECORDS.values(), ids=RECORDS)
def test_records(spoil: Spoil, server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    leave_part(server, fetch, data)
    fetch.record.write_bytes(spoil(fetch.record.read_bytes()))
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert server.payload <= SIZE - KEPT + 2 * CHUNK


@pytest.mark.parametrize("what", ["folder", "fifo", "link", "hard link"])
def test_record_that_is_something_else(what: str, server: NativeServer, fetch: Fetch) -> None:
    precious = fetch.folder.parent / "precious"
    precious.write_bytes(b"precious")
    if what == "folder":
        fetch.record.mkdir()
    elif what == "fifo":
        os.mkfifo(fetch.record)
    elif what == "link":
        fetch.record.symlink_to(precious)
    else:
        fetch.record.hardlink_to(precious)
    with pytest.raises(CannotWrite):
        fetch(server.put(b"f", some(SIZE)))
    assert precious.read_bytes() == b"precious"
    assert not fetch.path.exists()


def test_file_that_changed_in_between(server: NativeServer, fetch: Fetch) -> None:
    old = some(SIZE)
    leave_part(server, fetch, old)
    new = old[: 2 * CHUNK] + some(CHUNK, 1) + old[3 * CHUNK :] + some(CHUNK, 2)
    fetched = fetch(server.put(b"f", new))
    assert fetch.path.read_bytes() == new
    assert fetch.names == {NAME}
    (note,) = fetch.notes
    assert "changed on the server" in note
    assert fetched.kept == 4 * CHUNK
    assert server.payload <= len(new) - KEPT + CHUNK + 1


def test_file_that_became_shorter(server: NativeServer, fetch: Fetch) -> None:
    old = some(SIZE)
    leave_part(server, fetch, old)
    new = old[: 2 * CHUNK + 100]
    fetch(server.put(b"f", new))
    assert fetch.path.read_bytes() == new
    assert server.payload <= 1
    assert fetch.names == {NAME}


def test_file_that_became_empty(server: NativeServer, fetch: Fetch) -> None:
    leave_part(server, fetch, some(SIZE))
    fetch(server.put(b"f", b""))
    assert fetch.path.read_bytes() == b""
    assert fetch.names == {NAME}


def test_chunks_that_are_wrong_are_asked_for_at_once(server: NativeServer, fetch: Fetch) -> None:
    fetch.part.write_bytes(some(SIZE, 1))
    fetch(server.put(b"f", some(SIZE)))
    assert fetch.path.read_bytes() == some(SIZE)
    assert server.payload == SIZE


# Parts that other programs began.


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, KEPT, SIZE - 1, SIZE])
def test_part_without_a_record(size: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    fetch.part.write_bytes(data[:size])
    fetched = fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    assert fetched.kept == (size if size == SIZE else size // CHUNK * CHUNK)
    assert server.payload == SIZE - size


@pytest.mark.parametrize("size", [100, CHUNK, KEPT])
def test_part_that_is_longer_than_the_file(size: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(size)
    fetch.part.write_bytes(data + b"and more" * CHUNK)
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload <= 1


@pytest.mark.parametrize("size", [1, 100, CHUNK])
def test_part_of_a_small_file(size: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(CHUNK)
    fetch.part.write_bytes(data[: size - 1] + b"!")
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload <= 2 * CHUNK
    assert fetch.names == {NAME}


# Holes: several connections were at work.


def sparse(fetch: Fetch, data: bytes, *ranges: tuple[int, int]) -> None:
    with fetch.part.open("wb") as file:
        for start, end in ranges:
            file.seek(start)
            file.write(data[start:end])


def test_holes(server: NativeServer, fetch: Fetch) -> None:
    size = 20 * 4 * CHUNK
    server.files.clear()
    data = some(size)
    big = 4 * CHUNK
    location = server.put(b"f", data)
    server.files[b"f"] = server.files[b"f"]._replace(shift=18)
    # Two whole chunks; a beginning of which the last grain is not trusted; one to the very end.
    sparse(fetch, data, (0, 2 * big), (5 * big, 5 * big + 3 * GRAIN), (9 * big, 9 * big + 1000))
    fetched = fetch(location)
    assert fetch.path.read_bytes() == data
    assert fetched.kept == 2 * big
    there = 2 * big + 2 * GRAIN + 1000
    assert size - there <= server.payload <= size - there + GRAIN
    assert fetch.notes == []


def test_wrong_data_before_a_hole(server: NativeServer, fetch: Fetch) -> None:
    """What was written last before the power failed, say."""
    data = some(20 * CHUNK)
    spoiled = data[: CHUNK - 500] + bytes(500) + data[CHUNK:]
    sparse(fetch, spoiled, (0, CHUNK), (3 * CHUNK, 3 * CHUNK + 4096), (8 * CHUNK, 8 * CHUNK + 10))
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload <= 20 * CHUNK + 2


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_holes_that_cannot_be_seen(
    code: int, server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = os.lseek

    def lseek(fd: int, position: int, whence: int) -> int:
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(code, os.strerror(code))
        return honest(fd, position, whence)

    data = some(20 * CHUNK)
    sparse(fetch, data, (0, 2 * CHUNK), (7 * CHUNK, 8 * CHUNK), (10 * CHUNK, 10 * CHUNK + 99))
    monkeypatch.setattr(os, "lseek", lseek)
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload <= 20 * CHUNK + 20
    assert fetch.notes == []


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choose=st.data(), size=st.integers(0, 8 * CHUNK), shift=st.integers(16, 18))
def test_any_part(choose: st.DataObject, size: int, shift: int, fetch: Fetch) -> None:
    server = NativeServer(shift=shift)
    try:
        data = some(size)
        location = server.put(b"f", data)
        for path in (fetch.path, fetch.part, fetch.record):
            path.unlink(missing_ok=True)
        offsets = st.integers(0, size + CHUNK)
        with fetch.part.open("wb") as file:
            for start, length, right in choose.draw(
                st.lists(st.tuples(offsets, offsets, st.booleans()), max_size=6)
            ):
                file.seek(start)
                whole = data if right else some(size + CHUNK, 9)
                file.write(whole[start : start + length])
        if choose.draw(st.booleans()):
            fetch.record.write_bytes(choose.draw(st.binary(max_size=100)))
        fetch(location)
        assert fetch.path.read_bytes() == data
        assert fetch.names == {NAME}
    finally:
        server.close()


# A server that is not there for a moment.


def test_server_is_waited_for(server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    leave_part(server, fetch, data)
    fetch.slept.clear()
    server.cuts = [(0, Ending.FIN), (0, Ending.RESET), (5, Ending.FIN)]
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert len(fetch.slept) == 3


def test_server_is_gone(server: NativeServer, fetch: Fetch) -> None:
    data = some(SIZE)
    leave_part(server, fetch, data)
    fetch.slept.clear()
    location = server.put(b"f", data)
    server.hang_up()
    with pytest.raises(CannotConnect):
        fetch(location)
    assert len(fetch.slept) == 6
    assert fetch.part.read_bytes() == data[:KEPT]
    assert fetch.names == {PART, RECORD}
