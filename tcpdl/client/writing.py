"""Writes what a connection receives while more comes in. Imports the modules beside it.

To copy bytes into the pages of a file takes as long as to receive and hash them: two threads do the
two at once. What is to happen once bytes are written goes through the same queue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from tcpdl.client.errors import ClientError
from tcpdl.client.part import Part

PIECE = 1024 * 1024
"""Bytes of a buffer."""

BUFFERS = 4
"""Buffers of a connection. All that it holds in memory."""


class Writer:
    """Writes pieces to a part, in order, in a thread of its own or in the caller's."""

    def __init__(self, part: Part, *, threaded: bool) -> None:
        self._part = part
        self._free: SimpleQueue[bytearray] = SimpleQueue()
        self._made = 0
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._error: Exception | None = None  # what is to be raised
        self._failed = False  # to write
        self._thread: threading.Thread | None = None
        self._most = BUFFERS if threaded else 1
        self.wrote = 0.0
        """Seconds spent writing."""
        if threaded:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def buffer(self, size: int) -> bytearray:
        """A buffer to receive into, of at most `PIECE` bytes, or `size` if that is less; to be
        given to `write`.

        Waits until one is free. Raises what went wrong with the writing.
        """
        if self._made < self._most and self._free.empty():
            self._made += 1
            return bytearray(min(size, PIECE))
        buffer = self._free.get()
        self.check()
        return buffer if len(buffer) >= min(size, PIECE) else bytearray(min(size, PIECE))

    def write(self, buffer: bytearray, count: int, offset: int) -> None:
        """Write the first `count` bytes of `buffer` at `offset`; nothing any more once that has
        failed."""

        def job() -> None:
            began = time.perf_counter()
            try:
                if not self._failed:
                    self._part.write(memoryview(buffer)[:count], offset)
            except ClientError:
                self._failed = True
                raise
            finally:
                self.wrote += time.perf_counter() - began
                self._free.put(buffer)

        self._queue(job)

    def then(self, job: Callable[[], None]) -> None:
        """Call `job` once all is written that was given to be; never, if something could not be.
        What it raises is raised here, or by `buffer`, `check` or `close`."""

        def if_written() -> None:
            if not self._failed:
                job()

        self._queue(if_written)

    def _queue(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            job()
        else:
            self._jobs.put(job)

    def close(self) -> None:
        """Wait until all is done. Raises what went wrong."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raise what went wrong until now."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
                self._error = self._error or error
