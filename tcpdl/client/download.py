"""The download engine: one file, checked chunk by chunk, over one connection or several.

In the native dialect. Imports `wire` and the modules beside it. `client.crew` keeps the connections
at work (`client.worker`); what they are to fetch, and from which servers, is decided here.
"""

from __future__ import annotations

import threading
import time

from tcpdl.client import crew
from tcpdl.client.crew import Crew, Job, bring_up
from tcpdl.client.errors import CannotConnect, ClientError, ConnectionBroken, Damaged
from tcpdl.client.fetched import Fetched
from tcpdl.client.line import UNWANTED
from tcpdl.client.pace import Growth, limited_by
from tcpdl.client.part import Part
from tcpdl.client.plan import Plan
from tcpdl.client.record import Version, begun_over_http
from tcpdl.client.session import Session, failure
from tcpdl.client.size import check_size, check_space
from tcpdl.client.stock import Account, Stock, account
from tcpdl.client.target import Target
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.client.worker import Source, Worker, nonsense
from tcpdl.wire.native import ANY_TAG, End, Error, FileInfo, Get

DEFAULT = Ways()


def download(location: Location, target: Target, ways: Ways = DEFAULT) -> Fetched:
    """Bring `target` up to the file at `location`: every byte of it checked, none fetched twice.

    What the part file holds already, whoever wrote it, is checked and kept as far as it is right.
    Each of the further sources is asked for its digests, and used if they are the same. The caller
    compares the whole with what is expected, if anything is, and gives the target its name
    (`keep`), unless it is `unchanged`.

    Raises `OtherDialect` if the server speaks another; `NothingThere`, `NotAllowed`,
    `CannotConnect`, `ConnectionBroken`, `Damaged`, `CannotWrite`. What has come stays in the part.
    """
    return bring_up(
        lambda: _Download(location, target, ways),
        location.label,
        ways,
        # What was begun over HTTP says nothing of the native dialect.
        known=target.has_record and not begun_over_http(target),
        anew="what is the same in the new version is kept",
    )


class _Download(Crew[Worker]):
    """One version of the file."""

    def __init__(self, location: Location, target: Target, ways: Ways) -> None:
        super().__init__(ways)
        self._main = Source(location)
        self._sources = [self._main]
        self._target = target
        self._asking: list[Session] = []  # what other servers have

    def run(self) -> Fetched:
        began = time.monotonic()
        fresh = self._target.is_new
        with Session(self._main.location, self._ways) as session:
            self._main.address = session.peer
            info = self._ask(session, fresh)
            check_size(info.size, self._ways.most)
            # What is here may be of use; how much of it is, shows only once it was looked at.
            check_space(self._target.fd, info.size - self._target.allocated)
            version = Version(info.size, info.chunk_shift, session.algorithm, info.tag)
            # One that is fetched in one go needs no record, nor has it one from before.
            recorded = not (self._target.is_new and info.size <= 1 << info.chunk_shift)
            part = Part(self._target, version, recorded=recorded)
            try:
                plan = Plan(info.size, info.chunk_shift)
                self._job = Job(plan, part, self._ways.note, self._ways.timeout)
                unchanged = self._take_stock(session, fresh)
                self._ways.begun(info.size, part.kept)
                if not unchanged:
                    self._fetch(session, fresh)
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
        session.ask(lambda number: Get(number, name, 0, crew.FIRST_SPAN if fresh else 0))
        message = session.next()
        if isinstance(message, Error):
            raise failure(message, name)
        if not isinstance(message, FileInfo):
            raise nonsense(message)
        if not (fresh and message.size) and not isinstance(end := session.next(), End):
            raise nonsense(end)
        self._main.tag = message.tag
        self.began = True
        return message

    def _take_stock(self, session: Session, fresh: bool) -> bool:
        """See what is here; return whether that is all of the file."""
        job, name = self._job, self._main.location.path
        if job.part.of_another:
            shown = self._main.location.label
            self._ways.note(f"'{shown}' changed on the server; what is still right is kept")
        if Stock(job.part, session, name, job.plan).take(fresh=fresh):
            return True
        check_space(self._target.fd, job.plan.missing)
        job.over = job.plan.done
        return False

    def _fetch(self, session: Session, fresh: bool) -> None:
        self.fetching = True
        job = self._job
        worker = Worker(job, self._main, session)
        if fresh and (span := job.plan.take(crew.FIRST_SPAN)) is not None:
            worker.expect(span)
        if job.plan.size <= crew.SMALL:
            self._work_here(worker)
        else:
            self._workers.append(worker)
        if not job.over:
            others = [
                threading.Thread(target=self._add_source, args=(place,), daemon=True)
                for place in self._ways.sources
            ]
            self._work_in_threads(Growth(self._most, session.round_trip), others)
        if self._error is not None:
            raise self._error

    def _connect(self) -> None:
        with self._job.lock:
            source = self._least_used(self._sources)
        try:
            session = Session(source.location, self._ways)
        except (CannotConnect, ConnectionBroken) as error:
            self._broken = error
            source.failed += 1
            return
        source.address = session.peer
        self._add(Worker(self._job, source, session))

    def _connect_beside(self) -> None:
        now = time.monotonic()
        with self._job.lock:
            takers = [one for one in self._sources if one.standing.takes_another(now)]
            if not takers:
                return
            source = self._least_used(takers)
        session = Session(source.location, self._beside, address=source.address, later=True)
        self._add(Worker(self._job, source, session))

    def _least_used(self, sources: list[Source]) -> Source:
        """The one that fails least, and has the fewest connections. The lock is to be held."""
        in_use = [worker.source for worker in self._workers]
        return min(sources, key=lambda one: (one.failed, in_use.count(one)))

    def _add_source(self, place: Location) -> None:
        """Use the server at `place` as well, if its file is the same."""
        job = self._job
        why = "its file is another one"
        theirs, ours, address = None, None, ""
        try:
            theirs, address = self._account(place, ANY_TAG)
            ours, _ = self._account(self._main.location, self._main.tag)
        except ClientError as error:
            why = str(error)
        with job.lock:
            if job.over:
                return
            same = theirs and ours and theirs.root and theirs.root == ours.root
            if theirs and ours and same:
                source = Source(place, theirs.info.tag)
                source.digests = ours.digests
                source.address = address
                self._sources.append(source)
            wanted = len(self._workers) < self._most
        if not same:
            self._ways.note(f"{place.server} is not used: {why}")
        elif wanted:
            session = Session(place, self._beside, address=address, later=True)
            self._add(Worker(job, source, session))

    def _account(self, place: Location, tag: bytes) -> tuple[Account, str]:
        """What the server at `place` says of the file; and its address."""
        with Session(place, self._ways, later=True) as session:
            with self._job.lock:
                if self._job.over:
                    raise ConnectionBroken(UNWANTED)
                self._asking.append(session)
            session.open()
            found = account(session, place.path, self._job.plan.size, tag=tag)
            return found, session.peer

    def _broke(self, worker: Worker, error: ClientError) -> None:
        super()._broke(worker, error)
        worker.source.failed += not crew.went_away(worker)

    def _refused(self, worker: Worker, error: ClientError) -> None:
        self._drop(worker.source, error)

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
        self._ways.note(f"{source.location.server} is not used any more: {error}")

    def _stop_all(self) -> None:
        super()._stop_all()
        for session in self._asking:
            session.interrupt()
