"""A file that lines are added to, by a thread of its own. Imports the standard library only.

Whoever hands over lines waits for nothing: a disk that is slow, full or gone costs lines, whose
number is told, and nothing else. Several processes may add to one file: each has it for itself
while it writes many lines with one call, so that what a full disk leaves of a line can be taken off
again before anything stands behind it. When the file's name leads elsewhere, since somebody has put
the file away, the name is opened anew.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

LOOK_SECONDS = 1.0
"""How often it is looked at where the name leads, if nothing is written."""

WAITING_MOST = 8 * 1024 * 1024
"""Bytes that wait to be written. What comes then is lost."""

PIPE_MOST = 4096
"""Bytes that go into a pipe without being mixed with those of others."""

HELD_SECONDS = 0.1
"""How long it is waited for another process that has the file for itself. Ours take no longer, and
whoever may read it can hold it."""

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
    flags = os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError:
        # A FIFO that nobody reads is an error, and nothing to wait for.
        fd = _open_there(path, flags | os.O_CREAT | os.O_NONBLOCK)
        os.set_blocking(fd, True)
    else:
        if owner is not None:
            os.fchown(fd, *owner)
        if mode is not None:
            os.fchmod(fd, mode)
    return fd


def _open_there(path: str, flags: int) -> int:
    """For reading as well, if it is a file and that is allowed: how it ends says how to go on."""
    with suppress(OSError):
        if stat.S_ISREG(os.stat(path).st_mode):
            return os.open(path, flags | os.O_RDWR, MODE)
    return os.open(path, flags | os.O_WRONLY, MODE)


class LineFile:
    """Lines on their way into a file."""

    def __init__(self, path: str, fd: int, tell: Callable[[str], object]) -> None:
        """`fd` is that of the file at `path`, from `open_log`; it is ours from now on. `tell` is
        given sentences about what goes wrong, in any thread."""
        self.path = path
        """As it was given, or `-`."""
        self.lost = 0
        """Lines that were lost, in all."""
        self._tell = tell
        self._fd = fd
        self._thread: threading.Thread | None = None
        self._condition = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._anew = False
        self._closing = False
        self._leaving = False
        self._torn = False  # what was written last does not end with the end of a line
        self._stuck = False
        self._trouble = ""  # which was told of
        self._untold = 0  # those of them of which nothing was told yet
        self._know(fd)

    # In the reactor's thread.

    def write(self, lines: list[str]) -> None:
        """Add `lines`, soon."""
        data = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
        if self._closing:
            self._put_late(data)
            return
        with self._condition:
            full = self._size + len(data) > WAITING_MOST
            if full:
                self._lose(len(lines))
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

    @property
    def busy(self) -> bool:
        """Whether something is still being written."""
        return self._thread is not None and self._thread.is_alive()

    def leave(self) -> None:
        """Write what waits, and wait for nothing. Nothing is to be written any more."""
        self._leaving = True
        self._end()
        if self._thread is None:
            os.close(self._fd)

    def close(self) -> int:
        """Write what waits, as far as that takes no more than `LAST_SECONDS`; what comes from now
        on is written at once. Returns the number of lines that were lost, and not told of yet."""
        self._end()
        self.wait()
        if self.busy:
            self._stuck = True  # so would we be
            with self._condition:
                return self._untold + sum(data.count(b"\n") for data in self._waiting)
        os.close(self._fd)
        lost, self._untold = self._untold, 0
        return lost

    def wait(self) -> None:
        """Return once all is written after `leave`, or it has taken `LAST_SECONDS`."""
        if self._thread is not None:
            self._thread.join(LAST_SECONDS)

    def _end(self) -> None:
        with self._condition:
            self._closing = True
            self._condition.notify()

    def _put_late(self, data: bytes) -> None:
        if self._stuck:
            return
        try:
            self._fd = open_log(self.path, mode=self._mode)
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
                break
        if self._leaving:
            os.close(self._fd)
            if self._untold:
                self._complain(f"has lost {self._untold} lines")

    def _look(self) -> None:
        """Open the name anew, if it leads elsewhere or somebody says so."""
        anew, self._anew = self._anew, False
        if self.path == STDOUT:
            return
        try:
            found = os.stat(self.path)
            same = (found.st_dev, found.st_ino) == self._identity
        except OSError:
            same = False
        if same and not anew:
            return
        try:
            # As who reads it had it; twistd has another umask since it went into the background.
            fd = open_log(self.path, mode=self._mode)
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
        regular = stat.S_ISREG(found.st_mode)
        self._identity = found.st_dev, found.st_ino
        self._mode = stat.S_IMODE(found.st_mode) if regular else None
        self._most = WAITING_MOST if regular else PIPE_MOST
        # Standard output may be a file, but it is somebody else's.
        self._ours = regular and self.path != STDOUT

    def _put(self, data: bytes) -> None:
        if not data:
            return  # which says nothing of whether it can be written
        at, why = 0, ""
        with self._alone() as alone:
            self._torn = self._torn or self._ends_within_line()
            try:
                while at < len(data):
                    at += self._put_some(data, at)
            except OSError as error:
                why = error.strerror or str(error)
                self._leave_off(at - data.rfind(b"\n", 0, at) - 1, alone)
        with self._condition:
            self._lose(data.count(b"\n", at))
            lost = 0 if at < len(data) else self._untold
            self._untold -= lost
        if at < len(data):
            self._complain(f"loses lines ({why})")
        elif lost:
            self._trouble = ""
            self._tell(f"the access log {self.path} has lost {lost} lines; it is written again")

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

    def _leave_off(self, begun: int, alone: bool) -> None:
        """So many bytes of a line were written last, and nothing more can be: take them off again,
        unless somebody may have written behind them."""
        if not begun:
            return
        self._torn = True
        if alone:
            with suppress(OSError):  # a file may be one that can only grow
                end = os.lseek(self._fd, 0, os.SEEK_CUR)
                if os.fstat(self._fd).st_size == end:
                    os.ftruncate(self._fd, end - begun)
                    self._torn = False

    def _ends_within_line(self) -> bool:
        """Whether somebody, who may be no more, has left half a line in the file; as far as it may
        be read."""
        if self._ours:
            with suppress(OSError):
                size = os.fstat(self._fd).st_size
                return size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"
        return False

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other process of ours writes to the file meanwhile."""
        held = self._ours and self._hold()
        try:
            yield held
        finally:
            if held:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _hold(self) -> bool:
        until = time.monotonic() + HELD_SECONDS
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    return False
                time.sleep(HELD_SECONDS / 20)
            except OSError:  # a file system without locks
                return False
            else:
                return True

    def _lose(self, count: int) -> None:
        self.lost += count
        self._untold += count

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._tell(f"the access log {self.path} {trouble}")
