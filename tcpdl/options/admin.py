"""The option that says where the administrator's port is. Imports Twisted."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from typing import Any, NamedTuple

from twisted.python import usage

from tcpdl.options.reading import number

_FORMS = "write unix:PATH, tcp:PORT, or tcp:PORT:interface=ADDR with \\: for each colon of ADDR"


class AdminAddress(NamedTuple):
    """Where the administrator's port is."""

    path: str | None = None
    """Of a Unix socket; or else `port` and `interface`."""
    port: int = 0
    interface: str = "127.0.0.1"

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.interface}]" if ":" in self.interface else self.interface
        return f"tcp:{host}:{self.port}"

    @property
    def option(self) -> str:
        """As --admin takes it."""
        if self.path is not None:
            return f"unix:{self.path}"
        interface = self.interface.replace(":", "\\:")
        return f"tcp:{self.port}" + ("" if interface == "127.0.0.1" else f":interface={interface}")


def admin_address(text: str) -> AdminAddress:
    """What is given to --admin. Raises `usage.UsageError`."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        # Made absolute at once: twistd may go elsewhere.
        return AdminAddress(path=os.path.abspath(rest))
    if kind != "tcp":
        raise usage.UsageError(f"--admin: {text!r} is no address; {_FORMS}")
    port, *more = (part.replace("\\:", ":") for part in re.split(r"(?<!\\):", rest))
    read = number("--admin", "a port number", 65535)
    if not more:
        return AdminAddress(port=read(port))
    name, _, interface = more[0].partition("=")
    if len(more) > 1 or name != "interface":
        raise usage.UsageError(f"--admin: {text!r} is no address; {_FORMS}")
    if interface == "localhost":
        interface = "127.0.0.1"
    try:
        loopback = ip_address(interface).is_loopback
    except ValueError:
        raise usage.UsageError(f"--admin: {interface!r} is no IP address") from None
    if not loopback:
        raise usage.UsageError(
            f"--admin: others could reach {interface}, and nobody is asked who they are; choose "
            "127.0.0.1, ::1 or unix:PATH, and put a proxy that asks for a login in front"
        )
    return AdminAddress(port=read(port), interface=interface)


class AdminOptions(usage.Options):
    """What is told to the administrator, and where."""

    optParameters: list[list[Any]] = [
        [
            "admin",
            None,
            None,
            "Where to tell the administrator of metrics, health and status over HTTP: unix:PATH, "
            "or tcp:PORT of the loopback interface.",
            admin_address,
        ],
    ]
