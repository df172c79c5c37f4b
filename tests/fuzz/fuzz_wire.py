"""Targets for a fuzzer: whatever a hostile peer sends, only the errors that are meant for it arise.

    python tests/fuzz/fuzz_wire.py --seed                    write the corpus anew
    python tests/fuzz/fuzz_wire.py --server tests/fuzz/corpus/server -max_total_time=180

The second needs atheris, which nothing else here does, and takes libFuzzer's options; the targets
are `--server`, `--client` and `--pack`. What is found goes to the first folder that is named.
tests/fuzz/test_corpus.py runs the targets over the corpus.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tcpdl.wire import native
from tcpdl.wire.exchange import FOLLOWS, Incoming, Room, State
from tcpdl.wire.login import Login
from tcpdl.wire.names import MAX_NAME
from tcpdl.wire.native import Chunk, ProtocolError, encode, preface
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LISTED, PACKED_FILE_MOST, Damaged, Entry
from tcpdl.wire.pack import pack as make_pack
from tcpdl.wire.pack import unpack as read_pack
from tests.fuzz.running import CUTS, main, pieces

READ_AND_KEPT = 64 * 1024
"""Bytes that were read and that `Incoming` may keep until it is worth moving the rest."""

LONGEST_PICK = native.FORMS[native.Pick].most

Outcome = tuple[list[Any], bytes, Any]
"""Messages with their types, the bytes of all runs, and how it ended."""


def server_side(data: bytes) -> None:
    """`data` comes from a client."""
    one_side(State.REQUESTS, data)


def client_side(data: bytes) -> None:
    """`data` comes from a server."""
    one_side(State.ANSWER, data)


def unpack(data: bytes) -> None:
    """`data` is a pack; its digest is right if the first byte is odd."""
    packed = data[1:]
    if data[:1] and data[0] & 1:
        packed += sha256(packed)
    try:
        entries = read_pack(packed, sha256)
    except (Damaged, ProtocolError):
        return
    for entry in entries:
        assert b"\0" not in entry.name
        assert len(entry.name) <= MAX_NAME
        assert len(entry.content) <= PACKED_FILE_MOST
        assert entry.mode <= 0o777
        assert entry.size <= native.MAX_SIZE
        assert FILE <= entry.kind <= LEFT_OUT
        assert entry.kind != FILE or entry.size == len(entry.content)
        assert entry.kind != LISTED or len(entry.content) in (0, native.DIGEST_SIZE)
    assert read_pack(make_pack(entries, sha256), sha256) == entries


TARGETS: dict[str, Callable[[bytes], None]] = {
    "server": server_side,
    "client": client_side,
    "pack": unpack,
}


def one_side(state: State, data: bytes) -> None:
    cuts, stream = data[:CUTS], data[CUTS:]
    whole = fed(state, [stream])
    assert fed(state, pieces(stream, cuts)) == whole
    assert received(state, stream) == whole
    messages, _, _ = whole
    for _, message in messages:
        again = encode(message)  # what can be read can be sent
        if isinstance(message, (native.Request, Login)):
            # A request has one encoding, so what was understood is what was sent.
            assert again in stream
    for _, message in messages[:-1]:
        assert not isinstance(message, native.Error) or message.code < native.FATAL


def fed(state: State, cut: Any) -> Outcome:
    """What comes of the pieces of `cut`, fed one by one."""
    incoming = Incoming(state)
    most = longest(state)
    messages: list[Any] = []
    runs = bytearray()
    for piece in cut:
        incoming.feed(piece)
        # What was announced is not held, only what has come, and of that one message at most.
        assert incoming.buffered < most + len(piece)
        assert len(incoming._buffer) < most + len(piece) + READ_AND_KEPT
        try:
            while True:
                runs += incoming.take(incoming.payload)
                if incoming.payload or (message := incoming.next()) is None:
                    break
                messages.append((type(message), message))
        except ProtocolError as problem:
            still_refused(incoming, problem)
            return messages, bytes(runs), str(problem)
        assert incoming.buffered < most
    return messages, bytes(runs), ended(incoming)


def received(state: State, stream: bytes) -> Outcome:
    """What comes of `stream` to a reader that reads what is wanted, and runs by itself."""
    incoming = Incoming(state)
    room = Room(incoming)
    messages: list[Any] = []
    runs = b""
    at = 0
    try:
        while True:
            if incoming.payload:
                run = stream[at : at + incoming.payload]
                at += len(run)
                runs += run
                incoming.passed(len(run))
            elif message := incoming.next():
                messages.append((type(message), message))
                assert incoming.buffered == 0, "nothing was read beyond the message"
                continue
            view = room.view()
            some = stream[at : at + len(view)]
            if not some:
                if incoming.payload or view:
                    break
                continue
            view[: len(some)] = some
            room.filled(len(some))
            at += len(some)
    except ProtocolError as problem:
        still_refused(incoming, problem)
        return messages, runs, str(problem)
    assert at == len(stream)
    after, between, wanted, *rest = ended(incoming)
    if incoming.body_due:  # a part of it may be in the room
        wanted = len(room.view())
    return messages, runs, (after, between, wanted, *rest)


def still_refused(incoming: Incoming, problem: ProtocolError) -> None:
    """Whatever comes after what was refused, it is refused as well."""
    incoming.feed(encode(native.End(1)))
    again: ProtocolError | None = None
    try:
        incoming.next()
    except ProtocolError as caught:
        again = caught
    assert str(again) == str(problem)


def ended(incoming: Incoming) -> Any:
    if not incoming.version:
        assert incoming.digests == 0
    assert incoming.between <= (incoming.buffered == incoming.payload == 0)
    if incoming.between:
        assert incoming.state in (State.REQUESTS, State.ANSWER, State.OVER)
    return incoming.state, incoming.between, incoming.wanted, incoming.payload, incoming.digests


def longest(state: State) -> int:
    """Bytes of the longest message that is ever held, on that side."""
    states = {state} if state is State.REQUESTS else set(State) - {State.REQUESTS}
    kinds: set[Any] = {kind for one in states for kind in FOLLOWS[one]} - {Chunk}
    most: int = max(native.FORMS[kind].most for kind in kinds)
    return most


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# The corpus.


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each file of the corpus."""
    hello = preface(native.SHA256)
    for name, stream in {**from_client(hello), **from_server(hello)}.items():
        side, _, rest = name.partition(" ")
        yield side, rest, bytes([2, 0, 17, 255]) + stream
    for name, data in packs().items():
        yield "pack", name, data


