"""What is recorded of an answer: how much longer that makes a small one.

    python bench/answers.py [--requests 500] [--connections 50] [--names 1] [--rounds 100]
                            [--dialects http,native,raw] [--folder /dev/shm]

Files of 1,000 bytes are asked for in one process, over pairs of sockets: in HTTP and in the native
dialect on connections that are kept, in the raw one on a new connection for each. What is counted
is processor time of the server, that of the log's thread among it, and not of the clients, who act
in between. REQUESTS in a row are answered by a server that records nothing, then by those that
count what they send, and that write the access log as well: to a file of its own, as text or JSON,
or to the daemon's log. All of them in turn; the ratios are taken round by round, and, since others
may use the machine, of the least that each ever took. With more than one of the NAMES, each is
another file, and its line in the log another one.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from bench.peers import command_line, in_turn, print_ratios, scratch_folder
from tcpdl import digest
from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.logs.access import AccessLog, to_log
from tcpdl.logs.file import LineFile, open_log
from tcpdl.logs.lines import FORMATS
from tcpdl.logs.observers import observer
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.epoll import EpollSet
from tcpdl.server.front import FrontFactory
from tcpdl.server.http import HttpFactory
from tcpdl.server.http_answers import HttpAnswers
from tcpdl.server.metrics import Metrics
from tcpdl.server.native import NativeFactory
from tcpdl.server.raw import RawFactory
from tcpdl.server.transfers import Transfers
from tcpdl.server.transport import FileTransport
from tcpdl.server.working import Workers
from tcpdl.wire import native

SIZE = 1000
NOTHING, COUNTERS = "nothing", "counters"
RECORDED = (NOTHING, COUNTERS, "log, text", "log, json", "log, the daemon's")


class Reactor(Clock):
    """Has the time, and one descriptor to watch."""

    seconds = staticmethod(time.monotonic)

    def addReader(self, reader: EpollSet) -> None:
        self.turn = reader.doRead

    def removeReader(self, reader: EpollSet) -> None: ...


class Nothing(Transfers):
    """Takes what it is told, and does nothing with it."""

    counted = 0

    def begin(self, *_: Any, **__: Any) -> Any:
        return self

    def once(self, *_: Any, **__: Any) -> None: ...

    def watch(self, *_: Any) -> None: ...

    def end(self, *_: Any) -> None: ...


class Server:
    """Serves a folder to clients of the same process."""

    def __init__(self, root: Path, scratch: Path, recorded: str, held: ExitStack) -> None:
        self._reactor = Reactor()
        self._connections = EpollSet(self._reactor)
        held.callback(self._connections.close)
        self._metrics = Metrics()
        transfers = self._transfers(recorded, scratch / "access.log", held)
        deadlines = Deadlines(self._reactor, metrics=self._metrics)
        source, digests, workers = Directory(root), Digests(None), Workers(self._reactor)
        held.callback(source.close)
        self._factory = FrontFactory(
            deadlines,
            RawFactory(source, self._reactor, deadlines, transfers=transfers),
            NativeFactory(source, deadlines, digests, workers, transfers=transfers),
            HttpFactory(HttpAnswers(source, digests, workers), deadlines, transfers=transfers),
            transfers=transfers,
        )
        self._ports = cycle(range(1024, 65536))

    def _transfers(self, recorded: str, log: Path, held: ExitStack) -> Transfers:
        if recorded == NOTHING:
            return Nothing(self._reactor)
        transfers = Transfers(self._reactor)
        transfers.on_end.append(self._metrics.ended)
        _, _, form = recorded.partition(", ")
        if form in FORMATS:
            file = LineFile(str(log), open_log(str(log)), sys.exit)
            held.callback(file.close)
            AccessLog(transfers, FORMATS[form], file.write)
        elif form:
            globalLogPublisher.addObserver(observer(open_log(str(log)), "text"))
            AccessLog(transfers, FORMATS["text"], to_log)
        return transfers

    def take(self, sockets: list[socket.socket]) -> None:
        """Serve these connections."""
        for ours in sockets:
            protocol = self._factory.buildProtocol(None)
            transport = FileTransport(
                *(ours, protocol, ("192.0.2.1", next(self._ports))),
                *(SimpleNamespace(_realPortNumber=0), 0, self._connections),
                metrics=self._metrics,
            )
            protocol.makeConnection(transport)  # type: ignore[no-untyped-call]

    def turn(self) -> None:
        """Serve who has asked for something."""
        self._reactor.turn()
        self._reactor.advance(0)  # what is due, and who was left since others took long


class Clients:
    """As many as are served in one turn. What they do is told in steps: whenever one has been
    made, the server has its part to do, which is what comes of it."""

    def __init__(self, server: Server, count: int, names: list[bytes]) -> None:
        self._server = server
        self._count = count
        self._names = cycle(names)
        self._kept: list[socket.socket] = []
        self._ours: list[socket.socket] = []

    def _connect(self) -> tuple[list[socket.socket], list[socket.socket]]:
        pairs = [socket.socketpair() for _ in range(self._count)]
        for ours, _ in pairs:
            ours.setblocking(False)
        return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]

    def keep(self, first: bytes) -> None:
        """Make connections that are kept, which begin with `first`."""
        ours, self._kept = self._connect()
        self._server.take(ours)
        for sock in self._kept:
            sock.sendall(first)

    def http(self) -> Iterator[Callable[[], None]]:
        for sock in self._kept:
            sock.sendall(
                b"GET /%b HTTP/1.1\r\nHost: files.example\r\nUser-Agent: bench/1.0\r\n"
                b"Accept: */*\r\n\r\n" % next(self._names)
            )
        yield self._server.turn
        self._hear(SIZE)

    def native(self) -> Iterator[Callable[[], None]]:
        for sock in self._kept:
            sock.sendall(native.encode(native.Get(1, next(self._names))))
        yield self._server.turn
        self._hear(SIZE)

    def raw(self) -> Iterator[Callable[[], None]]:
        ours, theirs = self._connect()
        yield partial(self._server.take, ours)
        for sock in theirs:
            sock.sendall(next(self._names) + b"\n")
        yield self._server.turn
        for sock in theirs:
            heard = sock.recv(2 * SIZE)
            if len(heard) != SIZE or sock.recv(1):
                sys.exit(f"{len(heard)} bytes came, or more than {SIZE}")
            sock.close()
        yield self._server.turn

    def _hear(self, least: int) -> None:
        for sock in self._kept:
            heard = sock.recv(3 * SIZE)
            if len(heard) < least:
                sys.exit(f"what came is no answer: {heard!r}")


def cost(steps: Callable[[], Iterator[Callable[[], None]]], turns: int, requests: int) -> float:
    """Microseconds of processor time that a server takes for each request of so many turns."""
    apart = 0.0
    began = time.process_time()
    for _ in range(turns):
        before = time.thread_time()
        for part in steps():
            apart += time.thread_time() - before
            part()
            before = time.thread_time()
        apart += time.thread_time() - before
    return (time.process_time() - began - apart) / requests * 1e6


def main() -> None:
    parser = command_line(__doc__, rounds=100)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--names", type=int, default=1)
    parser.add_argument("--dialects", default="http,native,raw")
    options = parser.parse_args()
    turns = max(1, options.requests // options.connections)
    with ExitStack() as held:
        scratch = held.enter_context(scratch_folder(options.folder))
        root = scratch / "root"
        root.mkdir()
        names = [b"file-%d" % number for number in range(options.names)]
        for name in names:
            (root / os.fsdecode(name)).write_bytes(bytes(SIZE))
        time.sleep(2.1)  # what was changed this moment may change again, and nobody relies on it
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)  # as the daemon does
        greetings = {"http": b"", "native": native.preface(digest.AVAILABLE)}
        for dialect in options.dialects.split(","):
            runs = {}
            for recorded in RECORDED:
                server = Server(root, scratch, recorded, held)
                clients = Clients(server, options.connections, names)
                if dialect in greetings:
                    clients.keep(greetings[dialect])
                steps = getattr(clients, dialect)
                runs[recorded] = partial(cost, steps, turns, turns * options.connections)
            results = in_turn(runs, options.rounds)
            title = f"{dialect}, {SIZE:,} bytes, microseconds of processor time an answer"
            print_ratios(title, results, NOTHING)
            least = {recorded: [min(found)] for recorded, found in results.items()}
            print_ratios("the same, the least of all rounds", least, NOTHING)


if __name__ == "__main__":
    main()
