"""The tree that is written: folders, files and links below one folder of this machine.

Imports `client` and `wire`. All is done relative to held descriptors, each opened from the one
above it without following a link: whatever stands below the top cannot lead a write elsewhere.
The top itself may be reached through links.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Container
from contextlib import suppress
from typing import NamedTuple

from tcpdl.client.errors import CannotWrite
from tcpdl.client.target import RECORD_SUFFIX, SUFFIX
from tcpdl.wire.names import MAX_SEGMENT
from tcpdl.wire.text import printable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_ENDS_ALL = frozenset(
    (
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE),
    )
)

_TEMPORARY = ".tcpdl-"
_RANDOM = 8
_PART, _RECORD = SUFFIX.decode("ascii"), RECORD_SUFFIX.decode("ascii")

FILE_MODE = 0o600
"""Permissions that files get in any case, and folders with 0o100 as well: a later run must be able
to compare and replace them."""

FOLDER_MODE = 0o700


def is_left_over(name: str, beside: Container[str]) -> bool:
    """Whether a run that was interrupted may have left this name behind, among those `beside` it:
    that of a file that has not got its own yet; or of the record of one that has."""
    if name.endswith(_RECORD):
        part = name.removesuffix(_RECORD) + _PART
        return len(name) < MAX_SEGMENT and part not in beside
    random = name.removeprefix(_TEMPORARY).removesuffix(_PART)
    return (
        len(random) == _RANDOM
        and not random.strip("0123456789abcdef")
        and name == _TEMPORARY + random + _PART
    )


def ends_all(error: OSError) -> bool:
    """Whether `error` would be met with any other file as well."""
    return error.errno in _ENDS_ALL


def cannot_go_on(name: bytes, error: OSError | CannotWrite) -> CannotWrite:
    """That `error` was met with the file or folder `name`, and would be with any other."""
    why = error if isinstance(error, CannotWrite) else f"cannot write: {reason(error)}"
    return CannotWrite(f"{printable(name)}: {why}")


def reason(error: OSError) -> str:
    """`error` in words."""
    return os.strerror(error.errno or errno.EIO).lower()


def is_empty(folder: str | bytes) -> bool:
    """Whether there is nothing in `folder`, or no such folder. Raises `CannotWrite`."""
    try:
        with os.scandir(folder) as found:
            return next(found, None) is None
    except FileNotFoundError:
        return True
    except OSError as error:
        raise CannotWrite(f"{_shown(folder)}: {reason(error)}") from error


class LocalTree:
    """The folder into which a tree is written, held open. Use it as a context manager."""

    def __init__(self, folder: str | bytes, *, make: bool) -> None:
        """Open `folder`, which is made if that is wanted and needed.

        Without `make` nothing is changed, and an absent folder is none at all: `exists` is false.
        With it, no other process mirrors into the same folder meanwhile. Raises `CannotWrite`.
        """
        random = os.urandom(_RANDOM // 2).hex()
        self._temporary = (_TEMPORARY + random + _PART).encode("ascii")
        self._names: list[bytes] = []
        self._fds: list[int] = []
        self._modes: dict[int, bool] = {}
        self._modes_of = -1
        try:
            if make:
                os.makedirs(folder, exist_ok=True)
            self._fds.append(os.open(folder, _FOLDER))
            if make:
                self._lock(self._fds[0], folder)
        except FileNotFoundError as error:
            if make:
                raise CannotWrite(f"{_shown(folder)}: {reason(error)}") from error
        except OSError as error:
            self.close()
            raise CannotWrite(f"{_shown(folder)}: {reason(error)}") from error
        except BaseException:
            self.close()
            raise

    @property
    def exists(self) -> bool:
        return bool(self._fds)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())
        self._names.clear()

    def __enter__(self) -> LocalTree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def folder(self, name: bytes) -> int:
        """A descriptor of the folder called `name`, from the top; it stays ours.

        It is good until the next call. Raises `OSError`: also if there is a link on the way.
        """
        segments = name.split(b"/") if name else []
        names, fds = self._names, self._fds
        if names != segments:
            same = 0
            for one, other in zip(names, segments, strict=False):
                if one != other:
                    break
                same += 1
            for fd in fds[same + 1 :]:
                os.close(fd)
            del fds[same + 1 :], names[same:]
            for segment in segments[same:]:
                fds.append(os.open(segment, _FOLDER | os.O_NOFOLLOW, dir_fd=fds[-1]))
                names.append(segment)
            self._modes_of = -1
        return fds[-1]

    def write(self, fd: int, name: bytes, content: bytes, mode: int, mtime_ns: int) -> None:
        """Make the file `name` in the folder `fd`, whole and at once. Raises `OSError`.

        A file, a link or the like that has the name is replaced, never written through.
        """
        temporary = self._temporary
        mode |= FILE_MODE
        file = os.open(temporary, _FILE, mode, dir_fd=fd)
        try:
            try:
                written = os.write(file, content)
                while written < len(content):
                    written += os.write(file, content[written:])
                if self._is_altered(fd, file, mode):
                    os.fchmod(file, mode)
                os.utime(file, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(file)
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=fd)
            raise

    def link(self, fd: int, name: bytes, text: bytes) -> None:
        """Make the symbolic link `name` in the folder `fd`, as `write` does. Raises `OSError`."""
        os.symlink(text, self._temporary, dir_fd=fd)
        try:
            os.rename(self._temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(self._temporary, dir_fd=fd)
            raise

    def _is_altered(self, fd: int, file: int, mode: int) -> bool:
        """Whether the system makes a file in the folder `fd` with another mode than asked for.

        The umask and a folder's default ACL do. The system is asked once for each mode and folder.
        """
        if fd != self._modes_of:
            self._modes_of = fd
            self._modes = {}
        altered = self._modes.get(mode)
        if altered is None:
            altered = stat.S_IMODE(os.fstat(file).st_mode) != mode
            self._modes[mode] = altered
        return altered

    def _lock(self, fd: int, folder: str | bytes) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotWrite(f"{_shown(folder)}: another mirror is writing there") from None
        except OSError:
            pass  # a file system without locks; no two runs use the same temporary name


def settle(fd: int, mode: int, mtime_ns: int) -> bool:
    """Give the open file or folder `fd` its mode and time; return whether it had others.

    Raises `OSError`.
    """
    status = os.fstat(fd)
    changed = False
    if stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(fd, mode)
        changed = True
    if status.st_mtime_ns != mtime_ns:
        os.utime(fd, ns=(mtime_ns, mtime_ns))
        changed = True
    return changed


def open_file(fd: int, name: bytes) -> int:
    """A descriptor of the regular file `name` in the folder `fd`, to be read. Raises `OSError`."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a regular file")
    return file


