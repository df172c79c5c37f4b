"""What clients are being sent, and what became of it: a `Transfer`, then an `Ended`.

Imports `wire` and Twisted. The dialects begin and end them; the access log and the counters are
told of those that have ended, many at a time: to call each of them for each small answer would take
longer than what they do. For one that takes no time there is nothing but what they are told, a
tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from tcpdl.wire.links import for_log

BATCH_SECONDS = 0.25
"""How long what has ended may wait for more, before anybody is told of it."""

BATCH_MOST = 500
"""How many may wait: to make lines of them takes a millisecond."""

COMPLETE = "complete"
UNCHANGED = "unchanged"
REDIRECTED = "redirected"
ABSENT = "absent"
REFUSED = "refused"
LOGIN = "login"
DENIED = "denied"
MISMATCH = "mismatch"
MALFORMED = "malformed"
TIMEOUT = "timeout"
UNAVAILABLE = "unavailable"
BUSY = "busy"
BROKEN = "broken"
SLOW = "slow"
CHANGED = "changed"
FAILED = "failed"
STOPPED = "stopped"
WRONG_LOGIN = "wrong-login"
NO_TLS = "no-tls"

OUTCOMES = {
    COMPLETE: "all that was asked for was sent",
    UNCHANGED: "the client has it already",
    REDIRECTED: "the client was told another address",
    ABSENT: "there is no such file, or folder",
    REFUSED: "nobody is given that",
    LOGIN: "it is for those who log in",
    DENIED: "whoever asked has no right to it",
    MISMATCH: "the file is not the one that was asked for, or has no such range",
    MALFORMED: "the request was not understood",
    TIMEOUT: "no request came in time, or nothing for too long",
    UNAVAILABLE: "it could not be given then; nothing of it was sent",
    BUSY: "there was no room for another connection",
    BROKEN: "the client ended the connection, or it was lost, before all was sent",
    SLOW: "the client took too little of it, and was reset",
    CHANGED: "the file changed while it was sent",
    FAILED: "the file could not be read to its end, or something unexpected happened",
    STOPPED: "the daemon was stopped before all was sent",
    WRONG_LOGIN: "what somebody logged in with is wrong",
    NO_TLS: "no TLS connection came about, where one was begun or is required",
}
"""All that can become of an answer, or of a client that got none; and what each means."""

_log = Logger()


class Sending(Protocol):
    """A file on its way out, a run of it, or bytes: a Deferred that fires when it is done with."""

    called: bool
    """It has fired."""

    @property
    def sent(self) -> int:
        """Bytes of it that are in the kernel's hands."""

    def addBoth(self, callback: Callable[..., Any], *args: Any) -> Any: ...


class Ended(NamedTuple):
    """An answer that was given, or a client that got none, and what became of it."""

    ended: float
    """On the monotonic clock, in seconds."""
    began: float
    """The same, if it has taken no time."""
    outcome: str
    """One of `OUTCOMES`."""
    dialect: str
    """`raw`, `native`, `http` or `echo`; `-` for a client that got no answer at all."""
    peer: str
    """The client's address and port, fit to be shown."""
    secure: bool
    """Whether it travelled encrypted."""
    method: str
    """That of HTTP, or the native dialect's request; nothing for the others."""
    asked: bytes
    """What the client asked for, as it did."""
    user: str | None
    """Who has logged in, as the client has it: not fit to be shown."""
    status: int
    """That of HTTP; 0 for the others."""
    sent: int
    """Bytes of content, not of what it is wrapped in, that came into the kernel's hands."""
    agent: bytes | None
    """What an HTTP client calls itself: not fit to be shown."""
    why: str
    """What more there is to say than `outcome` does: not fit to be shown. Mostly nothing."""
    span: tuple[int, int] | None
    """The first byte that was to be sent of a file, and the one behind the last, if not all was."""
    size: int | None
    """Bytes of the whole file, if it was one that took its time."""

    @property
    def what(self) -> str:
        """What was asked for, as a line fit to be shown, of bounded length."""
        return shown(self.asked)


