"""Tests `tcpdl.cli`: the commands, as a person, a script or a terminal uses them, and a daemon."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import quote
from urllib.request import urlopen

import pytest

import tcpdl
from tcpdl.cli import COMMANDS, main

SECONDS = 60.0
TCPDL = [sys.executable, "-W", "error", "-m", "tcpdl"]

BINARY = bytes(range(256)) * 4096
CANARY = b"CANARY: outside of the folder"

Capture = pytest.CaptureFixture[bytes]
Script = Callable[[socket.socket], None]


class Daemon(NamedTuple):
    """Where a daemon answers, as `host:port`."""

    files: str
    echo: str


@pytest.fixture(autouse=True)
def _as_from_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test runs in a folder of its own, and its programs can be interrupted."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:surrogateescape")
    # Programs inherit that SIGINT is ignored, as it is in the background of a shell.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[bytes], *patterns: str) -> list[str]:
    """Read what a program prints until it holds each pattern; returns what their groups hold."""
    assert process.stdout is not None
    text = b""
    while not all(found := [re.search(pattern, text.decode()) for pattern in patterns]):
        assert select.select([process.stdout], [], [], SECONDS)[0], text
        data = os.read(process.stdout.fileno(), 65536)
        assert data, text
        text += data
    return [match[1] for match in found if match]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("served") / "root"
    (root / "a").mkdir(parents=True)
    (root.parent / "secret").write_bytes(CANARY)
    (root / "hello.txt").write_bytes(b"hello\n")
    (root / "empty").touch()
    (root / "binary").write_bytes(BINARY)
    for name in ("a/deep.txt", "下载 文件.txt", "100%", "secret"):
        (root / name).write_bytes(name.encode())
    program = str(Path(sys.executable).with_name("twistd"))
    options = ["--port=0", "--echo-port=0", "--interface=127.0.0.1", f"--root={root}"]
    with running(
        *(program, "-n", "--pidfile=", "tcpdl", *options), cwd=root.parent, stdout=subprocess.PIPE
    ) as process:
        files, echo = read_until(process, r"serving .* on (\S+:\d+)\n", r"echo on (\S+:\d+)\n")
        assert process.stdout is not None
        drain = threading.Thread(target=process.stdout.read)  # or its log would block it one day
        drain.start()
        yield Daemon(files, echo)
        process.terminate()
        drain.join(SECONDS)


@pytest.fixture
def server() -> Iterator[Callable[[Script], str]]:
    """Starts a server that follows a script on one connection; returns its `host:port`."""
    threads: list[threading.Thread] = []

    def start(script: Script) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(SECONDS)

        def answer() -> None:
            with listener:
                sock, _ = listener.accept()
            with sock:
                sock.settimeout(SECONDS)
                script(sock)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def reset_after(text: bytes) -> Script:
    def answer(sock: socket.socket) -> None:
        while sock.recv(1024):
            pass
        sock.sendall(text)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return answer


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    settings = {"capture_output": True, "stdin": subprocess.DEVNULL, "timeout": SECONDS, **options}
    if "input" in settings:
        del settings["stdin"]
    return subprocess.run([*TCPDL, *arguments], **settings)


def on_terminal(*arguments: str, typed: str = "", **options: Any) -> tuple[int, str]:
    """Run with a terminal in place of the streams that `options` do not name."""
    master, slave = pty.openpty()
    with open(master, "r+b", buffering=0) as terminal:
        os.write(master, typed.encode())
        streams = {"stdin": slave, "stdout": slave, "stderr": slave, **options}
        with running(*TCPDL, *arguments, **streams) as process:
            os.close(slave)
            shown = b""
            # A terminal that nobody has open any more reads as an error.
            with contextlib.suppress(OSError):
                while select.select([terminal], [], [], SECONDS)[0]:
                    shown += terminal.read(65536)
            return process.wait(SECONDS), shown.decode()


def files(folder: str | Path = ".") -> dict[str, bytes]:
    found = (path for path in Path(folder).rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


# get


def test_get_one(daemon: Daemon, capfdbinary: Capture) -> None:
    assert main(["get", f"{daemon.files}/hello.txt"]) == 0
    assert files() == {"hello.txt": b"hello\n"}
    assert capfdbinary.readouterr() == (b"", b"")


def test_get_as_a_program(daemon: Daemon) -> None:
    done = run("get", f"tcpdl://{daemon.files}/binary")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert files() == {"binary": BINARY}


def test_get_several_into_a_folder(daemon: Daemon) -> None:
    names = ["hello.txt", "a/deep.txt", "binary", "%E4%B8%8B载%20文件.txt", "100%25"]
    assert main(["get", "-d", "x/y", *(f"{daemon.files}/{name}" for name in names)]) == 0
    assert sorted(files()) == sorted(
        f"x/y/{name}" for name in ("hello.txt", "deep.txt", "binary", "下载 文件.txt", "100%")
    )
    assert files("x/y")["下载 文件.txt"] == "下载 文件.txt".encode()
    assert files("x/y")["binary"] == BINARY


def test_missing_file_keeps_no_other_from_being_fetched(daemon: Daemon) -> None:
    names = ["missing", "hello.txt", "empty", "a", "binary"]
    assert main(["get", *(f"{daemon.files}/{name}" for name in names)]) == 5
    assert files() == {"hello.txt": b"hello\n", "binary": BINARY, "empty": b""}


def test_every_missing_file_is_named(daemon: Daemon, capfdbinary: Capture) -> None:
    names = ["missing", "hello.txt", "empty", "a"]
    main(["get", "--dialect", "raw", *(f"{daemon.files}/{name}" for name in names)])
    complaints = capfdbinary.readouterr().err.decode().splitlines()
    assert [line.split(": ")[1] for line in complaints] == [
        f"{daemon.files}/{name}" for name in ("missing", "empty", "a")
    ]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        (["-o", "other"], "other"),
        (["-o", "other", "-d", "folder"], "folder/other"),
        (["-o", "x/other", "-d", "folder"], "folder/x/other"),
    ],
)
def test_output(options: list[str], path: str, daemon: Daemon) -> None:
    assert main(["get", f"{daemon.files}/hello.txt", *options]) == 0
    assert files() == {path: b"hello\n"}


def test_output_absolute(daemon: Daemon, tmp_path: Path) -> None:
    assert main(["get", f"{daemon.files}/hello.txt", "-o", str(tmp_path / "o"), "-d", "d"]) == 0
    assert (tmp_path / "o").read_bytes() == b"hello\n"
    assert files() == {}


def test_output_through_a_link_is_written_where_it_leads(daemon: Daemon) -> None:
    Path("real").write_bytes(b"old")
    Path("link").symlink_to("real")
    assert main(["get", f"{daemon.files}/hello.txt", "-o", "link"]) == 0
    assert Path("link").is_symlink()
    assert Path("real").read_bytes() == b"hello\n"


def test_standard_output(daemon: Daemon) -> None:
    done = run("get", f"{daemon.files}/binary", "-o", "-")
    assert (done.returncode, done.stdout, done.stderr) == (0, BINARY, b"")
    assert files() == {}


def test_standard_output_that_is_appended_to(daemon: Daemon) -> None:
    Path("log").write_bytes(b"before\n")
    with open("log", "ab") as log:
        run("get", f"{daemon.files}/binary", "-o", "-", capture_output=False, stdout=log)
    assert Path("log").read_bytes() == b"before\n" + BINARY


def test_standard_output_that_is_closed(daemon: Daemon) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run(
        *("get", f"{daemon.files}/binary", "-o", "-"),
        capture_output=False,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert done.returncode == 6
    assert done.stderr.endswith(b": nobody reads the output any more\n")
    assert done.stderr.count(b"\n") == 1


def test_device_stays_a_device(daemon: Daemon) -> None:
    # A terminal and not /dev/null: no file can be made beside it, so that a client which is wrong
    # here fails, even as root, and does not take a device from the whole machine.
    master, slave = pty.openpty()
    try:
        path = os.ttyname(slave)
        assert main(["get", f"{daemon.files}/hello.txt", "-o", path]) == 0
        assert os.read(master, 100) == b"hello\r\n"
        assert stat.S_ISCHR(os.stat(path).st_mode)
    finally:
        os.close(master)
        os.close(slave)


def test_fifo(daemon: Daemon) -> None:
    os.mkfifo("fifo")
    with running(*TCPDL, "get", f"{daemon.files}/binary", "-o", "fifo") as process:
        assert Path("fifo").read_bytes() == BINARY  # waits for the writer
        assert process.wait(SECONDS) == 0
    assert stat.S_ISFIFO(os.stat("fifo").st_mode)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "get needs a URL"),
        (["{}/hello.txt", "x:0/y"], "not a port number"),
        (["/x"], "the host is missing"),
        (["{}"], "names no file"),
        (["{}/"], "names no file"),
        (["{}/a/"], "names no file"),
        (["{}/hello.txt", "{}/a/deep.txt", "-o", "one"], "-o takes one URL"),
        (["{}/hello.txt", "-o", "new/"], "is a folder"),
        (["{}/a%0Ab", "-o", "x", "--dialect", "raw"], "line end"),
        (["{}/%1b[2J"], r"'\x1b[2J' is no name"),
        (["{}/" + "a" * 256], "256 bytes"),
        (["{}/hello.txt", "--timeout", "0"], "not a number of seconds"),
        (["{}/hello.txt", "--timeout", "nan"], "not a number of seconds"),
        (["{}/hello.txt", "--dialect", "gopher"], "invalid choice"),
    ],
)
def test_wrong_get(arguments: list[str], complaint: str, daemon: Daemon) -> None:
    done = run("get", *(argument.format(daemon.files) for argument in arguments))
    assert done.returncode == 2
    assert complaint in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert files() == {}  # and nothing was fetched


@pytest.mark.parametrize("arguments", [[], ["fetch"], ["--wrong"], ["echo"], ["echo", "host:0"]])
def test_wrong_command(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        *("..", "a/..", "%2e%2e", "a/%2E%2e", "..%2f", "..%2fsecret", "x%2f..%2f..%2fsecret"),
        *(
            "../secret",
            "a/../../secret",
            "{outside}/secret",
            "{quoted}%2fsecret",
            "..%00",
            "..\\secret",
        ),
        *("~/secret", "....//secret", "%252e%252e/secret", "-d/secret", "a%2f..%2fsecret"),
    ],
)
@pytest.mark.parametrize("hostile", [False, True])
def test_no_name_writes_outside_of_the_folder(
    name: str, hostile: bool, daemon: Daemon, server: Callable[[Script], str], tmp_path: Path
) -> None:
    """Neither with our daemon nor with a server that answers everything."""
    # Absolute names lead to a folder of this test: a client that is wrong must not do harm.
    name = name.format(outside=tmp_path, quoted=quote(str(tmp_path), safe=""))
    Path("folder").mkdir()
    (tmp_path / "secret").write_bytes(b"precious")
    address = daemon.files
    if hostile:
        # A name may be refused without a connection: the listener must not be waited for.
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=_answer_all, args=(listener,))
        thread.start()
    status = main(["get", "-d", "folder", f"{address}/{name}"])
    if hostile:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(SECONDS)
        listener.close()
    assert status in (0, 2, 5)
    written = files(tmp_path)
    assert written.pop("secret") == b"precious"
    assert all(re.fullmatch(r"work/folder/[^/]+", path) for path in written)
    assert CANARY not in written.values()
    assert bool(written) == (status == 0)


def _answer_all(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"hostile")
                while sock.recv(1024):
                    pass


@pytest.mark.parametrize(
    ("status", "path", "complaint"),
    [
        (5, "{daemon.files}/missing", "the server has no 'missing' to hand out: nothing has that"),
        (5, "{daemon.files}/a", "'a' is a folder; use tcpdl mirror or tcpdl ls for it"),
        (3, "127.0.0.1:{refused}/name", "connection refused (127.0.0.1)"),
        (6, "{daemon.files}/hello.txt -d file/below", "the folder file/below: Not a directory"),
        (2, "{daemon.files}/hello.txt -o folder", "'folder' is a folder; use -d for that"),
        (2, "{daemon.files}/hello.txt -o .", "'.' is a folder; use -d for that"),
        (6, "{daemon.files}/hello.txt -o socket", "cannot write: no such device or address"),
    ],
)
def test_failures(
    status: int, path: str, complaint: str, daemon: Daemon, capfdbinary: Capture
) -> None:
    Path("file").touch()
    Path("folder").mkdir()
    with socket.socket() as held, socket.socket(socket.AF_UNIX) as local:
        held.bind(("127.0.0.1", 0))  # and does not listen
        local.bind("socket")
        arguments = path.format(daemon=daemon, refused=held.getsockname()[1]).split()
        assert main(["get", *arguments]) == status
    shown = capfdbinary.readouterr().err.decode()
    assert shown.startswith(f"tcpdl: {arguments[0]}: ")
    assert complaint in shown
    assert shown.count("\n") == 1
    os.unlink("socket")
    assert files() == {"file": b""}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(daemon: Daemon) -> None:
    Path("folder").mkdir(0o500)
    assert main(["get", f"{daemon.files}/hello.txt", "-d", "folder"]) == 6


def test_broken_connection_keeps_the_part(
    server: Callable[[Script], str], capfdbinary: Capture
) -> None:
    # The bytes may be lost with the reset: what the message says is what must be there.
    address = server(reset_after(b"hel"))
    assert main(["get", f"{address}/hello.txt", "--dialect", "raw"]) == 4
    shown = capfdbinary.readouterr().err.decode()
    match = re.search(r"reset by peer after (\d) bytes; what came is kept in '(.*)'\n", shown)
    assert match
    part = b"hel"[: int(match[1])]
    assert files() == ({match[2]: part} if part else {})


def test_broken_connection_that_leaves_no_part(
    server: Callable[[Script], str], capfdbinary: Capture
) -> None:
    address = server(reset_after(b""))
    assert main(["get", f"{address}/hello.txt", "--dialect", "raw"]) == 4
    assert files() == {}
    assert b"tcpdl-part" not in capfdbinary.readouterr().err


def test_interruption_keeps_the_part(server: Callable[[Script], str]) -> None:
    ended = threading.Event()

    def stall(sock: socket.socket) -> None:
        sock.sendall(b"hel")
        ended.wait(SECONDS)

    address = server(stall)
    command = [*TCPDL, "get", f"{address}/hello.txt", "--dialect", "raw"]
    with running(*command, stderr=subprocess.PIPE) as process:
        for _ in range(round(SECONDS / 0.01)):  # until the client has written what came
            if files() == {"hello.txt.tcpdl-part": b"hel"} or ended.wait(0.01):
                break
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=SECONDS)
    ended.set()
    assert (process.returncode, shown) == (130, b"\n")
    assert files() == {"hello.txt.tcpdl-part": b"hel"}


# On a terminal


def test_get_asks(daemon: Daemon) -> None:
    host, port = daemon.files.split(":")
    status, shown = on_terminal("get", typed=f"{host}\n{port}\na/deep.txt\n")
    assert status == 0
    for question in ("server: ", "port [8080]: ", "file name: "):
        assert shown.count(question) == 1
    assert files() == {"deep.txt": b"a/deep.txt"}


def test_get_asks_for_a_name_as_it_is(daemon: Daemon) -> None:
    # It is no URL: nothing is percent-decoded.
    host, port = daemon.files.split(":")
    assert on_terminal("get", typed=f" {host} \n{port}\n100%\n")[0] == 0
    assert files() == {"100%": b"100%"}


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("\n\n", "the server is missing"),
        ("host\n0\n", "not a port number"),
        ("\x04", "nothing was entered"),
        ("127.0.0.1\n9\n\n", "names no file"),
    ],
)
def test_get_asks_and_is_answered_wrongly(typed: str, complaint: str) -> None:
    status, shown = on_terminal("get", typed=typed)
    assert status == 2
    assert complaint in shown
    assert "Traceback" not in shown


def test_echo_asks(daemon: Daemon) -> None:
    host, port = daemon.echo.split(":")
    status, shown = on_terminal("echo", typed=f"{host}\n{port}\nhello 下载\n")
    assert status == 0
    assert "port [7]: " in shown
    assert shown.replace("\r", "").split("text: ")[1].endswith("hello 下载\n")
    assert shown.count("hello 下载") == 2  # as the terminal shows what is typed, and the reply


def test_interrupted_question(monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture) -> None:
    def interrupted(_question: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    assert main(["get"]) == 130
    assert capfdbinary.readouterr() == (b"", b"\n")  # the prompt of the shell gets its own line


def test_progress_on_a_terminal(daemon: Daemon) -> None:
    status, shown = on_terminal("get", f"{daemon.files}/binary", stdout=subprocess.DEVNULL)
    assert status == 0
    assert re.fullmatch(
        r"binary: 1 MiB, checked, in \d\.\d s \([\d.e+]+ [KMG]?i?B/s, limited by [a-zCPU ]+\)\r\n",
        shown,
    )


def test_escapes_are_shown_on_a_terminal_only(daemon: Daemon) -> None:
    text = "\x1b[2J\x07a\\b\u202e下"
    status, shown = on_terminal("echo", daemon.echo, text)
    assert (status, shown) == (0, "\\x1b[2J\\x07a\\\\b\\u202e下\r\n")
    assert run("echo", daemon.echo, text).stdout == f"{text}\n".encode()


# echo


@pytest.mark.parametrize(
    ("texts", "shown"), [(["hello"], "hello"), (["a", "b  c", "下"], "a b  c 下"), ([""], "")]
)
def test_echo(texts: list[str], shown: str, daemon: Daemon) -> None:
    done = run("echo", daemon.echo, *texts)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{shown}\n".encode(), b"")


def test_echo_of_lines(daemon: Daemon) -> None:
    done = run("echo", daemon.echo, input="one\n\n two 下 \nlast".encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "one\n\n two 下 \nlast\n"


def test_echo_in_gbk(server: Callable[[Script], str]) -> None:
    seen = []

    def answer(sock: socket.socket) -> None:
        seen.append(sock.recv(1024))
        sock.sendall("哈哈".encode("gbk"))

    done = run("echo", server(answer), "你好", "--encoding", "gbk")
    assert (done.returncode, done.stdout.decode()) == (0, "哈哈\n")
    assert seen == ["你好".encode("gbk")]


def test_echo_failures(daemon: Daemon, capfdbinary: Capture) -> None:
    assert main(["echo", daemon.echo, "😀", "--encoding", "gbk"]) == 2
    assert main(["echo", daemon.echo, "a", "--encoding", "rot13"]) == 2
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        assert main(["echo", f"127.0.0.1:{held.getsockname()[1]}", "a"]) == 3
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert err.count(b"tcpdl: ") == err.count(b"\n") == 3


def test_echo_that_nobody_reads(daemon: Daemon) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"capture_output": False, "stdout": writer, "stderr": subprocess.PIPE}
    done = run("echo", daemon.echo, "hello", **streams)
    os.close(writer)
    assert (done.returncode, done.stderr) == (6, b"tcpdl: nobody reads the output any more\n")


def test_echo_of_what_is_no_text(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # as it is in most locales
    done = run("echo", daemon.echo, input=b"\xff\n")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "status"), [(1, 6), (2, 0)])
def test_closed_streams(number: int, status: int, daemon: Daemon) -> None:
    output = ["-o", "-"] if number == 1 else []
    words = shlex.join([*TCPDL, "get", f"{daemon.files}/hello.txt", *output])
    assert subprocess.run(f"{words} {number}>&-", shell=True).returncode == status


# The rest


def test_version(capfdbinary: Capture) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert not raised.value.code
    assert capfdbinary.readouterr().out.decode() == f"tcpdl {tcpdl.__version__}\n"


@pytest.mark.parametrize("command", [[], ["get"], ["echo"]])
def test_help_lists_exit_statuses(command: list[str]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    for status in ("0", "1", "2", "3", "4", "5", "6", "130"):
        assert re.search(rf"^ .*\b{status}  [a-z]", done.stdout.decode(), re.MULTILINE)


def test_help_lists_commands_apart_from_what_they_are_for() -> None:
    shown = run("--help").stdout.decode()
    for name, what in COMMANDS.items():
        assert re.search(rf"^  {name} {{2,}}{re.escape(what)}$", shown, re.MULTILINE)


# serve


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    """`tcpdl serve`, and the commands it printed."""
    command = [*TCPDL[:1], *TCPDL[3:], "serve", str(folder), "--port=0", *options]
    with running(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        (text,) = read_until(process, r"\A(Serving (?s:.*)\n\n)\Z")
        yield process, re.findall(r"^  (.*)", text, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_what_fetches(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "serv ed"
    folder.mkdir()
    name = "-a b'c %41\"$(下).txt"
    (folder / name).write_bytes(BINARY)
    with serving(folder, "--interface=127.0.0.1", "--echo-port=0") as (process, lines):
        page = lines.pop(0)
        with urlopen(page, timeout=SECONDS) as answer:
            assert answer.headers.get_content_type() == "text/html"
        assert [line.split()[0] for line in lines] == ["tcpdl", "printf", "tcpdl"]
        ours = shlex.join([sys.executable, "-m", "tcpdl"])
        for line in lines[:2]:
            if "| nc " in line and not shutil.which("nc"):
                continue
            line = line.replace("tcpdl", ours, 1)
            subprocess.run(line, shell=True, timeout=SECONDS, check=True)
            assert files() == {name: BINARY}
            Path(name).unlink()
        line = lines[2].replace("tcpdl", ours, 1)
        assert subprocess.check_output(line, shell=True, timeout=SECONDS) == b"hello\n"
        process.send_signal(number)
        process.communicate(timeout=SECONDS)
    assert process.returncode in (0, -number)


def test_serve_on_every_address(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    with serving(tmp_path) as (process, lines):
        fetching = [line for line in lines if line.startswith("tcpdl get ")]
        assert fetching
        assert "0.0.0.0" not in "".join(lines)
        assert "[::]" not in "".join(lines)
        for number, line in enumerate(fetching):
            assert main([*shlex.split(line)[1:], "-o", str(number)]) == 0
            assert Path(str(number)).read_bytes() == b"hello"
        process.terminate()
        process.communicate(timeout=SECONDS)


def test_serve_without_a_file_to_show(tmp_path: Path) -> None:
    with serving(tmp_path, "--interface=127.0.0.1", "--admin=tcp:0") as (process, lines):
        assert lines[1].endswith("/NAME")
        # Of the administrator's port it says how to ask there.
        assert main([*shlex.split(lines[-1])[1:], "--once"]) == 0
        process.terminate()
        process.communicate(timeout=SECONDS)


def test_serve_on_a_busy_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        done = run("serve", ".", "--port", str(port), "--interface", "127.0.0.1")
    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(rf"tcpdl: port {port} .*in use.*\n", done.stderr.decode())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--echo-port", "0", "--echo-reply", "", "--hidden", "."],
        ["-r", "", "--hidden"],
        ["--wrong"],
        ["--port", "x"],
        ["--port", "65536"],
        ["missing"],
        [".", "."],
        ["--root", "f"],
    ],
)
def test_wrong_serve(arguments: list[str]) -> None:
    Path("f").touch()
    done = run("serve", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert re.fullmatch(r"tcpdl: .*\n", done.stderr.decode())
