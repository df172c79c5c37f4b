"""Options that say how much there may be of something, and how long it may take. Imports Twisted
and `server`."""

from __future__ import annotations

from typing import Any

from twisted.python import usage

from tcpdl.options.reading import number
from tcpdl.server.crowd import Limits
from tcpdl.server.deadlines import Times
from tcpdl.server.draining import DRAIN_SECONDS
from tcpdl.server.progress import Pace

_MOST = 10**9
_HOUR = 3600
_LIMITS = Limits()
_TIMES = Times()


def _count(name: str, least: int = 0) -> Any:
    return number(f"--{name}", "a whole number", _MOST, least)


def _seconds(name: str, least: int) -> Any:
    return number(f"--{name}", "a number of seconds", 24 * _HOUR, least)


class LimitOptions(usage.Options):
    """How much there may be of something, and how long it may take."""

    optParameters: list[list[Any]] = [
        [
            "max-connections",
            None,
            None,
            f"Connections at a time, on all ports ({_LIMITS.connections}, or what descriptors "
            "allow; 0: what they allow).",
            _count("max-connections"),
        ],
        [
            "max-connections-per-address",
            None,
            None,
            f"The same, from one IPv4 address or IPv6 network of 64 bits ({_LIMITS.per_address}, "
            "but any number from this machine; 0: any number).",
            _count("max-connections-per-address"),
        ],
        [
            "max-connections-per-network",
            None,
            None,
            "The same, from one network: 24 bits of an IPv4 address, 48 of an IPv6 one "
            f"({_LIMITS.per_network}, but any number from this machine; 0: any number).",
            _count("max-connections-per-network"),
        ],
        [
            "max-accepts",
            None,
            5000,
            "Connections accepted in a second; others wait meanwhile. 0: any number.",
            _count("max-accepts"),
        ],
        [
            "max-requests",
            None,
            100_000,
            "Requests on one connection, which is then ended. 0: any number.",
            _count("max-requests"),
        ],
        [
            "max-files",
            None,
            0,
            "Files that are open to be sent at a time; 0: what descriptors allow.",
            _count("max-files"),
        ],
        [
            "request-seconds",
            None,
            int(_TIMES.request),
            "Seconds for a connection's first request to come.",
            _seconds("request-seconds", 1),
        ],
        [
            "idle-seconds",
            None,
            int(_TIMES.idle),
            "Seconds for which an HTTP connection is kept without a request.",
            _seconds("idle-seconds", 1),
        ],
        [
            "min-rate",
            None,
            _TIMES.pace.rate,
            "Bytes a second that a client takes at least, if it is owed so many; 0: any at all.",
            _count("min-rate"),
        ],
        [
            "stall-seconds",
            None,
            int(_TIMES.pace.seconds),
            "Seconds over which that is measured.",
            _seconds("stall-seconds", 5),
        ],
        [
            "drain",
            None,
            DRAIN_SECONDS,
            "Seconds for which SIGTERM lets clients have what they asked for; a second one, or "
            "SIGINT, ends at once.",
            _seconds("drain", 0),
        ],
    ]

    def limits(self) -> Limits:
        """How many connections there may be."""
        address = self["max-connections-per-address"]
        network = self["max-connections-per-network"]
        in_all = self["max-connections"]
        return Limits(
            _LIMITS.connections if in_all is None else in_all,
            _LIMITS.per_address if address is None else address,
            _LIMITS.per_network if network is None else network,
            # A number that was given holds for this machine as well; ours would hold for a proxy.
            address or 0,
            network or 0,
        )

    def accepts(self) -> int:
        """Connections that a process accepts in a second; 0: any number."""
        return self._part("max-accepts")

    def files_most(self) -> int:
        """Files that a process may have open to be sent; 0: what descriptors allow."""
        return self._part("max-files")

    def _part(self, name: str) -> int:
        # The kernel gives each worker as many connections as any other.
        most: int = self[name]
        return -(-most // (self.get("workers") or 1))

    def times(self) -> Times:
        """How long a client may take."""
        request = float(self["request-seconds"])
        return Times(
            request=request,
            head=min(_TIMES.head, request),
            idle=float(self["idle-seconds"]),
            pace=Pace(self["min-rate"], float(self["stall-seconds"])),
        )
