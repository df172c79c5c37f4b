"""Tests `tcpdl get` and `tcpdl mirror` with servers of the native dialect that lie in all ways that
are known: the tables are here, and in `tests.client.download.test_hostile`.

In each case what is right arrives, or the exit status says that something did not; what was there
before stays, and nothing is written beside the target.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl.cli import main
from tcpdl.client import crew, mirroring, patience
from tcpdl.wire import native
from tcpdl.wire.native import Chunk, Digest, DigestList, End, FileInfo, Pack, Tree
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry
from tests.client.download.conftest import CHUNK, some
from tests.client.download.test_hostile import LIES, Lie, changed, message
from tests.client.mirror.conftest import HANG_UP, MTIME, RESET, Answer, Honest, Make, Server
from tests.client.native_server import Asked, Ending, NativeServer, Payload, Pieces

DATA = some(20 * CHUNK + 1234)
OTHER = some(20 * CHUNK + 1234, 1)
OLDER = b"an older version"


def with_info(**fields: Any) -> Lie:
    """The right bytes, said to be of another file; sealed as if that were true."""
    return changed(FileInfo, lambda asked, info: iter([asked.seal(info._replace(**fields))]))


def from_elsewhere(asked: Asked, pieces: Pieces) -> Pieces:
    """Bytes of another offset, with digests that are right for where they are said to be."""
    for piece in pieces:
        if isinstance(piece, Payload):
            at = (piece.offset + CHUNK) % (len(DATA) - len(piece.data) + 1)
            yield Payload(DATA[at : at + len(piece.data)], piece.offset)
        else:
            yield piece


def other_bytes(asked: Asked, pieces: Pieces) -> Pieces:
    for piece in pieces:
        if isinstance(piece, Payload):
            end = piece.offset + len(piece.data)
            yield Payload(OTHER[piece.offset : end], piece.offset)
        else:
            yield piece


def without(kind: type) -> Lie:
    return lambda asked, pieces: (piece for piece in pieces if not isinstance(piece, kind))


def twice(kind: type) -> Lie:
    def lie(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield piece
            if isinstance(piece, kind):
                yield piece

    return lie


def then(kind: type, ending: Ending) -> Lie:
    def lie(asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield piece
            if isinstance(piece, kind):
                yield ending

    return lie


def changing_tag(asked: Asked, pieces: Pieces) -> Pieces:
    tag = asked.number.to_bytes(16, "big")[:15] + b"x"
    yield from with_info(tag=tag)(asked, pieces)


def noise_without_end(asked: Asked, pieces: Pieces) -> Pieces:
    yield from itertools.repeat(message(0xF0, bytes(65536), 7))


def wrong_lists(asked: Asked, pieces: Pieces) -> Pieces:
    for piece in pieces:
        if isinstance(piece, DigestList):
            zeros = (bytes(32),) * len(piece.digests)
            yield asked.seal(piece._replace(digests=zeros))
        else:
            yield piece


MORE_LIES: dict[str, Lie] = {
    "larger": with_info(size=len(DATA) + CHUNK),
    "smaller": with_info(size=len(DATA) - CHUNK),
    "larger than any disk": with_info(size=1 << 60, chunk_shift=24),
    "other chunks": with_info(chunk_shift=17),
    "another tag each time": changing_tag,
    "no seal": changed(FileInfo, lambda asked, info: iter([info._replace(seal=bytes(32))])),
    "seal of another size": changed(
        FileInfo, lambda asked, info: iter([info._replace(size=info.size + 1)])
    ),
    "other bytes": other_bytes,
    "bytes of another offset": from_elsewhere,
    "other digests": changed(
        Digest, lambda asked, digest: iter([digest._replace(digest=bytes(32))])
    ),
    "no digests": without(Digest),
    "digests of which each comes twice": twice(Digest),
    "no information": without(FileInfo),
    "no bytes": without(Payload),
    "no end": then(End, Ending.FIN),
    "two ends": twice(End),
    "runs that are announced twice": twice(Chunk),
    "noise without end": noise_without_end,
    "end after the information": then(FileInfo, Ending.FIN),
    "reset after the information": then(FileInfo, Ending.RESET),
    "silence after the information": then(FileInfo, Ending.STALL),
    "end within a run": then(Chunk, Ending.FIN),
    "reset within a run": then(Chunk, Ending.RESET),
    "silence within a run": then(Chunk, Ending.STALL),
    "empty lists of digests": without(DigestList),
    "wrong lists of digests": wrong_lists,
}


ALL_LIES: dict[str, Lie] = {**LIES, **MORE_LIES}


class Scene:
    """A folder to write to, and what is beside it."""

    def __init__(self, top: Path) -> None:
        self._top = top
        (top / "outside").mkdir()
        (top / "outside" / "canary").write_bytes(b"sings")
        (top / "outside" / "canary").chmod(0o640)
        self.folder = top / "here"
        self.folder.mkdir()

    def check_canary(self) -> None:
        assert {path.name for path in self._top.iterdir()} == {"outside", "here"}
        assert [path.name for path in (self._top / "outside").iterdir()] == ["canary"]
        canary = self._top / "outside" / "canary"
        assert canary.read_bytes() == b"sings"
        assert canary.lstat().st_mode & 0o7777 == 0o640


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", tuple(pause / 10_000 for pause in patience.PAUSES))
    monkeypatch.setattr(mirroring, "PAUSES", tuple(pause / 10_000 for pause in mirroring.PAUSES))
    monkeypatch.setattr(crew, "TICK", 0.01)


class Command:
    """Runs a command; looks at what it says, and at what is beside the target."""

    def __init__(self, capfd: pytest.CaptureFixture[str], scene: Scene) -> None:
        self._capfd = capfd
        self._scene = scene

    def __call__(self, *arguments: str) -> int:
        self._capfd.readouterr()
        status = main(list(arguments))
        out, err = self._capfd.readouterr()
        assert out == ""
        assert all(line.isprintable() for line in err.splitlines())
        assert bool(err) or not status
        self._scene.check_canary()
        return status


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], scene: Scene) -> Command:
    return Command(capfd, scene)


@pytest.fixture
def server(no_descriptor_leaks: None) -> Iterator[NativeServer]:
    started = NativeServer()
    yield started
    started.close()
    assert started.failure is None


@pytest.mark.parametrize("before", ["nothing", "an older file", "a part"])
@pytest.mark.parametrize("name", ALL_LIES)
def test_get(name: str, before: str, server: NativeServer, scene: Scene, run: Command) -> None:
    path = scene.folder / "f"
    url = f"127.0.0.1:{server.put(b'f', DATA).port}/f"
    get = ["get", url, "-d", str(scene.folder)]
    if before == "an older file":
        path.write_bytes(OLDER)
    elif before == "a part":
        server.cuts = [(5 * CHUNK, Ending.FIN), *[(0, Ending.FIN)] * 20]
        assert run(*get) == 4
        server.cuts = []
    server.hook = ALL_LIES[name]
    status = run(*get, "--timeout=0.1")
    if status:
        assert status in (4, 6, 8)
        assert path.exists() is (before == "an older file")
        assert not path.exists() or path.read_bytes() == OLDER
        server.hook = None
        assert run(*get) == 0
    assert path.read_bytes() == DATA
    assert {path.name for path in scene.folder.iterdir()} == {"f"}


def test_get_of_what_is_said_to_be_empty(server: NativeServer, scene: Scene, run: Command) -> None:
    """And then something comes."""
    url = f"127.0.0.1:{server.put(b'f', DATA).port}/f"
    server.hook = with_info(size=0)
    assert run("get", url, "-d", str(scene.folder)) == 4
    assert list(scene.folder.iterdir()) == []


# Trees.

NAMES: dict[str, bytes] = {
    "up": b"../outside/canary",
    "up and down": b"d/../../outside/canary",
    "up, after a folder that is there": b"good/../../outside/canary",
    "up only": b"..",
    "here": b".",
    "nothing": b"",
    "absolute": b"/tmp/canary",
    "absolute folder": b"/",
    "twice absolute": b"//etc/passwd",
    "empty segment": b"d//f",
    "folder": b"d/",
    "of the part": b"good.tcpdl-part",
    "of the record": b"good.tcpdl-record",
    "of a temporary": b".tcpdl-01234567.tcpdl-part",
    "in another case": b"GOOD",
    "again": b"good",
    "in a file": b"good/f",
    "in a folder that was not announced": b"absent/f",
    "line end": b"a\nb",
    "escape": b"\x1b[2J\x1b]0;x\x07",
    "backspaces": b"evil\x08\x08\x08\x08good",
    "the other way round": "\u202etxt.exe".encode(),
    "no UTF-8": b"\xff\xfe",
    "half of a surrogate": b"\xed\xa0\x80",
    "too long": b"x" * 256,
    "much too long": b"x/" * 511 + b"x",
    "separator": "a\u2028b".encode(),
}
"""What no file of ours is called."""

ODD_NAMES = [
    *(
        b"file:",
        b"~",
        b"~root",
        b"-rf",
        b"--delete",
        b"-",
        b"a:b",
        b"C:",
        b"C:\\x",
        b"a\\b",
        b"CON",
    ),
    *(
        b"nul.txt",
        b" ",
        b" a",
        b"a ",
        b"...",
        b"....",
        b"*",
        b"?",
        b"$HOME",
        b"$(id)",
        b"`id`",
        b"%n",
    ),
    *(b"%2e%2e%2fcanary", b"..%2fcanary", b"&", b"|", b";", b"a'b", b'a"b', b"<b>", b"{}", b"[x]"),
    *(b"http:", b"x.tcpdl-partx", b"tcpdl-part", b"aux", "\u00e9".encode(), b"a" * 255),
    *("\u30cb\u30d2\u30eb".encode(), "\U0001f4a9".encode(), b".hidden", b".netrc", b"...tcpdl"),
]
"""What some programs take for something else; here, all are names."""


@pytest.fixture
def serve(no_descriptor_leaks: None) -> Iterator[Callable[[Answer], str]]:
    """Starts a server that gives these answers; its URL."""
    started: list[Server] = []

    def start(answer: Answer) -> str:
        one = Server(answer)
        started.append(one)
        return f"127.0.0.1:{one.location.port}/"

    yield start
    for one in started:
        one.close()
        assert one.failure is None


Serve = Callable[[Answer], str]
MAKE = Make()


@pytest.mark.parametrize("options", [(), ("--links", "--delete")])
@pytest.mark.parametrize("kind", [FILE, LISTED, FOLDER, LINK, LEFT_OUT])
@pytest.mark.parametrize("name", NAMES)
def test_mirror_of_names(
    name: str, kind: int, options: tuple[str, ...], serve: Serve, scene: Scene, run: Command
) -> None:
    """Each is left out, alone, and that is said."""
    bad = Entry(kind, NAMES[name], 0o777, 3, MTIME, b"" if kind == LISTED else b"bad")
    entries = [MAKE.file("good", b"good"), bad, MAKE.file("later", b"fine")]
    for _ in range(2):
        assert run("mirror", serve(Honest(entries)), str(scene.folder), *options) == 7
        there = {path.name for path in scene.folder.rglob("*")}
        # After a name out of place, what follows may be out of place as well.
        assert there in ({"good", "later"}, {"good"})
        assert (scene.folder / "good").read_bytes() == b"good"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_mirror_of_odd_names(name: bytes, serve: Serve, scene: Scene, run: Command) -> None:
    entries = [
        *(MAKE.file(b"f", b"1"), MAKE.folder(name)),
        *(MAKE.file(name + b"/" + name, b"2"), MAKE.folder(name + b"/d")),
    ]
    honest = Honest(entries)
    url = serve(honest)
    for expected in (0, 0):
        assert run("mirror", url, str(scene.folder), "--delete") == expected
        assert (scene.folder / os.fsdecode(name) / os.fsdecode(name)).read_bytes() == b"2"
        assert len(list(scene.folder.rglob("*"))) == 4
    honest.entries = [MAKE.file(b"f", b"1")]
    assert run("mirror", url, str(scene.folder), "--delete") == 0
    assert [path.name for path in scene.folder.rglob("*")] == ["f"]


def test_mirror_of_200_levels(serve: Serve, scene: Scene, run: Command) -> None:
    names = [b"/".join([b"d"] * depth) for depth in range(1, 201)]
    entries = [*map(MAKE.folder, names), MAKE.file(names[-1] + b"/f", b"deep")]
    url = serve(Honest(entries))
    for _ in range(2):
        assert run("mirror", url, str(scene.folder)) == 0
    assert scene.folder.joinpath(*["d"] * 200, "f").read_bytes() == b"deep"
    assert run("mirror", serve(Honest([])), str(scene.folder), "--delete") == 0
    assert list(scene.folder.iterdir()) == []


def test_mirror_of_a_file_that_becomes_a_folder_and_back(
    serve: Serve, scene: Scene, run: Command
) -> None:
    file = [MAKE.file("x", b"file")]
    folder = [MAKE.folder("x"), MAKE.file("x/x", b"inside")]
    for entries in (file, folder, file):
        here = {path.name for path in scene.folder.rglob("*")}
        url = serve(Honest(entries))
        if here:
            assert run("mirror", url, str(scene.folder)) == 7
            assert {path.name for path in scene.folder.rglob("*")} == here
        assert run("mirror", url, str(scene.folder), "--delete") == 0
    assert (scene.folder / "x").read_bytes() == b"file"


@pytest.mark.parametrize("options", [(), ("--delete",), ("--checksum",), ("--links", "--delete")])
@pytest.mark.parametrize("where", ["d", "d/e", "d/f", "f"])
def test_link_that_was_planted_between_two_runs(
    where: str, options: tuple[str, ...], serve: Serve, scene: Scene, run: Command
) -> None:
    entries = [
        *(MAKE.folder("d"), MAKE.file("f", b"1")),
        *(MAKE.folder("d/e"), MAKE.file("d/f", b"2"), MAKE.file("d/e/canary", b"3")),
    ]
    assert run("mirror", serve(Honest(entries)), str(scene.folder)) == 0
    planted = scene.folder / where
    outside = scene.folder.parent / "outside"
    planted.rename(scene.folder.parent / "moved")
    planted.symlink_to(outside if (scene.folder.parent / "moved").is_dir() else outside / "canary")
    if (scene.folder.parent / "moved").is_dir():
        for path in sorted((scene.folder.parent / "moved").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (scene.folder.parent / "moved").rmdir()
    else:
        (scene.folder.parent / "moved").unlink()
    status = run("mirror", serve(Honest(entries)), str(scene.folder), *options)
    if status:
        assert planted.is_symlink()  # it is in the way of a folder, and was said to be
    else:
        assert not any(path.is_symlink() for path in scene.folder.rglob("*"))
        assert (scene.folder / "d/e/canary").read_bytes() == b"3"


# What lies about all of a tree.

GOOD = [MAKE.folder("d"), MAKE.file("a", b"alpha"), MAKE.file("d/b", b"beta")]


def instead(make: Callable[[int], Iterable[bytes]]) -> Answer:
    return lambda request: make(request.id)


def packs_without_end(request: Any) -> Iterable[bytes]:
    for number in itertools.count():
        entries = [MAKE.file(f"{number}-{one}", b"x") for one in range(100)]
        yield MAKE.packs(request.id, entries)[0]


def empty_packs_without_end(request: Any) -> Iterable[bytes]:
    body = struct.pack("!II", 0, 0)
    whole = body + hashlib.sha256(body).digest()
    return itertools.repeat(native.encode(Pack(request.id, whole)))


def folders_without_end(request: Any) -> Iterable[bytes]:
    name = b""
    while True:
        name = name + b"/d" if name else b"d"
        yield MAKE.packs(request.id, [MAKE.folder(name[-1000:].lstrip(b"/"))])[0]


def large_files_without_end(request: Any) -> Iterable[bytes]:
    for number in itertools.count():
        entries = [MAKE.listed(f"{number}-{one}", 1 << 40) for one in range(100)]
        yield MAKE.packs(request.id, entries)[0]


def noise(request: Any) -> Iterable[bytes]:
    yield from itertools.repeat(message(0xF0, bytes(65536)))


def broken(at: int, how: bytes) -> Answer:
    honest = Honest(GOOD, each=1)

    def answer(request: Any) -> Iterable[bytes]:
        parts = list(honest(request))
        return [*parts[:at], how]

    return answer


def damaged(at: int) -> Answer:
    honest = Honest(GOOD, each=1)

    def answer(request: Any) -> Iterable[bytes]:
        parts = [bytearray(part) for part in honest(request)]
        parts[0][at] ^= 1
        return map(bytes, parts)

    return answer


def without_a_pack(request: Any) -> Iterable[bytes]:
    """The number of packs in the end is that of all."""
    parts = list(Honest(GOOD, each=1)(request))
    return [*parts[:1], native.encode(End(request.id, packs=3))]


LYING_TREES: dict[str, Answer] = {
    "packs without end": packs_without_end,
    "empty packs without end": empty_packs_without_end,
    "folders without end": folders_without_end,
    "large files without end": large_files_without_end,
    "noise without end": noise,
    "an end at once": instead(lambda number: [MAKE.end(number)]),
    "nothing": instead(lambda number: []),
    "hang up at once": instead(lambda number: [HANG_UP]),
    "reset at once": instead(lambda number: [RESET]),
    "hang up after a pack": broken(1, HANG_UP),
    "reset after a pack": broken(1, RESET),
    "no end": broken(3, HANG_UP),
    "a pack less": without_a_pack,
    "answer to another request": instead(lambda number: MAKE.packs(number + 1, GOOD)),
    "file in place of a tree": instead(
        lambda number: [native.encode(FileInfo(number, 5, MTIME, 0o644, 20, b"t" * 16))]
    ),
    "pack too long": instead(lambda number: [native.HEADER.pack(0x45, 0, number, 1 << 23)]),
    "pack of nothing": instead(lambda number: [native.HEADER.pack(0x45, 0, number, 0)]),
    "unknown message": instead(lambda number: [message(0x60, b"x", number)]),
    "fatal error": instead(lambda number: [MAKE.error(0, 64, "\x1b[2J")]),
    "error": instead(lambda number: [MAKE.error(number, 5, "\u202e\x07")]),
    "busy": instead(lambda number: [MAKE.error(0, native.BUSY, "later")]),
    **{f"damaged byte {at}": damaged(at) for at in (0, 3, 7, 8, 15, 20, 30, 45, 60)},
}


@pytest.mark.parametrize("options", [(), ("--delete",)])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", LYING_TREES)
def test_mirror_of_what_lies(
    name: str,
    full: bool,
    options: tuple[str, ...],
    serve: Serve,
    scene: Scene,
    run: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it says, what is here stays: but for an empty tree, which may be one."""
    monkeypatch.setattr(mirroring, "NAMES_MOST", 1000)
    if full:
        (scene.folder / "mine").write_bytes(b"mine")
    answer = LYING_TREES[name]
    mirror = [str(scene.folder), "--timeout=0.2", *options]
    status = run("mirror", serve(answer), *mirror)
    if name == "an end at once":
        assert status == 0
        assert (scene.folder / "mine").exists() is (full and not options)
        return
    assert status in (4, 7, 8)
    for path in scene.folder.rglob("*"):
        if path.name in ("a", "b", "mine"):
            assert path.read_bytes() in (b"alpha", b"beta", b"mine")
    assert (scene.folder / "mine").exists() is full
    assert not any(path.name.startswith(".tcpdl-") for path in scene.folder.rglob("*"))


def test_mirror_of_a_server_that_answers_something_else(
    serve: Serve, scene: Scene, run: Command
) -> None:
    """A file is asked for by itself, and another tree is sent."""

    def answer(request: Any) -> Iterable[bytes]:
        if isinstance(request, Tree):
            return [*MAKE.packs(request.id, [MAKE.listed("big", 2 << 20)]), MAKE.end(request.id)]
        return [
            *MAKE.packs(request.id, [MAKE.file("../outside/canary", b"x")]),
            MAKE.end(request.id),
        ]

    assert run("mirror", serve(answer), str(scene.folder), "--timeout=1") in (4, 7)
    assert not (scene.folder / "big").exists()
