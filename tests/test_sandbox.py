"""Tests what the daemon gives up: in a process of its own, since it is for good."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcpdl import landlock
from tcpdl.sandbox import Needs, folders_above, python_places, restrict
from tests.descriptors import open_descriptors
from tests.landlocked import VERSION, FakeCalls, needs_landlock

PROJECT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has Landlock")


# Whatever the kernel knows.


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how many threads there are. The tests of others may have left some in this process."""

    def there_are(number: int) -> None:
        monkeypatch.setattr("tcpdl.sandbox._threads", lambda: number)

    there_are(1)
    return there_are


def restricted_by(calls: FakeCalls, root: Path, **needs: Any) -> str:
    fd = os.open(root, os.O_RDONLY)
    try:
        return str(restrict(Needs([fd], **needs), lambda: calls))
    finally:
        os.close(fd)


def test_all_that_a_new_kernel_knows_is_given_up(tmp_path: Path) -> None:
    calls = FakeCalls(7)
    said = restricted_by(calls, tmp_path)
    assert said == (
        "restricted: Landlock ABI 7, reads what is below the root, writes nothing, starts no "
        "program, makes no TCP connections, signals nobody, no_new_privs"
    )
    assert calls.handled == ((1 << 16) - 1, 0b11, 0b11)
    assert calls.restricted == 0


def test_it_takes_few_descriptors(tmp_path: Path) -> None:
    """There may be few (`ulimit -n`), and none to spare for every place at once."""
    places = [tmp_path / str(number) for number in range(50)]
    for place in places:
        place.mkdir()
    opened = []

    class Counting(FakeCalls):
        def allow(self, ruleset: int, attributes: bytes) -> None:
            super().allow(ruleset, attributes)
            opened.append(len(os.listdir("/dev/fd")))

    calls = Counting(7)
    before = len(open_descriptors())
    restricted_by(calls, tmp_path, read=[str(place) for place in places])
    assert {str(place) for place in places} <= calls.rules.keys()
    assert max(opened) - before == 3  # the root, the rules, and one place


@pytest.mark.parametrize(
    ("version", "handled", "kept"),
    [
        (1, ((1 << 13) - 1,), "TCP connections, signals, cutting files short"),
        (2, ((1 << 14) - 1,), "TCP connections, signals, cutting files short"),
        (3, ((1 << 15) - 1,), "TCP connections, signals"),
        (4, ((1 << 15) - 1, 0b11), "signals"),
        (5, ((1 << 16) - 1, 0b11), "signals"),
        (6, ((1 << 16) - 1, 0b11, 0b11), None),
        (8, ((1 << 16) - 1, 0b11, 0b11), None),
        (99, ((1 << 16) - 1, 0b11, 0b11), None),
    ],
)
def test_a_kernel_is_asked_for_what_it_knows(
    version: int, handled: tuple[int, ...], kept: str | None, tmp_path: Path
) -> None:
    calls = FakeCalls(version)
    said = restricted_by(calls, tmp_path, write={str(tmp_path / "state"): "--state-dir"})
    assert f"Landlock ABI {version}," in said
    assert calls.handled == handled
    tail = said.partition("; ")[2]
    assert tail == (f"not restricted: {kept} (Landlock ABI {version} cannot)" if kept else "")
    # From that version on, threads that run already are restricted as well.
    assert calls.restricted == (8 if version >= 8 else 0)


@pytest.mark.parametrize("version", [7, 8])
def test_threads_that_run_already(
    version: int, threads: Callable[[int], None], tmp_path: Path
) -> None:
    threads(2)
    said = restricted_by(FakeCalls(version), tmp_path)
    assert said.endswith("; not restricted: threads that run already") is (version < 8)


@pytest.mark.parametrize(
    ("failing", "error", "said"),
    [
        (
            "no_new_privileges",
            errno.EINVAL,
            "not restricted: anything (Invalid argument)",
        ),
        (
            "version",
            errno.ENOSYS,
            "restricted: no_new_privs; not restricted: files, programs, connections "
            "(this kernel has no Landlock)",
        ),
        (
            "version",
            errno.EOPNOTSUPP,
            "restricted: no_new_privs; not restricted: files, programs, connections "
            "(Landlock is switched off in this kernel, see lsm= on its command line)",
        ),
        (
            "create",
            errno.EPERM,
            "restricted: no_new_privs; not restricted: files, programs, connections "
            "(a filter of system calls refuses Landlock)",
        ),
        (
            "allow",
            errno.ENOMEM,
            "restricted: no_new_privs; not restricted: files, programs, connections "
            "(Cannot allocate memory)",
        ),
        (
            "restrict",
            errno.E2BIG,
            "restricted: no_new_privs; not restricted: files, programs, connections "
            "(this process is restricted many times over already)",
        ),
    ],
)
def test_what_cannot_be_given_up_is_said(
    failing: str, error: int, said: str, tmp_path: Path
) -> None:
    before = open_descriptors()
    calls = FakeCalls(7, failing, error)
    assert restricted_by(calls, tmp_path) == said
    assert calls.restricted is None
    assert os.listdir("/proc/self/fd") == before


