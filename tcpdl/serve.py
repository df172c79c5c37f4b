"""`tcpdl serve [DIR]`: the daemon in the foreground, without twistd.

Imports `tcpdl.service`, and the reactor when it is called.
"""

from __future__ import annotations

import getopt
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote_from_bytes

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import ILogObserver, globalLogBeginner
from twisted.python import usage

from tcpdl.client.url import join
from tcpdl.daemon import Daemon
from tcpdl.logs.observers import Log, is_journal
from tcpdl.processes.parent import Parent
from tcpdl.server.activation import ECHO, FILES
from tcpdl.server.addresses import machine_addresses
from tcpdl.server.echo import EchoFactory
from tcpdl.server.listening import CannotListen, Listening
from tcpdl.service import ADMIN, Options, advised, whole
from tcpdl.wire.text import printable, visible

_LOOKED_AT = 1000
"""Entries of the folder looked at for a file to show in the examples."""


class ServeOptions(Options):
    """The daemon's options, with the folder to serve as an argument."""

    synopsis = "Usage: tcpdl serve [DIR] [options]"
    argument = "root"
    """The option that the argument stands for."""
    one_argument = "give one folder to serve"

    def parseOptions(self, options: Any = None) -> None:
        # usage.Options takes no option after the first argument, which mostly comes before the
        # options.
        try:
            given, rest = getopt.gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except getopt.GetoptError as error:
            raise usage.UsageError(str(error)) from None
        if len(rest) > 1:
            raise usage.UsageError(self.one_argument)
        words = [word for option in given for word in self._words(*option)]
        super().parseOptions([*words, *(f"--{self.argument}={one}" for one in rest)])

    def _words(self, name: str, value: str) -> list[str]:
        # An empty value is one as well; without it, the next word would be taken for the value.
        takes_value = f"{name[2:]}=" in self.longOpt or f"{name[1]}:" in self.shortOpt
        return [name, value] if takes_value else [name]


def serve(arguments: Sequence[str]) -> int:
    """Serve until interrupted; return the exit status."""
    options = ServeOptions()
    try:
        options.parseOptions(arguments)
    except usage.UsageError as error:
        sys.stderr.write(f"tcpdl: {visible(advised(error, 'tcpdl serve --help'))}\n")
        return 2
    from twisted.internet import reactor

    try:
        daemon = whole(options, reactor)
    except CannotListen as error:
        sys.stderr.write(f"tcpdl: {visible(str(error))}\n")
        return 1
    # What was logged until now is what the welcome says better.
    welcome = not is_journal(sys.stdout.fileno(), os.environ)
    globalLogBeginner.beginLoggingTo(
        [_logging(options, daemon)], redirectStandardIO=False, discardBuffer=welcome
    )
    if welcome:
        _say("\n".join(_welcome(options.folders(), daemon)))
    running: Any = reactor
    running.addSystemEventTrigger("before", "startup", daemon.startService)
    running.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    running.run()
    return 0


def _logging(options: Options, daemon: Daemon | Parent) -> ILogObserver:
    """What writes the log, to standard error, as `options` say; later ones, if `daemon` has read
    its configuration again."""
    fd = sys.stderr.fileno()
    likely = "journald" if is_journal(fd, os.environ) else "text"
    log = Log(fd)

    def write(options: Options) -> None:
        log.write_as(options["log-format"] or likely, options["log-level"] or "info")

    write(options)
    daemon.on_reload(("log-format", "log-level"), write)
    return log


def _say(text: str) -> None:
    """Print `text` as well as standard output can. That nobody reads it is no reason to stop."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        os.write(sys.stdout.fileno(), (text + "\n").encode(encoding, "backslashreplace"))
    except OSError as error:
        sys.stderr.write(f"tcpdl: cannot say how to fetch files: {error.strerror}\n")


def _welcome(folders: Mapping[str, str], daemon: Daemon | Parent) -> Iterator[str]:
    """What is served, where a browser finds it, and lines that fetch some, ready to be pasted."""
    paths = {name: printable(os.fsencode(os.path.realpath(folders[name]))) for name in folders}
    if "" in paths:
        yield f"Serving {paths['']}; Ctrl-C ends it."
    else:
        yield "Serving these folders; Ctrl-C ends it."
        yield from (f"  {printable(os.fsencode(name))}/ is {paths[name]}" for name in paths)
    if daemon.credentials is not None:
        yield f"Its certificate is {daemon.credentials.pin}."
    name = next(filter(None, (_example(*folder) for folder in folders.items())), "NAME")
    for kind, address, tls in _ports(daemon):
        for host, port in _reached_at(address):
            yield ""
            server = join(host, port)
            if kind == ECHO:
                yield f"  tcpdl echo {shlex.quote(server)} hello"
                continue
            here = shlex.quote(os.path.basename(name))
            url = f"{server}/{quote_from_bytes(os.fsencode(name))}"
            if daemon.credentials is not None and tls:
                yield f"  https://{server}/"
                pin = daemon.credentials.pin
                yield f"  tcpdl get {shlex.quote(f'tcpdls://{url}')} --pin {pin}"
                continue
            yield f"  http://{server}/"
            yield f"  tcpdl get {shlex.quote(url)}"
            yield f"  printf '%s\\n' {shlex.quote(name)} | nc {host} {port} > {here}"
    if ADMIN in daemon.namedServices:
        admin = daemon.namedServices[ADMIN].address
        yield ""
        yield f"  tcpdl status --admin {shlex.quote(admin.option)}"
    yield ""


def _example(mount: str, folder: str) -> str | None:
    """A file that is there to be fetched, if it is easily found."""
    with os.scandir(folder) as entries:
        names = sorted(
            os.path.join(mount, entry.name)
            for entry in islice(entries, _LOOKED_AT)
            if entry.name.isprintable()
            and not entry.name.startswith(".")
            and entry.is_file(follow_symlinks=False)
        )
    return names[0] if names else None


def _ports(daemon: Daemon | Parent) -> Iterator[tuple[str, Any, bool]]:
    """For each port: what it is for, its address, and whether it speaks TLS."""
    if isinstance(daemon, Parent):
        for one in daemon.shared:
            yield one.kind, one.address, not one.wrapped
        return
    for service in daemon:
        if isinstance(service, Listening) and service.port is not None:
            kind = ECHO if isinstance(service.factory, EchoFactory) else FILES
            yield kind, service.port.getHost(), service.tls


def _reached_at(address: Any) -> Iterator[tuple[str, int]]:
    """The addresses and the port number at which a listening port is reached."""
    if not isinstance(address, (IPv4Address, IPv6Address)):
        return  # a Unix socket, or an endpoint of some plugin
    if address.host not in ("::", "0.0.0.0"):  # noqa: S104 - compared, not bound
        yield address.host, address.port
        return
    for host in machine_addresses():
        if address.host == "::" or ":" not in host:
            yield host, address.port
