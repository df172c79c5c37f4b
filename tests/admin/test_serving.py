"""Tests for how long a connection to the administrator's port lasts."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport

from tcpdl.admin.provider import SingleProcess
from tcpdl.admin.resources import site
from tcpdl.admin.serving import IDLE_SECONDS, _Site
from tcpdl.daemon import Daemon


def test_who_does_not_take_the_answer_is_rid_of() -> None:
    clock = Clock()
    transport: Any = StringTransport()
    factory: Any = _Site(site(SingleProcess(Daemon(MemoryReactorClock()))), local=True)
    channel: Any = factory.buildProtocol(None)
    channel.callLater = clock.callLater
    channel.makeConnection(transport)
    channel.dataReceived(b"GET /status HTTP/1.1\r\n\r\n")
    assert transport.value().startswith(b"HTTP/1.1 200 OK\r\n")
    assert transport.disconnecting
    assert not transport.disconnected
    clock.advance(IDLE_SECONDS)
    assert transport.disconnected
