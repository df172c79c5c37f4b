"""What every kind of content offers: files, folders, and what is in them.

Imports `tcpdl.wire`, `tcpdl.access` and the errors beside it. `Source` is what the server sees; a
folder of this machine stands behind it in `content.directory`, and something else may.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

from tcpdl.access.rules import Level
from tcpdl.content.errors import NotServed
from tcpdl.content.open_files import OpenFiles
from tcpdl.wire.names import Name
from tcpdl.wire.native import ANY_TAG, MAX_SIZE, TAG_SIZE
from tcpdl.wire.pack import FOLDER, LISTED, Entry

SETTLED_NS = 2 * 10**9
"""For so long after a change, another one may bear the same stamps: FAT counts in two seconds, and
others stamp with the time of the last tick. What git calls a racy file."""


Segments = tuple[bytes, ...]


class Identity(NamedTuple):
    """What the system tells of a file that changes whenever its bytes do."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def packed(self) -> bytes:
        """All of it, in bytes: different for different values."""
        # Stamps may be negative, and on some file systems go beyond 64 bits.
        return b"".join(number.to_bytes(16, "big", signed=True) for number in self)

    @property
    def tag(self) -> bytes:
        """What the identity is on the wire: it tells a client nothing else."""
        tag = sha256(self.packed()).digest()[:TAG_SIZE]
        return tag if tag != ANY_TAG else b"\1" * TAG_SIZE


class File(NamedTuple):
    """An open regular file. Whoever holds it closes it."""

    fd: int
    size: int
    """Bytes it had when it was opened: what is promised to the client."""
    mtime_ns: int
    """Within what the wire can express."""
    mode: int
    """The permission bits: 0 to 0o777."""
    identity: Identity
    settled: bool
    """No change since it was opened can leave its identity as it is. While false, what was found
    out about its bytes must not be kept."""
    among: OpenFiles | None = None
    """Those that it is counted with."""

    def still_same(self) -> bool:
        """Whether it is as it was when it was opened."""
        return identity_of(os.fstat(self.fd)) == self.identity

    def written_over(self) -> bool:
        """Whether what was read of it since it was opened may be of two versions.

        One that has only become longer is not taken for such: most of those are appended to. Nor is
        one that was replaced, removed, or given to somebody else: its bytes are what they were.
        """
        status = os.fstat(self.fd)
        return status.st_mtime_ns != self.identity.mtime_ns and status.st_size <= self.size

    def duplicate(self) -> File:
        """The same by another descriptor. Raises `OSError` if there is none left."""
        fd = os.dup(self.fd)
        return self._replace(fd=fd if self.among is None else self.among.add(fd))

    def close(self) -> None:
        if self.among is None:
            os.close(self.fd)
        else:
            self.among.close(self.fd)


class Rights(Protocol):
    """What somebody may do with what there is, by the segments of names from the root.

    A source that is given rights holds to them by the name that is asked for, and by each place
    that it leads to: what they do not allow is answered with `refusal`, before anybody has looked
    whether it is there. `Level.LIST` lets names, sizes and times be told, and no content; what may
    not even be listed is passed over. `content.guarded.Guarded` hands them to a source.
    """

    def level(self, segments: Segments) -> Level:
        """What may be done with what is there."""
        ...

    def within(self, folder: Segments) -> Callable[[bytes], Level]:
        """The same for all that is directly in a folder, by name."""
        ...

    def refusal(self) -> NotServed:
        """What to raise when something is asked for that may not be had."""
        ...


class Source(Protocol):
    """What can be downloaded.

    All methods may wait for a disk, and may be called from any thread. Those that return an
    iterator raise when they are called; the iterator itself never raises, whatever becomes of the
    content meanwhile: what cannot be handed out comes as an entry `LEFT_OUT`, with a sentence.
    An iterator that is not used up should be closed, since it may hold a descriptor.
    """

    @property
    def hidden(self) -> bool:
        """Whether names that begin with a dot are served. It may change."""
        ...

    def open_file(self, name: Name) -> File:
        """Open the file called `name`. Raises a subclass of `NotServed`."""
        ...

    def identify(self, name: Name) -> Identity:
        """What `open_file` would give as the file's identity, without opening it.

        It does not say that it can be read. Raises a subclass of `NotServed`.
        """
        ...

    def stat(self, name: Name) -> Entry:
        """What has this name: an entry `LISTED` or `FOLDER`, itself without a name.

        Nothing is opened: a file that cannot be read is found all the same. Raises a subclass of
        `NotServed`.
        """
        ...

    def list(self, name: Name) -> Iterator[Entry]:
        """What is directly in the folder called `name`, sorted. Raises a subclass of `NotServed`:
        `NotAFolder` if a file has the name."""
        ...

    def walk(
        self,
        name: Name,
        *,
        recursive: bool,
        content_most: int,
        wanted: Callable[[], bool] | None = None,
    ) -> Iterator[Entry]:
        """What is in the folder called `name`; with `recursive`, in all folders below as well.

        The entries of one folder stand together, sorted, those of its subfolders themselves among
        them; then comes what is in these. Names are relative to the folder. Files of at most
        `content_most` bytes come with their content; with -1, no file is opened. `wanted` is asked
        before each file is read: if it says no, the file comes as if it had been. A folder that
        cannot be read, or not to its end, has an entry `LEFT_OUT` after its own. Raises as `list`
        does.
        """
        ...

    def pick(self, name: Name, names: Sequence[bytes], *, content_most: int) -> Iterator[Entry]:
        """The files called `names`, relative to the folder called `name`, in that order.

        As `walk` has them, but found as `open_file` finds them, through links. An entry has the
        name that was asked for; of one that is too long to be a name at all, the beginning.
        Raises as `list` does.
        """
        ...


def file_of(fd: int, status: os.stat_result, among: OpenFiles | None = None) -> File:
    """The regular file that was just opened as `fd`, and has the `status`; to be counted `among`
    others."""
    if among is not None:
        among.add(fd)
    identity = identity_of(status)
    settled = max(status.st_mtime_ns, status.st_ctime_ns) < time.time_ns() - SETTLED_NS
    mtime_ns = _expressible(status.st_mtime_ns)
    mode = status.st_mode & 0o777
    return File(fd, status.st_size, mtime_ns, mode, identity, settled, among)


def identity_of(status: os.stat_result) -> Identity:
    # It is done for each request, and a call of `Identity` would take twice as long.
    return tuple.__new__(
        Identity,
        (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
    )


def file_entry(
    name: bytes, status: os.stat_result, kind: int = LISTED, content: bytes = b""
) -> Entry:
    """The entry of a regular file."""
    mtime_ns = status.st_mtime_ns
    if not -MAX_SIZE <= mtime_ns <= MAX_SIZE:
        mtime_ns = _expressible(mtime_ns)
    # A folder may have very many files, and this is half the time of the call.
    return Entry._make((kind, name, status.st_mode & 0o777, status.st_size, mtime_ns, content))


def folder_entry(name: bytes, status: os.stat_result) -> Entry:
    return Entry(FOLDER, name, status.st_mode & 0o777, 0, _expressible(status.st_mtime_ns))


def _expressible(mtime_ns: int) -> int:
    """The nearest stamp that the wire can express: anyone may set one of the year 9999."""
    return (
        mtime_ns if -MAX_SIZE <= mtime_ns <= MAX_SIZE else max(-MAX_SIZE, min(mtime_ns, MAX_SIZE))
    )
