"""How somebody proves who they are: a name and a password, or a token. Imports `wire.login`."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from tcpdl.wire.login import PASSWORD, PROOF_MOST, TOKEN, Login

_AUTHORIZATION = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) +([A-Za-z0-9._~+/-]+=*)")


class Proof(NamedTuple):
    """What a client has shown. Nobody has looked whether it is right."""

    user: bytes | None
    """The name that goes with a password; with a token, there is none."""
    secret: bytes

    def __repr__(self) -> str:
        return f"Proof(user={self.user!r})"


def of_login(login: Login) -> Proof | None:
    """What a login of the native dialect shows; `None` if its scheme is not known here."""
    if login.scheme == TOKEN:
        return Proof(None, login.proof)
    if login.scheme != PASSWORD:
        return None
    user, _, password = login.proof.partition(b"\0")
    return Proof(user, password)


def of_authorization(value: str) -> Proof | None:
    """What an Authorization field shows: Basic (RFC 7617) or Bearer (RFC 6750); `None` if it is
    another, or not formed as these are."""
    match = _AUTHORIZATION.fullmatch(value.strip(" \t"))
    if match is None:
        return None
    scheme, shown = match[1].lower(), match[2]
    if scheme == "bearer" and len(shown) <= PROOF_MOST:
        return Proof(None, shown.encode("ascii"))
    if scheme != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(shown, validate=True).partition(b":")
    except binascii.Error:
        return None
    if not colon or len(user) + len(password) >= PROOF_MOST:
        return None
    return Proof(user, password)
