"""Tests `client.session` where a download does not show it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.client import inlet
from tcpdl.client.errors import ConnectionBroken, NothingThere, OtherDialect, Silent
from tcpdl.client.inlet import LOW_WATER, low_water
from tcpdl.client.session import Session
from tcpdl.client.ways import Ways
from tcpdl.wire import native
from tcpdl.wire.goaway import GoAway
from tcpdl.wire.native import Chunk, Digest, End, FileInfo, Get
from tests.client.download.conftest import BETWEEN, CHUNK, Fetch, Start, some
from tests.client.native_server import (
    SECONDS,
    Asked,
    Ending,
    Hook,
    NativeServer,
    Payload,
    Piece,
    Pieces,
)
from tests.client.silence import Hearing

LONG = 40 * CHUNK


def test_round_trip(server: NativeServer) -> None:
    with Session(server.place, Ways(timeout=5)) as session:
        assert 0 < session.round_trip < 1
    assert session.round_trip == 0.1  # closed: nobody knows


def test_round_trip_where_the_system_does_not_tell(
    server: NativeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "TCP_INFO")
    with Session(server.place, Ways(timeout=5)) as session:
        assert session.round_trip == 0.1


def test_many_requests(server: NativeServer) -> None:
    server.put(b"f", b"hello")
    with Session(server.place, Ways(timeout=5)) as session:
        assert session.algorithm == 0
        numbers = [session.ask(lambda number: Get(number, b"f")) for _ in range(3)]
        assert len(set(numbers)) == 3
        for number in numbers:
            assert isinstance(info := session.next(), FileInfo)
            assert (info.id, info.size) == (number, 5)
            assert session.next() == Chunk(number, 5)
            assert session.take(5) == b"hello"
            digest = session.next()
            assert digest == Digest(number, 0, session.digest(b"hello"))
            assert session.next() == End(number)
        assert session.algorithm in (native.SHA256, native.BLAKE3)


def test_ids_begin_anew(server: NativeServer) -> None:
    server.put(b"f", b"")
    with Session(server.place, Ways(timeout=5)) as session:
        session._number = 0xFFFE
        numbers = [session.ask(lambda number: Get(number, b"f")) for _ in range(3)]
        assert numbers == [0xFFFF, 0, 1]
        for number in numbers:
            assert session.next().id == number
            assert session.next() == End(number)


@pytest.mark.parametrize("name", [b"n" * 1025])
def test_name_that_cannot_be_sent(name: bytes, server: NativeServer) -> None:
    with Session(server.place, Ways(timeout=5)) as session, pytest.raises(NothingThere):
        session.ask(lambda number: Get(number, name))


def test_interrupted_from_another_thread(server: NativeServer) -> None:
    server.cuts = [(8, Ending.STALL)]
    server.put(b"f", b"hello")
    with Session(server.place, Ways(timeout=SECONDS)) as session:
        session.ask(lambda number: Get(number, b"f"))
        timer = threading.Timer(0.05, session.interrupt)
        timer.start()
        with pytest.raises((ConnectionBroken, OtherDialect)):
            session.next()
        timer.join()
    session.interrupt()  # of no effect once it is closed


def test_a_server_is_waited_for_however_slow_its_machine_is(
    server: NativeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the servers that are for tests: timeouts of those would be a matter of luck."""
    looked = threading.Event()
    honest = Hearing.is_silent

    def is_silent(self: Hearing, client: socket.socket) -> bool:
        silent = honest(self, client)
        looked.set()
        return silent

    def late(_asked: Asked, pieces: Pieces) -> Pieces:
        assert looked.wait(SECONDS)
        yield from pieces

    monkeypatch.setattr(Hearing, "is_silent", is_silent)
    server.hook = late
    server.put(b"f", b"hello")
    with Session(server.place, Ways(timeout=0.1)) as session:
        session.ask(lambda number: Get(number, b"f"))
        assert isinstance(session.next(), FileInfo)
        while not isinstance(message := session.next(), End):
            if isinstance(message, Chunk):
                session.take(message.length)
        with pytest.raises(Silent):
            session.next()


def test_run_that_breaks_off(server: NativeServer) -> None:
    server.cuts = [(BETWEEN + 8 + 100, Ending.FIN)]
    server.put(b"f", some(1000))
    with Session(server.place, Ways(timeout=5)) as session:
        session.ask(lambda number: Get(number, b"f"))
        assert isinstance(session.next(), FileInfo)
        assert isinstance(session.next(), Chunk)
        with pytest.raises(ConnectionBroken, match="ended the connection after"):
            session.take(1000)


# A fast stream wakes the client less often, but never lets it wait for what does not come.


@given(left=st.integers(1, 1 << 24), room=st.integers(1, 1 << 20))
def test_low_water(left: int, room: int) -> None:
    """With less than the mark taken, as much again must still be to come: or it waits in vain."""
    mark = low_water(left, room)
    assert 1 <= mark <= min(room, LOW_WATER)
    assert mark == 1 or (mark - 1) + mark < left
    # It is no lower than it must be.
    assert mark == min(room, LOW_WATER) or 2 * min(room, LOW_WATER) > left


