"""What became of an answer, by what was raised while it was given. Imports its neighbours.

Each of the dialects tells its clients in its own way; what the log and the counters are told is the
same for all.
"""

from __future__ import annotations

import os

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from tcpdl.content.errors import (
    Absent,
    IsFolder,
    LoginNeeded,
    NotAFolder,
    NotAllowed,
    Refused,
    Unavailable,
)
from tcpdl.digest import FileEnded
from tcpdl.server.answering import Gone
from tcpdl.server.outgoing import FileCutShort
from tcpdl.server.transfers import (
    ABSENT,
    BROKEN,
    CHANGED,
    DENIED,
    FAILED,
    LOGIN,
    REFUSED,
    UNAVAILABLE,
)
from tcpdl.web.archives import ChangedWhileRead
from tcpdl.wire.names import NameRefused

LOST = (Gone, ConnectionDone, ConnectionLost, ConnectionAborted)
"""What says that the connection was lost, and not why."""

_OUTCOMES: dict[type[BaseException], str] = {
    Absent: ABSENT,
    IsFolder: ABSENT,
    NotAFolder: ABSENT,
    Refused: REFUSED,
    NameRefused: REFUSED,
    LoginNeeded: LOGIN,
    NotAllowed: DENIED,
    Unavailable: UNAVAILABLE,
    FileEnded: CHANGED,
    ChangedWhileRead: CHANGED,
}


def outcome_of(problem: BaseException, lost_as: str = BROKEN) -> str:
    """The outcome of a transfer that `problem` has ended; that of one whose connection was lost is
    `lost_as`."""
    if isinstance(problem, FileCutShort):
        return lost_as if problem.outcome == BROKEN else problem.outcome
    if isinstance(problem, LOST):
        return lost_as
    return _OUTCOMES.get(type(problem), FAILED)


def why_of(problem: BaseException) -> str:
    """What there is to say of `problem` besides; nothing, if that is said with its outcome."""
    if isinstance(problem, LOST):
        return ""
    if isinstance(problem, FileCutShort):
        return "" if problem.outcome == BROKEN else problem.why
    if isinstance(problem, OSError):
        return os.strerror(problem.errno or 0)  # and no path
    return str(problem)
