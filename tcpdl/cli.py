"""The command line: `tcpdl get`, `mirror`, `ls`, `serve` and the others.

Imports `tcpdl.client` and `tcpdl.wire`; each command is imported when it is the one to be run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

import tcpdl
from tcpdl.client.errors import CannotWrite, ClientError

INTERRUPTED = 128 + signal.SIGINT
"""Exit status after Ctrl-C, as shells have it."""

COMMANDS = {
    "get": "fetch files",
    "mirror": "bring a folder up to one on a server",
    "ls": "list what is in a folder on a server",
    "verify": "compare files with those on a server, byte for byte",
    "echo": "send text to an echo or text server and print the replies",
    "serve": "hand out the files of a folder, in the foreground",
    "check-config": "say what is wrong with the daemon's settings, or what they mean",
    "status": "show what a daemon on this machine is at",
    "passwd": "give a user of the daemon a password or a token",
    "link": "make a link to a file or folder that is valid for a while",
}
"""The commands, and what each is for: their module in `tcpdl.commands` has the same name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name); return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    try:
        if arguments[:1] == ["serve"]:
            return _daemon("tcpdl.serve", "serve", arguments[1:])
        if arguments[:1] == ["check-config"]:
            return _daemon("tcpdl.checking", "check_config", arguments[1:])
        if not arguments or arguments[0] not in COMMANDS:
            _parser().parse_args(arguments)
            raise AssertionError("an unknown command was taken for one")
        command = importlib.import_module(f"tcpdl.commands.{arguments[0]}")
        # Options may stand between the arguments, as people write them.
        options = command.parser().parse_intermixed_args(arguments[1:])
        return int(command.run(options))
    except ClientError as error:
        from tcpdl.commands.common import complain

        return complain(error)
    except BrokenPipeError:
        from tcpdl.commands.common import forget_output

        forget_output()
        return CannotWrite.status
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED


def _daemon(module: str, function: str, arguments: Sequence[str]) -> int:
    """Run a command that needs Twisted, as no other does."""
    try:
        run = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        sys.stderr.write(
            "tcpdl: this is the client alone; to serve files, install all of tcpdl"
            " (`pip install .` in its source)\n"
        )
        return 2
    return int(run(arguments))


def _open_closed_streams() -> None:
    """Give standard streams that were closed a descriptor, before a socket gets its number.

    What is written to a standard output that was closed fails, as it should.
    """
    for name, flags in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, flags)
            setattr(sys, name, os.fdopen(fd, "r" if name == "stdin" else "w", closefd=False))


def _parser() -> argparse.ArgumentParser:
    from tcpdl.commands.common import STATUSES, Parser

    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:{width}}{what}" for name, what in COMMANDS.items())
    parser = Parser(
        prog="tcpdl",
        usage="tcpdl [--version] COMMAND ...",
        description="Fetch files from a tcpdl daemon, or be one.",
        epilog=f"commands, each with a --help of its own:\n{commands}\n\n{STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tcpdl {tcpdl.__version__}")
    parser.add_argument("command", choices=list(COMMANDS), help=argparse.SUPPRESS)
    return parser
