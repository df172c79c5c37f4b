"""Compare files with those on a server, byte for byte, without fetching them.

Imports `wire`, `digest` and the modules beside it. The server sends digests of chunks, so what
differs is known to the chunk: ranges of 1 to 16 MiB.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from tcpdl import digest
from tcpdl.client.download import download
from tcpdl.client.errors import BadRequest, CannotWrite, Changed
from tcpdl.client.fetched import Fetched
from tcpdl.client.mirroring import Mirrored, mirror
from tcpdl.client.plan import Range
from tcpdl.client.session import Session, failure
from tcpdl.client.stock import account
from tcpdl.client.target import Target
from tcpdl.client.url import Location, split_link
from tcpdl.client.ways import Ways
from tcpdl.client.worker import nonsense
from tcpdl.wire.native import End, Error, FileInfo, GetDigests
from tcpdl.wire.text import printable


class Difference(NamedTuple):
    """A file that is not what it is on the server."""

    name: bytes
    """From the top of the tree; empty for the file that was asked for."""
    what: str
    """`missing` here, `differs`, or `only here`."""
    ranges: tuple[Range, ...] = ()
    """Where it differs, if it does: the first byte of each range, and the one after its last."""


class Verified(NamedTuple):
    """What a comparison came to."""

    differences: tuple[Difference, ...]
    left_out: tuple[tuple[bytes, str], ...] = ()
    """Names on the server that could not be compared, and why: the first thousand."""
    left_out_count: int = 0
    """All of them."""

    @property
    def same(self) -> bool:
        """Everything was compared, and what the server has is here, byte for byte."""
        different = any(one.what != "only here" for one in self.differences)
        return not different and not self.left_out_count


DEFAULT = Ways()


def verify(location: Location, path: str | bytes, ways: Ways = DEFAULT) -> Verified:
    """Compare the file or folder at `path` with the one at `location`.

    Times and permissions are not compared. Raises `BadRequest` if there is neither at `path`, and
    what the server's answers raise.
    """
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        shown = printable(os.fsencode(path))
        raise BadRequest(f"'{shown}': {os.strerror(error.errno or 0).lower()}") from None
    if not is_folder:
        ranges = tuple(differing(location, path, ways))
        return Verified((Difference(b"", "differs", ranges),) if ranges else ())
    told: list[tuple[str, bytes]] = []
    compared = mirror(
        location,
        path,
        ways,
        checksum=True,
        dry_run=True,
        delete=True,
        told=lambda what, name: told.append((what, name)),
    )
    return _of_tree(location, os.fsencode(path), ways, compared, told)


def repair(location: Location, path: str | bytes, ways: Ways = DEFAULT) -> Fetched | Mirrored:
    """Make the file or folder at `path` what it is at `location`; of files, fetch only what
    differs, in pieces of a chunk, or whole ones of up to 1 MiB.

    A file is replaced once all of it is right. What is only here stays. Raises what `download` and
    `mirror` raise.
    """
    if os.path.isdir(path):
        return mirror(location, path, ways, checksum=True)
    folder, name = os.path.split(os.path.realpath(os.fsencode(path)))
    with Target(folder, name, resume=True) as target:
        fetched = download(location, target, ways)
        if not fetched.unchanged:
            target.keep(mtime_ns=fetched.mtime_ns)
    return fetched


def differing(location: Location, path: str | bytes, ways: Ways = DEFAULT) -> Iterator[Range]:
    """The ranges in which the file at `path` is not the one at `location`, those that touch as one.

    What only one of them has differs. Raises `CannotWrite` if it cannot be read, and what the
    server's answers raise.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CannotWrite(f"cannot read it: {os.strerror(error.errno or 0).lower()}") from error
    try:
        here = os.fstat(fd).st_size
        with Session(location, ways) as session:
            yield from _merged(_differing(session, location, fd, here))
    finally:
        os.close(fd)


def _differing(session: Session, place: Location, fd: int, here: int) -> Iterator[Range]:
    name = place.path
    session.ask(lambda number: GetDigests(number, name, 0, 0))
    info = session.next()
    if isinstance(info, Error):
        raise failure(info, name)
    if not isinstance(info, FileInfo):
        raise nonsense(info)
    if not isinstance(last := session.next(), End):
        raise nonsense(last)
    shift, there = info.chunk_shift, info.size
    # A chunk that ends beyond what is here differs without being asked for.
    count = digest.chunk_count(there, shift) if here >= there else here >> shift
    if count:
        found = account(session, name, there, tag=info.tag, count=count)
        if found.info.tag != info.tag or len(found.digests) < count:
            raise Changed(f"'{place.label}' changed on the server")
        for index, expected in enumerate(found.digests):
            start, end = index << shift, min((index + 1) << shift, there)
            if _digest(session.algorithm, fd, start, end) != expected:
                yield start, end
    if count << shift < there:
        yield count << shift, there
    if here > there:
        yield there, here


def _digest(algorithm: int, fd: int, start: int, end: int) -> bytes:
    try:
        return digest.digest_of_range(algorithm, fd, start, end - start)
    except digest.FileEnded:
        return b""
    except OSError as error:
        raise CannotWrite(f"cannot read it: {os.strerror(error.errno or 0).lower()}") from error


def _merged(ranges: Iterator[Range]) -> Iterator[Range]:
    last: Range | None = None
    for start, end in ranges:
        if last is not None and last[1] == start:
            last = last[0], end
            continue
        if last is not None:
            yield last
        last = start, end
    if last is not None:
        yield last


def _of_tree(
    location: Location,
    folder: bytes,
    ways: Ways,
    compared: Mirrored,
    told: list[tuple[str, bytes]],
) -> Verified:
    found = []
    for what, name in told:
        if what == "delete":
            found.append(Difference(name, "only here"))
        elif what == "make":
            found.append(Difference(name, "missing"))
        elif what == "write":
            found.append(_of_file(location, folder, name, ways))
    return Verified(tuple(found), compared.left_out, compared.left_out_count)


def _of_file(location: Location, folder: bytes, name: bytes, ways: Ways) -> Difference:
    path = os.path.join(folder, name)
    try:
        regular = stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        regular = False
    if not regular:
        return Difference(name, "missing")
    top, link = split_link(location.path)
    there = b"/".join(part for part in (top.rstrip(b"/"), name) if part)
    ranges = tuple(differing(location._replace(path=there + link), path, ways))
    return Difference(name, "differs", ranges)
