"""The ranges of a file that a client asks for (RFC 9110, section 14). Pure; imports nothing."""

from __future__ import annotations

import re

RANGES_MOST = 16
"""Parts of one answer, once those that touch are one: a player needs two, and many tiny ones cost
more than the file."""

_SPECS_MOST = 100
"""Ranges asked for, before those that touch are one: to read thousands takes long."""

# 40 digits are more than any file needs, and few enough to be taken as they are.
_SPEC = re.compile(r"(?:([0-9]{1,40})-([0-9]{1,40})?|-([0-9]{1,40}))")

Range = tuple[int, int]
"""From one offset up to, and not including, another."""


class Unsatisfiable(Exception):
    """None of the ranges is in the file."""


def parse_ranges(value: str, size: int) -> list[Range] | None:
    """The ranges of a file of `size` bytes that a Range field asks for.

    Those that touch or overlap are one. They are in the order in which they were asked for, and
    what is one now stands where the first of its parts stood (section 15.3.7.2).

    `None` if the field is to be ignored: another unit, not well formed, too many, or the end of a
    file that is empty, which no answer can name. Raises `Unsatisfiable` if no range has a byte.
    """
    unit, equals, specs = value.strip(" \t").partition("=")
    if not equals or unit.lower() != "bytes" or specs.count(",") >= _SPECS_MOST:
        return None
    found: list[Range] = []
    asked = 0
    for spec in specs.split(","):
        spec = spec.strip(" \t")
        if not spec:  # a list may have members that are empty (section 5.6.1.2)
            continue
        match = _SPEC.fullmatch(spec)
        if match is None:
            return None
        asked += 1
        first, last, suffix = match.groups()
        if suffix is not None:
            start, end = max(0, size - int(suffix)), size
            if int(suffix) and not size:
                return None
        else:
            start, end = int(first), size if last is None else int(last) + 1
            if last is not None and end <= start:
                return None
        if start < min(end, size):
            found.append((start, min(end, size)))
    if not asked:
        return None
    if not found:
        raise Unsatisfiable
    merged = _merged(found)
    return merged if len(merged) <= RANGES_MOST else None


def _merged(ranges: list[Range]) -> list[Range]:
    """Ranges that do not touch, in the order of the first part of each."""
    merged: list[tuple[int, int, int]] = []
    for start, end, place in sorted((*both, place) for place, both in enumerate(ranges)):
        if merged and start <= merged[-1][2]:
            first, begin, until = merged[-1]
            merged[-1] = min(first, place), begin, max(until, end)
        else:
            merged.append((place, start, end))
    return [(start, end) for _, start, end in sorted(merged)]
