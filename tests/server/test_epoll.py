"""Tests the set of connections that a reactor watches as one, with its turns taken by hand."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import main
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet, IReadDescriptor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tcpdl.server import epoll
from tcpdl.server.epoll import BATCH, TURN_SECONDS, EpollSet

if TYPE_CHECKING:
    from tests.server.conftest import Log

pytestmark = pytest.mark.skipif(not epoll.available(), reason="this platform has no epoll")


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, what is done in a turn may take longer than one is to."""
    monkeypatch.setattr(epoll, "monotonic", lambda: 0.0)


class Parent:
    """The reactor that watches the set."""

    def __init__(self) -> None:
        self.readers: list[object] = []
        self.clock = Clock()
        self.callLater = self.clock.callLater

    def addReader(self, reader: object) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.remove(reader)


class Member:
    """A connection that remembers what it is told, and does what a test puts in its place."""

    def __init__(self, sock: socket.socket, peer: socket.socket) -> None:
        self.sock = sock
        self.peer = peer
        self.told: list[str] = []
        self.reason: Failure | None = None
        self.on_read: Callable[[], object] = lambda: None
        self.on_write: Callable[[], object] = lambda: None

    def fileno(self) -> int:
        return self.sock.fileno()

    def doRead(self) -> object:
        self.told.append("read")
        try:
            data = self.sock.recv(100)
        except OSError:
            return main.CONNECTION_LOST
        return self.on_read() if data else main.CONNECTION_DONE

    def doWrite(self) -> object:
        self.told.append("write")
        return self.on_write()

    def connectionLost(self, reason: Failure) -> None:
        self.told.append("lost")
        self.reason = reason


@implementer(IHalfCloseableDescriptor)
class HalfCloseable(Member):
    def readConnectionLost(self, reason: Failure) -> None:
        self.told.append("read side lost")
        self.reason = reason

    def writeConnectionLost(self, reason: Failure) -> None:
        raise AssertionError("nothing calls this")


@pytest.fixture
def parent() -> Parent:
    return Parent()


@pytest.fixture
def members(parent: Parent) -> Iterator[EpollSet]:
    members = EpollSet(parent)
    yield members
    members.close()


Make = Callable[..., Any]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Member] = []

    def make(kind: type[Member] = Member, *, tcp: bool = False) -> Member:
        if tcp:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                peer = socket.create_connection(listener.getsockname())
                sock, _ = listener.accept()
        else:
            sock, peer = socket.socketpair()
        sock.setblocking(False)
        made.append(kind(sock, peer))
        return made[-1]

    yield make
    for member in made:
        member.sock.close()
        member.peer.close()


def turn(members: EpollSet) -> None:
    """What a reactor does when the set is ready; it is an error if it is not."""
    ready, _, _ = select.select([members], [], [], 5)
    assert ready
    members.doRead()


def idle(members: EpollSet) -> bool:
    ready, _, _ = select.select([members], [], [], 0)
    return not ready


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_it_is_what_it_says(members: EpollSet, parent: Parent) -> None:
    assert verifyObject(IReactorFDSet, members)
    assert verifyObject(IReadDescriptor, members)
    assert parent.readers == [members]
    assert members.fileno() >= 0
    assert idle(members)


def test_reading(members: EpollSet, make: Make) -> None:
    member, other = make(), make()
    members.addReader(member)
    members.addReader(other)
    members.addReader(member)
    assert sorted(map(id, members.getReaders())) == sorted(map(id, [member, other]))
    assert members.getWriters() == []
    assert idle(members)

    member.peer.sendall(b"x")
    turn(members)
    assert (member.told, other.told) == (["read"], [])
    assert idle(members)

    member.peer.sendall(b"x")
    members.removeReader(member)
    assert idle(members), "one that does not want to read is not watched"
    assert members.getReaders() == [other]
    members.addReader(member)
    turn(members)
    assert member.told == ["read", "read"]


