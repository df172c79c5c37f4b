"""`tcpdl echo`: send text, print what comes back. Imports `tcpdl.client` and `tcpdl.wire`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator

from tcpdl.client.echo import EchoClient
from tcpdl.client.errors import BadRequest
from tcpdl.client.receiving import cannot_write
from tcpdl.client.url import ECHO_PORT, parse_server
from tcpdl.commands.common import ask, ask_for_server, command_parser, forget_output, need_terminal
from tcpdl.wire.text import printable


def parser() -> argparse.ArgumentParser:
    """The options of `tcpdl echo`."""
    made = command_parser(
        "echo",
        "Send the text, or else each line of standard input, and print what comes\n"
        "back. Without a server, on a terminal, all is asked for.",
    )
    made.add_argument("server", nargs="?", metavar="HOST:PORT")
    made.add_argument("text", nargs="*", metavar="TEXT")
    made.add_argument("--encoding", default="utf-8", help="of texts and replies (utf-8)")
    made.set_defaults(run=run)
    return made


def run(options: argparse.Namespace) -> int:
    """Do what `options` say; return the exit status."""
    if options.server is None:
        need_terminal("echo", "HOST:PORT")
        host, port = ask_for_server(str(ECHO_PORT))
        texts: Iterable[str] = [ask("text: ")]
    else:
        if "://" in options.server:
            raise BadRequest("echo takes a server, and no URL; write HOST:PORT")
        host, port = parse_server(options.server, ECHO_PORT)
        texts = [" ".join(options.text)] if options.text else _lines()
    show = _shown if sys.stdout.isatty() else str
    with EchoClient(host, port, options.timeout, options.encoding) as client:
        for text in texts:
            _print(show(client.ask(text)))
    return 0


def _lines() -> Iterator[str]:
    try:
        for line in sys.stdin:
            yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise BadRequest(f"standard input is not {error.encoding} text") from None


def _shown(reply: str) -> str:
    """`reply` with what would control a terminal made visible; lines stay lines."""
    return "\n".join(printable(line, len(line)) for line in reply.split("\n"))


def _print(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except UnicodeEncodeError:
        sys.stdout.buffer.write((text + "\n").encode(sys.stdout.encoding, "replace"))
    except OSError as error:
        forget_output()
        raise cannot_write(error) from error
