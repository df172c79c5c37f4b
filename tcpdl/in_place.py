"""What of the configuration changes while the daemon runs, and how.

Imports `server`, `daemon`, `options` and `web`. Each setting is changed where it is used, by what
is registered here; see `server.changes`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tcpdl.content.directory import Directory
from tcpdl.content.mounts import Mounts
from tcpdl.daemon import Daemon
from tcpdl.options.daemon import Options
from tcpdl.server.admission import Admission
from tcpdl.server.changes import NotInPlace
from tcpdl.server.descriptors import share
from tcpdl.server.http import HttpFactory
from tcpdl.server.http_answers import HttpAnswers
from tcpdl.server.native import NativeFactory
from tcpdl.server.raw import RawFactory
from tcpdl.web.hosts import Hosts

ACCESS = ("rules", "auth", "link-key", "insecure-logins", "mount-rules", "tls-client-ca")
LIMITS = ("max-connections", "max-connections-per-address", "max-connections-per-network")
TIMES = ("request-seconds", "idle-seconds", "min-rate", "stall-seconds")
TO_COME = "for connections to come"


class Parts(NamedTuple):
    """What a daemon serves with, that can be told to do so in another way."""

    directory: Directory | Mounts
    raw: RawFactory
    native: NativeFactory
    http: HttpFactory
    answers: HttpAnswers
    admission: Admission | None


def hosts(options: Options) -> Hosts | None:
    """The hosts that requests may be made for."""
    return Hosts(options["http-host"]) if options["http-host"] else None


def change_in_place(daemon: Daemon, parts: Parts, reactor: Any) -> None:
    """Have `daemon` take up new settings as far as that works."""
    change = _Change(daemon, parts, reactor)
    on = daemon.on_reload
    on((*LIMITS, "max-files", "max-accepts"), change.limits)
    on(TIMES, change.times)
    on(("max-rate", "max-rate-per-address"), change.rates)
    on(("max-rate-per-connection",), change.rate_of_connections)
    on(("max-requests",), change.requests)
    on(("index", "precompressed", "http-host"), change.answers)
    on(("quiet-period", "name-encodings"), change.names)
    on(("tls-cert", "tls-key", "tls-client-ca", "tls"), change.certificate)
    on(("drain",), change.drain)
    on(ACCESS, change.access)


class _Change:
    """Each method has the new options hold, and returns what is to be said of it."""

    def __init__(self, daemon: Daemon, parts: Parts, reactor: Any) -> None:
        self._daemon = daemon
        self._parts = parts
        self._admission = parts.admission
        self._reactor = reactor

    def limits(self, options: Options) -> None:
        self._daemon.crowd.limits = options.limits()
        share(self._daemon.crowd, self._parts.directory.files, options["max-files"])
        self._daemon.accept_at(options["max-accepts"])

    def times(self, options: Options) -> None:
        self._daemon.deadlines.times = options.times()

    def rates(self, options: Options) -> str:
        return "" if self._daemon.send_at(options.rates()) else TO_COME

    def rate_of_connections(self, options: Options) -> str:
        self._daemon.send_at(options.rates())
        return TO_COME

    def requests(self, options: Options) -> str:
        self._parts.http.requests_most = self._parts.native.requests_most = options["max-requests"]
        return TO_COME

    def answers(self, options: Options) -> None:
        self._parts.answers.change(
            index=options["index"], precompressed=options["precompressed"], hosts=hosts(options)
        )

    def names(self, options: Options) -> None:
        self._parts.raw.quiet = options["quiet-period"] / 1000
        self._parts.raw.encodings = options["name-encodings"]

    def drain(self, options: Options) -> None:
        self._daemon.drain_seconds = options["drain"]

    def certificate(self, options: Options) -> str:
        credentials = options.credentials()
        if credentials is None or self._daemon.credentials is None:
            raise NotInPlace("TLS begins and ends with the daemon")
        self._daemon.credentials.become(credentials)
        return TO_COME

    def access(self, options: Options) -> None:
        parts = self._parts
        admission = options.admission(parts.directory, self._daemon.workers, self._reactor)
        if admission is None:
            raise NotInPlace("without it, anyone may read all")
        if self._admission is None:
            self._admission = admission
            self._daemon.read_again(admission)
            admission.reload()  # what it has to say, it says now
        else:
            self._admission.become(admission)
        parts.raw.admission = parts.native.admission = self._admission
        parts.answers.admit(self._admission)
