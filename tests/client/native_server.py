"""A server of the native dialect for tests: honest, unless a test gets at what it sends."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import NamedTuple, NoReturn, TypeVar

from tcpdl import digest
from tcpdl.client.url import Location
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.login import Login
from tcpdl.wire.native import (
    ANY_TAG,
    Chunk,
    Digest,
    DigestList,
    End,
    Error,
    FileInfo,
    Get,
    GetDigests,
    Message,
    ProtocolError,
)
from tests.client.silence import Hearing

SECONDS = 60.0
MTIME = 1_600_000_000_123_456_789


class Ending(Enum):
    """What a server does with a connection in place of going on."""

    FIN = "end it"
    RESET = "reset it"
    STALL = "send nothing more, until the client has had enough"


class Payload(NamedTuple):
    """Bytes of a run, whose header has been sent."""

    data: bytes
    offset: int


Piece = Message | Payload | Ending | bytes
"""What is sent; `bytes` as they are."""

Pieces = Iterator[Piece]

Sealed = TypeVar("Sealed", FileInfo, DigestList)


class Asked(NamedTuple):
    """A request, as a hook is told of it."""

    connection: int
    """From 0, in the order of arrival."""
    number: int
    """From 0, over all connections."""
    request: Get | GetDigests
    algorithm: int
    """The digest that was chosen."""

    def seal(self, message: Sealed) -> Sealed:
        """`message`, as it belongs into the answer to this."""
        return sealed(message, self.request, self.algorithm)


Hook = Callable[[Asked, Pieces], Iterable[Piece]]
"""From the honest answer to the one that is given."""


Line = Callable[[int, int, bytes], bytes]
"""From the number of a connection, how much went before on it, and bytes, to what arrives."""


class Served(NamedTuple):
    """A file."""

    data: bytes
    tag: bytes
    shift: int = 16
    mtime_ns: int = MTIME
    mode: int = 0o644


class NativeServer:
    """Serves `files` on any number of connections, each in a thread."""

    def __init__(self, *, shift: int = 16, algorithms: int = digest.AVAILABLE) -> None:
        self.files: dict[bytes, Served] = {}
        self.refusals: dict[bytes, tuple[int, str]] = {}
        """Names that are answered with an error."""
        self.hook: Hook | None = None
        self.cuts: list[tuple[int, Ending]] = []
        """For each connection in turn, after how many bytes it ends, and how."""
        self.says: Line | None = None
        """Damages what is sent."""
        self.hears: Line | None = None
        """Damages what is received; what is not understood then is nobody's fault."""
        self.most: int | None = None
        """Answers after which a connection is ended."""
        self.lag = 0
        """Runs by which digests come later than their own."""
        self.connections = 0
        self.payload = 0
        """File bytes that were sent."""
        self.asked: list[Asked] = []
        self.logins: list[Login] = []
        self.failure: BaseException | None = None
        self._shift = shift
        self._algorithms = algorithms
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.hearing = Hearing(self._listener)
        self._closed = False
        self._start(self._accept)

    def put(self, name: bytes, data: bytes, *, tag: bytes | None = None) -> Location:
        """Serve `data` as `name`; under a tag of its own, if none is given."""
        if tag is None:
            tag = hashlib.sha256(b"tag" + data).digest()[:16]
        self.files[name] = Served(data, tag, self._shift)
        return Location("127.0.0.1", self.port, name)

    @property
    def place(self) -> Location:
        """Where it is."""
        return Location("127.0.0.1", self.port, b"")

    @property
    def gets(self) -> list[Get]:
        """The requests for bytes."""
        return [one.request for one in self.asked if isinstance(one.request, Get)]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The ranges that were asked for, as far as there are such bytes."""
        found = []
        for get in self.gets:
            if get.length and get.name in self.files:
                size = len(self.files[get.name].data)
                found.append((get.offset, min(size, get.offset + get.length)))
        return found

    def forget(self) -> None:
        """Count from nothing, once all connections are over, which the client has ended."""
        ending = self.threads[1:]
        for thread in ending:
            thread.join(SECONDS)
            assert not thread.is_alive()
        del self.threads[1 : 1 + len(ending)]
        self.payload = self.connections = 0
        self.asked = []

    def hang_up(self) -> None:
        """Accept nothing more, and reset what is open."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            with self._lock:
                for sock in self._open:
                    _reset(sock)
                    with suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop, and wait for all threads."""
        self.hang_up()
        self.hearing.close()
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def _start(self, function: Callable[[], None]) -> None:
        thread = threading.Thread(target=function)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._closed:
                    sock.close()
                    return
                number = self.connections
                self.connections += 1
                cut = self.cuts.pop(0) if self.cuts else None
                self._open.add(sock)
            self._start(_Connection(self, sock, number, cut).run)

    def took(self, connection: int, request: Get | GetDigests, algorithm: int) -> Asked:
        """Take note of a request."""
        with self._lock:
            asked = Asked(connection, len(self.asked), request, algorithm)
            self.asked.append(asked)
            return asked

    def sent(self, count: int) -> None:
        """Take note of file bytes that were sent."""
        with self._lock:
            self.payload += count

    def ended(self, sock: socket.socket) -> None:
        """A connection is over."""
        with self._lock:
            self._open.discard(sock)
            sock.close()

    def choose(self, offered: int) -> int:
        """The digest for a client that offers these."""
        return digest.choose(offered & self._algorithms)

    def answer(self, request: Get | GetDigests, algorithm: int) -> Pieces:
        """The honest answer."""
        if request.name in self.refusals:
            yield Error(request.id, *self.refusals[request.name])
            return
        file = self.files.get(request.name)
        if file is None:
            yield Error(request.id, native.ABSENT, "there is none")
            return
        if request.tag not in (ANY_TAG, file.tag):
            yield Error(request.id, native.CHANGED, "it changed")
            return
        size = len(file.data)
        count = digest.chunk_count(size, file.shift)
        first = request.first if isinstance(request, GetDigests) else request.offset
        if first > (count if isinstance(request, GetDigests) else size):
            yield Error(request.id, native.BAD_RANGE, "beyond the end")
            return
        info = FileInfo(request.id, size, file.mtime_ns, file.mode, file.shift, file.tag)
        yield sealed(info, request, algorithm)
        if isinstance(request, GetDigests):
            until = min(count, first + request.chunks)
            for at in range(first, until, 1024):
                listed = range(at, min(at + 1024, until))
                digests = tuple(_digest(algorithm, file, index) for index in listed)
                yield sealed(DigestList(request.id, at, digests), request, algorithm)
        else:
            yield from self._runs(request, file, algorithm)
        yield End(request.id)

    def _runs(self, request: Get, file: Served, algorithm: int) -> Pieces:
        at = request.offset
        end = min(len(file.data), at + request.length)
        due: list[int] = []
        while at < end:
            index = at >> file.shift
            until = min((index + 1) << file.shift, end)
            yield Chunk(request.id, until - at)
            yield Payload(file.data[at:until], at)
            due.append(index)
            if len(due) > self.lag:
                due_now = due.pop(0)
                yield Digest(request.id, due_now, _digest(algorithm, file, due_now))
            at = until
        for index in due:
            yield Digest(request.id, index, _digest(algorithm, file, index))


class _Ended(Exception):
    """Nothing more is to be sent."""


class _Connection:
    def __init__(
        self,
        server: NativeServer,
        sock: socket.socket,
        number: int,
        cut: tuple[int, Ending] | None,
    ) -> None:
        self._server = server
        self._sock = sock
        self._number = number
        self._left, self._ending = cut or (1 << 62, Ending.FIN)
        self._sent = self._received = self._answered = 0

    def run(self) -> None:
        try:
            self._converse()
        except (_Ended, OSError):
            pass  # as the test wants it, or the client has had enough
        except BaseException as error:  # noqa: BLE001
            self._server.failure = error
        finally:
            self._server.ended(self._sock)

    def _converse(self) -> None:
        incoming = Incoming(State.REQUESTS)
        algorithm = 0
        while data := self._server.hearing.recv(self._sock):
            incoming.feed(self._heard(data))
            while (request := self._next(incoming)) is not None:
                if isinstance(request, Login):
                    self._server.logins.append(request)
                    continue
                if not algorithm:
                    algorithm = self._server.choose(incoming.digests)
                    self._send(native.preface(algorithm))
                    if self._server.hears and not algorithm:
                        self._refuse()
                if self._server.hears and not isinstance(request, Get | GetDigests):
                    self._refuse()
                assert isinstance(request, Get | GetDigests)
                asked = self._server.took(self._number, request, algorithm)
                pieces: Iterable[Piece] = self._server.answer(request, algorithm)
                if self._server.hook is not None:
                    pieces = self._server.hook(asked, iter(pieces))
                for piece in pieces:
                    self._give(piece)
                self._answered += 1
                if self._answered == self._server.most:
                    self._end(Ending.FIN)

    def _heard(self, data: bytes) -> bytes:
        before, self._received = self._received, self._received + len(data)
        return (
            data if self._server.hears is None else self._server.hears(self._number, before, data)
        )

    def _next(self, incoming: Incoming) -> object:
        try:
            return incoming.next()
        except ProtocolError:
            if self._server.hears is None:
                raise
        if not incoming.version:
            self._send(b"help, in the raw dialect\n")
            self._end(Ending.FIN)
        if not self._sent:
            self._send(native.preface(self._server.choose(incoming.digests)))
        self._refuse()

    def _refuse(self) -> NoReturn:
        self._send(native.encode(Error(0, native.NOT_UNDERSTOOD, "what?")))
        self._end(Ending.FIN)

    def _give(self, piece: Piece) -> None:
        if isinstance(piece, Ending):
            self._end(piece)
        elif isinstance(piece, bytes):
            self._send(piece)
        elif isinstance(piece, Payload):
            try:
                self._server.sent(min(len(piece.data), self._left))
            finally:
                self._send(piece.data)
        else:
            self._send(native.encode(piece))

    def _send(self, data: bytes) -> None:
        if self._server.says is not None:
            data = self._server.says(self._number, self._sent, data)
        self._sent += len(data)
        self._sock.sendall(data[: self._left])
        self._left -= len(data)
        if self._left < 0:
            self._end(self._ending)

    def _end(self, how: Ending) -> NoReturn:
        if how is Ending.RESET:
            _reset(self._sock)
        elif how is Ending.STALL:
            while self._server.hearing.recv(self._sock):
                pass
        else:
            self._sock.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                while self._server.hearing.recv(self._sock):
                    pass
        raise _Ended


def sealed(message: Sealed, request: Get | GetDigests, algorithm: int) -> Sealed:
    """`message`, as it belongs into the answer to `request`."""
    asked = native.encode(request)
    return message._replace(seal=digest.digest(algorithm, asked, message.unsealed))


def _reset(sock: socket.socket) -> None:
    """Let the socket end with a reset once it is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _digest(algorithm: int, file: Served, index: int) -> bytes:
    start = index << file.shift
    return digest.digest(algorithm, file.data[start : start + (1 << file.shift)])


# Hooks.


def flip(*offsets: int, times: int = 1 << 30) -> Hook:
    """Damage the file's bytes at `offsets` on their way, so many times in all."""
    left = dict.fromkeys(offsets, times)

    def damage(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if isinstance(piece, Payload):
                data = bytearray(piece.data)
                for offset in offsets:
                    if 0 <= offset - piece.offset < len(data) and left[offset]:
                        left[offset] -= 1
                        data[offset - piece.offset] ^= 0x10
                yield Payload(bytes(data), piece.offset)
            else:
                yield piece

    return damage


def break_after(kinds: Sequence[type], ending: Ending, *, times: int = 1) -> Hook:
    """End connections after each of the first messages of these kinds, so many times in all."""
    left = [times]

    def cut(_asked: Asked, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield piece
            if left[0] and isinstance(piece, tuple(kinds)):
                left[0] -= 1
                yield ending

    return cut
