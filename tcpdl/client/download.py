"""The download engine: one file, checked chunk by chunk, over one connection or several.

Imports `wire` and the modules beside it. Each connection has a thread (`client.worker`); the
caller's own waits, reports progress, mends what breaks and decides whether another connection pays.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tcpdl.client.errors import (
    CannotConnect,
    Changed,
    ClientError,
    ConnectionBroken,
    Damaged,
    Garbled,
    NothingThere,
    OtherDialect,
)
from tcpdl.client.pace import Growth, Times, cpu_seconds, limited_by
from tcpdl.client.part import Account, Part, account
from tcpdl.client.plan import Plan
from tcpdl.client.receiving import Progress
from tcpdl.client.session import Session, failure
from tcpdl.client.target import Target
from tcpdl.client.url import Location
from tcpdl.client.worker import FIRST_SPAN, TICK, Job, Source, Worker, nonsense
from tcpdl.wire.native import ANY_TAG, End, Error, FileInfo, Get
from tcpdl.wire.text import printable

SMALL = 1024 * 1024
"""Bytes of a file that is not worth a thread."""

PAUSES = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new attempt to connect after nothing more had come."""

VERSIONS_MOST = 5
"""Versions of a file that are begun before it is said to change too fast."""

Begun = Callable[[int, int], None]
"""Is told of the size of a file, and of how much of it is there already."""


class Fetched(NamedTuple):
    """What a download came to."""

    size: int
    """Bytes of the file."""
    mtime_ns: int = 0
    """When it was last changed on the server, in nanoseconds since 1970; 0 if that is unknown."""
    mode: int = 0
    """Its permission bits there; 0 if they are unknown."""
    received: int = 0
    """Bytes that crossed the wire."""
    kept: int = 0
    """Bytes that were there already, and right."""
    verified: bool = True
    """Every byte was checked against the server's digests."""
    unchanged: bool = False
    """The file was there, complete, under its final name."""
    seconds: float = 0.0
    limited_by: str = ""
    """What kept it from being faster, in words."""


