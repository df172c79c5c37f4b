"""Digests in a file that outlives the daemon, and that several may share. Imports `tcpdl.wire`.

It is a cache, and nothing depends on it. Whatever is wrong with it is caught here and costs speed.
Every row bears a checksum, over what it was stored under as well, so that a file that was damaged
unnoticed yields no digest rather than a wrong one. The checksum keeps out accidents, not people:
who may write to the folder can have clients told wrong digests.

The journal is the classic one and no write-ahead log: that one needs memory shared between the
processes, which network file systems do not have; and all it would gain is that readers need not
wait for a writer, who is busy for some milliseconds in a second.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from threading import Lock
from typing import TypeVar

from tcpdl.wire.text import printable

NAME = "digests.sqlite"

ASIDE = NAME + ".damaged"
"""What a file is called from then on that is of no use: the last such one is kept."""

BYTES_MOST = 256 * 1024 * 1024
"""Size of the file, give or take one batch: digests of some TiB in chunks of 1 MiB, or of about a
million small files."""

BATCH = 1024
"""Digests that are written at once. Fewer are, if nothing was written for `BATCH_SECONDS`."""

BATCH_SECONDS = 1.0

PAUSE_SECONDS = 10.0
"""For so long the file is left alone after it failed: each attempt may wait `BUSY_SECONDS`."""

BUSY_SECONDS = 0.2
"""How long to wait for another process that has locked the file."""

USED_SECONDS = 3600
"""How exactly it is known when a row was last used: more exactly means more writes."""

_APPLICATION = 0x7463706C
_VERSION = 1
_SCHEMA = (
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
    """
    CREATE TABLE digests (
        key BLOB NOT NULL, block INTEGER NOT NULL, used INTEGER NOT NULL,
        digests BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY (key, block)
    )
    """,
    "CREATE INDEX by_use ON digests (used)",
)
_PRAGMAS = (
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = OFF",  # a file that is lost with the power is begun anew
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",  # the daemon may write nowhere else
)

_TABLES = "SELECT count(*) FROM sqlite_master"

_SELECT = "SELECT digests, checksum, used FROM digests WHERE key = ? AND block = ?"
_REPLACE = "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)"
_USE = "UPDATE digests SET used = ? WHERE key = ? AND block = ?"
_PRUNE = """
    DELETE FROM digests WHERE rowid IN (
        SELECT rowid FROM digests ORDER BY used LIMIT (SELECT count(*) / 64 + 1 FROM digests)
    )
