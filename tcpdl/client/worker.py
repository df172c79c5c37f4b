"""One connection of a download: it asks for what is missing, checks it and writes it.

Imports `wire` and the modules beside it. Workers share a `Job`. Each hashes what it receives while
it is still in the processor's cache, and writes it; a chunk counts once its digest has come and is
the same.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from tcpdl.client.errors import Changed, ConnectionBroken, Damaged
from tcpdl.client.part import Part
from tcpdl.client.plan import Plan, Range
from tcpdl.client.session import Session, failure
from tcpdl.client.url import Location
from tcpdl.client.writing import Writer
from tcpdl.wire.native import ANY_TAG, Answer, Chunk, Digest, End, Error, FileInfo, Get
from tcpdl.wire.text import printable

FIRST_SPAN = 16 * 1024 * 1024
"""Bytes asked for at first, before the size of the file is known."""

SPAN_SECONDS = 0.25
"""Later, a connection asks for as much as should take this long, twice."""

SPAN_MOST = 256 * 1024 * 1024

ASKED_MOST = 2
"""Requests under way on one connection: while one is answered, the next is there already."""

DAMAGED_MOST = 4
"""How often one chunk may arrive damaged."""

TICK = 0.1
"""Seconds between two looks whether something is missing again."""


class Source:
    """A server that has the file, and the file's tag there."""

    def __init__(self, location: Location, tag: bytes = ANY_TAG) -> None:
        self.location = location
        self.tag = tag


class Job:
    """What is to be fetched: shared by the workers."""

    def __init__(self, info: FileInfo, plan: Plan, part: Part, note: Callable[[str], None]) -> None:
        self.info = info
        self.plan = plan
        self.part = part
        self.note = note
        self.lock = threading.Condition()
        """Held to use the plan and what follows; notified when any of it changes."""
        self.over = False
        """All is there, or nothing more is wanted."""
        self.damaged: dict[int, int] = {}
        """How often chunks arrived damaged."""
        self.held = 0.0
        """Seconds for which servers had nothing to send."""
        self.wrote = 0.0
        """Seconds spent writing."""


class Worker:
    """One connection at work."""

    def __init__(self, job: Job, source: Source, session: Session) -> None:
        self.source = source
        self.session = session
        self.thread: threading.Thread | None = None
        self._job = job
        self._spans: deque[Range] = deque()  # asked for and not received yet, in order
        self._states: dict[int, Any] = {}  # of chunks whose digest is to come
        self._asked = 0
        self._rate = 0.0
        self._writer: Writer

    def expect(self, span: Range) -> None:
        """`span` was asked for already, and the answer's `FileInfo` has been read."""
        self._spans.append(span)
        self._asked += 1

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

    def _run(self, *, wait: bool) -> None:
        job, session = self._job, self.session
        began, before = time.monotonic(), session.received
        current = bool(self._spans)
        while True:
            with job.lock:
                self._ask_for_more()
                if not self._asked:
                    if job.over or not wait:
                        return
                    job.lock.wait(TICK)
                    continue
            message = session.next()
            if isinstance(message, FileInfo):
                current = True
                if (message.size, message.tag) != (job.info.size, self.source.tag):
                    raise Changed(f"'{printable(self.source.location.path)}' changed")
            elif isinstance(message, Chunk) and current:
                self._receive(message.length)
            elif isinstance(message, Digest) and message.chunk in self._states:
                self._check(message.chunk, message.digest)
            elif isinstance(message, End):
                self._asked -= 1
                current = False
                with job.lock:
                    job.held += message.held_ms / 1000
                if self._states:
                    raise ConnectionBroken("the server keeps digests back")
                self._rate = (session.received - before) / (time.monotonic() - began + 1e-3)
            elif isinstance(message, Error):
                raise failure(message, self.source.location.path)
            else:
                raise nonsense(message)

    def _ask_for_more(self) -> None:
        job, source = self._job, self.source
        wanted = int(self._rate * SPAN_SECONDS) or FIRST_SPAN // 2
        most = max(1 << job.info.chunk_shift, min(wanted, SPAN_MOST))
        while self._asked < ASKED_MOST and not job.over:
            span = job.plan.take(most)
            if span is None:
                return
            start, end = span
            self._spans.append(span)
            self._asked += 1
            self.session.ask(
                lambda number, start=start, end=end: Get(  # type: ignore[misc]
                    number, source.location.path, start, end - start, source.tag
                )
            )

    def _receive(self, length: int) -> None:
        job = self._job
        if not self._spans:
            raise ConnectionBroken("the server sends more than was asked for")
        start, end = self._spans[0]
        index = start >> job.info.chunk_shift
        if length > min(end, job.plan.chunk(index)[1]) - start:
            raise ConnectionBroken("the server sends more than was asked for")
        state = self._states.get(index)
        if state is None:
            state = self._states[index] = job.part.state(index, start)
        while length:
            buffer = self._writer.buffer(length)
            view = memoryview(buffer)
            count = self.session.receive(view, length)
            state.update(view[:count])
            self._writer.write(buffer, count, start)
            length -= count
            start += count
            # Whatever happens now, no more than this is missing, once all is written.
            self._spans[0] = (start, end)
        if start == end:
            self._spans.popleft()

    def _check(self, index: int, expected: bytes) -> None:
        right = self._states.pop(index).digest() == expected
        if right:
            self._writer.then(lambda: self._checked(index, expected))
        else:
            self._wrong(index)

    def _checked(self, index: int, digest: bytes) -> None:
        job = self._job
        with job.lock:
            job.part.begun.discard(index)
            job.part.right(index, digest)
            job.plan.checked(index)
            if job.plan.done:
                job.over = True
                job.lock.notify_all()

    def _wrong(self, index: int) -> None:
        job = self._job
        start, end = job.plan.chunk(index)
        with job.lock:
            begun = index in job.part.begun
            job.part.begun.discard(index)
            job.plan.wrong(index)
            # What was there before may well have been wrong; that is nobody's fault on the way.
            job.damaged[index] = times = job.damaged.get(index, 0) + (not begun)
            job.lock.notify_all()
        if times == DAMAGED_MOST:
            raise Damaged(f"bytes {start} to {end} arrived damaged {DAMAGED_MOST} times")
        if not begun:
            job.note(f"bytes {start} to {end} arrived damaged, and are fetched again")


def nonsense(message: Answer) -> ConnectionBroken:
    """What to raise for a `message` that has no place here."""
    return ConnectionBroken(f"the server answers with {type(message).__name__}, out of place")
