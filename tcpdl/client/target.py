"""Where a download is put: beside its final name until it is complete.

Imports `client` and `wire`. A file appears under its name only whole. Until then it is written
to `NAME.tcpdl-part` in the same folder, which one process at a time holds locked.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from contextlib import suppress

from tcpdl.client.errors import BadRequest, CannotWrite
from tcpdl.client.receiving import cannot_write
from tcpdl.wire.names import MAX_SEGMENT
from tcpdl.wire.text import printable

SUFFIX = b".tcpdl-part"

_PART = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def local_name(name: bytes) -> bytes:
    """`name`, which came from a URL or a server, if it may name a file of ours.

    Raises `BadRequest` for one that is empty, `.`, `..`, longer than a file system takes, holds
    `/` or NUL, or holds what a terminal would not show as itself.
    """
    if name in (b"", b".", b".."):
        raise BadRequest("the URL names no file; end it with one, or say where to put it with -o")
    text = name.decode("utf-8", "surrogateescape")
    if b"/" in name or not text.isprintable():
        raise BadRequest(f"'{printable(name)}' is no name for a file here; choose one with -o")
    if len(name) > MAX_SEGMENT:
        raise BadRequest(f"the name has {len(name)} bytes; choose a shorter one with -o")
    if name.endswith(SUFFIX):
        raise BadRequest(f"'{printable(name)}' is what a part is called; choose a name with -o")
    return name


def part_name(name: bytes) -> bytes:
    """What a file is called until it is complete."""
    if len(name) + len(SUFFIX) <= MAX_SEGMENT:
        return name + SUFFIX
    digest = hashlib.sha256(name).hexdigest()[:16].encode("ascii")
    return name[: MAX_SEGMENT - len(SUFFIX) - 17] + b"-" + digest + SUFFIX


class Target:
    """A file that is being downloaded into a folder.

    Use it as a context manager: `keep` gives the file its name; if the block ends without that,
    what was written stays behind under its part name, and nothing does if nothing was written.
    """

    fd: int
    """Where to write."""

    def __init__(self, folder: str | bytes, name: bytes) -> None:
        """Begin the file `name` in `folder`, which is made if need be. Raises `CannotWrite`.

        What an earlier download left under the part name is thrown away.
        """
        self._name = name
        self._part = part_name(name)
        try:
            os.makedirs(folder, exist_ok=True)
            self._folder = os.open(folder, _FOLDER)
        except OSError as error:
            raise CannotWrite(
                f"the folder {printable(os.fsencode(folder))}: {os.strerror(error.errno or 0)}"
            ) from error
        try:
            self._refuse_folder()
            self.fd = self._open_part()
        except BaseException:
            os.close(self._folder)
            raise
        try:
            os.ftruncate(self.fd, 0)
        except OSError as error:
            os.close(self.fd)
            os.close(self._folder)
            raise cannot_write(error) from error

    @property
    def part(self) -> str:
        """The part file's name, fit to be shown."""
        return printable(self._part)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written so far."""
        return os.fstat(self.fd).st_size == 0

    def keep(self) -> None:
        """The file is complete: give it its name, and the mode of the file it replaces, if any.

        Raises `CannotWrite`.
        """
        try:
            if not self._is_ours():
                raise CannotWrite(f"'{self.part}' was taken away while it was written")
            with suppress(FileNotFoundError):
                old = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
                if stat.S_ISREG(old.st_mode):
                    os.fchmod(self.fd, stat.S_IMODE(old.st_mode) & 0o777)
            os.rename(self._part, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            raise cannot_write(error) from error
        self._part = b""

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        if self._part and self.is_empty and self._is_ours():
            os.unlink(self._part, dir_fd=self._folder)
        os.close(self.fd)
        os.close(self._folder)

    def _refuse_folder(self) -> None:
        try:
            status = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return  # it is absent, or whatever it is will be met again
        if stat.S_ISDIR(status.st_mode):
            raise CannotWrite(f"'{printable(self._name)}' is a folder here; choose a name with -o")

    def _open_part(self) -> int:
        while True:
            try:
                fd = os.open(self._part, _PART, 0o666, dir_fd=self._folder)
            except OSError as error:
                raise self._problem(error) from error
            try:
                if self._lock(fd):
                    return fd
            except OSError as error:
                os.close(fd)
                raise self._problem(error) from error
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _lock(self, fd: int) -> bool:
        """Lock the part file; false if another process has given it its final name meanwhile."""
        opened = os.fstat(fd)
        if not stat.S_ISREG(opened.st_mode):
            raise CannotWrite(f"'{self.part}' is in the way: it is not a regular file")
        if opened.st_nlink > 1 or opened.st_uid != os.geteuid():
            # Writing it would change another file, or leave ours in another user's hands.
            raise CannotWrite(f"'{self.part}' is in the way: it is not only yours; remove it")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotWrite(f"another download is writing '{self.part}'") from None
        return self._is_named(opened)

    def _is_ours(self) -> bool:
        """Whether the part file is still the one that is being written."""
        return self._is_named(os.fstat(self.fd))

    def _is_named(self, opened: os.stat_result) -> bool:
        try:
            named = os.stat(self._part, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(opened, named)

    def _problem(self, error: OSError) -> CannotWrite:
        if error.errno == errno.ELOOP:
            return CannotWrite(f"'{self.part}' is in the way: it is a symbolic link")
        return CannotWrite(f"'{self.part}': {os.strerror(error.errno or 0).lower()}")
