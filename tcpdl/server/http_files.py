"""How HTTP answers for a file: whole, in ranges, or not at all since the client has it.

Imports `web`, `content` and the modules beside it. RFC 9110, sections 8, 13, 14. What can be
answered without waiting is written at once, head and file together; the rest is a coroutine.
"""

from __future__ import annotations

import base64
import os
import secrets
import time
from contextlib import ExitStack, suppress
from hashlib import sha256
from typing import NamedTuple

from tcpdl.content.digests import Digests
from tcpdl.content.errors import NotServed
from tcpdl.content.source import File
from tcpdl.digest import FileEnded
from tcpdl.server.answering import Gone
from tcpdl.server.hashing import Busy, Hashing, NotWanted
from tcpdl.server.http_exchange import Exchange, Fields, Work, encode_fields
from tcpdl.server.http_kept import FILE_MOST, KEPT_SECONDS, Kept, KeptAnswers
from tcpdl.server.outcomes import LOST, outcome_of, why_of
from tcpdl.server.outgoing import FileCutShort
from tcpdl.server.sending import send_file
from tcpdl.server.transfers import CHANGED, COMPLETE
from tcpdl.server.warming import would_wait
from tcpdl.server.working import Workers
from tcpdl.web import conditions, fields
from tcpdl.web.ranges import Range, Unsatisfiable, parse_ranges
from tcpdl.web.request import Request
from tcpdl.wire.names import Name

AT_ONCE_MOST = 64 * 1024
"""Bytes of a file that is read and written together with its head: that takes less time than to
ask the kernel to send it."""

HASHED_FIRST_MOST = 64 * 1024 * 1024
"""Bytes of a file that is hashed before it is sent, if the client wants a digest and it is not
known: a tenth of a second. A longer one comes without, but for HEAD."""

_CHANGING = {
    *(b"range", b"if-range", b"if-match", b"if-none-match"),
    *(b"if-modified-since", b"if-unmodified-since", b"want-repr-digest"),
}
"""Fields of a request that change the answer for a file."""

HALF_CLOSED_SECONDS = 10.0
"""For how long a file is hashed for a client that has half-closed, and may have gone."""

PRECOMPRESSED = (("zstd", b".zst"), ("gzip", b".gz"))
"""Content codings, the better ones first, and what names of files that have them end in."""


class _Shown(NamedTuple):
    """What a request for a file is answered with."""

    name: Name
    file: File
    """The one of that name, or one that has its bytes in another coding."""
    kind: str
    """The media type of what was asked for, in whatever coding."""
    coding: str
    save: bool


