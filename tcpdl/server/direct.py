"""Which transports act on the wire itself, and which wrap one that does.

Imports `server.crowd`, `server.peer`, `server.sockets` and Twisted.
"""

from __future__ import annotations

import fcntl
import termios
from typing import Any, NamedTuple, Protocol

from twisted.internet.interfaces import IAddress, ISSLTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from tcpdl.server import sockets
from tcpdl.server.crowd import Address
from tcpdl.server.peer import is_near

_OF_ALL = {"bytes_sent": 0, "place": None, "producer": None, "streamingProducer": False}.items()
"""What connections come to have before they end, and so have from the beginning. Python keeps 30
names for all instances of a class together. One that comes later may find no room among those that
have ended, and then costs each instance 500 bytes."""


class ClientCertificate(NamedTuple):
    """What a certificate says of a client that has proven to have it."""

    common_name: str | None
    """Of its subject; `None` if there is none, or more than one."""

    names: tuple[str, ...]
    """Its alternative names: hosts."""

    emails: tuple[str, ...]
    """Its alternative names: addresses of mail."""


class Leaving(Protocol):
    """What wants to know that a connection is over."""

    def leave(self) -> None: ...


class PassedOn:
    """Where a client is whose connection a proxy passes on; also a `Leaving`."""

    __slots__ = ()

    peer: IAddress
    """The client, or the proxy, if the client is not known."""

    by: IAddress
    """The proxy."""

    own = False
    """The proxy has made the connection for itself, to see whether we are there."""

    is_near = False
    """Both are on this machine."""

    @property
    def address(self) -> Address | None:
        """Where it is counted."""
        raise NotImplementedError

    def leave(self) -> None:
        """The connection is over."""
        raise NotImplementedError


class DirectTransport:
    """Base of our own transports, whose methods act on the wire itself.

    They send files and half-close, encrypted or not. `isinstance(transport, DirectTransport)` is
    the question to ask before either. Not `providedBy`, and not whether the method is there:
    Twisted's TLS, or a PROXY wrapper, copies the interfaces of the transport below it and forwards
    unknown names to it, so both would say yes, and plain bytes would enter an encrypted stream.
    """

    socket: Any
    connected: Any
    TLS = False
    bytes_sent = 0
    """Bytes handed to the kernel so far, as they are on the wire."""

    unsent = 0
    """Bytes that were written and are not in the kernel's hands yet, files not counted."""

    waiting = 0
    """Bytes that are not in the kernel's hands yet, those of files and all."""

    def written(self, count: int, behind: int = 0) -> Any:
        """The last `count` bytes that were written, but for some `behind` them, where bytes are
        `unsent`: a Deferred that fires once all are in the kernel's hands (`outgoing.Written`)."""
        raise NotImplementedError

    held = False
    """The server keeps it from sending, by a limit of rate (`server.shaping`), or since a disk has
    still to bring the next bytes: that nothing goes is not the doing of the peer."""

    secure = False
    """All that goes over this connection is encrypted by this transport."""

    place: Address | Leaving | None = None
    """Where the client is, if connections are counted; it is told once that this one is over."""

    client_certificate: ClientCertificate | None = None
    """What the client has proven to be, if it was asked and has."""

    truncated = False
    """The client's stream was cut off: it ended, encrypted, and nothing in it said that it would.
    What came last may be the beginning of something else."""

    def __init__(self, *args: Any) -> None:
        for name, value in _OF_ALL:
            setattr(self, name, value)
        super().__init__(*args)

    def getPeer(self) -> Any:
        """The client: whom a proxy says it to be, if there is one between us that is believed."""
        place = self.place
        if isinstance(place, PassedOn):
            return place.peer
        return super().getPeer()  # type: ignore[misc]

    def connectionLost(self, reason: Failure) -> None:
        """As the base class beside this one. It may be called twice: a connection that is aborted
        may be reset before that has its turn."""
        connected = self.connected
        try:
            super().connectionLost(reason)  # type: ignore[misc]
        finally:
            place = self.place
            if not isinstance(place, PassedOn):  # whose client is still to be known
                self.place = None
            if connected and place is not None:
                place.leave()

    def under_way(self) -> int:
        """Bytes in the kernel's hands that the peer has still to take; for a Unix socket, the
        memory that they are in. It tells whether the peer takes any."""
        return sockets.under_way(self.socket)

    def unacknowledged(self) -> int:
        """Bytes in the kernel's hands that the peer has not said to have received, an end counted
        as one; 0 where that cannot be told, and when the connection is over."""
        return sockets.unacknowledged(self.socket)

    def reset_if_lost(self, reset: bool) -> None:
        """From now on, let the kernel reset the connection however it is closed; or no more.

        While a file is under way, a close is not its end: not that of a process that is killed,
        nor one by whoever does not know of the file.
        """
        raise NotImplementedError


def direct(transport: object) -> Any:
    """`transport` if it may send files and half-close (`DirectTransport`), else `None`."""
    return transport if isinstance(transport, DirectTransport) and not transport.TLS else None


def wire(transport: Any) -> Any:
    """The transport of the socket itself, below whatever wraps it: to close it, not to write."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def address_of(transport: Any) -> Address | None:
    """Where the client of `transport`, of whatever kind, is; `None` if nobody counts."""
    below = wire(transport)
    place = below.place if isinstance(below, DirectTransport) else None
    if isinstance(place, PassedOn):
        return place.address
    return place if isinstance(place, Address) else None


def passed_on(transport: Any) -> PassedOn | None:
    """What is known of the client of `transport`, of whatever kind, if a proxy passes it on."""
    below = wire(transport)
    place = below.place if isinstance(below, DirectTransport) else None
    return place if isinstance(place, PassedOn) else None


def is_local(transport: Any) -> bool:
    """Whether the client of `transport` is on this machine, and all that is between us."""
    place = passed_on(transport)
    return is_near(transport.getPeer()) if place is None else place.is_near


def encrypted(transport: Any) -> bool:
    """Whether what is written to `transport`, of whatever kind, travels encrypted."""
    below = wire(transport)
    if isinstance(below, DirectTransport) and below.secure:
        return True
    return bool(ISSLTransport.providedBy(transport))


def unread(transport: Any) -> bool:
    """Whether the kernel has bytes of the client that were not read yet."""
    below = wire(transport)
    try:
        return isinstance(below, DirectTransport) and any(
            fcntl.ioctl(below.fileno(), termios.FIONREAD, bytes(4))  # type: ignore[attr-defined]
        )
    except (OSError, ValueError):
        return False  # it is closed


def reset_if_lost(transport: Any, reset: bool) -> None:
    """`DirectTransport.reset_if_lost`, below whatever wraps it and where there is one."""
    below = wire(transport)
    if isinstance(below, DirectTransport):
        below.reset_if_lost(reset)
