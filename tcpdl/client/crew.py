"""The connections of a download, each with a thread, and what keeps them at work.

Imports the modules beside it. The caller's thread waits, reports progress, mends what breaks and
decides whether another connection pays. What is spoken on a connection is for the workers to know:
those of `client.worker` speak the native dialect, those of `client.http.worker` HTTP.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from tcpdl.client.errors import (
    CannotConnect,
    Changed,
    ClientError,
    ConnectionBroken,
    Damaged,
    NotAllowed,
    NothingThere,
)
from tcpdl.client.fetched import Fetched, Note
from tcpdl.client.pace import Growth, Times, cpu_seconds
from tcpdl.client.part import Part
from tcpdl.client.patience import PAUSES, Patience, pause
from tcpdl.client.plan import Plan
from tcpdl.client.ways import Ways
from tcpdl.client.writing import Writer

TICK = 0.1
"""Seconds between two looks whether something is missing again."""

VERSIONS_MOST = 5
"""Versions of a file that are begun before it is said to change too fast."""

SMALL = 1024 * 1024
"""Bytes of a file that is not worth a thread."""

FIRST_SPAN = 16 * 1024 * 1024
"""Bytes asked for at first, before it is known how fast they come."""

SPAN_MOST = 256 * 1024 * 1024
"""The most that one connection asks for at once."""

BESIDE_MOST = 5.0
"""Seconds that a connection beside others may take until it brings something of the file."""

USELESS_AFTER = 1.0
"""Seconds after which one that brought nothing gives back what others have time for."""

SLOW_AFTER = 2.0
"""Seconds that one may still need for what others have time for, if they are faster by far."""

FASTER = 2
"""How many times as fast that is."""


class Connection(Protocol):
    """What is needed of a connection here."""

    @property
    def received(self) -> int: ...

    @property
    def waited(self) -> float: ...

    @property
    def going_away(self) -> bool: ...

    def open(self) -> None: ...

    def bear(self, seconds: float) -> None: ...

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


class Job:
    """What is to be fetched: shared by the workers."""

    def __init__(self, plan: Plan, part: Part, note: Note, timeout: float) -> None:
        self.plan = plan
        self.part = part
        self.note = note
        self.timeout = timeout
        """Longest wait for more bytes, in seconds."""
        self.lock = threading.Condition()
        """Held to use the plan and what follows; notified when any of it changes."""
        self.over = False
        """All is there, or nothing more is wanted."""
        self.idle = 0
        """Workers that have brought something, and find nothing more to fetch."""
        self.held = 0.0
        """Seconds for which servers had nothing to send."""
        self.wrote = 0.0
        """Seconds spent writing."""


class Standing:
    """How a server takes it that there are further connections to it, beside others. Changed while
    the job's lock is held."""

    def __init__(self) -> None:
        self._refusals = 0  # since one of them was useful
        self._not_before = 0.0  # on the monotonic clock: then there may be another
        self._closed = False

    def takes_another(self, now: float) -> bool:
        """Whether there may be one more. None follows once so many, one after the other, were of
        no use."""
        return not self._closed and self._refusals < len(PAUSES) and now >= self._not_before

    def was_useful(self) -> None:
        """One of them has brought something."""
        self._refusals = 0

    def refused(self, now: float, error: ClientError) -> None:
        """One of them ended with `error`: the next one waits."""
        self._not_before = max(self._not_before, now + pause(self._refusals, error))
        self._refusals += 1

    def close(self) -> None:
        """It takes none, and has said so."""
        self._closed = True


class Worker(ABC):
    """One connection at work."""

    def __init__(self, job: Job, connection: Connection, standing: Standing) -> None:
        self.connection = connection
        self.standing = standing
        self.thread: threading.Thread | None = None
        self.began = time.monotonic()
        self.useful = False
        """It has brought something of the file."""
        self._job = job
        self._writer: Writer

    def run(self) -> None:
        """Fetch what is missing until nothing is; in a thread, until nothing can be any more.

        Raises a `ClientError`.
        """
        threaded = self.thread is not None
        self._writer = Writer(self._job.part, threaded=threaded)
        try:
            self._run(wait=threaded)
        finally:
            try:
                self._writer.close()
            finally:
                with self._job.lock:
                    self._job.wrote += self._writer.wrote

    @property
    @abstractmethod
    def outstanding(self) -> int:
        """Bytes of what it took that are still to come."""

    @abstractmethod
    def give_back(self) -> None:
        """Let others fetch what did not come. The lock is to be held."""

    def _wait(self) -> None:
        """Wait for something to change, with nothing to do. The lock is to be held."""
        self._writer.check()
        self._job.idle += self.useful
        self._job.lock.wait(TICK)
        self._job.idle -= self.useful

    def _brought(self) -> None:
        """Something of the file has come."""
        if not self.useful:
            self.useful = True
            self.connection.bear(self._job.timeout)

    @abstractmethod
    def _run(self, *, wait: bool) -> None:
        """Do so; with `wait`, stay as long as others may give something back."""


Kind = TypeVar("Kind", bound=Worker)