def test_a_python_that_makes_no_system_calls(tmp_path: Path) -> None:
    def kernel() -> Any:
        raise OSError("Python cannot make system calls here: no _ctypes")

    fd = os.open(tmp_path, os.O_RDONLY)
    said = str(restrict(Needs([fd]), kernel))
    os.close(fd)
    assert said == ("not restricted: anything (Python cannot make system calls here: no _ctypes)")


def test_rules(tmp_path: Path) -> None:
    root, state, run, users = (tmp_path / name for name in ("root", "state", "run", "users"))
    for folder in (root, run):
        folder.mkdir()
    users.write_text("")
    calls = FakeCalls(7)
    restricted_by(
        calls,
        root,
        read=[str(users), str(tmp_path / "absent")],
        write={str(state): "--state-dir"},
        remove={str(run): "--listen"},
    )
    assert state.is_dir(), "what is not there is made, or nothing could be written"
    assert calls.rules[str(root)] == landlock.READ_FILE | landlock.READ_DIR
    assert calls.rules[str(users)] == landlock.READ_FILE
    assert calls.rules[str(run)] == landlock.REMOVE_FILE
    writing = landlock.WRITE_FILE | landlock.MAKE_REG | landlock.REMOVE_FILE | landlock.TRUNCATE
    assert calls.rules[str(state)] == writing | landlock.READ_FILE | landlock.READ_DIR
    assert calls.rules[os.devnull] == landlock.READ_FILE | landlock.WRITE_FILE
    assert str(tmp_path) not in calls.rules
    assert all(not rights & landlock.EXECUTE for rights in calls.rules.values())


def test_the_root_below_what_is_written_to_is_said(tmp_path: Path) -> None:
    root = tmp_path / "a" / "root"
    root.mkdir(parents=True)
    said = restricted_by(
        FakeCalls(7),
        root,
        write={str(tmp_path): "--logfile", str(root / "state"): "--state-dir"},
        remove={str(tmp_path / "a"): "--pidfile", "/": "--listen"},
    )
    assert said.endswith(
        f"; not restricted: writing files below the root (above it: --logfile in {tmp_path}), "
        f"removing files below the root (above it: --pidfile in {tmp_path / 'a'}, --listen in /)"
    )


def test_several_roots(tmp_path: Path) -> None:
    """Each may be read, and what is above any of them is said, once."""
    roots = [tmp_path / "a" / "one", tmp_path / "a" / "two", tmp_path / "b"]
    for root in roots:
        root.mkdir(parents=True)
    calls = FakeCalls(7)
    opened = [os.open(root, os.O_RDONLY) for root in roots]
    try:
        above, below = str(tmp_path / "a"), str(tmp_path / "b" / "state")
        needs = Needs(opened, write={above: "--logfile", below: "--state-dir"})
        said = str(restrict(needs, lambda: calls))
    finally:
        for fd in opened:
            os.close(fd)
    for root in roots:
        assert calls.rules[str(root)] == landlock.READ_FILE | landlock.READ_DIR
    assert str(tmp_path) not in calls.rules
    assert said.endswith(
        f"; not restricted: writing files below the root (above it: --logfile in {above})"
    )


def test_folders_above(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "other").mkdir()
    fd = os.open(root, os.O_RDONLY)
    paths = [str(tmp_path / name) for name in ("other", "link", "absent", "a/b")]
    assert folders_above(fd, paths) == [str(root), str(tmp_path / "link")]
    assert folders_above(fd, ["/"]) == ["/"]
    os.close(fd)


def test_an_abstract_socket_of_a_service_manager_can_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "@/org/notify")
    calls = FakeCalls(7)
    said = restricted_by(calls, tmp_path)
    assert calls.handled[2] == 0b10
    assert said.endswith("; not restricted: abstract sockets (NOTIFY_SOCKET is one)")


def test_python_places() -> None:
    places = python_places()
    assert str(PROJECT / "tcpdl") in places
    assert str(PROJECT) not in places
    assert any(os.path.isfile(os.path.join(place, "os.py")) for place in places)
    assert any(os.path.isdir(os.path.join(place, "twisted")) for place in places)
    assert "/" not in places
    assert os.path.expanduser("~") not in places


# This kernel.

