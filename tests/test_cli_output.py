"""Tests where `tcpdl get` puts what it fetches, and what it leaves alone."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcpdl.cli import main

SECONDS = 60.0
TCPDL = [sys.executable, "-W", "error", "-m", "tcpdl"]
LARGE = bytes(range(256)) * 4096


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a daemon that serves a few files."""
    root = tmp_path_factory.mktemp("root")
    (root / "sub").mkdir()
    (root / "hello.txt").write_bytes(b"hello\n")
    (root / "sub" / "hello.txt").write_bytes(b"another\n")
    (root / "large").write_bytes(LARGE)
    command = [sys.executable, "-m", "tcpdl", "serve", "--port", "0", str(root)]
    with subprocess.Popen(
        [*command, "--interface", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = (re.search(r"get (127\.0\.0\.1:\d+)/", line) for line in process.stdout)
        yield next(match[1] for match in found if match)
        process.terminate()


def shell(command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True, timeout=SECONDS)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_output_that_is_open_already(name: str, files: str, work: Path) -> None:
    command = f"{' '.join(TCPDL)} get {files}/hello.txt -o {name}"
    shell(f"(echo first; {command}; echo last) > log; {command} >> log")
    assert (work / "log").read_bytes() == b"first\nhello\nlast\nhello\n"


@pytest.mark.parametrize("name", ["/dev/fd/9", "/dev/stdin", "//dev/./fd/9", "/dev/fd/99999999999"])
def test_output_that_is_not_open(name: str, files: str) -> None:
    """Its number may be that of a socket or a pipe of the client's own a moment later."""
    command = [*TCPDL, "get", f"{files}/hello.txt", "-o", name]
    with open("in", "wb"), open("in", "rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, timeout=SECONDS)
    assert done.returncode == 6
    assert b"is not open for writing" in done.stderr


def test_output_that_is_open_elsewhere(files: str, work: Path) -> None:
    (work / "theirs").write_bytes(b"theirs")
    with (work / "theirs").open("ab") as theirs:
        path = f"/proc/{os.getpid()}/fd/{theirs.fileno()}"
        done = subprocess.run([*TCPDL, "get", f"{files}/hello.txt", "-o", path], timeout=SECONDS)
    assert done.returncode == 2
    assert (work / "theirs").read_bytes() == b"theirs"


def test_a_link_to_itself(files: str, work: Path) -> None:
    (work / "loop").symlink_to("loop")
    assert main(["get", f"{files}/hello.txt", "-o", "loop"]) == 6
    assert (work / "loop").is_symlink()


def test_a_pipe_that_does_not_block(files: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen([*TCPDL, "get", f"{files}/large", "-o", "-"], stdout=writer) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            assert pipe.read() == LARGE
        assert process.wait(SECONDS) == 0


def test_two_files_of_one_name(
    files: str, work: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["get", f"{files}/hello.txt", f"{files}/sub/hello.txt"]) == 2
    assert b"two of the files would be called 'hello.txt'" in capfdbinary.readouterr().err
    assert list(work.iterdir()) == []


def test_options_between_the_arguments(files: str, work: Path) -> None:
    assert main(["get", f"{files}/hello.txt", "-d", "d", f"{files}/large"]) == 0
    assert {path.name for path in (work / "d").iterdir()} == {"hello.txt", "large"}


def test_the_mode_of_a_file_that_is_replaced_stays(files: str, work: Path) -> None:
    (work / "hello.txt").touch(0o600)
    assert main(["get", f"{files}/hello.txt"]) == 0
    assert (work / "hello.txt").read_bytes() == b"hello\n"
    assert (work / "hello.txt").stat().st_mode & 0o777 == 0o600


def test_a_part_survives_what_brings_nothing(files: str, work: Path) -> None:
    part = work / "hello.txt.tcpdl-part"
    part.write_bytes(b"precious")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        assert main(["get", f"127.0.0.1:{held.getsockname()[1]}/hello.txt"]) == 3
    assert main(["get", f"{files}/missing", "-o", "hello.txt"]) == 5
    assert part.read_bytes() == b"precious"


def test_a_part_that_is_another_file_too(
    files: str, work: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (work / "victim").write_bytes(b"victim")
    os.link(work / "victim", work / "hello.txt.tcpdl-part")
    assert main(["get", f"{files}/hello.txt"]) == 6
    assert (work / "victim").read_bytes() == b"victim"
    assert b"is in the way" in capfdbinary.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_part_that_is_somebody_elses(files: str, work: Path) -> None:
    part = work / "hello.txt.tcpdl-part"
    part.touch()
    os.chown(part, 12345, 12345)
    assert main(["get", f"{files}/hello.txt"]) == 6
    assert not (work / "hello.txt").exists()


def test_a_part_is_no_target(files: str, work: Path) -> None:
    assert main(["get", f"{files}/hello.txt", "-o", "other.tcpdl-part"]) == 2
    assert list(work.iterdir()) == []


def test_a_part_that_was_swapped_is_not_kept(work: Path) -> None:
    """What another put in the place of the part must not become the file."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(1024)
                sock.sendall(b"hello")
                for _ in range(round(SECONDS / 0.01)):
                    # Not before it is written to: until then it may still be opened anew.
                    with contextlib.suppress(FileNotFoundError):
                        if Path("f.tcpdl-part").read_bytes() == b"hello":
                            os.rename("f.tcpdl-part", "moved")
                            break
                    swapped.wait(0.01)
                Path("f.tcpdl-part").write_bytes(b"planted")

        swapped = threading.Event()
        thread = threading.Thread(target=answer)
        thread.start()
        url = f"127.0.0.1:{listener.getsockname()[1]}/f"
        assert main(["get", url, "--dialect", "raw"]) == 6
        thread.join(SECONDS)
    assert not (work / "f").exists()
    assert (work / "f.tcpdl-part").read_bytes() == b"planted"
