"""`tcpdl link`: make a link that lets whoever has it read one place for a while.

Imports `tcpdl.access` and `tcpdl.wire`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from tcpdl.access import files, keys
from tcpdl.client.errors import BadRequest, CannotWrite
from tcpdl.commands.common import local_parser
from tcpdl.wire.links import LONGEST_SECONDS, sign
from tcpdl.wire.names import Name, NameRefused, parse_name
from tcpdl.wire.text import printable

DEFAULT_KEY = "/etc/tcpdl/link-key"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*|(?:\[[^\]/]*\]|[^/:]+):[0-9]{1,5}(?=/|\Z)")


def parser() -> argparse.ArgumentParser:
    """The options of `tcpdl link`."""
    made = local_parser(
        "link",
        "Print PLACE, a path below the daemon's root or a URL, as a link that lets whoever\n"
        "has it read the file, or the folder and all below it, until the time is over.",
    )
    made.add_argument("place", metavar="PLACE", nargs="?")
    made.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        metavar="TIME",
        help="how long it is valid: a number and s, m, h, d or w, as in 2h; 366d at most",
    )
    made.add_argument(
        "--key",
        default=DEFAULT_KEY,
        metavar="FILE",
        help=f"the file that the daemon was given with --link-key ({DEFAULT_KEY})",
    )
    made.add_argument(
        "--new-key",
        metavar="FILE",
        help="put a new key into FILE, which is made if it is not there; links made with the keys "
        "that are there already stay valid",
    )
    made.set_defaults(run=run)
    return made


def run(options: argparse.Namespace) -> int:
    """Do what `options` say; return the exit status."""
    if options.new_key is not None:
        if options.place is not None or options.seconds is not None:
            raise BadRequest("--new-key makes a key and no link; leave the rest out")
        return _make_key(options.new_key)
    if options.place is None or options.seconds is None:
        raise BadRequest("link needs a PLACE and --for TIME; see tcpdl link --help")
    place = parse_place(options.place)
    try:
        text, _ = files.read(options.key)
        key = keys.parse(text)[0]
    except files.FileError as problem:
        raise BadRequest(f"{problem} (tcpdl link --new-key FILE makes a key)") from None
    except keys.KeysError as problem:
        raise BadRequest(f"{options.key}: {problem}") from None
    link = sign(key, place.name.segments, int(time.time()) + options.seconds)
    joint = "&" if place.query else "?"
    print(f"{place.shown}{joint}{link.query}")
    return 0


def _make_key(path: str) -> int:
    try:
        files.change(path, lambda text: keys.with_new_key(text or b""))
    except files.FileError as problem:
        raise CannotWrite(str(problem)) from None
    except keys.KeysError as problem:
        raise BadRequest(f"{path}: {problem}") from None
    sys.stderr.write(f"tcpdl: links are signed with the new key in {printable(path)} from now on\n")
    return 0


class Place(NamedTuple):
    """What a link is to be for."""

    name: Name
    shown: str
    """As it stands before the link's own part."""
    query: bool
    """It has arguments of its own."""


def parse_place(text: str) -> Place:
    """Read a path, or a URL in any of the client's forms. Raises `BadRequest`."""
    start = _URL.match(text)
    try:
        if start is None:
            name = parse_name(os.fsencode(text).lstrip(b"/"), hidden=True)
            path = quote_from_bytes(b"/".join(name.segments))
            slash = "/" if name.folder and name.segments else ""
            lead = "/" if text.startswith("/") else ""
            return Place(name, f"{lead}{path}{slash}", False)
        rest = text[start.end() :]
        path, mark, query = rest, "", ""
        if start[0].lower().startswith(("http://", "https://")):
            path, mark, query = rest.partition("#")[0].partition("?")
        name = parse_name(unquote_to_bytes(os.fsencode(path)).lstrip(b"/"), hidden=True)
    except NameRefused as problem:
        raise BadRequest(f"{printable(text)}: {problem}") from None
    return Place(name, f"{start[0]}{path or '/'}{mark}{query}", bool(mark))


def _seconds(text: str) -> int:
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_SECONDS:
        days = LONGEST_SECONDS // 86_400
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 30m, 2h or 7d, up to {days}d"
        )
    return seconds
