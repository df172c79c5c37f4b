"""Tests how connections are accepted: how fast, how many, and what becomes of those for which there
is no room."""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tcpdl.server.accepting import (
    AT_ONCE,
    NOTE_SECONDS,
    REFUSAL_SECONDS,
    REST_SECONDS,
    Accepting,
    Door,
)
from tcpdl.server.crowd import REFUSALS_EACH, Crowd, Limits
from tcpdl.server.deadlines import GRAIN, Deadlines
from tcpdl.server.direct import DirectTransport, address_of

if TYPE_CHECKING:
    from tests.server.conftest import Log

NONE = 1 << 20
"""A descriptor that there is not: whoever looks at it finds something to do."""


class Reactor(Clock):
    """One that knows who wants to read."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)


class Base:
    """What a transport of Twisted's does at its end."""

    connected = 1

    def connectionLost(self, reason: Failure) -> None:
        self.connected = 0


class Transport(DirectTransport, Base):
    """A connection that was accepted."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class Factory:
    """Makes protocols, or does not."""

    made: Any = Protocol
    started = 0

    def buildProtocol(self, addr: object) -> Any:
        return self.made()

    def doStart(self) -> None:
        self.started += 1

    def doStop(self) -> None:
        self.started -= 1


class Port:
    """Accepts as `tcp.Port` does, from a backlog that is filled by hand."""

    def __init__(self, accepting: Accepting) -> None:
        self.numberAccepts = 100
        self.backlog: deque[Any] = deque()
        self.behind = Factory()
        behind: Any = self.behind
        self.factory = Door(behind, accepting, lambda: Protocol())
        self.transports: list[Transport] = []
        self.refusals: list[Transport] = []
        self.closed = 0
        self.failed = 0
        self.fails = False

    def fileno(self) -> int:
        return NONE

    def come(self, count: int, host: str = "192.0.2.1") -> None:
        self.backlog.extend([IPv4Address("TCP", host, 1)] * count)

    def doRead(self) -> None:
        accepted = 0
        if self.fails:
            self.failed += 1
            self.numberAccepts = 1
            return
        for _ in range(self.numberAccepts):
            if not self.backlog:
                break
            accepted += 1
            if self.factory.buildProtocol(self.backlog.popleft()) is None:
                self.closed += 1
                continue
            transport = Transport()
            (self.refusals if self.factory.refuses else self.transports).append(transport)
            self.factory.bind(transport)
        # As `tcp.Port` does it.
        if accepted == self.numberAccepts:
            self.numberAccepts += 20
        else:
            self.numberAccepts = max(1, accepted)


class World:
    """A reactor, and ports on it."""

    def __init__(self, limits: Limits = Limits(0, 0, 0), *, rate: int = 0) -> None:  # noqa: B008
        self.reactor = Reactor()
        self.deadlines = Deadlines(self.reactor)
        self.crowd = Crowd(limits)
        self.accepting = Accepting(self.reactor, self.crowd, self.deadlines, rate=rate)
        self.port = self.open()

    def open(self) -> Port:
        port = Port(self.accepting)
        self.accepting.start(port)
        return port

    def turn(self, seconds: float = 0) -> None:
        """What a reactor does in a turn, for ports to which somebody has come."""
        self.reactor.advance(seconds)
        for reader in list(self.reactor.readers):
            if reader in self.reactor.readers and reader._port.backlog:
                reader.doRead()


def lose(transport: Transport) -> None:
    transport.connectionLost(Failure(ConnectionError()))


def test_connections_are_counted_until_they_are_lost() -> None:
    world = World()
    world.port.come(3)
    world.turn()
    one, *_ = world.port.transports
    assert world.crowd.connections == 3
    address = address_of(one)
    assert address is not None
    assert address.key == bytes([192, 0, 2, 1])
    for _ in range(3):
        lose(one)
    assert world.crowd.connections == 2, "given back once"


def test_a_few_in_a_turn() -> None:
    world = World()
    world.port.come(1000)
    world.turn()
    assert world.crowd.connections == AT_ONCE
    for _ in range(100):
        world.turn()
    assert world.crowd.connections == 1000


@pytest.mark.parametrize("rate", [1, 7, 100, 5000])
def test_so_many_in_a_second(rate: int) -> None:
    world = World(rate=rate)
    seconds, steps = 3, 1000
    world.port.come(100_000)
    for _ in range(seconds * steps):
        world.turn(1 / steps)
        if rate < steps:
            assert bool(world.reactor.readers) == bool(world.accepting._room()), "it does not spin"
    most = max(1, rate // 10) + rate * seconds
    assert 0.8 * rate * seconds - 1 <= world.crowd.connections <= most
    assert not world.port.closed, "the others wait"


def test_after_a_quiet_time_there_is_no_flood() -> None:
    world = World(rate=100)
    world.turn(1000)
    world.port.come(1000)
    for _ in range(10):
        world.turn()
    assert world.crowd.connections == 10


def test_nothing_is_accepted_for_which_there_is_no_descriptor() -> None:
    world = World()
    other = world.open()
    world.crowd.places = 5
    world.port.come(20)
    world.turn()
    other.come(1)
    assert world.crowd.connections == 5
    assert not world.reactor.readers
    served = 0
    for _ in range(16):
        transports = world.port.transports or other.transports
        lose(transports.pop())
        served += 1
        assert world.reactor.readers
        world.turn()
        assert world.crowd.connections <= 5
    assert served + world.crowd.connections == 21
    assert not world.port.closed
    assert not world.port.refusals


def test_no_descriptor_and_too_fast() -> None:
    """Both have to be over."""
    world = World(rate=1)
    world.crowd.places = 1
    world.port.come(3)
    world.turn()
    assert world.crowd.connections == 1
    lose(world.port.transports.pop())
    world.turn()
    assert world.crowd.connections == 0
    world.turn(1)
    assert world.crowd.connections == 1
    world.turn(5)
    assert world.crowd.connections == 1
    lose(world.port.transports.pop())
    world.turn()
    assert world.crowd.connections == 1


def test_a_port_that_is_opened_while_there_is_no_room() -> None:
    world = World()
    world.crowd.places = 1
    world.port.come(2)
    world.turn()
    other = world.open()
    assert not world.reactor.readers
    lose(world.port.transports.pop())
    assert len(world.reactor.readers) == 2
    world.accepting.stop(other)
    world.accepting.stop(world.port)
    assert not world.reactor.readers


def test_ports_that_are_closed_leave_no_timer() -> None:
    world = World(rate=1)
    world.port.come(10)
    world.turn()
    assert world.reactor.getDelayedCalls()
    world.accepting.stop(world.port)
    assert not world.reactor.getDelayedCalls()
    lose(world.port.transports.pop())
    assert not world.reactor.readers
    world.accepting.stop(world.port)
    world.accepting.stop(None)


# Those for which there is no room.

TWO = Limits(per_address=2)


def test_a_client_is_told() -> None:
    world = World(TWO)
    world.port.come(3)
    world.turn()
    assert len(world.port.transports) == 2
    (refusal,) = world.port.refusals
    assert (world.crowd.connections, world.crowd.refusals) == (2, 1)
    lose(refusal)
    lose(refusal)
    assert (world.crowd.connections, world.crowd.refusals) == (2, 0)
    assert len(world.deadlines) == 0
    lose(world.port.transports.pop())
    world.port.come(1)
    world.turn()
    assert len(world.port.transports) == 2


def test_to_tell_it_takes_no_longer_than_this() -> None:
    world = World(TWO)
    world.port.come(3)
    world.turn()
    (refusal,) = world.port.refusals
    world.turn(REFUSAL_SECONDS - 1)
    assert not refusal.aborted
    world.turn(1 + GRAIN)
    assert refusal.aborted
    assert not any(transport.aborted for transport in world.port.transports)


def test_more_of_them_are_closed_without_a_word() -> None:
    world = World(TWO)
    world.port.come(100)
    for _ in range(4):
        world.turn()
    assert len(world.port.refusals) == REFUSALS_EACH
    assert world.port.closed == 100 - 2 - REFUSALS_EACH


def test_the_log_is_told_once_in_a_while(log: Log) -> None:
    world = World(TWO)
    world.port.come(100)
    for _ in range(4):
        world.turn()
    said = "192.0.2.1:1 was refused: its address has 2 connections"
    assert log.lines == [said]
    world.turn(NOTE_SECONDS)
    assert log.lines == [said, "97 more were refused"]
    world.port.come(5)
    world.turn(NOTE_SECONDS / 2)
    world.turn(NOTE_SECONDS / 2)
    assert log.lines[2:] == ["5 more were refused"]
    world.turn(NOTE_SECONDS)
    world.port.come(1)
    world.turn()
    assert log.lines[3:] == [said]


# What goes wrong.


def test_a_factory_that_makes_nothing() -> None:
    world = World()
    world.port.behind.made = lambda: None
    world.port.come(1)
    world.turn()
    assert world.port.closed == 1
    assert world.crowd.connections == 0


def test_a_factory_that_fails() -> None:
    world = World()
    world.port.behind.made = lambda: 1 / 0
    world.port.come(1)
    with pytest.raises(ZeroDivisionError):
        world.turn()
    assert world.crowd.connections == 0


def test_a_transport_that_cannot_be_made() -> None:
    world = World(TWO)
    door, address = world.port.factory, IPv4Address("TCP", "192.0.2.1", 1)
    for _ in range(4):
        assert door.buildProtocol(address) is not None
        door.abandon()
        door.abandon()
    world.port.come(2)
    world.turn()
    for _ in range(2):
        assert door.buildProtocol(address) is not None
        assert door.refuses
        door.abandon()
    assert (world.crowd.connections, world.crowd.refusals) == (2, 0)


def test_the_factory_behind_is_started_and_stopped() -> None:
    port = World().port
    port.factory.doStart()
    assert port.behind.started == 1
    port.factory.doStop()
    assert port.behind.started == 0


def test_what_cannot_be_accepted_is_not_tried_all_the_time() -> None:
    """As when the whole system has no descriptors left: Twisted logs each time."""
    world = World()
    world.port.fails = True
    world.port.come(3)
    for _ in range(100):
        world.turn(REST_SECONDS / 50)
    assert 2 <= world.port.failed <= 3
    world.port.fails = False
    world.turn(REST_SECONDS)
    world.turn()
    world.turn()
    assert len(world.port.transports) == 3


def test_what_another_process_has_accepted_is_no_reason_to_rest() -> None:
    """Several listen on one socket: all are woken, and one of them is first."""
    world = World()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        world.port.fileno = listener.fileno  # type: ignore[method-assign]
        world.port.fails = True
        world.port.come(1)
        world.turn()
        world.turn()
        assert world.port.failed == 2
        with socket.create_connection(listener.getsockname()):
            world.turn()
            world.turn()
            assert world.port.failed == 3, "somebody waits, and is not accepted"


def test_what_cannot_be_accepted_when_it_stops() -> None:
    world = World()
    world.port.fails = True
    world.port.come(1)
    world.turn()
    world.accepting.stop(world.port)
    assert world.reactor.getDelayedCalls() == []


def test_a_rate_that_changes() -> None:
    world = World(rate=10)
    world.port.come(300)
    for rate, accepted in ((10, 1), (1000, 1 + 100), (20, 1 + 100 + 2), (0, 300)):
        world.accepting.change(rate)
        for _ in range(20):
            world.turn()
        assert len(world.port.transports) == accepted
    assert not world.reactor.getDelayedCalls()


def test_room_that_there_is_all_of_a_sudden() -> None:
    world = World()
    world.crowd.places = 1
    world.port.come(3)
    world.turn()
    world.turn()
    assert len(world.port.transports) == 1
    world.crowd.places = 0
    world.accepting.change(0)
    world.turn()
    assert len(world.port.transports) == 3
