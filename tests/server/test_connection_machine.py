"""Tests a connection as a whole: hypothesis plays the client, the clock, the disk, the threads, and
the end of the daemon.

Whatever they do, in whatever order: nothing unexpected reaches the transport or the log, answers
come in order and are complete or visibly are not, what is held for the client has a bound, and the
connection ends in time once the client makes no progress, with all descriptors closed.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.error import ConnectionLost

from tcpdl.server.answering import UNSENT_MOST
from tcpdl.server.draining import CUT_SECONDS, DRAIN_SECONDS, Draining
from tcpdl.server.http import Http
from tcpdl.server.native import PENDING_MOST, Native
from tcpdl.server.raw import Raw
from tcpdl.web.request import HEAD_MOST
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.names import MAX_NAME
from tcpdl.wire.native import Get, GetDigests, Pick, Tree, encode
from tests.server.conftest import Connection, Log, connected
from tests.server.front import Front
from tests.server.http_client import Replies, get
from tests.server.native_client import HELLO

READ_MOST = 64 * 1024
"""Bytes of one read."""

ANSWER_MOST = 1024 * 1024
"""More than any one message, page or piece of an archive that is made here has."""

PICK_MOST = native.FORMS[Pick].most + native.HEADER.size

SECONDS_MOST = 420.0
"""In which a client that does nothing more is rid of, whatever it began: it may have a request
begun (120 s), an answer that it does not take (75 s), and the end of the connection to wait for."""

SMALL = b"small file\n"
LARGE = bytes(range(256)) * 2000

GETS = {
    "/small": SMALL,
    "/large": LARGE,
    "/absent": b"nothing has that name\n",
    "/sub/small": SMALL,
    "/.well-known/tcpdl/health": b"ok\n",
}
"""What is asked for over HTTP, and the body that comes for it."""

HTTP = [(method, target) for method in ("GET", "HEAD") for target in GETS]

NATIVE = [
    Get(0, b"small"),
    Get(0, b"large", 100_000),
    Get(0, b"absent"),
    GetDigests(0, b"large", 0, 1),
    Tree(0, b"", native.CONTENT | native.RECURSIVE),
    Pick(0, b"sub", (b"small", b"../small", b"absent")),
]

OTHERS = [
    *(b"small\n", b"large\n", b"../secret\0", b"\n", b"small", b"lar", b"ge\r"),
    *(HELLO, HELLO[:3], HELLO[3:], encode(Get(7, b"large")), encode(Tree(8, b"", 7))[:9]),
    *(get("/?archive=tar"), get("/?archive=zip"), get("/?sums=sha256"), get("/large")[:-2]),
    *(get("/small", "Range: bytes=2-4,6-7"), get("/", "Accept: text/html"), b"GET ", b"\r\n"),
    *(get("/large", minor=0), get("/small", "Content-Length: 9"), b"POST / HTTP/1.1\r\n"),
    *(b"/large HTTP", b"X: y\r\n", b"\0" * 40, b"\xff" * 300, b"a" * 3000),
    *(get("/small") * 40, encode(Get(9, b"small")) * 200),
]
SOME = st.integers(0, len(OTHERS) - 1).map(lambda index: OTHERS[index])


class Played(RuleBasedStateMachine):
    """One connection, and all that acts on it."""

    root: ClassVar[Path]
    log: ClassVar[Log]

    @initialize(
        kind=st.sampled_from(["pair", "tcp"]),
        speaks=st.sampled_from(["http", "native", "anything"]),
        quiet=st.sampled_from([0.0, 0.05]),
    )
    def accept(self, kind: str, speaks: str, quiet: float) -> None:
        (self.root / "large").write_bytes(LARGE)
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.server = Front(self.root, connected)
        self.connection: Connection = self.server.front(kind, quiet=quiet, sndbuf=8192)
        self.speaks = speaks
        self.expected: list[bytes] = []
        self.bodies: list[bytes] = []
        self.asked = self.answered = 0
        self.replies = Replies()
        self.heard = Incoming(State.ANSWER)
        self.read_so_far = 0
        self.disturbed = False  # by what may keep an answer from being whole
        self.draining = Draining(self.server.clock, self.server.deadlines)
        self.over: list[None] | None = None  # once the daemon ends; has an element when it is over
        if speaks == "native":
            self.send(HELLO)

    # What the client does.

    @property
    def open(self) -> bool:
        return bool(self.connection.transport.connected)

    def send(self, data: bytes) -> None:
        """As much of it as the other side takes."""
        while data and self.open:
            try:
                data = data[self.connection.peer.send(data[:65536], socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self.turns()
                if not self.connection.wants_to_read:
                    self.disturbed = True  # what is cut off is no request
                    break
            except OSError:
                break
        self.turns()

    @precondition(lambda self: self.speaks == "http")
    @rule(requests=st.lists(st.sampled_from(HTTP), min_size=1, max_size=12))
    def ask_over_http(self, requests: list[tuple[str, str]]) -> None:
        for method, target in requests:
            self.replies.methods.append(method)
            self.expected.append(GETS[target] if method == "GET" else b"")
        self.send(b"".join(get(target, method=method) for method, target in requests))

    @precondition(lambda self: self.speaks == "native")
    @rule(requests=st.lists(st.sampled_from(NATIVE), min_size=1, max_size=12))
    def ask_natively(self, requests: list[native.Request]) -> None:
        for request in requests:
            self.asked += 1
            self.send(encode(request._replace(id=self.asked)))

    @rule(data=SOME | st.binary(max_size=20))
    def send_anything(self, data: bytes) -> None:
        self.disturbed = True
        self.send(data)

    @rule(data=SOME)
    def trickle(self, data: bytes) -> None:
        self.disturbed = True
        for at in range(min(len(data), 100)):
            self.send(data[at : at + 1])

    @rule()
    def flood(self) -> None:
        """Ask for more than is read ahead of what is taken."""
        self.disturbed = True
        native_speaker = self.speaks == "native"
        self.send(encode(Get(9, b"small")) * 5000 if native_speaker else get("/small") * 3000)

    @rule(most=st.sampled_from([1, 100, 5000, 100_000]))
    def read(self, most: int) -> None:
        with suppress(OSError):
            self.connection.take(most)
        self.turns()

    @rule()
    def read_all(self) -> None:
        peer, transport = self.connection.peer, self.connection.transport
        with suppress(OSError):
            while self.connection.take() or (
                # Over TCP, it takes a moment until what was read makes room for more.
                self.connection.wants_to_write and any(select.select([peer], [transport], [], 5))
            ):
                self.turns()
        self.turns()

    @rule()
    def half_close(self) -> None:
        with suppress(OSError):
            self.connection.peer.shutdown(socket.SHUT_WR)
        self.disturbed = True
        self.turns()

    @precondition(lambda self: self.connection.peer.fileno() >= 0)
    @rule(reset=st.booleans())
    def vanish(self, reset: bool) -> None:
        self.disturbed = True
        if reset:
            self.connection.peer.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self.connection.peer.close()
        self.turns()

    # What else happens.

    @rule(seconds=st.sampled_from([0.0, 0.04, 0.6, 1.5, 14.0, 31.0, 61.0, 121.0]))
    def wait(self, seconds: float) -> None:
        self.disturbed |= seconds > 1
        self.server.wait(seconds)
        self.server.clock.advance(seconds % 0.25)
        self.turns()

    @rule()
    def lose(self) -> None:
        self.disturbed = True
        if self.open:
            self.connection.lose(ConnectionLost())

    @rule()
    def hold_the_threads(self) -> None:
        self.server.work.hold = True

    @rule(most=st.sampled_from([1, 3, 1 << 30]))
    def let_the_threads_work(self, most: int) -> None:
        self.server.work.hold = most < 100
        self.server.work.release(most)
        self.turns()

    @rule(size=st.sampled_from([0, 1000, 300_000, len(LARGE)]))
    def change_a_file(self, size: int) -> None:
        self.disturbed = True
        with open(self.root / "large", "r+b") as file:
            file.write(LARGE)
            file.truncate(size)

    @rule(seconds=st.sampled_from([0.0, 5.0, DRAIN_SECONDS]))
    def end_the_daemon(self, seconds: float) -> None:
        """Once, and whoever asks again is in a hurry."""
        self.disturbed = True
        if self.over is None:
            self.over = []
            self.draining.begin(seconds, ()).addCallback(self.over.append)
        else:
            self.draining.hasten(seconds)
        self.turns()

    def turns(self) -> None:
        """What the reactor does until there is nothing more to do."""
        transport = self.connection.transport
        for _ in range(100_000):
            self.server.clock.advance(0)
            if not self.open:
                return
            readers = [transport] if self.connection.wants_to_read else []
            writers = [transport] if self.connection.wants_to_write else []
            readable, writable, _ = select.select(readers, writers, [], 0)
            if readable:
                self.connection.read_turn()
            if writable and self.open:
                self.connection.write_turn()
            if not readable and not writable:
                return
        raise AssertionError("the connection is never content")

    # What always holds.

    @invariant()
    def nothing_unexpected(self) -> None:
        assert self.log.flush() == []

    @invariant()
    def what_is_held_has_a_bound(self) -> None:
        if not self.open:
            return
        assert self.connection.transport.unsent <= UNSENT_MOST + ANSWER_MOST
        door: Any = self.connection.protocol
        assert len(door._head) <= READ_MOST
        dialect = door._dialect
        if isinstance(dialect, Http):
            assert dialect._requests.buffered <= HEAD_MOST + READ_MOST
        elif isinstance(dialect, Native):
            assert len(dialect._requests) <= PENDING_MOST
            assert dialect._incoming.buffered <= PICK_MOST + READ_MOST
        elif isinstance(dialect, Raw):
            assert len(dialect._request._buffer if dialect._request else b"") <= MAX_NAME + 2

    @invariant()
    def answers_come_in_order(self) -> None:
        new = self.connection.received[self.read_so_far :]
        self.read_so_far += len(new)
        if self.speaks == "http" and not self.disturbed:
            self.replies.feed(new)
            while (reply := self.replies.next(ended=False)) is not None:
                assert reply.body == self.expected[len(self.bodies)]
                self.bodies.append(reply.body)
        elif self.speaks == "native" and not self.disturbed:
            self.heard.feed(new)
            while True:
                self.heard.take(self.heard.payload)
                message: Any = None if self.heard.payload else self.heard.next()
                if message is None:
                    break
                assert message.id == self.answered + 1
                self.answered += isinstance(message, (native.End, native.Error))

    def teardown(self) -> None:
        if not hasattr(self, "connection"):
            return
        try:
            self.end()
        finally:
            self.server.close()
            self.connection.close()
        assert len(os.listdir("/proc/self/fd")) == self.descriptors

    def end(self) -> None:
        self.server.work.hold = False
        self.server.work.release()
        self.turns()
        if not self.disturbed and self.open:
            # All was asked well, so all is answered once it is read.
            self.read_all()
            self.answers_come_in_order()
            assert self.bodies == self.expected
            assert self.answered == self.asked
        waited = 0.0
        most = SECONDS_MOST if self.over is None else DRAIN_SECONDS + CUT_SECONDS
        while self.open and waited < most:
            self.server.wait(10)
            self.turns()
            waited += 10
        assert not self.open
        assert len(self.server.deadlines) == 0
        assert self.over in (None, [None])
        assert not self.connection.reactor.writers
        self.nothing_unexpected()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("small", "sub/small", "lar"):
        (root / name).write_bytes(SMALL)
    (tmp_path / "secret").write_bytes(b"secret")
    return root


def test_connections(root: Path, log: Log) -> None:
    machine = type("machine", (Played,), {"root": root, "log": log})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=200,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
