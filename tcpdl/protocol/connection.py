"""The native dialect's client as a Twisted protocol, and its factory.

Imports Twisted, `wire`, `digest` and the modules beside it. PROTOCOL.md section 4 is the
specification. No reactor is imported before one is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    TimeoutError,  # noqa: A004 - it is what Twisted calls it
)
from twisted.internet.interfaces import IAddress, ISSLTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThreadPool
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from tcpdl import digest
from tcpdl.protocol.answers import DigestsAnswer, FileAnswer, FileDigests, TreeAnswer
from tcpdl.protocol.errors import (
    GoingAway,
    OtherDialect,
    ProtocolError,
    TooLarge,
    WrongUse,
    server_error,
)
from tcpdl.protocol.expecting import Answer
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.login import Login
from tcpdl.wire.native import ANY_TAG, TO_END, FileInfo, Get, GetDigests, Tree
from tcpdl.wire.pack import Entry

UNDER_WAY_MOST = 128
"""Requests that are sent before they are answered: as many as a server reads. More wait here."""

DISCARD_MOST = 1024 * 1024
"""Bytes of an answer nobody wants any more that are read and thrown away. If more are to come, it
takes less time to connect again."""

BYTES_MOST = 16 * 1024 * 1024
"""Bytes of a file, and of the packs of a list, unless the caller says how many may be held."""

SECONDS = 30.0
"""How long a server may be silent while something was asked of it."""


class NativeClient(Protocol, TimeoutMixin):
    """A connection on which any number of requests is made, and answered in order.

    Names are bytes, or text that is sent in UTF-8. Each request returns a Deferred, which fails
    with what `tcpdl.protocol.errors` describes; those of one connection fire in the order in which
    they were asked, so one that is slow to be taken delays those behind it.

    To cancel a Deferred ends its delivery. What was not sent yet never is; what else comes of its
    answer is thrown away, unless that is more than 1 MiB (`DISCARD_MOST`): then the connection is
    aborted, and all that was asked on it fails with `ConnectionAborted`.

    What is not this protocol aborts the connection, and fails all that was asked, with
    `ProtocolError`; silence for `timeout` seconds while something is owed does so with
    `twisted.internet.error.TimeoutError`. On a connection that was lost all fails with the reason.

    A server that is stopped says so, answers what it has got, and ends the connection. What is
    asked after that, and what it has not begun to answer in the end, fails with `GoingAway`.
    """

    transport: Any

    def __init__(self, reactor: Any = None, timeout: float | None = SECONDS) -> None:
        """`reactor` provides `IReactorTime` and `IReactorThreads`; if it is `None`, it is the one
        that is installed. A `timeout` of `None` waits for ever."""
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self._seconds: Any = timeout
        self._incoming = Incoming(State.ANSWER)
        self._number = 0
        self._under_way: deque[Answer] = deque()
        self._waiting: deque[tuple[Answer, bytes]] = deque()
        self._head = b""
        self._greeted = False
        self._reading = False
        self._held = False
        self._watched = False
        self._lost: Failure | None = None
        self._reason: Failure | None = None

    # Requests.

    def log_in(self, login: Login) -> None:
        """Say who makes the requests after this. There is no answer: they fail with `NotAllowed`
        if it is wrong. Raises `WrongUse` if others could read it on its way."""
        peer = getattr(self.transport.getPeer(), "host", "127.")  # a Unix socket has none
        if not (ISSLTransport.providedBy(self.transport) or peer.startswith(("127.", "::1"))):
            raise WrongUse("a login is sent under TLS, or to this machine")
        self.transport.write(native.encode(login))

    def info(self, name: bytes | str, tag: bytes = ANY_TAG) -> Deferred[FileInfo]:
        """What the file `name` is: size, times, and the tag under which to ask for the same."""
        return self._ask(lambda number: FileAnswer(self, self._get(number, name, 0, 0, tag), None))

    def get(
        self,
        name: bytes | str,
        consumer: object,
        offset: int = 0,
        length: int = TO_END,
        tag: bytes = ANY_TAG,
    ) -> Deferred[FileInfo]:
        """Deliver the file `name`, or `length` bytes of it from `offset`, to `consumer`.

        That is an `IConsumer`, for which this is a push producer, or a callable that takes bytes;
        if it returns a Deferred, nothing more is delivered until that fires. What comes is a chunk
        at a time (64 KiB to 16 MiB), each only once its digest was found to be right. Digests are
        of whole chunks, so the first and the last of a range are fetched whole, and cut here; and
        to know where chunks begin, a range costs a round trip more. With a `tag`, it is that
        version of the file or none (`Changed`). `Damaged` leaves the connection as it was.
        """
        if offset == 0 and length == TO_END:
            return self._ask(
                lambda number: FileAnswer(self, self._get(number, name, 0, TO_END, tag), consumer)
            )
        return Deferred.fromCoroutine(self._get_range(name, consumer, offset, length, tag))

    async def _get_range(
        self, name: bytes | str, consumer: object, offset: int, length: int, tag: bytes
    ) -> FileInfo:
        if length < 0:
            raise WrongUse(f"a length of {length} bytes")
        info: FileInfo = await self._ask(
            lambda number: FileAnswer(self, self._get(number, name, offset, 0, tag), None)
        )
        end = min(offset + length, info.size)
        if end == offset:
            return info
        chunk = 1 << info.chunk_shift
        first = offset // chunk * chunk
        count = -(-end // chunk) * chunk - first  # more than there is, if the last is shorter
        request = self._get(0, name, first, count, info.tag)
        return await self._ask(  # type: ignore[no-any-return]
            lambda number: FileAnswer(
                self, request._replace(id=number), consumer, known=info, span=(offset, end)
            )
        )

    def get_bytes(self, name: bytes | str, most: int = BYTES_MOST) -> Deferred[bytes]:
        """All of the file `name`. If it has more than `most` bytes, `TooLarge`, and what comes of
        it is thrown away as if it had been cancelled."""
        parts: list[bytes] = []
        asked = self._ask(
            lambda number: FileAnswer(
                self, self._get(number, name, 0, most, ANY_TAG), parts.append, most=most
            )
        )
        return asked.addCallback(lambda _: b"".join(parts))

    def digests(
        self,
        name: bytes | str,
        first: int = 0,
        chunks: int = TO_END,
        tag: bytes = ANY_TAG,
        most: int = native.CHUNKS_MOST,
    ) -> Deferred[FileDigests]:
        """The digests of `chunks` of the file `name`, from the one with the index `first`.

        More than `most` of them, which only files beyond 1 TiB have, are `TooLarge`.
        """
        return self._ask(
            lambda number: DigestsAnswer(
                self, GetDigests(number, _in_bytes(name), first, chunks, tag), most
            )
        )

    def tree(
        self,
        name: bytes | str,
        on_entries: Callable[[list[Entry]], object],
        *,
        recursive: bool = True,
        content: bool = False,
    ) -> Deferred[None]:
        """Call `on_entries` with what is in the folder `name`, some hundreds of entries at a time.

        Each has its name from that folder on, which never leads out of it. With `content`, files
        of up to 1 MiB come with their bytes, as views that keep all of their pack in memory. If the
        callable returns a Deferred, nothing more is delivered until that fires.
        """
        flags = native.RECURSIVE * recursive | native.CONTENT * content
        return self._ask(
            lambda number: TreeAnswer(
                self, Tree(number, _in_bytes(name), flags), on_entries, content=content
            )
        )

    def listdir(
        self, name: bytes | str = b"", recursive: bool = False, most: int = BYTES_MOST
    ) -> Deferred[list[Entry]]:
        """What is in the folder `name`, as a list; its root, if there is no name.

        If it takes more than `most` bytes to say so, about 50 for an entry, `TooLarge`: use `tree`.
        """
        found: list[Entry] = []
        room = most

        def add(entries: list[Entry]) -> None:
            nonlocal room
            # 24 bytes for the fixed fields, and a NUL after the name.
            room -= sum(len(entry.name) + len(entry.content) + 25 for entry in entries)
            if room < 0:
                raise TooLarge(f"the list takes more than {most} bytes")
            found.extend(entries)

        return self.tree(name, add, recursive=recursive).addCallback(lambda _: found)

    def _get(self, number: int, name: bytes | str, offset: int, length: int, tag: bytes) -> Get:
        return Get(number, _in_bytes(name), offset, length, tag)

    def _ask(self, make: Callable[[int], Answer]) -> Deferred[Any]:
        """Send the request of the answer that `make` makes of an id."""
        if self._reason is not None:
            return fail(self._reason)
        if not self.connected:
            return fail(WrongUse("there is no connection yet"))
        self._number = self._number % 0xFFFF + 1  # never 0, which stands for the connection
        try:
            answer = make(self._number)
            request = native.encode(answer.request)
        except WrongUse as problem:
            return fail(problem)
        self._waiting.append((answer, request))
        self._send()
        self._regulate()
        return answer.done

    def _send(self) -> None:
        while self._waiting and (self.going_away or len(self._under_way) < UNDER_WAY_MOST):
            answer, request = self._waiting.popleft()
            if self.going_away:
                answer.fail(Failure(GoingAway()))
            elif answer.wanted:
                self._under_way.append(answer)
                self.transport.write(request)

    # The connection.

    def connectionMade(self) -> None:
        self.transport.write(native.preface(digest.AVAILABLE))

    def dataReceived(self, data: bytes) -> None:
        if self._reason is not None:
            return
        self.resetTimeout()  # type: ignore[no-untyped-call]
        if not self._greeted:
            self._head = (self._head + data)[: len(native.MAGIC)]
            if not native.MAGIC.startswith(self._head):
                self.refuse(Failure(OtherDialect("the server does not speak the native dialect")))
                return
        payload = self._incoming.payload
        if payload and not (self._incoming.buffered or self._reading):
            run = data[:payload]  # itself, if it is no longer
            self._incoming.passed(len(run))
            self._under_way[0].take_run(run)
            data = data[payload:]
        self._incoming.feed(data)
        self.changed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._greeted and reason.check(ConnectionDone):
            reason = Failure(OtherDialect("the server does not answer in the native dialect"))
        self._lost = reason
        self.changed()

    def callLater(self, period: float, func: Callable[[], None]) -> Any:
        return self._reactor.callLater(period, func)

    def timeoutConnection(self) -> None:
        self._watched = False
        sentence = f"the server was silent for {self._seconds:g} s"
        self.refuse(Failure(TimeoutError(string=sentence)))

    # What answers need.

    @property
    def algorithm(self) -> int:
        """The digest that the server chose, `wire.native.SHA256` or `BLAKE3`; 0 until it has."""
        return self._incoming.digests

    @property
    def going_away(self) -> bool:
        """The server has said that it ends this connection: ask on another."""
        return self._incoming.going_away

    def in_thread(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Call `work(*args)` in a thread of the reactor's."""
        done: Deferred[Any] = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), work, *args
        )
        return done

    def changed(self) -> None:
        """Take what has come apart, as far as it can be delivered."""
        if self._reading:
            return
        self._reading = True
        try:
            while self._reason is None and self._step():
                pass
        except ProtocolError:
            self.refuse(Failure())
        finally:
            self._reading = False
        if self._lost is not None and self._reason is None:
            self._end(self._lost)
        self._regulate()

    def refuse(self, failure: Failure) -> None:
        """Abort the connection, and fail all that was asked on it."""
        if self._reason is None:
            self._end(failure)
            if self._lost is None:
                self.transport.abortConnection()

    # Reading.

    @property
    def _full(self) -> bool:
        return bool(self._under_way) and self._under_way[0].full

    def _step(self) -> bool:
        """Take one message, or some of a run; return whether there may be more."""
        # What came before a connection was lost counts, whoever still has to take it.
        while self._under_way and (
            self._under_way[0].ended if self._lost is not None else self._under_way[0].over
        ):
            self._under_way.popleft()
        self._send()
        answer = self._under_way[0] if self._under_way else None
        if answer is not None:
            if not answer.wanted and answer.burden > DISCARD_MOST:
                sentence = "too much was to come of an answer that nobody wants any more"
                self.refuse(Failure(ConnectionAborted(sentence)))
                return False
            if answer.full and self._lost is None:
                return False
            if self._incoming.payload:
                data = self._incoming.take(self._incoming.payload)
                if data:
                    answer.take_run(data)
                return bool(data)
        message: Any = self._incoming.next()
        self._greet()
        if message is None:
            self._send()
            return False
        if isinstance(message, native.Error) and message.code >= native.FATAL:
            self.refuse(Failure(server_error(message)))
            return False
        if not self.algorithm:
            raise ProtocolError("the server chose no digest, and went on")
        if answer is None:
            raise ProtocolError(f"{type(message).__name__}, though nothing was asked for")
        if message.id != answer.request.id:
            raise ProtocolError(f"a part of answer {message.id} within {answer.request.id}")
        answer.take(message)
        return True

    def _greet(self) -> None:
        """Check what the server chose, as soon as its preface has come."""
        chosen = self._incoming.digests
        if self._greeted or not self._incoming.version:
            return
        self._greeted = True
        if chosen and not (chosen & digest.AVAILABLE and chosen in (native.SHA256, native.BLAKE3)):
            raise ProtocolError(f"the server chose digest {chosen}, which was not offered")

    def _regulate(self) -> None:
        """Read from the transport, and watch the time, only when there is reason to."""
        gone = self._reason is not None or self._lost is not None
        held = self._full and not gone
        if held is not self._held and not gone:
            self._held = held
            if held:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()
        watched = bool(self._under_way) and not held and not gone
        if watched is not self._watched:
            self._watched = watched
            seconds = self._seconds if watched else None
            self.setTimeout(seconds)  # type: ignore[no-untyped-call]

    def _end(self, reason: Failure) -> None:
        """Nothing more comes: what waits for it fails."""
        self._reason = reason
        answers = [*self._under_way, *(answer for answer, _ in self._waiting)]
        self._under_way.clear()
        self._waiting.clear()
        self._regulate()
        begun = 0 if self._incoming.between else 1
        for index, answer in enumerate(answers):
            answer.fail(Failure(GoingAway()) if self.going_away and index >= begun else reason)


class NativeClientFactory(Factory):
    """Makes `NativeClient`s, for endpoints: `endpoint.connect(NativeClientFactory(reactor))`."""

    protocol = NativeClient
    noisy = False

    def __init__(self, reactor: Any = None, timeout: float | None = SECONDS) -> None:
        """As for `NativeClient`."""
        self.reactor = reactor
        self.timeout = timeout

    def buildProtocol(self, addr: IAddress | None) -> NativeClient:
        client = self.protocol(self.reactor, self.timeout)
        client.factory = self
        return client


def _in_bytes(name: bytes | str) -> bytes:
    if isinstance(name, bytes):
        return name
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise WrongUse(f"a name that is no text: {error}") from None
