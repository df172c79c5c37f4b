"""Tests `client.writing`: in order; and nothing counts that could not be written."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tcpdl.client.errors import CannotWrite, Damaged
from tcpdl.client.writing import BUFFERS, PIECE, Writer

SECONDS = 60.0


class Part:
    """Takes what is written, but for what is at some offsets."""

    def __init__(self, *wrong: int) -> None:
        self.wrong = wrong
        self.done: list[object] = []
        self.go_on = threading.Event()

    def write(self, data: memoryview, offset: int) -> None:
        assert self.go_on.wait(SECONDS)
        if offset in self.wrong:
            raise CannotWrite(f"not at {offset}")
        self.done.append((offset, bytes(data)))

    def then(self, name: str, error: Exception | None = None) -> Callable[[], None]:
        def job() -> None:
            self.done.append(name)
            if error is not None:
                raise error

        return job


def writer_of(part: Part, *, threaded: bool = True) -> Writer:
    return Writer(part, threaded=threaded)  # type: ignore[arg-type]


def give(writer: Writer, data: bytes, offset: int) -> None:
    buffer = writer.buffer(len(data))
    buffer[: len(data)] = data
    writer.write(buffer, len(data), offset)


def use_all(writer: Writer) -> None:
    """Use each buffer, and one of them again."""
    for _ in range(BUFFERS + 1):
        give(writer, b"x", 0)


@pytest.mark.parametrize("threaded", [True, False])
def test_in_order(threaded: bool) -> None:
    part = Part()
    part.go_on.set()
    writer = writer_of(part, threaded=threaded)
    for index in range(3 * BUFFERS):
        give(writer, b"%d" % index, index)
        writer.then(part.then(f"then {index}"))
    writer.close()
    assert part.done == [
        one for at in range(3 * BUFFERS) for one in ((at, b"%d" % at), f"then {at}")
    ]
    assert writer.wrote > 0


def test_nothing_counts_after_a_failure() -> None:
    """What was to happen once it was written does not, nor is anything written after it."""
    part = Part(1)
    writer = writer_of(part)
    for index in range(3):
        give(writer, b"x", index)
        writer.then(part.then(f"then {index}"))
    part.go_on.set()
    with pytest.raises(CannotWrite, match="not at 1"):
        writer.close()
    assert part.done == [(0, b"x"), "then 0"]


def test_failure_of_what_comes_then() -> None:
    """All was written, and so the rest counts."""
    part = Part()
    writer = writer_of(part)
    for index in range(3):
        give(writer, b"x", index)
        writer.then(part.then(f"then {index}", None if index else Damaged("it is")))
    part.go_on.set()
    with pytest.raises(Damaged, match="it is"):
        writer.close()
    assert part.done == [
        *((0, b"x"), "then 0"),
        *((1, b"x"), "then 1"),
        *((2, b"x"), "then 2"),
    ]


@pytest.mark.parametrize("error", [CannotWrite("no"), ValueError("a defect")])
def test_failure_is_raised_to_whoever_goes_on(error: Exception) -> None:
    part = Part()
    part.go_on.set()
    writer = writer_of(part)
    ran = threading.Event()
    writer.then(part.then("then", error))
    writer.then(ran.set)
    assert ran.wait(SECONDS)
    with pytest.raises(type(error)):
        writer.check()
    with pytest.raises(type(error)):
        use_all(writer)
    with pytest.raises(type(error)):
        writer.close()


def test_buffers_are_used_again() -> None:
    part = Part()
    part.go_on.set()
    writer = writer_of(part)
    sizes = [len(writer.buffer(size)) for size in (1, PIECE, 2 * PIECE)]
    assert sizes == [1, PIECE, PIECE]
    writer.close()
