"""Tests what is answered to TREE and PICK: packs, shares of them, and what is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tcpdl import digest
from tcpdl.content.digests import Digests
from tcpdl.server import packing
from tcpdl.server.pools import Pool
from tcpdl.wire import native, pack
from tcpdl.wire.native import (
    ABSENT,
    CONTENT,
    NOT_A_FOLDER,
    RECURSIVE,
    REFUSED,
    ROOTS,
    SHA256,
    UNAVAILABLE,
    End,
    Error,
    Pack,
    Pick,
    Request,
    Tree,
)
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LISTED, Entry
from tests.server.conftest import Connect
from tests.server.native_client import Client, NativeServer

BIG = b"b" * (pack.PACKED_FILE_MOST + 1)


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[NativeServer]:
    root = tmp_path / "root"
    (root / "folder" / "below").mkdir(parents=True)
    (root / "a").write_bytes(b"content of a")
    (root / "folder" / "b").write_bytes(b"content of b")
    (root / "folder" / "below" / "big").write_bytes(BIG)
    (root / ".hidden").touch()
    server = NativeServer(root, connect)
    yield server
    server.work.release()
    server.directory.close()


@pytest.fixture
def client(server: NativeServer) -> Client:
    return server.connect()


def unpacked(request: Request, parts: list[Any]) -> list[list[Entry]]:
    """The entries of each pack, all of which must be bound to the request, and counted."""
    *packs, end = parts
    assert all(isinstance(one, Pack) and one.id == request.id for one in packs)
    assert end == End(request.id, packs=len(packs))
    seal = partial(digest.digest, SHA256, native.encode(request))
    return [pack.unpack(one.packed, seal) for one in packs]


def asked(client: Client, request: Request) -> list[Entry]:
    return [entry for entries in unpacked(request, client.ask(request)) for entry in entries]


def kinds(entries: list[Entry]) -> list[tuple[int, bytes]]:
    return [(entry.kind, entry.name) for entry in entries]


# Trees.


def test_one_folder(client: Client) -> None:
    entries = asked(client, Tree(1, b""))
    assert kinds(entries) == [(LISTED, b"a"), (FOLDER, b"folder")]
    assert entries[0].size == 12


def test_all_folders(client: Client) -> None:
    entries = asked(client, Tree(1, b"folder", RECURSIVE))
    assert kinds(entries) == [(LISTED, b"b"), (FOLDER, b"below"), (LISTED, b"below/big")]


def test_with_content(client: Client) -> None:
    entries = asked(client, Tree(1, b"", RECURSIVE | CONTENT))
    found = {entry.name: (entry.kind, entry.content) for entry in entries}
    assert found[b"a"] == (FILE, b"content of a")
    assert found[b"folder/below/big"] == (LISTED, b"")


def test_with_root_digests(client: Client) -> None:
    entries = asked(client, Tree(1, b"", RECURSIVE | CONTENT | ROOTS))
    found = {entry.name: entry for entry in entries}
    chunks = [digest.digest(SHA256, part) for part in (BIG[: 1 << 20], BIG[1 << 20 :])]
    big = found[b"folder/below/big"]
    assert big.content == digest.root(SHA256, len(BIG), 20, chunks)
    assert (big.kind, big.size) == (LISTED, len(BIG))
    assert found[b"a"].content == b"content of a"


def test_an_empty_folder(server: NativeServer, client: Client) -> None:
    (server.root / "empty").mkdir()
    request = Tree(1, b"empty")
    assert unpacked(request, client.ask(request)) == []


@pytest.mark.parametrize(
    ("name", "code"), [(b"absent", ABSENT), (b"a", NOT_A_FOLDER), (b"..", REFUSED)]
)
@pytest.mark.parametrize("pick", [False, True])
def test_what_is_no_folder(pick: bool, name: bytes, code: int, client: Client) -> None:
    request: Any = Pick(1, name, (b"a",)) if pick else Tree(1, name)
    (error,) = client.ask(request)
    assert (type(error), error.code) == (Error, code)


def test_a_pack_is_sent_when_it_is_full(server: NativeServer, client: Client) -> None:
    for number in range(5):
        (server.root / "folder" / f"f{number}").write_bytes(os.urandom(200_000))
    request = Tree(1, b"folder", CONTENT)
    packs = unpacked(request, client.ask(request))
    assert [len(entries) for entries in packs] == [5, 2]


def test_a_pack_has_a_thousand_entries_at_most(
    server: NativeServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "PACKED_AT_ONCE", 2)
    request = Tree(1, b"", RECURSIVE)
    packs = unpacked(request, client.ask(request))
    assert [len(entries) for entries in packs] == [2, 2, 1]


@pytest.mark.parametrize("shares", [2, 3, 7])
@pytest.mark.parametrize("flags", [RECURSIVE, RECURSIVE | CONTENT])
def test_shares(flags: int, shares: int, server: NativeServer) -> None:
    for number in range(40):
        (server.root / f"f{number:02}").write_bytes(os.urandom(6000))
    shared = []
    for share in range(shares):
        request = Tree(1, b"", flags, share, shares)
        shared.append(unpacked(request, server.connect().ask(request)))
    turns = [packs[turn] for turn in range(len(shared[0])) for packs in shared if turn < len(packs)]
    whole = asked(server.connect(), Tree(1, b"", flags))
    assert [entry for entries in turns for entry in entries] == whole
    assert len(turns) > 1 or not flags & CONTENT


def test_digests_that_cannot_be_computed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(*_: object) -> bytes:
        raise OSError(5, "the disk fails")

    monkeypatch.setattr(Digests, "chunk", chunk)
    entries = asked(client, Tree(1, b"", RECURSIVE | ROOTS))
    assert kinds(entries)[0] == (LEFT_OUT, b"a")
    assert b"the disk fails" in entries[0].content


def test_what_takes_long_is_done_in_steps(
    server: NativeServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client's work comes in between: it is not behind all of a file, or of a folder."""
    monkeypatch.setattr(packing, "STEP", 1 << 20)
    monkeypatch.setattr(packing, "PACKED_AT_ONCE", 2)
    (server.root / "large").write_bytes(bytes(5 << 20))
    for number in range(20):
        (server.root / "folder" / f"f{number:02}").touch()
    server.work.hold = True
    for request in (Tree(1, b"", ROOTS), Tree(1, b"folder", 0, 254, 255)):
        server.connect().say(request)
        steps = 0
        while server.work.jobs:
            server.work.release(1)
            steps += 1
        assert steps > 5


