"""Tests `client.download` with an honest server and an empty folder."""

from __future__ import annotations

import os
import stat

import pytest

from tcpdl.client.crew import SMALL
from tcpdl.client.errors import BadRequest, NothingThere, ServerFailed
from tcpdl.wire import native
from tests.client.download.conftest import CHUNK, NAME, SMALL_ANSWER, Fetch, Start, some
from tests.client.native_server import MTIME, NativeServer

SIZES = [
    *(0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17),
    *(SMALL - 1, SMALL, SMALL + 1, SMALL + 3 * CHUNK + 5),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lag", [0, 1])
def test_sizes(size: int, lag: int, server: NativeServer, fetch: Fetch) -> None:
    data = some(size)
    server.lag = lag
    fetched = fetch(server.put(b"a/f", data))
    assert fetch.path.read_bytes() == data
    assert fetch.names == {NAME}
    status = fetch.path.stat()
    assert status.st_mtime_ns == MTIME
    assert stat.S_IMODE(status.st_mode) == 0o644
    assert (fetched.size, fetched.mtime_ns, fetched.mode) == (size, MTIME, 0o644)
    assert (fetched.kept, fetched.verified, fetched.unchanged) == (0, True, False)
    chunks = -(-size // CHUNK)
    assert size <= fetched.received <= size + SMALL_ANSWER * (1 + chunks)
    assert fetched.seconds > 0
    assert fetched.limited_by in ("this CPU", "this disk", "the server", "the network")
    assert server.payload == size
    assert server.connections == 1
    assert fetch.begun == [(size, 0)]
    assert fetched.received - 40 <= sum(fetch.told) <= fetched.received
    assert (fetch.notes, fetch.slept) == ([], [])


@pytest.mark.parametrize("shift", [16, 20, 24])
@pytest.mark.parametrize("algorithms", [native.SHA256, native.SHA256 | native.BLAKE3])
def test_chunk_sizes_and_digests(shift: int, algorithms: int, serving: Start, fetch: Fetch) -> None:
    server = serving(shift=shift, algorithms=algorithms)
    data = some(2 * SMALL + 99)
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    assert server.payload == len(data)


def test_spans_of_a_large_file(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcpdl.client.crew.FIRST_SPAN", 3 * CHUNK)
    monkeypatch.setattr("tcpdl.client.crew.SPAN_MOST", CHUNK)
    data = some(SMALL + 9 * CHUNK + 1)
    fetch(server.put(b"f", data))
    assert fetch.path.read_bytes() == data
    # In order, with nothing left out and nothing asked for twice.
    starts = [start for start, _ in server.spans]
    ends = [end for _, end in server.spans]
    assert starts == [0, *ends[:-1]]
    assert ends[0] == 3 * CHUNK
    assert ends[-1] == len(data)


def test_umask(server: NativeServer, fetch: Fetch) -> None:
    before = os.umask(0o077)
    try:
        fetch(server.put(b"f", b"secret"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(fetch.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("code", "error"),
    [
        *((native.ABSENT, NothingThere), (native.REFUSED, NothingThere)),
        *((native.IS_FOLDER, NothingThere), (native.NOT_A_FOLDER, NothingThere)),
        *((native.UNAVAILABLE, ServerFailed), (native.BAD_RANGE, ServerFailed)),
        *((native.NOT_UNDERSTOOD, ServerFailed), (native.TOO_SLOW, ServerFailed)),
        *((63, ServerFailed), (65_535, ServerFailed)),
    ],
)
def test_refusals(code: int, error: type[Exception], server: NativeServer, fetch: Fetch) -> None:
    location = server.put(b"f", b"")
    server.refusals[b"f"] = (code, "because \x1b[2J of \u202e this")
    with pytest.raises(error) as raised:
        fetch(location)
    assert str(raised.value).isprintable()
    assert fetch.names == set()
    assert server.connections == 1


def test_name_that_is_too_long(server: NativeServer, fetch: Fetch) -> None:
    with pytest.raises((NothingThere, BadRequest)):
        fetch(server.put(b"n" * 1025, b"hello"))
    assert fetch.names == set()


@pytest.mark.parametrize("mtime_ns", [-(1 << 63), -1, 0, (1 << 63) - 1])
def test_times_of_any_age(mtime_ns: int, server: NativeServer, fetch: Fetch) -> None:
    location = server.put(b"f", b"hello")
    server.files[b"f"] = server.files[b"f"]._replace(mtime_ns=mtime_ns)
    assert fetch(location).mtime_ns == mtime_ns
    assert fetch.path.read_bytes() == b"hello"
