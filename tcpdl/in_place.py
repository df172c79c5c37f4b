"""What of the configuration changes while the daemon runs, and how.

Imports `server`, `daemon`, `options`, `logs` and `web`. Each setting is changed where it is used,
by what is registered here; see `server.changes`. That all are registered, as `options.reloads` says
what becomes of each, is for the tests to see.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from tcpdl.content.directory import Directory
from tcpdl.content.mounts import Mounts
from tcpdl.daemon import Daemon
from tcpdl.logs.destination import Lines
from tcpdl.options.daemon import Options
from tcpdl.options.reloads import RELOADS, takes_restart
from tcpdl.server.admission import Admission
from tcpdl.server.changes import NotInPlace
from tcpdl.server.descriptors import share
from tcpdl.server.echo import EchoFactory
from tcpdl.server.front import Dialects, FrontFactory
from tcpdl.server.http import HttpFactory
from tcpdl.server.http_answers import HttpAnswers
from tcpdl.server.native import NativeFactory
from tcpdl.server.raw import RawFactory
from tcpdl.web.hosts import Hosts

ACCESS = ("rules", "auth", "link-key", "insecure-logins", "mount-rules", "tls-client-ca")
LIMITS = ("max-connections", "max-connections-per-address", "max-connections-per-network")
TIMES = ("request-seconds", "idle-seconds", "min-rate", "stall-seconds")
TLS = ("tls-cert", "tls-key", "tls-client-ca", "tls", "tls-required")
SHOWN = ("hidden", "symlinks", "mount-hidden", "mount-symlinks")
LINES = ("access-log", "access-log-format", "log-format")
TO_COME = "for connections to come"


class Parts(NamedTuple):
    """What a daemon serves with, that can be told to do so in another way."""

    directory: Directory | Mounts
    raw: RawFactory
    native: NativeFactory
    http: HttpFactory
    front: FrontFactory
    """Of ports where TLS is not required, unless it is on all."""
    unencrypted: Dialects | None
    """What refuses connections without TLS, if there is any TLS."""
    echo: EchoFactory
    answers: HttpAnswers
    admission: Admission | None
    lines: Lines


def hosts(options: Options) -> Hosts | None:
    """The hosts that requests may be made for."""
    return Hosts(options["http-host"]) if options["http-host"] else None


def tell_of_wrong_logins(daemon: Daemon, admission: Admission) -> None:
    """Have those that `admission` finds come to the log, and be counted."""
    if admission.logins is not None:
        admission.logins.failures.on_wrong = daemon.transfers.wrong_login


def change_in_place(daemon: Daemon, parts: Parts, reactor: Any) -> None:
    """Have `daemon` take up new settings as far as that works."""
    change = _Change(daemon, parts, reactor)
    on = daemon.on_reload
    on((*LIMITS, "max-files", "max-accepts"), change.limits)
    on(TIMES, change.times)
    on(("max-rate", "max-rate-per-address"), change.rates)
    on(("max-rate-per-connection",), change.rate_of_connections)
    on(("max-requests",), change.requests)
    on(("no-sendfile",), change.sendfile)
    on(("proxy-from",), change.proxies)
    on(("index", "precompressed", "http-host"), change.answers)
    on(("quiet-period", "name-encodings"), change.names)
    on(SHOWN, change.shown)
    on(("echo-reply", "echo-encoding"), change.echo)
    on(TLS, change.certificate)
    on(("drain",), change.drain)
    on(ACCESS, change.access)
    on(LINES, change.lines)
    on(("hang-seconds",), lambda options: None)  # nobody is watched
    for name in RELOADS:
        if takes_restart(name, with_workers=False):
            on((name,), _refusing(RELOADS[name].why))


def _refusing(why: str) -> Callable[[Options], None]:
    def refuse(options: Options) -> None:
        raise NotInPlace(why)

    return refuse


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

    def sendfile(self, options: Options) -> str:
        self._daemon.send_by(sendfile=not options["no-sendfile"])
        return TO_COME

    def proxies(self, options: Options) -> str:
        self._daemon.believe(options.proxies())
        return TO_COME

    def answers(self, options: Options) -> None:
        self._parts.answers.change(
            index=options["index"], precompressed=options["precompressed"], hosts=hosts(options)
        )

    def names(self, options: Options) -> None:
        self._parts.raw.quiet = options["quiet-period"] / 1000
        self._parts.raw.encodings = options["name-encodings"]

    def shown(self, options: Options) -> None:
        """Of folders that come and go at a restart, those that there are stay as they are."""
        served = self._parts.directory
        if isinstance(served, Directory):
            served.serve(hidden=options.hidden_of(""), symlinks=options.symlinks_of(""))
            return
        for name in options["mount"]:
            hidden, symlinks = options.hidden_of(name), options.symlinks_of(name)
            served.serve(os.fsencode(name), hidden=hidden, symlinks=symlinks)

    def echo(self, options: Options) -> None:
        self._parts.echo.reply = options["echo-reply"]

    def drain(self, options: Options) -> None:
        self._daemon.drain_seconds = options["drain"]

    def certificate(self, options: Options) -> str:
        credentials = options.credentials()
        if credentials is None or self._daemon.credentials is None:
            raise NotInPlace(RELOADS["tls"].why)
        self._daemon.credentials.become(credentials)
        self._parts.front.unencrypted = self._parts.unencrypted if options["tls-required"] else None
        return TO_COME

    def access(self, options: Options) -> None:
        parts = self._parts
        admission = options.admission(parts.directory, self._daemon.workers, self._reactor)
        if admission is None:
            raise NotInPlace(RELOADS["rules"].why)
        tell_of_wrong_logins(self._daemon, admission)
        if self._admission is None:
            self._admission = admission
            self._daemon.read_again(admission)
            admission.reload()  # what it has to say, it says now
        else:
            self._admission.become(admission)
        parts.raw.admission = parts.native.admission = self._admission
        parts.answers.admit(self._admission)

    def lines(self, options: Options) -> None:
        where = options.access_log()
        try:
            self._parts.lines.go_to(where)
        except OSError as error:
            why = error.strerror
            if isinstance(error, PermissionError) and os.access(
                os.path.dirname(where.file or ""), os.W_OK
            ):  # what a process has given up by itself is not looked at there
                why = "this process has given up writing there, as it did not need it at the start"
            raise NotInPlace(f"{where.file} cannot be written: {why}") from None
