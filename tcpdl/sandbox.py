"""What the daemon gives up once it runs: all of the system that serving files does not need.

Imports `tcpdl.landlock` and the standard library. Whoever finds a way to make the daemon do
something else finds a process that reads what is below the roots and little more, writes nearly
nothing, starts no program and connects to nobody. It needs no privileges, and costs nothing while
files are served: they are found and opened as before.
"""

from __future__ import annotations

import errno
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from types import MappingProxyType
from typing import NamedTuple

from tcpdl import landlock
from tcpdl.landlock import Calls, Place, Restricted

_READ = landlock.READ_FILE | landlock.READ_DIR
_USE = landlock.READ_FILE | landlock.WRITE_FILE
_REMOVE = landlock.REMOVE_FILE
_WRITE = _READ | _USE | _REMOVE | landlock.MAKE_REG | landlock.TRUNCATE

_SYSTEM = (
    # Libraries that the C library loads when it first needs them.
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    # The names of users and hosts, and time zones.
    *("/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf"),
    *("/etc/localtime", "/usr/share/zoneinfo"),
    "/dev/urandom",
)

_DEVICES = ("/dev/null", "/dev/tty")
"""Opened by what keeps a descriptor in reserve, and by what wants to know whether there is a
terminal. Nothing may be done to these but to read and to write."""

_WHY_NOT = {
    errno.ENOSYS: "this kernel has no Landlock",
    errno.EOPNOTSUPP: "Landlock is switched off in this kernel, see lsm= on its command line",
    errno.EPERM: "a filter of system calls refuses Landlock",
    errno.E2BIG: "this process is restricted many times over already",
}

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Needs(NamedTuple):
    """What the daemon needs of the file system while it runs. What is not there is passed over."""

    roots: Sequence[int]
    """Descriptors of the folders that are served."""
    read: Iterable[str] = ()
    """Files, and folders with all below them: those of `python_places` too."""
    write: Mapping[str, str] = _NOTHING
    """Folders, below which files are made, written, renamed and removed; and the options that ask
    for them. One that is not there is made."""
    remove: Mapping[str, str] = _NOTHING
    """Folders, below which files are removed; and the options that ask for them."""


class Outcome(NamedTuple):
    """What became of it, as parts of a sentence."""

    given_up: list[str]
    kept: list[str]
    """What could not be given up, and why."""

    def __str__(self) -> str:
        parts = [("restricted", self.given_up), ("not restricted", self.kept)]
        return "; ".join(f"{what}: {', '.join(which)}" for what, which in parts if which)


def restrict(needs: Needs, kernel: Callable[[], Calls] = landlock.kernel) -> Outcome:
    """Give up what is not needed, for good. It raises nothing.

    It holds for this thread and those that it starts; so it comes before any other is started, and
    after privileges were dropped.
    """
    try:
        calls = kernel()
        calls.no_new_privileges()
    except OSError as error:
        return Outcome([], [f"anything ({_reason(error)})"])
    # A service manager may listen on an abstract socket.
    abstract_sockets = not os.environ.get("NOTIFY_SOCKET", "").startswith("@")
    try:
        with closing(_open(needs)) as places:
            done = landlock.restrict(calls, places, abstract_sockets=abstract_sockets)
    except OSError as error:
        return Outcome(["no_new_privs"], [f"files, programs, connections ({_reason(error)})"])
    outcome = _outcome(done, needs)
    for what, options in [("writing", needs.write), ("removing", needs.remove)]:
        above = {folder: None for root in needs.roots for folder in folders_above(root, options)}
        which = [f"{options[folder]} in {folder}" for folder in above]
        if which:
            outcome.kept.append(f"{what} files below the root (above it: {', '.join(which)})")
    if not abstract_sockets:
        outcome.kept.append("abstract sockets (NOTIFY_SOCKET is one)")
    return outcome


def _outcome(done: Restricted, needs: Needs) -> Outcome:
    writes = " and ".join(sorted(needs.write))
    given_up = [
        f"Landlock ABI {done.version}",
        "reads what is below the root",
        f"writes in {writes}" if writes else "writes nothing",
        "starts no program",
    ]
    kept = []
    if done.tcp:
        given_up.append("makes no TCP connections")
    else:
        kept.append("TCP connections")
    if done.signals:
        given_up.append("signals nobody")
    else:
        kept.append("signals")
    if not done.truncation:
        kept.append("cutting files short")
    if kept:
        kept[-1] += f" (Landlock ABI {done.version} cannot)"
    if not done.all_threads and _threads() > 1:
        kept.append("threads that run already")
    return Outcome([*given_up, "no_new_privs"], kept)


def _reason(error: OSError) -> str:
    return _WHY_NOT.get(error.errno or 0) or error.strerror or str(error)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _open(needs: Needs) -> Generator[Place]:
    """Each is open until the next one is asked for: there may be few descriptors."""
    for root in needs.roots:
        yield Place(root, _READ)
    for folder in needs.write:
        with suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
    for paths, rights in [
        ((*_SYSTEM, *needs.read), _READ),
        (_DEVICES, _USE),
        (needs.write, _WRITE),
        (needs.remove, _REMOVE),
    ]:
        for path in paths:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise
                continue  # what cannot be reached now could not be used later either
            try:
                yield Place(fd, rights)
            finally:
                os.close(fd)


def folders_above(fd: int, paths: Iterable[str]) -> list[str]:
    """Those of `paths` that are the folder `fd`, or one that it is below."""
    found: dict[tuple[int, int], str] = {}
    for path in paths:
        try:
            found.setdefault(_identity(os.stat(path)), path)
        except OSError:
            continue
    above = []
    before = None
    here = os.dup(fd)
    try:
        while (now := _identity(os.fstat(here))) != before:  # the root of all is above itself
            if now in found:
                above.append(found[now])
            before = now
            up = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = up
    except OSError:
        pass  # it is below what this user may not pass through
    finally:
        os.close(here)
    return above


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def python_places() -> list[str]:
    """Where modules are that are imported later, and the sources that a traceback shows.

    Of a folder that merely is on the path, such as the working directory, only what has been
    imported from there.
    """
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    packages = {*site.getsitepackages(), site.getusersitepackages()}
    libraries |= packages & {*sys.path}
    # Modules in an archive, where the archive is what is opened; and the folder of a program that
    # was made of all modules.
    libraries |= {path for path in sys.path if os.path.isfile(path)}
    libraries.add(getattr(sys, "_MEIPASS", ""))
    places = {os.path.realpath(path) for path in libraries if path}
    for name, module in list(sys.modules.items()):
        if "." in name:
            continue
        attributes = getattr(module, "__dict__", {})
        found = [*(attributes.get("__path__") or ()), attributes.get("__file__")]
        places |= {os.path.realpath(path) for path in found if isinstance(path, str)}
    return sorted(places)