DEEPEST = 400
"""Folders within each other that are removed: a descriptor is held for each."""


class Removal(NamedTuple):
    """How things are removed."""

    spare: Callable[[bytes, bool], bool]
    """Whether what has this name, from the top, is to be kept; and whether that is a folder."""
    told: Callable[[bytes], None]
    """Hears of everything that is removed, folders with a slash behind them."""
    really: bool = True
    """If not, only `told` hears of it."""

    def remove(self, fd: int, name: bytes, path: bytes, depth: int = 0) -> bool:
        """Remove what is called `name` in the folder `fd`, and `path` from the top; all of it.

        What is to be spared stays, with the folders it is in. No link is followed. Returns whether
        nothing is left. Raises `OSError`.
        """
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        is_folder = stat.S_ISDIR(status.st_mode)
        if self.spare(path, is_folder):
            return False
        if not is_folder:
            if self.really:
                os.unlink(name, dir_fd=fd)
            self.told(path)
            return True
        if depth == DEEPEST:
            raise OSError(errno.ENAMETOOLONG, "too many folders within each other")
        inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        try:
            empty = True
            for child in sorted(map(os.fsencode, os.listdir(inner))):
                empty &= self.remove(inner, child, path + b"/" + child, depth + 1)
        finally:
            os.close(inner)
        if empty:
            if self.really:
                os.rmdir(name, dir_fd=fd)
            self.told(path + b"/")
        return empty


def _shown(folder: str | bytes) -> str:
    return f"the folder {printable(os.fsencode(folder))}"
