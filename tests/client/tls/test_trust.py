"""Tests `client.tls` and `client.access`: which servers are trusted, and what is said of others."""

from __future__ import annotations

import socket
import ssl
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcpdl.client.access import Access, parse_pin
from tcpdl.client.errors import (
    BadRequest,
    CannotConnect,
    ClientError,
    ConnectionBroken,
    Unanswered,
    Untrusted,
)
from tcpdl.client.session import Session
from tcpdl.client.tls import make_context
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tests.certificates import Certificate, make, server_context
from tests.client.native_server import NativeServer

if TYPE_CHECKING:
    from tests.client.conftest import Run, Script, Serve
    from tests.client.tls.conftest import Secure

Open = Callable[..., None]


def connect(
    port: int, access: Access, host: str = "localhost", timeout: float = 5.0, address: str = ""
) -> None:
    place = Location(host, port, b"f", tls=True)
    Session(place, Ways(timeout=timeout, access=access), address=address).close()


@pytest.fixture
def showing(native: NativeServer, secure: Secure) -> Callable[[Certificate], int]:
    """A server that shows a certificate; its port."""
    return lambda certificate: secure(native.port, server_context(certificate)).port


Showing = Callable[[Certificate], int]


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost.", "127.0.0.1"])
def test_right_name(host: str, certificate: Certificate, showing: Showing, access: Access) -> None:
    connect(showing(certificate), access, host, address="127.0.0.1")


def test_wildcard(authority: Certificate, showing: Showing, access: Access) -> None:
    port = showing(make(issuer=authority, names=["*.example.org", "xn--bcher-kva.example"]))
    connect(port, access, "a.example.org", address="127.0.0.1")
    connect(port, access, "b\u00fccher.example", address="127.0.0.1")
    for other in ("example.org", "a.b.example.org"):
        with pytest.raises(Untrusted, match="for another name"):
            connect(port, access, other, address="127.0.0.1")


def test_name_is_asked_for(certificate: Certificate, native: NativeServer, secure: Secure) -> None:
    """By hosts that have one: an address is none (RFC 6066)."""
    front = secure(native.port)
    for host in ("localhost", "127.0.0.1", "localhost."):
        connect(front.port, Access(pins=[certificate.pin]), host, address="127.0.0.1")
    assert front.names == ["localhost", None, "localhost"]


@pytest.mark.parametrize("host", ["other.example", "127.0.0.9"])
def test_wrong_name(host: str, authority: Certificate, showing: Showing, access: Access) -> None:
    with pytest.raises(Untrusted, match=r"is for another name; .* --pin"):
        connect(showing(make(issuer=authority)), access, host, address="127.0.0.1")


@pytest.mark.parametrize(
    ("days", "complaint"),
    [((-2, -1), r"has expired .* --pin"), ((1, 2), r"not valid yet; .* clock")],
)
def test_wrong_time(
    days: tuple[int, int],
    complaint: str,
    authority: Certificate,
    showing: Showing,
    access: Access,
) -> None:
    certificate = make(issuer=authority, days=days)
    with pytest.raises(Untrusted, match=complaint):
        connect(showing(certificate), access)
    connect(showing(certificate), Access(pins=[certificate.pin]))


@pytest.fixture
def stranger() -> Certificate:
    return make("stranger", authority=True)


def test_unknown_authority(
    certificate: Certificate, stranger: Certificate, showing: Showing, tmp_path: Path
) -> None:
    port = showing(certificate)
    other, _ = stranger.write(tmp_path, "stranger")
    for access in (Access(), Access(ca_file=str(other))):
        with pytest.raises(Untrusted, match=r"not known here; .* --ca-file, .* --pin"):
            connect(port, access)


def test_certificate_of_the_server_itself_may_be_the_one_that_is_trusted(
    certificate: Certificate, showing: Showing, tmp_path: Path
) -> None:
    access = Access(ca_file=str(certificate.write(tmp_path, "own")[0]))
    connect(showing(certificate), access)
    with pytest.raises(Untrusted, match="for another name"):
        connect(showing(certificate), access, "other.example", address="127.0.0.1")


def test_pin(stranger: Certificate, showing: Showing) -> None:
    """Whoever issued it, for whatever name, and however old it is."""
    certificate = make(issuer=stranger, names=["other.example"], days=(-2, -1))
    port = showing(certificate)
    digits = certificate.pin.removeprefix("sha256:")
    colons = ":".join(digits[at : at + 2] for at in range(0, 64, 2))
    pins = [certificate.pin, f"SHA256:{colons.upper()}", f" sha256:{colons}\n"]
    for pin in pins:
        connect(port, Access(pins=["sha256:" + "00" * 32, pin]))
        connect(port, Access(pins=[pin]))


