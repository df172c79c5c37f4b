"""The command line: `tcpdl get`, `tcpdl echo`, `tcpdl serve`.

Imports `tcpdl.client` and `tcpdl.wire`; what needs Twisted is imported by the command that does.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import signal
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence

import tcpdl
from tcpdl.client import raw
from tcpdl.client.echo import EchoClient
from tcpdl.client.errors import BadRequest, CannotWrite, ClientError, ConnectionBroken
from tcpdl.client.progress import ProgressLine
from tcpdl.client.receiving import cannot_write, receive_all
from tcpdl.client.target import SUFFIX, Target, local_name
from tcpdl.client.url import ECHO_PORT, Location, parse_port, parse_server, parse_url
from tcpdl.wire.text import printable

INTERRUPTED = 128 + signal.SIGINT
"""Exit status after Ctrl-C, as shells have it."""

_COMMAND_LIST = """\
commands, each with a --help of its own:
  get    fetch files
  echo   send text to an echo or text server and print the replies
  serve  hand out the files of a folder, in the foreground
"""

_STATUSES = """\
exit status:
  0  all was done          3  no connection           6  the local file cannot be written
  1  an internal error     4  the connection broke    130  interrupted
  2  the command is wrong  5  no such file there
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name); return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    try:
        if arguments[:1] == ["serve"]:
            from tcpdl.serve import serve  # it alone needs Twisted

            return serve(arguments[1:])
        if not arguments or arguments[0] not in _COMMANDS:
            _parser().parse_args(arguments)
            raise AssertionError("an unknown command was taken for one")
        # Options may stand between the arguments, as people write them.
        options = _COMMANDS[arguments[0]]().parse_intermixed_args(arguments[1:])
        return int(options.run(options))
    except ClientError as error:
        return _complain(error)
    except BrokenPipeError:
        _forget_output()
        return CannotWrite.status
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED


def _open_closed_streams() -> None:
    """Give standard streams that were closed a descriptor, before a socket gets its number.

    What is written to a standard output that was closed fails, as it should.
    """
    for name, flags in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, flags)
            setattr(sys, name, os.fdopen(fd, "r" if name == "stdin" else "w", closefd=False))