"""

_INDEX_SIZE = 8
_DIGEST_SIZE = 32
_RECORD_SIZE = _INDEX_SIZE + _DIGEST_SIZE

_Where = tuple[bytes, int]
_T = TypeVar("_T")


class _Unfit(Exception):
    """The file is no store of ours."""


class Store:
    """Digests by key, block and index. For threads; it never raises."""

    def __init__(self, folder: str, warn: Callable[[str], None]) -> None:
        """Keep them in `folder`, which is made when it is first needed. `warn` is given a sentence
        when the file is of no use, each one once."""
        self._folder = folder
        self._path = os.path.join(folder, NAME)
        self._warn = warn
        self._warned: set[str] = set()
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of the file that is open."""
        self._paused_until = self._written_at = float("-inf")
        self._pending: dict[_Where, dict[int, bytes]] = {}
        self._pending_count = 0
        self._used: set[_Where] = set()
        self._closed = False

    def begin(self) -> None:
        """Open the file, or make it, and complain if that cannot be done."""
        with self._lock:
            self._attempt(lambda connection: None)

    def get(self, key: bytes, block: int) -> dict[int, bytes]:
        """What is stored of this block."""
        with self._lock:
            return self._attempt(lambda connection: self._read(connection, (key, block))) or {}

    def add(self, key: bytes, block: int, digests: Mapping[int, bytes]) -> None:
        """Store `digests` as well, together with those that come soon after."""
        with self._lock:
            if self._closed:
                return
            pending = self._pending.setdefault((key, block), {})
            self._pending_count += len(digests)
            pending.update(digests)
            late = time.monotonic() - self._written_at >= BATCH_SECONDS
            if late or self._pending_count >= BATCH:
                self._flush()

    def close(self) -> None:
        """Write what is pending, and touch the file no more."""
        with self._lock:
            self._flush()
            self._closed = True
            self._disconnect()

    def _flush(self) -> None:
        if self._pending or self._used:
            self._attempt(self._write)
        # Written or not: what cannot be written must not pile up.
        self._pending, self._pending_count, self._used = {}, 0, set()
        self._written_at = time.monotonic()

    def _attempt(self, act: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """What `act` makes of the file, which is begun anew if it is damaged; `None` if nothing."""
        if self._closed or time.monotonic() < self._paused_until:
            return None
        for _ in range(2):
            try:
                return act(self._connected())
            except (sqlite3.Error, OSError, UnicodeError, _Unfit) as error:
                # UnicodeError: SQLite's own message holds what it found in a damaged schema.
                self._disconnect()
                if not (_damaged(error) and self._move_aside()):
                    self._complain(f"digests are not kept in {self._path} for now: {error}")
                    break
                self._complain(f"{self._path} is of no use, and begun anew: {error}")
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        return None

    def _complain(self, sentence: str) -> None:
        sentence = printable(sentence)  # it may quote what is in the file
        if sentence not in self._warned:
            self._warned.add(sentence)
            self._warn(sentence)

    def _connected(self) -> sqlite3.Connection:
        """A connection to the file that has the name now: it may have been begun anew by others."""
        if self._connection is not None:
            with suppress(FileNotFoundError):
                if self._file == _identity(self._path):
                    return self._connection
            self._disconnect()
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        # SQLite would let others read it. Opened only if new: to close a descriptor of a file that
        # SQLite has open elsewhere in this process would undo its locks.
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._file = _identity(self._path)
        connection = self._connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.text_factory = bytes  # there is none, but damage may make some
        for pragma in _PRAGMAS:
            connection.execute(pragma).fetchall()
        if _application(connection) == (0, 0):
            connection.execute("BEGIN IMMEDIATE")
            # Another process may have been faster.
            if _application(connection) == (0, 0) and not _number(connection, _TABLES):
                for statement in _SCHEMA:
                    connection.execute(statement)
            connection.execute("COMMIT")
        if _application(connection) != (_APPLICATION, _VERSION):
            raise _Unfit("it was made by something else, or another version")
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _move_aside(self) -> bool:
        """Make way for a new file. Whether there is a point in trying again."""
        try:
            if self._file == _identity(self._path):
                os.replace(self._path, os.path.join(self._folder, ASIDE))
                for suffix in ("-journal", "-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        os.unlink(self._path + suffix)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def _read(self, connection: sqlite3.Connection, where: _Where) -> dict[int, bytes]:
        for digests, checksum, used in connection.execute(_SELECT, where).fetchall():
            if not isinstance(digests, bytes) or checksum != _checksum(where, digests):
                self._complain(f"{self._path} has damaged rows, which are ignored")
            else:
                if not isinstance(used, int) or used + USED_SECONDS < time.time():
                    self._used.add(where)
                return _unpack(digests)
        return {}

    def _write(self, connection: sqlite3.Connection) -> None:
        now = int(time.time())
        connection.execute("BEGIN IMMEDIATE")
        for where, digests in self._pending.items():
            # Others may have stored some of the same block meanwhile.
            packed = _pack({**self._read(connection, where), **digests})
            row = (*where, now, packed, _checksum(where, packed))
            connection.execute(_REPLACE, row)
        connection.executemany(_USE, [(now, *where) for where in self._used])
        while _size(connection) > BYTES_MOST and connection.execute(_PRUNE).rowcount > 0:
            pass
        connection.execute("COMMIT")


def _damaged(error: Exception) -> bool:
    """Whether the file is to blame for it, and not what is around the file."""
    if isinstance(error, sqlite3.OperationalError):
        return str(error).startswith(("no such", "table digests"))  # the schema is not ours
    return isinstance(error, (sqlite3.DatabaseError, UnicodeError, _Unfit))


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _number(connection: sqlite3.Connection, query: str) -> int:
    [(number,)] = connection.execute(query).fetchall()
    if not isinstance(number, int):
        raise _Unfit("it is damaged")
    return number


def _size(connection: sqlite3.Connection) -> int:
    """Bytes of the file that are in use: what is pruned leaves room, and the file as large."""
    pages = _number(connection, "PRAGMA page_count")
    pages -= _number(connection, "PRAGMA freelist_count")
    return pages * _number(connection, "PRAGMA page_size")


def _application(connection: sqlite3.Connection) -> tuple[int, int]:
    application = _number(connection, "PRAGMA application_id")
    return application, _number(connection, "PRAGMA user_version")


def _pack(digests: Mapping[int, bytes]) -> bytes:
    return b"".join(
        index.to_bytes(_INDEX_SIZE, "big") + one for index, one in sorted(digests.items())
    )


def _unpack(packed: bytes) -> dict[int, bytes]:
    return {
        int.from_bytes(packed[at : at + _INDEX_SIZE], "big"): packed[
            at + _INDEX_SIZE : at + _RECORD_SIZE
        ]
        for at in range(0, len(packed), _RECORD_SIZE)
    }


def _checksum(where: _Where, packed: bytes) -> bytes:
    key, block = where
    return sha256(key + block.to_bytes(8, "big") + packed).digest()[:8]
