"""Tests that files are never sent in plain beside a layer that encrypts or wraps."""

from __future__ import annotations

import datetime
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tcpdl.content.directory import Directory
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import direct, encrypted
from tcpdl.server.outgoing import IFileTransport
from tcpdl.server.raw import RawFactory
from tcpdl.server.transport import FileTransport, UNIXFileTransport

if TYPE_CHECKING:
    from tests.server.conftest import Connect

PLAIN = b"These words must be seen by nobody on the way. "


@implementer(IOpenSSLContextFactory)
class Certificate:
    """A certificate for `localhost` that signs itself."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.timezone.utc)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(Encoding.PEM).decode()

    def getContext(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate(self._certificate)
        context.use_privatekey(self._key)
        return context


@pytest.mark.parametrize("kind", ["pair", "unix"])
def test_our_own_transports_are_plain(kind: str, connect: Connect) -> None:
    transport = connect(kind).transport
    assert isinstance(transport, (FileTransport, UNIXFileTransport))
    assert IFileTransport.providedBy(transport)
    assert direct(transport) is transport
    assert not encrypted(transport)


def test_other_transports_are_not_plain() -> None:
    assert direct(StringTransport()) is None
    assert direct(None) is None


def test_a_transport_that_started_tls_is_not_plain(connect: Connect) -> None:
    connection = connect()
    transport = connection.transport
    transport.startTLS(Certificate(), False)
    connection.drain()
    assert IFileTransport.providedBy(transport)
    assert direct(transport) is None
    assert encrypted(transport)
    with pytest.raises(RuntimeError, match="TLS"):
        transport.sendFile(0, 0, 1)


@pytest.mark.parametrize("layer", ["wrapper", "TLS"])
def test_what_wraps_a_transport_is_not_plain(layer: str, connect: Connect) -> None:
    """Though it says that it can do what the transport below it can, and even can."""
    factory = Factory.forProtocol(Protocol)
    wrapper: Any
    if layer == "TLS":
        wrapper = TLSMemoryBIOFactory(Certificate(), False, factory).buildProtocol(None)
    else:
        wrapping = WrappingFactory(factory)
        wrapper = ProtocolWrapper(wrapping, Protocol())
    connect(protocol=wrapper)

    inner = wrapper.wrappedProtocol
    assert inner.transport is wrapper
    assert IFileTransport.providedBy(inner.transport)
    assert callable(inner.transport.sendFile)
    assert direct(inner.transport) is None
    assert encrypted(inner.transport) is (layer == "TLS")


class TLSClient(Protocol):
    """Sends a request over TLS, and keeps the bytes on the wire and what they meant."""

    transport: Any

    def __init__(self, certificate: str, request: bytes) -> None:
        self._request = request
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        context = ssl.create_default_context(cadata=certificate)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._ready = False
        self.wire = b""
        self.answer = b""
        self.clean_end = False
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._advance()

    def dataReceived(self, data: bytes) -> None:
        self.wire += data
        self._incoming.write(data)
        self._advance()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)

    def _advance(self) -> None:
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
                self._tls.write(self._request)
            while data := self._tls.read(65536):
                self.answer += data
            self.clean_end = True
        except ssl.SSLWantReadError:
            pass
        self.transport.write(self._outgoing.read())
        if self.clean_end:
            self.transport.loseConnection()


class RawOverTLS(TestCase):
    """The raw dialect inside TLS, over a real connection on a port made as ours are."""

    def test_no_plain_byte_is_on_the_wire(self) -> Deferred[None]:
        from twisted.internet import reactor

        net: Any = reactor
        content = PLAIN * 10_000
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        (Path(folder.name) / "secret.txt").write_bytes(content)
        directory = Directory(folder.name)
        self.addCleanup(directory.close)
        clock: Any = Clock()
        certificate = Certificate()
        raw = RawFactory(directory, clock, Deadlines(clock))
        factory = TLSMemoryBIOFactory(certificate, False, raw)
        port = net.listenTCP(0, factory, interface="127.0.0.1")
        port.transport = FileTransport
        self.addCleanup(port.stopListening)

        client = TLSClient(certificate.pem, b"secret.txt\n")
        endpoint = TCP4ClientEndpoint(net, "127.0.0.1", port.getHost().port)
        connected: Deferred[TLSClient] = connectProtocol(endpoint, client)

        def check(_: None) -> None:
            assert client.answer == content
            assert client.clean_end
            assert len(client.wire) > len(content)
            assert PLAIN[:10] not in client.wire

        return connected.addCallback(lambda _: client.ended).addCallback(check)
