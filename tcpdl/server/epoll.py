"""One epoll instance for all connections of a listener, watched by the reactor as one descriptor.

Imports Twisted only. An epoll descriptor is itself readable when something in it is ready, so it
can be watched by any reactor. The reactor then spends its cost for an event (a logging context, a
dictionary or two, a turn of its loop) once for a batch of connections and not for each of them,
and select() and poll() serve as many connections as epoll does. bench/echo.py measures what it
saves.

`EpollSet` stands where a connection expects its reactor: it provides `IReactorFDSet`, and
`callLater` of the reactor behind it.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from twisted.internet import error, main
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableDescriptor,
    IReactorFDSet,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_IN = 0x001  # EPOLLIN, EPOLLOUT: select lacks the names where there is no epoll
_OUT = 0x004
_ERROR = 0x008  # EPOLLERR, as for a connection that was reset
_GONE = _ERROR | 0x010  # and EPOLLHUP; the kernel reports both unasked
_EDGE = 1 << 31  # EPOLLET: once, when it comes about

BATCH = 128
"""Connections served in one turn; at 10 to 30 microseconds each, that takes 4 ms at most."""

TURN_SECONDS = 0.004
"""How long they are served, if they take longer: then timers have their turn."""

_log = Logger()


@implementer(IReactorFDSet, IReadDescriptor)
class EpollSet:
    """Descriptors watched through one epoll instance below `reactor`."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._members: dict[int, Any] = {}
        self._interest: dict[int, int] = {}
        # A member that closes its socket before it leaves is known by this number.
        self._numbers: dict[Any, int] = {}
        self._left: list[tuple[Any, int, int]] = []  # what the last turn had no time for
        reactor.addReader(self)

    def close(self) -> None:
        """Stop watching. Members are forgotten, not closed."""
        if not self._epoll.closed:
            self._reactor.removeReader(self)
            self.removeAll()
            self._epoll.close()

    # What the reactor calls.

    def fileno(self) -> int:
        return -1 if self._epoll.closed else self._epoll.fileno()

    def logPrefix(self) -> str:
        return "tcpdl"

    def doRead(self) -> None:
        """Serve members that are ready: `BATCH` times, and for `TURN_SECONDS`, at most."""
        members = self._members
        left = BATCH
        end = monotonic() + TURN_SECONDS
        # Those of the last turn first, or some would never have theirs. What they did not wait for
        # any more is not done; and another may have got the number of one that has left.
        events = [
            (number, event & (self._interest[number] | _GONE))
            for member, number, event in self._left
            if members.get(number) is member
        ]
        self._left = []
        # Asking again costs a tenth of a turn of the reactor, and under load there is more.
        while left > 0 and (events or (events := self._epoll.poll(0, left))):
            left -= len(events)
            for at, (number, event) in enumerate(events):
                if monotonic() > end:
                    self._left = [(members.get(n), n, e) for n, e in events[at:] if n in members]
                    # Some events come once, and nothing else may call us.
                    self._reactor.callLater(0, self._go_on)
                    return
                member = members.get(number)
                if member is None:
                    continue  # it left while an earlier one of this batch was served
                try:
                    if event == _IN:
                        reason = member.doRead()
                        if reason is not None:
                            self._read_ended(member, reason)
                    else:
                        self._serve(member, number, event)
                except Exception:  # noqa: BLE001 - whatever it is, it ends this connection only
                    failure = Failure()
                    _log.failure("unexpected error on {member!r}", failure, member=member)
                    self._drop(member, failure)
            events = []

    def _go_on(self) -> None:
        if self._left and not self._epoll.closed:
            self.doRead()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor shuts down: so do all members."""
        for member in self.removeAll():
            self._drop(member, reason)
        self._epoll.close()

    def _serve(self, member: Any, number: int, event: int) -> None:
        """Let `member` read and write, or tell it that its connection is gone."""
        if event & _IN:
            reason = member.doRead()
            if reason is not None:
                self._read_ended(member, reason)
                return
        elif event & _GONE:
            interest = self._interest[number]
            if interest & _IN:
                self._read_ended(member, main.CONNECTION_DONE)
            elif interest or event & _ERROR:
                self._drop(member, Failure(main.CONNECTION_LOST))
            return
        # Reading may have closed it, or made it stop writing.
        there = self._numbers.get(member) == number and self._interest[number] & _OUT
        if event & _OUT and there:
            reason = member.doWrite()
            if reason is not None:
                self._drop(member, Failure(reason))

    def _read_ended(self, member: Any, reason: BaseException) -> None:
        if isinstance(reason, error.ConnectionDone) and IHalfCloseableDescriptor.providedBy(member):
            self._watch(member, 0, _IN)
            member.readConnectionLost(Failure(reason))
        else:
            self._drop(member, Failure(reason))

    def _drop(self, member: Any, failure: Failure) -> None:
        self._forget(member)
        try:
            member.connectionLost(failure)
        except Exception:  # noqa: BLE001 - it must not reach the others
            _log.failure("unexpected error when {member!r} was lost", member=member)

    # IReactorFDSet, and what else a connection asks of its reactor.

    def addReader(self, reader: IReadDescriptor) -> None:
        self._watch(reader, _IN, 0)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        self._watch(writer, _OUT, 0)

    def removeReader(self, reader: IReadDescriptor) -> None:
        self._watch(reader, 0, _IN)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        self._watch(writer, 0, _OUT)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        members = list(self._members.values())
        for member in members:
            self._forget(member)
        return members

    def getReaders(self) -> list[IReadDescriptor]:
        return [self._members[n] for n, interest in self._interest.items() if interest & _IN]

    def getWriters(self) -> list[IWriteDescriptor]:
        return [self._members[n] for n, interest in self._interest.items() if interest & _OUT]

    def callLater(
        self, delay: float, function: Callable[..., Any], *args: object, **kw: object
    ) -> IDelayedCall:
        call: IDelayedCall = self._reactor.callLater(delay, function, *args, **kw)
        return call

    def _watch(self, member: Any, add: int, remove: int) -> None:
        number = self._numbers.get(member)
        if number is None:
            if not add:
                return
            number = member.fileno()
            self._epoll.register(number, add)
            self._numbers[member] = number
            self._members[number] = member
            self._interest[number] = add
            return
        before = self._interest[number]
        interest = (before | add) & ~remove
        if not interest and not getattr(member, "connected", False):
            self._forget(member)
        elif interest != before:
            # One that neither reads nor writes for now can still be reset, and is to know.
            self._epoll.modify(number, interest or _EDGE)
            self._interest[number] = interest

    def _forget(self, member: Any) -> None:
        number = self._numbers.pop(member, None)
        if number is None:
            return
        del self._members[number], self._interest[number]
        with suppress(OSError):  # its socket may be closed, which took it out already
            self._epoll.unregister(number)


def available() -> bool:
    """Whether this platform has epoll (Linux)."""
    return hasattr(select, "epoll")