PROBE = """
import ctypes, errno, json, os, signal, socket, sqlite3, subprocess, sys, threading
from tcpdl.sandbox import Needs, python_places, restrict

given = json.loads(sys.argv[1])
base = given["base"]
at = lambda name: os.path.join(base, name)
root = os.open(at("root"), os.O_RDONLY)
held = os.open(at("root/file"), os.O_RDWR)
if given["restrict"]:
    needs = Needs([root], python_places(), {at("state"): "--state-dir"}, {at("run"): "--listen"})
    print(str(restrict(needs)), file=sys.stderr)

def attempt(act):
    try:
        result = act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return result if isinstance(result, (int, str)) else "done"

def read(path, **options):
    fd = os.open(path, os.O_RDONLY, **options)
    try:
        return os.read(fd, 100).decode("latin-1")
    finally:
        os.close(fd)

def write(path, flags=os.O_CREAT):
    fd = os.open(path, os.O_WRONLY | flags)
    os.write(fd, b"w")
    os.close(fd)

def dial(family, kind, address):
    with socket.socket(family, kind) as sock:
        sock.connect(address)

def listen():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))

def database():
    with sqlite3.connect(at("state/db")) as db:
        db.execute("CREATE TABLE t (x)")
        db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(1000)])

def in_a_thread(act):
    found = []
    thread = threading.Thread(target=lambda: found.append(attempt(act)))
    thread.start()
    thread.join()
    return found[0]

def step():
    folder = os.open("folder", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
    return read("file", dir_fd=folder)

def rename():
    os.rename(at("state/db"), at("state/db2"))

unix = (socket.AF_UNIX, socket.SOCK_DGRAM)
print(json.dumps({
    "read": attempt(lambda: read("file", dir_fd=root)),
    "read by steps": attempt(step),
    "read by a link": attempt(lambda: read("link", dir_fd=root)),
    "list": attempt(lambda: len(os.listdir(root))),
    "send": attempt(lambda: os.sendfile(given["sink"], held, 0, 4)),
    "keep a database": attempt(database),
    "rename in a writable folder": attempt(rename),
    "remove a socket": attempt(lambda: os.unlink(at("run/socket"))),
    "null": attempt(lambda: write("/dev/null", 0)),
    "random": attempt(lambda: len(read("/dev/urandom"))),
    "import": attempt(lambda: __import__("mailbox").__name__),
    "notify": attempt(lambda: dial(*unix, at("notify"))),
    "signal itself": attempt(lambda: os.kill(os.getpid(), 0)),
    "time zone": attempt(lambda: read("/etc/localtime")[:4]),

    "write below the root": attempt(lambda: write(at("root/new"))),
    "overwrite": attempt(lambda: write(at("root/file"), 0)),
    "truncate": attempt(lambda: os.truncate(at("root/other"), 1)),
    "remove": attempt(lambda: os.unlink(at("root/gone"))),
    "make a folder": attempt(lambda: os.mkdir(at("root/made"))),
    "link": attempt(lambda: os.symlink("x", at("root/symbolic"))),
    "rename": attempt(lambda: os.rename(at("root/here"), at("root/there"))),
    "move into": attempt(lambda: os.rename(at("run/moved"), at("root/moved"))),
    "read outside": attempt(lambda: read(at("secret"))),
    "read by a link outside": attempt(lambda: read("out", dir_fd=root)),
    "list outside": attempt(lambda: len(os.listdir(base))),
    "read a socket's folder": attempt(lambda: read(at("run/file"))),
    "write a socket's folder": attempt(lambda: write(at("run/new"))),
    "environment": attempt(lambda: len(read("/proc/self/environ")) > 0),
    "start a program": attempt(lambda: subprocess.run(["/bin/true"])),
    "start a program in a thread": in_a_thread(lambda: subprocess.run(["/bin/true"])),
    "connect": attempt(lambda: dial(socket.AF_INET, socket.SOCK_STREAM, tuple(given["tcp"]))),
    "bind": attempt(listen),
    "signal": attempt(lambda: os.kill(os.getppid(), 0)),
    "abstract": attempt(lambda: dial(*unix, given["abstract"])),
    "read in a thread": in_a_thread(lambda: read(at("secret"))),
}))
"""

NEEDED = (
    *("read", "read by steps", "read by a link", "list", "send", "keep a database"),
    *("rename in a writable folder", "remove a socket", "null", "random", "import", "notify"),
    *("signal itself", "time zone"),
)
"""What a daemon has to do, and what it never does comes after them."""

SINCE = {"truncate": 3, "connect": 4, "bind": 4, "signal": 6, "abstract": 6}
"""The version of Landlock from which on these are refused; 1 for all else."""


