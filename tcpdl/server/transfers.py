"""What clients are being sent, and what became of it: an object for each answer.

Imports `wire` and Twisted. The dialects begin and end them; the access log and the counters are
told of each that has ended, and so are called for every small answer: they have to be quick.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import count
from typing import Any, Protocol

from twisted.logger import Logger

from tcpdl.wire.links import for_log

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
HANDSHAKE = "handshake"

OUTCOMES = {
    COMPLETE: "all that was asked for was sent",
    UNCHANGED: "the client has it already",
    REDIRECTED: "the client was told another address",
    ABSENT: "nothing has that name",
    REFUSED: "it is there, or may be, and is not handed out to anybody",
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
    HANDSHAKE: "no TLS connection came about",
}
"""All that can become of an answer, or of a client that got none; and what each means."""

_log = Logger()


class Sending(Protocol):
    """A file on its way out."""

    @property
    def sent(self) -> int:
        """Bytes of it that are in the kernel's hands."""


class Transfer:
    """One answer: that is being given, or was, once `outcome` says something."""

    __slots__ = (
        *("agent", "asked", "began", "counted", "dialect", "ended", "method", "number", "outcome"),
        *("peer", "secure", "sending", "size", "span", "status", "user", "why", "_of"),
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
        """`raw`, `native`, `http` or `echo`; `-` for a client that got no answer at all."""
        self.peer = peer
        """The client's address and port, fit to be shown."""
        self.secure = secure
        """Whether it travels encrypted."""
        self.user = user
        """Who has logged in, as the client has it: not fit to be shown."""
        self.method = method
        """That of HTTP, or the native dialect's request; nothing for the others."""
        self.asked = asked
        """What the client asked for, as it did."""
        self.span: tuple[int, int] | None = None
        """The first byte that is to be sent of a file, and the one behind the last."""
        self.size: int | None = None
        """Bytes of the whole file, if it is one."""
        self.began = self.ended = now
        """On the monotonic clock, in seconds."""
        self.counted = 0
        """Bytes of the content that were sent before what is `sending` now."""
        self.sending: Sending | None = None
        self.status = 0
        """That of HTTP; 0 for the others."""
        self.agent: str | None = None
        """What an HTTP client calls itself: not fit to be shown."""
        self.why = ""
        """A sentence that says more than `outcome`, fit to be shown; mostly none is needed."""
        self.outcome = ""
        """What became of it, one of `OUTCOMES`; nothing while it goes on."""

    @property
    def what(self) -> str:
        """What was asked for, as a line fit to be shown, of bounded length."""
        return shown(self.asked)

    @property
    def sent(self) -> int:
        """Bytes of content, not of what it is wrapped in, that are in the kernel's hands."""
        sending = self.sending
        return self.counted if sending is None else self.counted + sending.sent

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
        self.on_end: list[Callable[[Transfer], object]] = []
        """Called with each that has ended. They must take microseconds, and raise nothing."""
        self.stopping = False
        """The daemon ends: what breaks now is its own doing."""

    def make(
        self,
        dialect: str,
        peer: str,
        secure: bool,
        method: str = "",
        asked: bytes = b"",
        user: str | None = None,
    ) -> Transfer:
        """One that is over as soon as it has begun: `end` is to be called before any waiting."""
        now = self._clock.seconds()
        return Transfer(self, next(self._numbers), now, dialect, peer, secure, method, asked, user)

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
        transfer = self.make(dialect, peer, secure, method, asked, user)
        self.live[transfer.number] = transfer
        return transfer

    def over(self, transfer: Transfer, outcome: str, why: str) -> None:
        """`transfer` is over. To be called by its `end`."""
        if outcome == BROKEN and self.stopping:
            outcome = STOPPED
        transfer.counted = transfer.sent
        transfer.sending = None
        if self.live.pop(transfer.number, None) is not None:
            transfer.ended = self._clock.seconds()
        transfer.outcome, transfer.why = outcome, why
        for tell in self.on_end:
            try:
                tell(transfer)
            except Exception:  # noqa: BLE001 - what is sent to others does not depend on it
                _log.failure("unexpected error when {tell!r} was told of an answer", tell=tell)


@lru_cache(maxsize=1024)
def shown(asked: bytes) -> str:
    """What a client asked for, as one line fit to be shown: see `wire.links.for_log`."""
    return for_log(asked)
