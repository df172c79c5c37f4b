"""Tests `client.mirroring` when it is broken off: what is there is whole, and is not sent again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcpdl.client.errors import CannotConnect, CannotWrite, ConnectionBroken
from tcpdl.client.mirroring import PAUSES
from tcpdl.wire import native
from tcpdl.wire.native import Pick, Tree
from tests.client.mirror.conftest import go

if TYPE_CHECKING:
    from tests.client.mirror.conftest import Honest, Make, Serve, Snapshot

Snap = Callable[[Path], "Snapshot"]

MTIME = 1_600_000_000_123_456_789


def many(make: Make) -> list[Any]:
    return [make.folder("d"), *(make.file(f"d/{index}", b"%d" % index) for index in range(100))]


@pytest.mark.parametrize("ending", [b"hang up", b"reset"])
def test_lost_connection_is_made_anew(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    snapshot: Snap,
    ending: bytes,
) -> None:
    honestly = honest(many(make), each=10)
    served = 0

    def answer(request: Any) -> Any:
        nonlocal served
        parts = list(honestly(request))
        served += 1
        return [*parts[:4], ending] if served == 1 else parts

    pauses: list[float] = []
    mirrored = go(server(answer).location, target, sleep=pauses.append)
    assert len(snapshot(target)) == 101
    assert pauses == [PAUSES[0]]
    assert (mirrored.files, mirrored.unchanged, mirrored.left_out_count) == (100, 0, 0)
    assert (target / "d").stat().st_mtime_ns == MTIME
    trees = [one for one in honestly.requests if isinstance(one, Tree)]
    assert [one.flags & native.CONTENT for one in trees] == [native.CONTENT, 0]
    # A reset may take with it what was under way.
    assert len(honestly.picked) >= 61
    if ending == b"hang up":
        assert len(honestly.picked) == 61


def test_attempts_end_if_no_file_comes(
    server: Serve, honest: type[Honest], make: Make, target: Path
) -> None:
    honestly = honest(many(make), each=10)
    one = server(lambda request: [*list(honestly(request))[:1], b"hang up"])
    target.mkdir()
    (target / "mine").write_bytes(b"")
    pauses: list[float] = []
    notes: list[str] = []
    with pytest.raises(ConnectionBroken):
        go(one.location, target, sleep=pauses.append, note=notes.append)
    assert pauses == list(PAUSES)
    assert len(notes) == len(PAUSES)
    assert one.connections == len(PAUSES) + 1


def test_attempts_go_on_while_files_come(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    honestly = honest(many(make), each=10)
    count = 0

    def answer(request: Any) -> Any:
        nonlocal count
        count += 1
        parts = list(honestly(request))
        return parts if isinstance(request, Tree) and count > 1 else [*parts[:1], b"hang up"]

    pauses: list[float] = []
    mirrored = go(server(answer).location, target, sleep=pauses.append)
    assert len(snapshot(target)) == 101
    assert len(pauses) > len(PAUSES)
    assert set(pauses) == {PAUSES[0]}
    assert mirrored.files == 100


def test_server_that_goes_away_for_good(
    server: Serve, honest: type[Honest], make: Make, target: Path
) -> None:
    honestly = honest(many(make), each=10)
    pauses: list[float] = []
    one = server(lambda request: [*list(honestly(request))[:2], b"hang up"])

    def away(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            one.close()

    with pytest.raises(CannotConnect):
        go(one.location, target, sleep=away)
    assert len(list((target / "d").iterdir())) == 19
    assert len(pauses) >= len(PAUSES)


def test_disk_full(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if bytes(data) == b"50":
            raise OSError(errno.ENOSPC, "no space left on device")
        return write(fd, data)

    location = server(honest(many(make))).location
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(CannotWrite, match="no space left"):
            go(location, target)
    assert sorted(path.name for path in (target / "d").iterdir()) == sorted(map(str, range(50)))
    mirrored = go(location, target)
    assert (mirrored.files, mirrored.unchanged) == (50, 50)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ])
def test_file_that_cannot_be_written_is_left_out(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    rename = os.rename

    def refuse(old: Any, new: Any, **folders: Any) -> None:
        if new == b"50":
            raise OSError(code, os.strerror(code))
        rename(old, new, **folders)

    monkeypatch.setattr(os, "rename", refuse)
    mirrored = go(server(honest(many(make))).location, target)
    assert len(list((target / "d").iterdir())) == 99
    assert mirrored.files == 99
    assert [name for name, _ in mirrored.left_out] == [b"d/50"]


def test_short_writes_are_gone_on_with(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    go(server(honest([make.file("f", b"0123456789")])).location, target)
    assert (target / "f").read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["write", "utime", "rename", "close"])
def test_interrupt_leaves_no_half_file(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    snapshot: Snap,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    real = getattr(os, call)
    left = 37

    def interrupted(*args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            if call == "close":
                real(*args)  # it would be closed all the same
            raise KeyboardInterrupt
        return real(*args, **options)

    location = server(honest(many(make))).location
    with monkeypatch.context() as patched:
        patched.setattr(os, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            go(location, target)
    found = {path.name: path.read_bytes() for path in (target / "d").iterdir()}
    assert found == {name: name.encode() for name in found}
    assert 30 < len(found) < 40
    mirrored = go(location, target)
    assert mirrored.unchanged == len(found)
    assert len(snapshot(target)) == 101


def test_killed_process_is_gone_on_with(
    server: Serve, honest: type[Honest], make: Make, target: Path, snapshot: Snap
) -> None:
    honestly = honest(many(make), each=10)
    location = server(honestly).location
    script = (
        "import os, sys, signal\n"
        "from tcpdl.client.mirroring import mirror\n"
        "from tcpdl.client.url import Location\n"
        "rename, left = os.rename, 37\n"
        "def killed(*args, **options):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left == 0:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    rename(*args, **options)\n"
        "os.rename = killed\n"
        "mirror(Location('127.0.0.1', int(sys.argv[1]), b''), sys.argv[2])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(location.port), str(target)],
        cwd=Path(__file__).parents[3],
        timeout=30,
    )
    assert ran.returncode == -signal.SIGKILL
    left = [path.name for path in (target / "d").iterdir() if path.name.startswith(".")]
    assert len(left) == 1  # the file that was being written, under a name of ours
    mirrored = go(location, target)
    assert (mirrored.files, mirrored.unchanged) == (64, 36)
    assert len(snapshot(target)) == 101
    assert (target / "d").stat().st_mtime_ns == MTIME
    assert len([one for one in honestly.requests if isinstance(one, Pick)]) == 1


def test_folder_that_cannot_be_opened_is_left_out(
    server: Serve,
    honest: type[Honest],
    make: Make,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (target / "d").mkdir(parents=True)
    (target / "d/mine").write_bytes(b"")
    real = os.open

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        if path == b"d":
            raise PermissionError(errno.EACCES, "no")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    entries = [make.folder("d"), make.folder("e"), make.file("d/f"), make.file("e/f")]
    mirrored = go(server(honest(entries)).location, target, delete=True)
    assert [name for name, _ in mirrored.left_out] == [b"d"]
    assert (target / "e/f").exists()
    assert (target / "d/mine").exists()
