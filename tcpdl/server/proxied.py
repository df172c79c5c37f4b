"""Connections that a proxy passes on, and says whose they are (PROXY protocol).

Imports `wire` and the modules beside it. The header is taken off below everything else: before TLS,
before the dialect, and before anything is decided by where the client is. From then on, the
connection is that client's: `getPeer` gives its address, the limits of that hold, and who stands
before us matters no more. What comes from anybody who is not trusted is never looked at for a
header.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from twisted.internet import main
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import connectionDone

from tcpdl.server.crowd import Address, Full
from tcpdl.server.direct import Leaving, PassedOn
from tcpdl.server.peer import is_near
from tcpdl.server.transfers import MALFORMED
from tcpdl.server.transport import FileSending
from tcpdl.wire.proxy import HEADER_MOST, Client, Header, Incoming, NotProxied

if TYPE_CHECKING:
    from tcpdl.server.accepting import Accepting

HEADER_SECONDS = 5.0
"""How long the header may take: a proxy sends it with the connection."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """Those who are believed to say whose connections they pass on."""

    def __init__(self, networks: Iterable[Network], *, unix: bool = False) -> None:
        """Who comes from one of the `networks`, and, with `unix`, over a Unix socket."""
        self._networks = tuple(networks)
        self._unix = unix
        self._has = lru_cache(maxsize=1024)(self._contain)

    def trusts(self, address: object) -> bool:
        """Whether the connection of `address` begins with a header."""
        if isinstance(address, (IPv4Address, IPv6Address)):
            return self._has(address.host)
        return self._unix and isinstance(address, UNIXAddress)

    def _contain(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0].removeprefix("::ffff:"))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class Proxied(PassedOn):
    """One such connection: first its header is waited for, then it says whose it is."""

    __slots__ = (
        *("_accepting", "_incoming", "_place", "_refusal", "_transport"),
        *("by", "is_near", "own", "peer"),
    )

    def __init__(
        self,
        transport: Any,
        place: Address | Leaving,
        accepting: Accepting,
        refusal: Callable[[], IProtocol],
    ) -> None:
        """`place` is where it is counted; `refusal` makes what says that there is no room."""
        self.peer = self.by = transport.getPeer()
        self.own = self.is_near = False
        self._transport = transport
        self._place: Address | Leaving | None = place
        self._accepting = accepting
        self._refusal = refusal
        self._incoming: Incoming | None = Incoming()

    @property
    def address(self) -> Address | None:
        return self._place if isinstance(self._place, Address) else None

    def begin(self) -> None:
        """Read the header before anything else."""
        self._transport.place = self
        self._transport.doRead = self._read
        self._accepting.deadlines.set(self, HEADER_SECONDS)

    def overdue(self) -> None:
        self._give_up("it sent none in time")

    def leave(self) -> None:
        self._end()
        if self._place is not None:
            self._place.leave()

    def _read(self) -> Any:
        """What the transport does when something has come: nothing is taken but the header."""
        assert self._incoming is not None
        sock = self._transport.socket
        try:
            data = sock.recv(HEADER_MOST, socket.MSG_PEEK)
            if not data:
                return main.CONNECTION_DONE
            taken = sock.recv(self._incoming.feed(data))
            self._accepting.deadlines.metrics.received += len(taken)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        except NotProxied as problem:
            self._give_up(str(problem))
            return None
        header = self._incoming.header
        if header is not None:
            transport = self._transport
            self._end()
            self._believe(header, transport)
        return None

    def _end(self) -> None:
        """Leave the transport as it was made, and alone."""
        if self._incoming is not None:
            self._accepting.deadlines.clear(self)
            self._transport.__dict__.pop("doRead", None)
            self._incoming = self._transport = None

    def _give_up(self, why: str) -> None:
        said = f"without a valid PROXY header (--proxy-from): {why}"
        self._accepting.refused(self.by, said, MALFORMED)
        self._transport.abortConnection()

    def _believe(self, header: Header, transport: Any) -> None:
        if header.own:
            self.own = True
            self.is_near = is_near(self.by)
        if header.client is None:
            return
        self.peer = _address(header.client)
        self.is_near = is_near(self.peer) and is_near(self.by)
        if header.tls:
            transport.secure = True
        if isinstance(self._place, Address):
            try:
                self._place = self._accepting.crowd.move(self._place, self.peer)
            except Full as problem:
                self._refuse(transport, self._place, str(problem))
                return
            transport.moved()

    def _refuse(self, transport: Any, place: Address, why: str) -> None:
        """Have the client told that there is no room, in place of what it was made for."""
        self._place = self._accepting.turn_away(transport, place, self.peer, why)
        if self._place is None:
            transport.abortConnection()
            return
        transport.unregisterProducer()
        transport.protocol.connectionLost(connectionDone)
        if type(transport).doRead is not FileSending.doRead:
            # Without TLS, which would take more than a refusal is worth.
            transport.doRead = partial(FileSending.doRead, transport)
        transport.protocol = self._refusal()
        transport.protocol.makeConnection(transport)


def _address(client: Client) -> IAddress:
    if not client.host:
        return UNIXAddress(None)
    kind = IPv6Address if ":" in client.host else IPv4Address
    found: IAddress = kind("TCP", client.host, client.port)
    return found
