"""What clients prove who they are with, as twisted.cred has it. Imports Twisted only."""

from __future__ import annotations

import hmac

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, IUsernamePassword
from zope.interface import Attribute, implementer


class IBearerToken(ICredentials):
    """Whoever has the token is who it was made for."""

    token = Attribute("The token, as bytes.")


class IBlockingChecker(ICredentialsChecker):
    """A checker that takes its time for a password, and is asked in a thread then."""

    def version() -> object:
        """Something else whenever what was right may have become wrong. It takes no time."""

    def check(credentials: object) -> str | bytes:  # noqa: N805
        """The name of whoever has these `credentials`; for any thread.

        With a token, it takes no time. Raises `twisted.cred.error.UnauthorizedLogin`.
        """


@implementer(IBearerToken)
class BearerToken:
    """A token."""

    def __init__(self, token: bytes) -> None:
        self.token = token


@implementer(IUsernamePassword)
class UsernamePassword:
    """A name and a password, which is compared in the same time whatever it is."""

    def __init__(self, username: bytes, password: bytes) -> None:
        self.username = username
        self.password = password

    def checkPassword(self, password: bytes) -> bool:
        """Whether `password` is the same."""
        return hmac.compare_digest(self.password, password)
