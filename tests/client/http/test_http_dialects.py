"""Tests `client.api` with web servers: by URL, by choice, and by what the server answers."""

from __future__ import annotations

import hashlib
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcpdl.client.api import fetch, fetch_bytes, fetch_stream, fetch_to, listdir, mirror
from tcpdl.client.errors import (
    BadRequest,
    ConnectionBroken,
    Damaged,
    NothingThere,
    SpeaksHttp,
    TooLarge,
)
from tcpdl.client.fetched import Fetched
from tcpdl.client.url import Location, parse_url
from tcpdl.client.ways import Ways
from tests.client.http.conftest import MIB
from tests.client.http.test_http_download import DATA, SHA256, WRONG
from tests.client.http.web_server import Ending, WebServer
from tests.client.native_server import NativeServer

if TYPE_CHECKING:
    from tests.client.conftest import Script, Serve

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nBad"
OLD = b"<!DOCTYPE HTML>\n<html>an answer of HTTP/0.9</html>"


class Get:
    """Fetches to a folder as the command does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "f"
        self.notes: list[str] = []

    def __call__(self, location: Location, dialect: str = "auto", **more: object) -> Fetched:
        ways = Ways(dialect=dialect, timeout=5, connections=1, note=self.notes.append)
        return fetch_to(location, str(self.folder), b"f", ways._replace(**more))  # type: ignore[arg-type]


@pytest.fixture
def get(tmp_path: Path) -> Get:
    return Get(tmp_path)


def web(refusal: bytes, data: bytes = DATA, pieces: int = 1 << 20) -> Script:
    """A web server that answers whatever is no request for a file with `refusal`, in pieces."""

    def script(sock: socket.socket) -> None:
        asked = sock.recv(65536)
        with suppress(OSError):  # of a client that has read enough
            if not asked.startswith(b"GET "):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(0, len(refusal), pieces):
                    sock.sendall(refusal[at : at + pieces])
            else:
                assert asked.startswith(b"GET /a%20b/f HTTP/1.1\r\n")
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

    return script


@pytest.mark.parametrize("pieces", [1, 3, 1000])
@pytest.mark.parametrize("refusal", [BAD_REQUEST, OLD, OLD.lower()])
def test_server_answers_in_http(refusal: bytes, pieces: int, serve: Serve, get: Get) -> None:
    """Its complaint about a request that it does not understand is not the file."""
    port = serve(web(refusal, pieces=pieces), connections=2)
    fetched = get(Location("127.0.0.1", port, b"a b/f"))
    assert get.path.read_bytes() == DATA
    assert get.notes == [f"127.0.0.1:{port} is a web server: it is asked over HTTP"]
    assert not fetched.verified


def test_stream_from_one(serve: Serve, tmp_path: Path) -> None:
    location = Location("127.0.0.1", serve(web(BAD_REQUEST), connections=2), b"a b/f")
    with (tmp_path / "out").open("wb") as out:
        fetch_stream(location, out.fileno(), Ways(timeout=5))
    assert (tmp_path / "out").read_bytes() == DATA


def test_bytes_from_one(serve: Serve) -> None:
    port = serve(web(BAD_REQUEST, b"hello"), connections=2)
    assert fetch_bytes(f"127.0.0.1:{port}/a%20b/f", timeout=5) == b"hello"


def test_one_that_is_to_speak_the_native_dialect(serve: Serve, get: Get) -> None:
    with pytest.raises(SpeaksHttp):
        get(Location("127.0.0.1", serve(web(BAD_REQUEST)), b"f"), "native")
    assert list(get.folder.iterdir()) == []


def test_one_that_speaks_tls(serve: Serve, get: Get) -> None:
    """It is not asked again and again."""

    def alert(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"\x15\x03\x03\0\x02\x02\x46")
        sock.shutdown(socket.SHUT_WR)

    url = f"http://127.0.0.1:{serve(alert)}/f"
    with pytest.raises(BadRequest, match=r"speaks TLS there; write tcpdls:// or https://"):
        get(parse_url(url))
    assert list(get.folder.iterdir()) == []


def test_one_that_waits_for_the_end_of_a_line(serve: Serve, get: Get) -> None:
    """As many do: then nobody can know what it is."""

    def wait(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass

    with pytest.raises(ConnectionBroken, match=r"fell silent.*ask a web server with http://"):
        get(Location("127.0.0.1", serve(wait), b"f"), timeout=0.2)


@pytest.mark.parametrize("answer", [b"HTTP/2 ", b"HTTP", b"<!doc", b"<html>"])
def test_what_is_no_answer_in_http(answer: bytes, serve: Serve, get: Get) -> None:
    """It may well be a file: of a server of the raw dialect that knows no other."""

    def script(sock: socket.socket) -> None:
        asked = sock.recv(65536)
        sock.sendall(answer if asked.startswith(b"\0") else b"hello")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    get(Location("127.0.0.1", serve(script, connections=2), b"f"))
    assert get.path.read_bytes() == b"hello"


def test_goes_on_where_it_was_over_http(server: WebServer, get: Get) -> None:
    """The record of a download over HTTP does not make it a server of the native dialect."""
    location = server.put("/f", DATA)
    server.cuts = [(3 * MIB, Ending.FIN)] + [(0, Ending.FIN)] * 50
    with pytest.raises(ConnectionBroken, match=r"what came is kept in 'f\.tcpdl-part'"):
        get(location)
    server.cuts = []
    connections = server.connections
    fetched = get(location._replace(target=""))
    assert fetched.kept == 2 * MIB
    assert get.path.read_bytes() == DATA
    assert server.connections == connections + 2  # one for each dialect


def test_by_choice(server: WebServer, get: Get) -> None:
    server.put("/a%20%3F/f", DATA)
    get(Location("127.0.0.1", server.port, b"a ?/f"), "http")
    assert get.path.read_bytes() == DATA


def test_by_url(server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("/a/f%31?x=y", DATA)
    monkeypatch.chdir(tmp_path)
    url = f"http://127.0.0.1:{server.port}/a/f%31?x=y#z"
    right = f"sha256:{SHA256.digest.hex()}"
    assert fetch(url, timeout=5, digest=right, sync=True).verified
    assert (tmp_path / "f1").read_bytes() == DATA
    assert fetch_bytes(url, timeout=5, digest=right) == DATA
    with pytest.raises(TooLarge, match="no more than 10 are wanted"):
        fetch_bytes(url, timeout=5, most=10)
    with pytest.raises(Damaged):
        fetch_bytes(url, timeout=5, digest=f"sha256:{WRONG.digest.hex()}")
    with pytest.raises(BadRequest, match="is no digest"):
        fetch(url, digest="sha256:")


@pytest.mark.parametrize("dialect", ["native", "raw"])
def test_url_of_another_dialect(dialect: str, get: Get) -> None:
    with pytest.raises(BadRequest, match="an http:// or https:// URL is fetched over HTTP"):
        get(Location("host", 80, b"f", "/f"), dialect)


def test_no_further_servers(server: WebServer, get: Get) -> None:
    location = server.put("/f", DATA)
    plain = location._replace(target="")
    for place, other in ((location, plain), (plain, location)):
        with pytest.raises(BadRequest, match="--from needs the native dialect"):
            get(place, sources=[other])


def test_no_trees() -> None:
    with pytest.raises(BadRequest, match="does not speak HTTP"):
        mirror("http://127.0.0.1:1/a", "/nowhere")
    with pytest.raises(BadRequest, match="does not speak HTTP"):
        listdir("http://127.0.0.1:1/a")


def test_is_not_there(server: WebServer, get: Get) -> None:
    with pytest.raises(NothingThere, match="404 Not Found"):
        get(server.at("/f"))


# A digest that the user gives, in the other dialects.


@pytest.fixture
def native(no_descriptor_leaks: None) -> NativeServer:
    return NativeServer()


def test_digest_in_the_native_dialect(native: NativeServer, get: Get, tmp_path: Path) -> None:
    location = native.put(b"f", DATA)
    with pytest.raises(Damaged):
        get(location, expected=[WRONG])
    assert not get.path.exists()
    fetched = get(location, expected=[SHA256])
    # The server vouched for all of it, so it was kept, in case the digest had been mistyped.
    assert (fetched.verified, fetched.kept) == (True, len(DATA))
    assert get.path.read_bytes() == DATA
    assert [path.name for path in get.folder.iterdir()] == [get.path.name]
    assert get(location, expected=[SHA256]).unchanged
    with pytest.raises(Damaged):
        get(location, expected=[WRONG])
    assert get.path.read_bytes() == DATA  # which is what the server has
    url = f"127.0.0.1:{native.port}/f"
    assert fetch_bytes(url, digest=f"sha256:{SHA256.digest.hex()}") == DATA
    with pytest.raises(Damaged):
        fetch_bytes(url, digest=f"sha256:{WRONG.digest.hex()}")
    native.close()


def raw(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass
    sock.sendall(b"hello")


def test_digest_in_the_raw_dialect(serve: Serve, get: Get, tmp_path: Path) -> None:
    location = Location("127.0.0.1", serve(raw, connections=4), b"f")
    right = WRONG._replace(digest=hashlib.sha256(b"hello").digest())
    get.path.write_bytes(b"precious")
    with pytest.raises(Damaged):
        get(location, "raw", expected=[WRONG])
    assert get.path.read_bytes() == b"precious"
    assert [path.name for path in get.folder.iterdir()] == ["f"]
    assert get(location, "raw", expected=[right]).verified
    assert get.path.read_bytes() == b"hello"
    with (tmp_path / "out").open("wb") as out:
        ways = Ways("raw", 5, expected=[right])
        assert fetch_stream(location, out.fileno(), ways).verified
        with pytest.raises(Damaged):
            fetch_stream(location, out.fileno(), ways._replace(expected=[WRONG]))
    assert (tmp_path / "out").read_bytes() == b"hellohello"
