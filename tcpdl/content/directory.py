"""The files below one folder, opened so that no name and no race leads out of it.

Imports `tcpdl.wire`, `tcpdl.access` and the modules beside it.

A name is walked one segment at a time, each opened relative to a descriptor that is held, never
following a link, so what another process renames meanwhile can only make the walk fail. A
symbolic link is read, its target turned into segments from the root by a pure function, and
those are walked anew from the root's descriptor: there is no path by which the kernel itself
would follow a link. `openat2(RESOLVE_BENEATH)` would do the same in one call, but systemd's
DynamicUser and RestrictSUIDSGID make it fail with ENOSYS.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeVar

from tcpdl.access.rules import Level
from tcpdl.content.errors import Absent, NotAFolder, NotServed, Refused, not_served
from tcpdl.content.open_files import OpenFiles
from tcpdl.content.opening import (
    THIS,
    check_regular,
    link_target,
    open_folder,
    open_regular,
    read_regular,
    step,
)
from tcpdl.content.source import File as File  # for those who import it from here
from tcpdl.content.source import (
    Identity,
    Rights,
    Segments,
    file_entry,
    file_of,
    folder_entry,
    identity_of,
)
from tcpdl.content.walking import HeldNames, Walk, left_out
from tcpdl.wire.names import (
    MAX_NAME,
    Name,
    NameRefused,
    check_segment,
    follow_link,
    parse_name,
)
from tcpdl.wire.pack import Entry

MAX_LINKS = 16
"""Symbolic links followed for one name. A loop ends here; the kernel's own limit is 40."""

SEGMENTS_MOST = 1024
"""Segments that are walked for one name, through all links: whoever writes to the folder can make
those lead up and down a deep tree, which would take a tenth of a second for each request."""

_T = TypeVar("_T")


class Symlinks(Enum):
    """What is done with symbolic links below the root."""

    INSIDE = "inside"
    """Followed as long as they stay below the root."""
    NEVER = "never"
    """Refused."""


class _Found(NamedTuple):
    """What a name leads to, links followed, as one who holds its folder sees it."""

    segments: Segments
    """From the root, none of them a link a moment ago. The root itself has none."""
    folder: int
    """A descriptor of the folder it is in; of the root, the root's own."""
    status: os.stat_result
    slash: bool
    """Only a folder may answer to the name."""
    level: Level
    """What may be done with it: `LIST` at least."""

    @property
    def segment(self) -> bytes:
        return self.segments[-1] if self.segments else THIS

    def check_regular(self) -> None:
        check_regular(self.status.st_mode)
        if self.slash:
            raise Absent("the name ends in a slash, but a file has it")

    def check_readable(self) -> None:
        """Raise unless it is a file that may be read."""
        self.check_regular()
        if self.level < Level.READ:
            raise _NotReadable


class _NotReadable(Exception):
    """It may be listed, and no more."""


