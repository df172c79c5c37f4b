"""How connections are accepted: as fast as is allowed, and while there is a descriptor for each.

Imports the modules beside it. What is not accepted yet waits in the backlog, and notices nothing.
A client that may have no other connection is told so (`server.busy`), at little cost.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.server.crowd import Address, Crowd, Full
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import DirectTransport
from tcpdl.server.peer import peer_name
from tcpdl.server.proxied import Proxied, Proxies
from tcpdl.server.transfers import BUSY, Transfers

AT_ONCE = 64
"""Connections accepted in one turn of the reactor: some milliseconds."""

BURST_SECONDS = 0.1
"""What may be accepted at once after a while in which nothing was: what the rate gives in so many
seconds. Then the ports are left alone until there is a tenth of that again."""

REFUSAL_SECONDS = 5.0
"""How long a connection lasts for which there is no room."""

REST_SECONDS = 0.5
"""How long the ports are left alone when somebody has come and cannot be accepted: the whole system
has no descriptors or no memory left, and to ask again at once would be to ask all the time."""

PAUSES = ("rate", "descriptors", "system")
"""Why ports are left alone: as many were accepted as may be in a second, there is no descriptor for
another connection, or the system could give none."""

NOTE_SECONDS = 1.0
"""How long between two lines about refusals."""

_log = Logger()


class Accepting:
    """Accepts on all ports of a daemon."""

    def __init__(
        self,
        reactor: Any,
        crowd: Crowd,
        deadlines: Deadlines,
        *,
        rate: int = 0,
        transfers: Transfers | None = None,
    ) -> None:
        """`rate` is how many connections are accepted in a second; 0: any number."""
        self.transfers = transfers or Transfers(reactor)
        self.crowd = crowd
        self.deadlines = deadlines
        self.proxies: Proxies | None = None
        """Who is believed to pass on the connections of others."""
        self._reactor = reactor
        self._rate = rate
        self._burst = max(1.0, rate * BURST_SECONDS)
        self._tokens = self._burst
        self._at = 0.0  # when there were so many
        self.accepted = 0
        """Connections, those among them for which there was no room."""
        self.pauses = dict.fromkeys(PAUSES, 0)
        """How often the ports were left alone, and why."""
        self._readers: dict[Any, _Reader] = {}
        self._timer: IDelayedCall | None = None
        self._closed = False  # nothing is accepted for now
        self._silent_until = float("-inf")
        self._unsaid = 0
        self._note: IDelayedCall | None = None
        crowd.on_leave = self._left

    def change(self, rate: int) -> None:
        """Accept so many in a second from now on; and look whether there is room now."""
        self._rate = rate
        self._burst = max(1.0, rate * BURST_SECONDS)
        self._tokens = self._burst
        self._at = self._reactor.seconds()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed and self._readers:
            self._open()

    def start(self, port: Any) -> None:
        """Accept on `port`, which must not do so itself."""
        if not self._readers:
            self._at = self._reactor.seconds()
        reader = self._readers[port] = _Reader(port, self)
        if not self._closed:
            self._reactor.addReader(reader)

    def stop(self, port: Any) -> None:
        """Accept on `port` no more."""
        reader = self._readers.pop(port, None)
        if reader is not None:
            self._reactor.removeReader(reader)
        if not self._readers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def finish(self, port: Any, most: int) -> Deferred[None]:
        """Accept on `port` what has come to it, `most` at most, and then no more. Fires when that
        is so."""
        done: Deferred[None] = Deferred()
        is_open = port in self._readers
        self.stop(port)
        if is_open:
            self._accept_rest(port, most, done)
        else:
            done.callback(None)
        return done

    def _accept_rest(self, port: Any, left: int, done: Deferred[None]) -> None:
        room = max(0, min(AT_ONCE, self.crowd.room, left))
        before = self.accepted
        if room:
            port.numberAccepts = room
            port.doRead()
        if room and self.accepted - before >= room:
            self._reactor.callLater(0, self._accept_rest, port, left - room, done)
        else:
            done.callback(None)

    def accept(self, port: Any) -> None:
        """Accept what has come to `port`, as far as there is room."""
        room = self._room()
        if room:
            port.numberAccepts = min(port.numberAccepts, room)
            before = self.accepted
            port.doRead()
            if self.accepted == before:
                # Unless another process, which listens on the same socket, was faster.
                if _somebody_waits(port):
                    self._rest()
                return
            room = self._room()
        if not room:
            self._close()

    def came(self) -> None:
        """A connection was accepted."""
        self.accepted += 1
        self._tokens -= 1

    def refused(self, peer: object, why: str, outcome: str = BUSY) -> None:
        """Tell the log, unless it was told something of the kind a moment ago."""
        now = self._reactor.seconds()
        if now < self._silent_until:
            self._unsaid += 1
            if self._note is None:
                self._note = self._reactor.callLater(self._silent_until - now, self._say_more)
            return
        self._silent_until = now + NOTE_SECONDS
        name = peer_name(peer)
        _log.warn("{peer} was refused: {why}", peer=name, why=why)
        self.transfers.once(outcome, "-", name, False, why=why)

    def turn_away(self, transport: Any, address: Address, peer: object, why: str) -> Bound | None:
        """A connection that was counted at `address` is that of `peer`, for which there is no room.
        Returns what ends it, unless there is no room to be told so either."""
        self.refused(peer, why)
        self.crowd.leave(address)
        refused = self.crowd.refuse(peer)
        return None if refused is None else Bound(transport, refused, self)

    def _say_more(self) -> None:
        self._note = None
        count, self._unsaid = self._unsaid, 0
        self._silent_until = self._reactor.seconds() + NOTE_SECONDS
        _log.warn("{count} more were refused", count=count)

    def _room(self) -> int:
        room = max(0, min(AT_ONCE, self.crowd.room))
        if not self._rate:
            return room
        now = self._reactor.seconds()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return max(0, min(room, int(self._tokens)))

    def _rest(self) -> None:
        """Leave the ports alone for a while."""
        self._turn_away("system")
        if self._timer is None:
            self._timer = self._reactor.callLater(REST_SECONDS, self._open)

    def _turn_away(self, why: str) -> None:
        if not self._closed:
            self._closed = True
            self.pauses[why] += 1
            for reader in self._readers.values():
                self._reactor.removeReader(reader)

    def _close(self) -> None:
        """Leave the ports alone until there is room."""
        self._turn_away("rate" if self.crowd.room > 0 else "descriptors")
        if self._timer is None and self.crowd.room > 0:
            wanted = max(1.0, self._burst / 10)
            self._timer = self._reactor.callLater((wanted - self._tokens) / self._rate, self._open)

    def _open(self) -> None:
        self._timer = None
        if self._room():
            self._closed = False
            for reader in self._readers.values():
                self._reactor.addReader(reader)
        else:
            self._close()

    def _left(self) -> None:
        if self._closed and self._timer is None and self._readers:
            self._open()


def _somebody_waits(port: Any) -> bool:
    looked = select.poll()
    looked.register(port.fileno(), select.POLLIN)
    return bool(looked.poll(0))


@implementer(IReadDescriptor)
class _Reader:
    """Stands for a port where the reactor looks whether somebody has come."""

    def __init__(self, port: Any, accepting: Accepting) -> None:
        self._port = port
        self._accepting = accepting
        self.fileno: Callable[[], int] = port.fileno

    def logPrefix(self) -> str:
        return "tcpdl"

    def doRead(self) -> None:
        self._accepting.accept(self._port)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor shuts down; the port closes itself."""


