"""`tcpdl status`: show what a daemon on this machine is at. Imports `tcpdl.client`; and rich."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from tcpdl.client.errors import ClientError, ConnectionBroken
from tcpdl.client.status import DEFAULT, AdminEndpoint, fetch_status, parse_endpoint
from tcpdl.commands.board import Board, board, plain
from tcpdl.commands.common import command_parser
from tcpdl.commands.output import flush, print_line
from tcpdl.wire.text import visible

INTERVAL_SECONDS = 1.0
"""How long between two looks at the daemon."""


def parser() -> argparse.ArgumentParser:
    """The options of `tcpdl status`."""
    made = command_parser(
        "status",
        "Show what a daemon on this machine is at, which was started with --admin: on a terminal,\n"
        "until Ctrl-C.",
    )
    made.add_argument(
        "--admin",
        default=DEFAULT,
        metavar="ENDPOINT",
        help=f"what the daemon was given as --admin ({DEFAULT})",
    )
    made.add_argument("--json", action="store_true", help="print all that it says, as JSON")
    made.add_argument("--once", action="store_true", help="print it once, on a terminal, too")
    made.set_defaults(run=run)
    return made


def run(options: argparse.Namespace) -> int:
    """Do what `options` say; return the exit status."""
    endpoint = parse_endpoint(options.admin)
    status = fetch_status(endpoint, options.timeout)
    if options.json:
        print_line(json.dumps(status, indent=1))
    elif options.once or not sys.stdout.isatty() or not _watch(endpoint, options.timeout, status):
        for line in plain(_board(status)):
            print_line(line)
    flush()
    return 0


def _board(status: dict[str, Any], before: dict[str, Any] | None = None) -> Board:
    try:
        return board(status, before)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ConnectionBroken(
            f"what the daemon says is not understood; is it of another version? ({error!r})"
        ) from error


def _watch(endpoint: AdminEndpoint, timeout: float, status: dict[str, Any]) -> bool:
    """Show `status`, and what comes after it, until Ctrl-C; false if there is nothing to show it
    with."""
    try:
        from rich.live import Live
    except ImportError:
        return False
    try:
        with Live(_rendered(_board(status)), screen=True, auto_refresh=False) as live:
            while True:
                live.refresh()
                time.sleep(INTERVAL_SECONDS)
                try:
                    before, status = status, fetch_status(endpoint, timeout)
                    live.update(_rendered(_board(status, before)))
                except ClientError as error:
                    live.update(_rendered(Board([visible(str(error))], [])))
    except KeyboardInterrupt:
        return True


def _rendered(shown: Board) -> Any:
    """What rich shows."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [Text("\n".join(shown.lines))]
    for table in shown.tables:
        made = Table(title=Text(table.title), title_justify="left", box=None, padding=(0, 1))
        for column in table.columns:
            number = column.startswith(">")
            justify: Any = "right" if number else "left"
            # What does not fit is cut off the longest texts, before numbers lose a digit.
            made.add_column(column.lstrip(">"), justify=justify, no_wrap=number)
        for row in table.rows:
            made.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
        parts += [Text(""), made]
    return Group(*parts)
