"""`tcpdl verify`: compare files with those on a server. Imports `tcpdl.client`."""

from __future__ import annotations

import argparse
import os
import sys

from tcpdl.client.errors import BadRequest, Incomplete
from tcpdl.client.mirroring import Mirrored
from tcpdl.client.progress import ProgressLine, human
from tcpdl.client.url import parse_native
from tcpdl.client.verify import Difference, repair, verify
from tcpdl.client.ways import Ways
from tcpdl.commands.access import access_of, add_access
from tcpdl.commands.common import add_connections, command_parser
from tcpdl.commands.output import flush, print_line
from tcpdl.wire.text import printable


def parser() -> argparse.ArgumentParser:
    """The options of `tcpdl verify`."""
    made = command_parser(
        "verify",
        "Compare the file or folder PATH with the one at URL, byte for byte, by digests:\n"
        "nothing is fetched. What differs is printed, with the ranges of bytes in which it does.",
    )
    made.add_argument("url", metavar="URL")
    made.add_argument("path", metavar="PATH")
    made.add_argument("--repair", action="store_true", help="fetch what differs, and only that")
    add_connections(made)
    add_access(made)
    made.set_defaults(run=run)
    return made


def run(options: argparse.Namespace) -> int:
    """Do what `options` say; return the exit status."""
    location = parse_native(options.url, "verify")
    if not options.path:
        raise BadRequest("PATH needs a name")
    path = os.fsencode(options.path)
    line = ProgressLine(printable(path))

    def note(text: str) -> None:
        line.say(f"tcpdl: {text}")

    ways = Ways(
        timeout=options.timeout,
        connections=options.connections,
        access=access_of(options, [location]),
        note=note,
    )
    try:
        found = verify(location, path, ways)
        for difference in found.differences:
            for text in lines(difference, path):
                print_line(text)
        flush()
        for name, why in found.left_out:
            note(f"{printable(name)}: {why}")
        if more := found.left_out_count - len(found.left_out):
            note(f"and {more} more could not be compared")
        if found.same:
            line.close(f"{printable(path)}: the same")
            return 0
        if not options.repair:
            return Incomplete.status
        mended = repair(location, path, ways._replace(progress=line))
    finally:
        line.close()
    if sys.stderr.isatty():
        sys.stderr.write(f"{printable(path)}: repaired, {human(mended.received)}B were fetched\n")
    complete = not isinstance(mended, Mirrored) or mended.complete
    return 0 if complete else Incomplete.status


def lines(difference: Difference, path: bytes) -> list[str]:
    """What to print of `difference`, found below `path`."""
    name = printable(difference.name or path)
    if difference.what != "differs":
        return [f"{name}: {difference.what}"]
    return [f"{name}: bytes {start} to {end - 1} differ" for start, end in difference.ranges]