def probe(folder: Path, *, restricted: bool) -> tuple[dict[str, Any], str]:
    """What a process can do, by name; and what it said that it has given up."""
    folder.mkdir()
    root, state, run = folder / "root", folder / "state", folder / "run"
    for made in (root, root / "folder", state, run):
        made.mkdir()
    for name in ("root/file", "root/folder/file", "root/other", "root/gone", "root/here"):
        (folder / name).write_text(name)
    for name in ("secret", "run/file", "run/moved", "run/socket"):
        (folder / name).write_text(name)
    (root / "link").symlink_to("folder/file")
    (root / "out").symlink_to("../secret")
    abstract = f"\0tcpdl-test-{folder}"
    unix = (socket.AF_UNIX, socket.SOCK_DGRAM)
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(*unix) as notify,
        socket.socket(*unix) as hidden,
        open(folder / "sink", "wb") as sink,
    ):
        notify.bind(str(folder / "notify"))
        hidden.bind(abstract)
        given = {
            "base": str(folder),
            "restrict": restricted,
            "tcp": tcp.getsockname(),
            "abstract": abstract,
            "sink": sink.fileno(),
        }
        ran = subprocess.run(
            [sys.executable, "-c", PROBE, json.dumps(given)],
            cwd=PROJECT,
            pass_fds=[sink.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found, ran.stderr


@needs_landlock
def test_what_is_not_needed_is_refused(tmp_path: Path) -> None:
    free, said = probe(tmp_path / "free", restricted=False)
    assert said == ""
    assert not {what: how for what, how in free.items() if how in ("EACCES", "EPERM")}
    confined, said = probe(tmp_path / "confined", restricted=True)
    assert said.startswith(f"restricted: Landlock ABI {VERSION}, reads what is below the root, ")
    assert {what: confined[what] for what in NEEDED} == {what: free[what] for what in NEEDED}
    for what, how in confined.items():
        if what not in NEEDED and SINCE.get(what, 1) <= VERSION:
            assert how in ("EACCES", "EPERM", "EXDEV"), what


FILTERED = """
import ctypes, os, struct
from tcpdl.sandbox import Needs, restrict

# ld nr; jump over the next if it is not landlock_create_ruleset; fail; allow.
program = b"".join(
    struct.pack("HBBI", *step)
    for step in [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, 444),
        (0x06, 0, 0, 0x00050000 | {error}),
        (0x06, 0, 0, 0x7FFF0000),
    ]
)
libc = ctypes.CDLL(None, use_errno=True)
held = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(held)))
long = ctypes.c_long
assert libc.prctl(38, long(1), long(0), long(0), long(0)) == 0
assert libc.prctl(22, long(2), filter, long(0), long(0)) == 0, os.strerror(ctypes.get_errno())
print(restrict(Needs([os.open(".", os.O_RDONLY)])))
"""


@pytest.mark.skipif(sys.maxsize < 2**32, reason="the filter is written for 64 bits")
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (errno.EPERM, "a filter of system calls refuses Landlock"),
        (errno.ENOSYS, "this kernel has no Landlock"),
    ],
)
def test_system_calls_are_filtered(error: int, why: str) -> None:
    """As service managers and containers do it."""
    ran = subprocess.run(
        [sys.executable, "-c", FILTERED.replace("{error}", str(error))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "AssertionError" in ran.stderr:
        pytest.skip(f"this kernel filters no system calls: {ran.stderr}")
    assert ran.stdout.strip() == (
        f"restricted: no_new_privs; not restricted: files, programs, connections ({why})"
    )


MOUNTED_LATER = """
import ctypes, os, sys
from tcpdl.sandbox import Needs, python_places, restrict

libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x00020000):
    sys.exit("cannot unshare: " + os.strerror(ctypes.get_errno()))
libc.mount(None, b"/", None, ctypes.c_ulong(0x44000), None)  # private, all of it
root, source = sys.argv[1:]
begin, done = os.pipe(), os.pipe()
if os.fork() == 0:
    os.read(begin[0], 1)
    failed = libc.mount(source.encode(), os.path.join(root, "point").encode(), None, 4096, None)
    os.write(done[1], b"n" if failed else b"y")
    os._exit(0)
fd = os.open(root, os.O_RDONLY)
print(restrict(Needs([fd], python_places())), file=sys.stderr)
os.write(begin[1], b"b")
if os.read(done[0], 1) != b"y":
    sys.exit("cannot mount")
print(os.read(os.open("point/file", os.O_RDONLY, dir_fd=fd), 100).decode())
try:
    os.open(os.path.join(source, "file"), os.O_RDONLY)
except PermissionError:
    print("refused")
"""


@needs_landlock
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_what_is_mounted_below_the_root_later_is_served(tmp_path: Path) -> None:
    root, source = tmp_path / "root", tmp_path / "source"
    (root / "point").mkdir(parents=True)
    source.mkdir()
    (source / "file").write_text("mounted")
    ran = subprocess.run(
        [sys.executable, "-c", MOUNTED_LATER, str(root), str(source)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "cannot" in ran.stderr:
        pytest.skip(ran.stderr)
    assert ran.stdout.split() == ["mounted", "refused"], ran.stderr