def download(
    location: Location,
    target: Target,
    *,
    timeout: float = 30.0,
    connections: int = 8,
    sources: Sequence[Location] = (),
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
    begun: Begun | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Fetched:
    """Bring `target` up to the file at `location`: every byte of it checked, none fetched twice.

    What the part file holds already, whoever wrote it, is checked and kept as far as it is right.
    At most `connections` are used at once. `sources` are further servers of the same file: each is
    asked for its digests, and used if they are the same. `progress` is told of bytes received,
    `note` of what a person may want to know, `begun` of the file's size and how much of it is
    there already. The caller gives the target its name (`keep`), unless it is `unchanged`.

    Raises `OtherDialect` if the server speaks another; `NothingThere`, `CannotConnect`,
    `ConnectionBroken`, `Damaged`, `CannotWrite`. What has come stays in the part.
    """
    say = note or _say_nothing
    show = progress or _show_nothing
    known = target.has_record
    for _ in range(VERSIONS_MOST):
        failed = 0
        while True:
            one = _Download(location, target, timeout, max(1, connections), say, sleep)
            try:
                return one.run(sources, show, begun)
            except Changed as changed:
                known = True
                say(f"{changed}; what is the same in the new version is kept")
                break
            except (CannotConnect, ConnectionBroken) as error:
                known = known or one.began
                # A server that was there before is waited for; one that is asked for the first
                # time is not. A damaged answer is asked for again; nonsense stays that.
                most = len(PAUSES) if known else isinstance(error, Garbled)
                if one.fetching or failed >= most:
                    if known and isinstance(error, OtherDialect):
                        raise ConnectionBroken(str(error)) from error
                    raise
            sleep(PAUSES[failed])
            failed += 1
    raise Changed(f"'{printable(location.path)}' changes faster than it can be fetched")


class _Download:
    """One version of the file."""

    def __init__(
        self,
        location: Location,
        target: Target,
        timeout: float,
        connections: int,
        note: Callable[[str], None],
        sleep: Callable[[float], object],
    ) -> None:
        self._main = Source(location)
        self._sources = [self._main]
        self._target = target
        self._timeout = timeout
        self._most = connections
        self._note = note
        self._sleep = sleep
        self._workers: list[Worker] = []
        self._job: Job
        self._error: ClientError | None = None
        self._broken: ClientError | None = None
        self._received = 0  # on connections that are closed
        self._told = 0  # of what was received
        self._asking: list[Session] = []  # what other servers have
        self._times = Times()
        self.began = False
        """The server has answered."""
        self.fetching = False
        """What is missing is known, and whatever breaks is mended."""

    def run(self, sources: Sequence[Location], progress: Progress, begun: Begun | None) -> Fetched:
        began = time.monotonic()
        fresh = self._target.is_new
        place = self._main.location
        with Session(place.host, place.port, self._timeout) as session:
            info = self._ask(session, fresh)
            part = Part(self._target, info, session.algorithm)
            try:
                plan = Plan(info.size, info.chunk_shift)
                self._job = Job(info, plan, part, self._note)
                unchanged = self._take_stock(session, fresh)
                if begun is not None:
                    begun(info.size, part.kept)
                if not unchanged:
                    self._fetch(session, fresh, sources, progress)
            finally:
                part.close()
        seconds = time.monotonic() - began
        self._times.held, self._times.wrote = self._job.held, self._job.wrote
        return Fetched(
            info.size,
            info.mtime_ns,
            info.mode,
            self._received,
            part.kept,
            unchanged=unchanged,
            seconds=seconds,
            limited_by=limited_by(self._times, seconds),
        )

    def _ask(self, session: Session, fresh: bool) -> FileInfo:
        """Ask what the file is; for one of which nothing is here, for its beginning as well."""
        name = self._main.location.path
        session.ask(lambda number: Get(number, name, 0, FIRST_SPAN if fresh else 0))
        message = session.next()
        if isinstance(message, Error):
            raise failure(message, name)
        if not isinstance(message, FileInfo):
            raise nonsense(message)
        if not fresh and not isinstance(end := session.next(), End):
            raise nonsense(end)
        self._main.tag = message.tag
        self.began = True
        return message

    def _take_stock(self, session: Session, fresh: bool) -> bool:
        """See what is here; return whether that is all of the file."""
        job, name = self._job, self._main.location.path
        if job.part.of_another:
            self._note(f"'{printable(name)}' changed on the server; what is still right is kept")
        if job.part.take_stock(session, name, job.plan, fresh=fresh):
            return True
        job.part.check_space(job.plan.missing)
        job.over = job.plan.done
        return False

    def _fetch(
        self, session: Session, fresh: bool, sources: Sequence[Location], progress: Progress
    ) -> None:
        self.fetching = True
        job = self._job
        worker = Worker(job, self._main, session)
        self._workers.append(worker)
        if fresh and (span := job.plan.take(FIRST_SPAN)) is not None:
            worker.expect(span)
        if job.info.size <= SMALL:
            self._work(worker)
            self._told = self._received
            progress(self._told)
        if not job.over:
            self._fetch_in_threads(session.round_trip, sources, progress)
        if self._error is not None:
            raise self._error

    def _fetch_in_threads(
        self, round_trip: float, sources: Sequence[Location], progress: Progress
    ) -> None:
        others = [
            threading.Thread(target=self._add_source, args=(place,), daemon=True)
            for place in sources
        ]
        for worker in self._workers:
            self._start(worker)
        for other in others:
            other.start()
        try:
            self._watch(Growth(self._most, round_trip), progress)
        finally:
            with self._job.lock:
                self._job.over = True
                self._stop_all()
                for session in self._asking:
                    session.interrupt()
                running = [worker.thread for worker in self._workers if worker.thread]
            for thread in running:
                thread.join()

    def _start(self, worker: Worker) -> None:
        worker.thread = threading.Thread(target=self._work, args=(worker,), daemon=True)
        worker.thread.start()

    def _watch(self, growth: Growth, progress: Progress) -> None:
        """Wait until all is done; keep enough connections at work meanwhile."""
        job = self._job
        tick = min(TICK, growth.window / 2)
        failed, least = 0, job.plan.size + 1
        while True:
            with job.lock:
                if not job.over:
                    job.lock.wait(tick)
                received = self._received + sum(one.session.received for one in self._workers)
                working = len(self._workers)
                left = job.plan.missing
                over = job.over
            if received > self._told:
                progress(received - self._told)
                self._told = received
            if over:
                return
            if working:
                if growth.wants_another(time.monotonic(), cpu_seconds(), received, left, working):
                    self._connect()
                continue
            # Nothing is on its way now: what is missing tells whether it is of any use to go on.
            failed, least = (0, left) if left < least else (failed, least)
            if failed == len(PAUSES):
                assert self._broken is not None
                raise self._broken
            self._sleep(PAUSES[failed])
            failed += 1
            self._connect()

    def _connect(self) -> None:
        """Try to have one more connection, to the source that fails least, and has the fewest."""
        job = self._job
        with job.lock:
            in_use = [worker.source for worker in self._workers]
            source = min(self._sources, key=lambda one: (one.failed, in_use.count(one)))
        try:
            session = Session(source.location.host, source.location.port, self._timeout)
        except CannotConnect as error:
            self._broken = error
            source.failed += 1
            return
        worker = Worker(job, source, session)
        with job.lock:
            if job.over:
                session.close()
                return
            self._workers.append(worker)
            self._start(worker)

    def _add_source(self, place: Location) -> None:
        """Use the server at `place` as well, if its file is the same."""
        job = self._job
        why = "its file is another one"
        theirs = ours = None
        try:
            theirs = self._account(place, ANY_TAG)
            ours = self._account(self._main.location, self._main.tag)
        except ClientError as error:
            why = str(error)
        with job.lock:
            if job.over:
                return
            same = theirs and ours and theirs.root and theirs.root == ours.root
            if theirs and ours and same:
                source = Source(place, theirs.info.tag)
                source.digests = ours.digests
                self._sources.append(source)
            wanted = len(self._workers) < self._most
        if not same:
            self._note(f"{place.server} is not used: {why}")
        elif wanted:
            self._connect()

    def _account(self, place: Location, tag: bytes) -> Account:
        with Session(place.host, place.port, self._timeout) as session:
            with self._job.lock:
                if self._job.over:
                    raise ConnectionBroken("nothing more is wanted")
                self._asking.append(session)
            return account(session, place.path, self._job.info.size, tag=tag)

    def _work(self, worker: Worker) -> None:
        """Receive on one connection until nothing is left, or it is of no more use."""
        job = self._job
        try:
            worker.run()
        except (NothingThere, Changed, Damaged) as error:
            self._drop(worker.source, error)
        except ConnectionBroken as error:
            self._broken = error
            worker.source.failed += 1
        except ClientError as error:
            self._fail(error)
        finally:
            worker.session.close()
            with job.lock:
                self._workers.remove(worker)
                self._received += worker.session.received
                self._times.waited += worker.session.waited
                worker.give_back()
                job.lock.notify_all()

    def _drop(self, source: Source, error: ClientError) -> None:
        """Ask `source` for nothing any more. What the first server says of the file holds."""
        with self._job.lock:
            last = self._sources == [source]
            needed = last or (source is self._main and not isinstance(error, Damaged))
            if not needed:
                if source not in self._sources:
                    return
                self._sources.remove(source)
        if needed:
            self._fail(error)
            return
        self._note(f"{source.location.server} is not used any more: {error}")

    def _fail(self, error: ClientError) -> None:
        with self._job.lock:
            self._error = self._error or error
            self._job.over = True
            self._stop_all()
            self._job.lock.notify_all()

    def _stop_all(self) -> None:
        for worker in self._workers:
            worker.session.interrupt()


def _say_nothing(text: str) -> None:
    """Nobody wants to know."""


def _show_nothing(count: int) -> None:
    """Show no progress."""
