"""Tests the connections of the native dialect: their order, their ends, and what bounds them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost

from tcpdl import digest
from tcpdl.server.answering import UNSENT_MOST
from tcpdl.server.answers import Answers
from tcpdl.server.lingering import LINGER_SECONDS
from tcpdl.server.native import IDLE_SECONDS, NAMES_WAIT_MOST, PENDING_MOST
from tcpdl.wire import native
from tcpdl.wire.native import (
    ABSENT,
    BLAKE3,
    NOT_UNDERSTOOD,
    SHA256,
    TOO_SLOW,
    End,
    Error,
    FileInfo,
    Get,
    GetDigests,
    Pick,
    Tree,
    encode,
)
from tests.server.conftest import REQUEST_SECONDS, STALL_SECONDS, Connect, Log
from tests.server.native_client import HELLO, NativeServer

MIB = 1 << 20


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[NativeServer]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_bytes(b"hello\n")
    (root / "large").write_bytes(os.urandom(2 * MIB + 5))
    server = NativeServer(root, connect)
    yield server
    server.work.release()
    server.directory.close()


# The preface.


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(SHA256, SHA256), (SHA256 | BLAKE3, digest.choose(SHA256 | BLAKE3)), (0xFF, digest.choose(3))],
)
def test_the_preface_is_answered_at_once(offered: int, chosen: int, server: NativeServer) -> None:
    client = server.connect(native.preface(offered))
    assert client.hear() == []
    assert client.chosen == chosen
    assert not client.ended


@pytest.mark.parametrize("hello", [native.preface(0), native.preface(0x80), b"\0tcpdl\0\1"])
def test_a_preface_without_a_digest(hello: bytes, server: NativeServer) -> None:
    client = server.connect(hello)
    (error,) = client.hear()
    assert (error.id, error.code) == (0, NOT_UNDERSTOOD)
    assert client.chosen == 0
    assert client.ended


def test_a_later_version(server: NativeServer) -> None:
    client = server.connect(b"\0tcpdl\2\1" + encode(Get(1, b"small")))
    assert b"hello\n" in client.hear()


# Order.


def test_answers_come_in_order(server: NativeServer) -> None:
    requests: list[Any] = [
        Get(1, b"large", 5, MIB),
        Get(2, b"absent"),
        Tree(3, b""),
        GetDigests(4, b"large"),
        Pick(5, b"", (b"small",)),
        Get(6, b"small"),
        Get(6, b"small", 0, 0),
    ]
    client = server.connect()
    parts = client.ask(*requests)
    ids = [part.id for part in parts if isinstance(part, (End, Error))]
    assert ids == [1, 2, 3, 4, 5, 6, 6]
    assert isinstance(parts[-1], End)
    assert not client.ended


def test_byte_by_byte(server: NativeServer) -> None:
    client = server.connect(b"")
    for byte in HELLO + encode(Get(1, b"small")) + encode(Tree(2, b"")):
        client.say(bytes([byte]))
    parts = client.hear()
    assert parts[2] == b"hello\n"
    assert parts[-1] == End(2, packs=1)


def test_more_requests_than_may_wait(server: NativeServer) -> None:
    server.work.hold = True
    client = server.connect()
    count = 3 * PENDING_MOST
    client.say(*(GetDigests(number, b"large", 0, 1) for number in range(count)))
    assert len(client.protocol._requests) == PENDING_MOST
    assert not client.connection.wants_to_read
    client.hear()
    server.work.hold = False
    server.work.release()
    parts: list[Any] = []
    while not (parts and parts[-1] == End(count - 1)):
        heard = client.hear()
        client.say()  # the transport reads again
        assert heard or client.connection.wants_to_read
        parts += heard
    assert [part.id for part in parts if isinstance(part, End)] == list(range(count))


def test_more_names_than_may_wait(server: NativeServer) -> None:
    server.work.hold = True
    client = server.connect()
    names = (b"hello",) * (NAMES_WAIT_MOST // 2 + 1)
    client.say(*(Pick(number, b"", names) for number in range(5)))
    assert sum(len(one.names) for one in client.protocol._requests) < NAMES_WAIT_MOST
    assert not client.connection.wants_to_read
    server.work.hold = False
    server.work.release()
    parts: list[Any] = []
    while not (parts and parts[-1] == End(4, packs=2)):
        heard = client.hear()
        client.say()
        assert heard or client.connection.wants_to_read
        parts += heard
    assert [part.id for part in parts if isinstance(part, End)] == [0, 1, 2, 3, 4]


# What is not understood.


@pytest.mark.parametrize("nonsense", [b"\x05\0\0\1\0\0\0\0", b"GET / HTTP/1.1\r\n", encode(End(1))])
def test_nonsense(nonsense: bytes, server: NativeServer, log: Log) -> None:
    client = server.connect()
    client.say(nonsense)
    (error,) = client.hear()
    assert (error.id, error.code) == (0, NOT_UNDERSTOOD)
    assert client.ended
    assert "malformed" in log.told[0]
    client.say(b"x" * 1000)
    assert client.hear() == []


def test_what_was_asked_before_nonsense_is_answered(server: NativeServer) -> None:
    server.work.hold = True
    client = server.connect()
    client.say(GetDigests(1, b"large"), Get(2, b"small"), b"\x05\0\0\1\0\0\0\0", Get(3, b"small"))
    assert [type(part) for part in client.hear()] == [FileInfo]
    client.say(Get(4, b"small"))
    server.work.hold = False
    server.work.release()
    parts = client.hear()
    assert [part.id for part in parts if isinstance(part, End)] == [1, 2]
    assert parts[-1][:2] == (0, NOT_UNDERSTOOD)
    assert client.ended


# Ends.


def test_half_close_between_requests(server: NativeServer) -> None:
    client = server.connect()
    client.ask(Get(1, b"small"))
    client.connection.half_close()
    assert client.hear() == []
    assert client.ended
    assert not client.connection.transport.connected


def test_half_close_while_it_is_answered(server: NativeServer) -> None:
    server.work.hold = True
    client = server.connect()
    client.say(GetDigests(1, b"large"), Get(2, b"small"))
    client.connection.half_close()
    client.hear()
    assert not client.ended
    server.work.hold = False
    server.work.release()
    assert client.hear()[-1] == End(2)
    assert client.ended


def test_half_close_within_a_request(server: NativeServer) -> None:
    client = server.connect()
    client.say(encode(Get(1, b"small"))[:-1])
    client.connection.half_close()
    assert client.hear() == []
    assert client.ended


def test_nothing_happens_for_long(server: NativeServer) -> None:
    client = server.connect()
    assert client.hear() == []
    server.wait(IDLE_SECONDS - 1)
    client.ask(Get(1, b"small"))
    server.wait(IDLE_SECONDS - 1)
    assert not client.ended
    server.wait(2)
    assert client.hear() == []
    assert client.ended
    server.wait(LINGER_SECONDS + 1)
    assert not client.connection.transport.connected


def test_a_request_that_does_not_end(server: NativeServer) -> None:
    client = server.connect()
    assert client.hear() == []
    request = encode(Get(1, b"small"))
    for at in range(12):
        client.say(request[at : at + 1])
        server.wait(REQUEST_SECONDS / 12)
    server.wait(1)
    (error,) = client.hear()
    assert (error.id, error.code) == (0, TOO_SLOW)
    assert client.ended


def test_half_a_preface(server: NativeServer) -> None:
    client = server.connect(HELLO[:7])
    server.wait(IDLE_SECONDS + 1)
    (error,) = client.hear()
    assert (client.chosen, error.code) == (0, TOO_SLOW)


def test_slow_work_is_not_the_clients_fault(server: NativeServer) -> None:
    server.work.hold = True
    client = server.connect()
    client.ask(GetDigests(1, b"large"))
    server.wait(5 * STALL_SECONDS)
    assert client.connection.transport.connected
    server.work.release()
    assert client.hear()[-1] == End(1)


def test_a_client_that_does_not_read(server: NativeServer, log: Log) -> None:
    client = server.connect(sndbuf=4096)
    client.say(Get(1, b"large"))
    server.wait(2 * STALL_SECONDS)
    assert not client.connection.transport.connected
    assert "GET large: slow " in log.told[-1]
    assert len(server.deadlines) == 0


def test_many_requests_of_a_client_that_does_not_read(server: NativeServer) -> None:
    (server.root / "small").write_bytes(bytes(60_000))
    client = server.connect(sndbuf=4096)
    client.say(*(Get(number, b"small") for number in range(20)))
    assert client.connection.transport.unsent < UNSENT_MOST + 61_000
    ends = [part.id for part in client.hear() if isinstance(part, End)]
    assert ends == list(range(20))


def test_a_client_that_reads_slowly(server: NativeServer) -> None:
    client = server.connect(sndbuf=4096)
    client.say(Get(1, b"large"))
    for _ in range(10):
        client.connection.write_turn()
        assert client.connection.take(70_000)
        server.wait(STALL_SECONDS / 2)
    assert client.hear()[-1] == End(1)


# Connections that are lost.

REQUESTS: list[Any] = [
    Get(1, b"large"),
    GetDigests(1, b"large"),
    Tree(1, b"", native.CONTENT | native.RECURSIVE),
    Pick(1, b"", (b"small", b"large") * 1000),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("jobs", [0, 1])
def test_lost_while_a_thread_works(
    jobs: int,
    request_: Any,
    server: NativeServer,
    descriptors: Callable[[], int],
    log: Log,
) -> None:
    server.work.hold = True
    client = server.connect()
    client.hear()
    before = descriptors()
    client.say(request_, Get(2, b"small"))
    client.hear()
    server.work.release(jobs)
    client.connection.lose(ConnectionLost())
    client.connection.peer.close()
    server.work.release()
    assert descriptors() <= before - 2  # those of the connection itself
    assert not any("small" in line for line in log.told), "what was asked after it is dropped"
    assert len(server.deadlines) == 0


def test_what_nobody_expected(
    server: NativeServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(Answers, "_get", fail)
    client = server.connect()
    client.say(Get(1, b"small"))
    server.clock.advance(0)
    assert not client.connection.transport.connected
    assert [type(error) for error in log.flush()] == [ZeroDivisionError]


# The log.


def test_the_log(server: NativeServer, log: Log) -> None:
    client = server.connect()
    client.ask(Get(1, b"small"), Get(2, b"large", 5, 6), Get(3, b"no\x1b[1m"), Tree(4, b""))
    assert log.told[0] == "127.0.0.1:1 native GET small: complete 6"
    assert log.told[1] == "127.0.0.1:1 native GET large: complete 6"
    assert log.told[2] == "127.0.0.1:1 native GET no\\x1b[1m: absent 0, nothing has that name"
    assert log.told[3].startswith("127.0.0.1:1 native TREE: complete ")
    assert all(line.isprintable() for line in log.told)
    assert client.ask(Get(5, b"absent"))[0][:2] == (5, ABSENT)
    client.ask(Get(6, b"\xff" * 1024))
    assert len(log.told[5]) < 512 + 100


def test_others_have_their_turn(server: NativeServer) -> None:
    """However many requests come at once, few of them are answered in one turn of the reactor."""
    client = server.connect()
    client.say(*[Get(number, b"absent") for number in range(1, 21)])
    first = client.connection.drain()
    assert len(client.hear()) == 20
    assert len(first) < len(client.connection.drain()) // 2
    # Nor has a client that leaves meanwhile anything to answer.
    client.say(*[Get(number, b"absent") for number in range(21, 41)])
    client.connection.transport.abortConnection()
    server.wait(1)
