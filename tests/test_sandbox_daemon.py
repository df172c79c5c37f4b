"""Tests daemons that have given up what they do not need: what works, and what is said."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.python import usage

import twisted.plugins
from tcpdl.options.daemon import Options
from tcpdl.sandbox import python_places
from tests.daemons import SECONDS, assert_sound, daemon_of, until
from tests.landlocked import VERSION, needs_landlock

PROJECT = Path(__file__).resolve().parent.parent

pytestmark = needs_landlock

OTHER = 65534
"""A user, and a group, that most machines have and nobody is."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "served" / "root"
    root.mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    return root


# What is needed.


def parsed(program: dict[str, Any], *arguments: str) -> Options:
    """The options of the daemon, below those of the `program` that runs it."""
    options = Options()
    parent: Any = usage.Options()
    parent.update(program)
    options.parent = parent
    options.parseOptions(list(arguments))
    return options


def needs(root: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, **twistd: Any) -> Options:
    """As `parsed`, below twistd, which runs beside `root`."""
    monkeypatch.chdir(root.parent)
    given = {"nodaemon": 0, "pidfile": "", "profile": None, "logfile": None, "logger": None}
    return parsed({**given, **twistd}, *arguments)


@pytest.mark.parametrize(
    ("twistd", "write", "remove"),
    [
        ({}, {".": "--logfile"}, {}),
        ({"pidfile": "/run/x/pid"}, {".": "--logfile"}, {"/run/x": "--pidfile"}),
        ({"logfile": "/var/log/x/log"}, {"/var/log/x": "--logfile"}, {}),
        ({"nodaemon": 1}, {}, {}),
        ({"nodaemon": 1, "logfile": "-"}, {}, {}),
        ({"nodaemon": 1, "logfile": "sub/log"}, {"sub": "--logfile"}, {}),
        ({"nodaemon": 1, "profile": "stats"}, {".": "--profile"}, {}),
        ({"profile": "stats"}, {".": "--profile, --logfile"}, {}),
        ({"syslog": 1}, {}, {}),
        ({"logger": "some.module"}, {}, {}),
    ],
)
def test_what_twistd_needs(
    twistd: dict[str, object],
    write: dict[str, str],
    remove: dict[str, str],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = needs(root, monkeypatch, **twistd).needs([5], [], [])
    assert needed.roots == [5]
    assert needed.write == {os.path.abspath(folder): write[folder] for folder in write}
    assert needed.remove == remove


@pytest.mark.parametrize(
    ("more", "remove"),
    [([], {"/run/x": "--admin"}), (["--workers=2"], {}), (["--admin=tcp:1"], {})],
)
def test_socket_of_the_administrator_is_removed_by_whoever_has_made_it(
    more: list[str], remove: dict[str, str], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = needs(root, monkeypatch, "--admin=unix:/run/x/admin.sock", *more, nodaemon=1)
    assert options.needs([5], [], []).remove == remove


def test_what_it_reads_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders, since files are replaced as a whole; also of what is but a link to a file."""
    for name in ("archive", "live", "access"):
        (tmp_path / name).mkdir()
    for name in ("archive/chain1", "archive/key1", "access/users", "access/rules"):
        (tmp_path / name).touch()
    (tmp_path / "live" / "fullchain.pem").symlink_to("../archive/chain1")
    (tmp_path / "live" / "privkey.pem").symlink_to("../archive/key1")
    options = needs(
        root,
        monkeypatch,
        f"--tls-cert={tmp_path / 'live'}",
        f"--rules={tmp_path / 'access' / 'rules'}",
        f"--auth=users:{tmp_path / 'access' / 'users'}",
        "--auth=memory:a:b",
        nodaemon=1,
    )
    files = [*options.tls_files(), *options.access_files()]
    needed = {*options.needs([5], files, []).read} - {*python_places()}
    needed -= {*twisted.plugins.__path__}
    assert needed == {str(tmp_path / name) for name in ("archive", "live", "access")}


def test_what_a_daemon_reads_again_whose_certificate_is_its_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/some/state")
    assert needs(root, monkeypatch, "--tls=self-signed").tls_files()[0] == (
        "/some/state/tcpdl/self-signed.pem"
    )
    kept = needs(root, monkeypatch, "--tls=self-signed", "--state-dir=kept").tls_files()
    assert kept[0] == "kept/self-signed.pem"


def test_what_the_daemon_needs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = needs(root, monkeypatch, "--state-dir=state", nodaemon=1)
    needed = options.needs([5], [], ["/run/a/socket", "/run/a/other", "b/socket"])
    assert needed.write == {str(root.parent / "state"): "--state-dir"}
    assert needed.remove == {
        "/run/a": "--listen, --listen",
        str(root.parent / "b"): "--listen",
    }


def test_twist_keeps_its_log_open(root: Path) -> None:
    needed = parsed({"logFile": sys.stdout, "reactor": "epoll"}, f"--root={root}").needs(
        [5], [], []
    )
    assert (needed.write, needed.remove) == ({}, {})


# Daemons.


def test_everything_is_served(root: Path, tmp_path: Path) -> None:
    (root / "folder").mkdir()
    (root / "folder" / "README.md").write_text("# Read me")
    (root / "link").symlink_to("folder/README.md")
    state = tmp_path / "state"
    tcpdl = [sys.executable, "-m", "tcpdl"]
    with daemon_of(root, f"--state-dir={state}", "--echo-port=0") as daemon:

        def get(target: str) -> bytes:
            with urllib.request.urlopen(f"{daemon.url}{target}", timeout=SECONDS) as answer:
                return bytes(answer.read())

        daemon.wait_until_settled("file")  # or its digests would not be kept
        assert get("/file") == b"content"
        assert get("/link") == b"# Read me"
        assert b"Read me" in get("/folder/")
        assert b"file" in get("/?archive=zip")
        assert b"file" in get("/?archive=tar")
        assert b"file" in get("/?sums=sha256")
        assert b"__main__.py" in get("/.well-known/tcpdl/tcpdl.pyz")
        with daemon.connect() as sock:
            sock.sendall(b"file\n")
            assert sock.recv(100) == b"content"
        for arguments in (
            ["get", f"{daemon.where}/file", "-d", str(tmp_path)],
            ["mirror", f"{daemon.where}/folder", str(tmp_path / "mirrored")],
            ["verify", f"{daemon.where}/folder", str(tmp_path / "mirrored")],
            ["ls", "-R", daemon.where],
        ):
            subprocess.run([*tcpdl, *arguments], cwd=PROJECT, check=True, timeout=SECONDS)
    log = daemon.log.text
    assert f"restricted: Landlock ABI {VERSION}, reads what is below the root, " in log
    assert f"writes in {state}, " in log
    assert (state / "digests.sqlite").stat().st_size > 0
    assert "digests are not kept" not in log


def test_several_folders(tmp_path: Path) -> None:
    """Each can be read, and the rules of one again when they change; what is beside them cannot."""
    for name in ("one", "two", "conf"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(f"this is {name}")
    rules = tmp_path / "conf" / "rules"
    rules.write_text("/** anyone nothing\n")
    mounts = [f"--mount={name}={tmp_path / name}" for name in ("one", "two")]
    command = [
        sys.executable,
        "-m",
        "tcpdl",
        "serve",
        *mounts,
        f"--mount-rules=two={rules}",
        "--port=0",
    ]
    with subprocess.Popen(
        [*command, "--interface=127.0.0.1"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if "restricted: " in line:
                    break
            url = next(line.strip() for line in said if "http://" in line)

            def status(target: str) -> int:
                try:
                    with urllib.request.urlopen(f"{url}{target}", timeout=SECONDS) as answer:
                        return int(answer.status)
                except urllib.error.HTTPError as error:
                    with error:
                        return error.code

            assert status("one/file") == 200
            assert status("two/file") == 403
            rules.write_text("/** anyone read\n")
            process.send_signal(signal.SIGHUP)
            until(lambda: status("two/file") == 200)
            assert status("?archive=tar") == 200
            assert status("?sums=sha256") == 200
        finally:
            process.terminate()
    assert f"  one/ is {tmp_path / 'one'}\n" in said
    assert "not restricted" not in said[-1]
    assert next(line for line in said if "| nc " in line).endswith(" > file\n")


def test_a_daemon_without_a_sandbox(root: Path) -> None:
    with daemon_of(root, "--no-sandbox") as daemon:
        assert "NoNewPrivs:\t0" in Path(f"/proc/{daemon.process.pid}/status").read_text()
    assert "restricted" not in daemon.log.text


def test_the_command_that_serves_says_what_it_gave_up(root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tcpdl", "serve", str(root), "--port=0", "--interface=127.0.0.1"],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "restricted: " in line)
        process.terminate()
    assert "reads what is below the root, writes nothing, starts no program" in said
    assert "not restricted" not in said


WITHIN = """
import os, socket, subprocess, sys
from twisted.internet import reactor
from tcpdl.service import Options, makeService

options = Options()
options.parseOptions(["--interface=127.0.0.1", "--port=0", *sys.argv[2:]])
daemon = makeService(options)

def attempts():
    for act in (
        lambda: open(os.path.join(options["root"], "new"), "w"),
        lambda: open(sys.argv[1]),
        lambda: subprocess.run(["/bin/true"]),
        lambda: socket.create_connection(("127.0.0.1", 1)),
    ):
        try:
            act()
            yield "done"
        except (PermissionError, ConnectionRefusedError) as error:
            yield type(error).__name__

def told(found):
    print(*attempts())
    print(*found)
    reactor.stop()

reactor.callWhenRunning(daemon.startService)
reactor.callWhenRunning(lambda: daemon.workers.run(lambda: [*attempts()]).addCallback(told))
reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
reactor.run()
"""


@pytest.mark.parametrize("sandbox", [True, False])
def test_the_daemon_and_its_threads(sandbox: bool, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    ran = subprocess.run(
        [
            *(sys.executable, "-c", WITHIN, str(outside), "--root", str(root)),
            *([] if sandbox else ["--no-sandbox"]),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    connected = "PermissionError" if sandbox and VERSION >= 4 else "ConnectionRefusedError"
    other = "PermissionError" if sandbox else "done"
    assert ran.stdout.splitlines() == [f"{other} {other} {other} {connected}"] * 2


# In the background.


@contextmanager
def in_the_background(folder: Path, *options: str) -> Iterator[int]:
    """The process of a daemon that runs in `folder`, where it logs."""
    program = str(Path(sys.executable).with_name("twistd"))
    command = [program, "--pidfile=pid", "--logfile=log", "tcpdl", *options]
    subprocess.run(command, cwd=folder, check=True, timeout=SECONDS)
    ended = os.pidfd_open(pid := int((folder / "pid").read_text()))
    try:
        yield pid
        signal.pidfd_send_signal(ended, signal.SIGTERM)
        assert select.select([ended], [], [], SECONDS)[0], "it did not stop"
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(ended, signal.SIGKILL)
        os.close(ended)
    for log in folder.glob("log*"):
        assert_sound(log.read_text())


def ask(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(str(path))
        sock.sendall(b"file\n")
        answer = sock.recv(100)
        while sock.recv(100):
            pass
        return answer


def rotate(pid: int, log: Path, number: int, socket: Path) -> None:
    """Have the daemon rotate its log, for the time `number`."""
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + SECONDS
    while not log.with_name(f"log.{number}").exists() or not log.exists():
        assert ask(socket) == b"content"
        assert time.monotonic() < deadline


def test_the_log_is_rotated_and_what_was_made_is_removed(root: Path, tmp_path: Path) -> None:
    folder, sockets = tmp_path / "run", tmp_path / "sockets"
    folder.mkdir()
    sockets.mkdir()
    log, path = folder / "log", sockets / "socket"
    with in_the_background(folder, f"--root={root}", f"--listen=unix:{path}") as pid:
        assert ask(path) == b"content"
        rotate(pid, log, 1, path)
        rotate(pid, log, 2, path)
        assert ask(path) == b"content"
    assert 'name="file"' in log.read_text()
    said = (folder / "log.2").read_text()
    assert f"writes in {folder}, " in said
    assert "not restricted" not in said
    assert sorted(os.listdir(folder)) == ["log", "log.1", "log.2"]
    assert not path.exists()


def test_a_log_above_the_root_is_rotated_too_and_that_is_said(root: Path) -> None:
    folder = root.parent
    log, path = folder / "log", folder / "socket"
    with in_the_background(folder, f"--root={root}", f"--listen=unix:{path}") as pid:
        assert ask(path) == b"content"
        rotate(pid, log, 1, path)
    assert (
        f"not restricted: writing files below the root (above it: --logfile in {folder}), removing "
        f"files below the root (above it: --listen, --pidfile in {folder})"
    ) in (folder / "log.1").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the root, and become another")
def test_a_daemon_that_changes_root_and_user(root: Path, tmp_path: Path) -> None:
    jail = tmp_path / "jail"
    (jail / "etc").mkdir(parents=True)
    (jail / "state").mkdir()
    os.chown(jail / "state", OTHER, OTHER)
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", jail / "etc")
    changing = (f"--chroot={jail}", f"--uid={OTHER}", f"--gid={OTHER}")
    with daemon_of(root, "--state-dir=/state", twistd=changing) as daemon:
        daemon.wait_until_settled("file")
        for target in ("/file", "/", "/?sums=sha256", "/?archive=zip"):
            with urllib.request.urlopen(daemon.url + target, timeout=SECONDS) as answer:
                assert (b"content" if target == "/file" else b"file") in answer.read()
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        assert f"Uid:\t{OTHER}\t{OTHER}\t{OTHER}\t{OTHER}" in status
        assert "NoNewPrivs:\t1" in status
    assert "writes in /state, " in daemon.log.text
    assert (jail / "state" / "digests.sqlite").exists()
