"""How often something that failed is tried again, and after what pauses.

Imports `client.errors`.
"""

from __future__ import annotations

from collections.abc import Callable

from tcpdl.client.errors import ClientError, ConnectionBroken, Garbled, OtherDialect

PAUSES = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new attempt after nothing more had come."""

Sleep = Callable[[float], object]


class Patience:
    """That with one server: it is used up by what fails, and comes back with what succeeds."""

    def __init__(self, sleep: Sleep, *, known: bool) -> None:
        self._sleep = sleep
        self._failed = 0
        self.known = known
        """The server was there before, and spoke the dialect: so it is waited for, and not taken
        for one of another."""

    def restore(self) -> None:
        """More has come."""
        self._failed = 0

    def bear(self, error: ClientError) -> None:
        """Pause before what failed with `error` is tried again; raise it, if it is not to be."""
        # A server that was there before is waited for, and one that says how long; any other is
        # not. A damaged answer is asked for again; nonsense stays that.
        patient = self.known or wait(error) > 0
        if self._failed >= (len(PAUSES) if patient else isinstance(error, Garbled)):
            if self.known and isinstance(error, OtherDialect):
                raise ConnectionBroken(str(error)) from error
            raise error
        self._sleep(pause(self._failed, error))
        self._failed += 1


def pause(failed: int, error: ClientError) -> float:
    """Seconds to wait before what has `failed` so often, last with `error`, is tried again."""
    return max(PAUSES[min(failed, len(PAUSES) - 1)], wait(error))


def wait(error: ClientError) -> float:
    """Seconds for which the server asked not to be asked."""
    return getattr(error, "wait", 0.0)
