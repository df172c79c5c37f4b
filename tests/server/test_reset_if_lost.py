"""Tests that a connection with a file under way ends in a reset, whoever closes it and how."""

from __future__ import annotations

import contextlib
import random
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from tcpdl.server.sending import send_file

if TYPE_CHECKING:
    from tests.server.conftest import Connect

OpenFile = Callable[[bytes], int]

CONTENT = random.Random(9).randbytes(6_000_000)
SECONDS = 60


def test_a_file_under_way(connect: Connect, open_file: OpenFile) -> None:
    connection = connect("tcp")
    outcome = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.lose(ConnectionDone())
    assert isinstance(outcome[0], ConnectionDone)
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()


def test_a_file_that_has_been_sent(connect: Connect, open_file: OpenFile) -> None:
    connection = connect("tcp")
    outcome = connection.send(open_file(CONTENT), 0, len(CONTENT))
    assert connection.drain() == CONTENT
    assert outcome == [len(CONTENT)]
    connection.lose(ConnectionDone())
    assert connection.read_to_end() == CONTENT


def test_the_first_of_two_files_has_been_sent(connect: Connect, open_file: OpenFile) -> None:
    connection = connect("tcp")
    fd = open_file(CONTENT)
    first = connection.send(fd, 0, 3_000_000)
    connection.send(fd, 0, len(CONTENT))
    while not first:
        connection.write_turn()
        connection.take()
    connection.lose(ConnectionDone())
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()


def test_bytes_that_followed_a_file(connect: Connect, open_file: OpenFile) -> None:
    connection = connect("tcp")
    outcome = connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.write(CONTENT)
    while not outcome:
        connection.write_turn()
        connection.take()
    connection.lose(ConnectionDone())
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()


def test_bytes_that_followed_a_file_and_were_sent(connect: Connect, open_file: OpenFile) -> None:
    connection = connect("tcp")
    connection.send(open_file(CONTENT), 0, len(CONTENT))
    connection.transport.write(b"end")
    assert connection.drain() == CONTENT + b"end"
    connection.lose(ConnectionDone())
    assert connection.read_to_end() == CONTENT + b"end"


class Wrapped(ProtocolWrapper):
    """A layer between the protocol and the connection, as a PROXY header or TLS puts one."""


def test_below_a_wrapper(connect: Connect, open_file: OpenFile) -> None:
    factory: Any = WrappingFactory(None)
    wrapper = Wrapped(factory, Protocol())
    factory.protocols[wrapper] = 1
    connection = connect("tcp", protocol=wrapper)
    outcome: list[Any] = []
    send_file(wrapper, open_file(CONTENT), 0, len(CONTENT)).addErrback(outcome.append)
    connection.lose(ConnectionDone())
    assert outcome
    with pytest.raises(ConnectionResetError):
        connection.read_to_end()


def read_to_end(client: socket.socket) -> None:
    while client.recv(65536):
        pass


@contextlib.contextmanager
def daemon(
    root: Path, *options: str, descriptors: int = 1000
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A daemon in a process of its own, with so many descriptors, and its port."""
    command = [sys.executable, "-m", "twisted", "--log-format=text", "tcpdl", "--port=0"]
    with subprocess.Popen(
        [*command, "--interface=127.0.0.1", f"--root={root}", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),
    ) as process:
        try:
            assert process.stdout is not None
            found = (re.search(r"on .*:(\d+)$", line) for line in process.stdout)
            yield process, next(int(match[1]) for match in found if match)
        finally:
            process.kill()


def client(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(SECONDS)
    try:
        sock.connect(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_daemon_that_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "large").write_bytes(CONTENT)
    with daemon(tmp_path) as (process, port), client(port) as sock:
        sock.sendall(b"large\n")
        assert sock.recv(1000)
        process.send_signal(number)
        with pytest.raises(ConnectionResetError):
            read_to_end(sock)


@SIGNALS
def test_a_daemon_that_is_stopped_before_it_answers(tmp_path: Path, number: signal.Signals) -> None:
    """A clean end without a byte would say that there is no such file."""
    (tmp_path / "small").write_bytes(b"small")
    with daemon(tmp_path, "--quiet-period=60000") as (process, port), client(port) as sock:
        sock.sendall(b"small")
        with client(port) as other:  # once this is answered, the first is known to be accepted
            other.sendall(b"small\n")
            assert other.recv(1000) == b"small"
        process.send_signal(number)
        with pytest.raises(ConnectionResetError):
            read_to_end(sock)
