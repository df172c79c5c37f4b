"""Download a file from any web server: resumed where that is safe, over several connections.

Imports `wire`, `digest` and the modules beside it. Parts are put together only if the server says
of each that it is of one and the same version; where it does not, the file comes in one answer.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence

from tcpdl import digest
from tcpdl.client import crew
from tcpdl.client.crew import Crew, Job, Standing, bring_up
from tcpdl.client.errors import (
    CannotConnect,
    Changed,
    ClientError,
    ConnectionBroken,
    Damaged,
    NotAllowed,
    NothingThere,
)
from tcpdl.client.expected import Check, Expected, check_file
from tcpdl.client.fetched import Fetched
from tcpdl.client.http.asking import Asked
from tcpdl.client.http.connection import Connection
from tcpdl.client.http.origin import Origin
from tcpdl.client.http.representation import Answer, Representation
from tcpdl.client.http.stock import first_missing, is_of_another, take_stock
from tcpdl.client.http.worker import Worker
from tcpdl.client.pace import Growth, limited_by
from tcpdl.client.part import Part
from tcpdl.client.plan import Plan
from tcpdl.client.receiving import write_all
from tcpdl.client.record import HTTP_TAG, Version
from tcpdl.client.size import Watch, check_size, check_space
from tcpdl.client.target import Target
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.client.writing import PIECE
from tcpdl.wire.native import TAG_SIZE

UNSIZED = "the server does not say how long the file is: nobody can tell whether all of it came"

DEFAULT = Ways()


def download(location: Location, target: Target, ways: Ways = DEFAULT) -> Fetched:
    """Bring `target` up to the file at `location`, which has a `target` of HTTP.

    The whole of it is checked against the digests that the server names, and those that are
    expected; it is `verified` if there are any. For the rest, see `client.download.download`.

    Raises `NothingThere`, `NotAllowed`, `CannotConnect`, `ConnectionBroken`, `Damaged`,
    `CannotWrite`.
    """
    origin = Origin(location, ways)
    return bring_up(
        lambda: _Download(origin, target, ways),
        location.label,
        ways,
        known=target.has_record,
        anew="it is fetched anew",
    )


class _Download(Crew[Worker]):
    """One version of the file."""

    def __init__(self, origin: Origin, target: Target, ways: Ways) -> None:
        super().__init__(ways)
        self._origin = origin
        self._target = target
        self._standing = Standing()
        self._address = ""  # of the server that answers

    def run(self) -> Fetched:
        began = time.monotonic()
        self._target.go_back()
        start = first_missing(self._target)
        asked, answer = self._origin.ask_first((start, start + crew.FIRST_SPAN))
        self.began = True
        if answer.representation.coding:
            self._ways.note(stored_in(answer.representation.coding))
        with asked.connection as connection:
            there = answer.representation
            expected = (*self._ways.expected, *there.digests)
            if there.size is None:
                fetched = self._fetch_unsized(connection, expected)
            else:
                fetched = self._fetch_sized(there, there.size, asked, answer, expected)
        seconds = time.monotonic() - began
        return fetched._replace(
            mtime_ns=there.mtime_ns,
            verified=bool(expected),
            seconds=seconds,
            limited_by="" if fetched.unchanged else limited_by(self._times, seconds),
        )

    def _fetch_sized(
        self,
        there: Representation,
        size: int,
        asked: Asked,
        answer: Answer,
        expected: Sequence[Expected],
    ) -> Fetched:
        check_size(size, self._ways.most)
        # What is here may be of use; how much of it is, shows only once it was looked at.
        check_space(self._target.fd, size - self._target.allocated)
        shift = digest.chunk_shift(size)
        algorithm = digest.choose(digest.AVAILABLE)
        version = Version(size, shift, algorithm, self._tag(there, algorithm))
        fresh = self._target.is_new and size <= 1 << shift
        self._keep_another(version, there, expected)
        part = Part(self._target, version, recorded=bool(there.validator) and not fresh)
        try:
            plan = Plan(size, shift)
            self._job = Job(plan, part, self._ways.note, self._ways.timeout)
            may_be_begun = self._origin.may_be_begun
            unchanged = take_stock(part, plan, expected, may_be_begun=may_be_begun)
            self._ways.begun(size, part.kept)
            if not unchanged:
                check_space(self._target.fd, plan.missing)
                self._job.over = plan.done
                self._fetch(asked.connection, answer)
                self._check(part, expected)
        finally:
            part.close()
        self._times.wrote = self._job.wrote
        received = self._received or asked.connection.received
        return Fetched(size, received=received, kept=part.kept, unchanged=unchanged)

    def _keep_another(
        self, version: Version, there: Representation, expected: Sequence[Expected]
    ) -> None:
        """If a part of another version is here, keep that until this one is complete.

        Raises `ConnectionBroken` if nothing says that this is a version of the file at all: a page
        may come in its place, to log in to a network.
        """
        if not is_of_another(self._target, version):
            return
        if not (there.validator or expected):
            raise ConnectionBroken(
                f"what the server sends for '{self._shown}' is not what was begun, and it does not "
                f"say which version it is; to fetch it all the same, remove '{self._target.part}'"
            )
        self._ways.note(
            f"'{self._shown}' changed on the server; it is fetched anew, and what was begun stays "
            "until that is complete"
        )
        self._target.begin_anew()

    @property
    def _shown(self) -> str:
        return self._origin.location.label

    def _tag(self, there: Representation, algorithm: int) -> bytes:
        """What tells this version from others, in the record."""
        place = self._origin.location
        # A link that was made anew leads to the same.
        target = re.sub("(?<=[?&])(until|signed)=[^&]*", "", place.target)
        parts = ("tcpdl http 1", place.server, target, there.etag, there.modified)
        joined = "\n".join(parts).encode("utf-8", "surrogateescape")
        return (HTTP_TAG + digest.digest(algorithm, joined))[:TAG_SIZE]

    def _fetch(self, connection: Connection, answer: Answer) -> None:
        self.fetching = True
        job = self._job
        self._address = connection.peer
        worker = Worker(job, self._origin, connection, self._standing, alone=True)
        worker.expect(answer)
        if job.plan.size <= crew.SMALL:
            self._work_here(worker)
        elif not job.over:
            self._workers.append(worker)
        if not job.over:
            most = self._most if self._origin.has_ranges else 1
            self._work_in_threads(Growth(most, connection.round_trip))
        if self._error is not None:
            raise self._error

    def _check(self, part: Part, expected: Sequence[Expected]) -> None:
        """Raise `Damaged` unless the whole is as it is `expected` to be; then it is not kept."""
        try:
            check_file(self._target.fd, part.version.size, expected)
        except Damaged:
            self._target.discard()
            if part.kept:
                self._origin.may_be_begun = False
                raise Changed("what was here already is not of this file") from None
            raise

    def _connect_beside(self) -> None:
        """Have one more connection, if this version can be had in parts."""
        origin = self._origin
        if origin.has_ranges and self._standing.takes_another(time.monotonic()):
            connection = Connection(origin.place, self._beside, address=self._address)
            self._add(Worker(self._job, origin, connection, self._standing, alone=False))

    def _connect(self) -> None:
        """Ask for what is missing, wherever it is now, where no connection is left."""
        job, origin = self._job, self._origin
        with job.lock:
            if not origin.representation.validator:
                # Nobody can tell whether what comes now belongs to what came before.
                job.plan.forget()
                job.part.kept = 0
            span = job.plan.take(crew.FIRST_SPAN) or (0, job.plan.size)
        try:
            asked, answer = origin.ask_again(*span)
        except (NothingThere, NotAllowed, Changed, Damaged) as error:
            self._fail(error)
            return
        except (CannotConnect, ConnectionBroken) as error:
            self._broken = error
            return
        finally:
            with job.lock:
                job.plan.give_back(*span)
        self._address = asked.connection.peer
        worker = Worker(job, origin, asked.connection, self._standing, alone=True)
        worker.expect(answer)
        self._add(worker)

    def _refused(self, worker: Worker, error: ClientError) -> None:
        """What one connection is told holds for all only if no other gets on with the file: servers
        limit how many there may be, or several, of which each has a version, share a name."""
        with self._job.lock:
            beside = len(self._workers) > 1
            if beside:
                self._broken = error
                self._standing.close()
        if beside:
            self._ways.note(f"no further connection is made: {error}")
        else:
            self._fail(error)

    def _fetch_unsized(self, connection: Connection, expected: Sequence[Expected]) -> Fetched:
        """Receive a file of which the server does not say how long it is, from its beginning."""
        if connection.body.ends_with_connection and not self._origin.is_unsized:
            self._origin.is_unsized = True
            self._ways.note(UNSIZED)
        self._keep_another(Version(0, 0, 0, b""), self._origin.representation, expected)
        self._target.discard()
        check, size = Check(expected), 0
        told = Watch(self._ways.progress, self._ways.most, self._target.fd)
        buffer = memoryview(bytearray(PIECE))
        try:
            os.lseek(self._target.fd, 0, os.SEEK_SET)
            while count := connection.receive(buffer):
                check.update(buffer[:count])
                write_all(self._target.fd, buffer[:count])
                size += count
                told(count)
            check.finish()
        except ClientError:
            self._target.discard()  # there is no way to continue it
            raise
        return Fetched(size, received=connection.received)


def stored_in(coding: str) -> str:
    """What is said of a file that comes in a content coding because it is stored in it."""
    return f"the server says that the file is coded, as '{coding}'; it is kept as it is"