class Crew(ABC, Generic[Kind]):
    """One version of a file, and the workers that fetch it."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._most = max(1, ways.connections)
        self._beside = ways._replace(timeout=min(ways.timeout, BESIDE_MOST))
        self._workers: list[Kind] = []
        self._job: Job
        self._error: Exception | None = None
        self._broken: ClientError | None = None
        self._sent_away = False  # the last one that broke was to
        self._received = 0  # on connections that are closed
        self._told = 0  # of what was received
        self._times = Times()
        self.began = False
        """The server has answered."""
        self.fetching = False
        """What is missing is known, and whatever breaks is mended."""

    @abstractmethod
    def run(self) -> Fetched:
        """Bring the part up to the version that is on the server. Raises a `ClientError`."""

    @abstractmethod
    def _connect(self) -> None:
        """Have a connection at work, where none is. May wait."""

    @abstractmethod
    def _connect_beside(self) -> None:
        """Have one more connection at work, if a server takes it. Does not wait."""

    @abstractmethod
    def _refused(self, worker: Kind, error: ClientError) -> None:
        """`worker` was told `error`: that there is no such file, or another than before; or what it
        got is damaged."""

    def _work_here(self, worker: Kind) -> None:
        """Have `worker` fetch what is missing, in this thread: for what is small."""
        self._workers.append(worker)
        self._work(worker)
        self._told = self._received
        self._ways.progress(self._told)

    def _work_in_threads(self, growth: Growth, others: Iterable[threading.Thread] = ()) -> None:
        """Have the workers fetch what is missing, and as many more as pay; `others`, which may add
        some, are started after them."""
        for worker in self._workers:
            self._start(worker)
        for other in others:
            other.start()
        try:
            self._watch(growth)
        finally:
            with self._job.lock:
                self._job.over = True
                self._stop_all()
                running = [worker.thread for worker in self._workers if worker.thread]
            for thread in running:
                thread.join()

    def _add(self, worker: Kind) -> None:
        """Start `worker`, unless nothing more is wanted."""
        with self._job.lock:
            if self._job.over:
                worker.connection.close()
                return
            self._workers.append(worker)
            self._start(worker)

    def _start(self, worker: Kind) -> None:
        worker.thread = threading.Thread(target=self._work, args=(worker,), daemon=True)
        worker.thread.start()

    def _watch(self, growth: Growth) -> None:
        """Wait until all is done; keep enough connections at work meanwhile."""
        job = self._job
        tick = min(TICK, growth.window / 2)
        patience, least = Patience(self._ways.sleep, known=True), job.plan.size + 1
        while True:
            with job.lock:
                if not job.over:
                    job.lock.wait(tick)
                received = self._received + sum(one.connection.received for one in self._workers)
                working = len(self._workers)
                left = job.plan.missing
                over = job.over
                if job.idle and not left:
                    self._stop_useless()
            if received > self._told:
                self._ways.progress(received - self._told)
                self._told = received
            if over:
                return
            if working:
                now = time.monotonic()
                if growth.wants_another(now, cpu_seconds(), received, left, working):
                    self._connect_beside()
                continue
            # Nothing is on its way now: what is missing tells whether it is of any use to go on.
            sent_away, self._sent_away = self._sent_away and left < least, False
            if left < least:
                least = left
                patience.restore()
            if not sent_away:
                patience.bear(self._broken or ConnectionBroken("no connection is left"))
            self._connect()

    def _work(self, worker: Kind) -> None:
        """Receive on one connection until nothing is left, or it is of no more use."""
        job = self._job
        try:
            worker.run()
        except (NothingThere, NotAllowed, Changed, Damaged) as error:
            self._refused(worker, error)
        except (CannotConnect, ConnectionBroken) as error:
            self._broke(worker, error)
        except Exception as error:  # noqa: BLE001 - raised where the file was asked for
            self._fail(error)
        finally:
            worker.connection.close()
            with job.lock:
                self._workers.remove(worker)
                self._received += worker.connection.received
                self._times.waited += worker.connection.waited
                worker.give_back()
                job.lock.notify_all()

    def _broke(self, worker: Kind, error: ClientError) -> None:
        """The connection of `worker` is of no more use; another may be."""
        with self._job.lock:
            self._broken = error
            if worker.useful:
                worker.standing.was_useful()
            self._sent_away = went_away(worker)
            if self._sent_away:
                return
            if len(self._workers) > 1:
                worker.standing.refused(time.monotonic(), error)

    def _fail(self, error: Exception) -> None:
        """End all with `error`."""
        with self._job.lock:
            self._error = self._error or error
            self._job.over = True
            self._stop_all()
            self._job.lock.notify_all()

    def _stop_useless(self) -> None:
        """Have those that brought nothing for a while, or are slow, give back what they took:
        others wait for it. The lock is to be held."""
        now = time.monotonic()
        rates = [one.connection.received / max(now - one.began, TICK) for one in self._workers]
        for worker, rate in zip(self._workers, rates, strict=True):
            if worker.useful:
                is_slow = rate * FASTER < max(rates) and worker.outstanding > rate * SLOW_AFTER
            else:
                is_slow = worker.began <= now - USELESS_AFTER
            if is_slow:
                worker.connection.interrupt()

    def _stop_all(self) -> None:
        for worker in self._workers:
            worker.connection.interrupt()


def went_away(worker: Worker) -> bool:
    """Whether the connection of `worker` was of use, and ended as its server had said that it
    would: that is nobody's failure, and no reason to wait."""
    return worker.useful and worker.connection.going_away


def bring_up(
    make: Callable[[], Crew[Any]], name: str, ways: Ways, *, known: bool, anew: str
) -> Fetched:
    """Run what `make` makes until one comes to its end, of whatever version of the file `name`.

    `known` if the server was there before; `anew` says what becomes of the part of another version.
    Raises a `ClientError`.
    """
    for _ in range(VERSIONS_MOST):
        patience = Patience(ways.sleep, known=known)
        while True:
            one = make()
            try:
                return one.run()
            except Changed as changed:
                known = True
                ways.note(f"{changed}; {anew}")
                break
            except (CannotConnect, ConnectionBroken) as error:
                patience.known = known = patience.known or one.began
                if one.fetching:
                    raise
                patience.bear(error)
    raise Changed(f"'{name}' changes faster than it can be fetched")
