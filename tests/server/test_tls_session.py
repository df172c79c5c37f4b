"""Tests of one TLS connection without a connection: bytes in, bytes out."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.server.direct import ClientCertificate
from tcpdl.server.tls_session import IDLE_MOST, TlsFailure, TlsSession
from tests.certificates import client_context, make, server_context
from tests.server.key_updates import KeyUpdating

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
CONTEXT = server_context()
NOISE = random.Random(5).randbytes(200_000)


class Pair:
    """A session, and a client that speaks with it."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        self.session = TlsSession(server)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.client = client.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def shake(self) -> Pair:
        while True:
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                if self.session.established:
                    return self
            said = self._outgoing.read()
            try:
                self.session.feed(said)
            finally:
                self._incoming.write(self.session.take())

    def say(self, data: bytes) -> bytes:
        """`data` as the client puts it on the wire."""
        self.client.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.client.unwrap()
        return self._outgoing.read()

    def hear(self, wire: bytes) -> bytes:
        """What the client makes of `wire`."""
        self._incoming.write(wire)
        parts = []
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := self.client.read(65536):
                parts.append(part)
        return b"".join(parts)


@pytest.fixture
def pair() -> Pair:
    return Pair(server_context(), client_context()).shake()


@VERSIONS
@pytest.mark.parametrize("step", [1, 5, 1000, 100_000])
def test_there_and_back(version: ssl.TLSVersion, step: int) -> None:
    pair = Pair(server_context(), client_context(version=version)).shake()
    wire = pair.say(b"name") + pair.say(NOISE[:30_000])
    pieces = [wire[at : at + step] for at in range(0, len(wire), step)]
    assert b"".join(pair.session.feed(piece) for piece in pieces) == b"name" + NOISE[:30_000]
    answer = pair.session.encrypt(b"answer") + pair.session.encrypt(NOISE)
    assert pair.hear(answer) == b"answer" + NOISE
    assert NOISE[:16] not in answer
    assert pair.session.encrypt(b"") == b""
    assert not pair.session.ended
    assert not pair.session.closed


@VERSIONS
def test_a_handshake_byte_by_byte_with_a_request_behind_it(version: ssl.TLSVersion) -> None:
    pair = Pair(server_context(), client_context(version=version))
    got = b""
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    while not got:
        wire = pair._outgoing.read()
        for at in range(len(wire)):
            got += pair.session.feed(wire[at : at + 1])
            pair._incoming.write(pair.session.take())
        try:
            pair.client.do_handshake()
            pair.client.write(b"name")
        except ssl.SSLWantReadError:
            pass
    assert got == b"name"


@VERSIONS
def test_the_client_ends_first(version: ssl.TLSVersion) -> None:
    pair = Pair(server_context(), client_context(version=version)).shake()
    wire = pair.say(b"name") + pair.goodbye()
    assert pair.session.feed(wire) == b"name"
    assert pair.session.ended
    assert pair.session.feed(b"whatever") == b""
    assert pair.hear(pair.session.encrypt(b"answer") + pair.session.close()) == b"answer"
    pair.client.unwrap()  # which waits for nothing more


@VERSIONS
def test_the_server_ends_first(version: ssl.TLSVersion) -> None:
    pair = Pair(server_context(), client_context(version=version)).shake()
    late = pair.say(b"on its way") + pair.say(b"and more")
    assert pair.session.feed(late[:12]) == b"", "half a record does no harm"
    assert pair.hear(pair.session.close()) == b""
    assert pair.session.close() == b"", "it is said once"
    assert pair.session.feed(late[12:]) == b"on its wayand more"
    pair.client.unwrap()
    assert pair.session.feed(pair._outgoing.read()) == b""
    assert pair.session.ended


def test_no_end_before_there_is_a_beginning() -> None:
    assert TlsSession(server_context()).close() == b""


def test_no_common_version() -> None:
    server = server_context()
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    pair = Pair(server, client_context(version=ssl.TLSVersion.TLSv1_2))
    with pytest.raises(TlsFailure, match="unsupported protocol"):
        pair.shake()
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        pair.client.do_handshake()


def test_a_damaged_record(pair: Pair) -> None:
    wire = bytearray(pair.say(b"name"))
    wire[-1] ^= 1
    with pytest.raises(TlsFailure, match="bad record mac"):
        pair.session.feed(bytes(wire))
    assert pair.session.take()


def test_client_certificate() -> None:
    authority = make("An authority", authority=True)
    client = make("somebody", issuer=authority, emails=["a@b.example"], names=["c.example"])
    server = server_context()
    server.verify_mode = ssl.CERT_OPTIONAL
    server.load_verify_locations(cadata=authority.pem)
    pair = Pair(server, client_context(own=client)).shake()
    assert pair.session.client_certificate() == ClientCertificate(
        "somebody", ("c.example",), ("a@b.example",)
    )
    assert Pair(server, client_context()).shake().session.client_certificate() is None
    stranger = Pair(server, client_context(own=make("somebody")))
    with pytest.raises(TlsFailure, match="its certificate is not accepted: self"):
        stranger.shake()


def test_protocols() -> None:
    server = server_context()
    server.set_alpn_protocols(["tcpdl/1", "http/1.1"])
    for offered, chosen in (
        (["h2", "http/1.1"], "http/1.1"),
        (["http/1.1", "tcpdl/1"], "tcpdl/1"),
        (["h2"], None),
    ):
        pair = Pair(server, client_context(protocols=offered)).shake()
        assert pair.client.selected_alpn_protocol() == chosen


@given(st.binary(max_size=600).map(lambda junk: b"\x16" + junk))
def test_anything_may_come(junk: bytes) -> None:
    session = TlsSession(CONTEXT)
    with suppress(TlsFailure):
        assert session.feed(junk) == b""
    assert not session.established
    session.take()


# What a client may have TLS do.


@pytest.fixture
def updating() -> Iterator[tuple[TlsSession, KeyUpdating]]:
    client = KeyUpdating()
    session = TlsSession(server_context())
    received = b""
    while not session.established:
        session.feed(client.shake(received))
        received = session.take()
    yield session, client
    client.close()


def test_a_few_key_updates(updating: tuple[TlsSession, KeyUpdating]) -> None:
    session, client = updating
    for _ in range(20):
        assert session.feed(client.update(20, requested=True)) == b""
        assert session.take()
        assert session.feed(client.encrypt(b"name")) == b"name"


def test_key_updates_and_nothing_else(updating: tuple[TlsSession, KeyUpdating]) -> None:
    session, client = updating
    fed = 0

    def feed() -> None:
        nonlocal fed
        while True:
            wire = client.update(100)
            fed += len(wire)
            session.feed(wire)

    with pytest.raises(TlsFailure, match="little else"):
        feed()
    assert IDLE_MOST < fed < 2 * IDLE_MOST


def test_key_updates_that_are_to_be_answered(updating: tuple[TlsSession, KeyUpdating]) -> None:
    session, client = updating
    answered = 0

    def feed() -> None:
        nonlocal answered
        while True:
            session.feed(client.update(100, requested=True) + client.encrypt(b"."))
            answered += len(session.take())

    with pytest.raises(TlsFailure, match="little else"):
        feed()
    assert IDLE_MOST // 2 < answered < 2 * IDLE_MOST
