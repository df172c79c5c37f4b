"""How HTTP answers for a folder: as a page, as JSON, as an archive, as a list of digests.

Imports `web`, `content` and the modules beside it. All of it is made in threads, a piece at a time:
an archive, however large, takes no more memory than the piece that is being sent, and the names of
the folder that it is in the middle of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred

from tcpdl.content.digests import Digests
from tcpdl.content.errors import NotServed
from tcpdl.content.source import Source
from tcpdl.content.walking import left_out
from tcpdl.digest import FileEnded
from tcpdl.server.answering import Gone
from tcpdl.server.crowd import Address
from tcpdl.server.http_exchange import Exchange, Fields, Work, refusal_of
from tcpdl.server.outcomes import LOST, outcome_of, why_of
from tcpdl.server.outgoing import FileCutShort
from tcpdl.server.pools import Pool
from tcpdl.server.sending import count_written, send_file, until_sent
from tcpdl.server.transfers import COMPLETE
from tcpdl.server.working import Workers
from tcpdl.web import archives, fields, listing, page, sums
from tcpdl.web.archives import ChangedWhileRead, Content
from tcpdl.web.request import Refusal
from tcpdl.web.urls import folder_path
from tcpdl.wire.names import Name
from tcpdl.wire.native import BLAKE3, SHA256
from tcpdl.wire.pack import FILE, LINK, Entry

ENTRIES_MOST = 100_000
"""Names on one page. Who has more of them in a folder is not helped by a page."""

NAMES_FEW = 2000
"""Names of a folder that is looked at in one go; there is always room for them."""

NAMES_MOST = 400_000
"""Names in all answers with more than `NAMES_FEW` that are under way: some 100 MB of pages."""

PAGES_MOST = 128 * 1024 * 1024
"""Bytes of all pages that are being sent: those of 2,000 names have a megabyte, or ten."""

PAGE_SMALL = 64 * 1024
"""Bytes of a page that is not counted: any answer may have as many."""

STREAMS_MOST = 64
"""Archives and lists of digests that are sent at the same time. Each may hold the names of a folder
that it is in the middle of."""

README_MOST = 256 * 1024
"""Bytes of a README.md that is shown below the folder's names."""

_ALL = "tcpdl ls shows them all"
_TOO_MANY = "too many large folders are being sent; try again"
_README = (b"README.md", b"readme.md", b"Readme.md")

_Piece = bytes | Content
_MakeSite = Callable[[Exchange], page.Site]

_ARCHIVES = {
    "tar": ("application/x-tar", archives.tar),
    "zip": ("application/zip", archives.zip),
}
_SUMS = {"sha256": (b"SHA256SUMS", SHA256), "blake3": (b"B3SUMS", BLAKE3)}


