"""One HTTP request and its answer. Imports `web`, `content` and the modules beside it.

What answers, in `http_files`, `http_folders` and `http_answers`, is given an `Exchange` and writes
to it; the connection itself is `server.http`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from tcpdl.content.errors import LoginNeeded, NotAllowed, NotServed, Unavailable
from tcpdl.content.guarded import Guarded
from tcpdl.content.source import Source
from tcpdl.server.crowd import Address
from tcpdl.server.deadlines import Deadlines
from tcpdl.server.direct import address_of
from tcpdl.server.sending import count_written, has_unsent
from tcpdl.server.transfers import (
    ABSENT,
    COMPLETE,
    DENIED,
    LOGIN,
    MALFORMED,
    MISMATCH,
    REDIRECTED,
    REFUSED,
    TIMEOUT,
    UNAVAILABLE,
    UNCHANGED,
    Transfer,
    Transfers,
)
from tcpdl.server.working import Workers
from tcpdl.web.request import Refusal, Request
from tcpdl.web.urls import PageLink
from tcpdl.wire.names import NameRefused

Fields = list[tuple[str, str]]
"""Names and values of an answer's fields. Values that come from names must be escaped before."""

Work = Coroutine[Any, Any, None]
"""The rest of an answer, which takes waiting."""

_OUTCOMES = {
    301: REDIRECTED,
    304: UNCHANGED,
    308: REDIRECTED,
    401: LOGIN,
    403: DENIED,
    404: ABSENT,
    408: TIMEOUT,
    412: MISMATCH,
    416: MISMATCH,
    421: REFUSED,
    503: UNAVAILABLE,
}
"""What has become of a request, by the status of its answer; of others that say that there was an
error, it was not understood."""


_BY_LINK: Fields = [("Referrer-Policy", "no-referrer")]
"""What is said with an answer to who has a link: a page must not tell it to those it leads to."""

_BY_LOGIN: Fields = [*_BY_LINK, ("Cross-Origin-Resource-Policy", "same-origin")]
"""And to who has logged in: a browser does so whoever's page it is that asks, and none but ours is
to get it."""


class Sharing(Protocol):
    """What is needed of `server.http.HttpFactory`."""

    transfers: Transfers


class Connection(Protocol):
    """What is needed of `server.http.Http`."""

    transport: Any
    deadlines: Deadlines
    keep_alive: bool
    peer_ended: bool
    lost_as: str

    @property
    def factory(self) -> Sharing: ...

    @property
    def peer(self) -> str: ...

    @property
    def secure(self) -> bool: ...

    def start(self, status: int, request: Request) -> bytes: ...

    def promise(self) -> None: ...

    @property
    def gone(self) -> bool: ...

    async def until(self, work: Deferred[Any]) -> Any: ...

    def unless_gone(self, work: Callable[..., Any], *args: Any) -> Any: ...

    async def drained(self) -> None: ...


