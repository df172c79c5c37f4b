"""Tests what the Twisted client delivers, of what an honest server and a damaged line bring."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone

from tcpdl import protocol
from tcpdl.protocol import NativeClient
from tcpdl.wire import native
from tcpdl.wire.native import Chunk, DigestList, End, Error, FileInfo
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry

SHIFT = 16
CHUNK = 1 << SHIFT
DATA = bytes(range(251)) * 800
assert 3 * CHUNK < len(DATA) < 4 * CHUNK


# What comes, however it is cut.


@pytest.mark.parametrize("cut", [1, 3, 1000, CHUNK, 1 << 30])
def test_pipelined_requests(cut: int, connect: Any, say: Any, got: Any) -> None:
    wire = connect()
    client = wire.client
    size = 700 if cut < 1000 else len(DATA)
    fired: list[int] = []

    def note(result: Any, number: int) -> Any:
        fired.append(number)
        return result

    asked: list[Any] = [
        client.get_bytes("hello.txt"),
        client.get_bytes(b"empty"),
        client.info("long"),
        client.get_bytes("absent"),
        client.get_bytes("long"),
        client.listdir("folder", recursive=True),
        client.listdir(),
        client.digests("long"),
    ]
    for number, one in enumerate(asked):
        one.addBoth(note, number)
    requests = wire.asked()
    assert [request.id for request in requests] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert requests[0] == native.Get(1, b"hello.txt", 0, 16 << 20)
    assert requests[2] == native.Get(3, b"long", 0, 0)
    assert requests[5] == native.Tree(6, b"folder", native.RECURSIVE)
    assert requests[7] == native.GetDigests(8, b"long")
    long = DATA[:size]
    digests = tuple(say.sha256(long[at : at + CHUNK]) for at in range(0, size, CHUNK))
    listed = Entry(LISTED, b"a", 0o600, 5, 7)
    folder = Entry(FOLDER, b"sub", 0o755)
    link = Entry(LINK, b"sub/link", content=b"../a")
    left_out = Entry(LEFT_OUT, b"", content=b"because")
    whole = say.greeting + b"".join(
        [
            say.file(1, b"hello\n"),
            say.file(2, b""),
            say.info(3, size) + native.encode(End(3)),
            bytes([0x99, 0, 0, 0, 0, 0, 0, 4]) + b"skip",
            native.encode(Error(4, native.ABSENT, "no\x1b such file")),
            say.file(5, long),
            say.pack(6, listed, folder) + say.pack(6, link, left_out) + native.encode(End(6)),
            native.encode(End(7)),
            say.info(8, size) + native.encode(DigestList(8, 0, digests)) + native.encode(End(8)),
        ]
    )
    wire.feed(wire.sealed(whole), cut)
    assert fired == list(range(8))
    assert got(asked[0]) == b"hello\n"
    assert got(asked[1]) == b""
    told = FileInfo(3, size, 0, 0o644, SHIFT, say.tag)
    assert got(asked[2]).unsealed == told.unsealed
    with pytest.raises(protocol.NotServed, match=r"no\\x1b such file") as caught:
        got(asked[3])
    assert caught.value.code == native.ABSENT
    assert got(asked[4]) == long
    assert got(asked[5]) == [listed, folder, link, left_out]
    assert got(asked[6]) == []
    found = got(asked[7])
    assert (found.first, found.digests, found.algorithm) == (0, digests, native.SHA256)
    expected = say.sha256(b"tcpdl root 1" + size.to_bytes(8, "big") + b"\x10" + b"".join(digests))
    assert found.root() == expected
    assert not found._replace(digests=()).root()
    assert wire.world.getDelayedCalls() == []
    assert not wire.aborted


@pytest.mark.parametrize(
    ("offset", "length", "chunks"),
    [
        (0, 1, range(1)),
        (1, CHUNK - 1, range(1)),
        (CHUNK, CHUNK, range(1, 2)),
        (CHUNK - 1, 2, range(2)),
        (70_000, 100_000, range(1, 3)),
        (len(DATA) - 1, protocol.TO_END, range(3, 4)),
        (5, 10**9, range(4)),
    ],
)
def test_a_range_is_cut_from_whole_chunks(
    wire: Any, offset: int, length: int, chunks: range, say: Any, got: Any
) -> None:
    data: list[bytes] = []
    result = wire.client.get("x", data.append, offset, length)
    assert wire.asked() == [native.Get(1, b"x", offset, 0)]
    wire.hear(say.info(1, len(DATA)), End(1))
    [request] = wire.asked()
    assert (request.offset, request.tag) == (chunks[0] * CHUNK, say.tag)
    assert request.offset + request.length == len(chunks) * CHUNK + request.offset
    wire.hear(say.file(2, chunks=chunks))
    assert got(result).size == len(DATA)
    assert b"".join(data) == DATA[offset : offset + length]


def test_an_empty_range_and_one_beyond_the_end(wire: Any, say: Any, got: Any) -> None:
    at_end = wire.client.get("x", pytest.fail, len(DATA))
    beyond = wire.client.get("x", pytest.fail, len(DATA) + 1, 5)
    wire.hear(say.info(1, len(DATA)), End(1), Error(2, native.BAD_RANGE, "it is shorter"))
    assert got(at_end).size == len(DATA)
    with pytest.raises(protocol.BadRange):
        got(beyond)
    assert len(wire.asked()) == 2


def test_threads_check_long_chunks_and_order_is_kept(wire: Any, say: Any, got: Any) -> None:
    shift, world = 17, wire.world
    data = DATA * 3
    parts: list[bytes] = []
    result = wire.client.get("x", parts.append)
    wire.hear(
        say.info(1, len(data), shift), say.chunk(1, 0, data, shift), say.chunk(1, 1, data, shift)
    )
    assert len(world.jobs) == 2
    assert not wire.held, "the digest of the first has not come"
    wire.hear(say.proof(1, 0, data, shift))
    assert wire.held
    world.jobs.pop()()
    assert parts == []
    wire.hear(say.proof(1, 1, data, shift))  # more came although it was paused
    world.jobs.pop()()
    assert b"".join(parts) == data[: 2 << shift]
    assert not wire.held
    rest = say.file(1, data, shift, range(2, 5)).removeprefix(say.info(1, len(data), shift))
    at = 0
    while at < len(rest) or world.jobs:
        if not wire.held and at < len(rest):
            wire.feed(rest[at : at + 50_000])
            at += 50_000
        else:
            world.jobs.pop(0)()
        assert len(world.jobs) <= 2
    assert got(result).size == len(data)
    assert b"".join(parts) == data


def test_an_answer_waits_for_the_threads_of_the_one_before(wire: Any, say: Any, got: Any) -> None:
    first, second = wire.client.get_bytes("x"), wire.client.get_bytes("y")
    wire.hear(say.file(1, DATA[:100_000], 17) + say.file(2, b"y"))
    assert wire.held
    assert not second.called
    wire.world.jobs.pop()()
    assert got(first) == DATA[:100_000]
    assert got(second) == b"y"


def test_ids_are_used_again(wire: Any, say: Any, got: Any) -> None:
    wire.client._number = 0xFFFE
    asked = wire.client.get_bytes("x"), wire.client.get_bytes("y")
    assert [request.id for request in wire.asked()] == [0xFFFF, 1], "0 stands for the connection"
    wire.hear(say.file(0xFFFF, b"x") + say.file(1, b"y"))
    assert [got(one) for one in asked] == [b"x", b"y"]


def test_a_tree_with_content_is_delivered_pack_by_pack(wire: Any, say: Any, got: Any) -> None:
    lists: list[Any] = []
    taken: list[Deferred[None]] = []

    def take(entries: list[Entry]) -> Deferred[None]:
        lists.append([(one.name, bytes(one.content)) for one in entries])
        taken.append(Deferred())
        return taken[-1]

    result = wire.client.tree("", take, content=True)
    assert wire.asked() == [native.Tree(1, b"", native.RECURSIVE | native.CONTENT)]
    long = Entry(FILE, b"b", 0o600, len(DATA), 0, DATA)
    wire.hear(say.pack(1, Entry(FILE, b"a", 0o600, 2, 0, b"hi")), say.pack(1, long), End(1))
    assert lists == [[(b"a", b"hi")]]
    assert wire.held
    taken[0].callback(None)
    wire.world.jobs.pop()()
    assert lists[1:] == [[(b"b", DATA)]]
    assert not result.called
    taken[1].callback(None)
    assert got(result) is None


def test_a_list_never_holds_content(wire: Any, say: Any, got: Any) -> None:
    result = wire.client.listdir("")
    wire.hear(say.pack(1, Entry(FILE, b"a", 0o600, 2, 0, b"hi")), End(1))
    assert got(result) == [Entry(LISTED, b"a", 0o600, 2, 0)]


# Damage.


@pytest.mark.parametrize("shift", [16, 17])
def test_a_damaged_chunk_is_not_delivered(wire: Any, shift: int, say: Any, got: Any) -> None:
    parts: list[bytes] = []
    bad = wire.client.get("x", parts.append)
    good = wire.client.get_bytes("y")
    answer = bytearray(say.file(1, shift=shift))
    answer[answer.index(say.chunk(1, 1, shift=shift)) + 1000] ^= 1
    wire.hear(bytes(answer))
    while wire.world.jobs:
        wire.world.jobs.pop(0)()
    with pytest.raises(protocol.Damaged, match=f"from byte {1 << shift} arrived damaged"):
        got(bad)
    assert b"".join(parts) == DATA[: 1 << shift]
    wire.hear(say.file(2, b"fine"))
    assert got(good) == b"fine"


@pytest.mark.parametrize("content", [b"hi", DATA])
def test_a_damaged_pack_is_not_delivered(wire: Any, content: bytes, say: Any, got: Any) -> None:
    result = wire.client.tree("", pytest.fail)
    answer = bytearray(say.pack(1, Entry(FILE, b"a", 0o600, len(content), 0, content)))
    answer[50] ^= 1
    wire.hear(bytes(answer), End(1))
    for job in wire.world.jobs:
        job()
    with pytest.raises(protocol.Damaged):
        got(result)
    assert not wire.aborted


def test_no_flipped_bit_is_ever_delivered(connect: Any, say: Any) -> None:
    data = b"hello\n"
    answer = say.greeting + say.file(1, data)
    told: list[int | None] = []
    for at in range(len(answer) * 8):
        wire = connect()
        parts: list[bytes] = []
        infos: list[Any] = []
        result = wire.client.get("x", parts.append)
        flipped = bytearray(wire.sealed(answer))
        flipped[at // 8] ^= 1 << at % 8
        result.addCallbacks(infos.append, lambda _: None)
        wire.feed(bytes(flipped))
        wire.lose(ConnectionDone())
        assert result.called
        assert parts in ([], [data])
        for info in infos:
            assert parts == [data]
            assert (info.size, info.mtime_ns, info.mode, info.tag) == (6, 0, 0o644, say.tag)
            told.append(at // 8)
    # Only what says nothing of the file may be another: version, unused bits, the time held.
    file = len(say.greeting) + 8
    held = len(answer) - 8
    harmless = {6, file + 16, file + 19, *range(held, held + 4)}
    assert set(told) <= harmless


# Consumers.


def test_a_consumer_that_pauses_pauses_the_transport(
    wire: Any, say: Any, got: Any, consumer: Any
) -> None:
    consumer.pause_at_once = True
    result = wire.client.get("x", consumer)
    later = wire.client.get_bytes("y")
    assert not consumer.producer, "the answer has not begun"
    wire.hear(say.file(1) + say.file(2, b"y"))
    for chunks in range(1, 4):
        assert consumer.data == DATA[: chunks * CHUNK]
        assert wire.held
        wire.world.advance(1000)  # whoever waits for us is not late
        consumer.producer.resumeProducing()
    assert wire.held
    consumer.producer.resumeProducing()
    assert consumer.data == DATA
    assert consumer.producer is None
    assert got(result).size == len(DATA)
    assert got(later) == b"y"
    assert not wire.held


def test_a_callable_that_returns_a_deferred_is_waited_for(wire: Any, say: Any, got: Any) -> None:
    parts: list[bytes] = []
    taken: list[Deferred[None]] = []

    def take(data: bytes) -> Deferred[None]:
        parts.append(data)
        taken.append(Deferred())
        return taken[-1]

    result = wire.client.get("x", take)
    wire.hear(say.file(1))
    for chunks in range(1, 5):
        assert len(parts) == chunks
        assert wire.held
        assert not result.called
        taken.pop().callback(None)
    assert got(result).size == len(DATA)
    assert b"".join(parts) == DATA


def test_a_consumer_that_goes_on_at_once(wire: Any, say: Any, got: Any, consumer: Any) -> None:
    depth = deepest = 0
    write = consumer.write

    def take(data: bytes) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(depth, deepest)
        consumer.producer.pauseProducing()
        consumer.producer.resumeProducing()
        write(data)
        depth -= 1

    consumer.write = take
    result = wire.client.get("x", consumer)
    answer = say.file(1, shift=17)
    wire.hear(answer)
    wire.world.jobs.pop()()
    wire.world.jobs.pop()()
    assert consumer.data == DATA
    assert deepest == 1
    assert got(result).size == len(DATA)


def test_a_consumer_that_stops_cancels(wire: Any, say: Any, got: Any, consumer: Any) -> None:
    result = wire.client.get("x", consumer)
    answer = wire.sealed(say.file(1))
    wire.feed(answer[:100_000])
    producer, consumer.producer = consumer.producer, None
    producer.stopProducing()
    with pytest.raises(CancelledError):
        got(result)
    assert consumer.data == DATA[:0]
    wire.feed(answer[100_000:])
    assert wire.world.getDelayedCalls() == []


def test_what_a_callable_raises_is_what_the_request_fails_with(
    wire: Any, say: Any, got: Any, consumer: Any
) -> None:
    def raises(data: bytes) -> None:
        raise ZeroDivisionError

    def fails(data: bytes) -> Deferred[None]:
        refused: Deferred[None] = Deferred()
        refused.errback(KeyError("full"))
        return refused

    first, second = wire.client.get("x", raises), wire.client.get("x", fails)
    busy = consumer
    busy.producer = "another"
    third, fourth = wire.client.get("x", busy), wire.client.get_bytes("x")
    wire.hear(say.file(1) + say.file(2) + say.file(3) + say.file(4))
    for result, error in ((first, ZeroDivisionError), (second, KeyError), (third, AssertionError)):
        with pytest.raises(error):
            got(result)
    assert got(fourth) == DATA


# Limits.


def test_what_does_not_fit_is_refused_before_it_is_held(wire: Any, say: Any, got: Any) -> None:
    client = wire.client
    asked: list[Any] = [
        client.get_bytes("x", most=1000),
        client.digests("x", most=3),
        client.listdir(most=9),
    ]
    assert wire.asked()[0].length == 1000
    run = native.encode(Chunk(1, 1000)) + DATA[:1000]
    wire.hear(say.info(1, len(DATA)) + run + say.proof(1, 0) + native.encode(End(1)))
    wire.hear(say.info(2, len(DATA)), DigestList(2, 0, (say.tag * 2,) * 4), End(2))
    wire.hear(say.pack(3, Entry(LISTED, b"a")), End(3))
    for result in asked:
        with pytest.raises(protocol.TooLarge):
            got(result)
    assert not wire.aborted


def test_requests_beyond_those_a_server_reads_wait_here(wire: Any, say: Any, got: Any) -> None:
    asked = [wire.client.get_bytes(str(number)) for number in range(130)]
    assert len(wire.asked()) == 128
    asked[128].cancel()
    wire.hear(*(say.file(number + 1, b"%d" % number) for number in range(128)))
    assert [request.name for request in wire.asked()] == [b"129"], "one was not wanted any more"
    wire.hear(say.file(130, b"129"))
    assert got(asked[129]) == b"129"
    with pytest.raises(CancelledError):
        got(asked[128])


@pytest.mark.parametrize("name", ["x" * 1025, "\ud800"])
def test_a_name_that_cannot_be_sent(wire: Any, name: str, got: Any) -> None:
    client = wire.client
    for result in (client.get(name, print), client.get(name, print, 1), client.listdir(name)):
        with pytest.raises(protocol.WrongUse):
            got(result)
    assert wire.asked() == []


def test_ranges_that_cannot_be_and_a_connection_that_is_not(wire: Any, got: Any) -> None:
    early = NativeClient(wire.world)
    for result in (
        early.info("x"),
        wire.client.get("x", print, -1),
        wire.client.get("x", print, 0, -1),
        wire.client.info("x", tag=b"short"),
    ):
        with pytest.raises(protocol.WrongUse):
            got(result)


def test_no_reactor_is_imported() -> None:
    script = "import sys, tcpdl.protocol; sys.exit('twisted.internet.reactor' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