def header(kind: int, length: int, number: int = 1, flags: int = 0) -> bytes:
    return struct.pack("!BBHI", kind, flags, number, length)


def from_client(hello: bytes) -> dict[str, bytes]:
    get = encode(native.Get(1, b"hello.txt"))
    skipped = header(0x81, 0) + header(0xFF, 3) + b"abc"
    return {
        "server preface-alone": hello,
        "server preface-cut-off": hello[:5],
        "server preface-of-version-0": b"\0tcpdl\0\1",
        "server raw-dialect": b"hello.txt\r\n",
        "server get": hello + get,
        "server get-cut-off": hello + get[:-1],
        "server get-name-too-long": hello + header(1, 32 + MAX_NAME + 1),
        "server get-without-tag": hello + header(1, 31) + b"t" * 31,
        "server get-digests": hello + encode(native.GetDigests(2, b"big.iso", 1024, 7, b"t" * 16)),
        "server get-beyond-all": hello + get[:24] + b"\x80" + get[25:],
        "server tree": hello + encode(native.Tree(3, b"a/b", 7)),
        "server pick": hello + encode(native.Pick(4, b"a", (b"b", b"", b"c"))),
        "server pick-of-nothing": hello + header(4, 3) + b"abc",
        "server pick-in-a-long-name": hello + header(4, 1102) + b"n" * 1100 + b"\0x",
        "server pick-longest": hello + header(4, LONGEST_PICK) + b"n" * 50,
        "server pick-too-long": hello + header(4, LONGEST_PICK + 1),
        "server several": hello + get + encode(native.Tree(1, b"")) + get[:8],
        "server optional-between": hello + skipped + get + skipped,
        "server optional-too-long": hello + header(0x81, native.OPTIONAL_MOST + 1),
        "server login": hello + encode(Login.with_password(b"ann", b"secret")) + get,
        "server login-of-another-scheme": hello + get + encode(Login(7, 0xFF, b"?")),
        "server login-too-long": hello + header(0x80, 1026),
        "server login-of-nothing": hello + header(0x80, 1) + b"\1",
        "server flags": hello + header(1, 40, flags=1),
        "server unknown-type": hello + header(0x7F, 0),
        "server answer-from-a-client": hello + encode(native.End(1)),
    }


