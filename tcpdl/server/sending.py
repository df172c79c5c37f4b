"""Send a file over whatever transport a protocol was given. Imports `outgoing` and `transfers`.

Over a `DirectTransport` that is its own `sendFile`. Any other (Twisted's TLS, a PROXY layer, one
that tests made) gets the file through its public `IConsumer` face, read and written piece by piece.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from tcpdl.server.direct import direct, reset_if_lost, wire
from tcpdl.server.outgoing import FileCutShort
from tcpdl.server.transfers import BROKEN, CHANGED, FAILED, Transfer

PIECE = 64 * 1024
"""Bytes read and written at a time."""


def send_file(
    transport: Any, fd: int, offset: int, count: int, transfer: Transfer | None = None
) -> Deferred[int]:
    """Send `count` bytes of `fd` from `offset` over `transport`, as a part of `transfer`.

    The Deferred and its failures are those of `IFileTransport.sendFile`, but that it fires when
    the last byte was written to the transport, whose own buffer may still hold it.
    """
    ours = direct(transport)
    sending: Any
    if ours is not None:
        sending = ours.sendFile(fd, offset, count)
    else:
        sending = _Pump(transport, fd, offset, count)
    if transfer is not None:
        transfer.watch(sending)
    if ours is None:
        sending.start()
    done: Deferred[int] = sending
    return done


def has_unsent(transport: Any) -> bool:
    """Whether some of what was written to `transport` has to wait, as far as can be told."""
    ours = direct(transport)
    return ours is not None and ours.unsent > 0 and bool(ours.connected)


def count_written(
    transport: Any, count: int, transfer: Transfer, *, behind: int = 0
) -> Deferred[int] | None:
    """The last `count` bytes that were written to `transport`, but for some `behind` them, are a
    part of `transfer`.

    Returns nothing if all are in the kernel's hands; else what fires once they are, with 0, or
    with how many were left when the connection was lost. Of a transport that is not ours, what is
    written counts as sent.
    """
    if not has_unsent(transport):
        transfer.counted += count
        return None
    written: Any = transport.written(count, behind)
    transfer.watch(written)
    waited_for: Deferred[int] = written
    return waited_for


async def until_sent(transport: Any, transfer: Transfer) -> None:
    """Wait until all of `transfer`, which was written, is in the kernel's hands. Raises
    `ConnectionLost`."""
    written = count_written(transport, 0, transfer)
    if written is not None and await written:
        raise ConnectionLost


@implementer(IPullProducer)
class _Pump(Deferred[int]):
    """Reads the file whenever the transport asks for more. Fires as `send_file` has it."""

    def __init__(self, transport: Any, fd: int, offset: int, count: int) -> None:
        super().__init__(lambda _: self._wire.abortConnection())
        self._transport = transport
        self._wire = wire(transport)
        self._fd = fd
        self._offset = offset
        self._end = offset + count
        self._count = count

    @property
    def sent(self) -> int:
        """Bytes that were written."""
        return self._count - (self._end - self._offset)

    def start(self) -> None:
        if self._count:
            reset_if_lost(self._wire, True)
            self._transport.registerProducer(self, False)
        else:
            self.callback(0)

    def resumeProducing(self) -> None:
        try:
            data = os.pread(self._fd, min(PIECE, self._end - self._offset), self._offset)
        except OSError as error:
            return self._cut_short(os.strerror(error.errno or 0))
        if not data:
            return self._cut_short("the file became shorter", CHANGED)
        self._offset += len(data)
        self._transport.write(data)
        if self._offset == self._end:
            self._transport.unregisterProducer()
            reset_if_lost(self._wire, False)
            self.callback(self._count)
        return None

    def stopProducing(self) -> None:
        """The connection was lost."""
        self._fail("the connection was lost", BROKEN)

    def _cut_short(self, why: str, outcome: str = FAILED) -> None:
        self._transport.unregisterProducer()
        # Not by the transport itself: TLS would first say that all had been sent.
        self._wire.abortConnection()
        self._fail(why, outcome)

    def _fail(self, why: str, outcome: str) -> None:
        if not self.called:
            self.errback(FileCutShort(self.sent, self._count, why, outcome))
