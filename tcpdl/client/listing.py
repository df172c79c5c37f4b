"""What is in a folder of a server. Imports `wire` and the modules beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tcpdl.client.errors import Damaged, Garbled
from tcpdl.client.session import Session, failure
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire import native, pack
from tcpdl.wire.native import Answer, End, Error, FileInfo, GetDigests, Pack, ProtocolError, Tree
from tcpdl.wire.pack import Entry
from tcpdl.wire.text import printable

KINDS = {pack.FILE: "file", pack.LISTED: "file", pack.FOLDER: "folder", pack.LINK: "link"}
"""What the kinds of entries are called; others are `left out`."""

LEFT_OUT = "left out"


class Listed(NamedTuple):
    """One name in a folder of a server. Nothing about it has been checked but its length."""

    kind: str
    """`file`, `folder`, `link`, or `left out` for what is there and not handed out."""
    name: bytes
    """From the folder that was asked for, segments joined by `/`."""
    size: int = 0
    """Bytes of a file."""
    mtime_ns: int = 0
    """When a file or folder was last changed, in nanoseconds since 1970."""
    mode: int = 0
    """The permission bits of a file or folder: 0 to 0o777."""
    target: bytes = b""
    """The text of a link."""
    why: str = ""
    """Why it was left out, in the server's words."""


DEFAULT = Ways()


def listdir(location: Location, ways: Ways = DEFAULT, *, recursive: bool = False) -> list[Listed]:
    """What is in the folder at `location`; with `recursive`, in those below as well.

    For a file, that file alone. Raises what `iterdir` does.
    """
    return list(iterdir(location, ways, recursive=recursive))


def iterdir(
    location: Location, ways: Ways = DEFAULT, *, recursive: bool = False
) -> Iterator[Listed]:
    """The same, each name as it comes: for folders of any size.

    Raises `NothingThere`, `NotAllowed`, `CannotConnect`, `ConnectionBroken` and its subclasses, and
    `Damaged`; after names have been yielded, too.
    """
    name = location.path
    with Session(location, ways) as session:
        flags = native.RECURSIVE if recursive else 0
        session.ask(lambda number: Tree(number, name, flags))
        message = session.next()
        if isinstance(message, Error) and message.code == native.NOT_A_FOLDER:
            yield _single(session, location)
            return
        while (entries := entries_of(session, message, name)) is not None:
            for entry in entries:
                yield _listed(entry)
            message = session.next()


def entries_of(session: Session, message: Answer, name: bytes) -> list[Entry] | None:
    """What a part of an answer holds, the last that `session` gave; `None` at its end.

    `name` is the folder's that was asked for.

    Raises `Damaged`; `ConnectionBroken` for what makes no sense; and what `failure` makes of an
    error.
    """
    if isinstance(message, Error):
        raise failure(message, name)
    if isinstance(message, Pack):
        try:
            return pack.unpack(message.packed, session.seal)
        except pack.Damaged as damage:
            raise Damaged(f"{damage}; try again") from None
        except ProtocolError as problem:
            raise nonsense(str(problem)) from None
    if isinstance(message, End):
        return None
    raise nonsense(f"{type(message).__name__} where a part of a tree should come")


def nonsense(why: str) -> Garbled:
    return Garbled(f"the server's answer makes no sense: {why}")


def _single(session: Session, location: Location) -> Listed:
    """The file at `location`."""
    session.ask(lambda number: GetDigests(number, location.path, 0, 0))
    info = session.next()
    if isinstance(info, Error):
        raise failure(info, location.path)
    if not isinstance(info, FileInfo) or not isinstance(session.next(), End):
        raise nonsense("no file where one should come")
    return Listed("file", location.file_name, info.size, info.mtime_ns, info.mode)


def _listed(entry: Entry) -> Listed:
    kind = KINDS.get(entry.kind, LEFT_OUT)
    target = entry.content if kind == "link" else b""
    why = printable(entry.content) if kind == LEFT_OUT else ""
    return Listed(kind, entry.name, entry.size, entry.mtime_ns, entry.mode, target, why)
