"""Fetch files in whatever dialect the server speaks: what the library and the command line share.

Imports `wire` and the modules beside it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tcpdl.client.access import Access
from tcpdl.client.download import download
from tcpdl.client.errors import (
    BadRequest,
    CannotConnect,
    ClientError,
    ConnectionBroken,
    Damaged,
    NoRoom,
    OtherDialect,
    SpeaksHttp,
    TooLarge,
)
from tcpdl.client.expected import Check, Expected, check_file, parse_expected
from tcpdl.client.fetched import Fetched, Note, say_nothing, show_nothing
from tcpdl.client.raw import Reply
from tcpdl.client.receiving import Progress, write_all
from tcpdl.client.size import Watch
from tcpdl.client.stream import stream
from tcpdl.client.target import Target, local_name
from tcpdl.client.url import Location, over_http, parse_native, parse_url
from tcpdl.client.ways import NOBODY, Ways
from tcpdl.wire.text import printable

if TYPE_CHECKING:
    from tcpdl.client.listing import Listed
    from tcpdl.client.mirroring import Mirrored

DIALECTS = ("auto", "native", "http", "raw")
"""What can be spoken, and the choice of it by URL and answer."""

BYTES_MOST = 1024 * 1024 * 1024
"""Longest file that `fetch_bytes` takes, unless told otherwise."""


def fetch(
    url: str,
    path: str | os.PathLike[str] | None = None,
    *,
    dialect: str = "auto",
    timeout: float = 30.0,
    connections: int = 8,
    sources: Sequence[str] = (),
    sync: bool = False,
    digest: str | None = None,
    most: int | None = None,
    access: Access = NOBODY,
    progress: Progress = show_nothing,
    note: Note = say_nothing,
) -> Fetched:
    """Fetch the file at `url` to `path`, or to its own name in the working directory.

    It appears under its name only when it is complete and every byte was checked, as far as the
    dialect allows; what an earlier attempt left, or another program began, is continued. `digest`
    is what that of the whole file has to be, as `sha256:HEX`, `sha512:HEX` or `blake3:HEX`. The
    other arguments are those of `Ways`; `sources` are URLs. Raises a
    `tcpdl.client.errors.ClientError`.
    """
    location = parse_url(url)
    if path is None:
        folder, name = b".", local_name(location.file_name)
    else:
        folder, name = os.path.split(os.path.realpath(os.fsencode(path)))
    places = tuple(map(parse_url, sources))
    ways = Ways(
        dialect=_known(dialect),
        timeout=timeout,
        connections=connections,
        sources=places,
        sync=sync,
        expected=_expected(digest),
        most=most,
        access=access,
        progress=progress,
        note=note,
    )
    access.name(location, *places)
    return fetch_to(location, folder, name, ways)


def fetch_bytes(
    url: str,
    *,
    dialect: str = "auto",
    timeout: float = 30.0,
    most: int = BYTES_MOST,
    digest: str | None = None,
    access: Access = NOBODY,
) -> bytes:
    """The bytes of the file at `url`, checked as `fetch` checks them.

    Raises `TooLarge` if there are more than `most`, and what `fetch` raises.
    """
    location = parse_url(url)
    access.name(location)
    data = bytearray()
    ways = Ways(
        dialect=_known(dialect),
        timeout=timeout,
        most=most,
        expected=_expected(digest),
        access=access,
    )
    _stream(location, data.extend, ways)
    return bytes(data)


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
    most: int | None = None,
    access: Access = NOBODY,
    progress: Progress = show_nothing,
    note: Note = say_nothing,
) -> Mirrored:
    """Make `folder` hold what the folder at `url` does.

    `include` are tried before `exclude`. For the rest, and what is raised, see `Ways` and
    `tcpdl.client.mirroring.mirror`.
    """
    from tcpdl.client.filters import Rule
    from tcpdl.client.mirroring import mirror as mirror_at

    rules = [Rule(True, pattern) for pattern in include]
    rules += [Rule(False, pattern) for pattern in exclude]
    location = parse_native(url, "mirror")
    access.name(location)
    return mirror_at(
        location,
        os.fsencode(folder),
        Ways(
            timeout=timeout,
            connections=connections,
            most=most,
            access=access,
            progress=progress,
            note=note,
        ),
        delete=delete,
        rules=rules,
        dry_run=dry_run,
        checksum=checksum,
        links=links,
    )


def listdir(
    url: str, *, recursive: bool = False, timeout: float = 30.0, access: Access = NOBODY
) -> list[Listed]:
    """What is in the folder at `url`; with `recursive`, in those below as well.

    Of a file, that file alone. Raises what `tcpdl.client.listing.iterdir` raises.
    """
    from tcpdl.client.listing import listdir as listdir_at

    location = parse_native(url, "listdir")
    access.name(location)
    return listdir_at(location, Ways(timeout=timeout, access=access), recursive=recursive)


def fetch_to(location: Location, folder: str | bytes, name: bytes, ways: Ways) -> Fetched:
    """Fetch the file at `location` as `name` in `folder`, which is made if need be.

    Raises what `client.download.download` raises.
    """
    if is_http(location, ways):
        return _fetch_http(over_http(location), folder, name, ways)
    if ways.dialect != "raw":
        try:
            with Target(folder, name, resume=True) as target:
                try:
                    fetched = download(location, target, ways)
                    _check(target, fetched, ways, vouched=True)
                except ClientError as error:
                    raise _with_part(error, target) from error
                if not fetched.unchanged:
                    target.keep(mtime_ns=fetched.mtime_ns, sync=ways.sync)
            return fetched
        except SpeaksHttp as problem:
            _fall_back_to_http(location, ways, problem)
            return _fetch_http(over_http(location), folder, name, ways)
        except OtherDialect as problem:
            _fall_back(location, ways, problem)
    began = time.monotonic()
    # Only an answer makes a file, and only an answer replaces what an earlier one left.
    with _request_raw(location, ways) as reply, Target(folder, name) as target:
        try:
            size = reply.copy(target.fd, Watch(ways.progress, ways.most, target.fd))
            fetched = _of_raw(size, began, ways)
            _check(target, fetched, ways, vouched=False)
            if not ways.expected:
                _refuse_shorter(target, size)
        except (TooLarge, NoRoom):
            target.discard()  # the next attempt could use none of it
            raise
        except ClientError as error:
            raise _with_part(error, target) from error
        target.keep(sync=ways.sync)
    return fetched


def fetch_stream(location: Location, out: int, ways: Ways) -> Fetched:
    """Write the file at `location` to the descriptor `out`, in order; in the native dialect, each
    chunk once checked.

    A digest that is `expected` can only be compared at the end: `Damaged` is raised then, after all
    was written.
    """
    return _stream(location, lambda data: write_all(out, data), ways, out)


def _stream(
    location: Location, write: Callable[[bytes], object], ways: Ways, out: int | None = None
) -> Fetched:
    """Give the file at `location` to `write`, in whatever dialect; `out` is what that writes to, if
    it is a descriptor."""
    if is_http(location, ways):
        return _stream_http(over_http(location), write, ways)
    check = Check(ways.expected)

    def take(data: bytes) -> None:
        check.update(data)
        write(data)

    began = time.monotonic()
    try:
        fetched = _stream_native(location, take, ways) if ways.dialect != "raw" else None
    except SpeaksHttp as problem:
        _fall_back_to_http(location, ways, problem)
        return _stream_http(over_http(location), write, ways)
    if fetched is None:
        with _request_raw(location, ways) as reply:
            watch = Watch(ways.progress, ways.most, None)
            if out is not None and not check:  # nothing in this process needs to see the bytes
                size = reply.copy(out, watch)
            else:
                size = reply.give(take, watch)
        fetched = _of_raw(size, began, ways)
    check.finish()
    return fetched


def _stream_native(
    location: Location, write: Callable[[bytes], object], ways: Ways
) -> Fetched | None:
    """The same in the native dialect; nothing, if raw is to be spoken instead."""
    try:
        return stream(location, write, ways)
    except SpeaksHttp:
        raise
    except OtherDialect as problem:
        _fall_back(location, ways, problem)
        return None


def _fetch_http(location: Location, folder: str | bytes, name: bytes, ways: Ways) -> Fetched:
    from tcpdl.client.http.download import download  # as what is below, needed for HTTP alone

    with Target(folder, name, resume=True) as target:
        try:
            fetched = download(location, target, ways)
        except ClientError as error:
            raise _with_part(error, target) from error
        if fetched.unchanged:
            target.drop()
        else:
            target.keep(mtime_ns=fetched.mtime_ns or None, sync=ways.sync)
    return fetched


def _stream_http(location: Location, write: Callable[[bytes], object], ways: Ways) -> Fetched:
    from tcpdl.client.http.stream import stream

    return stream(location, write, ways)


def is_http(location: Location, ways: Ways) -> bool:
    """Whether the file at `location` is to be asked for over HTTP at once.

    Raises `BadRequest` if `ways` say what cannot be had together.
    """
    http = bool(location.target) or ways.dialect == "http"
    if location.target and ways.dialect not in ("auto", "http"):
        raise BadRequest(
            "an http:// or https:// URL is fetched over HTTP; "
            f"for the {ways.dialect} dialect, write host:port/name, or tcpdls://host:port/name"
        )
    if ways.dialect == "raw" and ways.access.has_login:
        raise BadRequest("the raw dialect knows no logins; leave out --dialect raw")
    if ways.sources and (http or any(place.target for place in ways.sources)):
        raise BadRequest("--from needs the native dialect: over HTTP, files cannot be compared")
    return http


def _check(target: Target, fetched: Fetched, ways: Ways, *, vouched: bool) -> None:
    """Raise `Damaged` unless what was fetched is as expected; then it is not kept, unless the
    server has `vouched` for every byte: it may well be what was expected that is wrong."""
    if not ways.expected:
        return
    if fetched.unchanged:
        fd = os.open(target.name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=target.folder)
        try:
            check_file(fd, fetched.size, ways.expected)
        finally:
            os.close(fd)
        return
    try:
        check_file(target.fd, fetched.size, ways.expected)
    except Damaged:
        if not vouched:
            target.discard()
        raise


def _fall_back_to_http(location: Location, ways: Ways, problem: SpeaksHttp) -> None:
    if ways.dialect == "native":
        raise problem
    if ways.sources:
        raise BadRequest(f"{location.server} is a web server; --from needs the native dialect")
    ways.note(f"{location.server} is a web server: it is asked over HTTP")


def _fall_back(location: Location, ways: Ways, problem: OtherDialect) -> None:
    if ways.dialect == "native":
        raise problem
    ways.note(f"{location.server} speaks the raw dialect only: nothing can be checked")


def _refuse_shorter(target: Target, size: int) -> None:
    """Raise `ConnectionBroken` if what has the final name is longer than the `size` bytes that
    came, of which nobody can tell whether they are all of the file."""
    fd = target.open_final()
    if fd is None:
        return
    there = os.fstat(fd).st_size
    os.close(fd)
    if there > size:
        raise ConnectionBroken(
            f"{size} bytes came, and '{printable(target.name)}' has {there} already: in the raw "
            "dialect, a part cannot be told from a file; remove it, or write elsewhere with -o"
        )


def _request_raw(location: Location, ways: Ways) -> Reply:
    try:
        return Reply(location, ways)
    except CannotConnect as error:
        if ways.dialect == "raw":
            raise
        raise CannotConnect(
            f"{error}. It was there a moment ago: if it serves one connection only, "
            "ask it with --dialect raw"
        ) from None


def _of_raw(size: int, began: float, ways: Ways) -> Fetched:
    seconds = time.monotonic() - began
    return Fetched(size, received=size, seconds=seconds, verified=bool(ways.expected))


def _with_part(error: ClientError, target: Target) -> ClientError:
    if target.is_empty or isinstance(error, OtherDialect):
        return error
    return type(error)(f"{error}; what came is kept in '{target.part}'")


def _known(dialect: str) -> str:
    if dialect not in DIALECTS:
        raise BadRequest(f"{dialect!r} is no dialect; choose auto, native, http or raw")
    return dialect


def _expected(digest: str | None) -> tuple[Expected, ...]:
    return () if digest is None else (parse_expected(digest),)
