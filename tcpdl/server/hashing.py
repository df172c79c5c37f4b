"""Digests of whole files, computed once for all who ask for the same at the same time.

Imports `content` and the modules beside it. A file is hashed in steps, and files take turns with
each step, so that a long one keeps no short one waiting; no longer than anybody waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tcpdl.content.digests import Digests
from tcpdl.content.source import File, Identity
from tcpdl.server.crowd import Address
from tcpdl.server.pools import Pool
from tcpdl.server.working import Workers
from tcpdl.wire.native import SHA256

STEPS_MOST = 2
"""Steps that threads are told to do at a time, not counting those that wait for a disk: what else
they have to do comes in between."""

FILES_MOST = 64
"""Files that are hashed at the same time. Each makes all others take longer."""


class NotWanted(Exception):
    """Whoever asked does not wait any more."""


class Busy(Exception):
    """So many files are being hashed that no other is begun."""


class Hashing:
    """Computes the SHA-256 of files."""

    def __init__(self, digests: Digests, workers: Workers) -> None:
        self._digests = digests
        self._workers = workers
        self._all: dict[Identity, _Task] = {}
        self.files = Pool(FILES_MOST)
        self._queue: deque[_Task] = deque()
        self._running = 0
        workers.when_more_wait(self._begin)

    def known(self, file: File) -> bytes | None:
        """The digest of `file`, if it need not be computed."""
        return self._digests.known_whole(file, SHA256)

    def find(
        self, file: File, wanted: Callable[[], bool], address: Address | None = None
    ) -> Deferred[bytes]:
        """The digest of `file`, which may be closed meanwhile, for a client at `address`.

        `wanted` is asked now and then; once it says no, this fails with `NotWanted`. It fails with
        `OSError` or `FileEnded` if the file cannot be read to the end it had, and as `Workers.run`
        does. Raises `Busy`, and `OSError` if there is no descriptor left.
        """
        task = self._all.get(file.identity)
        if task is None:
            if not self.files.take(address):
                raise Busy
            try:
                mine = file.duplicate()
            except OSError:
                self.files.give(address)
                raise
            steps = self._digests.hash_whole(mine, SHA256)
            task = self._all[file.identity] = _Task(mine, steps, address)
            self._queue.append(task)
        done: Deferred[bytes] = Deferred()
        task.waiting.append((wanted, done))
        self._begin()
        return done

    def _begin(self) -> None:
        while self._queue and self._running < STEPS_MOST + self._workers.waiting:
            self._running += 1
            Deferred.fromCoroutine(self._do(self._queue.popleft()))

    async def _do(self, task: _Task) -> None:
        """Do the next step of a task, and give the turn to the next."""
        found: bytes | Failure | None = b""
        for one in self._all.values():
            one.let_go()
        if task.waiting:
            try:
                found = await self._workers.run(next, task.steps, None)
            except Exception:  # noqa: BLE001 - whatever it is, it is for those who wait
                found = Failure()
        self._running -= 1
        if found == b"" and task.waiting:
            self._queue.append(task)
        else:
            del self._all[task.file.identity]
            self.files.give(task.address)
            task.file.close()
        self._begin()
        if found:
            for _, done in task.waiting:
                done.callback(found)  # a failure is as good


class _Task:
    """A file that is hashed, and who waits for it."""

    def __init__(self, file: File, steps: Iterator[bytes], address: Address | None) -> None:
        self.file = file
        self.address = address
        """Where the client is that asked first."""
        self.steps = steps
        """Gives nothing after each step, and the digest after the last."""
        self.waiting: list[tuple[Callable[[], bool], Deferred[bytes]]] = []

    def let_go(self) -> None:
        """Those who do not wait any more are told so."""
        gone = [done for wanted, done in self.waiting if not wanted()]
        if gone:
            self.waiting = [one for one in self.waiting if one[1] not in gone]
            for done in gone:
                done.errback(Failure(NotWanted()))