def test_writing(members: EpollSet, make: Make) -> None:
    member = make()
    members.addWriter(member)
    assert (members.getReaders(), members.getWriters()) == ([], [member])
    member.on_write = lambda: members.removeWriter(member)
    turn(members)
    assert member.told == ["write"]
    assert idle(members)
    members.addWriter(member)
    turn(members)
    assert member.told == ["write", "write"]
    assert members.getWriters() == []
    members.removeWriter(member)
    members.removeReader(member)


def test_reading_and_writing(members: EpollSet, make: Make) -> None:
    member = make()
    members.addReader(member)
    members.addWriter(member)
    member.on_write = lambda: members.removeWriter(member)
    member.peer.sendall(b"x")
    turn(members)
    assert member.told == ["read", "write"]
    assert members.getReaders() == [member]
    assert idle(members)


def test_reading_may_end_the_wish_to_write(members: EpollSet, make: Make) -> None:
    stops, leaves = make(), make()

    def leave() -> None:
        members.removeReader(leaves)
        members.removeWriter(leaves)

    stops.on_read = lambda: members.removeWriter(stops)
    leaves.on_read = leave
    for member in (stops, leaves):
        members.addReader(member)
        members.addWriter(member)
        member.peer.sendall(b"x")
    turn(members)
    assert (stops.told, leaves.told) == (["read"], ["read"])


def test_what_writing_returns_ends_the_connection(members: EpollSet, make: Make) -> None:
    member = make(HalfCloseable)
    member.on_write = lambda: main.CONNECTION_DONE
    members.addReader(member)
    members.addWriter(member)
    turn(members)
    assert member.told == ["write", "lost"]
    assert member.reason.check(ConnectionDone)
    assert (members.getReaders(), members.getWriters()) == ([], [])


# Ends.


def test_the_end_of_the_clients_stream(members: EpollSet, make: Make) -> None:
    member = make()
    members.addReader(member)
    members.addWriter(member)
    member.peer.shutdown(socket.SHUT_WR)
    turn(members)
    assert member.told == ["read", "lost"]
    assert member.reason.check(ConnectionDone)
    assert (members.getReaders(), members.getWriters()) == ([], [])
    assert idle(members)


def test_half_close(members: EpollSet, make: Make) -> None:
    member = make(HalfCloseable, tcp=True)
    members.addReader(member)
    member.peer.shutdown(socket.SHUT_WR)
    turn(members)
    assert member.told == ["read", "read side lost"]
    assert member.reason.check(ConnectionDone)
    assert idle(members), "its end is told once"
    member.on_write = lambda: members.removeWriter(member)
    members.addWriter(member)
    turn(members)
    assert member.told[2:] == ["write"]


@pytest.mark.parametrize("kind", [Member, HalfCloseable])
@pytest.mark.parametrize("interest", ["read", "write", "both"])
def test_a_reset(interest: str, kind: type[Member], members: EpollSet, make: Make) -> None:
    member = make(kind, tcp=True)
    if interest != "write":
        members.addReader(member)
    if interest != "read":
        members.addWriter(member)
    reset(member.peer)
    turn(members)
    assert member.told[-1] == "lost"
    assert "write" not in member.told
    assert member.reason.check(ConnectionLost)
    assert (members.getReaders(), members.getWriters()) == ([], [])


def test_one_that_pauses_is_not_watched_at_all(members: EpollSet, make: Make) -> None:
    """Else the reset of a client that is not read would be reported again and again."""
    member = make(tcp=True)
    members.addReader(member)
    members.removeReader(member)
    reset(member.peer)
    assert idle(members)
    members.addReader(member)
    turn(members)
    assert member.told[-1] == "lost"


# What one does to others.


@pytest.mark.parametrize("method", ["on_read", "on_write"])
def test_an_error_ends_one_connection_only(
    method: str, members: EpollSet, make: Make, log: Log
) -> None:
    def fail() -> None:
        raise ArithmeticError("a fault of this one")

    everyone = [make(HalfCloseable) for _ in range(5)]
    for member in everyone:
        members.addReader(member)
        members.addWriter(member)
        member.peer.sendall(b"x")
    setattr(everyone[2], method, fail)
    turn(members)
    members.removeWriter(everyone[0])

    assert [type(error) for error in log.flush()] == [ArithmeticError]
    assert everyone[2].told[-1] == "lost"
    assert everyone[2].reason.check(ArithmeticError)
    assert everyone[2] not in members.getReaders() + members.getWriters()
    for member in everyone[:2] + everyone[3:]:
        assert member.told[:2] == ["read", "write"]
        assert member in members.getReaders()


