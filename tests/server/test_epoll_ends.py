"""Tests that a connection which fails at its very end ends no other."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import main
from twisted.python.failure import Failure

from tcpdl.server import epoll
from tcpdl.server.epoll import EpollSet

if TYPE_CHECKING:
    from tests.server.conftest import Log, StubReactor

pytestmark = pytest.mark.skipif(not epoll.available(), reason="this platform has no epoll")


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, what is done in a turn may take longer than one is to."""
    monkeypatch.setattr(epoll, "monotonic", lambda: 0.0)


class Faulty:
    """Fails when it is told that its connection was lost."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.told = 0

    def fileno(self) -> int:
        return self.sock.fileno()

    def doRead(self) -> object:
        return main.CONNECTION_LOST

    def connectionLost(self, reason: Failure) -> None:
        self.told += 1
        raise ArithmeticError("a fault of this one")


@pytest.mark.parametrize("shutdown", [False, True])
def test_an_error_at_the_end_concerns_nobody_else(
    shutdown: bool, stub_reactor: StubReactor, log: Log
) -> None:
    members = EpollSet(stub_reactor)
    pairs = [socket.socketpair() for _ in range(3)]
    everyone: list[Any] = [Faulty(ours) for ours, _ in pairs]
    for member, (_, peer) in zip(everyone, pairs, strict=True):
        members.addReader(member)
        peer.sendall(b"x")
    if shutdown:
        members.connectionLost(Failure(main.CONNECTION_LOST))
    else:
        assert select.select([members], [], [], 5)[0]
        members.doRead()
        assert members.fileno() >= 0
        members.close()
    assert [member.told > 0 for member in everyone] == [True] * 3
    assert {type(error) for error in log.flush()} == {ArithmeticError}
    for ours, peer in pairs:
        ours.close()
        peer.close()
