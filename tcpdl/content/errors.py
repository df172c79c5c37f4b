"""Why a name is not served, by what the asking side can do about it. Imports nothing of ours."""

from __future__ import annotations

import errno
import os

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO}
_REFUSED = {errno.EACCES, errno.EPERM}


class NotServed(Exception):
    """The name is not served; the text says why, in words that hold no path of this machine."""


class Absent(NotServed):
    """Nothing has that name, or it is not a file or folder: ask for another."""


class Refused(NotServed):
    """What the name leads to is not handed out: asking again will not help."""


class IsFolder(NotServed):
    """The name is that of a folder, where a file was asked for."""


class NotAFolder(NotServed):
    """The name is that of a file, where a folder was asked for."""


class LoginNeeded(NotServed):
    """It is for those who log in, if it is there at all."""

    def __init__(self, sentence: str, *, here: bool) -> None:
        """`here`: with a password or a token, on this very connection."""
        super().__init__(sentence)
        self.here = here


class NotAllowed(NotServed):
    """Whoever asks has no right to it, if it is there at all."""


class Unavailable(NotServed):
    """The file is there but cannot be opened now: ask again later."""


def not_served(error: OSError) -> NotServed:
    """What the system's `error` means to whoever asked."""
    if error.errno in _ABSENT:
        return Absent("nothing has that name")
    if error.errno in _REFUSED:
        return Refused("the daemon may not read it")
    return Unavailable(f"it cannot be opened: {os.strerror(error.errno or 0)}")
