"""`tcpdl mirror`: make a folder the same as one on a server. Imports `tcpdl.client`."""

from __future__ import annotations

import argparse
import os

from tcpdl.client.errors import BadRequest, Incomplete
from tcpdl.client.filters import Rule
from tcpdl.client.mirroring import Mirrored, mirror
from tcpdl.client.progress import ProgressLine, human
from tcpdl.client.url import parse_native
from tcpdl.client.ways import Ways
from tcpdl.commands.access import access_of, add_access
from tcpdl.commands.common import add_connections, add_most, command_parser, say
from tcpdl.commands.output import flush, print_line
from tcpdl.wire.text import printable

LEFT_OUT_SHOWN = 20
"""Names of which it is said why they were left out; of more, only the number is."""

_FILTERS = """\
Files that are there with the size and time they have on the server are not sent again, so a run
that was broken off is continued by running it again.

--include and --exclude are tried in the order given, and the first that matches decides. A pattern
without a slash is matched with a file's or folder's own name, any other with the whole name from
the top; * stops at slashes, ** does not, and a slash at the end means folders only. What matches
none is mirrored, unless there are only --include: then only files that match are.
"""


def parser() -> argparse.ArgumentParser:
    """The options of `tcpdl mirror`."""
    made = command_parser("mirror", "Make the folder DIR hold what the folder at URL does.")
    made.epilog = f"{_FILTERS}\n{made.epilog}"
    made.add_argument("url", metavar="URL")
    made.add_argument("folder", metavar="DIR")
    made.add_argument(
        "--delete",
        action="store_true",
        help="remove what the server does not have, and what is in the way; never what is excluded",
    )
    made.add_argument(
        "--include",
        dest="rules",
        action="append",
        type=_include,
        default=[],
        metavar="GLOB",
        help="mirror what matches; may be repeated",
    )
    made.add_argument(
        "--exclude",
        dest="rules",
        action="append",
        type=_exclude,
        metavar="GLOB",
        help="leave out what matches; may be repeated",
    )
    made.add_argument(
        "-n", "--dry-run", action="store_true", help="print what would be done, and change nothing"
    )
    made.add_argument("-v", "--verbose", action="store_true", help="print what is done")
    made.add_argument(
        "--checksum", action="store_true", help="compare digests, not times: every byte is read"
    )
    made.add_argument(
        "--links",
        action="store_true",
        help="make symbolic links too, those that lead to places in the tree",
    )
    add_connections(made)
    add_most(made)
    add_access(made)
    made.set_defaults(run=run)
    return made


def run(options: argparse.Namespace) -> int:
    """Do what `options` say; return the exit status."""
    location = parse_native(options.url, "mirror")
    if not options.folder:
        raise BadRequest("DIR needs a name")
    line = ProgressLine(location.label or location.server)
    ways = Ways(
        timeout=options.timeout,
        connections=options.connections,
        most=options.max_size,
        access=access_of(options, [location]),
        progress=line,
        note=lambda text: line.say(f"tcpdl: {text}"),
    )
    try:
        mirrored = mirror(
            location,
            os.fsencode(options.folder),
            ways,
            delete=options.delete,
            rules=options.rules,
            dry_run=options.dry_run,
            checksum=options.checksum,
            links=options.links,
            told=_tell if options.dry_run or options.verbose else None,
        )
        flush()
    except BaseException:
        line.close()
        raise
    line.close(summary(mirrored, dry_run=options.dry_run))
    for text in complaints(mirrored):
        say(text)
    return 0 if mirrored.complete else Incomplete.status


def summary(mirrored: Mirrored, *, dry_run: bool = False) -> str:
    """One line that says what a run came to."""
    said = [f"{_count(mirrored.files, 'file')}, {human(mirrored.size)}B"]
    if dry_run:
        said[0] += " to be written"
    else:
        rate = human(mirrored.size / max(mirrored.seconds, 0.001))
        said[0] += f" in {mirrored.seconds:.1f} s ({rate}B/s)"
    said.append(f"{mirrored.unchanged} unchanged")
    if mirrored.links:
        said.append(_count(mirrored.links, "symbolic link"))
    if mirrored.deleted:
        said.append(f"{mirrored.deleted} {'to be deleted' if dry_run else 'deleted'}")
    return "; ".join(said)


def complaints(mirrored: Mirrored) -> list[str]:
    """What was not done, a line for each."""
    said = [f"{printable(name)}: {why}" for name, why in mirrored.left_out[:LEFT_OUT_SHOWN]]
    if more := mirrored.left_out_count - len(said):
        said.append(f"and {more} more were left out")
    if mirrored.kept_all:
        said.append("nothing was deleted, since the server did not list all that it has")
    if mirrored.links_left_out:
        left = _count(mirrored.links_left_out, "symbolic link")
        said.append(f"{left} left out; --links makes them")
    return said


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _tell(what: str, name: bytes) -> None:
    print_line(f"{what:7}{printable(name, len(name))}")


def _include(pattern: str) -> Rule:
    return Rule(True, _as_utf8(pattern))


def _exclude(pattern: str) -> Rule:
    return Rule(False, _as_utf8(pattern))


def _as_utf8(text: str) -> str:
    """`text` as names are read, whatever encoding the system has for this user."""
    return os.fsencode(text).decode("utf-8", "surrogateescape")
