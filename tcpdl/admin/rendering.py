"""Snapshots as Prometheus reads them. Imports prometheus-client and the modules beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from tcpdl.admin.series import PROCESS, SERIES, Series
from tcpdl.admin.snapshot import Sample, Snapshot, combined, parse

_OPENMETRICS = "application/openmetrics-text"


class _Collector:
    """What prometheus-client asks for metrics."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        samples: dict[str, list[tuple[Sample, float]]] = {}
        for of, value in self._snapshot.items():
            sample = parse(of)
            samples.setdefault(sample.series.name, []).append((sample, value))
        for series in SERIES:
            if series.name in samples:
                yield _family(series, samples[series.name])


def render(by_process: Mapping[str, Snapshot], accept: str) -> tuple[bytes, str]:
    """What the processes have counted, in the format that `accept`, a field of the request, asks
    for, and the media type of that."""
    collector: Any = _Collector(combined(by_process))
    accepted = {part.partition(";")[0].strip() for part in accept.lower().split(",")}
    if _OPENMETRICS in accepted:
        return openmetrics.generate_latest(collector), openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(collector), CONTENT_TYPE_PLAIN_0_0_4


def _family(series: Series, samples: list[tuple[Sample, float]]) -> Metric:
    if series.kind == "histogram":
        return _histogram(series, samples)
    labels = (PROCESS, *series.labels) if series.over == "each" else series.labels
    kind = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
    family = kind(series.name, series.help, labels=labels)
    for sample, value in samples:
        family.add_metric([sample.labels[label] for label in labels], value)
    return family


def _histogram(series: Series, samples: list[tuple[Sample, float]]) -> Metric:
    buckets = []
    total = 0.0
    for sample, value in samples:
        if sample.name.endswith("_bucket"):
            buckets.append((sample.labels["le"], value))
        elif sample.name.endswith("_sum"):
            total = value
    return HistogramMetricFamily(series.name, series.help, buckets=buckets, sum_value=total)
