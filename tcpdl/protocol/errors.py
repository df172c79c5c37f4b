"""Why a request failed, by what the caller can do about it. Imports `tcpdl.wire`.

The text of each is a sentence for a person, safe to print. Those of a lost connection are
Twisted's own, in `twisted.internet.error`: `ConnectionDone`, `ConnectionLost`, `ConnectionAborted`,
and `TimeoutError` for silence.
"""

from __future__ import annotations

from tcpdl.wire import native
from tcpdl.wire.native import ProtocolError as ProtocolError
from tcpdl.wire.native import WrongUse as WrongUse
from tcpdl.wire.pack import Damaged as Damaged
from tcpdl.wire.text import printable


class ServerError(Exception):
    """The server said why it does not answer as it was asked to."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        """As in PROTOCOL.md, section 4.10."""
        self.sentence = sentence
        """In the server's words, made printable."""


class NotServed(ServerError):
    """Nothing of that name is handed out: ask for another."""


class IsFolder(ServerError):
    """The name is that of a folder: list it."""


class NotAFolder(ServerError):
    """The name is that of a file: get it."""


class NotAllowed(ServerError):
    """Whoever is logged in may not have it, or nobody is: log in, or as another."""


class TryLater(ServerError):
    """The server could not do it now: ask again later."""


class Changed(ServerError):
    """The file is another one than it was: ask anew, without the tag."""


class BadRange(ServerError):
    """The offset is beyond the end of the file."""


class Dismissed(ServerError):
    """The server ended the connection, and all that was asked on it: connect again."""


class GoingAway(Exception):
    """The server answers no more requests on this connection, this one neither: ask on another."""

    def __init__(self) -> None:
        super().__init__("the server has said that it ends this connection; connect again")


class OtherDialect(ProtocolError):
    """The server does not speak the native dialect: it may speak the raw one."""


class TooLarge(Exception):
    """It is more than the caller wanted to hold in memory: have it delivered piece by piece."""


_KINDS: dict[int, type[ServerError]] = {
    native.ABSENT: NotServed,
    native.REFUSED: NotServed,
    native.IS_FOLDER: IsFolder,
    native.NOT_A_FOLDER: NotAFolder,
    native.LOGIN_NEEDED: NotAllowed,
    native.NOT_ALLOWED: NotAllowed,
    native.CHANGED: Changed,
    native.BAD_RANGE: BadRange,
}


def server_error(error: native.Error) -> ServerError:
    """The exception that stands for an `Error` message."""
    kind = Dismissed if error.code >= native.FATAL else _KINDS.get(error.code, TryLater)
    return kind(error.code, printable(error.sentence) or f"error {error.code}")