def from_server(hello: bytes) -> dict[str, bytes]:
    info = encode(native.FileInfo(1, 6, 1, 0o644, 20, b"t" * 16))
    run = encode(Chunk(1, 6)) + b"hello\n"
    digest = encode(native.Digest(1, 0, sha256(b"hello\n")))
    end = encode(native.End(1, 5))
    packed = encode(native.Pack(2, make_pack([Entry(FILE, b"a", 0o644, 1, 0, b"b")], sha256)))
    other = encode(native.End(2, packs=1))
    return {
        "client file": hello + info + run + digest + end,
        "client file-with-optional": hello + info + header(0x90, 5) + b"skips" + run + end,
        "client file-cut-off-in-run": hello + info + run[:-2],
        "client file-of-no-tag": hello + info[:-48] + bytes(48),
        "client chunks-of-2-to-the-255": hello + info[:26] + b"\xff" + info[27:],
        "client chunks-too-many": hello + info[:8] + b"\x7f" + info[9:],
        "client chunk-longest": hello + info + header(0x42, native.CHUNK_MOST),
        "client chunk-too-long": hello + info + header(0x42, native.CHUNK_MOST + 1),
        "client chunk-without-file": hello + run,
        "client digest-list": hello
        + info
        + encode(native.DigestList(1, 0, (b"d" * 32, b"e" * 32)))
        + end,
        "client digest-list-uneven": hello + info + header(0x44, 72 + 1) + b"d" * 73,
        "client tree": hello + packed + packed + encode(native.End(2, packs=2)),
        "client tree-of-a-pack-too-few": hello + packed + packed + other,
        "client tree-then-file": hello + packed + other + info + end,
        "client file-within-tree": hello + packed + info,
        "client another-answers-end": hello + info + encode(native.End(2)),
        "client error": hello + encode(native.Error(1, native.ABSENT, "no such file")),
        "client error-that-is-no-text": hello + header(0x4F, 6) + b"\0\1\xff\xfe\x1b\xc3",
        "client error-ends-file": hello + info + run + encode(native.Error(1, 6, "changed")),
        "client error-fatal-in-tree": hello + packed + encode(native.Error(0, 65, "slow")),
        "client error-fatal-then-more": hello + encode(native.Error(1, 64, "over")) + end,
        "client error-about-nothing": hello + info + encode(native.Error(0, 5, "later")),
        "client pack-longest": hello + header(0x45, native.PACK_MOST) + b"p" * 50,
        "client pack-too-long": hello + header(0x45, native.PACK_MOST + 1),
        "client login-from-a-server": hello + info + encode(Login.with_token(b"t")) + run + end,
        "client request-from-a-server": hello + encode(native.Tree(1, b"")),
    }


def packs() -> dict[str, bytes]:
    entries = [
        Entry(FILE, b"a", 0o644, 3, 1, b"one"),
        Entry(FOLDER, b"sub", 0o755),
        Entry(LISTED, b"sub/b", 0o600, 5 << 30, 1, sha256(b"")),
    ]
    whole = make_pack(entries, sha256)
    body = whole[:-32]
    record = struct.pack("!BBHIQq", FILE, 0, 0, 1, 1, 0)
    beyond = record[:8] + b"\xff" * 8 + record[16:]
    head = struct.Struct("!II").pack
    return {
        "three": b"\0" + whole,
        "three-by-their-digest": b"\1" + body,
        "empty": b"\1" + head(0, 0),
        "nothing": b"\1",
        "damaged": b"\0" + whole[:20] + b"?" + whole[21:],
        "broken-off": b"\1" + body[:-1],
        "too-much": b"\1" + body + b"?",
        "count-0": b"\1" + head(0, 2) + record + b"f\0c",
        "count-most": b"\1" + head(0xFFFFFFFF, 2) + record + b"f\0c",
        "names-most": b"\1" + head(1, 0xFFFFFFFF) + record + b"f\0c",
        "names-none": b"\1" + head(1, 0) + record + b"c",
        "name-without-end": b"\1" + head(1, 1) + record + b"fc",
        "names-too-many": b"\1" + head(1, 3) + record + b"f\0\0c",
        "content-most": b"\1" + head(1, 2) + b"\1\0\0\0" + b"\xff" * 12 + bytes(8) + b"f\0c",
        "kind-beyond-all": b"\1" + head(1, 2) + b"\6" + record[1:] + b"f\0c",
        "digest-too-short": b"\1" + head(1, 2) + b"\2" + record[1:] + b"f\0c",
        "size-beyond-all": b"\1" + head(1, 2) + beyond + b"f\0c",
        "size-is-another": b"\1" + head(1, 2) + record[:15] + b"\2" + record[16:] + b"f\0c",
    }


if __name__ == "__main__":
    main(__doc__ or "", TARGETS, seeds())