def test_one_that_an_earlier_one_removed_is_not_served(members: EpollSet, make: Make) -> None:
    everyone = [make() for _ in range(4)]

    def remove_others(me: Member) -> None:
        for member in everyone:
            if member is not me:
                members.removeReader(member)

    for member in everyone:
        member.on_read = lambda me=member: remove_others(me)
        members.addReader(member)
        member.peer.sendall(b"x")
    turn(members)
    assert sorted(member.told for member in everyone) == [[], [], [], ["read"]]
    assert len(members.getReaders()) == 1


def test_a_socket_closed_before_it_leaves(members: EpollSet, make: Make) -> None:
    """Its number may be another's by then, which must not be removed in its place."""
    first = make()
    members.addReader(first)
    number = first.fileno()
    first.sock.close()
    members.removeReader(first)
    assert members.getReaders() == []

    second = make()
    if second.fileno() != number:
        second.sock = socket.socket(fileno=_moved(second.sock, number))
    members.addReader(second)
    members.removeReader(first)
    assert members.getReaders() == [second]
    second.peer.sendall(b"x")
    turn(members)
    assert (first.told, second.told) == ([], ["read"])


def _moved(sock: socket.socket, number: int) -> int:
    os.dup2(sock.fileno(), number, inheritable=False)
    sock.close()
    return number


def test_one_turn_serves_a_bounded_number(members: EpollSet, make: Make) -> None:
    everyone = [make() for _ in range(BATCH + 20)]
    for member in everyone:
        members.addReader(member)
        member.peer.sendall(b"x")
    turn(members)
    assert sum(len(member.told) for member in everyone) == BATCH
    turn(members)
    assert all(member.told == ["read"] for member in everyone)
    assert idle(members)


def test_no_member_can_hold_the_turn_for_ever(members: EpollSet, make: Make) -> None:
    member = make()
    members.addWriter(member)
    turn(members)
    assert 1 <= len(member.told) <= BATCH


