"""Digests of whole files, computed once for all who ask for the same at the same time.

Imports `content` and the modules beside it. A file is hashed in steps, so that what else the
threads have to do comes in between; no longer than anybody waits for it; and only a few files at a
time, for each of them makes all others take longer.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tcpdl.content.digests import Digests
from tcpdl.content.source import File, Identity
from tcpdl.server.working import Workers
from tcpdl.wire.native import SHA256

FILES_MOST = 4
"""Files that are hashed at a time; more wait for their turn."""


class NotWanted(Exception):
    """Whoever asked does not wait any more."""


class Hashing:
    """Computes the SHA-256 of files."""

    def __init__(self, digests: Digests, workers: Workers) -> None:
        self._digests = digests
        self._workers = workers
        self._all: dict[Identity, _Task] = {}
        self._waiting: deque[_Task] = deque()
        self._running = 0

    def known(self, file: File) -> bytes | None:
        """The digest of `file`, if it need not be computed."""
        return self._digests.known_whole(file, SHA256)

    def find(self, file: File, wanted: Callable[[], bool]) -> Deferred[bytes]:
        """The digest of `file`, which may be closed meanwhile.

        `wanted` is asked now and then; once it says no, this fails with `NotWanted`. It fails with
        `OSError` or `FileEnded` if the file cannot be read to the end it had, and as `Workers.run`
        does. Raises `OSError` if there is no descriptor left.
        """
        done: Deferred[bytes] = Deferred()
        task = self._all.get(file.identity)
        if task is None:
            task = self._all[file.identity] = _Task(file._replace(fd=os.dup(file.fd)))
            self._waiting.append(task)
        task.waiting.append((wanted, done))
        self._begin()
        return done

    def _begin(self) -> None:
        while self._waiting and self._running < FILES_MOST:
            self._running += 1
            Deferred.fromCoroutine(self._run(self._waiting.popleft()))

    async def _run(self, task: _Task) -> None:
        steps = self._digests.hash_whole(task.file, SHA256)
        found: bytes | Failure = b""
        try:
            while task.is_wanted():
                step = await self._workers.run(next, steps, None)
                if step is None:
                    break
                found = step
        except Exception:  # noqa: BLE001 - whatever it is, it is for those who wait
            found = Failure()
        finally:
            del self._all[task.file.identity]
            self._running -= 1
            task.file.close()
        self._begin()
        for _, done in task.waiting:
            done.callback(found)  # a failure is as good


class _Task:
    """A file that is hashed, and who waits for it."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.waiting: list[tuple[Callable[[], bool], Deferred[bytes]]] = []

    def is_wanted(self) -> bool:
        """Whether anybody still waits; those who do not are let go."""
        gone = [done for wanted, done in self.waiting if not wanted()]
        self.waiting = [(wanted, done) for wanted, done in self.waiting if wanted()]
        for done in gone:
            done.errback(Failure(NotWanted()))
        return bool(self.waiting)
