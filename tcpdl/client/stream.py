"""A file as a stream of checked bytes: for standard output, pipes and memory.

Imports `wire` and the modules beside it. What leaves here can not be taken back, so a chunk is held
in memory until its digest was found to be right.
"""

from __future__ import annotations

from collections.abc import Callable

from tcpdl.client.errors import CannotConnect, Changed, ConnectionBroken, Damaged, Garbled
from tcpdl.client.fetched import Fetched
from tcpdl.client.patience import Patience
from tcpdl.client.session import Session, failure
from tcpdl.client.size import check_size
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.client.worker import DAMAGED_MOST
from tcpdl.wire.native import ANY_TAG, CHANGED, Chunk, Digest, End, Error, FileInfo, Get

AHEAD_MOST = 2
"""Chunks that may have come while the digest of the first is still awaited (PROTOCOL.md 4.4)."""

DEFAULT = Ways()


def stream(location: Location, write: Callable[[bytes], object], ways: Ways = DEFAULT) -> Fetched:
    """Give the file at `location` to `write`, chunk by chunk, each checked before.

    A broken connection is made anew. Raises what `client.download.download` raises, and `Changed`
    if the file does so once a part of it was written.
    """
    reading = _Stream(location, write, ways)
    patience, damaged = Patience(ways.sleep, known=False), 0
    while True:
        before = reading.written
        try:
            with Session(location, ways) as session:
                return reading.read(session)
        except Changed:
            raise
        except Damaged:
            damaged = 1 if reading.written > before else damaged + 1
            if damaged == DAMAGED_MOST:
                raise
            ways.note(f"bytes from {reading.written} arrived damaged, and are fetched again")
        except (CannotConnect, ConnectionBroken) as error:
            patience.known = reading.info is not None
            if reading.written > before:
                patience.restore()
            patience.bear(error)


class _Stream:
    def __init__(self, location: Location, write: Callable[[bytes], object], ways: Ways) -> None:
        self._location = location
        self._write = write
        self._ways = ways
        self.written = 0
        self._received = 0
        self.info: FileInfo | None = None

    def read(self, session: Session) -> Fetched:
        name = self._location.path
        tag = ANY_TAG if self.info is None else self.info.tag
        # What is written ends with a chunk, so this begins with one.
        session.ask(lambda number: Get(number, name, self.written, tag=tag))
        held: dict[int, bytes] = {}
        try:
            while not isinstance(message := session.next(), End):
                if isinstance(message, Error):
                    if message.code == CHANGED and self.info is None:
                        raise Garbled("the server names a change, and was asked for any version")
                    raise failure(message, name)
                if isinstance(message, FileInfo):
                    self._take_info(message)
                elif isinstance(message, Chunk) and self.info is not None:
                    self._hold(held, session.take(message.length))
                    self._ways.progress(message.length)
                elif isinstance(message, Digest) and message.chunk == next(iter(held), None):
                    data = held.pop(message.chunk)
                    if session.digest(data) != message.digest:
                        raise Damaged(f"bytes from {self.written} arrived damaged")
                    self._write(data)
                    self.written += len(data)
                else:
                    raise Garbled("the server answers out of place")
        finally:
            self._received += session.received
        info = self.info
        if info is None or held or self.written != info.size:
            raise Garbled("the server's answer ended early")
        return Fetched(info.size, info.mtime_ns, info.mode, self._received)

    def _take_info(self, info: FileInfo) -> None:
        if self.info is None:
            self.info = info
            check_size(info.size, self._ways.most)
            self._ways.begun(info.size, 0)
        elif (info.size, info.tag) != (self.info.size, self.info.tag):
            raise Changed(f"'{self._location.label}' changed on the server")

    def _hold(self, held: dict[int, bytes], data: bytes) -> None:
        assert self.info is not None
        at = self.written + sum(map(len, held.values()))
        size = min(1 << self.info.chunk_shift, self.info.size - at)
        if len(held) == AHEAD_MOST or len(data) != size:
            raise Garbled("the server sends other pieces than it should")
        held[at >> self.info.chunk_shift] = data
