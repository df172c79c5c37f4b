"""Why a name is not served, by what the asking side can do about it. Imports nothing of ours."""


class NotServed(Exception):
    """The name is not served; the text says why, in words that hold no path of this machine."""


class Absent(NotServed):
    """Nothing has that name, or it is not a file or folder: ask for another."""


class Refused(NotServed):
    """What the name leads to is not handed out: asking again will not help."""


class IsFolder(NotServed):
    """The name is that of a folder, where a file was asked for."""


class Unavailable(NotServed):
    """The file is there but cannot be opened now: ask again later."""
