"""Tests that no request is read in another way than RFC 9112 has it, be it by one byte.

Each is sent between two that are well formed, in one piece and in two. One that is a request is
answered, and so is what comes after it; of one that is none, no more is said than that.
"""

from __future__ import annotations

import re

import pytest
from httptools import HttpParserError, HttpRequestParser

from tests.hostile.conftest import HELLO, Guarded
from tests.hostile.requests import GOOD, SMUGGLED, all_requests
from tests.programs.test_malformed import HEAD, LENGTH

REFUSED = {400, 413, 431, 501, 505}


def statuses(said: bytes) -> list[int]:
    """The statuses of what is said, which holds answers to GET and nothing else."""
    found, at = [], 0
    while at < len(said):
        head = HEAD.match(said, at)
        assert head is not None, said[at : at + 200]
        lengths = LENGTH.findall(head[2])
        assert len(lengths) == 1
        at = head.end() + int(lengths[0])
        found.append(int(head[1]))
    assert at == len(said)
    return found


def sound(found: list[int], good: bool) -> bool:
    """Whether these are the right answers to a good request, one in question and another."""
    first, second, *more = found
    if good:  # though its path may have a broken escape
        return (first, second in (200, 404, 400), more) == (200, True, [200])
    return (first, second in REFUSED, more) == (200, True, [])


@pytest.mark.parametrize("cut", [False, True])
def test_between_others(guarded: Guarded, cut: bool) -> None:
    assert guarded.tell(GOOD, half_close=True).endswith(HELLO)
    wrong = []
    for name, data, good in all_requests():
        stream = GOOD + data + SMUGGLED
        at = len(GOOD) + len(data) // 2 if cut else 0
        said = guarded.tell(stream[:at], stream[at:], half_close=True)
        if not sound(statuses(said), good):
            wrong.append((name, data, good, statuses(said)))
    assert wrong == []


class Counted:
    """What llhttp tells of."""

    def __init__(self) -> None:
        self.requests = 0

    def on_message_complete(self) -> None:
        self.requests += 1


def taken_by_llhttp(data: bytes) -> bool:
    """Whether llhttp, which is strict, takes all of `data` for one request."""
    counted = Counted()
    try:
        HttpRequestParser(counted).feed_data(data)
    except HttpParserError:
        return False
    return counted.requests == 1


def test_no_more_is_taken_than_by_llhttp() -> None:
    """But for bytes beyond ASCII in a target; and much that it takes is not taken here."""
    names = [name for name, data, good in all_requests() if good and not taken_by_llhttp(data)]
    assert len(names) == 3 * 128
    assert all(re.match("0x[89a-f]. (in the path|after the path|in the query)", n) for n in names)
    assert len([1 for _, data, good in all_requests() if not good and taken_by_llhttp(data)]) > 500


def test_there_are_both(guarded: Guarded) -> None:
    verdicts = [good for _, _, good in all_requests()]
    assert verdicts.count(True) > 1000
    assert verdicts.count(False) > 5000
    names = [name for name, _, _ in all_requests()]
    assert not [name for name in names if not re.search(r"[ -~]", name)]
