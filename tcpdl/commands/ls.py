"""`tcpdl ls`: list what is in a folder on a server. Imports `tcpdl.client`."""

from __future__ import annotations

import argparse
import base64
import json
import stat
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from tcpdl.client.errors import Incomplete
from tcpdl.client.listing import LEFT_OUT, Listed, iterdir
from tcpdl.client.url import parse_native
from tcpdl.client.ways import Ways
from tcpdl.commands.access import access_of, add_access
from tcpdl.commands.common import command_parser, say
from tcpdl.commands.output import flush, print_line
from tcpdl.wire.text import printable

_TYPES = {"file": stat.S_IFREG, "folder": stat.S_IFDIR, "link": stat.S_IFLNK | 0o777}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parser() -> argparse.ArgumentParser:
    """The options of `tcpdl ls`."""
    made = command_parser("ls", "List what is in the folder at URL, or the file.")
    made.add_argument("url", metavar="URL")
    made.add_argument(
        "-R", "--recursive", action="store_true", help="list what is in its folders as well"
    )
    made.add_argument(
        "--json",
        action="store_true",
        help="print an array of objects with name, kind, size, mtime and mode",
    )
    add_access(made)
    made.set_defaults(run=run)
    return made


def run(options: argparse.Namespace) -> int:
    """Do what `options` say; return the exit status."""
    location = parse_native(options.url, "ls")
    ways = Ways(timeout=options.timeout, access=access_of(options, [location]))
    listed = iterdir(location, ways, recursive=options.recursive)
    left_out = _print_json(listed) if options.json else _print_lines(listed)
    flush()
    return Incomplete.status if left_out else 0


def _print_json(listed: Iterable[Listed]) -> int:
    """Print an array, an object a line; return how many were left out."""
    before, left_out = "[", 0
    for one in listed:
        print_line(before + json.dumps(as_object(one)), end="")
        before = ",\n "
        left_out += one.kind == LEFT_OUT
    print_line("[]" if before == "[" else "]")
    return left_out


def _print_lines(listed: Iterable[Listed]) -> int:
    """Print a line for each; return how many were left out."""
    left_out = 0
    for one in listed:
        if one.kind == LEFT_OUT:
            left_out += 1
            say(f"{printable(one.name, len(one.name))}: {one.why}")
        else:
            print_line(as_line(one))
    return left_out


def as_object(listed: Listed) -> dict[str, object]:
    """`listed` as it is printed in JSON.

    `name_base64` (and `target_base64`) is there for names that are not UTF-8, whose stray bytes
    `name` has as lone surrogates, from U+DC80 on.
    """
    found: dict[str, object] = _text("name", listed.name)
    found["kind"] = listed.kind
    if listed.kind == "file":
        found["size"] = listed.size
    if listed.kind in ("file", "folder"):
        found["mtime"] = iso_time(listed.mtime_ns)
        found["mode"] = f"{listed.mode:04o}"
    if listed.kind == "link":
        found |= _text("target", listed.target)
    if listed.kind == LEFT_OUT:
        found["why"] = listed.why
    return found


def as_line(listed: Listed) -> str:
    """`listed` as a line for people: permissions, size, time here, name."""
    mode = stat.filemode(_TYPES[listed.kind] | listed.mode)
    size = f"{listed.size:,}" if listed.kind == "file" else "-"
    name = printable(listed.name, len(listed.name))
    if listed.kind == "folder":
        name += "/"
    if listed.kind == "link":
        return f"{mode} {size:>15} {'':16} {name} -> {printable(listed.target)}"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(listed.mtime_ns // 10**9))
    return f"{mode} {size:>15} {when} {name}"


def iso_time(mtime_ns: int) -> str:
    """A time in ISO 8601, UTC, to the nanosecond."""
    # What 64 bits of nanoseconds can say lies in the years 1677 to 2262.
    seconds, rest = divmod(mtime_ns, 10**9)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _text(key: str, value: bytes) -> dict[str, object]:
    text = value.decode("utf-8", "surrogateescape")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return {key: text, f"{key}_base64": base64.b64encode(value).decode("ascii")}
    return {key: text}
