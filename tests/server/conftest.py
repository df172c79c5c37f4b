"""What the tests of the server share: connections without a reactor, files, a watch on the log."""

from __future__ import annotations

import gc
import json
import os
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from tcpdl.content.directory import Directory
from tcpdl.logs.lines import as_json, as_text
from tcpdl.server import transfers as transfers_module
from tcpdl.server.deadlines import Deadlines, Times
from tcpdl.server.peer import named
from tcpdl.server.raw import RawFactory
from tcpdl.server.tls_transport import TlsFileTransport, UNIXTlsFileTransport
from tcpdl.server.transfers import OUTCOMES, Ended, Transfers
from tcpdl.server.transport import FileTransport, UNIXFileTransport
from tcpdl.wire.text import visible

TIMES = Times()
REQUEST_SECONDS, HEAD_SECONDS, IDLE_SECONDS = TIMES.request, TIMES.head, TIMES.idle
STALL_SECONDS, LOOK_SECONDS = TIMES.pace.seconds, TIMES.pace.look

TURNS_MOST = 20_000
"""Turns after which a connection that is not done is taken to be stuck."""


class StubReactor:
    """Stands for the reactor of a connection: remembers what it is asked, and has a clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.readers: set[object] = set()
        self.writers: set[object] = set()
        self.clock = clock or Clock()
        self.callLater = self.clock.callLater

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def addWriter(self, writer: object) -> None:
        self.writers.add(writer)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)

    def removeWriter(self, writer: object) -> None:
        self.writers.discard(writer)


@implementer(IHalfCloseableProtocol)
class Recorder(Protocol):
    """Remembers what it is told."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.events: list[str] = []
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def readConnectionLost(self) -> None:
        self.events.append("read side lost")

    def writeConnectionLost(self) -> None:
        self.events.append("write side lost")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append("lost")
        self.reason = reason


