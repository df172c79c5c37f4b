"""One connection of a download over HTTP: it asks for what is missing, and writes what comes.

Imports `wire` and the modules beside it. The digest of each chunk that has come is computed while
its bytes are in the processor's cache, and put on record: so what is there can be checked later,
though no server says what it should be.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from tcpdl.client import crew
from tcpdl.client.crew import Job, Standing
from tcpdl.client.errors import ConnectionBroken, NotAllowed, NothingThere, ServerFailed
from tcpdl.client.http.asking import check_status
from tcpdl.client.http.connection import Connection
from tcpdl.client.http.origin import Origin
from tcpdl.client.http.representation import Answer
from tcpdl.client.plan import Range
from tcpdl.client.writing import PIECE

SPAN_SECONDS = 2.0
"""Later, as much as should take this long: between two answers, nothing comes for a round trip."""


class Worker(crew.Worker):
    """One connection at work."""

    def __init__(
        self, job: Job, origin: Origin, connection: Connection, standing: Standing, *, alone: bool
    ) -> None:
        """`alone` if there is no other: it then takes all of the file, if parts cannot be had."""
        super().__init__(job, connection, standing)
        self._alone = alone
        self.http = connection
        self._origin = origin
        self._answer: Answer | None = None
        self._span: Range = 0, 0  # what is still to come of what was taken
        self._state: tuple[int, Any] = -1, None  # the chunk that is coming, and its hash object
        self._most = crew.FIRST_SPAN

    def expect(self, answer: Answer) -> None:
        """The head of `answer` has been read; its body comes next."""
        self._answer = answer

    @property
    def outstanding(self) -> int:
        start, end = self._span
        return end - start

    def give_back(self) -> None:
        """Let others fetch what did not come. The lock is to be held."""
        self._job.plan.give_back(*self._span)
        self._span = 0, 0

    def _run(self, *, wait: bool) -> None:
        while True:
            if self._answer is None:
                if not self._take_span(wait):
                    return
                self._ask()
                if self._answer is None:
                    return
            began, before = time.monotonic(), self.http.received
            self._receive_answer()
            rate = (self.http.received - before) / (time.monotonic() - began + 1e-3)
            self._most = min(int(rate * SPAN_SECONDS), crew.SPAN_MOST)

    def _take_span(self, wait: bool) -> bool:
        """Take what is to be asked for; false if there is nothing more to do here."""
        while self._is_needed(wait):
            self.http.open()  # before anything is taken that others could fetch
            with self._job.lock:
                span = self._job.plan.take(self._most)
                if span is not None:
                    self._span = span
                    return True
        return False

    def _is_needed(self, wait: bool) -> bool:
        """Whether something is to be asked for here; with `wait`, once that is known."""
        job = self._job
        with job.lock:
            while not job.over and (self._alone or self._origin.has_ranges):
                if job.plan.missing or not wait:
                    return bool(job.plan.missing)
                self._wait()
        return False

    def _ask(self) -> None:
        origin = self._origin
        asked = self._span if origin.has_ranges else None
        head = self.http.ask(origin.place.target, origin.fields(*self._span))
        try:
            check_status(head, origin.location, self.http)
        except (NothingThere, NotAllowed) as error:
            if origin.place == origin.location:
                raise
            # Where it redirected to may hold for a while only; it will be asked again where to.
            raise ServerFailed(str(error)) from error
        answer = origin.read(head, asked, beside=not self._alone)
        if self._alone or head.status == 206:
            self._answer = answer

    def _receive_answer(self) -> None:
        """Of the file's bytes that come, write those that are missing."""
        answer, self._answer = self._answer, None
        assert answer is not None
        assert answer.end is not None
        job, at = self._job, answer.start
        while at < answer.end:
            with job.lock:
                self.give_back()
                if job.over:
                    break
                # In pieces, for others to take their share where all of the file comes.
                most = max(self._most, crew.FIRST_SPAN) if answer.is_whole else answer.end
                until = -(-(at + most) >> job.plan.shift) << job.plan.shift
                span = job.plan.take_within(at, min(until, answer.end))
                if span is None and until < answer.end:
                    span = job.plan.take_within(at, answer.end)
                if span is None:
                    break
                self._span = span
            self._pass_over(self._span[0] - at)
            at = self._span[1]
            self._receive(answer.end)
        if at < answer.end:
            self.http.close()  # the rest is of no use

    def _pass_over(self, count: int) -> None:
        view = memoryview(bytearray(min(count, PIECE)))
        while count:
            count -= self._next(view[:count])

    def _receive(self, last: int) -> None:
        """Write what comes next; the answer ends at the offset `last`."""
        job = self._job
        start, end = self._span
        while start < end:
            index = start >> job.plan.shift
            until = job.plan.chunk(index)[1]
            if self._state[0] != index:
                with job.lock:
                    assert not job.plan.are_missing(job.plan.chunk(index)[0], start)
                self._state = index, job.part.state(index, start)
            state = self._state[1]
            buffer = self._writer.buffer(min(end, until) - start)
            view = memoryview(buffer)[: min(end, until) - start]
            count = self._next(view)
            self._brought()
            state.update(view[:count])
            self._writer.write(buffer, count, start)
            if start + count == last:  # before the last bytes count
                self._origin.finish(self.http)
            start += count
            # Whatever happens now, no more than this is missing, once all is written.
            self._span = start, end
            if start == until:
                self._state = -1, None
                self._writer.then(partial(self._complete, index, state.digest()))

    def _next(self, view: memoryview) -> int:
        count = self.http.receive(view)
        if not count:
            raise ConnectionBroken("the server's answer ended early")
        return count

    def _complete(self, index: int, digest: bytes) -> None:
        job = self._job
        with job.lock:
            job.part.right(index, digest)
            job.plan.checked(index)
            if job.plan.done:
                job.over = True
                job.lock.notify_all()
