"""A connection in the native dialect: requests go out, messages and runs come in.

Imports `wire`, `digest` and the modules beside it. Blocking; for one thread at a time, but for
`interrupt`. Reading stops exactly where a run of file bytes begins, so that those come in pieces of
their own, straight from the socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from tcpdl import digest
from tcpdl.client.credentials import LOG_IN
from tcpdl.client.errors import (
    BadRequest,
    Busy,
    Changed,
    ClientError,
    ConnectionBroken,
    Garbled,
    NotAllowed,
    NothingThere,
    OtherDialect,
    SaysNothing,
    ServerFailed,
    Silent,
    SpeaksHttp,
)
from tcpdl.client.line import SPEAKS_TLS, TLS_BEGINS, Line
from tcpdl.client.url import Location, split_link
from tcpdl.client.ways import Ways
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, Room, State
from tcpdl.wire.native import (
    MAGIC,
    Answer,
    DigestList,
    End,
    Error,
    FileInfo,
    ProtocolError,
    Request,
    WrongUse,
)
from tcpdl.wire.text import printable

OTHERS = (b"http/1.", b"<!doctype", TLS_BEGINS)
"""How those answer to whom our preface is a bad request: web servers, of HTTP/0.9 too, and TLS."""

NOISE_MOST = 2 * native.PACK_MOST
"""Bytes that may come until a message is complete, optional ones included."""


class Session(Line):
    """A connection on which any number of requests is made, and answered in order.

    A server may end it between two answers; what was asked for is then asked for on a new one. Use
    it as a context manager.
    """

    def __init__(
        self, place: Location, ways: Ways, *, address: str = "", later: bool = False
    ) -> None:
        """Connect, unless that is to be done `later`. The rest is that of `Line`.

        Raises what `open` does.
        """
        super().__init__(place, ways, address=address)
        self._incoming = Incoming(State.ANSWER)
        self._room = Room(self._incoming)
        self._out = bytearray()
        self._asked: deque[tuple[int, bytes]] = deque()  # ids, and requests as they were sent
        self._number = 0
        self._unsent = 0  # of these, the last ones, which are in `_out`
        self._answered = 0  # on this connection
        self._in_vain = False  # the connection before it answered nothing
        self._agreed = 0  # the digest that an earlier connection had
        self._greeted = self._begun = False
        if not later:
            self.open()

    @property
    def algorithm(self) -> int:
        """The digest that the server chose; 0 until its first message came."""
        return self._incoming.digests

    @property
    def going_away(self) -> bool:
        """The server has said that it ends this connection, once it has answered what it had got
        by then."""
        return self._incoming.going_away

    def digest(self, data: bytes | bytearray | memoryview) -> bytes:
        """The digest of `data`, as this connection computes it."""
        return digest.digest(self.algorithm, data)

    def seal(self, data: bytes | bytearray | memoryview) -> bytes:
        """The digest of the request whose answer is under way, and of `data`."""
        return digest.digest(self.algorithm, self._asked[0][1], data)

    def open(self) -> None:
        """Connect, unless that is done. Raises `CannotConnect`, `ConnectionBroken`; `BadRequest`
        if the login must not be sent there."""
        super().open()
        if not self._begun:
            greeting = native.preface(digest.AVAILABLE)
            try:
                login = self.login
            except BaseException:
                self.close()
                raise
            if login is not None:
                greeting += native.encode(login.message)
            self._out[:0] = greeting
            self._begun = True

    def ask(self, make: Callable[[int], Request]) -> int:
        """Queue the request that `make` makes of an id; return that id. `flush` sends it."""
        self._number = (self._number + 1) & 0xFFFF
        try:
            request = native.encode(make(self._number))
        except WrongUse as problem:
            raise NothingThere(str(problem)) from None
        self._out += request
        self._unsent += 1
        self._asked.append((self._number, request))
        return self._number

    def flush(self) -> None:
        """Send the requests that are queued, unless they are for another connection, since the
        server has said that this one ends. Raises what `open` does."""
        if self.going_away:
            return
        self.open()
        out, self._out = self._out, bytearray()
        self._unsent = 0
        if out:
            self._send(out)

    def next(self) -> Answer:
        """The next message, errors included: a part of the answer to what was asked first. Sends
        what is queued before.

        Raises `ConnectionBroken`; `Garbled` if that was damaged, or makes no sense; `OtherDialect`
        if the very first bytes are none of ours.
        """
        self.flush()
        before = self.received
        while True:
            try:
                if self.received - before > NOISE_MOST:
                    raise ProtocolError("what comes has no meaning, and no end")
                message = self._incoming.next()
                if self._incoming.version and not self._greeted:
                    self._check_greeting()
                if message is not None:
                    self._check(message)
                    return message  # type: ignore[return-value]  # only answers pass the table
            except ProtocolError as problem:
                raise Garbled(f"the server's answer makes no sense: {problem}") from None
            if self.going_away and 0 < len(self._asked) == self._unsent:
                self._renew()
            self._receive()

    def take(self, length: int) -> bytes:
        """All `length` bytes of the run that was announced last."""
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = self._inlet.read(view) or self._ended()
            self._incoming.passed(count)
            view = view[count:]
        return bytes(data)

    def receive(self, view: memoryview, left: int) -> int:
        """Receive into `view` some of the run that was announced last, of which `left` bytes are
        still to come; return how many. Raises `ConnectionBroken`."""
        count = self._inlet.read_run(view, left) or self._ended()
        self._incoming.passed(count)
        return count

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> None:
        view = self._room.view()
        try:
            count = self._inlet.read(view)
        except Silent as error:
            if self.received:
                raise
            # Some web servers wait for the end of a line, which our requests do not have.
            raise Silent(f"{error}; ask a web server with http://") from error
        if not count:
            may_renew = self._answered or self.going_away
            if may_renew and self._asked and self._incoming.between:
                self._renew()
                return
            self._ended()
        if not self._greeted and bytes(view[: min(count, len(MAGIC))]) != MAGIC[:count]:
            known = self._recognise(bytes(view[:count]))
            if known == TLS_BEGINS:
                raise BadRequest(SPEAKS_TLS)
            if known:
                raise SpeaksHttp("the server is a web server, and does not speak this dialect")
            raise OtherDialect("the server does not speak the native dialect")
        self._room.filled(count)

    def _renew(self) -> None:
        """Ask on a new connection what was not answered: the server ended this one between two
        answers, as it does after a certain number of them, and when it ends itself."""
        in_vain, self._in_vain = self._in_vain, not self._answered
        if in_vain and self._in_vain:
            raise ConnectionBroken("the server answers nothing, and asks to connect again")
        self._agreed = self.algorithm
        self.close()
        self._incoming = Incoming(State.ANSWER)
        self._room = Room(self._incoming)
        self._greeted = self._begun = False
        self._answered = 0
        self._out = bytearray().join(request for _, request in self._asked)
        self._unsent = len(self._asked)
        self.flush()

    def _recognise(self, begun: bytes) -> bytes:
        """Which of `OTHERS` an answer that has `begun` so begins with; empty for none."""
        piece = memoryview(bytearray(len(max(OTHERS, key=len))))
        while not begun.lower().startswith(OTHERS):
            if not any(one.startswith(begun.lower()) for one in OTHERS):
                return b""
            count = self._inlet.read(piece)
            if not count:
                return b""
            begun += piece[:count]
        return next(one for one in OTHERS if begun.lower().startswith(one))

    def _check_greeting(self) -> None:
        self._greeted = True
        chosen = self._incoming.digests
        if chosen and not (chosen & digest.AVAILABLE and chosen in (native.SHA256, native.BLAKE3)):
            raise ProtocolError(f"it chose digest {chosen}, which was not offered")
        if self._agreed not in (0, chosen):
            raise ProtocolError(f"it chose digest {chosen}, and {self._agreed} before")

    def _check(self, message: Any) -> None:
        """Raise `ProtocolError` unless `message` belongs to the request whose turn it is."""
        if isinstance(message, Error) and message.code >= native.FATAL:
            return
        if not self._asked:
            raise ProtocolError("an answer, though nothing was asked for")
        number = self._asked[0][0]
        if message.id != number:
            raise ProtocolError(f"an answer to request {message.id}, where {number} has its turn")
        if isinstance(message, (End, Error)):
            self._asked.popleft()
            self._answered += 1
        elif not self.algorithm:
            raise ProtocolError("no digest was chosen, and yet there is an answer")
        elif (
            isinstance(message, (FileInfo, DigestList))
            and self.seal(message.unsealed) != message.seal
        ):
            raise ProtocolError("it was damaged on its way, or the request was")

    def _ended(self) -> NoReturn:
        if not self.received:
            raise SaysNothing("the server does not answer in the native dialect")
        if not self._greeted and not self._agreed:
            raise OtherDialect("the server does not answer in the native dialect")
        raise ConnectionBroken(f"the server ended the connection after {self.received} bytes")


def failure(error: Error, name: bytes) -> ClientError:
    """The exception that stands for an `Error` message about the file or folder `name`."""
    said = printable(error.sentence)
    shown = printable(split_link(name)[0])
    if error.code in (native.ABSENT, native.REFUSED):
        return NothingThere(f"the server has no '{shown}' to hand out: {said}")
    if error.code == native.IS_FOLDER:
        return NothingThere(f"'{shown}' is a folder; use tcpdl mirror or tcpdl ls for it")
    if error.code == native.NOT_A_FOLDER:
        return NothingThere(f"'{shown}' is no folder; use tcpdl get for a file")
    if error.code == native.CHANGED:
        return Changed(f"'{shown}' changed on the server")
    if error.code == native.LOGIN_NEEDED:
        return NotAllowed(f"the server wants a login for '{shown}': {said}; {LOG_IN}")
    if error.code == native.NOT_ALLOWED:
        return NotAllowed(f"whoever is logged in may not have '{shown}': {said}")
    if error.code == native.BUSY:
        return Busy(f"the server is busy: {said}")
    if error.code == native.NEEDS_TLS:
        return BadRequest(f"the server wants TLS: {said}; write tcpdls://")
    return ServerFailed(f"the server could not send '{shown}': {said}")