class FileAnswers:
    """Answers requests for files."""

    def __init__(
        self,
        digests: Digests,
        workers: Workers,
        *,
        precompressed: bool = False,
        site: bool = False,
    ) -> None:
        """With `precompressed`, see `HttpAnswers`; with `site`, pages among the files belong
        together, and are trusted with each other."""
        self._hashing = Hashing(digests, workers)
        self.known_digest = self._hashing.known
        self._workers = workers
        self._precompressed = precompressed
        self._site = site
        self._kept = KeptAnswers()

    def answer_again(self, exchange: Exchange, name: Name) -> bool:
        """Answer with a file as before, if that is kept and the file is still the same.

        Raises `NotServed` if nothing of that name is handed out any more.
        """
        kept = self._kept.get(name.segments)
        if kept is None or not self._is_plain(exchange.request):
            return False
        if kept.until < exchange.now or exchange.source.identify(name) != kept.identity:
            self._kept.drop(name.segments)
            return False
        exchange.write_encoded(200, kept.fields, kept.data)
        return True

    def answer(self, exchange: Exchange, name: Name, file: File, *, save: bool) -> Work | None:
        """Answer with `file`, which is closed after. With `save`, a browser is to save it."""
        held = ExitStack()
        held.callback(file.close)
        work: Work | None = None
        try:
            if file.size <= FILE_MOST and not save and self._is_plain(exchange.request):
                kept = self._keep(exchange, name, file)
                if kept is not None:
                    exchange.write_encoded(200, kept.fields, kept.data)
                    return None
            beginning = _beginning(file)
            if beginning is None:
                work = self._read_first(exchange, name, file, save, held)
            else:
                work = self._choose(exchange, name, file, beginning, save, held)
        finally:
            if work is None:
                held.close()
        return work and _closing(held, work)

    def _is_plain(self, request: Request) -> bool:
        """Whether nothing in the request changes what a file is answered with."""
        return request.fields.keys().isdisjoint(_CHANGING) and not (
            self._precompressed and b"accept-encoding" in request.fields
        )

    def _keep(self, exchange: Exchange, name: Name, file: File) -> Kept | None:
        """What a small file is answered with, kept; nothing if that would take waiting, or the
        file may still change unnoticed."""
        data = _read_at_once(file, 0, file.size)
        if data is None or not (file.settled and file.still_same()):
            return None
        common = self._common(file, fields.etag_of(file), fields.modified_of(file, time.time()))
        common += self._about(name, file, digest=sha256(data).digest())
        common += self._typed(fields.type_of(name.segments[-1], data[: fields.SNIFFED]))
        common.append(("Content-Length", str(file.size)))
        until = exchange.now + KEPT_SECONDS
        kept = Kept(file.identity, until, encode_fields(common), data)
        self._kept.put(name.segments, kept)
        return kept

    async def digest(self, exchange: Exchange, file: File) -> bytes:
        """The SHA-256 of `file`, however long it takes to find that out.

        Raises `Gone`, `Busy`, `OSError` and `FileEnded`.
        """
        connection, began = exchange.connection, exchange.now

        def is_wanted() -> bool:
            # Whether one that has half-closed still listens, nobody can tell before it is sent
            # something.
            may_have_left = connection.peer_ended and exchange.now - began > HALF_CLOSED_SECONDS
            return not (connection.gone or may_have_left)

        try:
            found: bytes = await exchange.until(
                self._hashing.find(file, is_wanted, exchange.address)
            )
        except NotWanted:
            raise Gone from None
        return found

    def _hashes_first(self, exchange: Exchange, file: File) -> bool:
        request = exchange.request
        return (
            b"want-repr-digest" in request.fields
            and _wants_sha256(request.field(b"want-repr-digest") or "")
            and (request.method == "HEAD" or file.size <= HASHED_FIRST_MOST)
            and self.known_digest(file) is None
        )

    async def _read_first(
        self, exchange: Exchange, name: Name, file: File, save: bool, held: ExitStack
    ) -> None:
        """Answer once a thread has read the beginning of `file`, which tells the media type."""
        beginning = await exchange.run(self._workers, _read_beginning, file)
        work = self._choose(exchange, name, file, beginning, save, held)
        if work is not None:
            await work

    def _choose(
        self,
        exchange: Exchange,
        name: Name,
        file: File,
        beginning: bytes,
        save: bool,
        held: ExitStack,
    ) -> Work | None:
        """Answer with `file`, or what holds the same; what that opens is `held`."""
        shown = _Shown(name, file, fields.type_of(name.segments[-1], beginning), "", save)
        if self._precompressed:
            shown = self._compressed(exchange, shown, held)
        if self._hashes_first(exchange, shown.file):
            return self._with_digest(exchange, shown)
        return self._answer(exchange, shown)

    async def _with_digest(self, exchange: Exchange, shown: _Shown) -> None:
        # That it cannot be read will be met again. If it changed meanwhile, it has no digest yet.
        with suppress(OSError, FileEnded, Busy):
            await self.digest(exchange, shown.file)
        work = self._answer(exchange, shown)
        if work is not None:
            await work

    def _answer(self, exchange: Exchange, shown: _Shown) -> Work | None:
        request, file = exchange.request, shown.file
        etag = fields.etag_of(file)
        modified = fields.modified_of(file, time.time())
        common = self._common(file, etag, modified)
        status = conditions.evaluate(request.field, etag, modified)
        if status == conditions.NOT_MODIFIED:
            exchange.write(status, common)
            return None
        if status == conditions.PRECONDITION_FAILED:
            sentence = "the file is another one than the request is for"
            exchange.write_sentence(status, common, sentence)
            return None
        ranges: list[Range] | None = None
        asked = request.field(b"range") if request.method == "GET" else None
        if asked is not None and conditions.range_holds(request.field(b"if-range"), etag, modified):
            try:
                ranges = parse_ranges(asked, file.size)
            except Unsatisfiable:
                sentence = f"the file has {file.size} bytes, and none of those asked for"
                common.append(("Content-Range", f"bytes */{file.size}"))
                exchange.write_sentence(416, common, sentence)
                return None
        common += self._about(shown.name, file, coding=shown.coding, save=shown.save)
        if ranges is not None and len(ranges) > 1:
            return self._parts(exchange, shown, common, ranges)
        common += self._typed(shown.kind)
        start, end = ranges[0] if ranges else (0, file.size)
        common.append(("Content-Length", str(end - start)))
        if ranges:
            common.append(("Content-Range", f"bytes {start}-{end - 1}/{file.size}"))
        status = 206 if ranges else 200
        return _send_one(exchange, file, status, encode_fields(common), (start, end))

    def _common(self, file: File, etag: str, modified: int | None) -> Fields:
        """What is said of a file in every answer about it."""
        common = [("ETag", etag)]
        if modified is not None:
            common.append(("Last-Modified", fields.http_date(modified)))
        if self._precompressed:
            common.append(("Vary", "Accept-Encoding"))
        return common

    def _about(
        self,
        name: Name,
        file: File,
        *,
        coding: str = "",
        save: bool = False,
        digest: bytes | None = None,
    ) -> Fields:
        """What is said of a file with which some of it is sent."""
        about = [("Accept-Ranges", "bytes"), ("X-Content-Type-Options", "nosniff")]
        if coding:
            about.append(("Content-Encoding", coding))
        if save:
            about.append(("Content-Disposition", fields.attachment(name.segments[-1])))
        digest = digest or self.known_digest(file) or _digest_at_once(file)
        if digest is not None:
            value = base64.b64encode(digest).decode("ascii")
            about.append(("Repr-Digest", f"sha-256=:{value}:"))
        return about

    def _typed(self, kind: str) -> Fields:
        """The media type, and what a browser may let a file of it do."""
        typed = [("Content-Type", kind)]
        if not self._site and fields.is_active(kind):
            typed.append(("Content-Security-Policy", fields.SANDBOX))
        return typed

    def _parts(
        self, exchange: Exchange, shown: _Shown, common: Fields, ranges: list[Range]
    ) -> Work:
        """Several ranges, as RFC 9110, section 14.6 has them."""
        boundary = secrets.token_hex(12)
        file, kind = shown.file, shown.kind
        parts = []
        between = b""
        for start, end in ranges:
            lines = (
                f"--{boundary}\r\nContent-Type: {kind}\r\n"
                f"Content-Range: bytes {start}-{end - 1}/{file.size}\r\n\r\n"
            )
            parts.append((between + lines.encode("ascii"), start, end))
            between = b"\r\n"
        tail = f"\r\n--{boundary}--\r\n".encode("ascii")
        count = sum(len(head) + end - start for head, start, end in parts) + len(tail)
        common.append(("Content-Length", str(count)))
        common.append(("Content-Type", f"multipart/byteranges; boundary={boundary}"))
        exchange.transport.write(exchange.head(206, common))
        return _send(exchange, file, 206, parts, tail)

    def _compressed(self, exchange: Exchange, shown: _Shown, held: ExitStack) -> _Shown:
        """A file beside this one that holds the same, compressed in a way the client takes."""
        accepted = exchange.request.field(b"accept-encoding")
        *folder, last = shown.name.segments
        for coding, suffix in PRECOMPRESSED:
            if fields.preference(accepted, coding):
                try:
                    found = exchange.source.open_file(Name((*folder, last + suffix)))
                except NotServed:
                    continue
                held.callback(found.close)
                if found.mtime_ns >= shown.file.mtime_ns:
                    return shown._replace(file=found, coding=coding)
                # The file was changed since it was compressed.
        return shown