class FolderAnswers:
    """Answers requests for folders."""

    def __init__(self, digests: Digests, workers: Workers, site: _MakeSite) -> None:
        """`site` says what a page is to tell of this server; it is called in a thread."""
        self._digests = digests
        self._workers = workers
        self._site = site
        self.names = Pool(NAMES_MOST, least=ENTRIES_MOST + NAMES_FEW)
        self.pages = Pool(PAGES_MOST)
        self.streams = Pool(STREAMS_MOST)

    def answer(self, exchange: Exchange, name: Name, arguments: dict[str, str]) -> Work:
        """Answer for the folder called `name`. Raises `Refusal`."""
        if (form := arguments.get("archive")) is not None:
            return self._archive(exchange, name, form)
        if (algorithm := arguments.get("sums")) is not None:
            return self._list_sums(exchange, name, algorithm)
        return self._list(exchange, name, arguments)

    async def _list(self, exchange: Exchange, name: Name, arguments: dict[str, str]) -> None:
        as_json = _wants_json(exchange, arguments)
        sort, wanted = arguments.get("sort", ""), arguments.get("filter", "")
        address = exchange.address
        room, taken = _Room(self.names, address), 0
        try:
            body = await self._listing(exchange, name, room, sort, wanted, as_json=as_json)
            if len(body) > PAGE_SMALL:
                if not self.pages.take(address, len(body)):
                    raise Refusal(503, _TOO_MANY, fatal=False)
                taken = len(body)
            if as_json:
                more = [
                    ("Content-Type", "application/json"),
                    ("X-Content-Type-Options", "nosniff"),
                    ("Vary", exchange.vary),
                    ("Cache-Control", "no-cache"),
                ]
                exchange.write(200, more, body)
            else:
                write_page(exchange, body)
            del body  # the transport has it
            await exchange.connection.drained()  # until then it takes memory
        finally:
            self.pages.give(address, taken)
            room.close()

    async def _listing(
        self,
        exchange: Exchange,
        name: Name,
        room: _Room,
        sort: str,
        wanted: str,
        *,
        as_json: bool,
    ) -> bytes:
        """What is in a folder, as a page or as JSON."""
        items = await self._items(exchange, name, room)

        def make() -> bytes:
            readme = None if as_json else _readme(exchange.source, name, items)
            arranged = listing.arrange(items, sort=sort, filter=wanted)
            if as_json:
                return listing.as_json(folder_path(name.segments), arranged, exchange.link)
            site = self._site(exchange)
            return page.folder_page(
                site, name.segments, arranged, sort=sort, filter=wanted, readme=readme
            )

        made: bytes = await self._made(exchange, make)
        return made

    async def _made(self, exchange: Exchange, make: Callable[..., Any], *args: Any) -> Any:
        """What `make(*args)` gives, called in a thread. Raises `Refusal` and `Gone`."""
        try:
            return await exchange.run(self._workers, make, *args)
        except NotServed as problem:
            raise refusal_of(problem) from None
        except (LookupError, ValueError) as problem:
            raise Refusal(400, str(problem), fatal=False) from None
        except OSError as problem:
            raise Refusal(503, f"it cannot be read: {problem.strerror}", fatal=False) from None

    async def _items(self, exchange: Exchange, name: Name, room: _Room) -> list[listing.Item]:
        """What is in a folder, links followed as those who ask for them will be. It is read in
        steps, so that a large folder does not keep small ones waiting."""
        items: list[listing.Item] = []
        entries = await self._made(exchange, exchange.source.list, name)
        try:
            while some := await self._made(exchange, _some, exchange.source, name, entries):
                items += some
                room.grow(len(items))
                if len(items) > ENTRIES_MOST:
                    more = left_out(b"", f"it holds more than {ENTRIES_MOST} names: {_ALL}")
                    items[ENTRIES_MOST:] = listing.items_of([more])
                    break
        finally:
            entries.close()
        if len(items) == 1 and not items[0].name:
            raise Refusal(503, items[0].why, fatal=False)  # not even its names can be read
        return items

    def _archive(self, exchange: Exchange, name: Name, form: str) -> Work:
        if form not in _ARCHIVES:
            raise Refusal(400, f"archive: choose {' or '.join(_ARCHIVES)}", fatal=False)
        kind, make = _ARCHIVES[form]
        title = (name.segments[-1] if name.segments else b"files") + f".{form}".encode("ascii")
        return self._stream(exchange, kind, title, partial(make, exchange.source, name))

    def _list_sums(self, exchange: Exchange, name: Name, algorithm: str) -> Work:
        if algorithm not in _SUMS:
            raise Refusal(400, f"sums: choose {' or '.join(_SUMS)}", fatal=False)
        title, number = _SUMS[algorithm]
        make = partial(sums.sums, exchange.source, self._digests, name, number)
        return self._stream(exchange, "text/plain; charset=utf-8", title, make)

    async def _stream(
        self,
        exchange: Exchange,
        kind: str,
        title: bytes,
        make: Callable[[], Iterator[_Piece]],
    ) -> None:
        """Send what is made piece by piece in threads, as fast as the client takes it."""
        address = exchange.address
        if not self.streams.take(address):
            raise Refusal(503, "too many folders are being sent; try again", fatal=False)
        try:
            await self._stream_now(exchange, kind, title, make)
        finally:
            self.streams.give(address)

    async def _stream_now(
        self,
        exchange: Exchange,
        kind: str,
        title: bytes,
        make: Callable[[], Iterator[_Piece]],
    ) -> None:
        pieces = await self._made(exchange, make)
        more: Fields = [
            ("Content-Type", kind),
            ("Content-Disposition", fields.attachment(title)),
            ("X-Content-Type-Options", "nosniff"),
        ]
        chunked = exchange.request.minor == 1
        if chunked:
            more.append(("Transfer-Encoding", "chunked"))
        else:
            exchange.connection.keep_alive = False  # its end is that of the connection
            exchange.connection.promise()
        exchange.transport.write(exchange.head(200, more))
        if exchange.request.method == "HEAD":
            pieces.close()
            exchange.note(200, 0)
            return
        stream = _Stream(exchange, self._workers, pieces, chunked=chunked)
        transfer = exchange.begin()
        transfer.status, transfer.user = 200, exchange.user
        try:
            await stream.run()
        except (*LOST, FileCutShort, OSError, FileEnded, ChangedWhileRead) as problem:
            # What is broken off must not look whole, so the connection ends in a reset.
            transfer.end(outcome_of(problem, exchange.connection.lost_as), why_of(problem))
            raise Gone from None
        transfer.end(COMPLETE)


