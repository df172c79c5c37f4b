"""From the bytes of a native connection to messages, in the order in which they may come.

Imports its neighbours. Pure: bytes go in with `feed`, messages come out of `next`. `FOLLOWS` is the
one table of what may follow what. A message that is too long, unknown or out of place is refused as
soon as its header has been read, so that nothing a peer announces is ever buffered beyond what
`FORMS` allows.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from tcpdl.wire.goaway import GoAway
from tcpdl.wire.login import Login
from tcpdl.wire.native import (
    FATAL,
    FORMS,
    HEADER,
    OPTIONAL,
    OPTIONAL_MOST,
    PREFACE,
    Answer,
    Chunk,
    Digest,
    DigestList,
    End,
    Error,
    FileInfo,
    Get,
    GetDigests,
    Pack,
    Pick,
    ProtocolError,
    Request,
    Tree,
    WrongUse,
    parse_preface,
)

_KEEP = 64 * 1024
"""Bytes of a buffer that were read already and are kept until it is worth moving the rest."""

_DIRECT = 64 * 1024
"""Bytes of a body from which `Room` has it received where it will stay."""


class State(Enum):
    """Where the stream of messages from one side stands."""

    REQUESTS = "requests"
    """From the client: any request."""
    ANSWER = "an answer"
    """From the server: the beginning of an answer."""
    FILE = "the parts of a file"
    TREE = "the parts of a tree"
    OVER = "nothing"
    """From the server, after an error that ends the connection."""


FOLLOWS: dict[State, dict[type[Any], State]] = {
    State.REQUESTS: {
        Get: State.REQUESTS,
        GetDigests: State.REQUESTS,
        Tree: State.REQUESTS,
        Pick: State.REQUESTS,
        Login: State.REQUESTS,
    },
    State.ANSWER: {
        FileInfo: State.FILE,
        Pack: State.TREE,
        End: State.ANSWER,
        Error: State.ANSWER,
    },
    State.FILE: {
        Chunk: State.FILE,
        Digest: State.FILE,
        DigestList: State.FILE,
        End: State.ANSWER,
        Error: State.ANSWER,
    },
    State.TREE: {
        Pack: State.TREE,
        End: State.ANSWER,
        Error: State.ANSWER,
    },
    State.OVER: {},
}
"""Which message may come in a state, and the state it leads to. An answer's parts all bear the id
of its request, so the table needs to know of no other answer. What is optional
and may not come is skipped, as what is not known."""

_KINDS: dict[int, type[Any]] = {form.type: kind for kind, form in FORMS.items()}


class Incoming:
    """What one peer sends: preface, then messages.

    `version` and `digests` are those of its preface, 0 until it has come.
    """

    def __init__(self, state: State) -> None:
        """`state` is `State.REQUESTS` on the server, `State.ANSWER` on the client."""
        self.version = 0
        self.digests = 0
        self.payload = 0
        """Bytes of a run that are still to come: to be had from `take`, or, once that gives none,
        from the connection itself, and then to be reported to `passed`."""
        self.going_away = False
        """The peer has said that it answers no more requests on this connection."""
        self._state = state
        self._id = -1  # of the answer that is under way
        self._buffer = bytearray()
        self._start = 0
        self._need = PREFACE.size
        self._kind: type[Any] | None = None
        self._number = 0
        self._packs = 0  # of the answer that is under way
        self._within = False  # the message is not part of the answer that is under way
        self._skip = 0
        self._whole: bytearray | None = None  # the body that is due, received elsewhere
        self._refusal = ""  # what broke the rules

    @property
    def buffered(self) -> int:
        """Bytes that came and were not read yet."""
        return len(self._buffer) - self._start

    @property
    def wanted(self) -> int:
        """Bytes of the connection without which `next` has nothing to say; never a run's."""
        if self.payload or self._whole is not None:
            return 0
        return max(0, (self._skip or self._need) - self.buffered)

    @property
    def body_due(self) -> int:
        """Bytes of the `Pack` that comes next, if nothing of its body has come; else 0."""
        return self._need if self._kind is Pack and not self.buffered else 0

    @property
    def between(self) -> bool:
        """Whether the stream may end here: nothing has been begun that is not complete."""
        begun = self.buffered or self.payload or self._skip or self._kind
        return bool(self.version) and not begun and self._id == -1 and not self._refusal

    @property
    def state(self) -> State:
        """What may come next."""
        return self._state

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes of the connection, however they are cut."""
        if self._start > _KEEP:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> Request | Answer | Login | None:
        """The next message, or `None` if more bytes are wanted.

        After a `Chunk`, its run is to be taken first. Raises `ProtocolError`, with the same words
        whenever it is called after that.
        """
        if self.payload:
            raise WrongUse(f"{self.payload} bytes of a run have not been taken")
        if self._refusal:
            raise ProtocolError(self._refusal)
        try:
            return self._next()
        except ProtocolError as refusal:
            # Not the error itself, whose traceback leads back to us: that would outlive us.
            self._refusal = str(refusal)
            raise

    def _next(self) -> Request | Answer | Login | None:
        while True:
            if self._skip:
                skipped = min(self._skip, self.buffered)
                self._drop(skipped)
                self._skip -= skipped
                if self._skip:
                    return None
            if self._whole is not None:
                body, self._whole = self._whole, None
                return self._message(body)
            if self.buffered < self._need:
                return None
            if not self.version:
                self.version, self.digests = parse_preface(self._cut(PREFACE.size))
                self._need = HEADER.size
            elif self._kind is None:
                if message := self._header(self._cut(HEADER.size)):
                    return message
            else:
                return self._message(self._cut(self._need))

    def whole(self, body: bytearray) -> None:
        """Take the body of the `Pack` that is due, received elsewhere, without copying it."""
        if len(body) != self.body_due:
            raise WrongUse(f"a body of {len(body)} bytes where {self.body_due} are due")
        self._whole = body

    def take(self, most: int) -> bytes:
        """At most `most` bytes of the run, as far as they have been fed."""
        if most < 0:
            raise WrongUse(f"{most} bytes cannot be taken")
        data = self._cut(min(most, self.payload, self.buffered))
        self.payload -= len(data)
        return data

    def passed(self, count: int) -> None:
        """`count` bytes of the run went by without being fed."""
        if not 0 <= count <= self.payload or self.buffered:
            raise WrongUse(f"{count} bytes went by, {self.payload} were due after the buffer")
        self.payload -= count

    def _header(self, header: bytes) -> Chunk | None:
        number, flags, request, length = HEADER.unpack(header)
        if flags:
            raise ProtocolError(f"flags {flags:#x} in a header, where none are defined")
        kind = _KINDS.get(number)
        if number >= OPTIONAL and kind not in FOLLOWS[self._state]:
            if length > OPTIONAL_MOST:
                raise ProtocolError(f"an optional message of {length} bytes")
            self._skip = length
            self.going_away = self.going_away or kind is GoAway
            return None
        if kind is None:
            raise ProtocolError(f"a message of the unknown type {number:#04x}")
        name = kind.__name__
        if kind not in FOLLOWS[self._state]:
            raise ProtocolError(f"{name} where {self._state.value} should come")
        form = FORMS[kind]
        if not form.least <= length <= form.most:
            raise ProtocolError(f"{name} of {length} bytes; {form.least} to {form.most} can be")
        if self._id not in (-1, request) and not (kind is Error and request == 0):
            raise ProtocolError(f"{name} for request {request} within the answer to {self._id}")
        self._within = self._id not in (-1, request)
        self._number = request
        if kind is Chunk:
            self.payload = length
            self._advance(kind)
            return Chunk(request, length)
        self._kind = kind
        self._need = length
        return None

    def _message(self, body: bytes | bytearray) -> Request | Answer | Login:
        kind: Any = self._kind
        self._kind = None
        self._need = HEADER.size
        message: Request | Answer | Login = kind.parse(self._number, body)
        self._advance(kind)
        if isinstance(message, Error):
            self._end(message)
        elif isinstance(message, Pack):
            self._packs += 1
        elif isinstance(message, End):
            packs, self._packs = self._packs, 0
            if message.packs != packs:
                raise ProtocolError(f"an answer of {message.packs} packs ends after {packs}")
        return message

    def _end(self, error: Error) -> None:
        self._packs = 0
        if error.code >= FATAL:
            self._state = State.OVER
        elif not error.id and self._within:
            raise ProtocolError(f"error {error.code} about the connection, which it does not end")

    def _advance(self, kind: type[Any]) -> None:
        self._state = FOLLOWS[self._state][kind]
        self._id = self._number if self._state in (State.FILE, State.TREE) else -1

    def _cut(self, count: int) -> bytes:
        data = bytes(memoryview(self._buffer)[self._start : self._start + count])
        self._drop(count)
        return data

    def _drop(self, count: int) -> None:
        self._start += count
        if self._start == len(self._buffer):
            self._buffer = bytearray()
            self._start = 0


class Room:
    """Where to receive so that no byte of a run is read along with the messages before it, and a
    large body is not copied.

    For a receiver that takes the runs themselves from the connection.
    """

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._space = bytearray()
        self._body: bytearray | None = None
        self._filled = 0

    def view(self) -> memoryview:
        """Room for no more than is `wanted`; none if a message is ready or a run is due."""
        if self._body is None and (due := self._incoming.body_due) >= _DIRECT:
            self._body = bytearray(due)
            self._filled = 0
        if self._body is not None:
            return memoryview(self._body)[self._filled :]
        wanted = min(self._incoming.wanted, _DIRECT)
        if len(self._space) < wanted:
            self._space = bytearray(wanted)
        return memoryview(self._space)[:wanted]

    def filled(self, count: int) -> None:
        """`count` bytes were received into `view`."""
        if self._body is None:
            self._incoming.feed(memoryview(self._space)[:count])
            return
        self._filled += count
        if self._filled == len(self._body):
            body, self._body = self._body, None
            self._incoming.whole(body)