async def _closing(held: ExitStack, work: Work) -> None:
    with held:
        await work


def _send_one(
    exchange: Exchange, file: File, status: int, encoded: bytes, part: Range
) -> Work | None:
    """Answer with one range of `file`, of which the fields are `encoded`."""
    start, end = part
    if status == 206:
        exchange.begin().span = part
        exchange.begin().size = file.size
    if exchange.request.method == "HEAD":
        data: bytes | None = b""
    else:
        data = _read_at_once(file, start, end - start) if end - start <= AT_ONCE_MOST else None
    if data is None:
        exchange.transport.write(exchange.start(status) + encoded)
        # The last byte by itself: once it is sent, all looks whole.
        parts = [(b"", start, end - 1), (b"", end - 1, end)]
        return _send(exchange, file, status, parts, b"")
    exchange.write_encoded(status, encoded, data)
    return None


async def _send(
    exchange: Exchange,
    file: File,
    status: int,
    parts: list[tuple[bytes, int, int]],
    tail: bytes,
) -> None:
    """Send ranges of `file`, each after some bytes, and the `tail`; nothing more, once the file was
    written over."""
    transfer = exchange.begin()
    transfer.status, transfer.size, transfer.user = status, file.size, exchange.user
    try:
        for head, start, end in parts:
            _check(file)
            if head:
                exchange.transport.write(head)
            await send_file(exchange.transport, file.fd, start, end - start, transfer)
        if tail:
            _check(file)
            exchange.transport.write(tail)
    except (*LOST, FileCutShort) as problem:
        transfer.end(outcome_of(problem, exchange.connection.lost_as), why_of(problem))
        raise Gone from None
    transfer.end(COMPLETE)


