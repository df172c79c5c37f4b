"""What is counted of the connections of one process. Imports the modules beside it that it counts.

Plain numbers, which whoever has something to count adds to: an addition is all that it costs. They
only grow. What they are called elsewhere, and what they mean, `tcpdl.admin.series` says.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from tcpdl.server.transfers import COMPLETE, Ended

DIALECTS = ("raw", "native", "http", "echo")

MISSED = ("recognition", "handshake", "request", "idle", "stall")
"""What a client can be late with: its first byte, TLS, a whole request, the next one; and taking
what it is owed."""

NOBODY = "none"
"""In place of a dialect, for clients that got no answer in any."""


class Histogram:
    """How many values there were up to each bound, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of values from the bound before, that not among them, to this one; and of all above."""
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """Counts of one process."""

    def __init__(self) -> None:
        # Bytes of connections, as they are on the wire.
        self.received = 0
        self.sent_by_sendfile = 0
        self.sent_by_copying = 0
        """Those that passed through our memory."""
        self.sent_encrypted = 0
        self.read_errors = 0
        """Files that could not be read to the end that was promised."""
        self.handshakes = 0
        self.handshakes_failed = 0
        self.connections = dict.fromkeys(DIALECTS, 0)
        """By the dialect that was recognised."""
        self.missed = dict.fromkeys(MISSED, 0)
        """Clients that were late."""
        self.echoed = 0
        """Bytes received by the echo service."""
        self.answers = {name: defaultdict(int, {COMPLETE: 0}) for name in DIALECTS}
        """By dialect, or `NOBODY`, and by what became of them: one of `transfers.OUTCOMES`. To have
        all of them, `Transfers.flush` first."""
        self.answers[NOBODY] = defaultdict(int)
        self.content = dict.fromkeys((*DIALECTS, NOBODY), 0)
        """Bytes of content in answers that are over, by dialect."""

    def ended(self, over: Iterable[Ended]) -> None:
        """Count answers."""
        answers, content = self.answers, self.content
        for one in over:
            dialect = one.dialect
            if dialect not in content:
                dialect = NOBODY
            answers[dialect][one.outcome] += 1
            content[dialect] += one.sent
