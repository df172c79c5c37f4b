"""A file from a web server as a stream of bytes: for standard output, pipes and memory.

Imports the modules beside it. What is written cannot be taken back: so a broken connection is
continued only where that is safe, and a wrong digest is an error at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tcpdl.client.crew import PAUSES, Sleep, pause
from tcpdl.client.errors import CannotConnect, Changed, ConnectionBroken, Garbled
from tcpdl.client.expected import Check, Expected
from tcpdl.client.fetched import Begun, Fetched, Note
from tcpdl.client.http.connection import Connection
from tcpdl.client.http.download import UNSIZED
from tcpdl.client.http.origin import Origin
from tcpdl.client.receiving import Progress
from tcpdl.client.url import Location
from tcpdl.client.writing import PIECE


def stream(
    location: Location,
    write: Callable[[bytes], object],
    *,
    timeout: float = 30.0,
    expected: Sequence[Expected] = (),
    progress: Progress | None = None,
    note: Note | None = None,
    begun: Begun | None = None,
    sleep: Sleep = time.sleep,
) -> Fetched:
    """Give the file at `location` to `write`, in order, as it comes.

    A broken connection is made anew, if the server can then say that it still has the same version.
    Raises what `client.http.download.download` raises; `Changed` and `Damaged` after bytes were
    written, too.
    """
    began = time.monotonic()
    reading = _Stream(location, write, timeout, expected, progress, note, begun)
    failed = 0
    while True:
        before = reading.written
        try:
            reading.read()
        except Changed:
            raise
        except (CannotConnect, ConnectionBroken) as error:
            failed = 0 if reading.written > before else failed + 1
            patient = reading.begun or getattr(error, "wait", 0.0) > 0
            if not reading.can_continue or failed > (
                len(PAUSES) if patient else isinstance(error, Garbled)
            ):
                raise
            sleep(pause(max(failed - 1, 0), error))
        else:
            return reading.fetched(time.monotonic() - began)


class _Stream:
    def __init__(
        self,
        location: Location,
        write: Callable[[bytes], object],
        timeout: float,
        expected: Sequence[Expected],
        progress: Progress | None,
        note: Note | None,
        told: Begun | None,
    ) -> None:
        self._origin = Origin(location, timeout)
        self._origin.takes_ranges = False  # for the first request: all of it, at once
        self._write = write
        self._expected = expected
        self._progress = progress
        self._note = note
        self._told = told
        self._check = Check(())
        self._received = 0
        self.begun = False
        """The server has said what the file is."""
        self.written = 0

    @property
    def can_continue(self) -> bool:
        """Whether what comes after a break can be known to belong to what came before."""
        return not self.written or bool(self._origin.representation.validator)

    def fetched(self, seconds: float) -> Fetched:
        """What all came to."""
        there = self._origin.representation
        return Fetched(
            self.written,
            there.mtime_ns,
            received=self._received,
            verified=bool(self._check),
            seconds=seconds,
        )

    def read(self) -> None:
        """Receive what is missing, on a new connection."""
        origin = self._origin
        if self.written:
            asked, answer = origin.ask_again(self.written, origin.representation.size or 0)
        else:
            asked, answer = origin.ask_first(0, 0)
        with asked.connection as connection:
            try:
                if not self.written:
                    self._begin()
                self._receive(connection, answer.start)
            finally:
                self._received += connection.received
        self._check.finish()

    def _begin(self) -> None:
        there = self._origin.representation
        self._check = Check((*self._expected, *there.digests))
        if not self.begun:
            self.begun = True
            if self._told is not None and there.size is not None:
                self._told(there.size, 0)
        self._origin.takes_ranges = there.size is not None

    def _receive(self, connection: Connection, at: int) -> None:
        if connection.body.ends_with_connection and self._note is not None:
            self._note(UNSIZED)
        buffer = memoryview(bytearray(PIECE))
        while count := connection.receive(buffer):
            new = buffer[max(self.written - at, 0) : count]
            at += count
            if new:
                self._check.update(new)
                self._write(bytes(new))
                self.written += len(new)
                if self._progress is not None:
                    self._progress(len(new))
