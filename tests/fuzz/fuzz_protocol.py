"""Target for a fuzzer: whatever a server answers the Twisted client, what was asked of it ends.

    python tests/fuzz/fuzz_protocol.py --seed                    write the corpus anew
    python tests/fuzz/fuzz_protocol.py --protocol tests/fuzz/corpus/protocol -max_total_time=180

The second needs atheris, which nothing else here does, and takes libFuzzer's options. What is found
goes to the first folder that is named. tests/fuzz/test_corpus.py runs the target over the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, TimeoutError  # noqa: A004
from twisted.python.failure import Failure

from tcpdl.protocol.errors import Damaged, ProtocolError, ServerError, TooLarge
from tcpdl.wire import native
from tcpdl.wire.native import DigestList, End, Error, encode
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, Entry
from tcpdl.wire.text import visible
from tests.fuzz.running import CUTS, main, pieces
from tests.protocol.conftest import GREETING, SHIFT, Say, Wire

EXPECTED = (
    *(ProtocolError, ServerError, Damaged, TooLarge),
    *(ConnectionAborted, ConnectionDone, TimeoutError),
)
"""With what a request may fail."""

MOST = 4096
"""Bytes that are wanted of one answer."""


def protocol(data: bytes) -> None:
    """`data` is what a server says, after some bytes that cut it up. If the first of these is odd,
    what it says is sealed to what was asked."""
    cuts, stream = data[:CUTS], data[CUTS:]
    parts: list[bytes] = []
    ends: list[Any] = []
    wire = Wire()
    client = wire.client
    asked = [
        client.get(b"a", parts.append),
        client.listdir(b"", recursive=True, most=MOST),
        client.digests(b"a", most=16),
        client.get_bytes(b"b", most=MOST),
        client.info(b"c"),
    ]
    for deferred in asked:
        deferred.addBoth(ends.append)
    said = wire.sealed(stream) if cuts[:1] and cuts[0] & 1 else stream
    for piece in pieces(said, cuts):
        client.dataReceived(piece)
        work(wire)
    if len(cuts) > 1 and cuts[1] & 1:
        wire.world.advance(31)
    wire.lose(ConnectionDone())
    work(wire)
    assert len(ends) == len(asked)
    assert wire.world.getDelayedCalls() == []
    for end in ends:
        if isinstance(end, Failure):
            problem = end.trap(*EXPECTED)
            if problem is not ConnectionDone:
                assert visible(str(end.value)) == str(end.value)
    check(ends, parts)


def work(wire: Wire) -> None:
    """Have the threads do what they are to."""
    while wire.world.jobs:
        wire.world.jobs.pop(0)()


def check(ends: list[Any], parts: list[bytes]) -> None:
    """Assert what is promised of answers that were good."""
    got, listed, digests, held, info = ends
    if not isinstance(got, Failure):
        assert sum(map(len, parts)) == got.size
    if not isinstance(listed, Failure):
        for entry in listed:
            segments = entry.name.split(b"/") if entry.name else []
            assert not {b"", b".", b".."} & set(segments)
    if not isinstance(digests, Failure):
        assert len(digests.digests) <= 16
    if not isinstance(held, Failure):
        assert len(held) <= MOST
    if not isinstance(info, Failure):
        assert 0 <= info.size <= native.MAX_SIZE


TARGETS: dict[str, Callable[[bytes], None]] = {"protocol": protocol}


# The corpus.


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each file of the corpus."""
    for name, said in answers().items():
        for sealed in (0, 1):
            yield "protocol", f"{name}-{sealed}", bytes([sealed, sealed, 99, 255]) + GREETING + said


def answers() -> dict[str, bytes]:
    say = Say()
    small = b"hello " * 40
    file = say.file(1, small)
    entries = [
        Entry(FILE, b"a", 0o644, 3, 1, b"one"),
        Entry(FOLDER, b"sub", 0o755),
        Entry(LINK, b"sub/l", content=b"../a"),
        Entry(LEFT_OUT, b"sub/x", content=b"it is a \x1b[31mFIFO"),
    ]
    listed = say.pack(2, *entries)
    roots = encode(DigestList(3, 0, (say.sha256(small),)))
    digests = say.info(3, len(small)) + roots + encode(End(3))
    no = encode(Error(5, native.ABSENT, "no such \x1b[31m file"))
    return {
        "all": file + listed + encode(End(2)) + digests + say.file(4, small) + no,
        "file": file,
        "file-damaged": file.replace(b"hello", b"jello", 1),
        "file-cut-off": file[: len(file) // 2],
        "file-empty": say.file(1, b"") + say.pack(2) + encode(End(2)),
        "file-too-large": say.file(1, b"") + encode(End(2)) + say.info(3, 1 << 40, 24),
        "tree-out": file + say.pack(2, Entry(FILE, b"../x", 0o644, 1, 0, b"x")) + encode(End(2)),
        "errors": b"".join(encode(Error(n, n, "no")) for n in range(1, 6)),
        "fatal": encode(Error(0, 64, "not understood")),
        "chunk-huge": say.info(1, 1 << 30, SHIFT) + b"\x42\0\0\1\0\1\0\0" + b"x" * 100,
        "of-another": say.file(2, small),
        "silence": b"",
    }


if __name__ == "__main__":
    main(__doc__ or "", TARGETS, seeds())
