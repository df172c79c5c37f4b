"""What can go wrong for a client, each kind with the exit status of the command line.

Imports nothing of ours. The text of an error is the sentence a person reads.
"""


class ClientError(Exception):
    """Base of the errors below."""

    status = 1


class BadRequest(ClientError):
    """What was asked for cannot be asked: correct the command. Exit status 2."""

    status = 2


class CannotConnect(ClientError):
    """No connection came about: the name, the address or the server is wrong or away. 3."""

    status = 3


class Untrusted(CannotConnect):
    """The server cannot show that it is the one that was meant, or speaks no TLS: nothing was asked
    of it. 3."""


class ConnectionBroken(ClientError):
    """The connection ended or fell silent before all had come: try again. 4."""

    status = 4


class Silent(ConnectionBroken):
    """Nothing more came for as long as anything is waited for. 4."""


class Unanswered(ConnectionBroken):
    """The server ended the connection without a byte. 4."""


class NothingThere(ClientError):
    """The server has no such file, or does not hand it out. 5."""

    status = 5


class CannotWrite(ClientError):
    """The local file or output cannot be written. 6."""

    status = 6


class TooLarge(CannotWrite):
    """The file has more bytes than are wanted. 6."""


class NoRoom(CannotWrite):
    """The file has more bytes than there is room for. 6."""


class OtherDialect(ConnectionBroken):
    """The server does not answer in the dialect it was spoken to in. 4."""


class SaysNothing(OtherDialect, Unanswered):
    """The server ends the connection without a byte: it speaks another dialect, or is busy. 4."""


class SpeaksHttp(OtherDialect):
    """The server is a web server: ask it over HTTP. 4."""


class Garbled(ConnectionBroken):
    """What the server answers makes no sense, or was damaged on its way: try again. 4."""


class Changed(ConnectionBroken):
    """What is on the server is another thing than it was a moment ago: ask again. 4."""


class ServerFailed(ConnectionBroken):
    """The server could not do it now, and said why: try again later. 4."""

    wait = 0.0
    """Seconds for which it asked not to be asked."""


class Busy(ServerFailed):
    """The server has enough to do with others: connect again later. 4."""


class Incomplete(ClientError):
    """All was done that could be; some was left out, or differs. 7."""

    status = 7


class Damaged(ClientError):
    """Bytes arrive damaged again and again: something between here and there is broken. 8."""

    status = 8


class NotAllowed(ClientError):
    """The server wants a login, or another one. 9."""

    status = 9
