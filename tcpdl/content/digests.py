"""The digests of files, computed once. Imports `tcpdl.digest`, `tcpdl.wire` and its neighbours.

A digest is kept under everything that the system tells of a file that changes with its bytes
(`Identity`), and only if that was so before its bytes were read and still is afterwards. What is
kept can be lost at any time; that costs the time to compute it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from tcpdl import digest
from tcpdl.content.source import File

if TYPE_CHECKING:
    from tcpdl.content.store import Store

MEMORY_MOST = 1 << 17
"""Digests in memory: 128 GiB of files in chunks of 1 MiB, and ever more in larger ones. If each is
all there is of a small file, they take about 80 MB."""

BLOCK = 1024
"""Chunks whose digests are kept together: looked up, stored and forgotten as one."""

STEP = 32 * 1024 * 1024
"""Bytes of a whole file hashed at a time: that takes a thread some hundredths of a second."""

_BlockKey = tuple[bytes, int]


class Counts(NamedTuple):
    """What became of digests that were asked for."""

    known: int
    """They need not be computed."""
    computed: int
    hashed: int
    """Bytes that those are of."""


class Digests:
    """What computes digests, and keeps them: in memory, and in a file if there is a folder for it.

    All but `known` and `known_whole` may wait for a disk, and hash at length: they are for threads,
    as many at once as one likes. They raise `FileEnded` or `OSError` if the file cannot be read to
    the end it had, `LookupError` for an algorithm or a chunk that there is not. A file that is not
    `settled` has its digests computed whenever they are asked for.
    """

    def __init__(self, folder: str | None, *, warn: Callable[[str], None] | None = None) -> None:
        """Keep digests in the file `digests.sqlite` in `folder`, or in memory only.

        `warn` is given a sentence when the file is of no use, each one once; it may be called from
        any thread. The file is opened when it is first needed, so that a daemon may fork before.
        """
        # What is in memory. Each operation on it is one that no other thread can come between, but
        # what consists of several is done under the lock.
        self._blocks: OrderedDict[_BlockKey, dict[int, bytes]] = OrderedDict()
        self._count = 0
        self._lock = Lock()
        self._counts = Counts(0, 0, 0)  # of what threads do; it is set under the lock
        self._told = 0  # digests that `known` and `known_whole` gave
        self._store: Store | None = None
        if folder is None:
            return
        try:
            from tcpdl.content.store import Store  # not all Pythons have sqlite3
        except ImportError as error:
            if warn is not None:
                warn(f"digests are kept in memory only: {error}")
        else:
            self._store = Store(folder, warn or (lambda _sentence: None))

    @property
    def counts(self) -> Counts:
        """What became of all that was asked for until now."""
        return self._counts._replace(known=self._counts.known + self._told)

    def begin(self) -> None:
        """Open what they are kept in, so that it is known now if that cannot be done. May wait."""
        if self._store is not None:
            self._store.begin()

    def close(self) -> None:
        """Write what is not written yet. From now on, digests are kept in memory only."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def known(self, file: File, algorithm: int, index: int) -> bytes | None:
        """The digest of chunk `index`, if it is in memory. Never waits, not even for a lock."""
        if not file.settled:
            return None
        found = self._recall((_key(file, algorithm), index // BLOCK), index)
        self._told += found is not None
        return found

    def known_whole(self, file: File, algorithm: int) -> bytes | None:
        """The digest of all bytes of the file, if it is in memory. Waits as little as `known`."""
        # It is asked for with every answer over HTTP, and where nobody lists digests there is none.
        if not self._blocks or not file.settled:
            return None
        found = self._recall(_whole(file, algorithm), 0)
        self._told += found is not None
        return found

    def hash_whole(self, file: File, algorithm: int) -> Iterator[bytes]:
        """The digest of all bytes of the file, as sha256sum and b3sum print it, as the last thing.

        Before it comes `b""` whenever `STEP` bytes were hashed, so that the thread can be left to
        others. It is the digest of what was read: whether that was one version of the file,
        `File.still_same` tells afterwards. Raises `LookupError` when it is called.
        """
        return self._hash_whole(file, algorithm, digest.hasher(algorithm)())

    def _hash_whole(self, file: File, algorithm: int, state: Any) -> Iterator[bytes]:
        where = _whole(file, algorithm)
        found = self._kept(where, range(1)) if file.settled else {}
        if found:
            self._tally(known=1)
        else:
            for offset in range(0, file.size, STEP):
                if offset:
                    yield b""
                digest.update_from(state, file.fd, offset, min(STEP, file.size - offset))
            found = {0: state.digest()}
            self._tally(computed=1, hashed=file.size)
            self._keep(file, where, found)
        yield found[0]

    def chunk(self, file: File, algorithm: int, index: int) -> bytes:
        """The digest of chunk `index` of the file."""
        shift = digest.chunk_shift(file.size)
        if not 0 <= index < digest.chunk_count(file.size, shift):
            raise IndexError(f"a file of {file.size} bytes has no chunk {index}")
        where = (_key(file, algorithm), index // BLOCK)
        found = self._recall(where, index) if file.settled else None
        if found is not None:
            self._tally(known=1)
            return found
        return self._some(file, algorithm, index // BLOCK, range(index, index + 1))[0]

    def all(self, file: File, algorithm: int) -> tuple[bytes, ...]:
        """The digests of all chunks of the file: none, if it is empty."""
        count = digest.chunk_count(file.size, digest.chunk_shift(file.size))
        found: list[bytes] = []
        for first in range(0, count, BLOCK):
            indexes = range(first, min(first + BLOCK, count))
            found += self._some(file, algorithm, first // BLOCK, indexes)
        return tuple(found)

    def root(self, file: File, algorithm: int) -> bytes:
        """The root digest of the file."""
        shift = digest.chunk_shift(file.size)
        return digest.root(algorithm, file.size, shift, self.all(file, algorithm))

    def _some(self, file: File, algorithm: int, block: int, indexes: range) -> list[bytes]:
        """The digests of the chunks `indexes`, all of one block."""
        where = (_key(file, algorithm), block)
        found = self._kept(where, indexes) if file.settled else {}
        shift = digest.chunk_shift(file.size)
        computed = {}
        hashed = 0
        for index in indexes:
            if index not in found:
                offset = index << shift
                count = min(1 << shift, file.size - offset)
                computed[index] = digest.digest_of_range(algorithm, file.fd, offset, count)
                hashed += count
        self._tally(len(indexes) - len(computed), len(computed), hashed)
        if computed:
            self._keep(file, where, computed)
        return [found[index] if index in found else computed[index] for index in indexes]

    def _tally(self, known: int = 0, computed: int = 0, hashed: int = 0) -> None:
        with self._lock:
            was = self._counts
            self._counts = Counts(was.known + known, was.computed + computed, was.hashed + hashed)

    def _keep(self, file: File, where: _BlockKey, computed: dict[int, bytes]) -> None:
        """Keep what was computed just now, if it is sure to be that of the file as it is."""
        if file.settled and file.still_same():
            self._remember(where, computed)
            store = self._store
            if store is not None:
                store.add(*where, computed)

    def _kept(self, where: _BlockKey, indexes: range) -> dict[int, bytes]:
        """What is kept of a block: only in memory, if that has all of the `indexes`."""
        with self._lock:
            found = dict(self._blocks.get(where, ()))
        store = self._store
        if store is not None and not all(index in found for index in indexes):
            stored = store.get(*where)
            if stored:
                self._remember(where, stored)
                found.update(stored)
        return found

    def _recall(self, where: _BlockKey, index: int) -> bytes | None:
        block = self._blocks.get(where)
        if block is None:
            return None
        with suppress(KeyError):  # another thread may have forgotten it this moment
            self._blocks.move_to_end(where)
        return block.get(index)

    def _remember(self, where: _BlockKey, digests: dict[int, bytes]) -> None:
        with self._lock:
            block = self._blocks.setdefault(where, {})
            self._count -= len(block)
            block.update(digests)
            self._count += len(block)
            self._blocks.move_to_end(where)
            while self._count > MEMORY_MOST:
                _, forgotten = self._blocks.popitem(last=False)
                self._count -= len(forgotten)


def _key(file: File, algorithm: int) -> bytes:
    """What the digests of a file are kept under. With the shift: should the rule for it change one
    day, digests of other chunks are under other keys."""
    return file.identity.packed() + bytes((algorithm, digest.chunk_shift(file.size)))


def _whole(file: File, algorithm: int) -> _BlockKey:
    """What the digest of a whole file is kept under: if it is one chunk, as the digest of that."""
    if digest.chunk_count(file.size, digest.chunk_shift(file.size)) == 1:
        return _key(file, algorithm), 0
    return file.identity.packed() + bytes((algorithm, 0)), 0