def _check(file: File) -> None:
    if file.written_over():
        raise FileCutShort(0, 0, "it was written over", CHANGED)


def _wants_sha256(value: str) -> bool:
    """Whether a Want-Repr-Digest (RFC 9530, section 4) asks for SHA-256 at all."""
    for part in value.lower().split(","):
        key, _, weight = part.strip(" \t").partition("=")
        if key == "sha-256":
            return weight.strip() not in ("0", "?0")
    return False


def _read_at_once(file: File, start: int, count: int) -> bytes | None:
    """All `count` bytes from `start`; nothing if they are not there, or the disk would have to be
    waited for. The other way of sending knows what to do then."""
    if not count:
        return b""
    if would_wait(file.fd, start + count - 1):
        return None
    try:
        data = os.pread(file.fd, count, start)
    except OSError:
        return None
    return data if len(data) == count and not file.written_over() else None


def _digest_at_once(file: File) -> bytes | None:
    """The SHA-256 of a small `file`; nothing if that takes waiting, or it may change unnoticed."""
    if file.size > FILE_MOST or not file.settled:
        return None
    data = _read_at_once(file, 0, file.size)
    return sha256(data).digest() if data is not None and file.still_same() else None


def _beginning(file: File) -> bytes | None:
    """What tells the media type of `file`; nothing if the disk would have to be waited for."""
    if file.size and would_wait(file.fd, 0):
        return None
    return _read_beginning(file)


def _read_beginning(file: File) -> bytes:
    try:
        return os.pread(file.fd, min(file.size, fields.SNIFFED), 0)
    except OSError:
        return b""  # which will be met again