def _forget_output() -> None:
    """Standard output takes no more; keep the interpreter from trying again at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tcpdl",
        usage="tcpdl [--version] COMMAND ...",
        description="Fetch files from a tcpdl daemon, or be one.",
        epilog=f"{_COMMAND_LIST}\n{_STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tcpdl {tcpdl.__version__}")
    parser.add_argument("command", choices=["get", "echo", "serve"], help=argparse.SUPPRESS)
    return parser


def _get_parser() -> argparse.ArgumentParser:
    parser = _command_parser(
        "get",
        "Fetch files. A URL is host:port/name or tcpdl://host[:8080]/name.\n"
        "Without one, on a terminal, server, port and name are asked for.",
    )
    parser.add_argument("urls", nargs="*", metavar="URL")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to FILE, or to standard output for -"
    )
    parser.add_argument(
        "-d", "--directory", default=".", metavar="DIR", help="write below DIR, made if need be"
    )
    parser.add_argument(
        "--dialect",
        choices=["auto", "raw"],
        default="auto",
        help="what to speak; this version speaks raw",
    )
    parser.set_defaults(run=_get)
    return parser


def _echo_parser() -> argparse.ArgumentParser:
    parser = _command_parser(
        "echo",
        "Send the text, or else each line of standard input, and print what comes\n"
        "back. Without a server, on a terminal, all is asked for.",
    )
    parser.add_argument("server", nargs="?", metavar="HOST:PORT")
    parser.add_argument("text", nargs="*", metavar="TEXT")
    parser.add_argument("--encoding", default="utf-8", help="of texts and replies (utf-8)")
    parser.set_defaults(run=_echo)
    return parser


_COMMANDS = {"get": _get_parser, "echo": _echo_parser}


def _command_parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"tcpdl {command}",
        description=description,
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="longest wait for a connection, and for more bytes on it (30)",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to a day")
    return seconds


# get


def _get(options: argparse.Namespace) -> int:
    urls: list[str] = options.urls
    locations = [parse_url(url) for url in urls]
    if not locations:
        locations = [_ask_for_location()]
    if "" in (options.output, options.directory):
        raise BadRequest("-o and -d need a name")
    if options.output and len(locations) > 1:
        raise BadRequest("-o takes one URL; use -d for several")
    names = [location.file_name for location in locations]
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise BadRequest(f"two of the files would be called '{printable(twice)}' here")
    status = 0
    for location in locations:
        try:
            _fetch(location, options)
        except ClientError as error:
            # One that fails keeps none of the others from being fetched.
            failed = _complain(error, f"{location.server}/{printable(location.path)}")
            status = status or failed
    return status


def _ask_for_location() -> Location:
    _need_terminal("get", "a URL")
    host, port = _ask_for_server("8080")
    return Location(host, port, os.fsencode(_ask("file name: ")))


def _fetch(location: Location, options: argparse.Namespace) -> None:
    output: str | None = options.output
    if output is None:
        folder, name = os.fsencode(options.directory), local_name(location.file_name)
    else:
        path = output if output == "-" else os.path.join(options.directory, output)
        if (out := _descriptor(path)) is not None:
            raw.fetch(location, out, options.timeout, _quiet)
            return
        if _is_special(path):
            _fetch_into_special(location, path, options.timeout)
            return
        # What the user named is followed through links, and replaced where it really is.
        real = os.path.realpath(path)
        if os.path.islink(real):
            raise CannotWrite(f"'{printable(output)}' is a symbolic link to itself")
        folder, name = os.path.split(os.fsencode(real))
        if not name or output.endswith("/") or os.path.isdir(path):
            raise BadRequest(f"-o: '{printable(output)}' is a folder; use -d for that")
        if name.endswith(SUFFIX):
            raise BadRequest(f"-o: '{printable(output)}' is what a part is called; choose another")
    # Only an answer makes a file, and only an answer replaces what an earlier one left.
    with raw.request(location, options.timeout) as sock, Target(folder, name) as target:
        progress = ProgressLine(printable(name))
        try:
            receive_all(sock, target.fd, progress)
        except ConnectionBroken as error:
            if target.is_empty:
                raise
            raise ConnectionBroken(f"{error}; they are kept in '{target.part}'") from error
        finally:
            progress.close()
        target.keep()


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


def _fetch_into_special(location: Location, path: str, timeout: float) -> None:
    try:
        out = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_write(error) from error
    try:
        raw.fetch(location, out, timeout, _quiet)
    finally:
        os.close(out)


def _quiet(count: int) -> None:
    """Show no progress."""


# echo


def _echo(options: argparse.Namespace) -> int:
    if options.server is None:
        _need_terminal("echo", "HOST:PORT")
        host, port = _ask_for_server(str(ECHO_PORT))
        texts: Iterable[str] = [_ask("text: ")]
    else:
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
        _forget_output()
        raise cannot_write(error) from error


# Questions and complaints


def _need_terminal(command: str, what: str) -> None:
    if not sys.stdin.isatty():
        raise BadRequest(f"{command} needs {what}; see tcpdl {command} --help")


def _ask_for_server(default_port: str) -> tuple[str, int]:
    host = _ask("server: ")
    port = _ask(f"port [{default_port}]: ") or default_port
    if not host:
        raise BadRequest("the server is missing")
    return host.removeprefix("[").removesuffix("]"), parse_port(port)


def _ask(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        raise BadRequest("nothing was entered") from None


def _complain(error: ClientError, what: str = "") -> int:
    sys.stderr.write(f"tcpdl: {what}: {error}\n" if what else f"tcpdl: {error}\n")
    return error.status
