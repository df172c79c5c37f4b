"""The ports that the options name, and how they are opened. Imports `options`, `server`
and `wire`.

What is served on them is the business of `tcpdl.service`, in this process or in others.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from tcpdl.options.daemon import Options
from tcpdl.options.endpoints import what_is_wrong
from tcpdl.server.activation import ECHO, FILES, TLS, take
from tcpdl.server.adopting import Adopted
from tcpdl.server.listening import CannotListen, adopt, bind
from tcpdl.wire.text import visible

_log = Logger()


class Port(NamedTuple):
    """A port that the options name."""

    kind: str
    interface: str | None = None
    number: int = 0
    """Of a TCP port of ours."""
    description: str | None = None
    """Of an endpoint, in Twisted's words, in place of those."""
    handed: int | None = None
    """The number of a socket that was handed over, in place of all these."""

    def open(self) -> socket.socket:
        """A socket that listens, if it is not described. Raises `CannotListen`."""
        if self.handed is not None:
            return take(self.handed)
        return bind(self.interface, self.number)


class Opened(NamedTuple):
    """A port that can be listened on."""

    kind: str
    endpoint: IStreamServerEndpoint
    description: str | None = None
    """As in `Port`."""


def named(options: Options) -> Iterator[Port]:
    """All ports that `options` name."""
    if options["port"] is not None:
        yield Port(FILES, options["interface"], options["port"])
    for number, interface in options["listen-tls"]:
        yield Port(TLS, interface, number)
    if options["echo-port"] is not None:
        yield Port(ECHO, options["interface"], options["echo-port"])
    for description in options["listen"]:
        yield Port(FILES, description=description)
    for index, kind in enumerate(options["handed"]):
        yield Port(kind, handed=index)


def open_ports(options: Options, reactor: Any) -> Iterator[Opened]:
    """Open them, each when it is asked for. Raises `CannotListen`."""
    for port in named(options):
        if port.description is None:
            sock = port.open()
            family = sock.family
            if port.handed is None:
                yield Opened(port.kind, adopt(reactor, sock))
            else:
                yield Opened(port.kind, Adopted(reactor, sock.detach(), family))
        else:
            found = endpoint(reactor, port.description)
            if isinstance(found, AdoptedStreamServerEndpoint):  # one of systemd's
                found = Adopted(reactor, found.fileno, found.addressFamily)
            yield Opened(port.kind, found, port.description)


def endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """The endpoint that is described so. Raises `CannotListen`."""
    try:
        found: IStreamServerEndpoint = serverFromString(reactor, description)
    except Exception as error:  # parsers of endpoints raise what they like
        why = what_is_wrong(description, error)
        raise CannotListen(f"--listen {description}: {why}") from error
    return found


def announce(options: Options, kind: str, name: Any) -> None:
    """Tell the log what is on a port: `name` is its address as getsockname(2) gives it, or else
    what it is called."""
    if isinstance(name, tuple):
        host, port = name[:2]
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    else:
        where = visible(os.fsdecode(name))
    if kind == ECHO:
        _log.info("echo on {where}", where=where)
    elif kind == TLS:
        _log.info("serving {what}, over TLS, on {where}", what=options.served(), where=where)
    else:
        _log.info("serving {what} on {where}", what=options.served(), where=where)
