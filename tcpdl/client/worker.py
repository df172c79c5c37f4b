"""One connection of a download in the native dialect: asks for what is missing, checks and writes.

Imports `wire` and the modules beside it. Each hashes what it receives while it is still in the
processor's cache, and writes it; a chunk counts once its digest has come and is the same.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import Any

from tcpdl.client import crew
from tcpdl.client.crew import Job
from tcpdl.client.errors import Changed, Damaged, Garbled
from tcpdl.client.plan import Range
from tcpdl.client.session import Session, failure
from tcpdl.client.url import Location
from tcpdl.wire.native import ANY_TAG, Answer, Chunk, Digest, End, Error, FileInfo, Get

SPAN_SECONDS = 0.25
"""Later, a connection asks for as much as should take this long, twice."""

ASKED_MOST = 2
"""Requests under way on one connection: while one is answered, the next is there already."""

DAMAGED_MOST = 4
"""How often one chunk may arrive damaged from one server."""


class Source:
    """A server that has the file, and the file's tag there."""

    def __init__(self, location: Location, tag: bytes = ANY_TAG) -> None:
        self.location = location
        self.tag = tag
        self.address = ""
        """Where it was found, once it was."""
        self.digests: tuple[bytes, ...] = ()
        """What the first server says that the chunks have to be; unknown for that one itself."""
        self.failed = 0
        """How often it could not be reached, or broke off, since it last sent a whole chunk."""
        self.standing = crew.Standing()
        self.damaged: dict[int, int] = {}
        """How often its chunks arrived damaged."""


class Worker(crew.Worker):
    """One connection at work."""

    def __init__(self, job: Job, source: Source, session: Session) -> None:
        super().__init__(job, session, source.standing)
        self.source = source
        self.session = session
        self._spans: deque[Range] = deque()  # of each request, what is still to come
        self._states: dict[int, Any] = {}  # of chunks whose digest is to come
        self._given_up = False
        self._rate = 0.0

    def expect(self, span: Range) -> None:
        """`span` was asked for already, and the answer's `FileInfo` has been read."""
        self._spans.append(span)

    @property
    def outstanding(self) -> int:
        return sum(end - start for start, end in tuple(self._spans))

    def give_back(self) -> None:
        """Let others fetch what did not come. The lock is to be held."""
        for span in self._spans:
            self._job.plan.give_back(*span)
        self._spans.clear()
        # Without their digests, chunks that were received in full are as good as begun.
        for index in self._states:
            end = self._job.plan.chunk(index)[1]
            if not self._job.plan.is_missing(end - 1):
                self._job.plan.give_back(end - 1, end)
        self._states.clear()

    def _run(self, *, wait: bool) -> None:
        job, session = self._job, self.session
        session.open()  # before anything is taken that others could fetch
        began, before = time.monotonic(), session.received
        current = bool(self._spans)
        while True:
            with job.lock:
                self._ask_for_more()
                if not self._spans:
                    if job.over or self._given_up or not wait:
                        return
                    self._wait()
                    continue
            message = session.next()
            if isinstance(message, FileInfo):
                current = True
                if (message.size, message.tag) != (job.plan.size, self.source.tag):
                    raise Changed(f"'{self.source.location.label}' changed")
            elif isinstance(message, Chunk) and current:
                self._receive(message.length)
            elif isinstance(message, Digest) and self._is_due(message.chunk):
                self._check(message.chunk, message.digest)
            elif isinstance(message, End):
                start, end = self._spans[0]
                if start < end:
                    raise Garbled("the server's answer ended early")
                if self._states:
                    raise Garbled("the server keeps digests back")
                self._spans.popleft()
                current = False
                with job.lock:
                    job.held += message.held_ms / 1000
                self._rate = (session.received - before) / (time.monotonic() - began + 1e-3)
            elif isinstance(message, Error):
                raise failure(message, self.source.location.path)
            else:
                raise nonsense(message)

    def _ask_for_more(self) -> None:
        job, source = self._job, self.source
        wanted = int(self._rate * SPAN_SECONDS) or crew.FIRST_SPAN // 2
        most = max(1 << job.plan.shift, min(wanted, crew.SPAN_MOST))
        while len(self._spans) < ASKED_MOST and not (job.over or self._given_up):
            span = job.plan.take(most)
            if span is None:
                return
            start, end = span
            self._spans.append(span)
            self.session.ask(
                lambda number, start=start, end=end: Get(  # type: ignore[misc]
                    number, source.location.path, start, end - start, source.tag
                )
            )

    def _receive(self, length: int) -> None:
        job = self._job
        start, end = self._spans[0]
        index = start >> job.plan.shift
        if length > min(end, job.plan.chunk(index)[1]) - start:
            raise Garbled("the server sends more than was asked for")
        state = self._states.get(index)
        if state is None:
            state = self._states[index] = job.part.state(index, start)
        while length:
            buffer = self._writer.buffer(length)
            view = memoryview(buffer)
            count = self.session.receive(view, length)
            self._brought()
            state.update(view[:count])
            self._writer.write(buffer, count, start)
            length -= count
            start += count
            # Whatever happens now, no more than this is missing, once all is written.
            self._spans[0] = (start, end)

    def _is_due(self, index: int) -> bool:
        """Whether all has come of chunk `index` that was to come, but for its digest."""
        start, end = self._spans[0]
        return index in self._states and (start == end or start >> self._job.plan.shift != index)

    def _check(self, index: int, expected: bytes) -> None:
        right = self._states.pop(index).digest() == expected
        # In either case, once nothing more is written there.
        self._writer.then(partial(self._checked if right else self._wrong, index, expected))
        if self.source.digests and self.source.digests[index] != expected:
            raise Changed(f"'{self.source.location.label}' is another file than before")

    def _checked(self, index: int, digest: bytes) -> None:
        job = self._job
        with job.lock:
            if self.source.digests and self.source.digests[index] != digest:
                self._missing_again(index)
                return
            self.source.failed = 0
            job.part.begun.discard(index)
            job.part.right(index, digest)
            job.plan.checked(index)
            if job.plan.done:
                job.over = True
                job.lock.notify_all()

    def _wrong(self, index: int, _: bytes) -> None:
        job = self._job
        start, end = job.plan.chunk(index)
        with job.lock:
            # What was there before may well have been wrong; that is nobody's fault on the way.
            begun = index in job.part.begun
            damaged = self.source.damaged
            damaged[index] = times = damaged.get(index, 0) + (not begun)
            self._given_up = times == DAMAGED_MOST
            self._missing_again(index)
        if self._given_up:
            raise Damaged(f"bytes {start} to {end} arrived damaged {DAMAGED_MOST} times")
        if not begun:
            job.note(f"bytes {start} to {end} arrived damaged, and are fetched again")

    def _missing_again(self, index: int) -> None:
        """Have chunk `index` fetched anew. The lock is to be held."""
        job = self._job
        job.part.begun.discard(index)
        job.plan.wrong(index)
        job.lock.notify_all()


def nonsense(message: Answer) -> Garbled:
    """What to raise for a `message` that has no place here."""
    return Garbled(f"the server answers with {type(message).__name__}, out of place")
