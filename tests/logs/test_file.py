"""Tests the file of the access log: rotated, full, slow, and written by several at once."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcpdl.logs import file as module
from tcpdl.logs.file import PIPE_MOST, WAITING_MOST, LineFile, open_log

SECONDS = 60.0

Begin = Callable[..., LineFile]


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is given up since the thread that writes has not had its turn yet."""
    monkeypatch.setattr(module, "LAST_SECONDS", SECONDS)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def begin(path: Path, said: list[str]) -> Iterator[Begin]:
    made: list[LineFile] = []

    def make(where: str = "") -> LineFile:
        where = where or str(path)
        made.append(LineFile(where, open_log(where), said.append))
        return made[-1]

    yield make
    for one in made:
        if not one._closing:
            one.close()


def settle(file: LineFile) -> None:
    """Return once all was done that was to be, and the thread has nothing left to do."""
    done = threading.Event()
    while not done.wait(0.001):
        with file._condition:
            rests = file._thread is None or file._condition._waiters  # type: ignore[attr-defined]
            if rests and not file._size and not file._anew:
                done.set()


def test_lines(begin: Begin, path: Path, said: list[str]) -> None:
    file = begin()
    assert stat.S_IMODE(path.stat().st_mode) & ~0o640 == 0
    file.write(["a", "ä"])
    file.write(["c"])
    file.close()
    assert path.read_text("utf-8") == "a\nä\nc\n"
    file.write(["late"])
    file.write(["later"])
    assert path.read_text("utf-8") == "a\nä\nc\nlate\nlater\n"
    assert said == []


def test_what_was_there_stays(begin: Begin, path: Path) -> None:
    path.write_text("before\n")
    file = begin()
    file.write(["after"])
    file.close()
    assert path.read_text() == "before\nafter\n"


@pytest.mark.parametrize("signalled", [False, True])
def test_a_file_that_was_put_away(signalled: bool, begin: Begin, path: Path) -> None:
    file = begin()
    file.write(["one"])
    settle(file)
    away = path.with_suffix(".1")
    path.rename(away)
    if signalled:
        file.reopen()
        settle(file)
    file.write(["two"])
    file.close()
    assert away.read_text() == "one\n"
    assert path.read_text() == "two\n"


def test_the_next_file_can_be_read_by_whom_the_one_before_could(begin: Begin, path: Path) -> None:
    """Whatever the umask has become: that of twistd leaves a group nothing, in the background."""
    file = begin()
    path.chmod(0o644)
    file.write(["one"])
    file.reopen()
    settle(file)
    path.rename(path.with_suffix(".1"))
    before = os.umask(0o077)
    try:
        file.reopen()
        settle(file)
        file.write(["two"])
        file.close()
    finally:
        os.umask(before)
    assert path.read_text() == "two\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_it_is_put_away_again_and_again(begin: Begin, path: Path) -> None:
    """Not a line is lost, and none is there twice."""
    file = begin()
    for number in range(200):
        file.write([f"{number} {part}" for part in range(50)])
        if number % 20 == 0 and path.exists():
            path.rename(path.with_suffix(f".{number}"))
    file.close()
    lines = [line for one in path.parent.iterdir() for line in one.read_text().split("\n")[:-1]]
    assert sorted(lines) == sorted(
        f"{number} {part}" for number in range(200) for part in range(50)
    )


def test_a_folder_that_is_gone(begin: Begin, path: Path, said: list[str]) -> None:
    file = begin()
    file.write(["one"])
    settle(file)
    away = path.parent.with_name("away")
    path.parent.rename(away)
    file.write(["two"])
    settle(file)
    file.write(["three"])
    settle(file)
    assert (away / path.name).read_text() == "one\ntwo\nthree\n", "it goes on where it was"
    assert len(said) == 1
    assert "cannot be opened again (No such file or directory)" in said[0]
    away.rename(path.parent)
    file.close()


def test_several_write_to_it(path: Path) -> None:
    files = [LineFile(str(path), open_log(str(path)), print) for _ in range(4)]
    for number in range(100):
        for index, file in enumerate(files):
            file.write([f"{index} {number} {'x' * 200}"] * 3)
    for file in files:
        file.close()
    lines = path.read_text().split("\n")
    assert lines.pop() == ""
    assert len(lines) == 1200
    assert all(len(line.split(" ")) == 3 and line.endswith("x" * 200) for line in lines)


class Disk:
    """Stands for write(2): takes so many bytes, and then has no room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, fd: int, data: bytes) -> int:
        if self.room is None:
            return self._write(fd, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sent = self._write(fd, data[: self.room])
        self.room -= sent
        return sent


def test_a_full_disk(
    begin: Begin, path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    file = begin()
    disk.room = 7
    file.write(["one", "two", "three"])  # 4 bytes, and 3 of the next
    settle(file)
    for _ in range(3):
        file.write(["lost"] * 10)
        settle(file)
    disk.room = None
    file.write(["again"])
    settle(file)
    file.write(["and again"])
    file.close()
    assert path.read_text() == "one\nagain\nand again\n"
    assert said == [
        f"the access log {path} loses lines (No space left on device)",
        f"the access log {path} has lost 32 lines; it is written again",
    ]
    assert file.lost == 32


@pytest.mark.parametrize("held", [False, True])
def test_half_a_line_that_cannot_be_taken_off(
    held: bool, begin: Begin, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a file that may only grow, or one that somebody else has locked."""
    disk = Disk(monkeypatch)
    monkeypatch.setattr(module, "HELD_SECONDS", 0.001)
    if held:
        other = os.open(path, os.O_RDONLY | os.O_CREAT)
        fcntl.flock(other, fcntl.LOCK_EX)
    else:

        def refuse(fd: int, size: int) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "ftruncate", refuse)
    file = begin()
    disk.room = 7
    file.write(["one", "two", "three"])
    settle(file)
    disk.room = None
    file.write(["again"])
    file.close()
    assert path.read_text() == "one\ntwo\nagain\n"
    if held:
        os.close(other)


