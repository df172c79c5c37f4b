"""Tests `tcpdl mirror` against a daemon: what it makes, what it prints, what it returns."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcpdl.client.mirroring import Mirrored
from tcpdl.commands.mirror import complaints, summary

if TYPE_CHECKING:
    from tests.commands.conftest import Run, Served

SECONDS = 60.0


def contents(folder: Path) -> dict[str, object]:
    """Everything below `folder` but links: bytes of files, modes, times."""
    return {
        str(path.relative_to(folder)): (
            path.read_bytes() if path.is_file() else None,
            stat.S_IMODE(path.stat().st_mode),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if not path.is_symlink()
    }


def test_mirror(served: Served, run: Run, tmp_path: Path) -> None:
    ran = run("mirror", served.url, tmp_path / "m")
    assert ran == (0, "", "tcpdl: 1 symbolic link left out; --links makes them\n")
    assert contents(tmp_path / "m") == contents(served.root)
    before = {path: path.lstat().st_ctime_ns for path in (tmp_path / "m").rglob("*")}
    assert run("mirror", served.url, tmp_path / "m", "--verbose").out == ""
    assert before == {path: path.lstat().st_ctime_ns for path in (tmp_path / "m").rglob("*")}


def test_links(served: Served, run: Run, tmp_path: Path) -> None:
    assert run("mirror", "--links", served.url, tmp_path / "m") == (0, "", "")
    assert os.readlink(tmp_path / "m/sub/link") == "../a.txt"
    assert contents(tmp_path / "m") == contents(served.root)


def test_folder_below(served: Served, run: Run, tmp_path: Path) -> None:
    run("mirror", f"{served.url}/sub/", tmp_path / "m")
    assert contents(tmp_path / "m") == contents(served.root / "sub")


@pytest.mark.parametrize("name", ["sub/deep/large", "sub/deep/medium", "a.txt"])
@pytest.mark.parametrize("options", [[], ["--checksum"]])
def test_file_that_differs(
    served: Served, run: Run, tmp_path: Path, name: str, options: list[str]
) -> None:
    run("mirror", served.url, tmp_path / "m")
    changed = tmp_path / "m" / name
    whole = changed.stat()
    with changed.open("r+b") as file:
        file.write(b"ALPHA")
    if options:
        os.utime(changed, ns=(whole.st_mtime_ns, whole.st_mtime_ns))
    ran = run("mirror", *options, "-v", served.url, tmp_path / "m")
    assert (ran.status, ran.out) == (0, f"write  {name}\n")
    assert contents(tmp_path / "m") == contents(served.root)


def test_checksum_keeps_what_is_the_same(served: Served, run: Run, tmp_path: Path) -> None:
    shutil.copytree(served.root, tmp_path / "m", symlinks=True)
    os.utime(tmp_path / "m/sub/deep/large", ns=(1, 1))
    inode = (tmp_path / "m/sub/deep/large").stat().st_ino
    ran = run("mirror", "--checksum", "-v", served.url, tmp_path / "m")
    assert (ran.status, ran.out) == (0, "set    sub/deep/large\n")
    assert (tmp_path / "m/sub/deep/large").stat().st_ino == inode
    assert contents(tmp_path / "m") == contents(served.root)


def test_delete_and_dry_run(served: Served, run: Run, tmp_path: Path) -> None:
    shutil.copytree(served.root, tmp_path / "m", symlinks=True)
    (tmp_path / "m/old").mkdir()
    (tmp_path / "m/old/x\n").touch()
    (tmp_path / "m/old/kept").touch()
    (tmp_path / "m/a.txt").unlink()
    before = contents(tmp_path / "m")
    options = ["--delete", "--exclude", "kept"]
    ran = run("mirror", "-n", *options, served.url, tmp_path / "m")
    assert ran.status == 0
    assert ran.out == "write  a.txt\ndelete old/x\\n\n"
    assert contents(tmp_path / "m") == before
    assert run("mirror", *options, served.url, tmp_path / "m").status == 0
    found = contents(tmp_path / "m")
    assert found.pop("old/kept")
    assert found.pop("old")
    assert found == contents(served.root)


def test_order_of_filters(served: Served, run: Run, tmp_path: Path) -> None:
    rules = ["--include", "run.sh", "--exclude", "sub/**", "--exclude=*.txt"]
    run("mirror", served.url, tmp_path / "m", *rules)
    assert {name for name in contents(tmp_path / "m") if "." in name} == {"sub/run.sh"}
    run("mirror", served.url, tmp_path / "n", *reversed(rules[2:4]), "--include", "*.txt")
    run("mirror", served.url, tmp_path / "o", "--include", "*.txt")
    assert {name for name in contents(tmp_path / "o") if "." in name} == {"a.txt", "下载.txt"}


def test_what_is_left_out(served: Served, run: Run, tmp_path: Path) -> None:
    names = [f"bad{index:02}\n" for index in range(25)]
    for name in names:
        (served.root / name).touch()
    try:
        ran = run("mirror", served.url, tmp_path / "m")
    finally:
        for name in names:
            (served.root / name).unlink()
    lines = ran.err.splitlines()
    assert ran.status == 7
    assert lines[0].startswith("tcpdl: bad00\\n: ")
    assert lines[20:] == [
        "tcpdl: and 5 more were left out",
        "tcpdl: 1 symbolic link left out; --links makes them",
    ]
    assert (tmp_path / "m/a.txt").exists()


@pytest.mark.parametrize(
    ("url", "folder", "status", "complaint"),
    [
        ("absent", "m", 5, "has no 'absent'"),
        ("a.txt", "m", 5, "use tcpdl get"),
        ("..", "m", 5, "climbs"),
        ("", "", 2, "DIR"),
        ("", "file", 6, "not a directory"),
    ],
)
def test_failures(
    served: Served,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    folder: str,
    status: int,
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    ran = run("mirror", f"{served.url}/{url}", folder)
    assert ran.status == status
    assert complaint in ran.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("options", [["--include", ""], ["--exclude", "[z-a]"], ["--include=/"]])
def test_wrong_pattern(served: Served, run: Run, tmp_path: Path, options: list[str]) -> None:
    ran = run("mirror", served.url, tmp_path / "m", *options)
    assert ran.status == 2
    assert "pattern" in ran.err


def test_summary_on_a_terminal(served: Served, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tcpdl", "mirror", served.url, str(tmp_path / "m")]
    with (
        open(master, "rb", buffering=0) as terminal,
        subprocess.Popen(command, stderr=slave) as process,
    ):
        os.close(slave)
        shown = b""
        with suppress(OSError):  # a terminal that nobody has open reads as an error
            while select.select([terminal], [], [], SECONDS)[0]:
                shown += terminal.read(65536)
        assert process.wait(SECONDS) == 0
    assert "5 files, 4" in shown.decode()
    assert "0 unchanged" in shown.decode()


def test_interrupt_ends_with_its_status(
    served: Served, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", interrupted)
        assert run("mirror", served.url, tmp_path / "m").status == 128 + signal.SIGINT
    assert run("mirror", served.url, tmp_path / "m").status == 0
    assert contents(tmp_path / "m") == contents(served.root)


def mirrored(**changes: Any) -> Mirrored:
    made = Mirrored(
        files=1,
        size=2048,
        unchanged=2,
        links=0,
        links_left_out=0,
        deleted=0,
        received=3000,
        left_out=(),
        left_out_count=0,
        kept_all=False,
        seconds=2.0,
    )
    return made._replace(**changes)


def test_summary() -> None:
    assert summary(mirrored()) == "1 file, 2 KiB in 2.0 s (1 KiB/s); 2 unchanged"
    assert summary(mirrored(links=1, deleted=3)).endswith(
        "; 2 unchanged; 1 symbolic link; 3 deleted"
    )
    assert summary(mirrored(files=2, deleted=3), dry_run=True) == (
        "2 files, 2 KiB to be written; 2 unchanged; 3 to be deleted"
    )


def test_complaints() -> None:
    assert complaints(mirrored()) == []
    said = complaints(mirrored(kept_all=True, links_left_out=2))
    assert said == [
        "nothing was deleted, since the server did not list all that it has",
        "2 symbolic links left out; --links makes them",
    ]
