"""Files of settings and secrets: read, again when they change, and replaced as a whole.

Imports the standard library only. A file is opened without following a link as the last step of its
path, and looked at once it is open.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

FILE_MOST = 4 * 1024 * 1024
"""Bytes of a file: it is read in one go."""

LOOK_SECONDS = 1.0
"""For how long a file is not looked at again. A change is taken up when it is seen twice."""

_SETTLED_NS = 2 * 10**9  # so soon after a change, another one may bear the same stamps

_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_T = TypeVar("_T")


class FileError(Exception):
    """A file cannot be read or written; what this says names it, and the remedy."""


class Kept(Generic[_T]):
    """What a file says, kept until it says something else."""

    def __init__(
        self,
        path: str,
        parse: Callable[[bytes], _T],
        *,
        warn: Callable[[str], None],
        secret: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file at `path`. Raises `FileError`, also for the `ValueError` of `parse`.

        `warn` is given a sentence when the file is read again and has become unusable, so that what
        it said before still holds; and, if it is `secret`, when others may read it. Each sentence
        comes once in a row.
        """
        self.path = os.path.abspath(path)  # the daemon may go elsewhere
        self._parse = parse
        self._warn = warn
        self._secret = secret
        self._clock = clock
        self._said = ""
        self._is_open = self._was_open = False
        self._look_at = clock()
        self._seen: object = None
        self._loaded: object = None
        self._settled = False
        self.changes = 0
        """How often it has said something else, or may have."""
        self.value = self._read()
        """What it said when it was last read. For any thread; the methods are for one of them."""

    @property
    def exposed(self) -> bool:
        """Whether it is secret and others could read or change it when it was last read."""
        return self._is_open

    def get(self) -> _T:
        """What the file says, as of some seconds ago at most."""
        now = self._clock()
        if now >= self._look_at:
            self.look()
        return self.value

    def look(self) -> None:
        """Read the file again if it has changed, and has not since the last look: an editor may
        have emptied it, and not be done."""
        self._look_at = self._clock() + LOOK_SECONDS
        before, self._seen = self._seen, _stamp_at(self.path)
        if self._seen == before and (self._seen != self._loaded or not self._settled):
            self.reload()

    def reload(self) -> None:
        """Read the file again."""
        try:
            self.value = self._read()
            problem = ""
        except FileError as error:
            problem = str(error)
        if problem and problem != self._said:
            self._warn(f"{problem}; what it said before still holds")
        if self._is_open and not self._was_open:
            self._warn(f"{self.path}: others can read or change it; chmod 600 ends that")
        self._said, self._was_open = problem, self._is_open

    def _read(self) -> _T:
        text, status = read(self.path)
        self._loaded = _stamp_of(status)
        # Until then, another change may go unnoticed.
        self._settled = max(status.st_mtime_ns, status.st_ctime_ns) < time.time_ns() - _SETTLED_NS
        self._is_open = self._secret and bool(status.st_mode & _OTHERS)
        try:
            value = self._parse(text)
        except ValueError as problem:
            raise FileError(f"{self.path}: {problem}") from None
        self.changes += 1
        return value


def read(path: str, *, follow: bool = False, most: int = FILE_MOST) -> tuple[bytes, os.stat_result]:
    """The bytes of a file, `most` at the most, and its status; `follow`: though it is a link.

    Raises `FileError`."""
    try:
        fd = os.open(path, _FLAGS & ~os.O_NOFOLLOW if follow else _FLAGS)
    except OSError as error:
        raise FileError(f"{path}: {reason(error, path)}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder, and no" if stat.S_ISDIR(status.st_mode) else "not a regular"
            raise FileError(f"{path}: it is {kind} file")
        pieces = []
        size = 0
        while size <= most and (piece := os.read(fd, most + 1 - size)):
            pieces.append(piece)
            size += len(piece)
    except OSError as error:
        raise FileError(f"{path}: {reason(error, path)}") from None
    finally:
        os.close(fd)
    if size > most:
        raise FileError(f"{path}: it has more than {most} bytes")
    return b"".join(pieces), status


def change(path: str, make: Callable[[bytes | None], bytes]) -> None:
    """Replace a file by what `make` makes of its bytes, or of `None` if there is none.

    It is replaced as a whole and is on the disk when this returns. Nobody but its owner, and its
    group where it could before, can read it. Two who change it at a time come one after the other.
    Raises `FileError`, and what `make` raises.
    """
    folder, name = os.path.split(os.path.abspath(path))
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FileError(f"{folder}: {reason(error, folder)}") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        before: os.stat_result | None = None
        text: bytes | None = None
        if os.path.lexists(path):
            text, before = read(path)
        made = make(text)
        try:
            _replace(held, name, made, before)
        except OSError as error:
            raise FileError(f"{path}: it cannot be written: {error.strerror}") from None
    finally:
        os.close(held)


def _replace(folder: int, name: str, content: bytes, before: os.stat_result | None) -> None:
    temporary = f".{name[:200]}.{secrets.token_hex(4)}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        try:
            if before is not None:
                ours = os.fstat(fd)
                if (ours.st_uid, ours.st_gid) != (before.st_uid, before.st_gid):
                    os.fchown(fd, before.st_uid, before.st_gid)
                os.fchmod(fd, 0o600 | before.st_mode & stat.S_IRGRP)
            while content:
                content = content[os.write(fd, content) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _stamp_at(path: str) -> object:
    """What tells versions of the file apart."""
    try:
        return _stamp_of(os.lstat(path))
    except OSError as error:
        return error.errno


def _stamp_of(status: os.stat_result) -> tuple[int, ...]:
    stamps = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *stamps)


def reason(error: OSError, path: str) -> str:
    """Why the file or folder at `path` cannot be used."""
    if error.errno == errno.ENOENT:
        return "there is no such file"
    if error.errno == errno.ELOOP:
        return "it is a symbolic link, and none is followed here; name the file itself"
    if error.errno in (errno.EACCES, errno.EPERM):
        # What a process has given up by itself is not looked at here.
        if os.access(path, os.R_OK):
            return (
                "this process has given up reading there, as it did not need it when it started; "
                "restart it"
            )
        return "this user may not read it"
    return f"it cannot be read: {error.strerror}"
