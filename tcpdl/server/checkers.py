"""The checkers of logins: ours, which reads a file of users, and how Twisted's are asked.

Imports `access` and the modules beside it.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from twisted.cred.checkers import (
    FilePasswordDB,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.access import users
from tcpdl.access.files import Kept
from tcpdl.access.users import Users
from tcpdl.server.credentials import IBearerToken, IBlockingChecker
from tcpdl.wire.text import visible

_log = Logger()


@implementer(IBlockingChecker)
class UsersChecker:
    """Knows the users of a file, and looks whether it has changed."""

    credentialInterfaces = (IUsernamePassword, IBearerToken)  # noqa: N815

    def __init__(self, path: str) -> None:
        """Read the file at `path`. Raises `access.files.FileError`."""
        self.file: Kept[Users] = Kept(path, users.parse, warn=_warn, secret=True)

    def version(self) -> object:
        """Another one whenever the file has changed."""
        self.file.get()
        return self.file.changes

    def check(self, credentials: Any) -> str:
        """The name of whoever has these `credentials`. Raises `UnauthorizedLogin`."""
        known = self.file.value
        name: str | None
        if IBearerToken.providedBy(credentials):
            name = known.with_token(credentials.token)
        else:
            name = credentials.username.decode("utf-8", "surrogateescape")
            assert name is not None
            name = name if known.with_password(name, credentials.password) else None
        if name is None:
            raise UnauthorizedLogin
        return name

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """The same, for other programs than ours."""
        from twisted.internet.threads import deferToThread

        self.version()
        return deferToThread(self.check, credentials)


@implementer(IBlockingChecker)
class StockChecker:
    """One of Twisted's, which would keep the reactor while it reads a file or computes."""

    def __init__(self, checker: Any) -> None:
        self.credentialInterfaces = checker.credentialInterfaces
        self._checker = checker
        self._lock = Lock()  # they were not made for threads

    def version(self) -> object:
        return 0

    def check(self, credentials: Any) -> str | bytes:
        """Whom the checker takes it for. Raises `UnauthorizedLogin`."""
        came: list[Any] = []
        with self._lock:
            self.requestAvatarId(credentials).addBoth(came.append)
        assert came, "a checker that should answer at once did not"
        if isinstance(came[0], Failure):
            came[0].raiseException()
        found: str | bytes = came[0]
        return found

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        found: Deferred[Any] = self._checker.requestAvatarId(credentials)
        return found


def adapted(checker: Any) -> ICredentialsChecker:
    """`checker`, as it is best asked here."""
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # From a command line, it has text, and is asked with bytes.
        checker.users = {_bytes(one): _bytes(other) for one, other in checker.users.items()}
    elif isinstance(checker, FilePasswordDB) or type(checker).__name__ == "UNIXChecker":
        return StockChecker(checker)
    found: ICredentialsChecker = checker
    return found


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _warn(problem: str) -> None:
    _log.warn("{problem}", problem=visible(problem))
