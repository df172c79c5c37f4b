"""`tcpdl get`: fetch files. Imports `tcpdl.client` and `tcpdl.wire`."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import stat

from tcpdl.client.api import DIALECTS, fetch_stream, fetch_to
from tcpdl.client.errors import BadRequest, CannotWrite, ClientError
from tcpdl.client.expected import parse_expected
from tcpdl.client.fetched import Fetched
from tcpdl.client.progress import ProgressLine, human
from tcpdl.client.receiving import cannot_write
from tcpdl.client.target import RECORD_SUFFIX, SUFFIX, local_name
from tcpdl.client.url import Location, parse_url
from tcpdl.client.ways import Ways
from tcpdl.commands.access import access_of, add_access
from tcpdl.commands.common import (
    add_connections,
    add_most,
    ask,
    ask_for_server,
    command_parser,
    complain,
    need_terminal,
)
from tcpdl.wire.text import printable


def parser() -> argparse.ArgumentParser:
    """The options of `tcpdl get`."""
    made = command_parser(
        "get",
        "Fetch files, every byte checked. A URL is host:port/name or tcpdl://host[:8080]/name;\n"
        "or http://host[:80]/path, of any web server: then what it names a digest of is checked;\n"
        "tcpdls:// and https:// are the same under TLS.\n"
        "What was broken off before, by this program or another, is continued.\n"
        "Without a URL, on a terminal, server, port and name are asked for.",
    )
    made.add_argument("urls", nargs="*", metavar="URL")
    made.add_argument(
        "-o", "--output", metavar="FILE", help="write to FILE, or to standard output for -"
    )
    made.add_argument(
        "-d", "--directory", default=".", metavar="DIR", help="write below DIR, made if need be"
    )
    made.add_argument(
        "--dialect",
        choices=DIALECTS,
        default="auto",
        help="what to speak: native, which checks every byte; http, which all web servers do; raw, "
        "which any server of this kind understands; or what the URL says, and the server (auto)",
    )
    made.add_argument(
        "--digest",
        metavar="ALGORITHM:HEX",
        help="what the sha256, sha512 or blake3 of the file has to be; for one URL",
    )
    add_connections(made)
    add_most(made)
    made.add_argument(
        "--from",
        dest="sources",
        action="append",
        default=[],
        metavar="URL",
        help="fetch from this server too, if the file is the same there; may be repeated "
        "(not over HTTP)",
    )
    made.add_argument(
        "--sync", action="store_true", help="have a file on the disk before it gets its name"
    )
    add_access(made)
    made.set_defaults(run=run)
    return made


def run(options: argparse.Namespace) -> int:
    """Do what `options` say; return the exit status."""
    locations = [parse_url(url) for url in options.urls] or [_ask_for_location()]
    sources = tuple(parse_url(url) for url in options.sources)
    if "" in (options.output, options.directory):
        raise BadRequest("-o and -d need a name")
    if options.output and len(locations) > 1:
        raise BadRequest("-o takes one URL; use -d for several")
    if sources and len(locations) > 1:
        raise BadRequest("--from is about one file; give one URL with it")
    if sources and options.dialect == "raw":
        raise BadRequest("--from needs the native dialect: raw cannot compare files")
    if options.digest is not None and len(locations) > 1:
        raise BadRequest("--digest is about one file; give one URL with it")
    expected = () if options.digest is None else (parse_expected(options.digest),)
    names = [location.file_name for location in locations]
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise BadRequest(f"two of the files would be called '{printable(twice)}' here")
    access = access_of(options, locations, sources)
    status = 0
    for location in locations:
        line = ProgressLine(printable(location.file_name))
        ways = Ways(
            dialect=options.dialect,
            timeout=options.timeout,
            connections=options.connections,
            sources=sources,
            sync=options.sync,
            expected=expected,
            most=options.max_size,
            access=access,
            progress=line,
            begun=line.begun,
            note=lambda text, line=line: line.say(f"tcpdl: {text}"),  # type: ignore[misc]
        )
        try:
            fetched = _fetch(location, options, ways)
        except ClientError as error:
            # One that fails keeps none of the others from being fetched.
            line.close()
            failed = complain(error, location.shown)
            status = status or failed
        except BaseException:
            line.close()
            raise
        else:
            line.close(summary(printable(location.file_name), fetched))
    return status


def summary(name: str, fetched: Fetched) -> str:
    """One line that says what a download came to."""
    if fetched.unchanged:
        return f"{name}: complete and the same already"
    rate = human(fetched.received / max(fetched.seconds, 0.001))
    kept = f"; {human(fetched.kept)}B were here already" if fetched.kept else ""
    limit = f", limited by {fetched.limited_by}" if fetched.limited_by else ""
    checked = "checked" if fetched.verified else "not checked"
    return (
        f"{name}: {human(fetched.size)}B, {checked}, in {fetched.seconds:.1f} s "
        f"({rate}B/s{limit}){kept}"
    )


def _ask_for_location() -> Location:
    need_terminal("get", "a URL")
    host, port = ask_for_server("8080")
    return Location(host, port, os.fsencode(ask("file name: ")))


def _fetch(location: Location, options: argparse.Namespace, ways: Ways) -> Fetched:
    output: str | None = options.output
    if output is None:
        return fetch_to(location, options.directory, local_name(location.file_name), ways)
    path = output if output == "-" else os.path.join(options.directory, output)
    if (out := _descriptor(path)) is not None:
        return fetch_stream(location, out, ways)
    if _is_special(path):
        return _fetch_into_special(location, path, ways)
    # What the user named is followed through links, and replaced where it really is.
    real = os.path.realpath(path)
    if os.path.islink(real):
        raise CannotWrite(f"'{printable(output)}' is a symbolic link to itself")
    folder, name = os.path.split(os.fsencode(real))
    if not name or output.endswith("/") or os.path.isdir(path):
        raise BadRequest(f"-o: '{printable(output)}' is a folder; use -d for that")
    if name.endswith((SUFFIX, RECORD_SUFFIX)):
        raise BadRequest(f"-o: '{printable(output)}' is what a part is called; choose another")
    return fetch_to(location, folder, name, ways)


def _descriptor(path: str) -> int | None:
    """The number of the open descriptor that `path` stands for, if it does.

    Opening such a path anew would write from the beginning of the file behind it, or replace it.
    """
    named = {"-": 1, "/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
    path = re.sub("^//", "/", os.path.normpath(path))
    number = named.get(path)
    if number is None:
        found = re.fullmatch(r"/(?:dev|proc/(self|thread-self|[0-9]+))/fd/([0-9]+)", path)
        if not found:
            return None
        if found[1] and found[1].isdigit() and int(found[1]) != os.getpid():
            raise BadRequest(f"-o: '{printable(path)}' belongs to another program")
        number = int(found[2])
    try:
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except (OSError, OverflowError):
        mode = os.O_RDONLY
    if mode == os.O_RDONLY:
        raise CannotWrite(f"'{printable(path)}' is not open for writing")
    return number


def _is_special(path: str) -> bool:
    """Whether `path` is a device, a FIFO or the like: to be written to, never to be replaced."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _fetch_into_special(location: Location, path: str, ways: Ways) -> Fetched:
    try:
        out = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_write(error) from error
    try:
        return fetch_stream(location, out, ways)
    finally:
        os.close(out)
