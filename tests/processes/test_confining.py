"""Tests what the parent gives up, and what it says of that."""

from __future__ import annotations

import struct

import pytest

from tcpdl.processes.confining import restrict_parent


class Kernel:
    """One that remembers what it was asked."""

    def __init__(self, version: int) -> None:
        self._version = version
        self.asked: list[str] = []
        self.handled: tuple[int, ...] = ()

    def version(self) -> int:
        if not self._version:
            raise OSError(38, "no such call")
        return self._version

    def create(self, attributes: bytes) -> int:
        self.handled = struct.unpack(f"={len(attributes) // 8}Q", attributes)
        return -1

    def allow(self, ruleset: int, attributes: bytes) -> None:
        rights, _ = struct.unpack("=Qi", attributes)
        assert rights == self.handled[0], "it loses nothing of what may be done to files"
        self.asked.append("allow")

    def restrict(self, ruleset: int, flags: int) -> None:
        self.asked.append("restrict")

    def no_new_privileges(self) -> None:
        self.asked.append("no_new_privs")


@pytest.mark.parametrize(
    ("version", "given_up"),
    [
        (0, ["no_new_privs"]),
        (1, ["Landlock ABI 1", "no_new_privs"]),
        (4, ["Landlock ABI 4", "makes no TCP connections", "no_new_privs"]),
        (
            6,
            [
                *("Landlock ABI 6", "makes no TCP connections"),
                *("signals nobody but its workers", "no_new_privs"),
            ],
        ),
    ],
)
def test_it_gives_up_what_neither_it_nor_its_workers_need(
    version: int, given_up: list[str]
) -> None:
    kernel = Kernel(version)
    outcome = restrict_parent(lambda: kernel)
    assert outcome.given_up == given_up
    assert outcome.kept == ["files, programs (it starts its workers, which give these up)"]
    assert kernel.asked == ["no_new_privs", *(["allow", "restrict"] if version else [])]


def test_a_system_without_any_of_it_is_no_reason_to_stop() -> None:
    def kernel() -> Kernel:
        raise OSError(38, "only Linux has it")

    assert str(restrict_parent(kernel)) == "not restricted: anything (only Linux has it)"
