"""What the daemon proves itself with: certificate and key, read from files, and read again.

Imports `access`, `wire` and Twisted; and cryptography, once there is a certificate, to see when it
ends.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import NamedTuple, NoReturn

from twisted.logger import Logger

from tcpdl.access.files import reason
from tcpdl.wire.text import visible

PROTOCOLS = ["tcpdl/1", "http/1.1"]
"""What may be agreed on by name (RFC 7301). A client that names neither is served all the same:
the first bytes say what it speaks."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: those whose sessions nobody can decrypt later, and that check what they decrypt. TLS
1.3 has no others."""

_CHAIN, _KEY = "fullchain.pem", "privkey.pem"
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

_log = Logger()


class BadCertificate(Exception):
    """A certificate cannot be used; the text says which file it is about, why, and what to do."""


class Files(NamedTuple):
    """Where certificate and key are."""

    certificate: str
    """A file in PEM with the certificate, and those of who signed it."""
    key: str
    client_ca: str | None = None
    """A file with the certificates of who may sign those of clients, which are then asked for."""


def locate(certificate: str, key: str | None = None, client_ca: str | None = None) -> Files:
    """The files that `certificate` and `key` mean: of a folder, as certbot keeps them, those in it;
    the key may be in the certificate's file."""
    if os.path.isdir(certificate):
        key = key or os.path.join(certificate, _KEY)
        certificate = os.path.join(certificate, _CHAIN)
    return Files(certificate, key or certificate, client_ca)


class Credentials:
    """What all ports prove themselves with."""

    def __init__(self, files: Files) -> None:
        """Raises `BadCertificate`."""
        self._files = files
        self._seen = self._loaded = self._stamps()
        self._context, self.pin, self.ends, self._complaints = _load(files)

    pin: str
    """By which a client can know this certificate, whoever signed it."""
    ends: float
    """Until when it is valid, in seconds since 1970."""

    @property
    def complaints(self) -> Sequence[str]:
        """What is not as it should be with it, but works."""
        return self._complaints

    def begin(self) -> None:
        """Tell the log what the certificate is, and what is not as it should be with it."""
        _log.info("the certificate is {pin}", pin=self.pin)
        for complaint in self._complaints:
            _log.warn("{complaint}", complaint=visible(complaint))

    def context(self) -> ssl.SSLContext:
        """What a connection that begins now is encrypted with."""
        return self._context

    def become(self, other: Credentials) -> None:
        """Use what `other` uses, for connections that begin from now on."""
        self._files, self._seen, self._loaded = other._files, other._seen, other._loaded
        self._context, self._complaints = other._context, other._complaints
        self.pin, self.ends = other.pin, other.ends

    def reload(self) -> None:
        """Read the files again. Connections that are open keep what they have; if the files are of
        no use, so do those to come, and the log says why."""
        stamps = self._stamps()
        try:
            self._context, self.pin, self.ends, self._complaints = _load(self._files)
        except BadCertificate as problem:
            _log.warn("the certificate stays what it was: {why}", why=visible(str(problem)))
        else:
            self.begin()
        self._seen = self._loaded = stamps

    def look(self) -> None:
        """Read the files again if they changed, and have not since the last look: who renews them
        writes one after the other."""
        before, self._seen = self._seen, self._stamps()
        if self._seen == before != self._loaded:
            self.reload()

    def _stamps(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in self._files if path is not None)


def _stamp(path: str) -> object:
    """What tells versions of a file apart, be it behind links that are changed."""
    try:
        status = os.stat(path)
    except OSError as error:
        return error.errno
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _load(files: Files) -> tuple[ssl.SSLContext, str, float, list[str]]:
    """What the files are good for, the pin, until when, and complaints. Raises `BadCertificate`."""
    chain = _read(files.certificate)
    at = chain.find(_BEGIN)
    end = chain.find(_END, at)
    if at < 0 or end < 0:
        raise BadCertificate(f"{files.certificate} holds no certificate in PEM")
    first = chain[at : end + len(_END)] + "\n"
    key = chain if files.key == files.certificate else _read(files.key)
    if "PRIVATE KEY-----" not in key:
        more = "; name the file that does with --tls-key" if key is chain else ""
        raise BadCertificate(f"{files.key} holds no private key in PEM{more}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(PROTOCOLS)
    try:
        der = ssl.PEM_cert_to_DER_cert(first)
        context.load_cert_chain(files.certificate, files.key, password=_refuse_password)
    except ssl.SSLError as error:
        raise BadCertificate(_why(error, files)) from None
    except (OSError, ValueError) as error:
        raise BadCertificate(f"{files.certificate} holds no certificate: {error}") from None
    if files.client_ca is not None:
        _trust(context, files.client_ca)
    pin = f"sha256:{hashlib.sha256(der).hexdigest()}"
    begins, ends = _validity(first, files)
    return context, pin, ends.timestamp(), [*_complaints(begins, ends, files)]


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 20)
    except FileNotFoundError:
        raise BadCertificate(f"there is no file {path}") from None
    except PermissionError as error:
        raise BadCertificate(f"{path}: {reason(error, path)}") from None
    except OSError as error:
        raise BadCertificate(f"{path} cannot be read: {error.strerror}") from None


def _refuse_password() -> NoReturn:
    """Called for a key that is encrypted; without it, OpenSSL would ask the terminal."""
    raise BadCertificate("the key is encrypted; decrypt it with: openssl pkey -in KEY -out PLAIN")


def _why(error: ssl.SSLError, files: Files) -> str:
    reason = error.reason or ""
    if "MISMATCH" in reason:
        return f"the key in {files.key} is not that of the certificate in {files.certificate}"
    words = reason.replace("_", " ").lower() or "it is no certificate, or no key"
    both = " or ".join(sorted({files.certificate, files.key}))
    return f"{both} is of no use: {words}"


def _trust(context: ssl.SSLContext, client_ca: str) -> None:
    """Ask clients for certificates. Who has none is served as well, as far as rules let it."""
    if _BEGIN not in _read(client_ca):
        raise BadCertificate(f"{client_ca} holds no certificate in PEM")
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError as error:
        raise BadCertificate(f"{client_ca} is of no use: {error.reason or error}") from None
    context.verify_mode = ssl.CERT_OPTIONAL


def _validity(certificate: str, files: Files) -> tuple[datetime, datetime]:
    """From when the certificate is valid, and until when. Raises `BadCertificate`."""
    from cryptography import x509

    try:
        parsed = x509.load_pem_x509_certificate(certificate.encode("ascii"))
    except ValueError as error:
        raise BadCertificate(f"{files.certificate} is of no use: {error}") from None
    return parsed.not_valid_before_utc, parsed.not_valid_after_utc


def _complaints(begins: datetime, ends: datetime, files: Files) -> Iterator[str]:
    """What is not as it should be, but works."""
    with suppress(OSError):  # it may be replaced at this moment
        if os.stat(files.key).st_mode & stat.S_IROTH:
            yield f"{files.key} can be read by all: chmod o-r {files.key}"
    now = datetime.fromtimestamp(time.time(), timezone.utc)
    if ends < now:
        yield f"the certificate {files.certificate} ended {ends}"
    elif begins > now:
        yield f"the certificate {files.certificate} begins {begins}"
