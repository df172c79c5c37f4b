"""Tests `client.api`: which dialect is spoken, and what a person is told."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcpdl.client.api import fetch, fetch_bytes, fetch_stream, fetch_to
from tcpdl.client.errors import (
    BadRequest,
    CannotConnect,
    CannotWrite,
    ClientError,
    ConnectionBroken,
    NothingThere,
    OtherDialect,
    TooLarge,
)
from tcpdl.client.expected import Expected
from tcpdl.client.fetched import Fetched
from tcpdl.client.patience import PAUSES
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire.native import Digest
from tcpdl.wire.raw import HELP
from tests.client.download.conftest import CHUNK, NAME, PART, RECORD, some
from tests.client.native_server import MTIME, Asked, Ending, NativeServer, Payload, Pieces

if TYPE_CHECKING:
    from tests.client.conftest import Script, Serve

SIZE = 5 * CHUNK + 321


class Get:
    """Fetches to a folder as the command does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.notes: list[str] = []

    def __call__(self, location: Location, dialect: str = "auto", **more: object) -> Fetched:
        ways = Ways(dialect=dialect, timeout=5, connections=1, note=self.notes.append)
        return fetch_to(location, str(self.folder), NAME.encode(), ways._replace(**more))  # type: ignore[arg-type]

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def get(tmp_path: Path) -> Get:
    return Get(tmp_path)


def close_at_once(sock: socket.socket) -> None:
    """It takes NUL for the end of an empty name, say, and has no such file."""
    sock.recv(65536)
    sock.shutdown(socket.SHUT_WR)
    with suppress(OSError):  # or more of what was said would make it a reset
        while sock.recv(65536):
            pass