def test_a_turn_ends_in_time_and_the_next_goes_on_with_the_others(
    members: EpollSet, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long each of them takes, and though the first is ready again at once."""
    clock = Clock()
    monkeypatch.setattr(epoll, "monotonic", clock.seconds)
    everyone = [make() for _ in range(5)]

    def take_long(member: Member) -> None:
        clock.advance(TURN_SECONDS * 0.6)
        member.peer.sendall(b"x")

    for member in everyone:
        member.on_read = partial(take_long, member)
        members.addReader(member)
        member.peer.sendall(b"x")
    told = []
    for _ in range(10):
        turn(members)
        told.append([len(member.told) for member in everyone])
    assert [sum(counts) for counts in told] == [2 * turns for turns in range(1, 11)]
    assert max(told[-1]) - min(told[-1]) <= 1


def test_what_a_member_no_longer_waits_for_is_not_done_in_the_next_turn(
    members: EpollSet, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(epoll, "monotonic", clock.seconds)
    everyone = [make() for _ in range(3)]
    for member in everyone:
        member.on_read = lambda: clock.advance(TURN_SECONDS * 2)
        members.addReader(member)
        member.peer.sendall(b"x")
    turn(members)
    waiting = [member for member in everyone if not member.told]
    members.removeReader(waiting[0])
    turn(members)
    assert [len(member.told) for member in waiting] == [0, 1]


def test_what_was_left_does_not_wait_for_something_else(
    members: EpollSet, parent: Parent, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one was reset is told once, so the set is not ready again for it."""
    clock = Clock()
    monkeypatch.setattr(epoll, "monotonic", clock.seconds)
    slow, quiet = make(tcp=True), make(tcp=True)
    slow.on_read = lambda: clock.advance(TURN_SECONDS * 2)
    quiet.connected = True
    members.addReader(slow)
    members.addReader(quiet)
    members.removeReader(quiet)
    slow.peer.sendall(b"x")
    reset(quiet.peer)
    turn(members)
    assert slow.told == ["read"]
    if not quiet.told:  # the kernel had it come second, as it came about
        assert idle(members)
        parent.clock.advance(0)
    assert quiet.told == ["lost"]


def test_what_was_left_is_not_taken_for_one_who_got_the_same_number(
    members: EpollSet, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(epoll, "monotonic", clock.seconds)
    everyone = [make(tcp=True) for _ in range(2)]
    for member in everyone:
        member.on_read = lambda: clock.advance(TURN_SECONDS * 2)
        members.addReader(member)
        member.peer.sendall(b"x")
        member.peer.shutdown(socket.SHUT_WR)
        member.sock.shutdown(socket.SHUT_WR)  # so that it is over, which is told unasked
    turn(members)
    (waiting,) = [member for member in everyone if not member.told]
    members.removeReader(waiting)
    newcomer = make(tcp=True)
    number = waiting.sock.fileno()
    waiting.sock.close()
    os.dup2(newcomer.sock.fileno(), number)
    moved: Any = Member(socket.socket(fileno=number), newcomer.peer)
    moved.sock.setblocking(False)
    members.addReader(moved)
    members.doRead()
    assert moved.told == []
    members.removeReader(moved)
    moved.sock.close()


def test_one_that_waits_for_nothing_learns_that_it_was_reset(members: EpollSet, make: Make) -> None:
    member = make(tcp=True)
    member.connected = True
    members.addReader(member)
    members.removeReader(member)
    assert idle(members)
    reset(member.peer)
    turn(members)
    assert member.told == ["lost"]
    assert idle(members)


def test_one_that_waits_for_nothing_is_left_alone_until_then(members: EpollSet, make: Make) -> None:
    member = make(tcp=True)
    member.connected = True
    members.addReader(member)
    members.removeReader(member)
    member.peer.sendall(b"x")
    member.peer.shutdown(socket.SHUT_WR)
    member.sock.shutdown(socket.SHUT_WR)  # so that neither side has more to say
    for _ in range(3):
        members.doRead()
    assert member.told == []
    assert idle(members)
    member.connected = False
    members.removeWriter(member)
    assert members.getReaders() == []
    assert members.getWriters() == []


# The end of all.


def test_shutdown_ends_all_connections(members: EpollSet, make: Make, parent: Parent) -> None:
    everyone = [make(HalfCloseable) for _ in range(3)]
    members.addReader(everyone[0])
    members.addWriter(everyone[1])
    members.addReader(everyone[2])
    members.addWriter(everyone[2])
    reason = Failure(main.CONNECTION_LOST)
    members.connectionLost(reason)
    for member in everyone:
        assert member.told == ["lost"]
        assert member.reason is reason
    assert members.fileno() == -1
    assert (members.getReaders(), members.getWriters()) == ([], [])
    members.removeReader(everyone[0])


def test_remove_all_forgets(members: EpollSet, make: Make) -> None:
    everyone = [make() for _ in range(2)]
    members.addReader(everyone[0])
    members.addWriter(everyone[1])
    assert set(members.removeAll()) == set(everyone)
    assert idle(members)
    assert [member.told for member in everyone] == [[], []]


def test_close(members: EpollSet, make: Make, parent: Parent) -> None:
    member = make()
    members.addReader(member)
    number = members.fileno()
    members.close()
    assert parent.readers == []
    assert member.told == []
    assert members.fileno() == -1
    with pytest.raises(OSError, match=r".") as closed:
        select.epoll.fromfd(number).poll(0)
    assert closed.value.errno == errno.EBADF
    members.close()


def test_timers_are_the_reactors(members: EpollSet, parent: Parent) -> None:
    called: list[object] = []
    members.callLater(2, lambda *args, **kw: called.append((args, kw)), 1, key=2)
    cancelled = members.callLater(1, called.append, "never")
    cancelled.cancel()
    parent.clock.advance(1)
    assert called == []
    parent.clock.advance(1)
    assert called == [((1,), {"key": 2})]
