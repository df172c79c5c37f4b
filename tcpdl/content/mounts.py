"""Several folders, each under a name, as one. Imports `tcpdl.wire`, `tcpdl.access` and the modules
beside it.

The first segment of a name says which folder it is about, and all that follows is that folder's:
what it finds, and where links in it may lead, is below its own descriptor. There is nothing else at
the top, and nothing there is looked up on a disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import permutations
from typing import NamedTuple, cast

from tcpdl.access.rules import Level
from tcpdl.content.directory import Directory, Symlinks
from tcpdl.content.errors import Absent, IsFolder, NotServed
from tcpdl.content.open_files import OpenFiles
from tcpdl.content.source import File, Identity, Rights, Segments
from tcpdl.content.walking import HeldNames, left_out
from tcpdl.wire.names import MAX_NAME, Name, NameRefused, parse_name
from tcpdl.wire.pack import FOLDER, Entry

_TOP = Name(())


class Mount(NamedTuple):
    """A folder, and what it is to be called."""

    name: bytes
    """As `mount_name` gives it."""
    path: str
    hidden: bool = False
    symlinks: Symlinks = Symlinks.INSIDE


def mount_name(name: bytes) -> bytes:
    """`name`, if a folder can be mounted under it. Raises `NameRefused`."""
    if parse_name(name).segments != (name,):
        raise NameRefused("the name is not a single segment")
    return name


class Mounts:
    """Folders by their names. It is a `content.source.Source`, and used as a `Directory` is."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        """Open all folders. Raises `OSError` if that cannot be done with one."""
        self.files = OpenFiles()
        """The files of all that are open."""
        self._all: dict[bytes, Directory] = {}
        self._since = time.time_ns()
        held = HeldNames()
        try:
            for name, path, hidden, symlinks in sorted(mounts):
                self._all[name] = Directory(
                    path,
                    hidden=hidden,
                    symlinks=symlinks,
                    before=len(name) + 1,
                    files=self.files,
                    held=held,
                )
        except BaseException:
            self.close()
            raise
        self.hidden = False
        """Whether hidden names may be asked for: each folder decides it for its own."""
        self._look()

    def serve(self, name: bytes, *, hidden: bool, symlinks: Symlinks) -> None:
        """As `Directory.serve`, the folder of that name; nothing, if none has it."""
        directory = self._all.get(name)
        if directory is not None:
            directory.serve(hidden=hidden, symlinks=symlinks)
            self._look()

    def _look(self) -> None:
        self.hidden = any(directory.hidden for directory in self._all.values())

    def descriptors(self) -> list[int]:
        """Those of the folders."""
        return [fd for directory in self._all.values() for fd in directory.descriptors()]

    def nested(self) -> Iterator[tuple[bytes, bytes]]:
        """The names of two mounts, where the folder of the first is that of the second, or is in
        it: what it holds can be asked for by either."""
        for (inner, one), (outer, other) in permutations(self._all.items(), 2):
            here, there = one.path + b"/", other.path + b"/"
            if here.startswith(there) and (here != there or inner > outer):
                yield inner, outer

    def close(self) -> None:
        """Give all folders up. Files that are open stay so. Closing twice does nothing."""
        for directory in self._all.values():
            directory.close()

    def open_file(self, name: Name, *, rights: Rights | None = None) -> File:
        """As `Directory.open_file`, which is asked."""
        directory, below, rights = self._into(name, rights)
        return directory.open_file(below, rights=rights)

    def identify(self, name: Name, *, rights: Rights | None = None) -> Identity:
        """As `Directory.identify`, which is asked."""
        directory, below, rights = self._into(name, rights)
        return directory.identify(below, rights=rights)

    def stat(self, name: Name, *, rights: Rights | None = None) -> Entry:
        """As `Directory.stat`; the top is a folder as old as this."""
        if not name.segments:
            _check_top(rights)
            return Entry(FOLDER, b"", 0o755, 0, self._since)
        directory, below, rights = self._into(name, rights)
        return directory.stat(below, rights=rights)

    def list(self, name: Name, *, rights: Rights | None = None) -> Iterator[Entry]:
        """As `Directory.list`; at the top are the names of all folders."""
        return self.walk(name, recursive=False, content_most=-1, rights=rights)

    def walk(
        self,
        name: Name,
        *,
        recursive: bool,
        content_most: int,
        wanted: Callable[[], bool] | None = None,
        rights: Rights | None = None,
    ) -> Iterator[Entry]:
        """As `Directory.walk`; from the top, through one folder after the other."""

        def walk(directory: Directory, below: Name, rights: Rights | None) -> Iterator[Entry]:
            return directory.walk(
                below, recursive=recursive, content_most=content_most, wanted=wanted, rights=rights
            )

        if name.segments:
            return walk(*self._into(name, rights))
        _check_top(rights)
        self.files.check()
        return self._from_top(walk, rights, recursive=recursive)

    def _from_top(
        self,
        walk: Callable[[Directory, Name, Rights | None], Iterator[Entry]],
        rights: Rights | None,
        *,
        recursive: bool,
    ) -> Iterator[Entry]:
        level_of = None if rights is None else rights.within(())
        found: list[tuple[bytes, Iterator[Entry]]] = []
        for name, directory in self._all.items():
            if level_of is not None and level_of(name) is Level.NOTHING:
                continue
            try:
                # It is begun at once since that looks whether the folder is still there.
                entries = walk(directory, _TOP, _below(rights, (name,)))
                entry = directory.stat(_TOP)
            except Absent:
                yield left_out(name, "its folder is not there any more")
            except NotServed as problem:
                yield left_out(name, str(problem))
            else:
                found.append((name, entries))
                yield entry._replace(name=name)
        for name, entries in found if recursive else ():
            with closing(cast("Generator[Entry]", entries)):
                for entry in entries:
                    yield entry._replace(name=name + b"/" + entry.name if entry.name else name)

    def pick(
        self,
        name: Name,
        names: Sequence[bytes],
        *,
        content_most: int,
        rights: Rights | None = None,
    ) -> Iterator[Entry]:
        """As `Directory.pick`; from the top, files of several folders."""
        if not name.segments:
            _check_top(rights)
            return (self._pick(asked, content_most, rights) for asked in names)
        directory, below, rights = self._into(name, rights)
        return directory.pick(below, names, content_most=content_most, rights=rights)

    def _pick(self, asked: bytes, content_most: int, rights: Rights | None) -> Entry:
        try:
            directory, below, rights = self._into(parse_name(asked, hidden=self.hidden), rights)
            return directory.read(below, asked, content_most, rights)
        except (NameRefused, NotServed) as problem:
            return left_out(asked[:MAX_NAME], str(problem))

    def _into(self, name: Name, rights: Rights | None) -> tuple[Directory, Name, Rights | None]:
        """The folder that a name is about, and what is left of the name, and of the rights, in
        there. Raises a subclass of `NotServed`: `IsFolder` for the top."""
        segments = name.segments
        directory = self._all.get(segments[0]) if segments else None
        if directory is None:
            if rights is not None and rights.level(segments) is Level.NOTHING:
                raise rights.refusal()
            if not segments:
                raise IsFolder("the name is that of a folder")
            raise Absent("nothing has that name")
        return directory, Name(segments[1:], name.folder), _below(rights, segments[:1])


class _Below(NamedTuple):
    """Rights, by the segments of names from one of the folders on."""

    rights: Rights
    mount: Segments

    def level(self, segments: Segments) -> Level:
        return self.rights.level(self.mount + segments)

    def within(self, folder: Segments) -> Callable[[bytes], Level]:
        return self.rights.within(self.mount + folder)

    def refusal(self) -> NotServed:
        return self.rights.refusal()


def _below(rights: Rights | None, mount: Segments) -> _Below | None:
    return None if rights is None else _Below(rights, mount)


def _check_top(rights: Rights | None) -> None:
    """Raise unless the names of the folders may be learned."""
    if rights is not None and rights.level(()) is Level.NOTHING:
        raise rights.refusal()
