"""Those who guess passwords are made to wait. Imports Twisted only.

An address (a network of 64 bits, for IPv6) has one password checked at a time, and waits the longer
before the next the more of them were wrong. Nobody else waits for it, and nothing but passwords.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

DELAY_SECONDS = 0.5
"""After the first wrong password; it doubles with each."""

DELAY_MOST = 30.0

FORGET_SECONDS = 60.0
"""After which a wrong password counts no more; the next one as long after that."""

COUNTED_MOST = 8
"""Wrong passwords that count."""

ADDRESSES_MOST = 10_000
"""Addresses that are remembered: those of which nothing was heard for longest are forgotten."""

WAITING_MOST = 16
"""Passwords of one address that wait for their turn, and wrong tokens for their answer."""

LINES_MOST = 20
"""Lines about wrong logins in the log, in a minute."""

TOLD_MOST = 600
"""Wrong logins that whoever wants to know of each is told of, in a minute."""

_log = Logger()


class Origin(NamedTuple):
    """Where a login comes from."""

    address: bytes
    """What wrong ones are counted by."""
    peer: str
    """For the log."""
    secure: bool
    """It is encrypted."""


class Address:
    """Where passwords come from."""

    def __init__(self) -> None:
        self.turn = DeferredLock()
        self.waiting = 0
        """Passwords that wait; and below, tokens, which keep no password from waiting."""
        self.tokens_waiting = 0
        self._wrong = 0
        self._last = 0.0

    def failed(self, now: float) -> int:
        """Another password was wrong; returns how many count."""
        self._wrong = min(self.count(now) + 1, COUNTED_MOST)
        self._last = now
        return self._wrong

    def count(self, now: float) -> int:
        """Wrong passwords that count."""
        return max(0, self._wrong - int((now - self._last) / FORGET_SECONDS))

    def delay(self, now: float) -> float:
        """Seconds until the next one may be checked."""
        count = self.count(now)
        if not count:
            return 0.0
        return max(0.0, self._last + min(DELAY_SECONDS * (1 << count - 1), DELAY_MOST) - now)


class Failures:
    """What is remembered of addresses."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is the time in seconds, on the monotonic clock."""
        self._now = now
        self._addresses: OrderedDict[bytes, Address] = OrderedDict()
        self._minute = 0.0
        self._said = 0
        self.on_wrong: Callable[[str, bool, str], object] | None = None
        """Told of a wrong login: whose it was, whether it was encrypted, and as whom it was; of a
        token, as nobody."""
        self.on_failed: Callable[[bytes], object] | None = None
        """Is called with the address when a login was wrong."""

    def failed(self, address: bytes) -> int:
        """A login from there was wrong; returns how many count."""
        if self.on_failed is not None:
            self.on_failed(address)
        return self.failed_elsewhere(address)

    def failed_elsewhere(self, address: bytes) -> int:
        """The same, with another process, which knows of it."""
        return self.of(address).failed(self._now())

    def of(self, address: bytes) -> Address:
        """What is remembered of `address`."""
        found = self._addresses.get(address)
        if found is None:
            found = self._addresses[address] = Address()
            if len(self._addresses) > ADDRESSES_MOST:
                self._addresses.popitem(last=False)
        self._addresses.move_to_end(address)
        return found

    def say(self, origin: Origin, user: str, count: int) -> None:
        """Tell the log of a wrong login, with a name or, if that is empty, with a token. All texts
        must be fit to be shown."""
        now = self._now()
        if now - self._minute >= 60:
            if self._said > LINES_MOST:
                _log.warn("{more} more wrong logins", more=self._said - LINES_MOST)
            self._minute, self._said = now, 0
        self._said += 1
        if self.on_wrong is not None and self._said <= TOLD_MOST:
            self.on_wrong(origin.peer, origin.secure, user)
        if self._said <= LINES_MOST:
            _log.warn(
                "{peer} is not {user}: the login was wrong; {count} lately from there",
                peer=origin.peer,
                user=user or "anyone",
                count=count,
            )
