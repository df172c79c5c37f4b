"""What the native dialect answers a request with. Imports `wire`, `content`, `digest`, `sending`.

A file goes out in chunks, each followed by its digest, which a thread computes meanwhile: the next
chunk is under way before the digest of the one before is known, so the wire never waits for it.
A tree goes out in packs, which a thread makes, each while the one before is sent.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from tcpdl import digest
from tcpdl.content.digests import Digests
from tcpdl.content.errors import (
    Absent,
    IsFolder,
    LoginNeeded,
    NotAFolder,
    NotAllowed,
    NotServed,
    Refused,
)
from tcpdl.content.source import File
from tcpdl.digest import FileEnded
from tcpdl.server.admission import Everyone, Visit
from tcpdl.server.answering import Gone
from tcpdl.server.direct import address_of, direct
from tcpdl.server.held import HeldFile
from tcpdl.server.outcomes import LOST, outcome_of, why_of
from tcpdl.server.outgoing import FileCutShort
from tcpdl.server.packing import Packing, with_roots
from tcpdl.server.pools import Pool
from tcpdl.server.sending import count_written, send_file, until_sent
from tcpdl.server.transfers import (
    CHANGED,
    COMPLETE,
    FAILED,
    MISMATCH,
    UNAVAILABLE,
    Transfer,
    Transfers,
)
from tcpdl.server.unreadable import Unreadable
from tcpdl.server.warming import would_wait
from tcpdl.server.working import Workers
from tcpdl.wire import native, pack
from tcpdl.wire.names import NameRefused
from tcpdl.wire.native import Answer, Chunk, Digest, DigestList, End, Error, FileInfo, Pack
from tcpdl.wire.pack import Entry

INLINE_MOST = 64 * 1024
"""Bytes of a file that is read, hashed and written at once, with all that belongs to it: doing so
takes less time than asking a thread to."""

PACKS_MOST = 64 * 1024 * 1024
"""Bytes of all packs that are being sent. For each of them, another one may stand ready."""

UNDER_WAY = 2
"""Chunks that are handed to the transport at once: while one is sent, the next stands ready."""

_CODES: dict[type[Exception], int] = {
    Absent: native.ABSENT,
    Refused: native.REFUSED,
    NameRefused: native.REFUSED,
    IsFolder: native.IS_FOLDER,
    NotAFolder: native.NOT_A_FOLDER,
    LoginNeeded: native.LOGIN_NEEDED,
    NotAllowed: native.NOT_ALLOWED,
}

Visitor = Everyone | Visit

_METHODS: dict[type, str] = {
    native.Get: "GET",
    native.GetDigests: "GETDIGESTS",
    native.Tree: "TREE",
    native.Pick: "PICK",
}
"""What the requests are called in the log, as in PROTOCOL.md."""


class Failed(Exception):
    """The answer ends with an error message."""

    def __init__(self, code: int, sentence: str, outcome: str) -> None:
        """`outcome` is that of the transfer."""
        super().__init__(sentence)
        self.code = code
        self.outcome = outcome


class Connection(Protocol):
    """What is needed of `server.native.Native`."""

    transport: Any
    algorithm: int

    @property
    def peer(self) -> str: ...

    @property
    def secure(self) -> bool: ...

    @property
    def lost_as(self) -> str: ...

    @property
    def deadlines(self) -> Any: ...

    @property
    def gone(self) -> bool: ...

    def send(self, *messages: Answer) -> None: ...

    async def until(self, work: Deferred[Any]) -> Any: ...

    def unless_gone(self, work: Callable[..., Any], *args: Any) -> Any: ...

    async def room(self) -> None: ...

    async def drained(self) -> None: ...


class Answers:
    """Answers the requests of one connection."""

    def __init__(
        self,
        connection: Connection,
        visitor: Visitor,
        digests: Digests,
        workers: Workers,
        unreadable: Unreadable,
        packs: Pool,
        transfers: Transfers,
    ) -> None:
        self._connection = connection
        self._visitor = visitor
        self._digests = digests
        self._workers = workers
        self._unreadable = unreadable
        self._packs = packs
        self._transfers = transfers
        self._algorithm = connection.algorithm
        self._asked = b""
        self._held = 0.0

    async def answer(self, request: native.Request) -> None:
        """Answer `request`. Raises `Gone`."""
        self._held = 0.0
        self._asked = native.encode(request)
        connection, user = self._connection, self._visitor.user
        transfer = self._transfers.begin(
            *("native", connection.peer, connection.secure),
            *(_METHODS[type(request)], request.name, user),
        )
        try:
            if isinstance(request, native.Get):
                await self._get(request, transfer)
            elif isinstance(request, native.GetDigests):
                await self._get_digests(request, transfer)
            elif isinstance(request, native.Tree):
                await self._tree(request, transfer)
            else:
                await self._pick(request, transfer)
            await until_sent(connection.transport, transfer)
        except Failed as problem:
            connection.send(Error(request.id, problem.code, str(problem)))
            transfer.end(problem.outcome, str(problem))
        except (NotServed, NameRefused) as problem:
            connection.send(Error(request.id, _code(problem), str(problem)))
            transfer.end(outcome_of(problem), why_of(problem))
        except (*LOST, FileCutShort) as problem:
            transfer.end(outcome_of(problem, connection.lost_as), why_of(problem))
            raise Gone from None
        except BaseException:
            transfer.end(FAILED, "there was an unexpected error")
            raise
        else:
            transfer.end(COMPLETE)

    def _open(self, name: bytes, tag: bytes) -> File:
        source, safe = self._visitor.look_up(name)
        file = source.open_file(safe)
        if tag not in (native.ANY_TAG, file.identity.tag):
            file.close()
            raise Failed(native.CHANGED, "the file is another one than it was", MISMATCH)
        return file

    def _info(self, number: int, file: File, shift: int) -> FileInfo:
        tag = file.identity.tag
        info = FileInfo(number, file.size, file.mtime_ns, file.mode, shift, tag)
        return info._replace(seal=self._hash(info.unsealed))

    def _hash(self, data: bytes | bytearray) -> bytes:
        """The digest of the request that is being answered, and of `data`."""
        return digest.digest(self._algorithm, self._asked, data)

    # Get

    async def _get(self, request: native.Get, transfer: Transfer) -> None:
        held = HeldFile(self._open(request.name, request.tag))
        file = held.file
        try:
            count = min(request.length, file.size - request.offset)
            if count < 0:
                raise Failed(native.BAD_RANGE, f"the file has {file.size} bytes", MISMATCH)
            transfer.size = file.size
            if count < file.size:
                transfer.span = (request.offset, request.offset + count)
            shift = digest.chunk_shift(file.size)
            info = self._info(request.id, file, shift)
            if count == 0:
                self._connection.send(info, End(request.id))
            elif count == file.size <= INLINE_MOST and not would_wait(file.fd, count - 1):
                self._send_small(request.id, file, info, transfer)
            else:
                self._connection.send(info)
                await self._send_chunks(request, held, shift, count, transfer)
                self._connection.send(End(request.id, int(self._held * 1000)))
        finally:
            held.close()

    def _send_small(self, number: int, file: File, info: FileInfo, transfer: Transfer) -> None:
        try:
            data = os.pread(file.fd, file.size, 0)
        except OSError as error:
            raise _unreadable(error) from None
        if len(data) < file.size or not file.still_same():
            raise _changed()
        head = native.encode(info) + native.encode(Chunk(number, len(data)))
        hashed = Digest(number, 0, digest.digest(self._algorithm, data))
        tail = native.encode(hashed) + native.encode(End(number))
        transport = self._connection.transport
        transport.write(head + data + tail)
        count_written(transport, len(data), transfer, behind=len(tail))

    async def _send_chunks(
        self, request: native.Get, held: HeldFile, shift: int, count: int, transfer: Transfer
    ) -> None:
        """Send a range in runs that end where chunks do, and a digest for each chunk it meets."""
        file = held.file
        transport = self._connection.transport
        most = UNDER_WAY if direct(transport) is not None else 1
        under_way: list[tuple[int, Deferred[Any], Deferred[Any]]] = []
        at, end = request.offset, request.offset + count
        try:
            while at < end:
                index = at >> shift
                until = min(end, (index + 1) << shift)
                if (file.identity, index) in self._unreadable:
                    await self._try_to_read(held, at, until - at)
                hashed = self._digest(held, index)
                self._connection.send(Chunk(request.id, until - at))
                sent = send_file(transport, file.fd, at, until - at, transfer)
                sent.addErrback(self._cut_short, file, index)
                under_way.append((index, sent, hashed))
                at = until
                while len(under_way) >= most or (at == end and under_way):
                    await self._finish(request.id, file, *under_way[0])
                    del under_way[0]
        finally:
            # The file is the transport's until all of them are done with.
            for _, sent, hashed in under_way:
                hashed.addErrback(_forget)
                sent.addErrback(_forget)
                # One that has failed is what brought us here: its callbacks may still run, and a
                # Deferred is not to be awaited by one of its own.
                if not sent.called:
                    await sent

    async def _finish(
        self, number: int, file: File, index: int, sent: Deferred[Any], hashed: Deferred[Any]
    ) -> None:
        await sent
        before = self._connection.deadlines.now()
        try:
            found = await self._connection.until(hashed)
        except FileEnded:
            raise _changed() from None
        except OSError as error:
            raise _unreadable(error) from None
        self._held += self._connection.deadlines.now() - before
        if not file.still_same():
            raise _changed()
        self._connection.send(Digest(number, index, found))

    def _cut_short(self, failure: Failure, file: File, index: int) -> Failure:
        if failure.check(FileCutShort):
            self._unreadable.add(file.identity, index)
        return failure

    async def _try_to_read(self, held: HeldFile, offset: int, count: int) -> None:
        """Raise `Failed` if bytes that are to be promised cannot be read."""

        def read(file: File) -> None:
            digest.digest_of_range(self._algorithm, file.fd, offset, count)

        try:
            await self._connection.until(held.run(self._workers, read))
        except FileEnded:
            raise _changed() from None
        except OSError as error:
            raise _unreadable(error) from None

    def _digest(self, held: HeldFile, index: int) -> Deferred[bytes]:
        known = self._digests.known(held.file, self._algorithm, index)
        if known is not None:
            return succeed(known)
        return held.run(self._workers, self._digests.chunk, self._algorithm, index)

    # GetDigests

    async def _get_digests(self, request: native.GetDigests, transfer: Transfer) -> None:
        held = HeldFile(self._open(request.name, request.tag))
        file = held.file
        try:
            shift = digest.chunk_shift(file.size)
            total = digest.chunk_count(file.size, shift)
            if request.first > total:
                raise Failed(native.BAD_RANGE, f"the file has {total} chunks", MISMATCH)
            transfer.size = file.size
            end = request.first + min(request.chunks, total - request.first)
            self._connection.send(self._info(request.id, file, shift))
            at = request.first
            while at < end:
                until = min(at + native.LISTED_MOST, end)
                found = [await self._one_digest(held, index) for index in range(at, until)]
                listed = DigestList(request.id, at, tuple(found))
                seal = self._hash(listed.unsealed)
                self._connection.send(listed._replace(seal=seal))
                count = sum(map(len, found))
                count_written(self._connection.transport, count, transfer, behind=len(seal))
                at = until
                if at < end:  # all may be known, and there may be very many
                    await self._connection.drained()
                    await self._connection.deadlines.next_turn()
            self._connection.send(End(request.id))
        finally:
            held.close()

    async def _one_digest(self, held: HeldFile, index: int) -> bytes:
        try:
            found: bytes = await self._connection.until(self._digest(held, index))
        except FileEnded:
            raise _changed() from None
        except OSError as error:
            raise _unreadable(error) from None
        if not held.file.still_same():
            raise _changed()
        return found

    # Tree and Pick

    async def _tree(self, request: native.Tree, transfer: Transfer) -> None:
        source, name = self._visitor.look_up(request.name)
        packing = Packing(self._hash, request.share, request.shares)
        entries = source.walk(
            name,
            recursive=bool(request.flags & native.RECURSIVE),
            content_most=pack.PACKED_FILE_MOST if request.flags & native.CONTENT else -1,
            wanted=packing.is_mine if request.shares > 1 else None,
        )
        steps: Iterator[Entry | None] = entries
        if request.flags & native.ROOTS:
            steps = with_roots(source, self._digests, self._algorithm, name, entries)
        await self._send_packs(request.id, packing, steps, transfer)

    async def _pick(self, request: native.Pick, transfer: Transfer) -> None:
        source, name = self._visitor.look_up(request.name)
        entries = source.pick(name, request.names, content_most=pack.PACKED_FILE_MOST)
        await self._send_packs(request.id, Packing(self._hash), entries, transfer)

    async def _send_packs(
        self, number: int, packing: Packing, entries: Iterator[Entry | None], transfer: Transfer
    ) -> None:
        connection = self._connection
        packs = packing.packs(entries)
        transport, address = connection.transport, address_of(connection.transport)
        transport.registerProducer(connection, True)
        ready: Deferred[Any] | None = self._workers.run(connection.unless_gone, next, packs, None)
        parts = 0
        try:
            while ready is not None:
                packed = await connection.until(ready)
                if packed is None:
                    break
                ready = self._workers.run(connection.unless_gone, next, packs, None)
                if not packed:
                    continue
                count = len(packed)
                if not self._packs.take(address, count):
                    why = "too many folders are being sent; ask again later"
                    raise Failed(native.UNAVAILABLE, why, UNAVAILABLE)
                try:
                    connection.send(Pack(number, packed))
                    del packed  # the transport has it
                    count_written(transport, count, transfer)
                    parts += 1
                    await connection.room()
                finally:
                    self._packs.give(address, count)
        except BaseException:
            # A thread may still be at it; the walk ends when that is done.
            if ready is not None:
                ready.addBoth(lambda _: packs.close())
            raise
        finally:
            transport.unregisterProducer()
        connection.send(End(number, packs=parts))


def _forget(_: object) -> None:
    """What has failed before is what will be said."""


def _code(problem: Exception) -> int:
    return _CODES.get(type(problem), native.UNAVAILABLE)


def _changed() -> Failed:
    return Failed(native.CHANGED, "the file changed while it was read", CHANGED)


def _unreadable(error: OSError) -> Failed:
    why = f"it cannot be read: {os.strerror(error.errno or errno.EIO)}"
    return Failed(native.UNAVAILABLE, why, FAILED)