class Connection:
    """A transport, the stub reactor it registers with, and the other end of its socket."""

    def __init__(
        self, transport: Any, protocol: Any, reactor: StubReactor, peer: socket.socket
    ) -> None:
        self.transport = transport
        self.protocol = protocol
        self.reactor = reactor
        self.peer = peer
        self.received = b""
        self.ended = False

    @property
    def wants_to_write(self) -> bool:
        return self.transport in self.reactor.writers

    @property
    def wants_to_read(self) -> bool:
        return self.transport in self.reactor.readers

    def write_turn(self) -> None:
        """What the reactor does when the socket can be written to."""
        if not self.wants_to_write:
            return
        reason = self.transport.doWrite()
        if reason is not None:
            self.lose(reason)

    def read_turn(self) -> None:
        """What the reactor does when the socket can be read from."""
        if not self.wants_to_read:
            return
        reason = self.transport.doRead()
        if isinstance(reason, ConnectionDone):
            self.reactor.removeReader(self.transport)
            self.transport.readConnectionLost(Failure(reason))
        elif reason is not None:
            self.lose(reason)

    def say(self, data: bytes) -> None:
        """Let the peer send `data`, and the transport read as much of it as it cares to."""
        self.peer.sendall(data)
        self.read()

    def read(self) -> None:
        """Let the transport read as much of what was sent as it cares to."""
        while self.wants_to_read and select.select([self.transport], [], [], 0)[0]:
            self.read_turn()

    def half_close(self) -> None:
        """Let the peer half-close, and the transport learn of it."""
        self.peer.shutdown(socket.SHUT_WR)
        self.read_turn()

    def lose(self, reason: BaseException) -> None:
        """What the reactor does with a connection that is lost."""
        self.reactor.removeReader(self.transport)
        self.reactor.removeWriter(self.transport)
        self.transport.connectionLost(Failure(reason))

    def take(self, most: int = 65536) -> int:
        """Let the peer read once, without waiting; returns how many bytes that brought."""
        try:
            data = self.peer.recv(most, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        self.received += data
        self.ended = not data
        return len(data)

    def drain(self, *, to_the_end: bool = False) -> bytes:
        """Alternate both sides until the transport is content, or the peer's stream has ended.

        Returns all that the peer got.
        """
        for _ in range(TURNS_MOST):
            self.write_turn()
            if self.take():
                continue
            if self.ended if to_the_end else not self.wants_to_write:
                return self.received
            writers = [self.transport] if self.wants_to_write else []
            if not any(select.select([self.peer], writers, [], 5)):
                break
        raise AssertionError(f"stuck after {len(self.received)} bytes")

    def send(self, fd: int, offset: int, count: int) -> list[Any]:
        """Send a file; what that comes to, a number or an exception, will be in the list."""
        outcome: list[Any] = []
        sending = self.transport.sendFile(fd, offset, count)
        sending.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
        return outcome

    def fill(self) -> bytes:
        """Write until the kernel takes no more; returns what was written."""
        written = b""
        for _ in range(TURNS_MOST):
            if self.wants_to_write:
                return written
            written += b"." * 4096
            self.transport.write(b"." * 4096)
        raise AssertionError("the kernel is never full")

    def read_to_end(self) -> bytes:
        """Read, waiting, to the end of what the peer is sent. Raises if that is a reset."""
        self.peer.settimeout(20)
        while data := self.peer.recv(65536):
            self.received += data
        self.ended = True
        return self.received

    def close(self) -> None:
        if self.transport.connected:
            self.transport.abortConnection()
        self.reactor.clock.advance(1)
        self.peer.close()


Connect = Callable[..., Connection]


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    for sock in (ours, peer):  # as those of a daemon; what is sent is there at once
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, peer


def connected(
    kind: str = "pair",
    *,
    sndbuf: int | None = None,
    protocol: Any = None,
    clock: Clock | None = None,
    host: str = "127.0.0.1",
    **options: Any,
) -> Connection:
    """A connection from `host` that is served by `protocol`, over a socket of this `kind`."""
    ours, peer = _tcp_pair() if kind == "tcp" else socket.socketpair()
    if sndbuf is not None:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
    protocol = protocol or Recorder()
    reactor = StubReactor(clock)
    server = SimpleNamespace(_realPortNumber=0)
    local: Any = UNIXTlsFileTransport if "tls" in options else UNIXFileTransport
    other: Any = TlsFileTransport if "tls" in options else FileTransport
    if kind == "unix":
        transport = local(ours, protocol, "", server, 0, reactor, **options)
    else:
        transport = other(ours, protocol, (host, 1), server, 0, reactor, **options)
    protocol.makeConnection(transport)
    return Connection(transport, protocol, reactor, peer)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes connections. At the end none may still ask to write: that would be a busy loop."""
    made: list[Connection] = []

    def make(*args: Any, **options: Any) -> Connection:
        made.append(connected(*args, **options))
        return made[-1]

    yield make
    stray = [connection for connection in made if connection.reactor.writers]
    for connection in made:
        connection.close()
    assert not stray, "a writer was left registered"


@pytest.fixture
def stub_reactor() -> StubReactor:
    return StubReactor()


@pytest.fixture
def open_file(tmp_path: Path) -> Iterator[Callable[[bytes], int]]:
    """Makes a file that holds some bytes, and opens it; the descriptor can be written to."""
    opened: list[int] = []

    def make(content: bytes) -> int:
        path = tmp_path / f"open-{len(opened)}"
        path.write_bytes(content)
        opened.append(os.open(path, os.O_RDWR))
        return opened[-1]

    yield make
    for fd in opened:
        os.close(fd)


@implementer(ILogObserver)
class Log:
    """What was logged while a test ran."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.told: list[str] = []
        """What became of answers, in few words."""
        self.unfit: list[str] = []
        """Of both, what would control a terminal, or is too long."""
        self._failures: list[Failure] = []

    def __call__(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("tcpdl."):
            self.lines.append(formatEvent(event))
            if not self.lines[-1].replace("\n", "").isprintable():
                self.unfit.append(self.lines[-1])
        failure = event.get("log_failure")
        if failure is not None:
            self._failures.append(failure)

    def tell(self, transfer: Ended) -> None:
        """A transfer has ended."""
        asked = " ".join(filter(None, (transfer.dialect, transfer.method, transfer.what)))
        status = f"{transfer.status} " if transfer.status else ""
        why = f", {visible(transfer.why)}" if transfer.why else ""
        became = f"{status}{transfer.outcome} {transfer.sent}{why}"
        self.told.append(f"{named(transfer.peer, transfer.user)} {asked}: {became}")
        assert transfer.outcome in OUTCOMES
        # What there is nothing to say of is null, as the documentation has it.
        fields = json.loads(as_json(transfer, 0))
        assert "-" not in (fields["dialect"], fields["method"])
        for line in (as_text(transfer, 0), as_json(transfer, 0)):
            if not line.isprintable() or len(line.encode()) >= 4096:
                self.unfit.append(line)

    def flush(self) -> list[BaseException | None]:
        """The errors that were logged; from now on they do not fail the test."""
        failures, self._failures = self._failures, []
        return [failure.value for failure in failures]


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """The log; an error in it that a test did not expect fails the test."""
    watch = Log()
    globalLogPublisher.addObserver(watch)
    tell = Transfers._tell

    def tell_both(transfers: Transfers, transfer: Ended) -> None:
        watch.tell(transfer)
        tell(transfers, transfer)

    monkeypatch.setattr(Transfers, "_tell", tell_both)
    monkeypatch.setattr(transfers_module, "BATCH_MOST", 1)  # nothing waits for others
    yield watch
    globalLogPublisher.removeObserver(watch)
    assert watch.flush() == []
    assert watch.unfit == []


def move(clock: Clock, seconds: float) -> None:
    """Move a clock in small steps, as timers that set timers need."""
    clock.pump([0.25] * round(seconds * 4))


class RawServer:
    """A folder, and connections that speak the raw dialect for it on a clock moved by hand."""

    def __init__(self, root: Path, connect: Connect) -> None:
        self.root = root
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.directory = Directory(root)
        self._connect = connect

    def connect(self, kind: str = "pair", *, sndbuf: int | None = None, **options: Any) -> Any:
        factory = RawFactory(self.directory, self.clock, self.deadlines, **options)
        protocol = factory.buildProtocol(None)
        return self._connect(kind, sndbuf=sndbuf, protocol=protocol, clock=self.clock)

    def wait(self, seconds: float) -> None:
        move(self.clock, seconds)


@pytest.fixture
def raw_server(tmp_path: Path, connect: Connect) -> Iterator[RawServer]:
    root = tmp_path / "root"
    root.mkdir()
    server = RawServer(root, connect)
    yield server
    server.directory.close()


@pytest.fixture
def descriptors() -> Callable[[], int]:
    """Counts the open descriptors of this process. What other tests have left has none open."""
    gc.collect()
    return lambda: len(os.listdir("/proc/self/fd"))
