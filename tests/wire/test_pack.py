"""Tests `wire.pack`: entries come back as they were, and nothing else comes out of other bytes."""

from __future__ import annotations

import hashlib
import struct
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.wire.names import MAX_NAME
from tcpdl.wire.native import FORMS, MAX_SIZE, PACK_MOST, Pack, ProtocolError, WrongUse
from tcpdl.wire.pack import (
    ENTRIES_MOST,
    FILE,
    FOLDER,
    LEFT_OUT,
    LINK,
    LISTED,
    PACK_FULL,
    PACKED_FILE_MOST,
    Damaged,
    Entry,
    pack,
    unpack,
)

unhurried = settings(deadline=None)

Record = tuple[int, int, int, int, int]
"""Kind, mode, length of the content, size, time of the last change."""


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sealed(data: bytes) -> bytes:
    """`data` with its digest: whatever is wrong with it, it is not damage."""
    return data + sha256(data)


def built(
    records: list[Record],
    names: bytes,
    contents: bytes = b"",
    count: int | None = None,
    names_length: int | None = None,
) -> bytes:
    """A pack, or what a liar would send for one; written from the specification."""
    head = struct.pack(
        "!II",
        len(records) if count is None else count,
        len(names) if names_length is None else names_length,
    )
    table = b"".join(
        struct.pack("!BBHIQq", kind, 0, mode, length, size, mtime_ns)
        for kind, mode, length, size, mtime_ns in records
    )
    return sealed(head + table + names + contents)


NAMES = st.binary(max_size=20).map(lambda name: name.replace(b"\0", b"")) | st.just(b"n" * MAX_NAME)
CONTENTS = st.binary(max_size=60)
MODES = st.integers(0, 0o777)
TIMES = st.integers(-(1 << 63), (1 << 63) - 1)
FILES = st.builds(
    lambda name, mode, mtime_ns, content: Entry(FILE, name, mode, len(content), mtime_ns, content),
    *(NAMES, MODES, TIMES, CONTENTS),
)
LISTINGS = st.builds(
    Entry,
    *(st.just(LISTED), NAMES, MODES, st.integers(0, MAX_SIZE), TIMES),
    st.just(b"") | st.binary(min_size=32, max_size=32),
)
OTHERS = st.builds(
    Entry,
    *(st.sampled_from([FOLDER, LINK, LEFT_OUT]), NAMES, MODES, st.just(0), TIMES),
    st.binary(min_size=1, max_size=60),
)
ENTRIES = st.lists(FILES | LISTINGS | OTHERS, max_size=6)

SAMPLE = [
    Entry(FILE, b"a.txt", 0o644, 3, 1_704_164_645_000_000_000, b"hi\n"),
    Entry(FOLDER, b"sub", 0o755, 0, 1_704_164_645_000_000_000),
    Entry(LISTED, b"sub/big.iso", 0o444, 5 << 30, -1),
]
PACKED = pack(SAMPLE, sha256)

LEAST = FORMS[Pack].least


def test_numbers() -> None:
    assert (FILE, LISTED, FOLDER, LINK, LEFT_OUT) == (1, 2, 3, 4, 5)
    assert (ENTRIES_MOST, PACKED_FILE_MOST, PACK_FULL) == (65_535, 1_048_576, 524_288)


def test_built_by_hand() -> None:
    records: list[Record] = [
        (FILE, 0o644, 3, 3, 1_704_164_645_000_000_000),
        (FOLDER, 0o755, 0, 0, 1_704_164_645_000_000_000),
        (LISTED, 0o444, 0, 5 << 30, -1),
    ]
    assert built(records, b"a.txt\0sub\0sub/big.iso\0", b"hi\n") == PACKED


@unhurried
@given(ENTRIES)
@example([])
@example([Entry(FILE, b"")] * 3)
def test_round_trip(entries: list[Entry]) -> None:
    packed = pack(iter(entries), sha256)
    assert unpack(packed, sha256) == entries
    # The shortest message is the empty pack.
    assert (
        LEAST
        <= len(packed)
        == LEAST + sum(24 + len(entry.name) + 1 + len(entry.content) for entry in entries)
    )


ANYTHING = st.builds(
    Entry,
    st.integers(-1, 7),
    st.sampled_from([b"", b"f", b"f\0", b"n" * MAX_NAME, b"n" * (MAX_NAME + 1)]),
    st.sampled_from([0, 0o777, 0o1000, -1, 1 << 16]),
    st.sampled_from([0, 3, MAX_SIZE, MAX_SIZE + 1, -1]),
    st.sampled_from([0, -(1 << 63), MAX_SIZE, MAX_SIZE + 1]),
    st.sampled_from([b"", b"abc", b"d" * 32]),
)


@unhurried
@given(st.lists(ANYTHING, max_size=3))
def test_what_is_packed_can_be_unpacked(entries: list[Entry]) -> None:
    try:
        packed = pack(entries, sha256)
    except WrongUse:
        return
    assert unpack(packed, sha256) == entries


