"""What the tests of mirroring share: a server of the native dialect that lies if it is told to."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpdl import digest
from tcpdl.client.mirroring import Mirrored, mirror
from tcpdl.client.url import Location
from tcpdl.client.ways import Ways
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.native import End, Error, Pack, Pick, Request, Tree
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry
from tests.sealing import Sealer

MTIME = 1_600_000_000_123_456_789
SECONDS = 60.0

Answer = Callable[[Any], Iterable[bytes]]
"""From a request to the bytes of its answer; `HANG_UP` and `RESET` end the connection."""

HANG_UP = b"hang up"
RESET = b"reset"


def go(location: Location, target: Path, **options: Any) -> Mirrored:
    """Mirror, without waiting for anything in vain; with options of `mirror` and of `Ways`."""
    told = {name: options.pop(name) for name in Ways._fields if name in options}
    ways = Ways(**{"timeout": 10, "sleep": lambda _: None, **told})
    return mirror(location, os.fsencode(target), ways, **options)


def sha256(data: Any) -> bytes:
    return hashlib.sha256(data).digest()


def packed(entries: list[Entry]) -> bytes:
    """A pack of `entries`, whatever they are: `wire.pack` sends none that make no sense."""
    records, names, contents = [], [], []
    for kind, name, mode, size, mtime_ns, content in entries:
        records.append(struct.pack("!BxHIQq", kind, mode, len(content), size, mtime_ns))
        names.append(name + b"\0")
        contents.append(content)
    table = b"".join(names)
    whole = b"".join((struct.pack("!II", len(records), len(table)), *records, table, *contents))
    return whole + sha256(whole)


class Make:
    """Makes entries, and messages of them."""

    def file(self, name: str | bytes, content: bytes = b"", mode: int = 0o644) -> Entry:
        return Entry(FILE, os.fsencode(name), mode, len(content), MTIME, content)

    def listed(self, name: str | bytes, size: int, mode: int = 0o644) -> Entry:
        return Entry(LISTED, os.fsencode(name), mode, size, MTIME)

    def folder(self, name: str | bytes, mode: int = 0o755) -> Entry:
        return Entry(FOLDER, os.fsencode(name), mode, 0, MTIME)

    def link(self, name: str | bytes, text: bytes) -> Entry:
        return Entry(LINK, os.fsencode(name), content=text)

    def left_out(self, name: str | bytes, why: str = "because") -> Entry:
        return Entry(LEFT_OUT, os.fsencode(name), content=why.encode())

    def packs(self, number: int, entries: Iterable[Entry], each: int = 1000) -> list[bytes]:
        """Messages that hold `entries`, so many in each."""
        listed = list(entries)
        parts = [listed[at : at + each] for at in range(0, len(listed), each)]
        return [native.encode(Pack(number, packed(part))) for part in parts]

    def end(self, number: int) -> bytes:
        return native.encode(End(number))

    def error(self, number: int, code: int, sentence: str = "no") -> bytes:
        return native.encode(Error(number, code, sentence))


@pytest.fixture
def make() -> Make:
    return Make()


class Honest:
    """Answers about a tree, given as the entries of its listing, as the daemon does."""

    def __init__(self, entries: Iterable[Entry], each: int = 1000) -> None:
        self.entries = list(entries)
        self.requests: list[Request] = []
        self._each = each

    @property
    def picked(self) -> list[bytes]:
        """The names that were asked for."""
        return [name for one in self.requests if isinstance(one, Pick) for name in one.names]

    def __call__(self, request: Request) -> Iterable[bytes]:
        self.requests.append(request)
        make = Make()
        if isinstance(request, Tree):
            entries = [self._entry(entry, request.flags) for entry in self.entries]
        elif isinstance(request, Pick):
            named = {entry.name: entry for entry in reversed(self.entries)}
            entries = [named.get(name) or make.left_out(name, "gone") for name in request.names]
        else:
            return [make.error(request.id, native.ABSENT)]
        return [*make.packs(request.id, entries, self._each), make.end(request.id)]

    def _entry(self, entry: Entry, flags: int) -> Entry:
        if entry.kind not in (FILE, LISTED) or (entry.kind == FILE and flags & native.CONTENT):
            return entry
        content = b""
        if flags & native.ROOTS:
            digests = [sha256(entry.content)] if entry.size else []
            content = digest.root(native.SHA256, entry.size, 20, digests)
        return entry._replace(kind=LISTED, content=content)


@pytest.fixture
def honest() -> type[Honest]:
    return Honest


class Server:
    """A server on loopback that answers requests on any number of connections, one at a time."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closed = False
        self.connections = 0
        self.location = Location("127.0.0.1", self._listener.getsockname()[1], b"")
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(SECONDS)
        self._listener.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with sock:
                sock.settimeout(SECONDS)
                try:
                    self._converse(sock)
                except ConnectionError:
                    pass  # the client has had enough
                except BaseException as error:  # noqa: BLE001
                    self.failure = error

    def _converse(self, sock: socket.socket) -> None:
        incoming = Incoming(State.REQUESTS)
        greeted = False
        sealer = Sealer()
        while data := sock.recv(65536):
            incoming.feed(data)
            while True:
                request: Any = incoming.next()
                if request is None:
                    break
                if not greeted:
                    greeted = True
                    sock.sendall(native.preface(native.SHA256))
                sealer.asked(request)
                for part in self._answer(request):
                    if part == HANG_UP:
                        return
                    if part == RESET:
                        linger = struct.pack("ii", 1, 0)
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        return
                    sock.sendall(sealer.sealed(part))


Serve = Callable[[Answer], Server]


@pytest.fixture
def server(no_descriptor_leaks: None) -> Iterator[Serve]:
    """Starts a server that gives these answers."""
    started: list[Server] = []

    def start(answer: Answer) -> Server:
        one = Server(answer)
        started.append(one)
        return one

    yield start
    for one in started:
        one.close()
        assert one.failure is None


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where to mirror to; beside it lies what must stay as it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_bytes(b"sings")
    folder = tmp_path / "box" / "target"
    folder.parent.mkdir()
    return folder


Snapshot = dict[str, object]


def snapshot_of(folder: Path) -> Snapshot:
    """All that is below `folder`: contents of files, texts of links, modes of both and folders."""
    found: Snapshot = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = ("folder", mode)
        else:
            found[name] = (path.read_bytes(), mode)
    return found


@pytest.fixture
def snapshot() -> Callable[[Path], Snapshot]:
    return snapshot_of


@pytest.fixture(autouse=True)
def _canary(tmp_path: Path) -> Iterator[None]:
    """Fails the test if anything beside the target was touched."""
    yield
    outside = tmp_path / "outside"
    if outside.exists():
        assert snapshot_of(outside) == {"canary": (b"sings", 0o644)}
        box = {path.name for path in (tmp_path / "box").iterdir()}
        assert box <= {"target"}
        allowed = {"outside", "box"}
        assert {path.name for path in tmp_path.iterdir()} <= allowed