def _some(source: Source, folder: Name, entries: Iterator[Entry]) -> list[listing.Item]:
    return listing.items_of(
        _followed(source, folder, entry) if entry.kind == LINK else entry
        for entry in islice(entries, NAMES_FEW)
    )


def _followed(source: Source, folder: Name, entry: Entry) -> Entry:
    try:
        found = source.stat(Name((*folder.segments, entry.name)))
    except NotServed:
        return entry
    return found._replace(name=entry.name)


def _readme(source: Source, folder: Name, items: list[listing.Item]) -> bytes | None:
    names = {item.name for item in items if item.name in _README and item.size <= README_MOST}
    for wanted in _README:
        if wanted in names:
            picked = source.pick(folder, (wanted,), content_most=README_MOST)
            entry = next(picked)
            return bytes(entry.content) if entry.kind == FILE else None
    return None


class _Room:
    """Room in memory for the names of one folder, until they have been sent."""

    def __init__(self, pool: Pool, address: Address | None) -> None:
        self._pool = pool
        self._address = address
        self._taken = 0

    def grow(self, names: int) -> None:
        """Have room for so many. Raises `Refusal`."""
        if names > NAMES_FEW:
            if not self._pool.take(self._address, names - self._taken):
                raise Refusal(503, _TOO_MANY, fatal=False)
            self._taken = names

    def close(self) -> None:
        """Give it back."""
        self._pool.give(self._address, self._taken)


class _Stream:
    """The body of an answer whose length is not known before its end."""

    def __init__(
        self, exchange: Exchange, workers: Workers, pieces: Iterator[_Piece], *, chunked: bool
    ) -> None:
        self._exchange = exchange
        self._workers = workers
        self._pieces = pieces
        self._chunked = chunked
        self._made: _Piece | None = None
        self._transfer = exchange.begin()

    async def run(self) -> None:
        """Send it. Each piece is made while the one before is sent."""
        exchange = self._exchange
        ready = self._next()
        try:
            while True:
                await exchange.until(ready)
                piece, self._made = self._made, None
                if piece is None:
                    break
                ready = self._next()
                if isinstance(piece, Content):
                    await self._send(piece)
                else:
                    self._write(piece)
                await exchange.connection.drained()
        finally:
            ready.addBoth(self._give_up)  # at once, unless a thread is still at it
        if self._chunked:
            exchange.transport.write(b"0\r\n\r\n")
        await until_sent(exchange.transport, self._transfer)

    def _next(self) -> Deferred[None]:
        """Have a thread make the next piece. Until it is taken it is ours, whoever waits for it."""
        ready = self._exchange.start_work(self._workers, next, self._pieces, None)
        return ready.addCallback(self._hold)

    def _hold(self, piece: _Piece | None) -> None:
        self._made = piece

    def _give_up(self, _: Any) -> None:
        if isinstance(self._made, Content):
            self._made.file.close()
        self._pieces.close()  # type: ignore[attr-defined]

    def _write(self, piece: bytes) -> None:
        if piece:
            transport = self._exchange.transport
            whole = b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece
            transport.write(whole)
            behind = 2 if self._chunked else 0
            count_written(transport, len(piece), self._transfer, behind=behind)

    async def _send(self, content: Content) -> None:
        exchange = self._exchange
        file, transport = content.file, exchange.transport
        try:
            if self._chunked and file.size:
                transport.write(b"%x\r\n" % file.size)
            await send_file(transport, file.fd, 0, file.size, self._transfer)
            if file.written_over():
                raise ChangedWhileRead("a file was written over")
            if not self._chunked:
                exchange.connection.promise()  # which the file's end has made good
            elif file.size:
                transport.write(b"\r\n")
        finally:
            file.close()


def write_page(exchange: Exchange, body: bytes) -> None:
    """Answer with a page."""
    more = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", page.CONTENT_SECURITY_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Vary", exchange.vary),
        ("Cache-Control", "no-cache"),
    ]
    exchange.write(200, more, body)


def _wants_json(exchange: Exchange, arguments: dict[str, str]) -> bool:
    if "format" in arguments:
        if arguments["format"] not in ("json", "html"):
            raise Refusal(400, "format: choose json or html", fatal=False)
        return arguments["format"] == "json"
    accept = exchange.request.field(b"accept")
    as_json = fields.preference(accept, "application/json")
    return as_json > fields.preference(accept, "text/html")
