"""The files below one folder, opened so that no name and no race leads out of it.

Imports `tcpdl.wire.names` and the errors beside it. `Directory.open_file` is the only opener:
every dialect and every verb goes through it.

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
from dataclasses import dataclass
from enum import Enum

from tcpdl.content.errors import Absent, IsFolder, NotServed, Refused, Unavailable
from tcpdl.wire.names import Name, NameRefused, check_segment, follow_link

MAX_LINKS = 16
"""Symbolic links followed for one name. A loop ends here; the kernel's own limit is 40."""

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
# O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOCTTY: nor may a terminal become ours.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO}
_REFUSED = {errno.EACCES, errno.EPERM}


class Symlinks(Enum):
    """What is done with symbolic links below the root."""

    INSIDE = "inside"
    """Followed as long as they stay below the root."""
    NEVER = "never"
    """Refused."""


@dataclass(frozen=True, slots=True)
class File:
    """An open regular file. Whoever holds it closes it."""

    fd: int
    size: int
    """Bytes it had when it was opened: what is promised to the client."""

    def close(self) -> None:
        os.close(self.fd)


class Directory:
    """A folder, held by its descriptor from now on: renaming it changes nothing for us."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        hidden: bool = False,
        symlinks: Symlinks = Symlinks.INSIDE,
    ) -> None:
        """Open the folder at `path`, links followed. Raises `OSError` if that cannot be done.

        `hidden` serves names that begin with a dot as well.
        """
        self.hidden = hidden
        self.symlinks = symlinks
        self.path = os.path.realpath(os.fsencode(path)).rstrip(b"/")
        """The absolute path, for links whose text is absolute; empty for the root of all."""
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Give the folder up. Files that are open stay so. Closing twice does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def open_file(self, name: Name) -> File:
        """Open the regular file called `name` for reading.

        Raises a subclass of `NotServed`: `Absent`, `Refused`, `IsFolder` or `Unavailable`.
        """
        try:
            return self._walk(name)
        except NameRefused as refusal:
            raise Refused(str(refusal)) from None
        except OSError as error:
            raise _not_served(error) from error

    def _walk(self, name: Name) -> File:
        segments = name.segments
        for segment in segments:
            check_segment(segment, hidden=self.hidden)
        for _ in range(MAX_LINKS + 1):
            if not segments:
                raise IsFolder("the name is that of the served folder itself")
            found = self._try(segments, name.folder)
            if isinstance(found, File):
                return found
            if self.symlinks is Symlinks.NEVER:
                raise Refused("the name leads through a symbolic link, and none is followed")
            segments = found
        raise Absent(f"the name leads through more than {MAX_LINKS} symbolic links")

    def _try(self, segments: tuple[bytes, ...], folder: bool) -> File | tuple[bytes, ...]:
        """The file at `segments`; or, met with a link, the segments to try instead."""
        last = len(segments) - 1
        held = self._fd
        try:
            for index, segment in enumerate(segments[:last]):
                try:
                    below = os.open(segment, _FOLDER, dir_fd=held)
                except OSError as error:
                    # Linux says ENOTDIR of a link that is not to be followed, others do not.
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
                        raise
                    target = _link_target(segment, held)
                    if target is None:
                        raise
                    return self._follow(segments, index, target)
                if held != self._fd:
                    os.close(held)
                held = below
            # Looking first keeps us from opening what has side effects when it is opened: a
            # FIFO wakes its writer, a device may do anything. The decision is fstat's.
            mode = os.stat(segments[last], dir_fd=held, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                target = _link_target(segments[last], held)
                if target is None:
                    raise Absent("the name changed while it was looked up")
                return self._follow(segments, last, target)
            _check_regular(mode)
            if folder:
                raise Absent("the name ends in a slash, but a file has it")
            return _open_regular(segments[last], held)
        finally:
            if held != self._fd:
                os.close(held)

    def _follow(self, segments: tuple[bytes, ...], index: int, target: bytes) -> tuple[bytes, ...]:
        onward = follow_link(segments[:index], target, self.path, hidden=self.hidden)
        return onward + segments[index + 1 :]


def _link_target(segment: bytes, folder: int) -> bytes | None:
    """The text of the link `segment`, or `None` if it is no link."""
    try:
        return os.readlink(segment, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def _open_regular(segment: bytes, folder: int) -> File:
    fd = os.open(segment, _FILE, dir_fd=folder)
    try:
        status = os.fstat(fd)
        _check_regular(status.st_mode)
    except BaseException:
        os.close(fd)
        raise
    return File(fd, status.st_size)


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsFolder("the name is that of a folder")
    if not stat.S_ISREG(mode):
        raise Refused("the name is that of something that is not a regular file")


def _not_served(error: OSError) -> NotServed:
    if error.errno in _ABSENT:
        return Absent("nothing has that name")
    if error.errno in _REFUSED:
        return Refused("the daemon may not read it")
    return Unavailable(f"it cannot be opened: {os.strerror(error.errno or 0)}")
