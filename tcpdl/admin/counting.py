"""What one process has counted, under the names of the series.

Imports `tcpdl.daemon` and the modules beside it. It is asked once for each scrape, and by a parent
every second: the longest part of it is to add up the bytes of answers that are being sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import accumulate

import tcpdl
from tcpdl.admin.snapshot import Snapshot, key
from tcpdl.daemon import Daemon
from tcpdl.server.metrics import NOBODY, Histogram
from tcpdl.server.threads import Threads


def daemon_snapshot(daemon: Daemon) -> Snapshot:
    """What the process of `daemon` has counted."""
    daemon.transfers.flush()
    return {
        **dict(_connections(daemon)),
        **dict(_requests(daemon)),
        **dict(_files(daemon)),
        **dict(_process(daemon)),
    }


def _connections(daemon: Daemon) -> Iterator[tuple[str, float]]:
    metrics, crowd, accepting = daemon.metrics, daemon.crowd, daemon.accepting
    yield "tcpdl_connections_accepted_total", accepting.accepted
    yield "tcpdl_connections_open", crowd.connections
    if crowd.limits.connections:
        yield "tcpdl_connections_limit", crowd.limits.connections
    yield from _by("tcpdl_connections_refused_total", "limit", crowd.full)
    yield from _by("tcpdl_accept_pauses_total", "reason", accepting.pauses)
    yield from _by("tcpdl_connections_recognised_total", "dialect", metrics.connections)
    handshakes = {"completed": metrics.handshakes, "failed": metrics.handshakes_failed}
    yield from _by("tcpdl_tls_handshakes_total", "outcome", handshakes)
    yield from _by("tcpdl_deadlines_missed_total", "kind", metrics.missed)


def _requests(daemon: Daemon) -> Iterator[tuple[str, float]]:
    metrics, live = daemon.metrics, daemon.transfers.live
    for dialect, outcomes in metrics.answers.items():
        for outcome, count in outcomes.items():
            yield key("tcpdl_requests_total", dialect=dialect, outcome=outcome), count
    yield "tcpdl_requests_in_progress", len(live)
    content = dict(metrics.content)
    for transfer in live.values():
        dialect = transfer.dialect if transfer.dialect in content else NOBODY
        content[dialect] += transfer.sent
    yield from _by("tcpdl_content_bytes_total", "dialect", content)
    sent = {
        "sendfile": metrics.sent_by_sendfile,
        "copy": metrics.sent_by_copying,
        "tls": metrics.sent_encrypted,
    }
    yield from _by("tcpdl_sent_bytes_total", "path", sent)
    yield "tcpdl_received_bytes_total", metrics.received
    yield "tcpdl_echo_bytes_total", metrics.echoed
    yield "tcpdl_log_lines_lost_total", daemon.lines_lost()
    logins = daemon.admission.logins if daemon.admission is not None else None
    if logins is not None:
        found = {"right": logins.right, "wrong": logins.wrong}
        yield from _by("tcpdl_logins_total", "outcome", found)


def _files(daemon: Daemon) -> Iterator[tuple[str, float]]:
    yield "tcpdl_read_errors_total", daemon.metrics.read_errors
    yield "tcpdl_disk_reads_total", daemon.warmer.reads
    yield "tcpdl_disk_read_bytes_total", daemon.warmer.bytes_read
    if daemon.digests is not None:
        counts = daemon.digests.counts
        sources = {"known": counts.known, "computed": counts.computed}
        yield from _by("tcpdl_digests_total", "source", sources)
        yield "tcpdl_digest_bytes_total", counts.hashed


def _process(daemon: Daemon) -> Iterator[tuple[str, float]]:
    yield from _threads("work", daemon.workers.threads)
    yield from _threads("disk", daemon.warmer.threads)
    yield from _histogram("tcpdl_loop_lag_seconds", daemon.lag.seconds)
    figures = daemon.process.figures()
    yield from ((name, figures[of]) for of, name in FIGURES.items() if of in figures)
    yield "tcpdl_start_time_seconds", daemon.process.started
    yield "tcpdl_heartbeat_time_seconds", time.time()
    yield "tcpdl_reloads_total", daemon.hangups.count
    if daemon.credentials is not None:
        yield "tcpdl_certificate_end_time_seconds", daemon.credentials.ends
    yield key("tcpdl_build_info", version=tcpdl.__version__), 1


FIGURES = {
    "cpu": "tcpdl_cpu_seconds_total",
    "memory": "tcpdl_resident_memory_bytes",
    "descriptors": "tcpdl_descriptors_open",
    "limit": "tcpdl_descriptors_limit",
}
"""What the system says of the process, by what `ThisProcess.figures` calls it."""


def _by(name: str, label: str, counts: dict[str, int]) -> Iterator[tuple[str, float]]:
    for value, count in counts.items():
        yield key(name, **{label: value}), count


def _threads(pool: str, threads: Threads) -> Iterator[tuple[str, float]]:
    yield key("tcpdl_threads", pool=pool, state="busy"), threads.busy
    yield key("tcpdl_threads", pool=pool, state="waiting"), threads.waiting
    yield key("tcpdl_thread_jobs_queued", pool=pool), threads.queued


def _histogram(name: str, histogram: Histogram) -> Iterator[tuple[str, float]]:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    totals = list(accumulate(histogram.counts))
    for bound, total in zip(bounds, totals, strict=True):
        yield key(f"{name}_bucket", le=bound), total
    yield f"{name}_sum", histogram.sum
    yield f"{name}_count", totals[-1]
