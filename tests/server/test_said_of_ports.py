"""Tests that the log is not told of ports in the words of Twisted, which are about classes."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.protocol import Factory
from twisted.logger import FilteringLogObserver, LogEvent, eventAsText, globalLogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure

from tcpdl.server.listening import WithoutPorts, why_not


@pytest.fixture
def said() -> Any:
    events: list[LogEvent] = []
    watch: Any = events.append
    observer = FilteringLogObserver(watch, [WithoutPorts()])
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


class Quiet(Factory):
    noisy = False


def test_ports_come_and_go_without_a_word(said: list[LogEvent], tmp_path: Path) -> None:
    running: Any = reactor
    ports: list[Any] = [running.listenUNIX(str(tmp_path / "a\nb"), Quiet())]
    with socket.create_server(("127.0.0.1", 0)) as sock:
        ports.append(running.adoptStreamPort(sock.fileno(), sock.family, Quiet()))
    for port in ports:
        port.connectionLost(Failure(ConnectionDone()))
    assert said == []


def test_all_else_is_told(said: list[LogEvent]) -> None:
    legacy.msg("somebody was starting on his own")
    legacy.msg("a", "b")
    assert [eventAsText(event, includeTimestamp=False) for event in said] == [
        "[-] somebody was starting on his own",
        "[-] a b",
    ]


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EADDRINUSE, "D is there already, and no socket; choose another"),
        (errno.EACCES, "this user may not make a socket D"),
        (errno.ENOENT, "there is no folder P for the socket; make it"),
        (errno.ENAMETOOLONG, "D cannot be opened: File name too long"),
    ],
)
def test_why_there_is_no_unix_socket(number: int, why: str, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path)
    error = CannotListenError(None, path, OSError(number, os.strerror(number)))
    said = why_not(error).replace(str(tmp_path), "D").replace(str(tmp_path.parent), "P")
    assert said == why


def test_there_is_no_folder_for_the_lock_of_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "absent" / "socket")
    running: Any = reactor
    listening = UNIXServerEndpoint(running, path, wantPID=True).listen(Quiet())
    failures: list[Failure] = []
    listening.addErrback(failures.append)
    folder = tmp_path / "absent"
    assert why_not(failures[0].value) == f"there is no folder {folder} for the socket; make it"