def test_most_entries() -> None:
    entries = [Entry(FOLDER, b"%d" % number) for number in range(ENTRIES_MOST)]
    assert unpack(pack(entries, sha256), sha256) == entries
    with pytest.raises(WrongUse, match="65536 entries"):
        pack([*entries, Entry(FOLDER, b"")], sha256)
    more = ENTRIES_MOST + 1
    with pytest.raises(ProtocolError, match="65536 entries"):
        unpack(built([(FOLDER, 0, 0, 0, 0)] * more, b"\0" * more), sha256)


def test_longest_content() -> None:
    longest = Entry(FILE, b"f", 0, PACKED_FILE_MOST, 0, b"c" * PACKED_FILE_MOST)
    assert unpack(pack([longest], sha256), sha256) == [longest]
    more = PACKED_FILE_MOST + 1
    with pytest.raises(WrongUse, match=str(more)):
        pack([Entry(FILE, b"f", 0, more, 0, b"c" * more)], sha256)
    with pytest.raises(ProtocolError, match="content"):
        unpack(built([(FILE, 0, more, more, 0)], b"f\0", b"c" * more), sha256)


def test_longest_name() -> None:
    longest = Entry(FOLDER, b"n" * MAX_NAME)
    assert unpack(pack([longest], sha256), sha256) == [longest]
    with pytest.raises(WrongUse, match="1025"):
        pack([Entry(FOLDER, b"n" * (MAX_NAME + 1))], sha256)
    with pytest.raises(ProtocolError, match="name"):
        unpack(built([(FOLDER, 0, 0, 0, 0)], b"n" * (MAX_NAME + 1) + b"\0"), sha256)


def test_largest_size() -> None:
    largest = Entry(LISTED, b"f", 0, MAX_SIZE)
    assert unpack(pack([largest], sha256), sha256) == [largest]
    with pytest.raises(WrongUse, match=str(MAX_SIZE + 1)):
        pack([Entry(LISTED, b"f", 0, MAX_SIZE + 1)], sha256)
    with pytest.raises(ProtocolError, match=str(MAX_SIZE + 1)):
        unpack(built([(LISTED, 0, 0, MAX_SIZE + 1, 0)], b"f\0"), sha256)


@pytest.mark.parametrize("kind", [0, 6, 0x80, 255])
def test_unknown_kind(kind: int) -> None:
    with pytest.raises(WrongUse, match=f"kind {kind}"):
        pack([Entry(FILE, b"before"), Entry(kind, b"f")], sha256)
    with pytest.raises(ProtocolError, match=f"kind {kind}"):
        unpack(built([(FILE, 0, 0, 0, 0), (kind, 0, 0, 0, 0)], b"before\0f\0"), sha256)


def test_names_that_were_not_announced_take_no_memory() -> None:
    names = b"ab\0" * ((PACK_MOST - 40) // 3)
    for count in (0, 1):
        lies = built([(FOLDER, 0, 0, 0, 0)] * count, names[: len(names) - 24 * count])
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolError, match="names"):
                unpack(lies, sha256)
            assert tracemalloc.get_traced_memory()[1] < 4 * len(lies)
        finally:
            tracemalloc.stop()


def test_longest_pack() -> None:
    whole = Entry(FILE, b"a", 0, PACKED_FILE_MOST, 0, b"c" * PACKED_FILE_MOST)
    left = PACKED_FILE_MOST - 8 - 4 * (24 + 2) - 32
    entries = [whole] * 3 + [Entry(FILE, b"b", 0, left, 0, b"d" * left)]
    packed = pack(entries, sha256)
    assert len(packed) == PACK_MOST
    assert unpack(packed, sha256) == entries
    with pytest.raises(WrongUse, match=str(PACK_MOST + 1)):
        pack([*entries[:3], Entry(FILE, b"b", 0, left + 1, 0, b"d" * (left + 1))], sha256)


def test_full_pack_takes_one_more_of_the_longest() -> None:
    assert PACK_FULL + 24 + MAX_NAME + 1 + PACKED_FILE_MOST < PACK_MOST


@pytest.mark.parametrize(
    "entry",
    [
        Entry(-1, b"f"),
        Entry(256, b"f"),
        Entry(FILE, b"a\0b"),
        Entry(FILE, b"f", -1),
        Entry(FILE, b"f", 0o1755),
        Entry(FILE, b"f", 1 << 16),
        Entry(FILE, b"f", 0, 5, 0, b"abc"),
        Entry(FILE, b"f", 0, 0, 0, b"abc"),
        Entry(LISTED, b"f", 0, 1 << 63),
        Entry(LISTED, b"f", 0, 5, 0, b"short"),
        Entry(LISTED, b"f", 0, 5, 0, b"d" * 33),
        Entry(FILE, b"f", 0, -1),
        Entry(FILE, b"f", 0, 1 << 64),
        Entry(FILE, b"f", 0, 0, 1 << 63),
        Entry(FILE, b"f", 0, 0, -(1 << 63) - 1),
    ],
)
def test_cannot_be_packed(entry: Entry) -> None:
    with pytest.raises(WrongUse) as caught:
        pack([Entry(FOLDER, b"before"), entry], sha256)
    assert str(caught.value).isprintable()


