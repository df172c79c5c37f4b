"""Certificates that tests make for themselves."""

from __future__ import annotations

import datetime
import functools
import hashlib
import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class Certificate(NamedTuple):
    """A certificate, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def key_pem(self) -> str:
        form = PrivateFormat.PKCS8
        return self.key.private_bytes(Encoding.PEM, form, NoEncryption()).decode("ascii")

    @property
    def pin(self) -> str:
        der = self.certificate.public_bytes(Encoding.DER)
        return f"sha256:{hashlib.sha256(der).hexdigest()}"

    def write(self, folder: Path, name: str = "server") -> tuple[Path, Path]:
        """Write both to files of that name, and return the paths of certificate and key."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
        certificate.write_text(self.pem)
        key.write_text(self.key_pem)
        key.chmod(0o600)
        return certificate, key


def make(
    name: str = "localhost",
    *,
    issuer: Certificate | None = None,
    names: Sequence[str] = ("localhost",),
    emails: Sequence[str] = (),
    authority: bool = False,
    days: tuple[int, int] = (-1, 1),
) -> Certificate:
    """A certificate that signs itself, or is signed by `issuer`; `days` are from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    start, end = (now + datetime.timedelta(days=day) for day in days)
    alternative: list[x509.GeneralName] = [x509.DNSName(host) for host in names]
    alternative.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    alternative += [x509.RFC822Name(email) for email in emails]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(key if issuer is None else issuer.key, hashes.SHA256())
    )
    return Certificate(made, key)


@functools.cache
def localhost() -> Certificate:
    """A certificate for this machine; the same for all tests."""
    return make()


def server_context(certificate: Certificate | None = None) -> ssl.SSLContext:
    """What a server with `certificate` needs, without any of the daemon's settings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*(certificate or localhost()).write(Path(folder)))
    return context


def client_context(
    *trusted: Certificate,
    own: Certificate | None = None,
    version: ssl.TLSVersion | None = None,
    protocols: Sequence[str] = (),
) -> ssl.SSLContext:
    """What a client needs that trusts these, or `localhost`, and can prove to be `own`."""
    data = "".join(one.pem for one in trusted or (localhost(),))
    context = ssl.create_default_context(cadata=data)
    if own is not None:
        with tempfile.TemporaryDirectory() as folder:
            context.load_cert_chain(*own.write(Path(folder)))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(protocols)
    return context
