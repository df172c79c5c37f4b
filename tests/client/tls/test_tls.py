"""Tests `client.tls`: all dialects under TLS, and streams that are cut off."""

from __future__ import annotations

import os
import random
import select
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcpdl.client import crew
from tcpdl.client.access import Access
from tcpdl.client.api import fetch_stream, fetch_to
from tcpdl.client.errors import ConnectionBroken, NothingThere
from tcpdl.client.fetched import Fetched
from tcpdl.client.http.connection import Connection
from tcpdl.client.pace import Growth
from tcpdl.client.session import Session
from tcpdl.client.tls import IDLE_MOST
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire.native import End, GetDigests
from tests.certificates import Certificate, server_context
from tests.client import native_server
from tests.client.http.web_server import Ending, WebServer, reply
from tests.client.native_server import NativeServer
from tests.client.tls_front import TlsFront

if TYPE_CHECKING:
    from tests.client.conftest import Run, Script, Serve
    from tests.client.tls.conftest import Secure

MIB = 1 << 20


def some(size: int) -> bytes:
    return random.Random(0).randbytes(size)


def place(front: TlsFront, name: str = "f", *, http: bool = False) -> Location:
    target = f"/{name}" if http else ""
    return Location("localhost", front.port, name.encode(), target, tls=True)


