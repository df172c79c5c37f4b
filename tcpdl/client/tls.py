"""TLS on a connected socket (RFC 8446).

Imports `ssl`, which takes a while, and the modules beside it.

The bytes of the socket are received here, many records at a time, and given to OpenSSL through
memory: half the system calls, waits that end as those of any socket do, and a shutdown from another
thread that touches the socket alone.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NoReturn

from tcpdl.client.errors import BadRequest, CannotConnect, ConnectionBroken, Unanswered, Untrusted
from tcpdl.client.receiving import limit_waits
from tcpdl.wire.text import printable

PIECE = 256 * 1024
"""Bytes taken from the socket at a time."""

IDLE_MOST = 256 * 1024
"""Bytes that may come, one after the other, without a byte of what they carry: a record has 16 KiB,
and tickets and the like are short."""

_RECORDS = range(0x14, 0x18)  # the first byte of each is its type: RFC 8446, section 5.1

_PINNING = (
    "or give the SHA-256 of this one certificate with --pin (openssl x509 -noout -fingerprint "
    "-sha256 prints it on the server)"
)
_NAMES = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_ISSUERS = (2, 18, 19, 20, 21)  # no issuer is known; or it signed itself, or one above it did
_EARLY, _EXPIRED = 9, 10


def make_context(protocols: Sequence[str], ca_file: str, *, pinned: bool) -> ssl.SSLContext:
    """What the connections to servers have in common; `protocols` are offered by ALPN.

    Certificates are checked against those in `ca_file`, or the system's; not at all if they are
    `pinned`: each is then compared by whoever makes the connection. Raises `BadRequest`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(protocols))
    if pinned:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not ca_file:
        context.load_default_certs()
    else:
        # Any certificate in there is trusted, be it an authority's or a server's own.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(ca_file)
        except ssl.SSLError:
            why = "no certificate in PEM is in it"
        except OSError as error:
            why = os.strerror(error.errno or errno.EIO).lower()
        else:
            return context
        raise BadRequest(f"--ca-file '{printable(ca_file)}': {why}")
    return context


def add_certificate(context: ssl.SSLContext, path: str) -> None:
    """Show servers that ask for it the certificate in the file `path`, in which its key is as well.

    Raises `BadRequest`.
    """
    try:
        context.load_cert_chain(path, password=_no_password)
    except ssl.SSLError:
        why = "a certificate and its key, in PEM and without a password, have to be in it"
    except (OSError, ValueError) as error:
        why = os.strerror(getattr(error, "errno", 0) or errno.EIO).lower()
    else:
        return
    raise BadRequest(f"--cert '{printable(path)}': {why}")


def _no_password() -> bytes:
    """OpenSSL would ask for one on the terminal, whenever a connection is made."""
    return b""


