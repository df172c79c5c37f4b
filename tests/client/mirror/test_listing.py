"""Tests `client.listing`: what a folder on a server holds, or what a file is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tcpdl.client.errors import ConnectionBroken, Damaged, NothingThere, ServerFailed
from tcpdl.client.listing import Listed, iterdir, listdir
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire import native
from tcpdl.wire.native import FileInfo, GetDigests, Tree

if TYPE_CHECKING:
    from tests.client.mirror.conftest import Honest, Make, Serve

MTIME = 1_600_000_000_123_456_789


def test_folder(server: Serve, honest: type[Honest], make: Make) -> None:
    answers = honest(
        [
            make.file("a", b"abc", 0o640),
            make.folder("d", 0o711),
            make.link("l", b"a\xff"),
            make.left_out("x", "it is\x1b a device"),
        ],
        each=1,
    )
    location = server(answers).location
    assert listdir(location, Ways(timeout=10)) == [
        Listed("file", b"a", 3, MTIME, 0o640),
        Listed("folder", b"d", 0, MTIME, 0o711),
        Listed("link", b"l", target=b"a\xff"),
        Listed("left out", b"x", why="it is\\x1b a device"),
    ]
    listdir(Location(location.host, location.port, b"d"), Ways(timeout=10), recursive=True)
    assert answers.requests == [Tree(1, b""), Tree(1, b"d", native.RECURSIVE)]


def test_empty_folder(server: Serve, honest: type[Honest]) -> None:
    assert listdir(server(honest([])).location, Ways(timeout=10)) == []


def test_file(server: Serve, make: Make) -> None:
    def answer(request: Any) -> list[bytes]:
        if isinstance(request, Tree):
            return [make.error(request.id, native.NOT_A_FOLDER)]
        assert request == GetDigests(2, b"d/f.txt", 0, 0)
        info = FileInfo(request.id, 12, MTIME, 0o600, 20, b"t" * 16)
        return [native.encode(info), make.end(request.id)]

    location = Location("127.0.0.1", server(answer).location.port, b"d/f.txt")
    assert listdir(location, Ways(timeout=10)) == [Listed("file", b"f.txt", 12, MTIME, 0o600)]


def test_names_come_as_they_do(server: Serve, honest: type[Honest], make: Make) -> None:
    answers = honest([make.file("a"), make.file("b")], each=1)
    names = []
    location = server(lambda request: [*list(answers(request))[:2], b"hang up"]).location
    with pytest.raises(ConnectionBroken):  # noqa: PT012
        for one in iterdir(location, Ways(timeout=10)):
            names.append(one.name)
    assert names == [b"a", b"b"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (native.ABSENT, NothingThere),
        (native.REFUSED, NothingThere),
        (native.UNAVAILABLE, ServerFailed),
        (native.TOO_SLOW, ServerFailed),
    ],
)
@pytest.mark.parametrize("first", [native.NOT_A_FOLDER, None])
def test_error(
    server: Serve, make: Make, code: int, error: type[Exception], first: int | None
) -> None:
    def answer(request: Any) -> list[bytes]:
        if isinstance(request, Tree) and first is not None:
            return [make.error(request.id, first)]
        return [make.error(request.id, code, "so\nit is")]

    with pytest.raises(error) as raised:
        listdir(server(answer).location, Ways(timeout=10))
    assert str(raised.value).isprintable()


def nonsense(make: Make, request: Any) -> dict[str, list[bytes]]:
    info = native.encode(FileInfo(request.id, 12, MTIME, 0o600, 20, b"t" * 16))
    return {
        "file": [info, make.end(request.id)],
        "other id": [make.end(request.id + 1)],
        "other id later": [*make.packs(request.id, [make.file("a")]), make.end(request.id + 1)],
    }


@pytest.mark.parametrize("what", ["file", "other id", "other id later"])
def test_nonsense(server: Serve, make: Make, what: str) -> None:
    with pytest.raises(ConnectionBroken, match="makes no sense"):
        listdir(server(lambda request: nonsense(make, request)[what]).location, Ways(timeout=10))


def test_no_file_either(server: Serve, make: Make) -> None:
    def answer(request: Any) -> list[bytes]:
        if isinstance(request, Tree):
            return [make.error(request.id, native.NOT_A_FOLDER)]
        return [make.end(request.id)]

    with pytest.raises(ConnectionBroken, match="makes no sense"):
        listdir(server(answer).location, Ways(timeout=10))


def test_damage(server: Serve, honest: type[Honest], make: Make) -> None:
    honestly = honest([make.file("a")])

    def answer(request: Any) -> list[bytes]:
        pack, end = honestly(request)
        return [pack[:-1] + bytes([pack[-1] ^ 1]), end]

    with pytest.raises(Damaged):
        listdir(server(answer).location, Ways(timeout=10))
