"""Landlock: system calls by which a process gives up, for good, what it could do. Linux only.

Imports the standard library only. What a ruleset handles is refused from then on, in the thread
that restricts itself and in all it starts, but for what is below a place that a rule allows it for.
A kernel knows more of it with each version of the interface (ABI); what it does not know, it is not
asked for. What is open already can be used as before.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_FILE = 1 << 5
MAKE_REG = 1 << 8
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What a rule for a place that is no folder may allow."""

_FILES = ((5, (1 << 16) - 1), (3, (1 << 15) - 1), (2, (1 << 14) - 1), (1, (1 << 13) - 1))
"""What each version of the interface knows of files: all of it is handled."""

_TCP_SINCE = 4
_TCP = 0b11  # to bind, to connect
_SCOPES_SINCE = 6
_ABSTRACT_SOCKETS = 0b01
_SIGNALS = 0b10
_ALL_THREADS_SINCE = 8
_ALL_THREADS = 1 << 3  # LANDLOCK_RESTRICT_SELF_TSYNC

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture but one
_ASK_VERSION = 1
_BELOW = 1  # LANDLOCK_RULE_PATH_BENEATH
_NO_NEW_PRIVS = 38


class Place(NamedTuple):
    """A file, or a folder with all that is or will be below it."""

    fd: int
    """A descriptor of it, `O_PATH` suffices."""
    rights: int


class Calls(Protocol):
    """The system calls. Each raises `OSError`."""

    def version(self) -> int:
        """The interface's."""

    def create(self, attributes: bytes) -> int:
        """A descriptor of a new ruleset."""

    def allow(self, ruleset: int, attributes: bytes) -> None:
        """Add a rule."""

    def restrict(self, ruleset: int, flags: int) -> None:
        """Put the ruleset into force."""

    def no_new_privileges(self) -> None:
        """Let no program that this process becomes have more rights than it has."""


class Kernel:
    """The system calls of this machine."""

    def __init__(self) -> None:
        """Raises `OSError` if this Python cannot make them."""
        try:
            import ctypes

            libc = ctypes.CDLL(None, use_errno=True)
            self._syscall = libc.syscall
            self._prctl = libc.prctl
        except (ImportError, AttributeError) as error:
            raise OSError(f"Python cannot make system calls here: {error}") from None
        self._syscall.restype = ctypes.c_long
        self._argument: Callable[[int], object] = ctypes.c_long
        self._errno = ctypes.get_errno
        self._offset = 110 if os.uname().machine == "alpha" else 0

    def version(self) -> int:
        return self._call(_CREATE, None, 0, _ASK_VERSION)

    def create(self, attributes: bytes) -> int:
        return self._call(_CREATE, attributes, len(attributes), 0)

    def allow(self, ruleset: int, attributes: bytes) -> None:
        self._call(_ADD, ruleset, _BELOW, attributes, 0)

    def restrict(self, ruleset: int, flags: int) -> None:
        self._call(_RESTRICT, ruleset, flags)

    def no_new_privileges(self) -> None:
        self._result(self._prctl(_NO_NEW_PRIVS, *map(self._argument, (1, 0, 0, 0))))

    def _call(self, number: int, *arguments: int | bytes | None) -> int:
        given = [self._argument(one) if isinstance(one, int) else one for one in arguments]
        return self._result(self._syscall(self._argument(number + self._offset), *given))

    def _result(self, result: int) -> int:
        if result < 0:
            number = self._errno()
            raise OSError(number, os.strerror(number))
        return result


class Restricted(NamedTuple):
    """What Landlock restricts from now on, besides files and programs."""

    version: int
    """Of the interface."""
    truncation: bool
    """Files that may not be written cannot be made shorter either."""
    tcp: bool
    """No TCP connections are made, and no ports opened."""
    signals: bool
    """None are sent to processes that are not restricted in the same way."""
    abstract_sockets: bool
    """None are connected to that such processes have made."""
    all_threads: bool
    """Those that were there already, too."""


def restrict(calls: Calls, places: Iterable[Place], *, abstract_sockets: bool = True) -> Restricted:
    """Give up all that Landlock knows of, but for the `rights` at `places`.

    `abstract_sockets` may be left out, for whoever is spoken to by one. Raises `OSError` if nothing
    was given up.
    """
    version = calls.version()
    files = next(known for since, known in _FILES if version >= since)
    tcp = _TCP if version >= _TCP_SINCE else 0
    scopes = (_SIGNALS | abstract_sockets) if version >= _SCOPES_SINCE else 0
    # A kernel refuses more than it knows.
    fields = [files] + [tcp] * (version >= _TCP_SINCE) + [scopes] * (version >= _SCOPES_SINCE)
    ruleset = calls.create(struct.pack(f"={len(fields)}Q", *fields))
    try:
        for place in places:
            rights = place.rights & files
            if not _is_folder(place.fd):
                rights &= _OF_FILES
            if rights:
                calls.allow(ruleset, struct.pack("=Qi", rights, place.fd))
        all_threads = _enforce(calls, ruleset, version)
    finally:
        with suppress(OSError):
            os.close(ruleset)
    return Restricted(
        version,
        truncation=bool(files & TRUNCATE),
        tcp=bool(tcp),
        signals=bool(scopes & _SIGNALS),
        abstract_sockets=bool(scopes & _ABSTRACT_SOCKETS),
        all_threads=all_threads,
    )


def _enforce(calls: Calls, ruleset: int, version: int) -> bool:
    if version >= _ALL_THREADS_SINCE:
        with suppress(OSError):
            calls.restrict(ruleset, _ALL_THREADS)
            return True
    calls.restrict(ruleset, 0)
    return False


def _is_folder(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def kernel() -> Calls:
    """This machine's. Raises `OSError` if it has no such calls."""
    if sys.platform != "linux":
        raise OSError("only Linux has it")
    return Kernel()
