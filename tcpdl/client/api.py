"""Fetch files in whatever dialect the server speaks: what the library and the command line share.

Imports `wire` and the modules beside it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tcpdl.client import raw
from tcpdl.client.download import Fetched, download
from tcpdl.client.errors import BadRequest, CannotConnect, ClientError, OtherDialect
from tcpdl.client.receiving import Progress, broken, receive_all, write_all
from tcpdl.client.stream import stream
from tcpdl.client.target import Target, local_name
from tcpdl.client.url import Location, parse_url
from tcpdl.wire.text import printable

if TYPE_CHECKING:
    from tcpdl.client.listing import Listed
    from tcpdl.client.mirroring import Mirrored

BYTES_MOST = 1024 * 1024 * 1024
"""Longest file that `fetch_bytes` takes, unless told otherwise."""


class Ways(NamedTuple):
    """How to fetch."""

    dialect: str = "auto"
    """`native`, `raw`, or `auto`: native, and raw if the server does not understand that."""
    timeout: float = 30.0
    """Longest wait for a connection, and for more bytes on it, in seconds."""
    connections: int = 8
    """The most to be used at once."""
    sources: Sequence[Location] = ()
    """Further servers of the same file."""
    sync: bool = False
    """Have the bytes on the disk before the file gets its name, and its name after."""
    progress: Progress | None = None
    """Is told of bytes received, as they are."""
    begun: Callable[[int, int], None] | None = None
    """Is told of the size of the file, and how much of it is there already."""
    note: Callable[[str], None] | None = None
    """Is told what a person may want to know: that a file changed, that bytes were damaged."""


def fetch(
    url: str,
    path: str | os.PathLike[str] | None = None,
    *,
    dialect: str = "auto",
    timeout: float = 30.0,
    connections: int = 8,
    sources: Sequence[str] = (),
    sync: bool = False,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Fetched:
    """Fetch the file at `url` to `path`, or to its own name in the working directory.

    It appears under its name only when it is complete and every byte was checked; what an earlier
    attempt left, or another program began, is continued. The other arguments are those of `Ways`;
    `sources` are URLs. Raises a `tcpdl.client.errors.ClientError`.
    """
    location = parse_url(url)
    if path is None:
        folder, name = b".", local_name(location.file_name)
    else:
        folder, name = os.path.split(os.path.realpath(os.fsencode(path)))
    places = tuple(map(parse_url, sources))
    ways = Ways(_known(dialect), timeout, connections, places, sync, progress=progress, note=note)
    return fetch_to(location, folder, name, ways)


def fetch_bytes(
    url: str,
    *,
    dialect: str = "auto",
    timeout: float = 30.0,
    most: int = BYTES_MOST,
) -> bytes:
    """The bytes of the file at `url`, checked.

    Raises `BadRequest` if there are more than `most`, and what `fetch` raises.
    """
    location = parse_url(url)
    parts: list[bytes] = []

    def check(size: int, _there: int) -> None:
        if size > most:
            raise BadRequest(f"'{printable(location.path)}' has more than {most} bytes")

    def take(data: bytes) -> None:
        parts.append(data)
        check(sum(map(len, parts)), 0)

    if _known(dialect) != "raw":
        try:
            stream(location, take, timeout=timeout, begun=check)
            return b"".join(parts)
        except OtherDialect:
            if dialect == "native":
                raise
    with raw.request(location, timeout) as sock:
        try:
            while data := sock.recv(256 * 1024):
                take(data)
        except OSError as error:
            raise broken(error, sum(map(len, parts))) from error
    return b"".join(parts)


def mirror(
    url: str,
    folder: str | os.PathLike[str],
    *,
    delete: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    dry_run: bool = False,
    checksum: bool = False,
    links: bool = False,
    timeout: float = 30.0,
    connections: int = 8,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Mirrored:
    """Make `folder` hold what the folder at `url` does.

    `include` are tried before `exclude`. For the rest, and what is raised, see
    `tcpdl.client.mirroring.mirror`.
    """
    from tcpdl.client.filters import Rule
    from tcpdl.client.mirroring import mirror as mirror_at

    rules = [Rule(True, pattern) for pattern in include]
    rules += [Rule(False, pattern) for pattern in exclude]
    return mirror_at(
        parse_url(url),
        os.fsencode(folder),
        delete=delete,
        rules=rules,
        dry_run=dry_run,
        checksum=checksum,
        links=links,
        timeout=timeout,
        connections=connections,
        progress=progress,
        note=note,
    )


def listdir(url: str, *, recursive: bool = False, timeout: float = 30.0) -> list[Listed]:
    """What is in the folder at `url`; with `recursive`, in those below as well.

    Of a file, that file alone. Raises what `tcpdl.client.listing.iterdir` raises.
    """
    from tcpdl.client.listing import listdir as listdir_at

    return listdir_at(parse_url(url), recursive=recursive, timeout=timeout)


def fetch_to(location: Location, folder: str | bytes, name: bytes, ways: Ways) -> Fetched:
    """Fetch the file at `location` as `name` in `folder`, which is made if need be.

    Raises what `client.download.download` raises.
    """
    if ways.dialect != "raw":
        try:
            with Target(folder, name, resume=True) as target:
                try:
                    fetched = download(
                        location,
                        target,
                        timeout=ways.timeout,
                        connections=ways.connections,
                        sources=ways.sources,
                        progress=ways.progress,
                        note=ways.note,
                        begun=ways.begun,
                    )
                except ClientError as error:
                    raise _with_part(error, target) from error
                if not fetched.unchanged:
                    target.keep(mtime_ns=fetched.mtime_ns, sync=ways.sync)
            return fetched
        except OtherDialect as problem:
            _fall_back(location, ways, problem)
    began = time.monotonic()
    # Only an answer makes a file, and only an answer replaces what an earlier one left.
    with _request_raw(location, ways) as sock, Target(folder, name) as target:
        try:
            size = receive_all(sock, target.fd, ways.progress or _quiet)
        except ClientError as error:
            raise _with_part(error, target) from error
        target.keep(sync=ways.sync)
    return _unchecked(size, began)


def fetch_stream(location: Location, out: int, ways: Ways) -> Fetched:
    """Write the file at `location` to the descriptor `out`, in order, each chunk once checked."""
    began = time.monotonic()
    if ways.dialect != "raw":
        try:
            return stream(
                location,
                lambda data: write_all(out, data),
                timeout=ways.timeout,
                progress=ways.progress,
                note=ways.note,
                begun=ways.begun,
            )
        except OtherDialect as problem:
            _fall_back(location, ways, problem)
    with _request_raw(location, ways) as sock:
        return _unchecked(receive_all(sock, out, ways.progress or _quiet), began)


def _fall_back(location: Location, ways: Ways, problem: OtherDialect) -> None:
    if ways.dialect == "native":
        raise problem
    if ways.note is not None:
        ways.note(f"{location.server} speaks the raw dialect only: nothing can be checked")


def _request_raw(location: Location, ways: Ways) -> socket.socket:
    try:
        return raw.request(location, ways.timeout)
    except CannotConnect as error:
        if ways.dialect == "raw":
            raise
        raise CannotConnect(
            f"{error}. It was there a moment ago: if it serves one connection only, "
            "ask it with --dialect raw"
        ) from None


def _unchecked(size: int, began: float) -> Fetched:
    seconds = time.monotonic() - began
    return Fetched(size, 0, 0, received=size, seconds=seconds, verified=False)


def _with_part(error: ClientError, target: Target) -> ClientError:
    if target.is_empty or isinstance(error, OtherDialect):
        return error
    return type(error)(f"{error}; what came is kept in '{target.part}'")


def _known(dialect: str) -> str:
    if dialect not in ("auto", "native", "raw"):
        raise BadRequest(f"{dialect!r} is no dialect; choose auto, native or raw")
    return dialect


def _quiet(count: int) -> None:
    """Show no progress."""
