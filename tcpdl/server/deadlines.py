"""Deadlines for any number of connections, kept with one timer.

Imports `server.metrics` and `server.progress`.

Twisted's timers run on the wall clock: set an hour forward, it fires them all; set back, it
freezes them. `run_on_monotonic_clock` mends that for the reactor as a whole. `Deadlines` then
serves all connections with one timer, at the price of a coarse grain: a deadline is met up to
`GRAIN` seconds late, never early.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tcpdl.server.metrics import Metrics
from tcpdl.server.progress import Pace

GRAIN = 0.5
"""Seconds between two looks at what is due."""

TURN_SECONDS = 0.004
"""How long in one turn of the reactor those are served whose deadline has passed, and those who
asked for another turn."""

_PAST = -1

_log = Logger()


class Overdue(Protocol):
    """What has a deadline."""

    def overdue(self) -> None:
        """The deadline has passed. It is gone; set another if need be."""


class Times(NamedTuple):
    """How long a client may take, in seconds."""

    request: float = 60.0
    """For the first request, from the connection on, however it comes. A person may be typing."""
    head: float = 30.0
    """For a request, from its first byte to its last, where there may be several."""
    idle: float = 75.0
    """Between two requests over HTTP."""
    pace: Pace = Pace()
    """For what it is owed."""


class Deadlines:
    """One deadline for each connection that has one."""

    def __init__(
        self,
        clock: IReactorTime,
        times: Times = Times(),  # noqa: B008
        metrics: Metrics | None = None,
    ) -> None:
        """`times` are those that all connections have, and what is counted of them goes to
        `metrics`."""
        self.times = times
        self.metrics = metrics or Metrics()
        self.draining = False
        """The daemon ends: each connection lasts until it has what it has asked for."""
        self.clock = clock
        self._late: deque[tuple[int, set[Overdue]]] = deque()  # rows whose turn is to come
        self._due: dict[Overdue, int] = {}
        self._rows: dict[int, set[Overdue]] = {}
        self._timer: IDelayedCall | None = None
        self._turns: deque[Deferred[None]] = deque()
        self._empty: Deferred[None] | None = None

    def set(self, who: Overdue, seconds: float) -> None:
        """Call `who.overdue()` in `seconds` from now, and forget the deadline it had."""
        tick = math.ceil((self.clock.seconds() + seconds) / GRAIN)
        before = self._due.get(who)
        if before == tick:
            return
        if before is not None:
            self._leave_row(who, before)
        self._due[who] = tick
        self._rows.setdefault(tick, set()).add(who)
        if self._timer is None:
            self._timer = self._next_look()

    def now(self) -> float:
        """The time, in seconds since no particular moment."""
        seconds: float = self.clock.seconds()
        return seconds

    def next_turn(self) -> Deferred[None]:
        """Fires once others that are ready have been served: in the order of those who asked, and
        in a later turn for some of them if `TURN_SECONDS` do not suffice."""
        done: Deferred[None] = Deferred()
        if not self._turns:
            self.clock.callLater(0, self._take_turns)
        self._turns.append(done)
        return done

    def _take_turns(self) -> None:
        end = self.clock.seconds() + TURN_SECONDS
        # Who asks again meanwhile is served again in the next turn.
        for _ in range(len(self._turns)):
            done = self._turns[0]
            done.callback(None)
            self._turns.popleft()
            if self.clock.seconds() > end:
                break
        if self._turns:
            self.clock.callLater(0, self._take_turns)

    def clear(self, who: Overdue) -> None:
        """Forget the deadline of `who`, if it has one."""
        tick = self._due.pop(who, None)
        if tick is not None:
            self._leave_row(who, tick)
        if self._empty is not None and not self._due:
            # Another one may be about to take over this connection.
            self.clock.callLater(0, self._say_if_empty)

    def all(self) -> list[Overdue]:
        """All that have a deadline."""
        return list(self._due)

    def when_empty(self) -> Deferred[None]:
        """Fires once nobody has a deadline any more."""
        if self._empty is None:
            self._empty = Deferred()
        done: Deferred[None] = Deferred()
        self._empty.chainDeferred(done)
        self._say_if_empty()
        return done

    def _say_if_empty(self) -> None:
        if not self._due and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def _leave_row(self, who: Overdue, tick: int) -> None:
        row = self._rows.get(tick)  # none, if the sweep has just taken it
        if row is not None:
            row.discard(who)
            if not row:
                del self._rows[tick]

    def __len__(self) -> int:
        return len(self._due)

    def _sweep(self) -> None:
        began = self.clock.seconds()
        now = math.floor(began / GRAIN)
        for tick in sorted(tick for tick in self._rows if tick <= now):
            self._late.append((tick, self._rows.pop(tick)))
        while self._late:
            tick, row = self._late[0]
            while row:
                who = row.pop()
                if self._due.get(who) != tick:
                    continue  # it was changed since
                self._tell(who)
                if self.clock.seconds() > began + TURN_SECONDS:
                    self._timer = self.clock.callLater(0, self._sweep)
                    return
            self._late.popleft()
        self._timer = self._next_look() if self._due else None

    def _tell(self, who: Overdue) -> None:
        # Most have another deadline at once: it takes the place of this one. Were that given up
        # and taken anew by thousands, again and again, the dictionary would grow to several times
        # its size.
        self._due[who] = _PAST
        try:
            who.overdue()
        except Exception:  # noqa: BLE001 - one connection must not stop the sweep
            _log.failure("unexpected error at a deadline of {who!r}", who=who)
        if self._due.get(who) == _PAST:
            del self._due[who]

    def _next_look(self) -> IDelayedCall:
        """Set the timer to the next whole multiple of `GRAIN`, where the rows are due."""
        now: float = self.clock.seconds()
        return self.clock.callLater(GRAIN - now % GRAIN, self._sweep)


def run_on_monotonic_clock(reactor: Any) -> None:
    """Make the timers of `reactor` run on the monotonic clock.

    To be called before the first timer is set; a reactor that has one already is left as it is,
    since a timer set on one clock never fires on the other.
    """
    if reactor.seconds is time.monotonic:
        return
    if reactor.getDelayedCalls():
        _log.warn(
            "the reactor has timers already, so deadlines follow the system's clock when it is set"
        )
        return
    reactor.seconds = time.monotonic