class Transfer:
    """One answer that is being given, or was, once `outcome` says something. What `Ended` has as
    well means the same."""

    __slots__ = (
        *("agent", "asked", "began", "counted", "dialect", "method", "number", "outcome"),
        *("peer", "secure", "size", "span", "status", "user", "_of", "_sending"),
    )

    def __init__(
        self,
        of: Transfers,
        number: int,
        now: float,
        dialect: str,
        peer: str,
        secure: bool,
        method: str,
        asked: bytes,
        user: str | None,
    ) -> None:
        self._of = of
        self.number = number
        """No other of this process has it."""
        self.dialect = dialect
        self.peer = peer
        self.secure = secure
        self.user = user
        self.method = method
        self.asked = asked
        self.span: tuple[int, int] | None = None
        self.size: int | None = None
        self.began = now
        self.counted = 0
        """Bytes of the content that were sent before what is sent now."""
        self._sending: list[Sending] | None = None
        self.status = 0
        self.agent: bytes | None = None
        self.outcome = ""
        """What became of it, one of `OUTCOMES`; nothing while it goes on."""

    @property
    def what(self) -> str:
        """What was asked for, as a line fit to be shown, of bounded length."""
        return shown(self.asked)

    @property
    def sent(self) -> int:
        """Bytes of content, not of what it is wrapped in, that are in the kernel's hands."""
        if self._sending is None:
            return self.counted
        return self.counted + sum(sending.sent for sending in self._sending)

    def watch(self, sending: Sending) -> None:
        """This is a part of it."""
        if sending.called:  # as that with a small file has
            self.counted += sending.sent
            return
        if self._sending is None:
            self._sending = []
        self._sending.append(sending)
        sending.addBoth(self._has_sent, sending)

    def _has_sent(self, result: Any, sending: Sending) -> Any:
        if self._sending is not None:
            self._sending.remove(sending)
            self.counted += sending.sent
        return result

    def settle(self) -> None:
        """Nothing more is counted."""
        if self._sending is not None:
            self.counted, self._sending = self.sent, None

    def end(self, outcome: str, why: str = "") -> None:
        """It is over. If it was so before, nothing happens."""
        if not self.outcome:
            self._of.over(self, outcome, why)


class Transfers:
    """All that is being sent by one process."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._numbers = count(1)
        self.live: dict[int, Transfer] = {}
        """Those that go on, by number. What takes no waiting is never among them."""
        self.on_end: list[Callable[[list[Ended]], object]] = []
        """Called with those that have ended. They must take microseconds for each, and raise
        nothing."""
        self._most = BATCH_MOST
        self._over: list[Ended] = []
        self._timer: IDelayedCall | None = None
        self.stopping = False
        """The daemon ends: what breaks now is its own doing."""

    def now(self) -> float:
        """The time that `began` and `ended` are of, in seconds since no particular moment."""
        seconds: float = self._clock.seconds()
        return seconds

    def begin(
        self,
        dialect: str,
        peer: str,
        secure: bool,
        method: str = "",
        asked: bytes = b"",
        user: str | None = None,
    ) -> Transfer:
        """One that takes its time: it is among those that are `live` until its `end` is called."""
        number, now = next(self._numbers), self._clock.seconds()
        transfer = Transfer(self, number, now, dialect, peer, secure, method, asked, user)
        self.live[number] = transfer
        return transfer

    def once(
        self,
        outcome: str,
        dialect: str,
        peer: str,
        secure: bool,
        method: str = "",
        asked: bytes = b"",
        user: str | None = None,
        status: int = 0,
        sent: int = 0,
        agent: bytes | None = None,
        why: str = "",
    ) -> None:
        """One that has taken no time."""
        now = self._clock.seconds()
        told = (now, now, outcome, dialect, peer, secure, method, asked, user, status, sent, agent)
        # A call of `Ended` would take twice as long.
        self._tell(tuple.__new__(Ended, told + (why, None, None)))  # noqa: RUF005 - as well

    def wrong_login(self, peer: str, secure: bool, user: str) -> None:
        """Somebody has logged in wrongly, as `user`, or with a token, as nobody."""
        self.once(WRONG_LOGIN, "-", peer, secure, user=user or None)

    def over(self, transfer: Transfer, outcome: str, why: str) -> None:
        """`transfer` is over. To be called by its `end`."""
        if outcome == BROKEN and self.stopping:
            outcome = STOPPED
        transfer.settle()
        transfer.outcome = outcome
        del self.live[transfer.number]
        ended = Ended(
            ended=self._clock.seconds(),
            began=transfer.began,
            outcome=outcome,
            dialect=transfer.dialect,
            peer=transfer.peer,
            secure=transfer.secure,
            method=transfer.method,
            asked=transfer.asked,
            user=transfer.user,
            status=transfer.status,
            sent=transfer.counted,
            agent=transfer.agent,
            why=why,
            span=transfer.span,
            size=transfer.size,
        )
        self._tell(ended)

    def _tell(self, ended: Ended) -> None:
        self._over.append(ended)
        if len(self._over) >= self._most:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(BATCH_SECONDS, self._flush_in_time)

    def _flush_in_time(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Tell of what has ended by now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        over, self._over = self._over, []
        if not over:
            return
        try:
            for tell in self.on_end:
                tell(over)
        except Exception:  # noqa: BLE001 - what is sent to others does not depend on it
            _log.failure("unexpected error when answers were told of")

    def close(self) -> None:
        """Tell of what has ended by now, and from now on of each at once: connections that end with
        the daemon do so when its timers have stopped."""
        self._most = 1
        self.flush()


@lru_cache(maxsize=1024)
def shown(asked: bytes) -> str:
    """What a client asked for, as one line fit to be shown: see `wire.links.for_log`."""
    return for_log(asked)
