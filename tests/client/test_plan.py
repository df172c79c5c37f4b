"""Tests `client.plan`: what is left to do of a file, against a plain set of offsets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.client.plan import Plan, Range

unhurried = settings(deadline=None)

SIZES = st.integers(0, 70)
SHIFTS = st.integers(0, 5)
NUMBERS = st.integers(0, 75)

STEPS: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("have"), NUMBERS, NUMBERS),
    st.tuples(st.just("give_back"), NUMBERS, NUMBERS),
    st.tuples(st.just("take"), st.integers(-2, 80)),
    st.tuples(st.just("take_within"), NUMBERS, NUMBERS),
    st.tuples(st.just("checked"), NUMBERS),
    st.tuples(st.just("wrong"), NUMBERS),
)


class Model:
    """A plan that knows every byte by itself."""

    def __init__(self, size: int, shift: int) -> None:
        self.size = size
        self.length = 1 << shift
        self.missing = set(range(size))
        self.right: set[int] = set()

    def chunk(self, index: int) -> range:
        return range(index * self.length, min((index + 1) * self.length, self.size))

    def take(self, most: int) -> Range | None:
        if not self.missing:
            return None
        start = until = min(self.missing)
        while until in self.missing and (until - start < most or until % self.length):
            self.missing.discard(until)
            until += 1
        return start, until

    def take_within(self, start: int, end: int) -> Range | None:
        end = self.size if end >= self.size else end - end % self.length
        for first in range(start, end):
            if first in self.missing and (
                first % self.length == 0 or first - 1 not in self.missing
            ):
                until = first
                while until < end and until in self.missing:
                    self.missing.discard(until)
                    until += 1
                return first, until
        return None


@unhurried
@given(SIZES, SHIFTS, st.lists(STEPS, max_size=25))
@example(10, 2, [("have", 3, 6), ("give_back", 4, 5), ("give_back", 3, 4), ("take", 20)])
@example(10, 2, [("take", 4), ("take", 4), ("give_back", 4, 8), ("give_back", 0, 4), ("take", 9)])
@example(40, 3, [("have", 8, 16), ("have", 24, 32), ("give_back", 4, 28), ("take", 40)])
def test_against_a_set_of_offsets(size: int, shift: int, steps: list[tuple[Any, ...]]) -> None:
    plan, model = Plan(size, shift), Model(size, shift)
    chunks = len(range(0, size, 1 << shift))
    assert plan.chunks == chunks
    for step, *numbers in steps:
        if step == "take":
            assert plan.take(*numbers) == model.take(max(1, *numbers))
        elif step == "take_within":
            assert plan.take_within(*numbers) == model.take_within(*numbers)
        elif step in ("have", "give_back"):
            start, end = (min(number, size) for number in numbers)
            getattr(plan, step)(start, end)
            if step == "have":
                model.missing.difference_update(range(start, end))
            else:
                model.missing.update(range(start, end))
        elif chunks:
            index = numbers[0] % chunks
            getattr(plan, step)(index)
            if step == "checked":
                model.missing.difference_update(model.chunk(index))
                model.right.add(index)
            else:
                model.missing.update(model.chunk(index))
                model.right.discard(index)
        assert plan.missing == len(model.missing)
        assert plan.first_missing == min(model.missing, default=None)
        assert plan.done is (len(model.right) == chunks)
        found = {at for at in range(-1, size + 2) if plan.is_missing(at)}
        assert found == model.missing
        for at in range(size):
            assert plan.are_missing(0, at) == any(one < at for one in model.missing)
            assert plan.are_missing(at, size) == any(one >= at for one in model.missing)
    # All that is left, in order, and each byte once.
    left: list[int] = []
    while (taken := plan.take(1 << shift)) is not None:
        left += range(*taken)
    assert left == sorted(model.missing)


@given(SIZES, SHIFTS)
def test_chunks_make_the_file(size: int, shift: int) -> None:
    plan = Plan(size, shift)
    ranges = [plan.chunk(index) for index in range(plan.chunks)]
    assert all(0 < end - start <= 1 << shift for start, end in ranges)
    assert all(end - start == 1 << shift for start, end in ranges[:-1])
    assert [at for where in ranges for at in range(*where)] == list(range(size))


def test_empty_file() -> None:
    plan = Plan(0, 20)
    assert plan.done
    assert (plan.chunks, plan.missing, plan.first_missing, plan.take(1)) == (0, 0, None, None)


@pytest.mark.parametrize(
    ("most", "taken"),
    [(-5, 8), (0, 8), (1, 8), (8, 8), (9, 16), (16, 16), (17, 20), (1000, 20), (1 << 80, 20)],
)
def test_spans_end_where_chunks_do(most: int, taken: int) -> None:
    plan = Plan(20, 3)
    assert plan.take(most) == (0, taken)
    assert plan.missing == 20 - taken


def test_span_that_begins_within_a_chunk() -> None:
    plan = Plan(64, 3)
    plan.have(0, 5)
    assert plan.take(8) == (5, 16)  # 8 bytes reach into the second
    assert plan.take(1) == (16, 24)
    plan.have(30, 31)
    assert plan.take(100) == (24, 30)  # nothing that is there
    assert plan.take(1) == (31, 32)
    plan.give_back(20, 22)
    assert plan.take(100) == (20, 22)
    assert plan.take(100) == (32, 64)
    assert plan.take(100) is None
    assert not plan.done  # all was taken, and nothing checked


def test_what_is_given_back_is_joined() -> None:
    plan = Plan(40, 3)
    assert plan.take(40) == (0, 40)
    for start, end in [(0, 4), (8, 12), (16, 20), (30, 40)]:
        plan.give_back(start, end)
    plan.give_back(12, 12)
    plan.give_back(9, 5)
    assert plan.missing == 22
    plan.give_back(4, 8)
    plan.give_back(10, 25)
    assert plan.take(40) == (0, 25)
    assert plan.take(40) == (30, 40)


def test_wrong_chunk_is_fetched_again() -> None:
    plan = Plan(20, 3)
    plan.have(0, 20)
    for index in (0, 1, 2):
        assert not plan.done
        plan.checked(index)
        plan.checked(index)
    assert plan.done
    plan.wrong(2)
    assert not plan.done
    assert (plan.missing, plan.take(100)) == (4, (16, 20))
    plan.checked(2)
    assert plan.done


def test_largest_file() -> None:
    size = (1 << 63) - 1
    plan = Plan(size, 24)
    assert plan.chunks == 1 << 39
    plan.have(1, size - 1)
    assert plan.missing == 2
    plan.wrong(plan.chunks - 1)
    assert plan.missing == 1 << 24
    assert plan.take(size) == (0, 1)
    assert plan.take(size) == (size + 1 - (1 << 24), size)


MOVES: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("take"), st.integers(0, 2), st.integers(1, 40)),
    st.tuples(st.just("take_within"), st.integers(0, 2), NUMBERS, NUMBERS),
    st.tuples(st.just("receive"), st.integers(0, 2), st.integers(1, 20)),
    st.tuples(st.just("give_back"), st.integers(0, 2)),
)


@unhurried
@given(SIZES, SHIFTS, st.sets(st.integers(0, 20)), st.lists(MOVES, max_size=40))
@example(
    8, 3, set(), [("take", 0, 1), ("receive", 0, 3), ("give_back", 0), ("take_within", 1, 5, 8)]
)
@example(8, 3, set(), [("take_within", 0, 0, 4), ("take", 1, 8), ("receive", 1, 8)])
def test_chunk_is_complete_once_its_last_byte_is(
    size: int, shift: int, right: set[int], moves: list[tuple[Any, ...]]
) -> None:
    """Whoever receives that one knows that all before have come: from itself, or earlier."""
    plan = Plan(size, shift)
    here: set[int] = set()
    for index in right & set(range(plan.chunks)):
        plan.checked(index)
        here.update(range(*plan.chunk(index)))
    spans: list[Range] = [(0, 0)] * 3
    for move, who, *numbers in moves:
        start, end = spans[who]
        if move == "give_back":
            plan.give_back(start, end)
            spans[who] = 0, 0
        elif move == "receive":
            until = min(start + numbers[0], end)
            assert here.issuperset(range(start >> shift << shift, start))
            here.update(range(start, until))
            spans[who] = until, end
            for index in {at >> shift for at in range(start, until)}:
                if plan.chunk(index)[1] <= until:
                    assert here.issuperset(range(*plan.chunk(index)))
                    plan.checked(index)
        elif start == end:
            spans[who] = getattr(plan, move)(*numbers) or (0, 0)
    assert plan.done is (here == set(range(size)))
