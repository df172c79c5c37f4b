"""A folder as one stream: .tar or .zip. Imports `tcpdl.content`, `wire`, and the formats beside it.

All is below one folder in the archive, called as the one that was asked for is; the served folder
itself is called `files`. Owners are not told. Whatever is left out is named, with the reason, in a
last file, `NOT-INCLUDED.txt`. In memory are some small files at most, and a zip's directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import NamedTuple, TypeAlias, cast
from zlib import crc32

from tcpdl.content.errors import IsFolder, NotServed
from tcpdl.content.source import File, Source
from tcpdl.web import tar as tar_format
from tcpdl.web.left_out import LeftOut
from tcpdl.web.zip import DIRECTORY_MOST, Zip, directory_size
from tcpdl.wire.names import Name
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, Entry

PIECE = 256 * 1024
"""Bytes given out at a time, or a little more."""

SMALL = 256 * 1024
"""Bytes of the longest file that is read whole, and given out together with others."""

ROOT = b"files"
"""What the served folder is called: its own name is nobody's business."""

_NOT_INCLUDED = b"NOT-INCLUDED"


class Content(NamedTuple):
    """All bytes of an open file, which whoever takes this closes."""

    file: File


class ChangedWhileRead(Exception):
    """A file is not what it was said to be: what was sent is of no use."""


class TooManyNames(ValueError):
    """There are too many names in a folder for a zip archive."""


class _Member(NamedTuple):
    """A part of an archive."""

    kind: int
    """`FILE`, `FOLDER` or `LINK`."""
    name: bytes
    mode: int
    mtime: int
    """Seconds since 1970: what both formats can express."""
    content: bytes | File = b""
    """The bytes of a file, or the file, which whoever takes this closes; the text of a link."""


_Members: TypeAlias = Generator[_Member, None, None]


def tar(source: Source, name: Name) -> Iterator[bytes | Content]:
    """The folder called `name` as a tar archive, in the pax format.

    Symbolic links are links, if they lead to what is in the folder; else they are the file that
    they lead to. For threads. Raises a subclass of `NotServed` when it is called.
    """
    return _tar(_members(source, name, links=True, objection=lambda _name: None))


def zip(source: Source, name: Name) -> Iterator[bytes | Content]:  # noqa: A001
    """The folder called `name` as a zip archive, in which files are stored as they are.

    Symbolic links are the files that they lead to: programs disagree about others. For threads;
    the iterator raises `ChangedWhileRead` if a file becomes shorter or is written over. Raises a
    subclass of `NotServed`, or `TooManyNames`, when it is called, which takes as long as to list
    all names.
    """
    archive = Zip()

    def objection(name: bytes) -> str | None:
        if b".." in name.replace(b"\\", b"/").split(b"/"):
            return "its name would lead out of the folder on Windows"
        if not archive.has_room_for(name):
            return "the archive holds as many names as it can"  # it came after they were counted
        return None

    _count(source, name)
    return _zip(archive, _members(source, name, links=False, objection=objection))


def _count(source: Source, name: Name) -> None:
    """Raise `TooManyNames` if the directory of a zip archive would grow too large."""
    prefix, size = _prefix(name), 0
    with closing(_walk(source, name, content_most=-1)) as entries:
        for entry in entries:
            size += directory_size(prefix + entry.name)
            if size > DIRECTORY_MOST:
                raise TooManyNames("the folder holds too many names for a zip; a tar can hold them")


def _tar(members: _Members) -> Iterator[bytes | Content]:
    kinds = {FILE: tar_format.FILE, FOLDER: tar_format.FOLDER, LINK: tar_format.LINK}
    pieces: list[bytes] = []
    size = 0
    with closing(members):
        for kind, name, mode, mtime, content in members:
            if isinstance(content, File):
                header = tar_format.header(kinds[kind], name, mode, mtime, size=content.size)
                try:
                    yield b"".join((*pieces, header))
                except GeneratorExit:
                    content.close()  # nobody took it
                    raise
                yield Content(content)
                pieces, size = [tar_format.padding(content.size)], 0
                continue
            if kind == LINK:
                pieces.append(tar_format.header(kinds[kind], name, mode, mtime, link=content))
            else:
                count = len(content)
                header = tar_format.header(kinds[kind], name, mode, mtime, size=count)
                pieces += (header, content, tar_format.padding(count))
                size += count
            size += tar_format.BLOCK
            if size >= PIECE:
                yield b"".join(pieces)
                pieces, size = [], 0
    yield b"".join((*pieces, tar_format.END))


def _zip(archive: Zip, members: _Members) -> Iterator[bytes | Content]:
    pieces: list[bytes] = []
    size = 0
    with closing(members):
        for kind, name, mode, mtime, content in members:
            if isinstance(content, File):
                try:
                    pieces.append(archive.begin(name, mode, mtime, content.size))
                    yield b"".join(pieces)
                    checksum = 0
                    for piece in _read(content):
                        checksum = crc32(piece, checksum)
                        yield piece
                finally:
                    content.close()
                pieces, size = [archive.finish(checksum)], 0
            elif kind == FOLDER:
                pieces.append(archive.folder(name, mode, mtime))
            else:
                pieces += (archive.file(name, mode, mtime, content), content)
                size += len(content)
            size += len(name)
            if size >= PIECE:
                yield b"".join(pieces)
                pieces, size = [], 0
    yield b"".join(pieces)
    yield from archive.end()