class Exchange:
    """A request, and the connection that it is to be answered on."""

    __slots__ = (
        *("connection", "link", "request", "source", "transfer", "transport", "user", "why"),
    )

    source: Source
    """What whoever asks may see: all that is told of files and folders comes from there."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.transport = connection.transport
        self.user: str | None = None
        """Who has logged in."""
        self.link: PageLink | None = None
        """The link that the request was made with."""
        self.transfer: Transfer | None = None
        """The answer, if it takes waiting."""
        self.why = ""
        """What there is to say of the answer besides its status."""

    @property
    def address(self) -> Address | None:
        """Where the client is, for limits of what each may have; `None` if nobody counts."""
        return address_of(self.transport)

    @property
    def private(self) -> bool:
        """Whether the answer is for nobody else."""
        return self.user is not None or self.link is not None

    @property
    def vary(self) -> str:
        """What Vary says of an answer that is not the same for all who may have it."""
        return "Accept, Authorization" if isinstance(self.source, Guarded) else "Accept"

    def arguments(self) -> dict[str, str]:
        """Those of the query, without those that make it a link. Raises `Refusal`."""
        found = self.request.arguments()
        if self.link is not None:
            del found["until"], found["signed"]
        return found

    @property
    def now(self) -> float:
        """The time, in seconds since no particular moment."""
        seconds: float = self.connection.deadlines.clock.seconds()
        return seconds

    def start(self, status: int) -> bytes:
        """The first lines of an answer that has no Cache-Control of its own."""
        start = self.connection.start(status, self.request)
        if self.user is None and self.link is None:
            return start
        return start + (_PRIVATE_BY_LINK if self.user is None else _PRIVATE_BY_LOGIN)

    def head(self, status: int, fields: Fields) -> bytes:
        """The head of an answer, as bytes still to be written."""
        if self.private:
            fields = self._marked(fields)
        return self.connection.start(status, self.request) + encode_fields(fields)

    def _marked(self, fields: Fields) -> Fields:
        """`fields` of an answer that is for nobody else."""
        own = dict(fields).get("Cache-Control")
        kept = [field for field in fields if field[0] not in ("Cache-Control", "Referrer-Policy")]
        kept.append(("Cache-Control", f"private, {own}" if own else "private"))
        return kept + (_BY_LINK if self.user is None else _BY_LOGIN)

    def write_encoded(self, status: int, fields: bytes, body: bytes) -> None:
        """Write a whole answer whose fields, Content-Length among them, `encode_fields` made; of
        one to HEAD, all but the body."""
        if self.request.method == "HEAD":
            body = b""
        self.transport.write(self.start(status) + fields + body)
        self.note(status, len(body))

    def write(self, status: int, fields: Fields, body: bytes = b"") -> None:
        """Write a whole answer; of one to HEAD, all but the body."""
        if status not in (204, 304):
            fields.append(("Content-Length", str(len(body))))
        if self.request.method == "HEAD":
            body = b""
        self.transport.write(self.head(status, fields) + body)
        self.note(status, len(body))

    def write_sentence(self, status: int, fields: Fields, sentence: str) -> None:
        """Write a whole answer that says in a sentence why it is no other."""
        fields.append(("Content-Type", "text/plain; charset=utf-8"))
        fields.append(("X-Content-Type-Options", "nosniff"))
        self.why = sentence
        self.write(status, fields, f"{sentence}\n".encode())

    @property
    def _asked(self) -> bytes:
        request = self.request
        return request.path + b"?" + request.query if request.query else request.path

    def begin(self) -> Transfer:
        """The answer, which takes waiting or has more to be told of: it is to be ended."""
        if self.transfer is None:
            connection, request = self.connection, self.request
            self.transfer = connection.factory.transfers.begin(
                *("http", connection.peer, connection.secure),
                *(request.method, self._asked, self.user),
            )
            self.transfer.agent = request.fields.get(b"user-agent")
        return self.transfer

    def note(self, status: int, count: int) -> None:
        """The request was answered, with `count` bytes of content, which were written last."""
        outcome = COMPLETE if status < 300 else _OUTCOMES.get(status, MALFORMED)
        request, connection = self.request, self.connection
        if self.transfer is not None or has_unsent(self.transport):
            transfer = self.begin()
            transfer.status, transfer.user = status, self.user
            written = count_written(self.transport, count, transfer)
            if written is None:
                transfer.end(outcome, self.why)
            else:
                written.addCallback(self._has_sent, transfer, outcome)
            return
        connection.factory.transfers.once(
            outcome,
            "http",
            connection.peer,
            connection.secure,
            request.method,
            self._asked if request.query else request.path,
            self.user,
            status,
            count,
            request.fields.get(b"user-agent"),
            self.why,
        )

    def _has_sent(self, left: int, transfer: Transfer, outcome: str) -> None:
        """All of an answer that had to wait is sent, but for what is `left`."""
        if left:
            transfer.end(self.connection.lost_as)
        else:
            transfer.end(outcome, self.why)

    async def until(self, work: Deferred[Any]) -> Any:
        """What our own `work` comes to. Raises `Gone` if the client does not wait for it."""
        return await self.connection.until(work)

    def start_work(self, workers: Workers, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Have a thread call `work(*args)`, unless the client has gone by then."""
        return workers.run(self.connection.unless_gone, work, *args)

    async def run(self, workers: Workers, work: Callable[..., Any], *args: Any) -> Any:
        """What `work(*args)` gives, called in a thread. Raises `Gone`."""
        return await self.until(self.start_work(workers, work, *args))


def refusal_of(problem: NotServed | NameRefused) -> Refusal:
    """How a request is refused for what is not served."""
    if isinstance(problem, Unavailable):
        status = 503
    elif isinstance(problem, LoginNeeded):
        status = 401 if problem.here else 403
    elif isinstance(problem, NotAllowed):
        status = 403
    else:
        status = 404
    return Refusal(status, str(problem), fatal=False)


def encode_fields(fields: Fields) -> bytes:
    """What follows the first lines of a head, with the empty line at its end."""
    lines = [f"{name}: {value}\r\n" for name, value in fields]
    return ("".join(lines) + "\r\n").encode("latin-1")


_PRIVATE_BY_LINK = encode_fields([("Cache-Control", "private"), *_BY_LINK])[:-2]
_PRIVATE_BY_LOGIN = encode_fields([("Cache-Control", "private"), *_BY_LOGIN])[:-2]
