"""Tests that what is shipped for Prometheus and Grafana knows the series, and that alerts are given
when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tcpdl.admin.series import PROCESS, SERIES, series_of

PROJECT = Path(__file__).resolve().parent.parent.parent
RULES = PROJECT / "etc/prometheus/tcpdl.rules.yml"
DASHBOARD = PROJECT / "etc/grafana/tcpdl.json"

_NAME = re.compile(r"\btcpdl_[a-z_]+\b")
_BY = re.compile(r"by \(([a-z, ]+)\)")
_LEGEND = re.compile(r"\{\{ ?\$?(?:labels\.)?([a-z]+) ?\}\}")

LABELS = {"instance", "job", "le", PROCESS, *(label for one in SERIES for label in one.labels)}


def panels() -> list[Any]:
    found: list[Any] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return found


def expressions() -> list[str]:
    """All that is asked of Prometheus."""
    rules = [line for line in RULES.read_text("utf-8").split("\n") if " expr:" in line]
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    return [*rules, *asked]


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_series_that_are_used_exist(path: Path) -> None:
    names = set(_NAME.findall(path.read_text("utf-8")))
    assert len(names) > 5
    for name in names:
        series_of(name)


def test_labels_that_are_used_exist() -> None:
    used = {label for text in expressions() for by in _BY.findall(text) for label in by.split(", ")}
    legends = set(_LEGEND.findall(DASHBOARD.read_text("utf-8")))
    assert used | legends | set(_LEGEND.findall(RULES.read_text("utf-8"))) <= LABELS


def test_counters_are_never_shown_as_they_are() -> None:
    for text in expressions():
        for name in _NAME.findall(text):
            if series_of(name).lasting:
                assert re.search(rf"(rate|increase)\({name}\b", text), text


def test_dashboard_uses_every_series() -> None:
    shown = {series_of(name).name for name in _NAME.findall(DASHBOARD.read_text("utf-8"))}
    assert shown == {series.name for series in SERIES}


def test_panels_have_their_places() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "words", [("check", "rules", RULES), ("test", "rules", Path(__file__).with_name("alerts.yml"))]
)
def test_rules_are_rules(words: tuple[str, str, Path]) -> None:
    said = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