def _read(file: File) -> Iterator[bytes]:
    offset = 0
    while offset < file.size:
        piece = os.pread(file.fd, min(PIECE, file.size - offset), offset)
        if not piece:
            raise ChangedWhileRead(f"a file became shorter: it ends at {offset}, not {file.size}")
        yield piece
        offset += len(piece)
    if file.written_over():
        raise ChangedWhileRead("a file was written over")


def _members(
    source: Source, name: Name, *, links: bool, objection: Callable[[bytes], str | None]
) -> _Members:
    """All that becomes part of an archive of the folder called `name`.

    With `links`, symbolic links do, if they lead to what does. `objection` tells why a name cannot.
    """
    top = source.stat(name)
    entries = _walk(source, name, content_most=SMALL)
    return _gather(source, name, top, entries, links, objection)


def _gather(
    source: Source,
    folder: Name,
    top: Entry,
    entries: Generator[Entry, None, None],
    links: bool,
    objection: Callable[[bytes], str | None],
) -> _Members:
    prefix, mtime = _prefix(folder), top.mtime_ns // 10**9
    if objection(prefix) is not None:
        prefix = ROOT + b"/"
    left_out = LeftOut()
    taken = set()
    yield _Member(FOLDER, prefix[:-1], top.mode, mtime)
    with closing(_nested(entries)) as nested:
        for entry in nested:
            name = entry.name
            if b"/" not in name and name[: len(_NOT_INCLUDED)].upper() == _NOT_INCLUDED:
                taken.add(name.upper())
            why = entry.content.decode() if entry.kind == LEFT_OUT else objection(prefix + name)
            if why is not None:
                left_out.add(name, why)
            elif entry.kind in (FILE, FOLDER) or (entry.kind == LINK and links and _inside(entry)):
                stamp = entry.mtime_ns // 10**9
                yield _Member(entry.kind, prefix + name, entry.mode, stamp, entry.content)
            else:
                try:
                    file = source.open_file(Name((*folder.segments, *name.split(b"/"))))
                except IsFolder:
                    left_out.add(name, "it is a symbolic link to a folder")
                except NotServed as problem:
                    left_out.add(name, str(problem))
                else:
                    yield _Member(FILE, prefix + name, file.mode, file.mtime_ns // 10**9, file)
    lines = left_out.lines()
    if lines:
        text = "\n".join(["What is not in this archive, and why:", "", *lines, ""]).encode()
        yield _Member(FILE, prefix + _free(taken), 0o644, mtime, text)


def _nested(entries: Generator[Entry, None, None]) -> Generator[Entry, None, None]:
    """The same `entries`, but each folder right before what is in it, and not among its siblings.

    For GNU tar: it restores the time of a folder once it is given something that is elsewhere.
    """
    folder = b""
    subfolders: list[Entry] = []
    waiting: list[Entry] = []  # the folders still to come, the next one last
    with closing(entries):
        for entry in entries:
            parent = entry.name.rpartition(b"/")[0]
            if parent != folder and entry.kind != LEFT_OUT:
                waiting += reversed(subfolders)
                subfolders, folder = [], parent
                while waiting:
                    next_one = waiting.pop()
                    yield next_one
                    if next_one.name == parent:
                        break
            if entry.kind == FOLDER:
                subfolders.append(entry)
            else:
                yield entry
    waiting += reversed(subfolders)
    yield from reversed(waiting)


def _walk(source: Source, name: Name, *, content_most: int) -> Generator[Entry, None, None]:
    """What is in the folder called `name` and below, as what can be closed."""
    entries = source.walk(name, recursive=True, content_most=content_most)
    return cast("Generator[Entry, None, None]", entries)


def _prefix(name: Name) -> bytes:
    """What the names in an archive of the folder called `name` begin with."""
    return (name.segments[-1] if name.segments else ROOT) + b"/"


def _inside(link: Entry) -> bool:
    """Whether a link leads to a place in the folder at whose top names begin.

    It may climb at its beginning only: after a name, `..` need not be what it looks like, since the
    name may be that of another link.
    """
    parts = [part for part in link.content.split(b"/") if part not in (b"", b".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == b"..":
        climbs += 1
    absolute = link.content.startswith(b"/")
    return not absolute and climbs <= link.name.count(b"/") and b".." not in parts[climbs:]


def _free(taken: set[bytes]) -> bytes:
    """A name for the file that names what is left out; none of those `taken`, in either case."""
    name, number = _NOT_INCLUDED + b".txt", 1
    while name.upper() in taken:
        number += 1
        name = b"%b-%d.txt" % (_NOT_INCLUDED, number)
    return name
