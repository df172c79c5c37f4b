"""A file from a web server as a stream of bytes: for standard output, pipes and memory.

Imports the modules beside it. What is written cannot be taken back: so a broken connection is
continued only where that is safe, and a wrong digest is an error at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tcpdl.client.errors import CannotConnect, Changed, ConnectionBroken
from tcpdl.client.expected import Check
from tcpdl.client.fetched import Fetched
from tcpdl.client.http.connection import Connection
from tcpdl.client.http.download import UNSIZED, stored_in
from tcpdl.client.http.origin import Origin
from tcpdl.client.http.representation import Answer
from tcpdl.client.patience import Patience
from tcpdl.client.size import Watch, check_size
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.client.writing import PIECE

DEFAULT = Ways()


def stream(location: Location, write: Callable[[bytes], object], ways: Ways = DEFAULT) -> Fetched:
    """Give the file at `location` to `write`, in order, as it comes.

    A broken connection is made anew, if the server can then say that it still has the same version.
    Raises what `client.http.download.download` raises; `Changed` and `Damaged` after bytes were
    written, too.
    """
    began = time.monotonic()
    reading = _Stream(location, write, ways)
    patience = Patience(ways.sleep, known=False)
    while True:
        before = reading.written
        try:
            reading.read()
        except Changed:
            raise
        except (CannotConnect, ConnectionBroken) as error:
            if not reading.can_continue:
                raise
            patience.known = reading.begun
            if reading.written > before:
                patience.restore()
            patience.bear(error)
        else:
            return reading.fetched(time.monotonic() - began)


class _Stream:
    def __init__(self, location: Location, write: Callable[[bytes], object], ways: Ways) -> None:
        self._origin = Origin(location, ways)
        self._write = write
        self._ways = ways
        self._check = Check(())
        self._told = Watch(ways.progress, ways.most, None)
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
            asked, answer = origin.ask_first(None)
        with asked.connection as connection:
            try:
                if not self.written:
                    self._begin(connection)
                self._receive(connection, answer)
            finally:
                self._received += connection.received
        self._check.finish()

    def _begin(self, connection: Connection) -> None:
        there = self._origin.representation
        self._check = Check((*self._ways.expected, *there.digests))
        if there.size is not None:
            check_size(there.size, self._ways.most)
        if not self.begun:
            self.begun = True
            if there.size is not None:
                self._ways.begun(there.size, 0)
            if there.coding:
                self._ways.note(stored_in(there.coding))
            if connection.body.ends_with_connection:
                self._ways.note(UNSIZED)

    def _receive(self, connection: Connection, answer: Answer) -> None:
        at, end = answer.start, answer.end
        buffer = memoryview(bytearray(PIECE))
        while end is None or at < end:
            room = len(buffer) if end is None else min(len(buffer), end - at)
            count = connection.receive(buffer[:room])
            if not count and end is None:
                break
            if not count:
                raise ConnectionBroken("the server's answer ended early")
            new = buffer[max(self.written - at, 0) : count]
            at += count
            if at == end:  # before the last bytes are out: then nothing more could be done
                self._origin.finish(connection)
            if new:
                self._told(len(new))
                self._check.update(new)
                self._write(bytes(new))
                self.written += len(new)
        if at < self.written:
            raise Changed(f"'{self._origin.location.label}' became shorter")
