"""What tests of the sandbox share: whether there is one, and system calls that are made up."""

from __future__ import annotations

import os
import struct

import pytest

from tcpdl import landlock


def _version() -> int:
    try:
        return landlock.kernel().version()
    except OSError:
        return 0


VERSION = _version()
"""Of this kernel's Landlock; 0 if there is none."""

needs_landlock = pytest.mark.skipif(not VERSION, reason="this kernel has no Landlock")


class FakeCalls:
    """A kernel that knows one version of Landlock, and remembers what it is asked."""

    def __init__(self, version: int, failing: str | None = None, error: int = 0) -> None:
        """Calls named `failing` fail with `error`."""
        self._version = version
        self._failing = failing
        self._error = error
        self.handled: tuple[int, ...] = ()
        self.rules: dict[str, int] = {}
        self.restricted: int | None = None
        self.no_new_privs = False

    def _called(self, name: str) -> None:
        if name == self._failing:
            raise OSError(self._error, os.strerror(self._error))

    def version(self) -> int:
        self._called("version")
        return self._version

    def create(self, attributes: bytes) -> int:
        self._called("create")
        self.handled = struct.unpack(f"={len(attributes) // 8}Q", attributes)
        return os.open(os.devnull, os.O_RDONLY)

    def allow(self, ruleset: int, attributes: bytes) -> None:
        self._called("allow")
        rights, fd = struct.unpack("=Qi", attributes)
        assert rights
        assert not rights & ~self.handled[0]
        path = os.readlink(f"/proc/self/fd/{fd}")
        self.rules[path] = self.rules.get(path, 0) | rights

    def restrict(self, ruleset: int, flags: int) -> None:
        self._called("restrict")
        assert self.no_new_privs
        self.restricted = flags

    def no_new_privileges(self) -> None:
        self._called("no_new_privileges")
        self.no_new_privs = True