def test_packs_that_nobody_takes(server: NativeServer) -> None:
    """All that wait to be sent have a bound together."""
    server.packs = Pool(1_000_000)
    for number in range(5):
        (server.root / f"f{number}").write_bytes(os.urandom(200_000))
    request = Tree(1, b"", CONTENT)
    first, other = server.connect(sndbuf=4096), server.connect()
    first.say(request)
    (error,) = other.ask(request)
    assert (error.id, error.code) == (1, UNAVAILABLE)
    for client in (first, other):
        if client is other:
            client.say(request)
        assert len(unpacked(request, client.hear())) == 2
    assert server.packs.taken == 0


def test_no_more_is_packed_than_is_taken(
    server: NativeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "PACK_FULL", 1)
    for number in range(200):
        (server.root / f"f{number:03}").write_bytes(os.urandom(4000))
    client = server.connect(sndbuf=4096)
    client.hear()
    made = []
    honest = pack.pack
    monkeypatch.setattr(pack, "pack", lambda *args: made.append(1) or honest(*args))  # type: ignore[func-returns-value]
    client.say(Tree(1, b"", CONTENT))
    assert 0 < len(made) < 100
    request = Tree(1, b"", CONTENT)
    assert len(unpacked(request, client.hear())) == len(made) == 202


# Picks.


def test_picks_come_in_the_order_they_were_asked_for(server: NativeServer, client: Client) -> None:
    (server.root / "link").symlink_to("a")
    names = (b"link", b"absent", b"folder/below/big", b"a", b"../x", b"folder", b"n" * 2000)
    entries = asked(client, Pick(1, b"", names))
    assert kinds(entries) == [
        (FILE, b"link"),
        (LEFT_OUT, b"absent"),
        (LISTED, b"folder/below/big"),
        (FILE, b"a"),
        (LEFT_OUT, b"../x"),
        (LEFT_OUT, b"folder"),
        (LEFT_OUT, b"n" * 1024),
    ]
    assert entries[0].content == b"content of a"


def test_picks_of_a_folder_below(client: Client) -> None:
    entries = asked(client, Pick(1, b"folder", (b"b", b"a")))
    assert kinds(entries) == [(FILE, b"b"), (LEFT_OUT, b"a")]