def get(location: Location, folder: Path, access: Access, **more: Any) -> Fetched:
    ways = Ways(timeout=5, access=access, sleep=lambda _: None)._replace(**more)
    return fetch_to(location, str(folder), b"f", ways)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many connections as are allowed, at once; each asks for little at a time."""

    def wants_another(
        self: Any, now: float, cpu: float, received: int, left: int, working: int
    ) -> bool:
        return bool(working < self._most and left > 0)

    monkeypatch.setattr(Growth, "wants_another", wants_another)
    monkeypatch.setattr(crew, "FIRST_SPAN", MIB)
    monkeypatch.setattr(crew, "SPAN_MOST", MIB)


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 3 * MIB + 1, 20 * MIB])
def test_native(
    size: int, native: NativeServer, secure: Secure, access: Access, folder: Path, eager: None
) -> None:
    native.put(b"f", some(size))
    front = secure(native.port)
    assert get(place(front), folder, access).verified
    assert (folder / "f").read_bytes() == some(size)
    assert set(front.names) == {"localhost"}
    assert front.connections > 1 or size < 10 * MIB


@pytest.mark.parametrize("size", [1, 3 * MIB + 1, 20 * MIB])
def test_http(
    size: int, web: WebServer, secure: Secure, access: Access, folder: Path, eager: None
) -> None:
    web.put("/f", some(size))
    front = secure(web.port)
    get(place(front, http=True), folder, access)
    assert (folder / "f").read_bytes() == some(size)
    assert {asked.fields["host"] for asked in web.asked} == {f"localhost:{front.port}"}
    assert front.connections > 1 or size < 10 * MIB


def test_http_where_the_native_dialect_is_not_spoken(
    web: WebServer, secure: Secure, access: Access, folder: Path
) -> None:
    web.put("/f", b"hello")
    front = secure(web.port)
    get(place(front), folder, access)
    assert (folder / "f").read_bytes() == b"hello"
    assert front.connections == 2


def test_connection_is_used_again(web: WebServer, secure: Secure, access: Access) -> None:
    """Though a server may send tickets at any time."""
    web.put("/f", b"hello")
    front = secure(web.port)
    view = memoryview(bytearray(10))
    with Connection(place(front, http=True), Ways(timeout=5, access=access)) as connection:
        for _ in range(3):
            connection.ask("/f")
            assert connection.receive(view) == 5
        assert web.connections == 1
        web.hang_up()
        assert connection._sock is not None
        assert select.select([connection._sock], [], [], 20)[0]  # now the end has come
        connection.ask("/f")
        assert connection.receive(view) == 5
    assert web.connections == 2


def raw(data: bytes) -> Script:
    """Sends `data` for a name that ends with its line; a half-close is no end."""

    def script(sock: Any) -> None:
        name = b""
        while not name.endswith(b"\n"):
            more = sock.recv(100)
            assert more, "the name has no end"
            name += more
        assert name in (b"f\n",)
        sock.sendall(data)

    return script


@pytest.mark.parametrize("size", [1, 70_000, 3 * MIB])
def test_raw(size: int, serve: Serve, secure: Secure, access: Access, folder: Path) -> None:
    front = secure(serve(raw(some(size))))
    get(place(front), folder, access, dialect="raw")
    assert (folder / "f").read_bytes() == some(size)
    assert front.connections == 1


def test_raw_to_a_descriptor(serve: Serve, secure: Secure, access: Access, folder: Path) -> None:
    front = secure(serve(raw(some(MIB))))
    with (folder / "f").open("wb") as out:
        ways = Ways("raw", 5, access=access)
        fetch_stream(place(front), out.fileno(), ways)
    assert (folder / "f").read_bytes() == some(MIB)


def test_raw_has_nothing(serve: Serve, secure: Secure, access: Access, folder: Path) -> None:
    front = secure(serve(raw(b"")))
    with pytest.raises(NothingThere):
        get(place(front), folder, access, dialect="raw")


# What is cut off never looks like an end.


@pytest.mark.parametrize("cut", [0, 1, 16384, 50_000])
def test_raw_that_is_cut_off(
    cut: int, serve: Serve, secure: Secure, access: Access, folder: Path
) -> None:
    front = secure(serve(raw(some(70_000))))
    front.cuts = [cut]
    with pytest.raises(ConnectionBroken, match="without the end that TLS has"):
        get(place(front), folder, access, dialect="raw")
    assert not (folder / "f").exists()


def test_raw_that_is_cut_off_in_a_stream(serve: Serve, secure: Secure, access: Access) -> None:
    front = secure(serve(raw(some(70_000))))
    front.cuts = [50_000]
    with (
        open(os.devnull, "wb") as out,
        pytest.raises(ConnectionBroken, match="after 50000 bytes, without the end"),
    ):
        fetch_stream(place(front), out.fileno(), Ways("raw", 5, access=access))


def test_http_without_a_length_that_is_cut_off(
    web: WebServer, secure: Secure, access: Access, folder: Path
) -> None:
    web.hook = lambda _: [
        reply("200 OK", ("Transfer-Encoding", "")).replace(b"Transfer-Encoding: \r\n", b"")
        + some(70_000),
        Ending.FIN,
    ]
    front = secure(web.port)
    front.cuts = [50_000] * 10
    with pytest.raises(ConnectionBroken):
        get(place(front, http=True), folder, access)
    assert list(folder.iterdir()) == []
    front.cuts = []
    get(place(front, http=True), folder, access)
    assert (folder / "f").read_bytes() == some(70_000)


@pytest.mark.parametrize("cut", [0, 7, 200, 70_000, 2 * MIB])
def test_native_that_is_cut_off_is_gone_on_with(
    cut: int, native: NativeServer, secure: Secure, access: Access, folder: Path
) -> None:
    native.put(b"f", some(3 * MIB))
    front = secure(native.port)
    front.cuts = [cut] * 3
    get(place(front), folder, access, connections=1)
    assert (folder / "f").read_bytes() == some(3 * MIB)
    assert front.connections == 4 or cut > MIB


def test_reset(native: NativeServer, secure: Secure, access: Access, folder: Path) -> None:
    native.put(b"f", some(3 * MIB))
    native.cuts = [(MIB, native_server.Ending.RESET)]
    front = secure(native.port)
    get(place(front), folder, access, connections=1)
    assert (folder / "f").read_bytes() == some(3 * MIB)
    assert front.connections == 2


# From another thread; and what never ends.


def test_interrupt(native: NativeServer, secure: Secure, access: Access, run: Run) -> None:
    front = secure(native.port)
    session = Session(place(front), Ways(timeout=20, access=access))
    waiting = threading.Event()

    def interrupt() -> None:
        waiting.wait(20)
        time.sleep(0.05)  # it may not have begun to wait; then it does not wait at all
        session.interrupt()

    run(interrupt)
    began = time.monotonic()
    with session:
        waiting.set()
        with pytest.raises(ConnectionBroken):
            session._inlet.read(memoryview(bytearray(1)))
    assert time.monotonic() - began < 10


def test_silence_after_the_handshake(serve: Serve, secure: Secure, access: Access) -> None:
    def stall(sock: Any) -> None:
        while sock.recv(1000):
            pass

    front = secure(serve(stall))
    with Session(place(front), Ways(timeout=20, access=access)) as session:
        session.bear(0.2)
        session.ask(lambda number: GetDigests(number, b"f", 0, 1))
        with pytest.raises(ConnectionBroken, match="fell silent"):
            session.next()


def test_what_means_nothing_is_not_read_without_end(
    native: NativeServer, secure: Secure, access: Access, certificate: Certificate, folder: Path
) -> None:
    context = server_context(certificate)
    context.num_tickets = 2 * IDLE_MOST // 200
    native.put(b"f", b"hello")
    front = secure(native.port, context)
    with pytest.raises(ConnectionBroken, match="no meaning"):
        get(place(front), folder, access, dialect="native")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(
    version: ssl.TLSVersion,
    native: NativeServer,
    secure: Secure,
    access: Access,
    certificate: Certificate,
    folder: Path,
) -> None:
    context = server_context(certificate)
    context.minimum_version = context.maximum_version = version
    native.put(b"f", some(3 * MIB))
    get(place(secure(native.port, context)), folder, access)
    assert (folder / "f").read_bytes() == some(3 * MIB)


def test_several_requests(native: NativeServer, secure: Secure, access: Access) -> None:
    location = native.put(b"f", some(MIB))
    with Session(place(secure(native.port)), Ways(timeout=5, access=access)) as session:
        for _ in range(3):
            session.ask(lambda number: GetDigests(number, location.path, 0, 1))
            while not isinstance(session.next(), End):
                pass
