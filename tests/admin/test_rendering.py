"""Tests that what is rendered is what Prometheus's own parsers read."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from tcpdl.admin.rendering import render
from tcpdl.admin.series import SERIES
from tcpdl.admin.snapshot import Snapshot, key

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def everything() -> Snapshot:
    """A sample of each series, the histograms in full."""
    found: Snapshot = {}
    for number, series in enumerate(SERIES):
        if series.kind == "histogram":
            for bound, count in (("0.1", 2), ("+Inf", 3)):
                found[key(f"{series.name}_bucket", le=bound)] = count
            found[f"{series.name}_sum"] = 0.5
            found[f"{series.name}_count"] = 3
        else:
            found[key(series.name, **dict.fromkeys(series.labels, "x"))] = number
    return found


@pytest.mark.parametrize(("accept", "parse"), [("", plain), (OPENMETRICS, openmetrics)])
def test_all_series_are_read_again(accept: str, parse: object) -> None:
    assert callable(parse)
    text, media_type = render({"a": everything(), "b": everything()}, accept)
    assert media_type.startswith("application/openmetrics" if accept else "text/plain; version=0")
    families = {family.name: family for family in parse(text.decode())}
    assert set(families) == {series.name.removesuffix("_total") for series in SERIES}
    for series in SERIES:
        family = families[series.name.removesuffix("_total")]
        assert family.type == series.kind
        assert family.documentation == series.help
        if series.over == "each":
            assert {sample.labels["process"] for sample in family.samples} == {"a", "b"}


def test_histograms_of_processes_are_added_up() -> None:
    text, _ = render({"a": everything(), "b": everything()}, "")
    lag = next(family for family in plain(text.decode()) if family.name == "tcpdl_loop_lag_seconds")
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in lag.samples}
    assert found["tcpdl_loop_lag_seconds_bucket", "0.1"] == 4
    assert found["tcpdl_loop_lag_seconds_bucket", "+Inf"] == 6
    assert found["tcpdl_loop_lag_seconds_sum", None] == 1
    assert found["tcpdl_loop_lag_seconds_count", None] == 6


def test_nothing_counted_is_nothing_rendered() -> None:
    assert render({}, "")[0] == b""