class Tls:
    """A connection under TLS; for one thread at a time."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        host: str,
        *,
        pins: Collection[bytes],
        timeout: float,
    ) -> None:
        """Shake hands on the blocking `sock` with the server called `host`, within `timeout`
        seconds. With `pins`, its certificate is one of which these are digests.

        Raises `BadRequest` for what is no name; `Untrusted`, `CannotConnect`, `ConnectionBroken`,
        and `OSError`.
        """
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._room = memoryview(bytearray(PIECE))
        self._held = b""
        self._idle = 0
        self._began = False
        self._received = 0
        # A zone means something on this machine only, and the last dot nothing in a certificate.
        name = host.partition("%")[0].removesuffix(".")
        try:
            self._object = context.wrap_bio(
                self._incoming, self._outgoing, server_hostname=name.encode("idna").decode("ascii")
            )
        except (UnicodeError, ValueError):
            raise BadRequest(f"{printable(host)!r} is not a host name") from None
        try:
            self._shake_hands(time.monotonic() + timeout)
        except ssl.SSLCertVerificationError as error:
            self._say_goodbye()
            raise Untrusted(_mistrust(error)) from error
        except ssl.SSLError as error:
            self._say_goodbye()
            raise Untrusted(f"the TLS handshake failed: {_reason(error)}") from error
        except BlockingIOError:
            raise CannotConnect(
                f"the TLS handshake did not end within {timeout:g} s; if the server does not speak "
                "TLS, write tcpdl:// or http://"
            ) from None
        if pins:
            self._check_pin(pins)
        limit_waits(sock, timeout)

    def recv_into(self, view: memoryview) -> int:
        """Receive into `view` all that is there; return how many bytes, or 0 where the server has
        ended the stream.

        Raises `OSError`; `ConnectionBroken` if it ended otherwise.
        """
        if self._held:
            view[:1], self._held = self._held, b""
            return 1
        count = 0
        try:
            while True:
                try:
                    while count < len(view):
                        got = self._object.read(len(view) - count, view[count:])
                        if not got:
                            break
                        count += int(got)
                    break
                except ssl.SSLWantReadError:
                    if count:
                        break
                self._receive()
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError as error:
            self._broken(error)
        self._received += count
        self._idle = 0
        return count

    def wait(self) -> bool:
        """Wait for something to come; whether anything does before the end of the stream. Raises
        what `recv_into` does."""
        if not self._held:
            first = bytearray(1)
            self._held = bytes(first[: self.recv_into(memoryview(first))])
        return bool(self._held)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come that was not read, not even the end of the stream."""
        try:
            while True:
                count = self._sock.recv_into(self._room, flags=socket.MSG_DONTWAIT)
                if not count:
                    return False
                self._take(count)
        except BlockingIOError:
            pass
        except (OSError, ConnectionBroken):
            return False
        try:
            self._held += self._object.read(1)
        except ssl.SSLWantReadError:
            return not self._held
        except ssl.SSLError:
            pass
        return False

    def sendall(self, data: bytes | bytearray) -> None:
        """Send `data`. Raises `OSError`, `ConnectionBroken`."""
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            self._broken(error)
        self._flush()

    def end(self) -> None:
        """Tell the server that nothing more is sent, if that is possible at once."""
        with suppress(ssl.SSLError):
            self._object.unwrap()
        self._say_goodbye()

    def _shake_hands(self, until: float) -> None:
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                limit_waits(self._sock, max(until - time.monotonic(), 0.001))
                self._receive()
            else:
                self._flush()
                return

    def _check_pin(self, pins: Collection[bytes]) -> None:
        from hashlib import sha256

        found = sha256(self._object.getpeercert(binary_form=True) or b"").digest()
        if found not in pins:
            self._say_goodbye()
            raise Untrusted(
                f"the server shows another certificate than the one that is pinned, "
                f"sha256:{found.hex()}; if it was renewed, as its administrator knows, give this "
                "one with --pin"
            )

    def _receive(self) -> None:
        """Take what the server sends next; wait for it."""
        self._flush()  # what is to be answered to what came before
        count = self._sock.recv_into(self._room)
        if not count:
            if not self._began:
                raise Unanswered(
                    "the server ended the connection where TLS should begin; if it does not speak "
                    "TLS, write tcpdl:// or http://"
                )
            raise ConnectionBroken(
                f"the connection was cut off after {self._received} bytes, without the end that "
                "TLS has"
            )
        self._take(count)

    def _take(self, count: int) -> None:
        if not self._began and self._room[0] not in _RECORDS:
            raise Untrusted("the server does not speak TLS there; write tcpdl:// or http://")
        self._began = True
        self._idle += count
        if self._idle > IDLE_MOST + PIECE:
            raise ConnectionBroken("the server sends what has no meaning, without end")
        self._incoming.write(self._room[:count])

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())

    def _say_goodbye(self) -> None:
        with suppress(OSError):
            self._sock.send(self._outgoing.read(), socket.MSG_DONTWAIT)

    def _broken(self, error: ssl.SSLError) -> NoReturn:
        raise ConnectionBroken(
            f"TLS broke after {self._received} bytes: {_reason(error)}"
        ) from error


def _mistrust(error: ssl.SSLCertVerificationError) -> str:
    """Why a certificate is not trusted, and what to do about it."""
    code = error.verify_code
    if code in _NAMES:
        return "the server's certificate is for another name; write the name it is for, " + _PINNING
    if code in _ISSUERS:
        return (
            "the server's certificate is of an authority that is not known here; give that one's "
            "certificate with --ca-file, " + _PINNING
        )
    if code == _EXPIRED:
        return (
            "the server's certificate has expired (or the clock is wrong here); have it renewed, "
            + _PINNING
        )
    if code == _EARLY:
        return (
            "the server's certificate is not valid yet; see whether the clock is right here, "
            + _PINNING
        )
    why = printable(error.verify_message)
    return f"the server's certificate cannot be trusted ({why}); have it renewed, {_PINNING}"


def _reason(error: ssl.SSLError) -> str:
    """What went wrong, in OpenSSL's words."""
    return printable((error.reason or str(error)).replace("_", " ").lower(), 100)
