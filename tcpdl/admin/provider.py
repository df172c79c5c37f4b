"""Where the admin port has its answers from: one process, or the parent of several.

Imports `tcpdl.daemon` and the modules beside it. `daemon_snapshot` and `daemon_status` are what a
process says of itself, and `added`, `remains`, `last_status` and `added_status` what becomes of
that in a parent;
`Provider` is what the admin port asks.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed

from tcpdl.admin.counting import daemon_snapshot
from tcpdl.admin.snapshot import Snapshot, added, combined, remains
from tcpdl.admin.status import added_status, daemon_status, last_status
from tcpdl.daemon import Daemon

__all__ = [
    "Provider",
    "SingleProcess",
    "Snapshot",
    "added",
    "added_status",
    "combined",
    "daemon_snapshot",
    "daemon_status",
    "last_status",
    "remains",
]


class Provider(Protocol):
    """What the admin port asks. Nothing in it may take longer than some milliseconds."""

    def snapshots(self) -> dict[str, Snapshot]:
        """What each process has counted, by its name, which is one of few: `worker-1`. What is left
        of those that have ended (`remains`, added up) goes under a name of its own."""

    def status(self) -> Deferred[dict[str, Any]]:
        """What is under way, fit for JSON; see `daemon_status`."""

    def health(self) -> tuple[bool, str]:
        """Whether all is well, and a sentence that says so, or what is not."""


class SingleProcess:
    """Answers for a daemon that is one process."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def snapshots(self) -> dict[str, Snapshot]:
        return {"daemon": daemon_snapshot(self._daemon)}

    def status(self) -> Deferred[dict[str, Any]]:
        return succeed(daemon_status(self._daemon))

    def health(self) -> tuple[bool, str]:
        if not self._daemon.running:
            return False, "the daemon has not started, or is stopping"
        if self._daemon.deadlines.draining:
            return False, "the daemon is going away: it answers what it was asked, and no more"
        return True, "the daemon serves"
