"""What is in a folder, and below. Imports `tcpdl.wire`, `tcpdl.access` and the modules beside it.

A folder is opened anew from the root for each visit, no link followed, and closed before the next
one is opened: however deep the tree, a walk holds one descriptor, and one more while it reads a
file or opens a folder. Whoever writes to the folders meanwhile can change what is found, but not
lead the walk elsewhere, nor end it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from threading import RLock

from tcpdl.access.rules import Level
from tcpdl.content.errors import NotServed, not_served
from tcpdl.content.opening import link_target, read_regular, unread_regular
from tcpdl.content.source import Rights, Segments, file_entry, folder_entry
from tcpdl.wire.names import MAX_NAME, MAX_SEGMENT, NameRefused, follow_link
from tcpdl.wire.pack import FOLDER, LEFT_OUT, LINK, Entry

NAMES_MOST = 1_000_000
"""Names in one folder. They are sorted, and so held in memory: this many take about 150 MB while
they are, and a third of it afterwards."""

HELD_MOST = 2_000_000
"""Names that all walks together hold."""

HELD_LEAST = 10_000
"""Names that a walk holds even so."""

_BLOCK = 1000
"""Names that are held together."""

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()

_LEAD_AWAY = "it is a symbolic link that leads out of the served folder, or to hidden files"


class HeldNames:
    """How many names all walks hold: they may stand still for long, and be very many. A walk that
    may not hold all names of a folder reads it again for the others, which takes longer.

    For any thread.
    """

    def __init__(self) -> None:
        self._lock = RLock()  # one walk may be given up, by the collector, while another takes
        self.count = 0

    def take(self, wanted: int) -> int:
        """How many of the `wanted` names a walk may hold, until they are given back."""
        with self._lock:
            taken = min(wanted, max(HELD_MOST - self.count, HELD_LEAST))
            self.count += taken
        return taken

    def give(self, count: int) -> None:
        """They are held no more."""
        with self._lock:
            self.count -= count


@dataclass(frozen=True, slots=True)
class Walk:
    """How folders are gone through, and how far."""

    open_folder: Callable[[Segments], int]
    """A descriptor of a folder, from its segments below the root, no link followed."""
    close_folder: Callable[[int], None]
    held: HeldNames
    hidden: bool
    links: bool
    """Whether links are handed out, as their text, if they stay below the root."""
    recursive: bool = False
    content_most: int = -1
    wanted: Callable[[], bool] | None = None
    """Is asked whether the next file is to be read; if not, it comes as if it had been."""
    rights: Rights | None = None

    def below(self, top: Segments, asked: Segments, before: int = 0) -> Iterator[Entry]:
        """What is in the folder `top`, which is the one that was asked for as `asked`, after
        `before` bytes of its name."""
        room = MAX_NAME - before - sum(len(segment) + 1 for segment in asked)
        folder, prefix = top, b""
        # The way down to where we are: at each folder its subfolders yet to come. Names and no
        # descriptors.
        way: list[tuple[Segments, bytes, Iterator[bytes]]] = []
        while True:
            subfolders = bytearray()
            level_of = self._levels(folder, (*asked, *folder[len(top) :]))
            yield from self._visit(folder, prefix, room - len(prefix), subfolders, level_of)
            if self.recursive:
                way.append((folder, prefix, _each_of(subfolders)))
            while way:
                parent, prefix, to_come = way[-1]
                name = next(to_come, None)
                if name is not None:
                    folder, prefix = (*parent, name), prefix + name + b"/"
                    break
                way.pop()
            else:
                return

    def _levels(self, folder: Segments, asked: Segments) -> Callable[[bytes], Level] | None:
        """What may be done with what is in `folder`, by names; it was asked for as `asked`."""
        if self.rights is None:
            return None
        level_of = self.rights.within(asked)
        if folder == asked:
            return level_of
        really = self.rights.within(folder)
        return lambda name: min(level_of(name), really(name))

    def _visit(
        self,
        folder: Segments,
        prefix: bytes,
        room: int,
        subfolders: bytearray,
        level_of: Callable[[bytes], Level] | None,
    ) -> Iterator[Entry]:
        """The entries of one folder; `room` is for the longest name. Adds to `subfolders`,
        each name with a zero byte behind it: there may be as many as names, for as long."""
        try:
            fd = self.open_folder(folder)
        except OSError as error:
            yield left_out(prefix[:-1], str(not_served(error)))
            return
        names = self._names(fd)
        longest = min(room, MAX_SEGMENT)
        more = too_long = False
        most = self.content_most
        level = Level.READ
        try:
            for count, (name, regular) in enumerate(names):
                if count == NAMES_MOST:
                    more = True
                    break
                if level_of is not None:
                    level = level_of(name)
                    if level is Level.NOTHING:
                        continue
                if len(name) > longest:
                    too_long = True
                    continue
                try:
                    if regular and most >= 0:
                        entry = self._read(prefix + name, name, fd, level)
                    else:
                        entry = self._look(prefix + name, name, fd, folder, level)
                        if entry.kind == FOLDER:
                            subfolders += name + b"\0"
                except OSError as error:
                    entry = left_out(prefix + name, str(not_served(error)))
                except NotServed as problem:
                    entry = left_out(prefix + name, str(problem))
                yield entry
        except OSError as error:  # it cannot be read, or not again
            yield left_out(prefix[:-1], str(not_served(error)))
        finally:
            names.close()
            self.close_folder(fd)
        if too_long:
            yield left_out(prefix[:-1], "it holds names that are too long to be asked for")
        if more:
            yield left_out(prefix[:-1], f"it holds more than {NAMES_MOST} names")

    def _names(self, fd: int) -> Generator[tuple[bytes, bool], None, None]:
        """The names in a folder, sorted, each with whether it is known to be a regular file's."""
        left, after = True, b""
        while left:
            found = self._scan(fd, after)
            count = self.held.take(len(found))
            try:
                left = len(found) > count
                del found[count:]
                if left:
                    after = found[-1][0]
                yield from _compactly(found)
            finally:
                self.held.give(count)

    def _scan(self, fd: int, after: bytes) -> list[tuple[bytes, bool]]:
        """As `_names`, those behind `after` in their order, all at once."""
        # One more than is handed out, which tells that there are more.
        with os.scandir(fd) as scanned:
            found = [
                (name, _regular(entry))
                for entry in islice(scanned, NAMES_MOST + 1)
                if (self.hidden or entry.name[0] != ".")
                and (name := entry.name.encode(_ENCODING, _ERRORS)) > after
            ]
        found.sort()
        return found

    def _read(self, name: bytes, segment: bytes, folder: int, level: Level) -> Entry:
        if level < Level.READ:
            return left_out(name, "it may be listed, but not read")
        if self.wanted is None or self.wanted():
            return read_regular(name, segment, folder, self.content_most)
        return unread_regular(name, segment, folder, self.content_most)

    def _look(self, name: bytes, segment: bytes, fd: int, folder: Segments, level: Level) -> Entry:
        """The entry of what is called `segment` in the folder `fd`, whatever that is."""
        status = os.stat(segment, dir_fd=fd, follow_symlinks=False)
        mode = status.st_mode
        if stat.S_ISREG(mode):
            if self.content_most >= 0:
                return self._read(name, segment, fd, level)
            return file_entry(name, status)
        if stat.S_ISDIR(mode):
            return folder_entry(name, status)
        if stat.S_ISLNK(mode):
            return self._link(name, segment, fd, folder)
        return left_out(name, "it is not a regular file")

    def _link(self, name: bytes, segment: bytes, fd: int, folder: Segments) -> Entry:
        if not self.links:
            return left_out(name, "it is a symbolic link, and none is handed out")
        text = link_target(segment, fd)
        if text is None:
            return left_out(name, "it changed while it was looked at")
        if text.startswith(b"/"):
            return left_out(name, "it is a symbolic link whose target is absolute")
        try:
            target = follow_link(folder, text, b"", hidden=self.hidden)
        except NameRefused:
            return left_out(name, _LEAD_AWAY)
        if self.rights is not None and self.rights.level(target) is Level.NOTHING:
            return left_out(name, "it is a symbolic link to what is not for whoever asks")
        return Entry(LINK, name, content=text)


def _compactly(names: list[tuple[bytes, bool]]) -> Iterator[tuple[bytes, bool]]:
    """What is in `names`, which is emptied: a walk may stand still for long, and there may be very
    many of them, and of walks."""
    blocks = []
    for at in range(0, len(names), _BLOCK):
        some = names[at : at + _BLOCK]
        blocks.append((b"\0".join([name for name, _ in some]), bytes([is_ for _, is_ in some])))
    names.clear()
    for joined, regular in blocks:
        yield from zip(joined.split(b"\0"), map(bool, regular), strict=True)


def _each_of(names: bytearray) -> Iterator[bytes]:
    """The names, each of which has a zero byte behind it."""
    at = 0
    while at < len(names):
        end = names.index(0, at)
        yield bytes(names[at:end])
        at = end + 1


def _regular(entry: os.DirEntry[str]) -> bool:
    """Whether the folder itself tells that it is a regular file; if not, it must be looked at."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:  # some file systems tell nothing, so that it was looked at already
        return False


def left_out(name: bytes, why: str) -> Entry:
    """The entry of what is there and not handed out."""
    return Entry(LEFT_OUT, name, content=why.encode())
