"""Which transports act on the wire itself, and which wrap one that does. Imports Twisted only."""

from __future__ import annotations

from typing import Any

from twisted.protocols.policies import ProtocolWrapper


class PlainTransport:
    """Base of the transports whose methods act on the wire itself.

    `isinstance(transport, PlainTransport)` is the question to ask before a file is sent or a
    connection half-closed. Not `providedBy`, and not whether the method is there: a TLS or PROXY
    wrapper copies the interfaces of the transport below it and forwards unknown names to it, so
    both would say yes, and plain bytes would enter an encrypted stream.
    """

    TLS = False
    bytes_sent = 0
    """Bytes handed to the kernel so far."""

    unsent = 0
    """Bytes that were written and are not in the kernel's hands yet, files not counted."""

    held = False
    """A limit of rate keeps it from sending (`server.shaping`): that nothing goes is not the doing
    of the peer."""

    def unacknowledged(self) -> int:
        """Bytes in the kernel's hands that the peer has not said to have received, an end counted
        as one; 0 where that cannot be told, and when the connection is over."""
        raise NotImplementedError

    def reset_if_lost(self, reset: bool) -> None:
        """From now on, let the kernel reset the connection however it is closed; or no more.

        While a file is under way, a close is not its end: not that of a process that is killed,
        nor one by whoever does not know of the file.
        """
        raise NotImplementedError


def plain(transport: object) -> Any:
    """`transport` if it may send files and half-close (`PlainTransport`), else `None`."""
    return transport if isinstance(transport, PlainTransport) and not transport.TLS else None


def wire(transport: Any) -> Any:
    """The transport of the socket itself, below whatever wraps it: to close it, not to write."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def reset_if_lost(transport: Any, reset: bool) -> None:
    """`PlainTransport.reset_if_lost`, below whatever wraps it and where there is one."""
    below = wire(transport)
    if isinstance(below, PlainTransport):
        below.reset_if_lost(reset)
