"""How a client says who it is, in the native dialect. Pure; imports nothing of ours.

PROTOCOL.md section 4.16. `wire.native` has the other messages, and says what all have in common.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

PROOF_MOST = 1024
"""Bytes of what a `Login` has to show."""

PASSWORD = 1
TOKEN = 2


class Login(NamedTuple):
    """Who makes the requests that come after this one. It has no answer: after a wrong one, they
    are answered with `native.LOGIN_NEEDED`."""

    id: int
    """Means nothing: 0."""
    scheme: int
    """`PASSWORD`, `TOKEN`, or one that later versions know."""
    proof: bytes
    """The user's name, NUL and the password; or the token. It is shown nowhere."""

    @classmethod
    def with_password(cls, user: bytes, password: bytes) -> Login:
        """The login of `user`, whose name holds no NUL."""
        assert b"\0" not in user, "the name of a user holds a NUL byte"
        return cls(0, PASSWORD, user + b"\0" + password)

    @classmethod
    def with_token(cls, token: bytes) -> Login:
        return cls(0, TOKEN, token)

    def __repr__(self) -> str:
        return f"Login(id={self.id}, scheme={self.scheme})"

    def body(self) -> bytes:
        return struct.pack("!B", self.scheme) + self.proof

    @classmethod
    def parse(cls, number: int, body: bytes) -> Login:
        return cls(number, body[0], body[1:])