def test_half_a_line_of_another_program_stays_one(begin: Begin, path: Path) -> None:
    path.write_text("before\nhal")
    file = begin()
    file.write(["one"])
    settle(file)
    with path.open("a") as other:
        other.write("other")
    file.write(["two"])
    file.close()
    assert path.read_text() == "before\nhal\none\nother\ntwo\n"


def test_what_another_has_written_behind_half_a_line_is_not_taken_off(
    begin: Begin, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    lseek = os.lseek

    def seek(fd: int, at: int, whence: int) -> int:
        with path.open("a") as other:  # which does not ask whether somebody has it
            other.write("!\n")
        return lseek(fd, at, whence)

    monkeypatch.setattr(os, "lseek", seek)
    file = begin()
    disk.room = 7
    file.write(["one", "two", "three"])
    settle(file)
    assert path.read_text() == "one\ntwo!\n"


def test_several_on_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one leaves of a line, the others do not write behind."""
    disk = Disk(monkeypatch)
    said: list[str] = []
    files = [LineFile(str(path), open_log(str(path)), said.append) for _ in range(2)]
    disk.room = 19
    for number in range(4):
        for file in files:
            file.write([f"line {number}"])
            settle(file)
    disk.room = None
    for file in files:
        file.write(["again"])
        file.close()
    assert path.read_text().splitlines() == ["line 0"] * 2 + ["again"] * 2
    assert sum(int(one.split(" lost ")[1].split()[0]) for one in said if " lost " in one) == 6


def test_what_was_lost_at_the_end_is_known(
    begin: Begin, path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    closed, left = begin(), begin()
    disk.room = 0
    for file in (closed, left):
        file.write(["lost", "lost"])
        settle(file)
    assert closed.close() == 2
    left.leave()
    left.wait()
    assert not left.busy
    assert said[-1] == f"the access log {path} has lost 2 lines"


def test_a_full_disk_that_nothing_more_is_written_to(
    begin: Begin, path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That there is nothing to write does not say that it could be."""
    disk = Disk(monkeypatch)
    file = begin()
    disk.room = 0
    file.write(["lost"])
    settle(file)
    file.close()  # which has the thread look once more
    assert said == [f"the access log {path} loses lines (No space left on device)"]


def test_a_disk_that_hangs(
    begin: Begin, path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it, and no more than so much is held for it."""
    goes_on, hangs = threading.Event(), threading.Event()
    write = os.write

    def wait(fd: int, data: bytes) -> int:
        hangs.set()
        assert goes_on.wait(SECONDS)
        return write(fd, data)

    monkeypatch.setattr(os, "write", wait)
    file = begin()
    line = "x" * 1023
    file.write([line])
    assert hangs.wait(SECONDS)
    for _ in range(2 * WAITING_MOST // (64 * 1024)):
        file.write([line] * 64)
    assert sum(map(len, file._waiting)) <= WAITING_MOST
    assert said == [f"the access log {path} is written too slowly, and loses lines"]
    goes_on.set()
    settle(file)
    file.close()
    written = path.read_text().count("\n")
    assert (
        said[1]
        == f"the access log {path} has lost {128 * 128 + 1 - written} lines; it is written again"
    )


def test_a_disk_that_hangs_at_the_end(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 0.01)
    goes_on = threading.Event()

    def wait(fd: int, data: bytes) -> int:
        assert goes_on.wait(SECONDS)
        return len(data)

    monkeypatch.setattr(os, "write", wait)
    file = begin()
    file.write(["one"])
    file.close()
    file.write(["two"])  # returns
    goes_on.set()
    assert file._thread is not None
    file._thread.join(SECONDS)


def test_a_pipe_gets_whole_lines(begin: Begin, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    pieces: list[bytes] = []
    write = os.write

    def note(fd: int, data: bytes) -> int:
        pieces.append(data)
        return write(fd, data)

    monkeypatch.setattr(os, "write", note)
    file = begin()
    file.write(["x" * 100] * 500)
    settle(file)
    os.close(reader)
    assert all(len(piece) <= PIPE_MOST and piece.endswith(b"\n") for piece in pieces)
    assert b"".join(pieces) == b"%b\n" % (b"x" * 100) * 500


def test_a_pipe_that_nobody_reads(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device or address"):
        open_log(str(path))


def test_a_new_file_is_given_away(path: Path) -> None:
    os.close(open_log(str(path), (os.getuid(), -1)))
    assert path.stat().st_uid == os.getuid()
