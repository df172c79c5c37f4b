"""The series that the daemon counts: one table. Imports the standard library only.

The names follow Prometheus: base units, and `_total` at the end of counters. Whatever has labels
has few values for each, none of which a peer chooses.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

Over = Literal["sum", "least", "each"]
"""What becomes of the values that several processes have: they are added up, the smallest is the
one that matters, or each is of interest by itself."""

PROCESS = "process"
"""The label of series that each process has for itself."""


class Series(NamedTuple):
    """What is counted or measured under one name."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    over: Over = "sum"

    @property
    def lasting(self) -> bool:
        """What it has counted stays true when the process has ended that did."""
        return self.kind != "gauge"


SERIES = (
    # Connections.
    Series(
        "tcpdl_connections_accepted_total",
        "counter",
        "Connections accepted, those among them for which there was no room.",
    ),
    Series("tcpdl_connections_open", "gauge", "Connections that are open."),
    Series(
        "tcpdl_connections_limit",
        "gauge",
        "Connections that there may be (--max-connections); left out if any number.",
        over="least",
    ),
    Series(
        "tcpdl_connections_refused_total",
        "counter",
        "Connections for which there was no room, by the limit: in all, of an address, a network.",
        ("limit",),
    ),
    Series(
        "tcpdl_accept_pauses_total",
        "counter",
        "How often nothing was accepted for a while: by --max-accepts (rate), for want of "
        "descriptors, or since the system could give none.",
        ("reason",),
    ),
    Series(
        "tcpdl_connections_recognised_total",
        "counter",
        "Connections whose dialect is known.",
        ("dialect",),
    ),
    Series("tcpdl_tls_handshakes_total", "counter", "TLS handshakes.", ("outcome",)),
    Series(
        "tcpdl_deadlines_missed_total",
        "counter",
        "Clients that were late: with the first byte (recognition), the TLS handshake, a whole "
        "request, the next one (idle), or taking what they were sent (stall).",
        ("kind",),
    ),
    # Requests.
    Series(
        "tcpdl_requests_total",
        "counter",
        "Requests that are over, and clients that got no answer, by what became of them.",
        ("dialect", "outcome"),
    ),
    Series("tcpdl_requests_in_progress", "gauge", "Requests whose answers are being sent."),
    Series("tcpdl_logins_total", "counter", "Logins that were checked.", ("outcome",)),
    # Bytes.
    Series(
        "tcpdl_sent_bytes_total",
        "counter",
        "Bytes sent, as they are on the wire: by sendfile, copied, or encrypted (tls).",
        ("path",),
    ),
    Series("tcpdl_received_bytes_total", "counter", "Bytes received, as they are on the wire."),
    Series(
        "tcpdl_content_bytes_total",
        "counter",
        "Bytes of files, and of what is made of them, that were sent as answers.",
        ("dialect",),
    ),
    Series("tcpdl_echo_bytes_total", "counter", "Bytes that the echo service received."),
    Series(
        "tcpdl_log_lines_lost_total",
        "counter",
        "Lines for answers that could not be written: the disk was full, or hung.",
    ),
    # Files and digests.
    Series(
        "tcpdl_read_errors_total",
        "counter",
        "Files that could not be read to the end that was promised.",
    ),
    Series(
        "tcpdl_disk_reads_total",
        "counter",
        "Pieces of files that were not in memory, and were read by a thread first.",
    ),
    Series("tcpdl_disk_read_bytes_total", "counter", "Bytes of those pieces."),
    Series(
        "tcpdl_digests_total",
        "counter",
        "Digests of files and chunks that were asked for: known already, or computed.",
        ("source",),
    ),
    Series("tcpdl_digest_bytes_total", "counter", "Bytes that were hashed for digests."),
    # The process.
    Series(
        "tcpdl_threads",
        "gauge",
        "Threads that have something to do, and those of them that wait for a disk, of those that "
        "work and those that read.",
        ("pool", "state"),
    ),
    Series("tcpdl_thread_jobs_queued", "gauge", "Jobs that wait for a thread.", ("pool",)),
    Series(
        "tcpdl_loop_lag_seconds",
        "histogram",
        "How late a timer fired that was looked at twice a second.",
    ),
    Series("tcpdl_descriptors_open", "gauge", "Descriptors that are open.", over="each"),
    Series("tcpdl_descriptors_limit", "gauge", "Descriptors that may be open.", over="each"),
    Series("tcpdl_resident_memory_bytes", "gauge", "Memory that is resident.", over="each"),
    Series("tcpdl_cpu_seconds_total", "counter", "Processor time, user and system."),
    Series(
        "tcpdl_start_time_seconds",
        "gauge",
        "When the process started, in seconds since 1970.",
        over="each",
    ),
    Series(
        "tcpdl_heartbeat_time_seconds",
        "gauge",
        "When the process last gave its figures, in seconds since 1970.",
        over="each",
    ),
    Series("tcpdl_reloads_total", "counter", "How often configuration was read again on SIGHUP."),
    Series(
        "tcpdl_certificate_end_time_seconds",
        "gauge",
        "Until when the certificate is valid, in seconds since 1970.",
        over="least",
    ),
    Series("tcpdl_build_info", "gauge", "The version, beside a 1.", ("version",), over="least"),
    # Workers, where there are any: the parent counts them.
    Series("tcpdl_workers", "gauge", "Workers that serve."),
    Series("tcpdl_worker_restarts_total", "counter", "Workers that ended and were replaced."),
)

BY_NAME = {series.name: series for series in SERIES}

_PARTS = ("_bucket", "_sum", "_count")


def series_of(sample: str) -> Series:
    """The series that a sample of this name belongs to: a histogram's have longer names.

    Raises `KeyError`.
    """
    found = BY_NAME.get(sample)
    if found is not None:
        return found
    for part in _PARTS:
        if sample.endswith(part):
            found = BY_NAME[sample.removesuffix(part)]
            if found.kind == "histogram":
                return found
    raise KeyError(sample)
