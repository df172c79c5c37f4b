"""Tests `web.ranges`: which bytes of a file are asked for."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.web.ranges import RANGES_MOST, Range, Unsatisfiable, parse_ranges

unhurried = settings(deadline=None)

HUGE = "9" * 22


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-", [(0, 100)]),
        ("bytes=99-", [(99, 100)]),
        ("bytes=10-19", [(10, 20)]),
        ("bytes=90-1000", [(90, 100)]),
        (f"bytes=90-{HUGE}", [(90, 100)]),
        ("bytes=-1", [(99, 100)]),
        ("bytes=-100", [(0, 100)]),
        ("bytes=-1000", [(0, 100)]),
        (f"bytes=-{HUGE}", [(0, 100)]),
        ("bytes=" + "0" * 39 + "5-" + "0" * 39 + "6", [(5, 7)]),
        ("BYTES=1-2", [(1, 3)]),
        (" bytes=1-2\t", [(1, 3)]),
        ("bytes=\t1-2 , 5-6 ", [(1, 3), (5, 7)]),
        ("bytes=,1-2,,\t,5-6,", [(1, 3), (5, 7)]),
        ("bytes=0-0,-1", [(0, 1), (99, 100)]),
        ("bytes=-1,0-0", [(99, 100), (0, 1)]),  # in the order in which they are wanted
        ("bytes=50-59,0-9,30-39", [(50, 60), (0, 10), (30, 40)]),
        ("bytes=50-59,0-9,40-49", [(40, 60), (0, 10)]),
        ("bytes=0-9,50-59,5-54", [(0, 60)]),
        ("bytes=0-9,10-19", [(0, 20)]),
        ("bytes=0-9,11-19", [(0, 10), (11, 20)]),
        ("bytes=0-99,5-6,-7", [(0, 100)]),
        ("bytes=5-6,5-6,5-6", [(5, 7)]),
        ("bytes=200-300,5-6", [(5, 7)]),
        (f"bytes={HUGE}-,5-6,-0", [(5, 7)]),
    ],
)
def test_ranges(value: str, expected: list[Range]) -> None:
    assert parse_ranges(value, 100) == expected


@pytest.mark.parametrize(
    "value", ["bytes=100-", "bytes=100-100", f"bytes={HUGE}-", f"bytes={HUGE}-{HUGE}", "bytes=-0"]
)
def test_none_of_them_in_the_file(value: str) -> None:
    for several in (value, f"{value},-0", f"bytes=,200-,,{value[6:]}"):
        with pytest.raises(Unsatisfiable):
            parse_ranges(several, 100)


@pytest.mark.parametrize(
    "value",
    [
        *("", "bytes", "bytes=", "bytes=,", "bytes= , ,\t", "=0-1", "0-1"),
        *("bytes:0-1", "bytes 0-1"),
        *("lines=0-1", "bytes =0-1", "byte=0-1", "none", "bytes=0-1;5-6", "bytes==0-1"),
        *("bytes=-", "bytes=--1", "bytes=1", "bytes=a-b", "bytes=1-a", "bytes=5-2"),
        *("bytes=5-4", "bytes=0-1-2"),
        *("bytes=0 - 1", "bytes=0- 1", "bytes=+0-1", "bytes=0-+1", "bytes=0x0-1", "bytes=1_0-20"),
        *("bytes=²-5", "bytes=٠-٥", "bytes=0-1\n", "bytes=0-1\0", "bytes=\xa00-1", "bytes=0.0-1"),
        *("bytes=0-1,x", "bytes=0-1,5-2", "bytes=0-1,-", f"bytes={HUGE}-5", "bytes=0-1 5-6"),
        *("bytes=" + "0" * 41 + "-", "bytes=-" + "1" * 41, "bytes=0-" + "9" * 5000),
    ],
)
def test_what_is_passed_over(value: str) -> None:
    assert parse_ranges(value, 100) is None


def test_an_empty_file() -> None:
    assert parse_ranges("bytes=-5", 0) is None  # all of it is wanted, but no Content-Range says so
    for value in ("bytes=0-", "bytes=0-0", "bytes=-0"):
        with pytest.raises(Unsatisfiable):
            parse_ranges(value, 0)


def test_at_most_so_many() -> None:
    def every_second(count: int) -> str:
        return "bytes=" + ",".join(f"{number}-{number}" for number in range(0, 2 * count, 2))

    assert parse_ranges(every_second(RANGES_MOST), 100) == [(n, n + 1) for n in range(0, 32, 2)]
    assert parse_ranges(every_second(RANGES_MOST + 1), 100) is None
    assert parse_ranges(every_second(100), 10) is not None  # few of them are in the file
    assert parse_ranges(every_second(99) + ",0-", 10_000) == [(0, 10_000)]
    assert parse_ranges("bytes=" + ",".join(["0-"] * 100), 100) == [(0, 100)]
    assert parse_ranges("bytes=" + ",".join(["0-"] * 101), 100) is None  # nobody asks for so many


# A file is small, and offsets are near its ends.
OFFSETS = st.integers(0, 70) | st.integers(0, 10**25)
SPECS = st.one_of(
    st.tuples(OFFSETS, OFFSETS).map(lambda both: f"{min(both)}-{max(both)}"),
    OFFSETS.map("{}-".format),
    OFFSETS.map("-{}".format),
    st.just(" "),
)


def wanted(spec: str, size: int) -> set[int]:
    """The offsets that one member of the field asks for, as section 14.1.2 has it."""
    first, _, last = spec.partition("-")
    if not first.strip():
        return set(range(size)[-int(last) :]) if last and int(last) else set()
    until = min(int(last), size) if last else size
    return set(range(min(int(first), size), min(until + 1, size)))


@unhurried
@given(st.lists(SPECS, min_size=1, max_size=40), st.integers(1, 64))
@example(["0-0", "-1"], 1)
@example(["0-0", "-1"], 2)
def test_all_that_is_asked_for_and_nothing_else(specs: list[str], size: int) -> None:
    union = set().union(*(wanted(spec, size) for spec in specs))
    try:
        ranges = parse_ranges("bytes=" + ",".join(specs), size)
    except Unsatisfiable:
        assert not union
        return
    gaps = sum(offset - 1 not in union for offset in union)  # as many as there are runs
    if ranges is None:
        assert gaps > RANGES_MOST or all(spec == " " for spec in specs)
        return
    assert len(ranges) == gaps <= RANGES_MOST
    assert all(0 <= start < end <= size for start, end in ranges)
    found = [offset for start, end in ranges for offset in range(start, end)]
    assert len(found) == len(set(found))
    assert set(found) == union
    # Each stands where what it was made of was first asked for.
    places = [
        min(place for place, spec in enumerate(specs) if wanted(spec, size) & set(range(*both)))
        for both in ranges
    ]
    assert places == sorted(places)


@unhurried
@given(st.text(), st.integers(0, 2**63))
def test_any_text(text: str, size: int) -> None:
    for value in (text, f"bytes={text}", f"bytes=0-0,{text}"):
        try:
            ranges = parse_ranges(value, size)
        except Unsatisfiable:
            continue
        assert ranges is None or all(0 <= start < end <= size for start, end in ranges)
