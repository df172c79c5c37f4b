"""A file that lines are added to, by a thread of its own. Imports the standard library only.

Whoever hands over lines waits for nothing: a disk that is slow, full or gone costs lines, whose
number is told, and nothing else. Several processes may add to one file: lines are written whole,
many with one call. When the file's name leads elsewhere, since somebody has put the file away, the
name is opened anew.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

LOOK_SECONDS = 1.0
"""How often it is looked at where the name leads, if nothing is written."""

WAITING_MOST = 8 * 1024 * 1024
"""Bytes that wait to be written. What comes then is lost."""

PIPE_MOST = 4096
"""Bytes that go into a pipe without being mixed with those of others."""

LAST_SECONDS = 2.0
"""How long the end of the process is put off by what is still to be written."""

MODE = 0o640

STDOUT = "-"


def open_log(path: str, owner: tuple[int, int] | None = None, mode: int | None = None) -> int:
    """A descriptor to add to the file at `path` with, which is made if it is not there, and then
    given to the `owner`, a user and a group, and the permissions in `mode`, in place of those that
    the umask leaves of `MODE`; `-` is standard output. Raises `OSError`."""
    if path == STDOUT:
        return os.dup(1)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError:
        # A FIFO that nobody reads is an error, and nothing to wait for.
        fd = os.open(path, flags | os.O_CREAT | os.O_NONBLOCK, MODE)
        os.set_blocking(fd, True)
    else:
        if owner is not None:
            os.fchown(fd, *owner)
        if mode is not None:
            os.fchmod(fd, mode)
    return fd


class LineFile:
    """Lines on their way into a file."""

    def __init__(self, path: str, fd: int, tell: Callable[[str], object]) -> None:
        """`fd` is that of the file at `path`, from `open_log`; it is ours from now on. `tell` is
        given sentences about what goes wrong, in any thread."""
        self._path = path
        self._tell = tell
        self._fd = fd
        self._thread: threading.Thread | None = None
        self._condition = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._anew = False
        self._closing = False
        self._torn = False  # what was written last does not end with the end of a line
        self._stuck = False
        self._trouble = ""  # which was told of
        self._lost = 0  # lines of which nothing was told yet
        self._know(fd)

    # In the reactor's thread.

    def write(self, lines: list[str]) -> None:
        """Add `lines`, soon."""
        data = "".join([f"{line}\n" for line in lines]).encode("utf-8", "backslashreplace")
        if self._closing:
            self._put_late(data)
            return
        with self._condition:
            full = self._size + len(data) > WAITING_MOST
            if full:
                self._lost += len(lines)
            else:
                self._waiting.append(data)
                self._size += len(data)
                self._condition.notify()
        if full:
            self._complain("is written too slowly, and loses lines")
        elif self._thread is None:
            # Not before: the process has given up its rights by now, and so has the thread.
            self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
            self._thread.start()

    def reopen(self) -> None:
        """Open the name anew, soon."""
        with self._condition:
            self._anew = True
            self._condition.notify()
        if self._thread is None:
            self._look()

    def close(self) -> None:
        """Write what waits, as far as that takes no more than `LAST_SECONDS`; what comes from now
        on is written at once."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(LAST_SECONDS)
            if self._thread.is_alive():
                self._stuck = True  # so would we be
                return
        os.close(self._fd)

    def _put_late(self, data: bytes) -> None:
        if self._stuck:
            return
        try:
            self._fd = open_log(self._path, mode=self._mode)
        except OSError as error:
            self._complain(f"loses lines ({error.strerror})")
            return
        self._put(data)
        os.close(self._fd)

    # In the thread; at the end, in the other one.

    def _run(self) -> None:
        while True:
            with self._condition:
                if not (self._waiting or self._anew or self._closing):
                    self._condition.wait(LOOK_SECONDS)
                data = b"".join(self._waiting)
                self._waiting.clear()
                done = self._closing
            self._look()
            self._put(data)
            with self._condition:
                self._size -= len(data)
            if done:
                return

    def _look(self) -> None:
        """Open the name anew, if it leads elsewhere or somebody says so."""
        anew, self._anew = self._anew, False
        if self._path == STDOUT:
            return
        try:
            found = os.stat(self._path)
            same = (found.st_dev, found.st_ino) == self._identity
        except OSError:
            same = False
        if same and not anew:
            return
        try:
            # As who reads it had it; twistd has another umask since it went into the background.
            fd = open_log(self._path, mode=self._mode)
        except OSError as error:
            self._complain(f"cannot be opened again ({error.strerror}), and goes on where it was")
            return
        before, self._fd = self._fd, fd
        self._know(fd)
        self._torn = False
        self._trouble = ""
        with suppress(OSError):
            os.close(before)

    def _know(self, fd: int) -> None:
        found = os.fstat(fd)
        self._identity = found.st_dev, found.st_ino
        self._mode = stat.S_IMODE(found.st_mode) if stat.S_ISREG(found.st_mode) else None
        self._most = PIPE_MOST if not stat.S_ISREG(found.st_mode) else WAITING_MOST

    def _put(self, data: bytes) -> None:
        if not data:
            return  # which says nothing of whether it can be written
        at = 0
        try:
            while at < len(data):
                at += self._put_some(data, at)
        except OSError as error:
            self._torn = self._torn or (at > 0 and data[at - 1 : at] != b"\n")
            with self._condition:
                self._lost += data.count(b"\n", at)
            self._complain(f"loses lines ({error.strerror})")
            return
        with self._condition:
            lost, self._lost = self._lost, 0
        if lost:
            self._trouble = ""
            self._tell(f"the access log {self._path} has lost {lost} lines; it is written again")

    def _put_some(self, data: bytes, at: int) -> int:
        """Write from `at`, whole lines if that is not within one, as many as one call may; returns
        how many bytes were written."""
        end = len(data)
        if end - at > self._most:
            end = data.rfind(b"\n", at, at + self._most) + 1 or end
        start = b"\n" if self._torn else b""
        try:
            sent = os.write(self._fd, start + data[at:end])
        except BlockingIOError:  # a pipe that somebody has made so
            select.select([], [self._fd], [], LOOK_SECONDS)
            return 0
        self._torn = False
        return sent - len(start)

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._tell(f"the access log {self._path} {trouble}")
