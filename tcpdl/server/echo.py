"""The echo service of RFC 862, and the text servers that answer everything with one text.

Imports `wire.recognise` and the modules beside it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import encrypted, reset_if_lost, unread
from tcpdl.server.lingering import LAST_SECONDS, LingeringProtocol
from tcpdl.server.peer import peer_name
from tcpdl.server.transfers import COMPLETE, MALFORMED, TIMEOUT, Transfers
from tcpdl.wire.recognise import http_request, target_began

IDLE_SECONDS = 3600.0
"""How long a connection may be silent before it is reset."""


class Echo(LingeringProtocol):
    """Sends back what it receives; or, with `reply`, that text for every message received.

    A message is what one read brings, as in the programs that send one text and wait for one.
    """

    factory: EchoFactory

    _head: bytes | None = b""  # what came first, until it is clear that it is no HTTP request
    _held = b""  # the part of it that was not echoed yet

    def __init__(self, factory: EchoFactory) -> None:
        super().__init__(factory.deadlines)
        self.factory = factory
        # All that each has is set at once: what comes later costs each some hundred bytes.
        self._seen = 0  # bytes that had been sent, and taken, at the last look
        self._silent_since = self._began = 0.0

    def connectionMade(self) -> None:
        # The connection paces itself: while the client does not read what it was sent, nothing
        # more is read from it.
        self.transport.registerProducer(self.transport, True)
        reset_if_lost(self.transport, False)  # an echo has no end to be mistaken
        self._silent_since = self._began = self.deadlines.now()
        self._rest()
        if self.deadlines.draining:
            self.drain()  # it waited to be accepted, and comes too late to be told

    def dataReceived(self, data: bytes) -> None:
        self.deadlines.metrics.echoed += len(data)
        if self._head is not None:
            data = self._inspect(data)
            if not data:
                return
        reply = self.factory.reply
        self.transport.write(data if reply is None else reply)

    def _inspect(self, data: bytes) -> bytes:
        """What may be echoed now that `data` has come, while it is not clear what speaks.

        A browser that was lured here must not be made to show back what it sent. So nothing of
        what may be a request is echoed from the moment its target begins.
        """
        assert self._head is not None
        head = self._head + data
        verdict = http_request(head)
        if verdict:
            self.lost_as = MALFORMED
            self.transport.loseConnection()
            return b""
        held, self._held = self._held, b""
        if verdict is None:
            self._head = head
            if target_began(head):
                self._held = held + data
                return b""
        else:
            self._head = None
        return held + data

    def overdue(self) -> None:
        if self._finishing:
            super().overdue()
            return
        if self.deadlines.draining and not unread(self.transport):
            self._send_the_rest()
            return
        now = self.deadlines.now()
        sent = getattr(self.transport, "bytes_sent", 0)
        if sent > self._seen:
            self._silent_since = now
            if self.owes():
                super().overdue()
                return
            self._seen = sent
        if now - self._silent_since < IDLE_SECONDS:
            self._rest()
        else:
            self.deadlines.metrics.missed["idle"] += 1
            self.lost_as = TIMEOUT
            self.transport.abortConnection()

    def _rest(self) -> None:
        """Look again whether there is something to be taken: the echo of each byte is owed."""
        self.deadlines.set(self, self.deadlines.times.pace.look)

    def drain(self) -> None:
        """Send back what has come, and end."""
        if self._finishing:
            super().drain()
        elif unread(self.transport):
            self.dataReceived = self._last_received  # type: ignore[method-assign]
            # All of it may be a PROXY header, or a part of a record of TLS.
            self.deadlines.set(self, LAST_SECONDS)
        else:
            self._send_the_rest()

    def _last_received(self, data: bytes) -> None:
        Echo.dataReceived(self, data)
        if not unread(self.transport):
            self._send_the_rest()

    def readConnectionLost(self) -> None:
        """The client has sent all: send back what is left, then end as well."""
        super().readConnectionLost()
        self._send_the_rest()

    def _send_the_rest(self) -> None:
        self.dataReceived = self.discard  # type: ignore[method-assign]
        self.transport.unregisterProducer()
        if self._held:
            self.transport.write(self._held if self.factory.reply is None else self.factory.reply)
        self.finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # One that is open and idle is to take no more memory than it has to, so nobody sees it.
        whole = self._finishing and reason.check(ConnectionDone)
        outcome = COMPLETE if whole else self.lost_as
        self.factory.tell(outcome, self.transport, self._began)
        self.__dict__.pop("dataReceived", None)  # which refers to us
        super().connectionLost(reason)


class EchoFactory(Factory):
    """Makes the `Echo` protocols of one port."""

    noisy = False

    def __init__(
        self,
        deadlines: Deadlines,
        reply: bytes | None = None,
        *,
        transfers: Transfers | None = None,
    ) -> None:
        self.deadlines = deadlines
        self.reply = reply
        self.transfers = transfers or Transfers(deadlines.clock)

    def buildProtocol(self, addr: IAddress | None) -> Echo:  # type: ignore[override]
        self.deadlines.metrics.connections["echo"] += 1
        return Echo(self)

    def tell(self, outcome: str, transport: Any, began: float) -> None:
        """A connection that began at that time has ended."""
        transfer = self.transfers.begin(
            "echo", peer_name(transport.getPeer()), encrypted(transport)
        )
        transfer.began = began
        transfer.counted = getattr(transport, "bytes_sent", 0)
        transfer.end(outcome)
