"""A certificate that signs itself, for a daemon that has no other. Imports the modules beside it,
and cryptography when it is called."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from tcpdl.server.addresses import machine_addresses
from tcpdl.server.certificate import BadCertificate

NAME = "self-signed.pem"
"""Of the file that holds certificate and key, so that one never is without the other."""

VALID = timedelta(days=3652)
"""How long it is valid. Who trusts it does so by its digest, and would have to be told of a new
one."""


def state_folder(environment: Mapping[str, str]) -> str:
    """Where programs of this user keep what they are to find again (XDG Base Directories)."""
    base = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "tcpdl")


def self_signed(folder: str) -> str:
    """The path of the certificate kept in `folder`; it is made if it is not there. Raises
    `BadCertificate`."""
    path = os.path.join(folder, NAME)
    try:
        if not os.path.exists(path):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            _write(path, _make())
    except OSError as error:
        raise BadCertificate(
            f"the certificate cannot be kept in {folder}: {error.strerror}; choose another folder "
            "with --state-dir"
        ) from None
    return path


def _write(path: str, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all; not over one that is there:
    another daemon may have made it this moment, and uses it."""
    folder, name = os.path.split(path)
    fd, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)  # of mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)


def _make() -> bytes:
    """Key and certificate, in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = []
    for name in dict.fromkeys((socket.gethostname(), "localhost")):
        if name.isascii() and 0 < len(name) <= 253:
            names.append(x509.DNSName(name))
    for address in dict.fromkeys((*machine_addresses(), "127.0.0.1", "::1")):
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tcpdl, self-signed")])
    now = datetime.now(timezone.utc)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, form, serialization.NoEncryption())
    return certificate.public_bytes(encoding) + secret