def send_help(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(HELP)
    with suppress(OSError):  # the client may be gone
        sock.shutdown(socket.SHUT_WR)


def send_bytes(sock: socket.socket) -> None:
    """It takes the first read for a name, whatever it is, and has something for it."""
    sock.recv(65536)
    sock.sendall(b"the bytes of another file")
    with suppress(OSError):  # the client may be gone
        sock.shutdown(socket.SHUT_WR)


def send_one_byte(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"a")
    with suppress(OSError):  # the client may be gone
        sock.shutdown(socket.SHUT_WR)


def asked(first: Script) -> int:
    """How many connections are made to a server that does `first`: one that says nothing may be
    busy, and is asked once more before."""
    return 3 if first is close_at_once else 2


NOT_NATIVE = [close_at_once, send_help, send_bytes, send_one_byte]


def raw_only(first: Script, data: bytes) -> Callable[[socket.socket], None]:
    """A server of the raw dialect, which does `first` when it is spoken to in the native one."""

    def script(sock: socket.socket) -> None:
        if sock.recv(1, socket.MSG_PEEK) == b"\0":
            first(sock)
            return
        while sock.recv(65536):
            pass
        sock.sendall(data)

    return script


@pytest.mark.parametrize("first", NOT_NATIVE)
def test_falls_back(first: Script, serve: Serve, get: Get) -> None:
    data = some(SIZE)
    location = Location("127.0.0.1", serve(raw_only(first, data), connections=asked(first)), b"f")
    fetched = get(location)
    assert get.path.read_bytes() == data
    assert get.names == {NAME}
    assert (fetched.size, fetched.received, fetched.verified) == (SIZE, SIZE, False)
    assert get.notes == [f"{location.server} speaks the raw dialect only: nothing can be checked"]


@pytest.mark.parametrize("first", NOT_NATIVE)
def test_native_only(first: Script, serve: Serve, get: Get) -> None:
    location = Location("127.0.0.1", serve(first), b"f")
    with pytest.raises(OtherDialect):
        get(location, "native")
    assert get.names == set()
    assert get.notes == []


@pytest.mark.parametrize("first", NOT_NATIVE)
def test_stream_falls_back(first: Script, serve: Serve, tmp_path: Path) -> None:
    data = some(SIZE)
    location = Location("127.0.0.1", serve(raw_only(first, data), connections=asked(first)), b"f")
    notes: list[str] = []
    with (tmp_path / "out").open("wb") as out:
        fetched = fetch_stream(location, out.fileno(), Ways(timeout=5, note=notes.append))
    assert (tmp_path / "out").read_bytes() == data
    assert not fetched.verified
    assert len(notes) == 1


def speaks_tls(sock: socket.socket) -> None:
    """What is no TLS, it answers with an alert (RFC 8446, section 6)."""
    if sock.recv(65536):
        sock.sendall(b"\x15")
        sock.sendall(b"\x03\x03\0\x02\x02\x46")
    with suppress(OSError):  # the client may be gone
        sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("dialect", ["auto", "native"])
def test_alert_of_tls_is_no_file(dialect: str, serve: Serve, get: Get) -> None:
    with pytest.raises(BadRequest, match=r"speaks TLS there; write tcpdls://"):
        get(Location("127.0.0.1", serve(speaks_tls), b"f"), dialect)
    assert get.names == set()
    assert get.notes == []


def test_stream_native_only(serve: Serve) -> None:
    location = Location("127.0.0.1", serve(close_at_once), b"f")
    with pytest.raises(OtherDialect):
        fetch_stream(location, 1, Ways(timeout=5, dialect="native"))


@pytest.mark.parametrize("first", NOT_NATIVE)
def test_bytes_fall_back(first: Script, serve: Serve) -> None:
    port = serve(raw_only(first, b"hello"), connections=asked(first))
    assert fetch_bytes(f"127.0.0.1:{port}/f", timeout=5) == b"hello"


def test_bytes_native_only(serve: Serve) -> None:
    with pytest.raises(OtherDialect):
        fetch_bytes(f"127.0.0.1:{serve(close_at_once)}/f", timeout=5, dialect="native")


def test_bytes_are_too_many(serve: Serve) -> None:
    port = serve(raw_only(close_at_once, b"hello"), connections=3)
    with pytest.raises(TooLarge):
        fetch_bytes(f"127.0.0.1:{port}/f", timeout=5, most=4)


def test_bytes_in_the_raw_dialect_break_off(serve: Serve, reset: Script) -> None:
    def script(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass
        sock.sendall(b"hello")
        sock.recv(1)  # the client has taken them, or is about to
        reset(sock)

    with pytest.raises(ClientError):
        fetch_bytes(f"127.0.0.1:{serve(script)}/f", timeout=0.3, dialect="raw")


def test_server_for_one_connection(serve: Serve, get: Get) -> None:
    location = Location("127.0.0.1", serve(close_at_once), b"f")
    with pytest.raises(CannotConnect, match="It was there a moment ago"):
        get(location)
    assert get.names == set()


def test_raw_has_nothing(serve: Serve, get: Get) -> None:
    location = Location("127.0.0.1", serve(raw_only(close_at_once, b""), connections=3), b"f")
    get.path.write_bytes(b"precious")
    with pytest.raises(NothingThere):
        get(location)
    assert get.path.read_bytes() == b"precious"
    assert get.names == {NAME}


def test_native(server: NativeServer, get: Get) -> None:
    data = some(SIZE)
    fetched = get(server.put(b"f", data))
    assert get.path.read_bytes() == data
    assert fetched.verified
    assert get.path.stat().st_mtime_ns == MTIME
    assert get.notes == []


def test_by_url(server: NativeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = some(SIZE)
    server.put(b"a/f", data)
    monkeypatch.chdir(tmp_path)
    fetch(f"127.0.0.1:{server.port}/a/f", timeout=5)
    assert (tmp_path / "f").read_bytes() == data
    fetch(f"127.0.0.1:{server.port}/a/f", tmp_path / "deep" / "g", timeout=5, sync=True)
    assert (tmp_path / "deep" / "g").read_bytes() == data
    with pytest.raises(BadRequest):
        fetch(f"127.0.0.1:{server.port}/a/f", dialect="other")


def break_off(server: NativeServer, at: int) -> None:
    """The first connection ends after so many bytes; after that, connections are closed."""
    server.cuts = [(at, Ending.FIN), *[(0, Ending.FIN)] * 50]


def test_message_says_where_the_part_is(server: NativeServer, get: Get) -> None:
    data = some(SIZE)
    break_off(server, 2 * CHUNK)
    with pytest.raises(ConnectionBroken, match=rf"what came is kept in '{PART}'"):
        get(server.put(b"f", data))
    assert get.names == {PART, RECORD}
    assert data.startswith((get.folder / PART).read_bytes())


def test_message_says_where_the_part_is_if_the_server_is_gone(
    server: NativeServer, get: Get
) -> None:
    def hang_up(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield piece
            if isinstance(piece, Digest):
                server.hang_up()

    server.hook = hang_up
    with pytest.raises(ClientError, match=rf"what came is kept in '{PART}'"):
        get(server.put(b"f", some(SIZE)))


def test_no_fall_back_where_a_record_is(server: NativeServer, get: Get) -> None:
    """The server is known to speak the native dialect: that it says nothing means no other."""
    location = server.put(b"f", some(SIZE))
    break_off(server, 2 * CHUNK)
    with pytest.raises(ConnectionBroken):
        get(location)
    kept = (get.folder / PART).read_bytes()
    server.cuts = [(0, Ending.FIN)] * 50
    with pytest.raises(ConnectionBroken) as raised:
        get(location)
    assert not isinstance(raised.value, OtherDialect)
    assert get.notes == []
    assert (get.folder / PART).read_bytes() == kept
    server.cuts = []
    get(location)
    assert get.path.read_bytes() == some(SIZE)


PORTAL = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 21\r\n"
    b"Connection: close\r\n\r\n<html>log in</html>\r\n"
)


def portal(server: NativeServer, after: int) -> None:
    """From that connection on, whoever asks gets a page to log in to the network."""
    honest = server.says

    def says(connection: int, before: int, data: bytes) -> bytes:
        if connection < after:
            return honest(connection, before, data) if honest else data
        return b"" if before else PORTAL

    server.says = says


def test_no_web_page_where_a_record_is(server: NativeServer, get: Get) -> None:
    """It is not taken for the file: what came is kept, and gone on with later."""
    location = server.put(b"f", some(SIZE))
    break_off(server, 2 * CHUNK)
    with pytest.raises(ConnectionBroken):
        get(location)
    kept = [(get.folder / name).read_bytes() for name in (PART, RECORD)]
    server.cuts = []
    portal(server, 0)
    with pytest.raises(ConnectionBroken, match="is a web server") as raised:
        get(location)
    assert not isinstance(raised.value, OtherDialect)
    assert [(get.folder / name).read_bytes() for name in (PART, RECORD)] == kept
    assert get.names == {PART, RECORD}
    assert get.notes == []
    server.says = None
    assert get(location).kept > 0
    assert get.path.read_bytes() == some(SIZE)


@pytest.mark.parametrize("size", [CHUNK, SIZE, 20 * CHUNK])
def test_no_web_page_once_it_has_answered(size: int, server: NativeServer, get: Get) -> None:
    location = server.put(b"f", some(size))
    server.cuts = [(CHUNK // 2, Ending.FIN)]
    portal(server, 1)
    with pytest.raises(ConnectionBroken, match="is a web server") as raised:
        get(location)
    assert not isinstance(raised.value, OtherDialect)
    assert get.notes == []
    assert PART in get.names
    server.says = None
    get(location)
    assert get.path.read_bytes() == some(size)


@pytest.mark.parametrize("size", [CHUNK // 2, CHUNK])
def test_no_fall_back_once_it_has_answered(size: int, server: NativeServer, get: Get) -> None:
    break_off(server, CHUNK // 4)
    with pytest.raises(ClientError) as raised:
        get(server.put(b"f", some(size)))
    assert get.notes == []
    assert isinstance(raised.value, ConnectionBroken)
    assert get.names == {PART}


def test_reset_is_not_taken_for_another_dialect(serve: Serve, reset: Script, get: Get) -> None:
    """Who is busy resets connections: it is asked again, and again."""

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        reset(sock)

    with pytest.raises(ConnectionBroken) as raised:
        get(Location("127.0.0.1", serve(script, connections=1 + len(PAUSES)), b"f"))
    assert not isinstance(raised.value, OtherDialect)
    assert get.notes == []


def test_reset_for_a_while(server: NativeServer, get: Get) -> None:
    server.cuts = [(0, Ending.RESET)] * len(PAUSES)
    get(server.put(b"f", some(SIZE)))
    assert get.path.read_bytes() == some(SIZE)
    assert server.connections == 1 + len(PAUSES)


def test_clean_end_at_first(server: NativeServer, get: Get) -> None:
    """It is not taken for another dialect at once: what raw would bring, nobody could check."""
    server.cuts = [(0, Ending.FIN)]
    assert get(server.put(b"f", some(SIZE))).verified
    assert get.path.read_bytes() == some(SIZE)
    assert get.notes == []


@pytest.mark.parametrize("dialect", ["auto", "raw"])
def test_raw_brings_less_than_there_is(dialect: str, serve: Serve, get: Get) -> None:
    """A part cannot be told from a file: so it never takes the place of a longer one."""
    port = serve(raw_only(send_help, b"half"), connections=4 if dialect == "auto" else 2)
    location = Location("127.0.0.1", port, b"f")
    get.path.write_bytes(b"whole")
    with pytest.raises(ConnectionBroken, match=r"4 bytes came, and .* has 5 already"):
        get(location, dialect)
    assert get.path.read_bytes() == b"whole"
    right = Expected("sha256", hashlib.sha256(b"half").digest())
    get(location, dialect, expected=[right])
    assert get.path.read_bytes() == b"half"


def test_silence_is_not_taken_for_another_dialect(server: NativeServer, get: Get) -> None:
    server.cuts = [(0, Ending.STALL)]
    with pytest.raises(ConnectionBroken, match="fell silent"):
        get(server.put(b"f", b"hello"), timeout=0.1)
    assert get.names == set()


def test_two_at_once(server: NativeServer, get: Get) -> None:
    data = some(SIZE)
    location = server.put(b"f", data)
    seen: list[str] = []

    def second(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload) and not seen:
                with pytest.raises(CannotWrite) as raised:
                    get(location)
                seen.append(str(raised.value))
            yield piece

    server.hook = second
    get(location)
    assert get.path.read_bytes() == data
    assert "another download" in seen[0]


def test_file_descriptors_of_a_failed_fetch(server: NativeServer, get: Get) -> None:
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(NothingThere):
        get(Location("127.0.0.1", server.port, b"none"))
    assert len(os.listdir("/dev/fd")) <= before + 1  # the server's, for a moment
