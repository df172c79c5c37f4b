"""Tests the adding up of connections in several processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tcpdl.processes.totals import Totals

NAMES = ("a", "b", "c")
Step = tuple[str, str, dict[str, int]]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(
        st.just("told"),
        st.sampled_from(NAMES),
        st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3), min_size=1),
    ),
    st.tuples(st.just("news"), st.sampled_from(NAMES), st.just({})),
    st.tuples(st.just("again"), st.sampled_from(NAMES), st.just({})),
)


@given(st.lists(STEPS, max_size=30))
def test_each_knows_what_the_others_have(steps: list[Step]) -> None:
    totals = Totals()
    have: dict[str, dict[str, int]] = {name: {} for name in NAMES}
    know: dict[str, dict[str, int]] = {name: {} for name in NAMES}
    for name in NAMES:
        totals.join(name)
    for step, name, counts in steps:
        if step == "told":
            totals.told(name, counts)
            have[name].update(counts)
        elif step == "news":
            know[name].update(totals.news(name, 1000))
        else:
            totals.leave(name)
            totals.join(name)
            have[name], know[name] = {}, {}
    for name in NAMES:
        know[name].update(totals.news(name, 1000))
        for key in "xyz":
            others = sum(have[other].get(key, 0) for other in NAMES if other != name)
            assert know[name].get(key, 0) == others
        assert totals.news(name, 1000) == {}


def test_what_is_gone_is_forgotten() -> None:
    totals = Totals()
    totals.join(1)
    totals.told(1, {"x": 2})
    totals.leave(1)
    totals.join(2)
    assert totals.news(2, 1000) == {}
    assert totals._sums == {}
