"""A tree that is pushed over several connections at once. Imports the modules beside it.

A connection on a long line begins slowly: each round trip doubles what is under way. Several that
begin at the same time bring a small tree in half as many round trips as one does. The server makes
the same packs for each, and sends on each the next of them in turn, so that together they are what
one would have sent, in the same order.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from queue import Empty, Full, Queue
from typing import NamedTuple

from tcpdl.client.errors import ClientError
from tcpdl.client.listing import entries_of
from tcpdl.client.session import Session
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire.native import Pack
from tcpdl.wire.pack import Entry

SHARES = 8
"""Connections a tree is shared out to. Of many more, each would have but a few packets to bring."""

FAR = 0.02
"""Seconds of a round trip from which that pays."""

AHEAD = 32
"""Packs of 64 KiB and a file that are taken from a connection before its turn comes. One that is
not read from is not sent much: its window grows only as it is read."""

_HERE = ("localhost", "127.", "::1")


class Sessions:
    """One connection, or several if the server is far. Use it as a context manager."""

    def __init__(self, location: Location, ways: Ways, most: int) -> None:
        """Connect, with at most `most` connections. Raises what `Session` does.

        They are begun at the same time, since it is not known before how far the server is.
        """
        self.all: list[Session] = []
        self._location = location
        self._ways = ways
        self._lock = threading.Lock()
        self._closed = False
        wanted = 1 if location.host.startswith(_HERE) else min(most, SHARES)
        others = [threading.Thread(target=self._connect, daemon=True) for _ in range(wanted - 1)]
        for other in others:
            other.start()
        try:
            first = Session(location, ways)
        except BaseException:
            self.close()
            raise
        if first.round_trip >= FAR:
            for other in others:
                # They were begun with the first, so they are there by now, or something is wrong.
                other.join(first.round_trip)
        with self._lock:
            spare = self.all if first.round_trip < FAR else []
            self.all = [first] if spare else [first, *self.all]
            self._closed = True
        for session in spare:
            session.close()

    def close(self) -> None:
        """End all connections."""
        with self._lock:
            self._closed = True
            sessions, self.all = self.all, []
        for session in sessions:
            session.close()

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> None:
        with suppress(ClientError), ExitStack() as stack:
            session = Session(self._location, self._ways)
            stack.callback(session.close)
            with self._lock:
                if not self._closed:
                    self.all.append(session)
                    stack.pop_all()


class Turn(NamedTuple):
    """A part of the answer about a tree."""

    received: int
    """Bytes of the pack."""
    entries: list[Entry] | None
    """What it holds; `None` at the end of the answer."""


def next_turn(session: Session, name: bytes) -> Turn:
    """The next part of the answer about the folder `name`. Raises what `entries_of` does."""
    message = session.next()
    received = len(message.packed) if isinstance(message, Pack) else 0
    return Turn(received, entries_of(session, message, name))


class Reader:
    """Reads the answer to one request ahead of its turn, in a thread of its own.

    Use it as a context manager; at its end, the connection is of no further use.
    """

    def __init__(self, session: Session, name: bytes) -> None:
        """What comes on `session` is about the folder `name`."""
        self._session = session
        self._name = name
        self._turns: Queue[Turn | ClientError] = Queue(AHEAD)
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def next(self) -> Turn:
        """The next part. Raises what `next_turn` does."""
        turn = self._turns.get()
        if isinstance(turn, ClientError):
            raise turn
        return turn

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._session.interrupt()
        with suppress(Empty):
            while True:
                self._turns.get_nowait()
        self._thread.join()

    def _run(self) -> None:
        turn: Turn | ClientError
        while not self._over:
            try:
                turn = next_turn(self._session, self._name)
            except ClientError as error:
                turn = error
            while not self._over:
                with suppress(Full):
                    self._turns.put(turn, timeout=0.1)
                    break
            if isinstance(turn, ClientError) or turn.entries is None:
                return
