"""The names a server answers to. Imports the standard library only.

A page on the web may have its name lead to any address, this server's among them, and would then be
let read in a browser what the server says (DNS rebinding). But the browser names the page's host.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_PORT = re.compile(r":[0-9]*\Z")


def host_name(text: str) -> str:
    """`text` as a name that can be told from others. Raises `ValueError` if it is none."""
    name = text.lower().removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} is no name of a host; it is given without scheme and port")
    return name


class Hosts:
    """So many names, and whatever leads to this machine without one."""

    def __init__(self, names: Iterable[str]) -> None:
        """`names` are what `host_name` gives."""
        self._names = frozenset((*names, "localhost", ""))

    def __contains__(self, host: str) -> bool:
        """Whether `host`, as in the field Host, is one of them, or an address."""
        name = _PORT.sub("", host.lower()).removesuffix(".")
        return name in self._names or _is_address(name)


def _is_address(host: str) -> bool:
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        else:
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