@implementer(IProtocolFactory)
class Door:
    """Stands before the factory of a port: whoever has no room there gets no protocol of it."""

    noisy = False

    def __init__(
        self,
        factory: IProtocolFactory,
        accepting: Accepting,
        refusal: Callable[[], IProtocol],
    ) -> None:
        """`refusal` makes a protocol that says that there is no room."""
        self._factory = factory
        self._accepting = accepting
        self._refusal = refusal
        self._address: Address | None = None
        self._passes_on = False
        self.refuses = False
        """The connection that is being made is to be told so."""

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def buildProtocol(self, addr: Any) -> IProtocol | None:
        accepting = self._accepting
        accepting.came()
        self.refuses = False
        proxies = accepting.proxies
        passes_on = self._passes_on = proxies is not None and proxies.trusts(addr)
        try:
            self._address = accepting.crowd.enter(addr, passes_on=passes_on)
        except Full as problem:
            accepting.refused(addr, str(problem))
            self._address = accepting.crowd.refuse(addr, passes_on=passes_on)
            self.refuses = self._address is not None
            return self._refusal() if self.refuses else None
        try:
            protocol = self._factory.buildProtocol(addr)
        except BaseException:
            self.abandon()
            raise
        if protocol is None:
            self.abandon()
        return protocol

    def bind(self, transport: DirectTransport) -> None:
        """What `buildProtocol` made gets `transport`: when that is lost, there is room again."""
        address, self._address = self._address, None
        if address is None:
            return
        place = Bound(transport, address, self._accepting) if self.refuses else address
        if self._passes_on:
            Proxied(transport, place, self._accepting, self._refusal).begin()
        else:
            transport.place = place

    def abandon(self) -> None:
        """The connection that was being made will not be."""
        address, self._address = self._address, None
        if address is not None:
            crowd = self._accepting.crowd
            (crowd.refused if self.refuses else crowd.leave)(address)


class Bound:
    """Ends a connection for which there was no room, however it has come on."""

    def __init__(self, transport: Any, address: Address, accepting: Accepting) -> None:
        self._transport = transport
        self._address = address
        self._accepting = accepting
        accepting.deadlines.set(self, REFUSAL_SECONDS)

    def overdue(self) -> None:
        self._transport.abortConnection()

    def leave(self) -> None:
        self._accepting.deadlines.clear(self)
        self._accepting.crowd.refused(self._address)