@pytest.mark.parametrize("shift", [16, 20, 24])
@pytest.mark.parametrize("left", [1, 1000, 40_000])
def test_end_of_a_run_that_trickles(
    left: int, shift: int, serving: Start, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bytes of each run come late, in pieces, and the next run only after them."""
    monkeypatch.setattr(inlet, "LATELY", CHUNK)
    monkeypatch.setattr(inlet, "FAST", 1)
    server = serving(shift=shift)
    seen: list[tuple[int, int]] = []

    def mark(left: int, room: int) -> int:
        seen.append((low_water(left, room), left))
        return seen[-1][0]

    def trickle(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload):
                at = max(len(piece.data) - left, 0)
                yield piece._replace(data=piece.data[:at])
                yield from cut(piece._replace(data=piece.data[at:]))
            else:
                yield piece

    def cut(piece: Payload) -> list[Piece]:
        each = max(1, len(piece.data) // 3)
        return [
            piece._replace(data=piece.data[at : at + each])
            for at in range(0, len(piece.data), each)
        ]

    monkeypatch.setattr(inlet, "low_water", mark)
    server.hook = trickle
    fetch(server.put(b"f", some(LONG)), timeout=3.0)
    assert fetch.path.read_bytes() == some(LONG)
    assert server.connections == 1
    assert all(count == 1 or 2 * count <= left for count, left in seen)
    # Where a run is longer than the room for it, what is still to come allows for more.
    assert (max(count for count, _ in seen) > 1) == (shift > 16)


def test_silence_within_a_fast_run(
    server: NativeServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came is taken when the wait is over, though it is less than was hoped for."""
    monkeypatch.setattr(inlet, "LATELY", CHUNK)
    monkeypatch.setattr(inlet, "FAST", 1)
    data = some(LONG)
    server.files.clear()
    location = server.put(b"f", data)
    server.files[b"f"] = server.files[b"f"]._replace(shift=20)
    server.cuts = [(BETWEEN + 8 + 10 * CHUNK + 99, Ending.STALL)]
    fetch(location, timeout=0.2)
    assert fetch.path.read_bytes() == data
    assert server.payload == LONG
    assert server.connections == 2


def going_away(after: int, place: int) -> Hook:
    """Says so within the answer to each request from `after` on, before the piece `place`."""

    def hook(asked: Asked, pieces: Pieces) -> Iterable[Piece]:
        for number, piece in enumerate(pieces):
            if asked.number >= after and number == place:
                yield GoAway()
            yield piece
        if asked.number >= after:
            yield Ending.FIN

    return hook


@pytest.mark.parametrize("place", [0, 1, 3])
def test_what_is_asked_once_a_server_goes_away(place: int, server: NativeServer) -> None:
    server.put(b"f", b"hello")
    server.hook = going_away(1, place)
    with Session(server.place, Ways(timeout=5)) as session:
        for number in (1, 2, 3):
            session.ask(lambda number: Get(number, b"f"))
            assert isinstance(session.next(), FileInfo)
            assert session.next() == Chunk(number, 5)
            assert session.take(5) == b"hello"
            assert isinstance(session.next(), Digest)
            assert session.next() == End(number)
        assert session.going_away
    assert [asked.connection for asked in server.asked] == [0, 0, 1]


def test_what_was_asked_before_a_server_went_away(server: NativeServer) -> None:
    server.put(b"f", b"")
    server.hook = going_away(0, 0)
    with Session(server.place, Ways(timeout=5)) as session:
        numbers = [session.ask(lambda number: Get(number, b"f")) for _ in range(3)]
        for number in numbers:
            assert isinstance(session.next(), FileInfo)
            assert session.next() == End(number)
    assert server.connections == 3


def test_a_server_that_does_nothing_but_go_away(server: NativeServer) -> None:
    server.put(b"f", b"")
    server.hook = lambda asked, pieces: [GoAway(), Ending.FIN]
    with Session(server.place, Ways(timeout=5)) as session:
        session.ask(lambda number: Get(number, b"f"))
        with pytest.raises(ConnectionBroken, match="answers nothing"):
            session.next()
    assert server.connections == 2


@pytest.mark.parametrize("connections", [1, 4])
def test_a_download_goes_on_elsewhere_without_a_pause(
    connections: int, server: NativeServer, fetch: Fetch
) -> None:
    data = some(LONG)
    location = server.put(b"f", data)

    def hook(asked: Asked, pieces: Pieces) -> Iterable[Piece]:
        for number, piece in enumerate(pieces):
            if number == 4:
                yield GoAway()
            if number == 30:
                yield Ending.RESET
            yield piece

    server.hook = hook
    fetch(location, connections=connections)
    assert fetch.path.read_bytes() == data
    assert fetch.slept == []
    assert server.connections > 1