def test_another_certificate_than_the_pinned_one(
    authority: Certificate, certificate: Certificate, showing: Showing
) -> None:
    other = make(issuer=authority)
    with pytest.raises(Untrusted, match=f"another certificate .* {other.pin};"):
        connect(showing(other), Access(pins=[certificate.pin]))


@pytest.mark.parametrize(
    "pin", ["", "sha256:", "sha256:" + "0" * 63, "sha1:" + "0" * 64, "0" * 64, "sha256:" + "g" * 64]
)
def test_no_pin(pin: str) -> None:
    with pytest.raises(BadRequest, match="is no pin; write sha256:"):
        parse_pin(pin)


def test_pin_and_authority() -> None:
    with pytest.raises(BadRequest, match="leave out --ca-file"):
        Access(ca_file="x", pins=["sha256:" + "0" * 64])


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n"])
def test_authorities_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadRequest, match=r"--ca-file '.*ca\.pem': "):
        make_context(["tcpdl/1"], str(path), pinned=False)


# What is negotiated.


@pytest.mark.parametrize("chosen", [None, "tcpdl/1", "http/1.1"])
def test_protocol_that_the_server_chooses(
    chosen: str | None,
    certificate: Certificate,
    native: NativeServer,
    secure: Secure,
    access: Access,
) -> None:
    """What it means to say by that shows in what it answers."""
    context = server_context(certificate)
    context.set_alpn_protocols([chosen] if chosen else [])
    front = secure(native.port, context)
    connect(front.port, access)
    front.close()
    assert front.protocols == [chosen]


def test_old_version(
    certificate: Certificate, native: NativeServer, secure: Secure, access: Access
) -> None:
    context = server_context(certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    front = secure(native.port, context)
    with pytest.raises(Untrusted, match="the TLS handshake failed: "):
        connect(front.port, access)


# Servers that speak no TLS, or stop in the middle.


def read_and_end(sock: socket.socket) -> None:
    sock.recv(65536)


def help_text(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"tcpdl: send a name, and a line end\n")


def web_page(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("script", [help_text, web_page])
def test_plain_server(script: Script, serve: Serve, access: Access) -> None:
    with pytest.raises(Untrusted, match="does not speak TLS there; write tcpdl:// or http://"):
        connect(serve(script), access)


def test_plain_server_that_ends(serve: Serve, access: Access) -> None:
    with pytest.raises(Unanswered, match=r"where TLS should begin; .* tcpdl:// or http://"):
        connect(serve(read_and_end), access)


def test_reset(serve: Serve, reset: Script, access: Access) -> None:
    """It may be busy."""

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        reset(sock)

    with pytest.raises(ConnectionBroken, match="reset"):
        connect(serve(script), access)


def test_end_in_the_handshake(serve: Serve, access: Access) -> None:
    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"\x16\x03\x03\x01\x00half")

    with pytest.raises(ConnectionBroken, match="cut off"):
        connect(serve(script), access)


def silent(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


def dripping(sock: socket.socket) -> None:
    sock.sendall(b"\x16\x03\x03\x40\x00")
    with suppress(OSError):
        while True:
            sock.sendall(b"\x0b")
            time.sleep(0.02)


@pytest.mark.parametrize("script", [silent, dripping])
def test_handshake_that_does_not_end(script: Script, serve: Serve, access: Access) -> None:
    """However many bytes come meanwhile."""
    began = time.monotonic()
    with pytest.raises(CannotConnect, match=r"within 0\.3 s; .* write tcpdl:// or http://"):
        connect(serve(script), access, timeout=0.3)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "answer",
    [
        b"\x15\x03\x03\x00\x02\x02\x28",  # handshake failure
        b"\x15\x03\x03\x00\x02\x02\x78",  # no application protocol
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x03\xff\xff",
        b"\x17\x03\x03\x00\x01a",
        b"\x14" * 100,
    ],
)
def test_nonsense(answer: bytes, serve: Serve, access: Access) -> None:
    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(answer)
        while sock.recv(65536):
            pass

    with pytest.raises(ClientError) as raised:
        connect(serve(script), access, timeout=1)
    assert isinstance(raised.value, (Untrusted, ConnectionBroken, CannotConnect))
    assert str(raised.value).isprintable()


def test_interrupt_in_the_handshake(serve: Serve, access: Access, run: Run) -> None:
    place = Location("localhost", serve(silent), b"f", tls=True)
    session = Session(place, Ways(timeout=20, access=access), later=True)

    def interrupt() -> None:
        time.sleep(0.05)
        session.interrupt()

    run(interrupt)
    began = time.monotonic()
    with pytest.raises(ConnectionBroken), session:
        session.open()
    assert time.monotonic() - began < 10
