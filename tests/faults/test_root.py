"""Tests a root that goes away or is replaced, and what is in it that is no file."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tcpdl.wire import native
from tests.daemons import Daemon, daemon_of
from tests.faults.conftest import SIZE, bytes_of, encrypting
from tests.faults.fetching import SECONDS, WAYS, Fetch, How, Outcome, fetch

CONTENT = bytes_of(SIZE)
NO = (native.ABSENT, native.REFUSED, native.IS_FOLDER)


def fill(root: Path, content: bytes = CONTENT) -> None:
    (root / "folder").mkdir()
    for name in ("file", "folder/file"):
        (root / name).write_bytes(content)


def assert_not_there(dialect: str, outcome: Outcome) -> None:
    """As each dialect says so."""
    assert outcome.content == b"" or outcome.status == 404
    if dialect == "raw":
        assert outcome.how is How.WHOLE
    else:
        assert outcome.how is How.ERROR
        assert outcome.status in (*NO, 404)


def status_of(daemon: Daemon, target: str) -> int:
    try:
        with urllib.request.urlopen(f"{daemon.url}/{target}", timeout=SECONDS) as answer:
            answer.read()
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def tcpdl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("tcpdl")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=SECONDS)


def assert_clean_answers(daemon: Daemon, tmp_path: Path) -> None:
    """Whatever is there, all verbs are answered."""
    for target in ("", "?format=json", "?archive=tar", "?archive=zip", "?sums=sha256", "file?info"):
        assert status_of(daemon, target) in (200, 404), target
    assert status_of(daemon, ".well-known/tcpdl/health") == 200
    for command in (["ls", "-R"], ["mirror", "-n"]):
        ran = tcpdl(*command, f"{daemon.where}/", *([tmp_path / "copy"] if "-n" in command else []))
        assert ran.returncode in (0, 5, 7)
        assert "Traceback" not in ran.stderr


def test_a_root_that_is_removed(root: Path, daemon: Daemon, tmp_path: Path) -> None:
    fill(root)
    running = [Fetch(daemon.port, way, "folder/file") for way in WAYS]
    for download in running:
        download.read(SIZE // 4)
    shutil.rmtree(root)
    for way, download in zip(WAYS, running, strict=True):
        outcome = download.finish()
        if not way.startswith("native"):  # which takes it for changed
            assert (outcome.how, outcome.content) == (How.WHOLE, CONTENT)
        assert_not_there(way.split("+")[0], fetch(daemon.port, way, "file"))
    assert_clean_answers(daemon, tmp_path)
    # What has its name now is another folder.
    root.mkdir()
    fill(root)
    for way in WAYS:
        assert_not_there(way.split("+")[0], fetch(daemon.port, way, "file"))
    assert_clean_answers(daemon, tmp_path)


def test_a_root_that_is_replaced(root: Path, daemon: Daemon, tmp_path: Path) -> None:
    """The daemon serves the folder that it was given, whatever that is called now."""
    fill(root)
    root.rename(tmp_path / "elsewhere")
    root.mkdir()
    fill(root, b"another")
    for way in WAYS:
        assert fetch(daemon.port, way, "folder/file").content == CONTENT
    assert_clean_answers(daemon, tmp_path)
    shutil.rmtree(tmp_path / "elsewhere/folder")
    for way in WAYS:
        assert_not_there(way.split("+")[0], fetch(daemon.port, way, "folder/file"))
        assert fetch(daemon.port, way, "file").content == CONTENT
    assert_clean_answers(daemon, tmp_path)


def test_a_root_that_is_unmounted(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    root = tmp_path / "root"
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tcpdl-test", str(root)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted")
    try:
        fill(root)
        with daemon_of(root, *encrypting(root)) as daemon:
            running = [Fetch(daemon.port, way, "folder/file") for way in WAYS]
            for download in running:
                download.read(SIZE // 4)
            subprocess.run(["umount", "--lazy", root], check=True)
            assert not list(root.iterdir())
            for download in running:
                assert download.finish()[:2] == (How.WHOLE, CONTENT)
            for way in WAYS:
                assert fetch(daemon.port, way, "file").content == CONTENT
            assert_clean_answers(daemon, tmp_path)
    finally:
        subprocess.run(["umount", root], capture_output=True)


NOT_FILES = ("fifo", "socket", "folder", "dangling", "loop", "out", "device-link", "device")


def fill_with_what_is_no_file(root: Path) -> None:
    (root / "folder").mkdir()
    (root / "file").write_bytes(b"content")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:  # its name stays
        listener.bind(os.path.relpath(root / "socket"))
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    (root / "out").symlink_to("/etc/passwd")
    (root / "device-link").symlink_to("/dev/zero")
    if os.geteuid() == 0:
        os.mknod(root / "device", 0o20666, os.makedev(1, 5))  # /dev/zero


@pytest.mark.parametrize("under", ["", "deep/"])
def test_what_is_no_file(
    root: Path, daemon: Daemon, tmp_path: Path, way: str, dialect: str, under: str
) -> None:
    top = root / under
    top.mkdir(exist_ok=True)
    fill_with_what_is_no_file(top)
    for name in NOT_FILES:
        outcome = fetch(daemon.port, way, under + name)
        if dialect == "http" and name == "folder":
            assert outcome.status == 301
        else:
            assert_not_there(dialect, outcome)
    if dialect == "http":
        for name in NOT_FILES:
            for query in ("?info", "?download", "?archive=tar", "?sums=sha256"):
                status = status_of(daemon, f"{under}{name}{query}")
                assert status == (200 if name == "folder" else 404)
    assert fetch(daemon.port, way, f"{under}file").content == b"content"


def test_all_of_what_is_no_file(root: Path, daemon: Daemon, tmp_path: Path) -> None:
    """What is asked for is the folder: it comes without them, and that is said."""
    fill_with_what_is_no_file(root)
    with urllib.request.urlopen(f"{daemon.url}/?archive=tar", timeout=SECONDS) as answer:
        data = answer.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = {member.name.removeprefix("files/") for member in archive}
    # What links to a place in the folder is a link, wherever that leads.
    links = {"dangling", "loop"}
    assert names == {"files", "file", "folder", "NOT-INCLUDED.txt", *links}
    ran = tcpdl("mirror", daemon.where, tmp_path / "copy")
    assert ran.returncode == 7
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {"file", "folder"}
    left_out = {line.split(": ")[1] for line in ran.stderr.splitlines()}
    left_out.remove("2 symbolic links left out; --links makes them")
    assert left_out == {path.name for path in root.iterdir()} - {"file", "folder", *links}
    with urllib.request.urlopen(f"{daemon.url}/?sums=sha256", timeout=SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [lines[0]]
    assert lines[0].endswith("  file")
