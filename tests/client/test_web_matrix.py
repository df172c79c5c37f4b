"""Tests `tcpdl get` with web servers that misbehave in all ways that are known: the table is here.

In each case the right file arrives, or the exit status says that none did; what was there before
stays, nothing is written beside the target, and an honest server then completes what was begun.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tcpdl.cli import main
from tcpdl.client import crew, patience
from tests.client.http.test_http_download import some
from tests.client.http.web_server import Asked, Ending, Piece, WebServer, chunked, reply

MIB = 1 << 20
DATA = some(2 * MIB + 77)
OTHER = some(3 * MIB, 1)
SIZE = len(DATA)
TAG = ("ETag", '"1"')
OLDER = b"an older version"

Misbehaviour = Callable[[Asked, bytes], Iterable[Piece]]
"""From a request and the honest answer to what is sent."""


def head_of(answer: bytes) -> bytes:
    return answer[: answer.index(b"\r\n\r\n") + 4]


def always(*pieces: Piece) -> Misbehaviour:
    return lambda asked, honest: pieces


def forever(*before: bytes, again: bytes) -> Misbehaviour:
    return lambda asked, honest: itertools.chain(before, itertools.repeat(again))


def to_a_part(
    status: str = "206 Partial Content",
    *,
    shift: int = 0,
    more: int = 0,
    total: object = SIZE,
    fields: tuple[tuple[str, object], ...] = (TAG,),
    body: bytes | None = None,
) -> Misbehaviour:
    """What says that it is another part than was asked for; or is one, in another way."""

    def answer(asked: Asked, honest: bytes) -> Iterable[Piece]:
        if asked.range is None:
            return [honest]
        start, end = asked.range[0] + shift, min(asked.range[1], SIZE) + shift + more
        told = ("Content-Range", f"bytes {start}-{end - 1}/{total}")
        return [reply(status, told, *fields, body=OTHER[start:end] if body is None else body)]

    return answer


def slowly(data: bytes) -> Iterator[bytes]:
    """A byte now and then."""
    for at in range(len(data)):
        threading.Event().wait(0.02)
        yield data[at : at + 1]


def with_length(length: str) -> Misbehaviour:
    return always(b"HTTP/1.1 200 OK\r\nContent-Length: " + length.encode() + b"\r\n\r\n" + DATA)


def with_chunk(line: bytes) -> Misbehaviour:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return always(head + line + b"\r\n" + DATA[:16] + b"\r\n0\r\n\r\n")


def redirect(to: str) -> Misbehaviour:
    return always(reply("302 Found", ("Location", to)))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

MISBEHAVIOURS: dict[str, Misbehaviour] = {
    # Ranges.
    "200 to a range": lambda asked, honest: [reply("200 OK", TAG, body=DATA)],
    "200 of another version to a range": lambda asked, honest: [
        reply("200 OK", ("ETag", f'"{asked.number}"'), body=DATA)
    ],
    "shifted": to_a_part(shift=1),
    "shifted back": to_a_part(shift=-1),
    "short": to_a_part(more=-1),
    "long": to_a_part(more=1),
    "empty range": to_a_part(more=-SIZE),
    "wrong total": to_a_part(total=SIZE + 1),
    "total of less": to_a_part(total=1),
    "no total": to_a_part(total="*"),
    "huge total": to_a_part(total=1 << 64),
    "negative total": to_a_part(total=-1),
    "shorter body than the range": to_a_part(body=b"x"),
    "no tag": to_a_part(fields=()),
    "weak tag": to_a_part(fields=(("ETag", 'W/"1"'),)),
    "another tag": lambda asked, honest: to_a_part(fields=(("ETag", f'"{asked.number}"'),))(
        asked, honest
    ),
    "changing tag": lambda asked, honest: [honest.replace(b'"1"', b'"%d"' % asked.number)],
    "weak tag always": lambda asked, honest: [honest.replace(b'"1"', b'W/"1"')],
    "time that may be of two versions": lambda asked, honest: [
        honest.replace(b'ETag: "1"', b"X: y").replace(b"2020", b"2090")
    ],
    "compressed range": to_a_part(fields=(TAG, ("Content-Encoding", "gzip"))),
    "compressed": always(reply("200 OK", ("Content-Encoding", "gzip"), body=OTHER)),
    "compressed many times": always(
        reply("200 OK", ("Content-Encoding", ", ".join(["gzip"] * 30)), body=OTHER)
    ),
    "several parts": to_a_part(fields=(TAG, ("Content-Type", "multipart/byteranges; boundary=x"))),
    "range in chunks": lambda asked, honest: [
        head_of(honest)
        .replace(b"Content-Length", b"X")
        .replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        + chunked(honest[len(head_of(honest)) :])
    ],
    "no such range": always(reply("416 No", ("Content-Range", "bytes */5"))),
    # Ends and waits.
    "early end": lambda asked, honest: [honest[: len(honest) // 2], Ending.FIN],
    "early reset": lambda asked, honest: [honest[: len(honest) // 2], Ending.RESET],
    "end at once": always(Ending.FIN),
    "reset at once": always(Ending.RESET),
    "end within the head": lambda asked, honest: [honest[:30], Ending.FIN],
    "silence": always(Ending.STALL),
    "silence after the head": lambda asked, honest: [head_of(honest), Ending.STALL],
    "silence in the middle": lambda asked, honest: [honest[: len(honest) // 9 * 8], Ending.STALL],
    "head byte by byte": lambda asked, honest: slowly(head_of(honest)),
    "more than it says": lambda asked, honest: [honest + b"more"],
    "another answer after it": lambda asked, honest: [honest + reply("200 OK", body=b"x")],
    # What has no end.
    "answers that announce others": forever(again=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "fields without end": forever(b"HTTP/1.1 200 OK\r\n", again=b"A: b\r\n"),
    "field without end": forever(b"HTTP/1.1 200 OK\r\nA: ", again=b"b" * 1000),
    "status line without end": forever(b"HTTP/1.1 200 ", again=b"OK" * 500),
    "folded field without end": forever(b"HTTP/1.1 200 OK\r\nA: b\r\n", again=b" c\r\n"),
    "body without end": forever(b"HTTP/1.1 200 OK\r\n\r\n", again=bytes(65536)),
    "chunks without end": forever(CHUNKED, again=b"10000\r\n" + bytes(65536) + b"\r\n"),
    "small chunks without end": forever(CHUNKED, again=(b"3e8\r\n" + bytes(1000) + b"\r\n") * 9),
    "extension without end": forever(CHUNKED + b"5;", again=b"x" * 1000),
    "zeros without end": forever(CHUNKED, again=b"0" * 1000),
    "trailer without end": forever(CHUNKED + b"0\r\n", again=b"A: b\r\n"),
    "huge file": always(b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n", DATA),
    "huge file with a tag": always(
        b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 1000000000000000\r\n\r\n', DATA
    ),
    # Lengths.
    "negative length": with_length("-5"),
    "length with a sign": with_length(f"+{SIZE}"),
    "hexadecimal length": with_length(hex(SIZE)),
    "length with a separator": with_length("2_097_229"),
    "length with an exponent": with_length("2e6"),
    "length in other digits": with_length("\u0662\u0660\u0669"),
    "length beyond all": with_length("9223372036854775808"),
    "length of a thousand digits": with_length("9" * 1000),
    "empty length": with_length(""),
    "two lengths in one": with_length(f"{SIZE}, {SIZE - 1}"),
    "two lengths": always(reply("200 OK", ("Content-Length", 5), ("Content-Length", 6), body=DATA)),
    "length and chunks": always(
        reply("200 OK", ("Content-Length", 5), ("Transfer-Encoding", "chunked"), body=chunked(DATA))
    ),
    "chunks that are compressed": always(
        reply("200 OK", ("Transfer-Encoding", "gzip, chunked"), body=chunked(DATA))
    ),
    "chunks in HTTP/1.0": always(CHUNKED.replace(b"/1.1", b"/1.0") + chunked(DATA)),
    "chunk of a negative size": with_chunk(b"-10"),
    "chunk of a size with a prefix": with_chunk(b"0x10"),
    "chunk of a size with a separator": with_chunk(b"1_0"),
    "chunk of a size beyond all": with_chunk(b"f" * 17),
    "chunk of a size that overflows": with_chunk(b"ffffffffffffffff"),
    "chunk that is longer than it says": with_chunk(b"f"),
    "chunk that is shorter than it says": with_chunk(b"11"),
    "chunks that stop": always(CHUNKED + b"10\r\n" + DATA[:16] + b"\r\n", Ending.FIN),
    # Redirects.
    "redirect to itself": redirect("/f"),
    "redirect to a file": redirect("file:///etc/passwd"),
    "redirect to ftp": redirect("ftp://127.0.0.1/f"),
    "redirect to another dialect": redirect("tcpdl://127.0.0.1/f"),
    "redirect to a script": redirect("javascript:alert(1)"),
    "redirect to data": redirect("data:text/plain,x"),
    "redirect to nowhere": redirect(""),
    "redirect with a line end": always(b"HTTP/1.1 302 No\r\nLocation: /\rX: y\r\n\r\n"),
    "redirect with a user": redirect("http://me:secret@127.0.0.1/f"),
    "redirect without end": lambda asked, honest: [
        reply("302 Found", ("Location", f"/f?{asked.number}"))
    ],
    # What is no answer.
    "nothing has changed": always(reply("304 Not Modified")),
    "no content": always(reply("204 No Content")),
    "switching": always(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "status beyond all": always(reply("999 Odd")),
    "status of two digits": always(b"HTTP/1.1 20 OK\r\n\r\n"),
    "another version of HTTP": always(b"HTTP/2.0 200 OK\r\n\r\n" + DATA),
    "a page and no head": always(b"<html>" + DATA, Ending.FIN),
    "the native dialect": always(b"\0tcpdl\1\1" + DATA, Ending.FIN),
    "TLS": always(b"\x15\x03\x03\x00\x02\x02\x28", Ending.FIN),
    "NUL in a field": always(b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"),
    "terminal escapes": always(
        b"HTTP/1.1 500 \x1b]0;owned\x07\x1b[2J\xc2\x9b31m\xe2\x80\xae\r\nContent-Length: 0\r\n\r\n"
    ),
    "space before the colon": always(b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n" + DATA),
    # Digests.
    "wrong digest": lambda asked, honest: [
        honest.replace(b"Date: ", b"Repr-Digest: sha-256=:" + b"A" * 43 + b"=:\r\nDate: ", 1)
    ],
}
"""What a server does for every request."""


class Scene:
    """A folder to fetch to, and what is beside it."""

    def __init__(self, top: Path) -> None:
        self._top = top
        (top / "outside").mkdir()
        (top / "outside" / "canary").write_bytes(b"sings")
        self.folder = top / "here"
        self.folder.mkdir()
        self.path = self.folder / "f"

    def check_canary(self) -> None:
        assert {path.name for path in self._top.iterdir()} == {"outside", "here"}
        assert [path.name for path in (self._top / "outside").iterdir()] == ["canary"]
        assert (self._top / "outside" / "canary").read_bytes() == b"sings"
        parts = {"f.tcpdl-part", "f.tcpdl-record"}
        new = {name.replace("f.", "f.tcpdl-new.") for name in parts}
        assert {path.name for path in self.folder.iterdir()} <= {"f", *parts, *new}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def server(no_descriptor_leaks: None) -> Iterator[WebServer]:
    started = WebServer()
    started.put("/f", DATA)
    yield started
    started.close()
    assert started.failure is None


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", tuple(pause / 10_000 for pause in patience.PAUSES))
    monkeypatch.setattr(crew, "TICK", 0.01)
    monkeypatch.setattr(crew, "FIRST_SPAN", MIB)


class Get:
    """Runs `tcpdl get`."""

    def __init__(self, capfd: pytest.CaptureFixture[str], scene: Scene, server: WebServer) -> None:
        self._capfd = capfd
        self._scene = scene
        self._server = server

    def __call__(self, timeout: float = 5.0) -> tuple[int, str]:
        """The exit status, and what was said."""
        url = f"http://127.0.0.1:{self._server.port}/f"
        options = [f"--timeout={timeout}", "--max-size=64M", "-d", str(self._scene.folder)]
        self._capfd.readouterr()
        status = main(["get", url, *options])
        out, err = self._capfd.readouterr()
        assert out == ""
        assert all(line.isprintable() for line in err.splitlines())
        self._scene.check_canary()
        return status, err


@pytest.fixture
def get(capfd: pytest.CaptureFixture[str], scene: Scene, server: WebServer) -> Get:
    return Get(capfd, scene, server)


def begin(server: WebServer, get: Get) -> None:
    """Leave a part."""
    server.cuts = [(MIB + MIB // 2, Ending.FIN), *[(0, Ending.FIN)] * 20]
    assert get()[0] == 4
    server.cuts = []


@pytest.mark.parametrize("before", ["nothing", "an older file", "a part"])
@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_misbehaving(name: str, before: str, server: WebServer, scene: Scene, get: Get) -> None:
    older = OLDER if before == "an older file" else None
    if older:
        scene.path.write_bytes(older)
    if before == "a part":
        begin(server, get)
    misbehave = MISBEHAVIOURS[name]

    def hook(asked: Asked) -> Iterable[Piece]:
        return misbehave(asked, server.honest(asked))

    server.hook = hook
    status, said = get(timeout=0.2)
    there = scene.path.read_bytes() if scene.path.exists() else None
    if status:
        assert there == older
        assert said.startswith("tcpdl: ")
        assert status in (2, 4, 5, 6, 8)
        server.hook = None
        assert get()[0] == 0
        there = scene.path.read_bytes()
    assert there == DATA
    assert {path.name for path in scene.folder.iterdir()} == {"f"}