class Directory:
    """A folder, held by its descriptor from now on: renaming it changes nothing for us.

    It is a `content.source.Source`. Its methods may be called from any thread, `close` only while
    no other one runs.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        hidden: bool = False,
        symlinks: Symlinks = Symlinks.INSIDE,
        before: int = 0,
        files: OpenFiles | None = None,
        held: HeldNames | None = None,
    ) -> None:
        """Open the folder at `path`, links followed. Raises `OSError` if that cannot be done.

        `hidden` serves names that begin with a dot as well. So many bytes come `before` all names
        that it is asked for, where it is one of several folders; those share `files` and `held`.
        """
        self.hidden = hidden
        self.symlinks = symlinks
        self.files = OpenFiles() if files is None else files
        """The files of it that are open."""
        self.held = held or HeldNames()
        """The names that walks hold."""
        self._before = before
        self.path = os.path.realpath(os.fsencode(path)).rstrip(b"/")
        """The absolute path, for links whose text is absolute; empty for the root of all."""
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._counts_links = os.fstat(self._fd).st_nlink > 0  # some of FUSE do not

    def serve(self, *, hidden: bool, symlinks: Symlinks) -> None:
        """Serve so from the next name on that is asked for; a walk goes on as it was begun."""
        self.hidden = hidden
        self.symlinks = symlinks

    def descriptors(self) -> list[int]:
        """That of the folder."""
        return [self._fd]

    def close(self) -> None:
        """Give the folder up. Files that are open stay so. Closing twice does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def open_file(self, name: Name, *, rights: Rights | None = None) -> File:
        """Open the regular file called `name` for reading.

        Raises a subclass of `NotServed`: `Absent`, `Refused`, `IsFolder` or `Unavailable`.
        """
        return self._find(name, self._open_file, rights)

    def identify(self, name: Name, *, rights: Rights | None = None) -> Identity:
        """The identity of the regular file called `name`, which is not opened for it.

        Raises as `open_file` does.
        """
        segments = name.segments
        if len(segments) == 1 and not name.folder and rights is None:
            # To what is in the root itself there is no way to be walked: half the time of this.
            try:
                check_segment(segments[0], hidden=self.hidden)
                status = os.stat(segments[0], dir_fd=self._fd, follow_symlinks=False)
            except (OSError, NameRefused):
                pass  # which is met again
            else:
                if stat.S_ISREG(status.st_mode):
                    return identity_of(status)
        return self._find(name, _identify, rights)

    def stat(self, name: Name, *, rights: Rights | None = None) -> Entry:
        """What has this name, without opening it. Raises as `open_file` does."""
        return self._find(name, _stat, rights)

    def list(self, name: Name, *, rights: Rights | None = None) -> Iterator[Entry]:
        """What is directly in the folder called `name`, sorted.

        Raises a subclass of `NotServed`: `NotAFolder` if it is a file's name.
        """
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
        """What is in the folder called `name`, as `Source.walk` says. Raises as `list` does.

        Links are not followed: they come as `LINK`, unless they are absolute, lead out, or no
        links are followed here at all.
        """
        top = self._find(name, self._check_folder, rights)
        self.files.check()  # a walk holds a folder, until it ends
        walk = Walk(
            open_folder=self._open_folder,
            close_folder=self.files.close,
            held=self.held,
            hidden=self.hidden,
            links=self.symlinks is Symlinks.INSIDE,
            recursive=recursive,
            content_most=content_most,
            wanted=wanted,
            rights=rights,
        )
        return walk.below(top, name.segments, self._before)

    def pick(
        self,
        name: Name,
        names: Sequence[bytes],
        *,
        content_most: int,
        rights: Rights | None = None,
    ) -> Iterator[Entry]:
        """The files called `names` in the folder called `name`, as `Source.pick` says."""
        self._find(name, self._check_folder, rights)
        return (self._pick(name, asked, content_most, rights) for asked in names)

    def _pick(self, name: Name, asked: bytes, content_most: int, rights: Rights | None) -> Entry:
        try:
            below = parse_name(asked, hidden=self.hidden)
            whole = name.segments + below.segments
            length = self._before + len(b"/".join(whole))
            if length > MAX_NAME:
                raise NameRefused(f"the name has {length} bytes; {MAX_NAME} is the most")
            return self.read(Name(whole, below.folder), asked, content_most, rights)
        except (NameRefused, NotServed) as problem:
            return left_out(asked[:MAX_NAME], str(problem))

    def read(self, name: Name, called: bytes, content_most: int, rights: Rights | None) -> Entry:
        """The entry of the file called `name`, as `called`, with its content if that has at most
        `content_most` bytes. Raises as `open_file` does."""

        def read(found: _Found) -> Entry:
            found.check_readable()
            return read_regular(called, found.segment, found.folder, content_most)

        return self._find(name, read, rights)

    def _find(self, name: Name, take: Callable[[_Found], _T], rights: Rights | None) -> _T:
        """What `take` makes of what is called `name`. Raises a subclass of `NotServed`."""
        level, left = Level.READ, SEGMENTS_MOST
        try:
            segments = name.segments
            for segment in segments:
                check_segment(segment, hidden=self.hidden)
            for _ in range(MAX_LINKS + 1):
                left -= len(segments)
                if left < 0:
                    raise Absent("the name leads through symbolic links to too many folders")
                if rights is not None:
                    level = min(level, rights.level(segments))
                    if level is Level.NOTHING:
                        raise rights.refusal()
                result = self._try(segments, name.folder, take, level)
                if not isinstance(result, _Onward):
                    return result
                if self.symlinks is Symlinks.NEVER:
                    raise Refused("the name leads through a symbolic link, and none is followed")
                segments = result.segments
        except NameRefused as refusal:
            raise Refused(str(refusal)) from None
        except OSError as error:
            raise not_served(error) from error
        except _NotReadable:
            assert rights is not None
            raise rights.refusal() from None
        raise Absent(f"the name leads through more than {MAX_LINKS} symbolic links")

    def _try(
        self, segments: Segments, slash: bool, take: Callable[[_Found], _T], level: Level
    ) -> _T | _Onward:
        """What `take` makes of what is at `segments`; or, met with a link, where it leads."""
        if not segments:
            return take(_Found((), self._fd, os.fstat(self._fd), slash, level))
        last = len(segments) - 1
        root = held = self._fd
        try:
            for index, segment in enumerate(segments[:last] if last else ()):
                try:
                    below = step(segment, held)
                except OSError as error:
                    # Linux says ENOTDIR of a link that is not to be followed, others do not.
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
                        raise
                    target = link_target(segment, held)
                    if target is None:
                        raise
                    return self._follow(segments, index, target)
                if held != root:
                    os.close(held)
                held = below
            status = os.stat(segments[last], dir_fd=held, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target = link_target(segments[last], held)
                if target is None:
                    raise Absent("the name changed while it was looked up")
                return self._follow(segments, last, target)
            return take(_Found(segments, held, status, slash, level))
        finally:
            if held != root:
                os.close(held)

    def _check_folder(self, found: _Found) -> Segments:
        """Its segments, if it is a folder that can be listed."""
        mode = found.status.st_mode
        if stat.S_ISREG(mode):
            raise NotAFolder("the name is that of a file, not of a folder")
        if not stat.S_ISDIR(mode):
            raise Refused("the name is that of something that is neither a file nor a folder")
        os.close(self._open(found.segment, found.folder))
        return found.segments

    def _open(self, segment: bytes, folder: int) -> int:
        """A descriptor of the folder `segment` that can be listed.

        Our own can be even when it was removed, and would seem to be empty.
        """
        if segment == THIS and self._counts_links and not os.fstat(folder).st_nlink:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return open_folder(segment, folder)

    def _follow(self, segments: Segments, index: int, target: bytes) -> _Onward:
        onward = follow_link(segments[:index], target, self.path, hidden=self.hidden)
        return _Onward(onward + segments[index + 1 :])

    def _open_file(self, found: _Found) -> File:
        found.check_readable()
        self.files.check()
        return file_of(*open_regular(found.segment, found.folder), self.files)

    def _open_folder(self, segments: Segments) -> int:
        """A descriptor of the folder at `segments`, no link followed. Raises `OSError`."""
        root = held = self._fd
        try:
            for segment in segments[:-1]:
                below = step(segment, held)
                if held != root:
                    os.close(held)
                held = below
            return self.files.add(self._open(segments[-1] if segments else THIS, held))
        finally:
            if held != root:
                os.close(held)


@dataclass(frozen=True, slots=True)
class _Onward:
    """A name leads through a link: what to look for instead."""

    segments: Segments


def _identify(found: _Found) -> Identity:
    found.check_readable()
    return identity_of(found.status)


def _stat(found: _Found) -> Entry:
    if stat.S_ISDIR(found.status.st_mode):
        return folder_entry(b"", found.status)
    found.check_regular()
    return file_entry(b"", found.status)
