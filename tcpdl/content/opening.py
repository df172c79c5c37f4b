"""One step below a folder that is held by its descriptor. Imports the modules beside it.

`open_regular` is the only opener of files: every dialect and every verb goes through it. No
function here follows a link, or takes more than one segment.
"""

from __future__ import annotations

import errno
import os
import stat

from tcpdl.content.errors import IsFolder, Refused
from tcpdl.content.source import file_entry
from tcpdl.wire.pack import FILE, LISTED, Entry

THIS = b"."
"""The folder itself, as a segment."""

# For passing through a folder, which needs no leave to read it.
_STEP = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOCTTY: nor may a terminal become ours.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC

_TRIES = 3
"""How often a file is read that changes while it is read."""


def step(segment: bytes, folder: int) -> int:
    """A descriptor of the folder `segment` that can only be passed through."""
    return os.open(segment, _STEP, dir_fd=folder)


def open_folder(segment: bytes, folder: int) -> int:
    """A descriptor of the folder `segment` that can be listed."""
    return os.open(segment, _FOLDER, dir_fd=folder)


def link_target(segment: bytes, folder: int) -> bytes | None:
    """The text of the link `segment`, or `None` if it is no link."""
    try:
        return os.readlink(segment, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def open_regular(segment: bytes, folder: int) -> tuple[int, os.stat_result]:
    """A descriptor of the regular file `segment`, and its status.

    The caller has looked that it is one, for opening may have side effects: a FIFO wakes its
    writer, a device may do anything. The decision is made here, on what was opened.
    """
    fd = os.open(segment, _FILE, dir_fd=folder)
    try:
        status = os.fstat(fd)
        check_regular(status.st_mode)
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def check_regular(mode: int) -> None:
    """Raise unless `mode` is that of a regular file."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsFolder("the name is that of a folder")
    raise Refused("the name is that of something that is not a regular file")


def read_regular(name: bytes, segment: bytes, folder: int, most: int) -> Entry:
    """The entry of the regular file `segment`, with its content if that has at most `most` bytes.

    One that does not hold still is listed without content, so that none is a mixture.
    """
    fd, status = open_regular(segment, folder)
    try:
        for _ in range(_TRIES):
            size = status.st_size
            if size > most:
                break
            content = os.pread(fd, size + 1, 0)
            after = os.fstat(fd)
            # Whoever writes to a file changes its ctime, and nobody can set that.
            if len(content) == size and after.st_ctime_ns == status.st_ctime_ns:
                return file_entry(name, status, FILE, content)
            status = after
    finally:
        os.close(fd)
    return file_entry(name, status)


def unread_regular(name: bytes, segment: bytes, folder: int, most: int) -> Entry:
    """What `read_regular` gives, but without the content: for whoever only counts it."""
    fd, status = open_regular(segment, folder)
    os.close(fd)
    return file_entry(name, status, FILE if status.st_size <= most else LISTED)
