"""How a daemon ends: whoever has asked for something gets it. Imports the modules beside it.

No more connections come by then. Each that there is ends once it has what it asked for, at once if
that is nothing; how, its protocol knows (`LingeringProtocol.drain`). Who has not all of it after
the time is reset, so that a part never looks whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import methodcaller
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from tcpdl.server.deadlines import TURN_SECONDS, Deadlines
from tcpdl.server.lingering import LingeringProtocol

DRAIN_SECONDS = 30
"""How long clients have for what they asked for, unless it is told otherwise."""

CUT_SECONDS = 1.0
"""How long those that are reset may take to be gone."""

_log = Logger()


class Draining:
    """The end of all connections that `deadlines` know of: of all there are, since each has a
    deadline at any time."""

    def __init__(self, reactor: Any, deadlines: Deadlines) -> None:
        self._reactor = reactor
        self._deadlines = deadlines
        self._waiting: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        self._over = False

    def begin(self, seconds: float, closing: Iterable[Deferred[Any]]) -> Deferred[None]:
        """Let the connections end, and reset those that are left after `seconds`.

        `closing` fire once nothing more is accepted. What is returned fires when all are gone.
        """
        done = self.hasten(seconds)
        self._deadlines.draining = True
        connections = self._deadlines.all()
        if connections:
            _log.info("ending; open connections: {count}", count=len(connections))
        told: Deferred[None] = Deferred()
        self._go_through(connections, methodcaller("drain"), told)
        DeferredList([told, *closing]).addCallback(self._watch)
        return done

    def hasten(self, seconds: float) -> Deferred[None]:
        """Reset what is left after `seconds`, if that is sooner than it would be; what is returned
        fires when all are gone."""
        done: Deferred[None] = Deferred()
        if self._over:
            done.callback(None)
            return done
        self._waiting.append(done)
        if self._timer is None:
            self._timer = self._reactor.callLater(seconds, self._cut)
        elif self._timer.active() and self._timer.getTime() > self._reactor.seconds() + seconds:
            self._timer.reset(seconds)
        return done

    def _watch(self, _: object) -> None:
        self._deadlines.when_empty().addCallback(self._end)

    def _cut(self) -> None:
        """Reset what is left."""
        connections = self._deadlines.all()
        if connections:
            _log.warn("time is up; connections reset: {count}", count=len(connections))
        cut: Deferred[None] = Deferred()
        self._go_through(connections, methodcaller("cut"), cut)
        # One that will not go is no reason to stay.
        cut.addCallback(lambda _: self._reactor.callLater(CUT_SECONDS, self._end, None))

    def _go_through(
        self,
        connections: list[Any],
        tell: Callable[[LingeringProtocol], object],
        done: Deferred[None],
    ) -> None:
        """Tell them, as many in a turn as others are not to wait for."""
        end = self._reactor.seconds() + TURN_SECONDS
        while connections:
            one = connections.pop()
            if isinstance(one, LingeringProtocol) and one.transport.connected:
                try:
                    tell(one)
                except Exception:  # noqa: BLE001 - one connection must not stop the rest
                    _log.failure("unexpected error at the end of {who!r}", who=one)
            if self._reactor.seconds() > end:
                self._reactor.callLater(0, self._go_through, connections, tell, done)
                return
        done.callback(None)

    def _end(self, _: object) -> None:
        if self._over:
            return
        self._over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(None)
