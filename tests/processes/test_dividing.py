"""Tests what processes get of a limit that they share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.processes.dividing import LEAST, MORE, Claim, divided

CLAIMS = st.lists(
    st.builds(Claim, st.floats(0, 2000), st.one_of(st.just(0.0), st.floats(0.01, 100))), max_size=8
)


@given(CLAIMS)
def test_all_of_it_is_given_and_no_more(claims: list[Claim]) -> None:
    parts = divided(1000, claims)
    assert len(parts) == len(claims)
    if claims:
        assert sum(parts) == pytest.approx(1000)
        assert min(parts) >= LEAST * 1000 / len(claims) * 0.999


@given(CLAIMS)
def test_those_who_want_more_get_it_by_weight(claims: list[Claim]) -> None:
    parts = divided(1000, claims)
    least = LEAST * 1000 / max(1, len(claims))
    above = [
        (part - least) / claim.weight
        for part, claim in zip(parts, claims, strict=True)
        if claim.weight
    ]
    assert above == pytest.approx(above[:1] * len(above))


def test_who_wants_less_leaves_it_to_the_others() -> None:
    quiet, loud = divided(1000, [Claim(100, 0), Claim(400, 3)])
    assert quiet == MORE * 100
    assert loud == 1000 - quiet


def test_nobody_waits() -> None:
    assert divided(1000, [Claim(0, 0), Claim(0, 0)]) == [500, 500]
