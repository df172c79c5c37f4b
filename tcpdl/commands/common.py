"""What the commands share: their parsers, their questions, their complaints.

Imports `tcpdl.client` and `tcpdl.wire`.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn, TextIO

from tcpdl.client.errors import BadRequest, ClientError
from tcpdl.client.url import parse_port
from tcpdl.wire.text import visible

STATUSES = """\
exit status:
  0  all was done          4  the connection broke    7  some was left out, or differs
  1  an internal error     5  no such file there      8  bytes arrive damaged
  2  the command is wrong  6  the local file cannot   9  a login is needed, or another
  3  no connection            be written              130  interrupted
"""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints, which quote what was given, control no terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


def local_parser(command: str, description: str) -> argparse.ArgumentParser:
    """The parser of a command that asks no server."""
    return Parser(
        prog=f"tcpdl {command}",
        description=description,
        epilog=STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def command_parser(command: str, description: str) -> argparse.ArgumentParser:
    """The parser of a command that asks a server."""
    parser = local_parser(command, description)
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="longest wait for a connection, and for more bytes on it (30)",
    )
    return parser


def add_connections(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take how many connections are used at once."""
    parser.add_argument(
        "--connections",
        type=_connections,
        default=8,
        metavar="N",
        help="connections to use at once, if that is faster than one (8 at most)",
    )


def add_most(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take how large a file may be."""
    parser.add_argument(
        "--max-size",
        type=_bytes,
        metavar="BYTES",
        help="fetch no file that is larger; k, M and G stand for 1024 bytes and its powers",
    )


def _bytes(text: str) -> int:
    number, factor = text, 1
    if text[-1:] in ("k", "K", "M", "G"):
        number, factor = text[:-1], 1024 ** ("KMG".index(text[-1].upper()) + 1)
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes, such as 500M")
    return int(number) * factor


def _connections(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of connections from 1 to 64")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to a day")
    return seconds


def forget_output(stream: TextIO | None = None) -> None:
    """Standard output, or `stream`, takes no more; keep the interpreter from trying again at its
    end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, (stream or sys.stdout).fileno())
    os.close(null)


def say(text: str) -> None:
    """Write a line of `text` to standard error. If that takes no more, the exit status has to say
    it all."""
    try:
        sys.stderr.write(f"tcpdl: {visible(text)}\n")
        sys.stderr.flush()
    except OSError:
        forget_output(sys.stderr)


def need_terminal(command: str, what: str) -> None:
    """Raise `BadRequest` unless there is somebody to ask for `what` is missing."""
    if not sys.stdin.isatty():
        raise BadRequest(f"{command} needs {what}; see tcpdl {command} --help")


def ask_for_server(default_port: str) -> tuple[str, int]:
    """Ask for a server; return its host and port."""
    host = ask("server: ")
    port = ask(f"port [{default_port}]: ") or default_port
    if not host:
        raise BadRequest("the server is missing")
    return host.removeprefix("[").removesuffix("]"), parse_port(port)


def ask(question: str) -> str:
    """Ask one question; return the answer. Raises `BadRequest` if there is none."""
    try:
        return input(question).strip()
    except EOFError:
        raise BadRequest("nothing was entered") from None


def complain(error: ClientError, what: str = "") -> int:
    """Say on standard error what went wrong, with `what`; return the exit status."""
    say(f"{what}: {error}" if what else str(error))
    return error.status
