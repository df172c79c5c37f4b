"""What the parent and a worker tell each other: messages over a socket pair. Imports Twisted.

A message has a kind and named values, as JSON. What goes into one must be small and quickly made:
both ends read and write them in the time of their reactor. The parent holds what comes from a
worker for as little trustworthy as what comes from a client, since a worker speaks with those.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

MESSAGE_MOST = 4 << 20
"""Bytes of a message."""

UNSENT_MOST = 16 << 20
"""Bytes of messages that wait for the other end to read them. One that leaves more has gone wrong:
the channel is closed, which ends the worker."""

_log = Logger()


@implementer(IPushProducer)
class Channel(Int32StringReceiver):
    """One end of it."""

    MAX_LENGTH = MESSAGE_MOST

    def __init__(self, name: str) -> None:
        """`name` says to the log who is at the other end."""
        self.name = name
        self.open = False
        self.busy = False
        """The other end has not read what it was told: better not tell it what can be left out."""
        self.on_open: Callable[[], object] = _nothing
        self.on_close: Callable[[], object] = _nothing
        """Is called once, when there is no other end any more."""
        self.on_idle: Callable[[], object] = _nothing
        """Is called when it is not busy any more."""
        self.on_sign: Callable[[], object] = _nothing
        """Is called for each message that comes, whatever it says."""
        self._calls: dict[str, list[Callable[[dict[str, Any]], object]]] = {}
        self._unsent = 0

    def on(self, kind: str, call: Callable[[dict[str, Any]], object]) -> None:
        """Call this with the values of each message of this kind. What raises an exception there is
        taken for nonsense from the other end, and the channel is closed."""
        self._calls.setdefault(kind, []).append(call)

    def tell(self, kind: str, **content: Any) -> None:
        """Send a message; without effect if the channel is not open.

        Raises `TypeError` and `ValueError` for what JSON cannot say, or is too long.
        """
        if not self.open:
            return
        data = json.dumps([kind, content], separators=(",", ":")).encode("ascii")
        if len(data) > MESSAGE_MOST:
            raise ValueError(f"a message of {len(data)} bytes ({kind})")
        if self.busy:
            self._unsent += len(data)
            if self._unsent > UNSENT_MOST:
                _log.error("{name} does not read what it is told", name=self.name)
                self.abort()
                return
        self.sendString(data)

    def close(self) -> None:
        """Close the channel, once all that was told is on its way."""
        transport: Any = self.transport
        if self.open:
            self.open = False
            transport.unregisterProducer()
            transport.loseConnection()

    def abort(self) -> None:
        """Close the channel at once."""
        transport: Any = self.transport
        if self.open:
            self.open = False
            transport.abortConnection()

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self.open = True
        self.on_open()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.open = False
        self.on_close()

    def stringReceived(self, string: bytes) -> None:
        if not self.open:
            return  # it came together with what it was closed for
        self.on_sign()
        try:
            kind, content = json.loads(string)
            for call in self._calls.get(kind, ()):
                call(content)
        except Exception as problem:  # noqa: BLE001 - whatever was wrong with it
            # Without the text of it, in which may stand what was said, at any length.
            _log.error(
                "{name} said what makes no sense: {kind} in {where}",
                name=self.name,
                kind=type(problem).__name__,
                where=_where(problem),
            )
            self.abort()

    def lengthLimitExceeded(self, length: int) -> None:
        _log.error("{name} began a message of {length} bytes", name=self.name, length=length)
        self.abort()

    def pauseProducing(self) -> None:
        """The other end has not read what it was told."""
        self.busy = True
        self._unsent = 0

    def resumeProducing(self) -> None:
        """It has read all."""
        self.busy = False
        self.on_idle()

    def stopProducing(self) -> None:
        """The connection is lost."""


class _Only(Factory):
    """Has one channel for the one connection that there will be."""

    noisy = False

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: object) -> Any:
        return self._channel


def connect(reactor: Any, fd: int, channel: Channel) -> None:
    """Have `channel` speak over a copy of the descriptor `fd`, one of a socket pair."""
    os.set_blocking(fd, False)
    reactor.adoptStreamConnection(fd, socket.AF_UNIX, _Only(channel))


def _where(problem: Exception) -> str:
    """The function that raised it, and the line."""
    frame = problem.__traceback__
    assert frame is not None
    while frame.tb_next is not None:
        frame = frame.tb_next
    code = frame.tb_frame.f_code
    return f"{code.co_name} ({os.path.basename(code.co_filename)}:{frame.tb_lineno})"


def _nothing() -> None:
    pass
