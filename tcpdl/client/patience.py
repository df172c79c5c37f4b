"""How often something that failed is tried again, and after what pauses.

Imports `client.errors`.
"""

from __future__ import annotations

from collections.abc import Callable

from tcpdl.client.errors import (
    Busy,
    CannotConnect,
    ClientError,
    ConnectionBroken,
    Garbled,
    OtherDialect,
    Unanswered,
    Untrusted,
)

PAUSES = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new attempt after nothing more had come."""

Sleep = Callable[[float], object]


class Patience:
    """That with one server: it is used up by what fails, and comes back with what succeeds."""

    def __init__(self, sleep: Sleep, *, known: bool) -> None:
        self._sleep = sleep
        self._failed = 0
        self._said: OtherDialect | None = None
        self._is_there = False  # it has taken a connection
        self.known = known
        """The server was there before, and spoke the dialect: so it is waited for, and not taken
        for one of another."""

    def restore(self) -> None:
        """More has come."""
        self._failed = 0

    def bear(self, error: ClientError) -> None:
        """Pause before what failed with `error` is tried again; raise it, if it is not to be."""
        if isinstance(error, OtherDialect):
            self._said = error
        if self._failed >= self._most(error):
            if self.known and isinstance(error, OtherDialect):
                raise ConnectionBroken(str(error)) from error
            # One that serves a single connection said what it had to say on that, whatever becomes
            # of others that wait for it to accept them.
            gone = not self.known and isinstance(error, CannotConnect)
            raise self._said if gone and self._said is not None else error
        self._sleep(pause(self._failed, error))
        self._failed += 1

    def _most(self, error: ClientError) -> int:
        """How often it is tried again, one time after the other, what fails with `error`."""
        if isinstance(error, Untrusted):
            return 0
        # Who is busy resets connections, or says so; both pass. Silence was waited for already.
        broke = type(error) is ConnectionBroken or isinstance(error, Busy)
        self._is_there = self._is_there or broke
        away = isinstance(error, CannotConnect) and self._is_there
        if self.known or broke or away or wait(error) > 0:
            return len(PAUSES)
        # A damaged answer is asked for again, and one that did not come; nonsense stays that.
        return int(isinstance(error, (Garbled, Unanswered)))


def pause(failed: int, error: ClientError) -> float:
    """Seconds to wait before what has `failed` so often, last with `error`, is tried again."""
    return max(PAUSES[min(failed, len(PAUSES) - 1)], wait(error))


def wait(error: ClientError) -> float:
    """Seconds for which the server asked not to be asked."""
    return getattr(error, "wait", 0.0)
