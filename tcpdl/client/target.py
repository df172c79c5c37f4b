"""Where a download is put: beside its final name until it is complete.

Imports `client` and `wire`. A file appears under its name only whole. Until then it is written
to `NAME.tcpdl-part` in the same folder, which one process at a time holds locked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import NamedTuple

from tcpdl.client.errors import BadRequest, CannotWrite
from tcpdl.client.receiving import cannot_write
from tcpdl.wire.names import MAX_SEGMENT
from tcpdl.wire.text import printable

SUFFIX = b".tcpdl-part"

RECORD_SUFFIX = b".tcpdl-record"
"""What the record of a part is called, which `client.record` writes."""

ANEW = b".tcpdl-new"
"""What stands between the name and the suffix where a new version is begun beside a part."""

_PART = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FINAL = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
    if name.endswith((SUFFIX, RECORD_SUFFIX)):
        raise BadRequest(f"'{printable(name)}' is what a part is called; choose a name with -o")
    return name


def part_name(name: bytes, suffix: bytes = SUFFIX) -> bytes:
    """What a file is called until it is complete; or, by another suffix, its record."""
    if len(name) + len(suffix) <= MAX_SEGMENT:
        return name + suffix
    import hashlib  # it takes a while to import, and names are seldom so long

    digest = hashlib.sha256(name).hexdigest()[:16].encode("ascii")
    return name[: MAX_SEGMENT - len(suffix) - 17] + b"-" + digest + suffix


class Target:
    """A file that is being downloaded into a folder.

    Use it as a context manager: `keep` gives the file its name; if the block ends without that,
    what was written stays behind under its part name, and nothing does if nothing was written.
    """

    fd: int
    """Where to write."""

    def __init__(self, folder: str | bytes | int, name: bytes, *, resume: bool = False) -> None:
        """Begin the file `name` in `folder`, which is made if need be, or an open descriptor.

        What an earlier download left under the part name is thrown away, unless it is to
        `resume`. Raises `CannotWrite`.
        """
        self.name = name
        self._part = part_name(name)
        self._record = part_name(name, RECORD_SUFFIX)
        self._begun: _Slot | None = None  # what was begun before, while another is written
        self.folder = _open_folder(folder)
        try:
            self._refuse_folder()
            self.fd = self._open_part()
        except BaseException:
            os.close(self.folder)
            raise
        try:
            self._was_begun = not self.is_empty
            if not resume:
                os.ftruncate(self.fd, 0)
                self.forget()
        except OSError as error:
            os.close(self.fd)
            os.close(self.folder)
            raise cannot_write(error) from error

    @property
    def part(self) -> str:
        """The part file's name, fit to be shown."""
        return printable(self._part)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written so far."""
        return os.fstat(self.fd).st_size == 0

    @property
    def is_new(self) -> bool:
        """Whether there is nothing at all: neither a part nor a file with the final name."""
        try:
            os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except OSError:
            return self.is_empty
        return False

    @property
    def allocated(self) -> int:
        """Bytes of the disk that the part takes, and what has the final name."""
        total = os.fstat(self.fd).st_blocks
        with suppress(OSError):
            total += os.stat(self.name, dir_fd=self.folder, follow_symlinks=False).st_blocks
        return 512 * total

    @property
    def has_record(self) -> bool:
        """Whether a download of this kind was begun, and broken off."""
        try:
            os.stat(self._record, dir_fd=self.folder, follow_symlinks=False)
        except OSError:
            return False
        return not self.is_empty

    def open_record(self) -> int:
        """A descriptor of the part's record, made if it is not there. Raises `CannotWrite`."""
        try:
            fd = os.open(self._record, _PART, 0o666, dir_fd=self.folder)
        except OSError as error:
            raise _problem(self._record, error) from error
        try:
            self._check_ours(os.fstat(fd), self._record)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def open_final(self) -> int | None:
        """A descriptor to read what has the final name, if that is a regular file."""
        try:
            fd = os.open(self.name, _FINAL, dir_fd=self.folder)
        except OSError:
            return None
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        return None

    def forget(self) -> None:
        """Remove the record, if there is one. Raises `OSError`."""
        with suppress(FileNotFoundError):
            os.unlink(self._record, dir_fd=self.folder)

    def begin_anew(self) -> None:
        """Go on with another part, of a new version. The one that was begun, and its record, stay
        as they are until the file is complete: it may be that one after all. Raises
        `CannotWrite`."""
        assert self._begun is None
        self._begun = begun = _Slot(self.fd, self._part, self._record)
        self._part = part_name(self.name + ANEW)
        self._record = part_name(self.name + ANEW, RECORD_SUFFIX)
        try:
            self.fd = self._open_part()
        except BaseException:
            self._begun = None
            self.fd, self._part, self._record = begun
            raise

    def go_back(self) -> None:
        """Go on with the part that was begun at first."""
        if self._begun is not None:
            self._clean_up()
            os.close(self.fd)
            (self.fd, self._part, self._record), self._begun = self._begun, None

    def discard(self) -> None:
        """Throw away what was written, and its record. Raises `CannotWrite`."""
        try:
            os.ftruncate(self.fd, 0)
            self.forget()
        except OSError as error:
            raise cannot_write(error) from error

    def adopt(self) -> bool:
        """Go on with the file that has the final name, in place of an empty part.

        Only for one that is but the beginning of what it will be. False, and nothing is changed,
        if it is not ours alone. Raises `CannotWrite`.
        """
        try:
            fd = os.open(self.name, _PART & ~os.O_CREAT, dir_fd=self.folder)
        except OSError:
            return False
        try:
            opened = os.fstat(fd)
            self._check_ours(opened, self.name)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(self.name, self._part, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except (CannotWrite, OSError):
            os.close(fd)
            return False
        os.close(self.fd)
        self.fd = fd
        return True

    def keep(
        self, *, mtime_ns: int | None = None, mode: int | None = None, sync: bool = False
    ) -> None:
        """The file is complete: give it its name.

        It gets `mode`, or that of the file it replaces, if any; and `mtime_ns`, if given. With
        `sync`, its bytes are on the disk before, and its name is after. Raises `CannotWrite`.
        """
        try:
            if not self._is_ours():
                raise CannotWrite(f"'{self.part}' was taken away while it was written")
            if mode is None:
                with suppress(FileNotFoundError):
                    old = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
                    if stat.S_ISREG(old.st_mode):
                        mode = stat.S_IMODE(old.st_mode) & 0o777
            if mode is not None:
                os.fchmod(self.fd, mode)
            if mtime_ns is not None:
                os.utime(self.fd, ns=(mtime_ns, mtime_ns))
            if sync:
                os.fsync(self.fd)
            os.rename(self._part, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
            others = self._others()
            self._part = b""
            self._remove(others)
            if sync:
                os.fsync(self.folder)
        except OSError as error:
            raise cannot_write(error) from error

    def drop(self) -> None:
        """The file has its name already, complete: what was begun is of no use. Raises
        `CannotWrite`."""
        try:
            if self._begun is not None:
                self._remove(self._others())
        except OSError as error:
            raise cannot_write(error) from error

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self._clean_up()
        os.close(self.fd)
        if self._begun is not None:
            os.close(self._begun.fd)
        os.close(self.folder)

    def _clean_up(self) -> None:
        """Remove the part if nothing was written, and its record."""
        if self._part and self.is_empty and self._is_ours():
            os.unlink(self._part, dir_fd=self.folder)
            with suppress(OSError):
                self.forget()

    def _remove(self, names: list[bytes]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.folder)

    def _others(self) -> list[bytes]:
        """What else was written, and is of no more use once the file has its name."""
        if self._begun is not None:
            return [self._record, self._begun.record, self._begun.part]
        if not self._was_begun:
            return [self._record]
        new = self.name + ANEW
        return [self._record, part_name(new), part_name(new, RECORD_SUFFIX)]

    def _refuse_folder(self) -> None:
        try:
            status = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except OSError:
            return  # it is absent, or whatever it is will be met again
        if stat.S_ISDIR(status.st_mode):
            raise CannotWrite(f"'{printable(self.name)}' is a folder here; choose a name with -o")

    def _open_part(self) -> int:
        while True:
            try:
                fd = os.open(self._part, _PART, 0o666, dir_fd=self.folder)
            except OSError as error:
                raise _problem(self._part, error) from error
            try:
                if self._lock(fd):
                    return fd
            except OSError as error:
                os.close(fd)
                raise _problem(self._part, error) from error
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _lock(self, fd: int) -> bool:
        """Lock the part file; false if another process has given it its final name meanwhile."""
        opened = os.fstat(fd)
        self._check_ours(opened, self._part)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotWrite(f"another download is writing '{self.part}'") from None
        return self._is_named(opened)

    def _check_ours(self, opened: os.stat_result, name: bytes) -> None:
        shown = printable(name)
        if not stat.S_ISREG(opened.st_mode):
            raise CannotWrite(f"'{shown}' is in the way: it is not a regular file")
        if opened.st_nlink > 1 or opened.st_uid != os.geteuid():
            # Writing it would change another file, or leave ours in another user's hands.
            raise CannotWrite(f"'{shown}' is in the way: it is not only yours; remove it")

    def _is_ours(self) -> bool:
        """Whether the part file is still the one that is being written."""
        return self._is_named(os.fstat(self.fd))

    def _is_named(self, opened: os.stat_result) -> bool:
        try:
            named = os.stat(self._part, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(opened, named)


class _Slot(NamedTuple):
    """A part, open, and the names of it and its record."""

    fd: int
    part: bytes
    record: bytes


def _problem(name: bytes, error: OSError) -> CannotWrite:
    """`error`, met while the file `name` was opened, in words."""
    if error.errno == errno.ELOOP:
        return CannotWrite(f"'{printable(name)}' is in the way: it is a symbolic link")
    return CannotWrite(f"'{printable(name)}': {os.strerror(error.errno or 0).lower()}")


def _open_folder(folder: str | bytes | int) -> int:
    try:
        if isinstance(folder, int):
            return fcntl.fcntl(folder, fcntl.F_DUPFD_CLOEXEC, 0)
        os.makedirs(folder, exist_ok=True)
        return os.open(folder, _FOLDER)
    except OSError as error:
        shown = "" if isinstance(folder, int) else f" {printable(os.fsencode(folder))}"
        raise CannotWrite(f"the folder{shown}: {os.strerror(error.errno or 0)}") from error
