"""What has come of an answer, checked and delivered in order. Imports `wire` and `errors`.

An answer holds what has come until it was checked. Threads check what is long, one part while the
next comes; parts are delivered in order, and no more than `HELD_MOST` are held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.protocol.errors import Damaged, ProtocolError, server_error
from tcpdl.wire.native import End, Error, Request

INLINE_MOST = 64 * 1024
"""Bytes that are checked at once: that takes less time than asking a thread to."""

HELD_MOST = 2
"""Chunks or packs that are held until they can be delivered: at most twice 16 MiB of a file. A
server may send one more chunk before the digest of the one before, and no further."""

Deliver = Callable[[Any], object]
"""Takes a part of an answer. If it returns a Deferred, the next part waits for that."""


class Connection(Protocol):
    """What is needed of `NativeClient`."""

    @property
    def algorithm(self) -> int: ...

    def in_thread(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]: ...

    def changed(self) -> None:
        """An answer waits for other things than it did."""

    def refuse(self, failure: Failure) -> None:
        """What has come is not this protocol."""


class Part:
    """A chunk or a pack, from when its last byte has come until it is delivered."""

    def __init__(self, name: str, due: bytes | None = None) -> None:
        self.name = name
        """For a sentence."""
        self.due = due
        """The digest that it should have, once that has come; of a pack, which has its own, empty.
        """
        self.worked = False
        self.found = b""
        self.content: Any = None


@implementer(IPushProducer)
class Answer:
    """The answer to one request."""

    def __init__(self, connection: Connection, request: Request, consumer: object) -> None:
        """`consumer` provides `IConsumer`, or is a `Deliver`."""
        self.request = request
        self.done: Deferred[Any] = Deferred(lambda _: self._cancelled())
        self.wanted = True
        """Somebody waits for what is still missing."""
        self.ended = False
        """All of it has come."""
        self._connection = connection
        self._consumer: Any = consumer if IConsumer.providedBy(consumer) else None
        self._deliver: Any = self._consumer.write if self._consumer is not None else consumer
        self._registered = False
        self._parts: deque[Part] = deque()
        self._paused = False
        self._waiting = False
        self._delivering = False

    # What the connection asks, and tells.

    @property
    def over(self) -> bool:
        """Nothing more comes, and nobody waits for anything."""
        return self.ended and not self.wanted

    @property
    def full(self) -> bool:
        """No more may be read for now: what is here is to be delivered first."""
        if not self.wanted:
            return False
        held = len(self._parts)
        at_work = held >= HELD_MOST and self._parts[0].due is not None
        return self._paused or self._waiting or at_work or (self.ended and held > 0)

    @property
    def burden(self) -> int:
        """Bytes that are known to come, or came, in vain."""
        return 0

    def take(self, message: Any) -> None:
        """A message of this answer. Raises `ProtocolError`."""
        if isinstance(message, Error):
            self.ended = True
            self.fail(Failure(server_error(message)))
        elif isinstance(message, End):
            self.check_end()
            self.ended = True
            self._go_on()
        else:
            self.take_part(message)

    def take_part(self, message: Any) -> None:
        """A message other than the last. Raises `ProtocolError`."""
        raise NotImplementedError

    def take_run(self, data: bytes) -> None:
        """Some of the run that was announced last."""
        raise NotImplementedError

    def check_end(self) -> None:
        """Raise `ProtocolError` if this cannot be all."""
        raise NotImplementedError

    def result(self) -> Any:
        """What the Deferred fires with."""
        return None

    def fail(self, failure: Failure) -> None:
        """Nothing more is delivered."""
        if self.wanted:
            self._drop()
            self.done.errback(failure)

    # Delivering.

    def begin(self) -> None:
        """The answer has begun: tell the consumer who produces for it."""
        if self._consumer is not None and self.wanted:
            self._registered = True
            try:
                self._consumer.registerProducer(self, True)
            except Exception:  # noqa: BLE001 - a consumer may raise anything, and the caller is told
                self._registered = False
                self.fail(Failure())

    def work(self, part: Part, length: int, work: Callable[..., Any], *args: Any) -> None:
        """Find out with `work` what `part`, of `length` bytes, is: here if it is short."""
        if length <= INLINE_MOST:
            try:
                part.found, part.content = work(*args)
            except Damaged:
                self.fail(Failure())
                return
            part.worked = True
            self._go_on()
            return

        def worked(found: tuple[bytes, Any]) -> None:
            part.found, part.content = found
            part.worked = True
            self._go_on()
            self._connection.changed()

        self._connection.in_thread(work, *args).addCallback(worked).addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        if self.wanted and failure.check(ProtocolError):
            self._connection.refuse(failure)
        self.fail(failure)
        self._connection.changed()

    def _go_on(self) -> None:
        """Deliver what is ready, in order, as long as it is taken."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._parts and not (self._paused or self._waiting):
                part = self._parts[0]
                if not part.worked or part.due is None:
                    return
                del self._parts[0]
                if part.found != part.due:
                    raise Damaged(f"{part.name} arrived damaged")
                taken = self._deliver(part.content)
                if isinstance(taken, Deferred):
                    self._waiting = True
                    taken.addCallbacks(self._taken, self._not_taken)
        except Exception:  # noqa: BLE001 - a consumer may raise anything, and the caller is told
            self.fail(Failure())
        finally:
            self._delivering = False
        if self.ended and self.wanted and not (self._parts or self._waiting):
            self._drop()
            self.done.callback(self.result())

    def _taken(self, _: object) -> None:
        self._waiting = False
        self._go_on()
        self._connection.changed()

    def _not_taken(self, failure: Failure) -> None:
        self.fail(failure)
        self._connection.changed()

    def _drop(self) -> None:
        self.wanted = False
        self._parts.clear()
        if self._registered:
            self._registered = False
            self._consumer.unregisterProducer()

    def _cancelled(self) -> None:
        self._drop()
        self._connection.changed()

    # IPushProducer, for the consumer.

    def pauseProducing(self) -> None:
        """Deliver nothing for now."""
        self._paused = True
        if not self._delivering:  # or else the connection looks by itself, right after
            self._connection.changed()

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        self._go_on()
        self._connection.changed()

    def stopProducing(self) -> None:
        """Deliver nothing more: the same as to cancel the Deferred."""
        self._registered = False  # whoever says this has forgotten us
        self.done.cancel()
