"""The digest that a whole file is expected to have. Imports `digest` and `client.errors`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from tcpdl import digest
from tcpdl.client.errors import BadRequest, CannotWrite, Damaged
from tcpdl.wire.native import BLAKE3
from tcpdl.wire.text import printable

_SIZES = {"sha256": 32, "sha512": 64, "blake3": 32}
_FORM = re.compile(r"(sha256|sha512|blake3):([0-9A-Fa-f]+)", re.ASCII)


class Expected(NamedTuple):
    """A digest."""

    algorithm: str
    """`sha256`, `sha512` or `blake3`."""
    digest: bytes


def parse_expected(text: str) -> Expected:
    """Read `sha256:HEX`, `sha512:HEX` or `blake3:HEX`. Raises `BadRequest`."""
    found = _FORM.fullmatch(text)
    if found is None or len(found[2]) != 2 * _SIZES[found[1]]:
        raise BadRequest(
            f"'{printable(text, 64)}' is no digest; write sha256:, sha512: or blake3: and the "
            "hexadecimal digits"
        )
    if found[1] == "blake3" and not digest.AVAILABLE & BLAKE3:
        raise BadRequest("blake3 is not installed here; give the file's sha256")
    return Expected(found[1], bytes.fromhex(found[2]))


class Check:
    """Computes the digests of what it is given, to compare them with those that are `expected`."""

    def __init__(self, expected: Iterable[Expected]) -> None:
        self._expected = tuple(dict.fromkeys(expected))
        self._states = {one.algorithm: _hasher(one.algorithm) for one in self._expected}

    def __bool__(self) -> bool:
        """Whether there is anything to compare with."""
        return bool(self._states)

    def update(self, data: bytes | memoryview) -> None:
        """`data` comes next in the file."""
        for state in self._states.values():
            state.update(data)

    def finish(self) -> None:
        """That was all of the file. Raises `Damaged` if it is another than was expected."""
        for algorithm, wanted in self._expected:
            if (found := self._states[algorithm].digest()) != wanted:
                raise Damaged(f"the file has the {algorithm} {found.hex()}, and not {wanted.hex()}")


def check_file(fd: int, size: int, expected: Iterable[Expected]) -> None:
    """Raise `Damaged` unless the file `fd`, of `size` bytes, is as `expected`; or `CannotWrite`, if
    it cannot be read."""
    check = Check(expected)
    if check:
        try:
            digest.update_from(check, fd, 0, size)
        except (digest.FileEnded, OSError) as error:
            raise CannotWrite(f"the file cannot be read: {error}") from error
        check.finish()


def _hasher(algorithm: str) -> Any:
    if algorithm == "blake3":
        return digest.hasher(BLAKE3)()
    import hashlib  # it takes a while to import

    return hashlib.new(algorithm)
