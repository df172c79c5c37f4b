"""What all workers have counted, and what they are at: the admin port asks here.

Imports `tcpdl.admin`, `server` and the modules beside it. Each worker tells what it has counted
every second, and when it ends. What those have counted that are gone is kept, so that no sum ever
falls.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred

import tcpdl
from tcpdl.admin.believing import NUMBER_MOST, checked_status
from tcpdl.admin.provider import Snapshot, added, added_status, last_status, remains
from tcpdl.admin.snapshot import key, parse
from tcpdl.processes.process import Process
from tcpdl.processes.slot import Slot
from tcpdl.server.hangup import Hangups
from tcpdl.server.process import ThisProcess

SAMPLES_MOST = 10_000
"""Samples of a snapshot that a worker may tell of."""

ANSWER_SECONDS = 2.0
"""How long a worker may take to say what it is at."""

ENDED, OTHERS, PARENT = "ended", "replaced", "parent"
"""Under these names goes what was counted by workers that are gone, by those that drain, and by the
parent itself."""


class Counting:
    """Adds up what workers count. It is what the admin port asks (`admin.provider.Provider`)."""

    def __init__(self, slots: Sequence[Slot], clock: Any, hangups: Hangups) -> None:
        """`clock` is an `IReactorTime`; `hangups` are those of the parent."""
        self._slots = slots
        self._hangups = hangups
        self._clock = clock
        self._latest: dict[Process, Snapshot] = {}
        self._ended: Snapshot = {}
        self._process = ThisProcess()
        self._numbers = count(1)
        self._asked: dict[tuple[Process, int], Callable[[Any], None]] = {}
        self.remark = ""
        """What is to be known besides how many serve, as the rest of that sentence."""

    def follow(self, process: Process) -> None:
        """Count what a worker will tell of."""
        self._latest[process] = {}
        process.channel.on("alive", lambda content: self._told(process, content.get("snapshot")))
        process.channel.on("status", lambda content: self._answered(process, content))
        process.over.addCallback(self._over, process)

    def snapshots(self) -> dict[str, Snapshot]:
        """What each worker has counted that is in its place, and the others together."""
        found: dict[str, Snapshot] = {}
        others = []
        current = {slot.current for slot in self._slots}
        for process, snapshot in self._latest.items():
            if process in current:
                found[process.name] = snapshot
            else:
                others.append(snapshot)
        if others:
            found[OTHERS] = added(others)
        found[ENDED] = self._ended
        found[PARENT] = {
            "tcpdl_workers": sum(slot.serves for slot in self._slots),
            "tcpdl_worker_restarts_total": sum(slot.failures for slot in self._slots),
            "tcpdl_reloads_total": self._hangups.count,
            key("tcpdl_build_info", version=tcpdl.__version__): 1,
        }
        return found

    def status(self) -> Deferred[dict[str, Any]]:
        """What all workers are at, together; of one that does not say so in time, what it has
        counted."""
        said: dict[Process, Any] = {}
        waiting: set[tuple[Process, int]] = set()
        done: Deferred[dict[str, Any]] = Deferred()

        def finish() -> None:
            for asked in waiting:
                del self._asked[asked]
            if timer.active():
                timer.cancel()
            done.callback(self._of_all(said))

        def answered(asked: tuple[Process, int], status: Any) -> None:
            waiting.remove(asked)
            said[asked[0]] = checked_status(status)
            if not waiting:
                finish()

        timer = self._clock.callLater(ANSWER_SECONDS, finish)
        for process in self._latest:
            if process.serves and process.channel.open:
                asked = process, next(self._numbers)
                waiting.add(asked)
                self._asked[asked] = partial(answered, asked)
                process.channel.tell("status", number=asked[1])
        if not waiting:
            finish()
        return done

    def _of_all(self, said: Mapping[Process, Any]) -> dict[str, Any]:
        """What workers have `said`, and what the others of them had counted, together; with what
        those before them had done, since the parent began."""
        now = time.time()
        by_name: dict[str, Any] = {}
        newest = [*reversed(self._latest)]  # who drains has been there for longer
        for process in sorted(newest, key=lambda one: one.number):
            if process in said or self._latest[process]:
                name = process.name
                name = f"{name} ({process.pid})" if name in by_name else name
                last = last_status(self._latest[process], process.pid, now)
                by_name[name] = said.get(process, last)
        workers = added_status(by_name)
        before = last_status(self._ended, 0, now)
        refused = Counter(workers["connections"]["refused"])
        refused.update(before["connections"]["refused"])
        return {
            **workers,
            "pid": os.getpid(),
            "started": self._process.started,
            "uptime": self._process.uptime,
            "connections": {**workers["connections"], "refused": dict(refused)},
            "bytes": {of: workers["bytes"][of] + count for of, count in before["bytes"].items()},
            "requests": {
                "live": workers["requests"]["live"],
                "over": workers["requests"]["over"] + before["requests"]["over"],
            },
        }

    def health(self) -> tuple[bool, str]:
        """Whether there is a worker in each place, and says something."""
        missing = [str(place) for place, slot in enumerate(self._slots, 1) if not slot.serves]
        if missing:
            return False, f"nobody serves in place of worker {', '.join(missing)}"
        silent = [str(place) for place, slot in enumerate(self._slots, 1) if not slot.answers]
        if silent:
            return False, f"worker {', '.join(silent)} has said nothing for some seconds"
        return True, f"{len(self._slots)} workers serve{self.remark}"

    def _told(self, process: Process, snapshot: Any) -> None:
        if snapshot is not None and process in self._latest:
            self._latest[process] = checked(snapshot)

    def _answered(self, process: Process, content: dict[str, Any]) -> None:
        call = self._asked.pop((process, content["number"]), None)
        if call is not None:
            call(content["status"])

    def _over(self, how: str, process: Process) -> str:
        last = remains(self._latest.pop(process))
        ended = added([self._ended, last])
        if len(ended) <= SAMPLES_MOST:  # else somebody has made them up
            self._ended = ended
        return how


def checked(snapshot: Any) -> Snapshot:
    """What a worker says that it has counted; series that are unknown here are left out, since the
    worker may be of a newer program. Raises `TypeError` and `ValueError` if it is nonsense."""
    if len(snapshot) > SAMPLES_MOST:
        raise ValueError("a snapshot has too many samples")
    found: Snapshot = {}
    for of, value in snapshot.items():
        number = float(value)
        if isinstance(value, str) or not abs(number) <= NUMBER_MOST:  # or it is none at all
            raise ValueError("a snapshot has numbers only")
        try:
            parse(of)
        except KeyError:
            continue
        found[of] = value
    return found
