"""Whom the client trusts, and as whom it comes.

Imports the modules beside it; of those, `client.tls` once it is needed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tcpdl.client.credentials import Login, Netrc, may_be_sent
from tcpdl.client.errors import BadRequest
from tcpdl.client.url import Location
from tcpdl.wire.text import printable

if TYPE_CHECKING:
    import socket

    from tcpdl.client.tls import Tls


class Access:
    """How servers are reached: shared by all connections. Safe for threads."""

    def __init__(
        self,
        *,
        ca_file: str = "",
        pins: Iterable[str] = (),
        certificate: str = "",
        login: tuple[str, str] | None = None,
        token: str | None = None,
        netrc: Netrc | None = None,
    ) -> None:
        """`ca_file` has the certificates, in PEM, that are trusted in place of the system's
        authorities. `pins` are the SHA-256 digests of certificates, as `sha256:HEX`, with colons or
        without: then a server has to show one of these, whoever issued it, whatever name it is for,
        and however old it is. `certificate` has ours, and its key, in PEM, for servers that ask
        for one.

        `login`, a user and a password, or else `token`, is for the servers that are `named`; it is
        sent over TLS, and to this machine. Without either, `netrc` is looked up. Raises
        `BadRequest`.
        """
        self._pins = frozenset(map(parse_pin, pins))
        self._ca_file = ca_file
        self._certificate = certificate
        if ca_file and self._pins:
            raise BadRequest("--pin says which certificate it has to be; leave out --ca-file")
        if login is not None and token is not None:
            raise BadRequest("give a login or a token, not both")
        self._login = None
        if login is not None:
            self._login = Login(login[1], login[0]).check("the login")
        elif token is not None:
            self._login = Login(token).check("the token")
        self._netrc = netrc
        self._named: set[tuple[bool, str, int]] = set()
        self._lock = threading.Lock()
        self._contexts: dict[tuple[str, ...], Any] = {}

    @property
    def has_login(self) -> bool:
        """Whether a login or token was given, for all servers that are named."""
        return self._login is not None

    def name(self, *places: Location) -> None:
        """The user named these servers. What one of them redirects to is another."""
        if self._login is not None or self._netrc is not None:
            self._named.update(place.origin for place in places)

    def login_for(self, place: Location, peer: str) -> Login | None:
        """What to log in with at the server of `place`, which is connected at the address `peer`.

        Raises `BadRequest` if what was given must not be sent there.
        """
        if place.origin not in self._named:
            return None
        safe = place.tls or may_be_sent(peer)
        if self._login is not None:
            if not safe:
                raise BadRequest(
                    f"a login is not sent to {place.server} in clear, for all to read on the way; "
                    "write tcpdls:// or https://"
                )
            return self._login
        return self._netrc.login_for(place.host) if self._netrc is not None and safe else None

    def secure(
        self, sock: socket.socket, place: Location, protocols: tuple[str, ...], timeout: float
    ) -> Tls:
        """TLS on `sock`, which is connected to the server of `place`. Raises what `Tls` does."""
        from tcpdl.client.tls import Tls, add_certificate, make_context

        with self._lock:
            context = self._contexts.get(protocols)
            if context is None:
                context = make_context(protocols, self._ca_file, pinned=bool(self._pins))
                if self._certificate:
                    add_certificate(context, self._certificate)
                self._contexts[protocols] = context
        return Tls(sock, context, place.host, pins=self._pins, timeout=timeout)


def parse_pin(text: str) -> bytes:
    """Read `sha256:HEX`, with or without colons between the digits. Raises `BadRequest`."""
    algorithm, _, digits = text.strip().partition(":")
    digits = digits.replace(":", "")
    if algorithm.lower() != "sha256" or not re.fullmatch("[0-9a-fA-F]{64}", digits):
        raise BadRequest(
            f"'{printable(text, 120)}' is no pin; write sha256: and the 64 digits that "
            "openssl x509 -noout -fingerprint -sha256 prints"
        )
    return bytes.fromhex(digits)