def test_only_permission_bits_are_taken() -> None:
    (entry,) = unpack(built([(FOLDER, 0o107755, 0, 0, 0)], b"f\0"), sha256)
    assert entry == Entry(FOLDER, b"f", 0o755)


@pytest.mark.parametrize("at", range(len(PACKED)))
def test_damage(at: int) -> None:
    for flip in (0x01, 0x80, 0xFF):
        damaged = bytearray(PACKED)
        damaged[at] ^= flip
        with pytest.raises(Damaged):
            unpack(bytes(damaged), sha256)


@pytest.mark.parametrize("length", range(len(PACKED)))
def test_broken_off(length: int) -> None:
    with pytest.raises(Damaged):
        unpack(PACKED[:length], sha256)
    if length < len(PACKED) - 32:
        with pytest.raises(ProtocolError):
            unpack(sealed(bytes(PACKED[:length])), sha256)


ONE: list[Record] = [(FILE, 0, 1, 1, 0)]
TWO: list[Record] = [(FILE, 0, 1, 1, 0), (FOLDER, 0, 0, 0, 0)]


@pytest.mark.parametrize(
    "packed",
    [
        built(ONE, b"f\0", b"c", count=0),
        built(ONE, b"f\0", b"c", count=2),
        built(ONE, b"f\0", b"c", count=0xFFFFFFFF),
        built(ONE, b"f\0", b"c", names_length=0),
        built(ONE, b"f\0", b"c", names_length=1),
        built(ONE, b"f\0", b"c", names_length=3),
        built(ONE, b"f\0", b"c", names_length=4),
        built(ONE, b"f\0", b"c", names_length=0xFFFFFFFF),
        built(ONE, b"f", b"c"),  # no NUL
        built(ONE, b"f\0g", b"c"),
        built(ONE, b"f\0\0", b"c"),  # a name too many
        built(TWO, b"f\0", b"c"),  # and one too few
        built([], b"\0"),
        built([], b"f"),
        built([], b"\0" * 100_000),
        built([], b"", b"c"),
        built(ONE, b"f\0"),  # no content
        built(ONE, b"f\0", b"cc"),  # too much
        built([(FILE, 0, 0xFFFFFFFF, 1, 0)], b"f\0", b"c"),
        built([(FILE, 0, 1, 0, 0)], b"f\0", b"c"),  # a size that is another
        built([(FILE, 0, 0, 1, 0)], b"f\0"),
        built([(LISTED, 0, 1, 1, 0)], b"f\0", b"c"),  # no digest
        built([(LISTED, 0, 31, 1, 0)], b"f\0", b"d" * 31),
        built([(LISTED, 0, 33, 1, 0)], b"f\0", b"d" * 33),
        # The content of the second begins where the first one's ends, and nowhere else.
        built([(FILE, 0, 2, 2, 0), (FILE, 0, 2, 2, 0)], b"f\0g\0", b"cc"),
        built([(FILE, 0, 0, 0, 0), (FILE, 0, 2, 2, 0)], b"f\0g\0", b"ccc"),
        sealed(b""),
        sealed(bytes(7)),
        sealed(b"\xff" * 8),
    ],
)
def test_nonsense(packed: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        unpack(packed, sha256)
    assert str(caught.value).isprintable()


@unhurried
@given(
    ENTRIES,
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=5),
    st.integers(-3, 3),
    st.booleans(),
)
def test_mutations(
    entries: list[Entry], changes: list[tuple[int, int]], more: int, seal: bool
) -> None:
    mutated = bytearray(pack(entries, sha256)[:-32])
    for at, byte in changes:
        mutated[at % len(mutated)] = byte
    data = bytes(mutated)[:more] if more < 0 else bytes(mutated) + bytes(more)
    whole = sealed(data) if seal else data + sha256(data)[::-1]
    only_what_may_be(whole)


@unhurried
@given(st.binary(max_size=120))
def test_arbitrary_bytes(data: bytes) -> None:
    with pytest.raises(Damaged):
        unpack(data, sha256)
    only_what_may_be(sealed(data))


def only_what_may_be(packed: bytes) -> None:
    try:
        entries = unpack(packed, sha256)
    except (Damaged, ProtocolError):
        return
    for entry in entries:
        assert b"\0" not in entry.name
        assert len(entry.name) <= MAX_NAME
        assert len(entry.content) <= PACKED_FILE_MOST
        assert entry.mode <= 0o777
        assert entry.size <= MAX_SIZE
        assert entry.kind in (FILE, LISTED, FOLDER, LINK, LEFT_OUT)
        assert entry.kind != FILE or entry.size == len(entry.content)
        assert entry.kind != LISTED or len(entry.content) in (0, 32)
    assert unpack(pack(entries, sha256), sha256) == entries
