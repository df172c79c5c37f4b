"""Tests `client.mirroring` with servers that lie: only the target is touched."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client.errors import ClientError, ConnectionBroken, Damaged, OtherDialect, ServerFailed
from tcpdl.client.url import Location
from tcpdl.wire import native
from tcpdl.wire.native import HEADER, FileInfo, Pack, Pick, Tree
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry
from tests.client.mirror.conftest import go

if TYPE_CHECKING:
    from tests.client.mirror.conftest import Honest, Make, Serve, Snapshot

Snap = Callable[[Path], "Snapshot"]

MTIME = 1_600_000_000_123_456_789
PACK = 0x45
"""The type of that message."""


BAD_NAMES = [
    *(b"", b".", b"..", b"/", b"../outside/canary", b"/etc/passwd", b"/f", b"x/", b"x//y", b"./x"),
    *(b"x/../y", b"x/../../outside/canary", b"..//..//x", b"a\nb", b"\x1b]0;x\x07", b"\x7f"),
    *(b"\xff\xfe", b"\xed\xa0\x80", "\u202egpj.exe".encode(), "\u2028".encode(), b"y" * 256),
    *(b"part.tcpdl-part", b"part.TCPDL-Part", b".tcpdl-record", b"x.tcpdl-record"),
    *(
        b".tcpdl-01234567.tcpdl-part",
        b"GOOD",
        b"good",
        b"absent/f",
        b"good/f",
        "ｇood\u200b".encode(),
    ),
]


@pytest.mark.parametrize("kind", [FILE, LISTED, FOLDER, LINK, LEFT_OUT])
@pytest.mark.parametrize("present", [False, True])
@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:30]))
def test_bad_name_is_refused_alone(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    snapshot: Snap,
    name: bytes,
    kind: int,
    present: bool,
) -> None:
    bad = Entry(kind, name, 0o644, 3, MTIME, b"bad")
    if kind == LISTED:
        bad = bad._replace(content=b"")
    if present:
        target.mkdir()
        (target / "mine").write_bytes(b"mine")
    entries = [make.file("good", b"good"), bad, make.file("later", b"fine")]
    mirrored = go(server(honest(entries)).location, target, links=True)
    found = snapshot(target)
    found.pop("mine", None)
    # A name out of place may make what follows it come out of place as well.
    assert set(found) in ({"good", "later"}, {"good"})
    assert found["good"] == (b"good", 0o644)
    assert mirrored.left_out[0][0] == name
    assert mirrored.left_out[0][1].isprintable()
    assert not mirrored.complete


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("name", "NAME"),
        ("straße", "STRASSE"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("\u212b", "\u00e5"),
        ("x", "x"),
    ],
)
def test_names_that_collide_are_refused(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    snapshot: Snap,
    one: str,
    other: str,
) -> None:
    entries = [
        make.folder("d"),
        make.file("d/" + one, b"1"),
        make.folder("d/" + other),
        make.file(f"d/{other}/inside", b"2"),
    ]
    mirrored = go(server(honest(entries)).location, target)
    assert snapshot(target) == {"d": ("folder", 0o755), "d/" + one: (b"1", 0o644)}
    assert mirrored.left_out_count == 1
    assert "differs only in case" in mirrored.left_out[0][1]


def test_folder_after_its_turn_is_refused(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    entries = [
        *(make.folder("a"), make.folder("b"), make.file("a/1"), make.file("b/2")),
        *(make.file("a/3"), make.file("top"), make.folder("a"), make.file("a/4")),
    ]
    mirrored = go(server(honest(entries)).location, target, delete=True)
    assert {name for name, what in snapshot(target).items() if what != ("folder", 0o755)} == {
        *("a/1", "b/2")
    }
    assert mirrored.left_out_count == 4


def test_contents_of_what_was_refused_are_not_written(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    entries = [
        *(make.file("a", b"x"), make.folder("A"), make.folder("c\n")),
        *(make.file("A/f", b"1"), make.folder("A/g"), make.file("A/g/h")),
        *(make.file("c\n/f", b"1"), make.file("a/f", b"2")),
    ]
    mirrored = go(server(honest(entries)).location, target)
    assert snapshot(target) == {"a": (b"x", 0o644)}
    assert [name for name, _ in mirrored.left_out] == [b"A", b"c\n", b"a/f"]


@pytest.mark.parametrize("links", [False, True])
def test_nothing_is_written_through_a_link_of_the_server(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap, links: bool
) -> None:
    entries = [
        *(make.folder("d"), make.link("l", b"d"), make.link("out", b"../outside")),
        *(make.file("l/f", b"1"), make.file("out/canary", b"2")),
    ]
    mirrored = go(server(honest(entries)).location, target, links=links)
    assert set(snapshot(target)) == ({"d", "l"} if links else {"d"})
    assert {b"l/f", b"out/canary"} <= {name for name, _ in mirrored.left_out}


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("where", ["d", "d/e"])
def test_nothing_is_written_through_a_link_that_is_here(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    snapshot: Snap,
    where: str,
    delete: bool,
) -> None:
    (target / where).parent.mkdir(parents=True)
    (target / where).symlink_to(target.parent.parent / "outside")
    entries = [
        *(make.folder("d"), make.file("d/canary", b"1"), make.folder("d/e")),
        *(make.file("d/e/canary", b"2"),),
    ]
    mirrored = go(server(honest(entries)).location, target, delete=delete)
    if delete:
        assert snapshot(target)["d/e/canary"] == (b"2", 0o644)
        assert mirrored.deleted == 1
    else:
        assert (target / where).is_symlink()
        assert mirrored.left_out[0][0] == os.fsencode(where)


def test_link_put_in_place_of_a_folder_while_it_is_filled(
    server: Serve, honest: type[Honest], make: Make, target: Path
) -> None:
    (target / "d").mkdir(parents=True)

    class Planting(honest):  # type: ignore[misc, valid-type]
        def __call__(self, request: Any) -> Iterable[bytes]:
            if isinstance(request, Pick):
                (target / "d").rename(target / "moved")
                (target / "d").symlink_to(target.parent.parent / "outside")
            return super().__call__(request)  # type: ignore[no-any-return]

    entries = [make.folder("d"), make.file("d/canary", b"1"), make.folder("e"), make.file("e/f")]
    entries = [entries[0], entries[2], entries[1], entries[3]]
    mirrored = go(server(Planting(entries)).location, target)
    assert mirrored.left_out[0][0] == b"d/canary"
    assert (target / "e/f").exists()


def test_file_where_a_link_is_here_replaces_the_link(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    target.mkdir()
    (target / "f").symlink_to(target.parent.parent / "outside" / "canary")
    go(server(honest([make.file("f", b"new")])).location, target)
    assert snapshot(target) == {"f": (b"new", 0o644)}


@pytest.mark.parametrize("delete", [False, True])
def test_folder_and_file_in_each_others_way(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    snapshot: Snap,
    delete: bool,
) -> None:
    (target / "f/g").mkdir(parents=True)
    (target / "f/g/link").symlink_to(target.parent.parent / "outside")
    (target / "d").write_bytes(b"file")
    before = snapshot(target)
    entries = [make.folder("d"), make.file("f", b"f"), make.file("d/x", b"x")]
    mirrored = go(server(honest(entries)).location, target, delete=delete)
    if delete:
        assert snapshot(target) == {
            "d": ("folder", 0o755),
            "d/x": (b"x", 0o644),
            "f": (b"f", 0o644),
        }
        assert (target / "d").stat().st_mtime_ns == MTIME
        assert mirrored.complete
    else:
        assert snapshot(target) == before
        assert [name for name, _ in mirrored.left_out] == [b"d", b"f"]
        assert all("--delete replaces it" in why for _, why in mirrored.left_out)


# Answers that make no sense.


def in_a_tree(make: Make, number: int) -> list[bytes]:
    return make.packs(number, [make.file("ok", b"ok")])


NONSENSE: dict[str, Callable[[Any, Any], list[bytes]]] = {
    "wrong id": lambda make, one: in_a_tree(make, one.id + 1),
    "wrong id later": lambda make, one: in_a_tree(make, one.id) + in_a_tree(make, one.id + 1),
    "end with wrong id": lambda make, one: [make.end(one.id + 1)],
    "a file": lambda make, one: [
        native.encode(FileInfo(one.id, 1, MTIME, 0o644, 20, b"t" * 16)),
        make.end(one.id),
    ],
    "unknown type": lambda make, one: [HEADER.pack(0x7F, 0, one.id, 0)],
    "a request": lambda make, one: [native.encode(Tree(one.id, b""))],
    "flags": lambda make, one: [HEADER.pack(PACK, 1, one.id, 100) + bytes(100)],
    "too long": lambda make, one: [HEADER.pack(PACK, 0, one.id, native.PACK_MOST + 1)],
    "too short": lambda make, one: [HEADER.pack(PACK, 0, one.id, 3) + bytes(3)],
    "end of file": lambda make, one: [b"hang up"],
    "early end": lambda make, one: [in_a_tree(make, one.id)[0][:-1], b"hang up"],
    "reset": lambda make, one: [*in_a_tree(make, one.id), b"reset"],
}


@pytest.mark.parametrize("what", NONSENSE)
@pytest.mark.parametrize("present", [False, True])
def test_nonsense_ends_the_run(
    server: Serve, make: Make, target: Path, snapshot: Snap, what: str, present: bool
) -> None:
    if present:
        target.mkdir()
        (target / "mine").write_bytes(b"mine")
    before = snapshot(target)
    one = server(lambda request: NONSENSE[what](make, request))
    pauses: list[object] = []
    with pytest.raises(ConnectionBroken):
        go(one.location, target, delete=True, sleep=pauses.append)
    found = snapshot(target)
    found.pop("ok", None)
    assert found == before
    assert one.connections >= len(pauses) + 1
    assert len(pauses) <= 8


def packed(head: bytes, rest: bytes = b"") -> bytes:
    import hashlib

    return head + rest + hashlib.sha256(head + rest).digest()


@pytest.mark.parametrize(
    "body",
    [
        packed(struct.pack("!II", 0xFFFFFFFF, 0)),
        packed(struct.pack("!II", 65_535, 0xFFFFFFFF)),
        packed(struct.pack("!II", 1, 0)),
        packed(struct.pack("!II", 0, 5), b"a\0b\0c"),
        packed(struct.pack("!II", 1, 2), struct.pack("!BxHIQq", 6, 0, 0, 0, 0) + b"a\0"),
        packed(struct.pack("!II", 1, 2), struct.pack("!BxHIQq", 1, 0, 9, 9, 0) + b"a\0"),
        packed(struct.pack("!II", 1, 2), struct.pack("!BxHIQq", 1, 0, 0, 9, 0) + b"a\0"),
        packed(struct.pack("!II", 1, 2), struct.pack("!BxHIQq", 2, 0, 0, 1 << 63, 0) + b"a\0"),
    ],
)
def test_pack_that_makes_no_sense(
    server: Serve, make: Make, target: Path, snapshot: Snap, body: bytes
) -> None:
    location = server(lambda request: [native.encode(Pack(request.id, body))]).location
    with pytest.raises(ConnectionBroken, match="makes no sense"):
        go(location, target)
    assert snapshot(target) == {}


def test_content_that_was_not_asked_for(
    server: Serve, make: Make, target: Path, snapshot: Snap
) -> None:
    target.mkdir()
    (target / "f").write_bytes(b"mine")
    location = server(
        lambda request: [*make.packs(request.id, [make.file("f", b"bad")]), make.end(request.id)]
    ).location
    with pytest.raises(ConnectionBroken, match="not asked for"):
        go(location, target)
    assert (target / "f").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "picked",
    [
        [("b", 1), ("a", 1)],
        [("a", 1)],
        [],
        [("../outside/canary", 1), ("b", 1)],
        [("a", FOLDER), ("b", 1)],
        [("a", LINK), ("b", 1)],
    ],
)
def test_other_files_than_were_picked(
    server: Serve, make: Make, target: Path, snapshot: Snap, picked: list[tuple[str, int]]
) -> None:
    target.mkdir()
    (target / "mine").write_bytes(b"mine")

    def answer(request: Any) -> list[bytes]:
        if isinstance(request, Tree):
            entries = [make.listed("a", 3), make.listed("b", 3)]
        else:
            entries = [make.file(name, b"abc")._replace(kind=kind) for name, kind in picked]
        return [*make.packs(request.id, entries), make.end(request.id)]

    with pytest.raises(ConnectionBroken, match="makes no sense"):
        go(server(answer).location, target)
    assert set(snapshot(target)) <= {"a", "b", "mine"}


def test_silence(server: Serve, make: Make, target: Path) -> None:
    one = server(lambda request: [])
    with pytest.raises(ConnectionBroken, match="silent"):
        go(one.location, target, timeout=0.05)


def test_other_dialect(server: Serve, target: Path, serve: Any) -> None:
    port = serve(lambda sock: sock.sendall(b"220 smtp.example.org ready\r\n"))
    with pytest.raises(OtherDialect):
        go(Location("127.0.0.1", port, b""), target)
    assert not target.exists()


def test_error_for_the_whole_connection(server: Serve, make: Make, target: Path) -> None:
    location = server(lambda request: [make.error(0, native.TOO_SLOW, "you\x1b[2J")]).location
    with pytest.raises(ServerFailed) as raised:
        go(location, target)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("times", [1, 3, 4])
def test_damaged_pack_is_asked_for_again(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    snapshot: Snap,
    times: int,
) -> None:
    honestly = honest([make.file("a", b"a"), make.file("b", b"b")], each=1)
    damaged = 0

    def answer(request: Any) -> list[bytes]:
        nonlocal damaged
        parts = list(honestly(request))
        if damaged < times:
            damaged += 1
            bad = bytearray(parts[-2])
            bad[-40] ^= 1
            parts[-2] = bytes(bad)
        return parts

    notes: list[str] = []
    location = server(answer).location
    if times == 4:
        with pytest.raises(Damaged):
            go(location, target)
        assert set(snapshot(target)) <= {"a"}
    else:
        mirrored = go(location, target, note=notes.append)
        assert snapshot(target) == {"a": (b"a", 0o644), "b": (b"b", 0o644)}
        assert (mirrored.files, mirrored.unchanged) == (2, 0)
        assert len(notes) == times


names = st.one_of(
    st.sampled_from([b"a", b"b", b"d", b"d/x", b"d/y", b"d/e", b"d/e/z", b"l", b"l/x", *BAD_NAMES]),
    st.binary(max_size=12),
)
entries = st.builds(
    lambda kind, name, content: Entry(
        *(kind, name, 0o644, len(content) if kind == FILE else 3, MTIME),
        b"" if kind == LISTED else content,
    ),
    st.sampled_from([FILE, LISTED, FOLDER, LINK, LEFT_OUT]),
    names.filter(lambda name: b"\0" not in name),
    st.sampled_from([b"", b"x", b"..", b"../outside", b"/etc", b"d", b"canary"]),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(entries, max_size=12), st.booleans(), st.booleans())
def test_whatever_is_listed_stays_below_the_target(
    server: Serve,
    honest: type[Honest],
    target: Path,
    listed: list[Entry],
    links: bool,
    delete: bool,
) -> None:
    # The target is the same for all examples: each finds what the others left.
    with suppress(ClientError):
        go(server(honest(listed)).location, target, links=links, delete=delete)
    for path in target.rglob("*"):
        if path.is_symlink():
            where = os.path.realpath(path)
            assert where.startswith(str(target)), os.readlink(path)
        assert not path.name.endswith((".tcpdl-part", ".tcpdl-record"))
