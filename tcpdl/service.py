"""What `twistd tcpdl` runs: the service made of its options.

Imports `tcpdl.daemon`, `tcpdl.admin`, `tcpdl.ports`, `tcpdl.options`, `tcpdl.server`,
`tcpdl.content` and `tcpdl.sandbox`. The reactor is looked up when the service is made: twistd has
installed the one that was chosen by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.logger import Logger

from tcpdl.admin.provider import Provider, SingleProcess
from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.content.mounts import Mounts
from tcpdl.daemon import Daemon
from tcpdl.in_place import Parts, change_in_place, hosts, tell_of_wrong_logins
from tcpdl.logs.destination import Lines
from tcpdl.logs.rotating import Rotations
from tcpdl.options.daemon import Options, advised, leave
from tcpdl.ports import Opened, open_ports
from tcpdl.ports import announce as announce_port
from tcpdl.reloading import Reloading, announce
from tcpdl.sandbox import restrict
from tcpdl.server.activation import ECHO, TLS
from tcpdl.server.certificate import BadCertificate, Credentials
from tcpdl.server.descriptors import share
from tcpdl.server.echo import EchoFactory
from tcpdl.server.front import FrontFactory
from tcpdl.server.http import HttpFactory
from tcpdl.server.http_answers import HttpAnswers
from tcpdl.server.listening import CannotListen, Listening
from tcpdl.server.native import NativeFactory
from tcpdl.server.notify import Notifier
from tcpdl.server.raw import RawFactory
from tcpdl.server.unencrypted import refusing
from tcpdl.wire.text import visible

__all__ = ["Options", "advised", "confine", "makeService", "make_daemon"]

ADMIN = "admin"
"""The name of the service that is the administrator's port."""

_log = Logger()


def makeService(options: Options) -> IService:
    """The daemon that `options` describe, its root and its ports open already.

    Raises `CannotListen`; below twistd or twist, says so in one line and exits with 1.
    """
    from twisted.internet import reactor

    try:
        service: IService = whole(options, reactor)
    except CannotListen as error:
        if options.parent is None:
            raise
        leave(str(error), 1)
    return service


def whole(options: Options, reactor: Any) -> Any:
    """All that this process is for, on `reactor`: the `Daemon` that `options` describe, or the
    `Parent` of processes that are it. Raises `CannotListen`."""
    notifier = Notifier(os.environ)
    if options["workers"] is not None:
        from tcpdl.processes.parent import make_parent

        parent = make_parent(options, reactor, check(options, reactor), notifier)
        rotations = Rotations(reactor)
        parent.addService(rotations)
        parent.at_start(rotations.begin)
        _administer(parent, parent.counting, options, reactor)
        parent.at_start(partial(announce, options))
        return parent
    daemon = make_daemon(options, reactor)
    _administer(daemon, SingleProcess(daemon), options, reactor)
    daemon.report_to(notifier)
    daemon.at_start(partial(announce, options))
    Reloading(daemon, options, os.environ)
    confine(daemon, options)
    daemon.drain_on_sigterm(options["drain"])
    return daemon


def _administer(service: MultiService, provider: Provider, options: Options, reactor: Any) -> None:
    """Have `service` answer on the administrator's port, if there is to be one, with what
    `provider` knows. Raises `CannotListen`."""
    if options["admin"] is None:
        return
    from tcpdl.admin.serving import AdminService  # it takes a tenth of a second to import

    try:
        admin = AdminService(reactor, provider, options["admin"], options.later_owner())
        admin.setName(ADMIN)
        service.addService(admin)
    except CannotListen:
        service.stopService()
        raise


def confine(daemon: Daemon, options: Options) -> None:
    """Have `daemon` give up, when it starts, what it does not need, unless `options` say otherwise.

    It concerns the whole process, and is for good.
    """
    if options["no-sandbox"]:
        return
    files = [*options.tls_files(), *options.access_files(), *options.files()]
    needs = options.needs(daemon.roots, files, daemon.sockets(), options.access_log_folders())

    def begin() -> None:
        outcome = restrict(needs)
        (_log.warn if outcome.kept else _log.info)("{outcome}", outcome=visible(str(outcome)))

    daemon.at_start(begin)


def make_daemon(options: Options, reactor: Any, ports: Iterable[Opened] | None = None) -> Daemon:
    """The daemon that `options` describe, on `reactor`: on the ports that they name, or on `ports`,
    which somebody else has opened. Raises `CannotListen`."""
    daemon, _ = _make(options, reactor, ports)
    return daemon


def check(options: Options, reactor: Any) -> Credentials | None:
    """Whether such a daemon can be made, on ports that others open; returns what it would prove
    itself with. Raises `CannotListen`."""
    daemon, directory = _make(options, reactor, ())
    daemon.stopService()
    directory.close()
    return daemon.credentials


def _make(
    options: Options, reactor: Any, ports: Iterable[Opened] | None
) -> tuple[Daemon, Directory | Mounts]:
    directory = options.open_content()
    daemon = Daemon(
        reactor,
        sendfile=not options["no-sendfile"],
        rates=options.rates(),
        limits=options.limits(),
        accepts=options.accepts(),
        times=options.times(),
    )
    daemon.at_start(partial(share, daemon.crowd, directory.files, options.files_most()))
    daemon.roots = directory.descriptors()
    proxies = options.proxies()
    if proxies is not None:
        daemon.believe(proxies)
    try:
        serve_on = _serving(daemon, directory, options, reactor)
        for port in open_ports(options, reactor) if ports is None else ports:
            listening = serve_on(port)
            if ports is None:
                announce_port(options, port.kind, listening.bound or port.description or "")
    except CannotListen:
        daemon.stopService()
        directory.close()
        raise
    return daemon, directory


def _serving(
    daemon: Daemon, directory: Directory | Mounts, options: Options, reactor: Any
) -> Callable[[Opened], Listening]:
    """What has `daemon` serve what there is for a port on it."""
    lines = _log_answers(daemon, options, reactor)
    admission = options.admission(directory, daemon.workers, reactor)
    if admission is not None:
        if isinstance(directory, Mounts):
            daemon.at_start(partial(_tell_of_nested, directory))
        daemon.read_again(admission)
        tell_of_wrong_logins(daemon, admission)
    raw = RawFactory(
        directory,
        reactor,
        daemon.deadlines,
        quiet=options["quiet-period"] / 1000,
        encodings=options["name-encodings"],
        admission=admission,
        transfers=daemon.transfers,
    )
    _take_credentials(daemon, options)
    digests = Digests(options["state-dir"], warn=_warn)
    daemon.digests = digests
    daemon.at_start(digests.begin)
    daemon.close_at_end(digests.close)
    native = NativeFactory(
        directory,
        daemon.deadlines,
        digests,
        daemon.workers,
        admission=admission,
        requests_most=options["max-requests"],
        transfers=daemon.transfers,
    )
    answers = HttpAnswers(
        directory,
        digests,
        daemon.workers,
        index=options["index"],
        precompressed=options["precompressed"],
        hosts=hosts(options),
        admission=admission,
    )
    most = options["max-requests"]
    transfers = daemon.transfers
    http = HttpFactory(answers, daemon.deadlines, requests_most=most, transfers=transfers)
    dialects = (daemon.deadlines, raw, native, http)
    others = refusing(daemon.deadlines, transfers) if daemon.credentials else None
    encrypted = FrontFactory(*dialects, unencrypted=others, transfers=transfers)
    required = others if options["tls-required"] else None
    front = FrontFactory(*dialects, unencrypted=required, transfers=transfers)
    echo = EchoFactory(daemon.deadlines, options["echo-reply"], transfers=transfers)
    parts = Parts(directory, raw, native, http, front, others, echo, answers, admission, lines)
    change_in_place(daemon, parts, reactor)

    def serve_on(port: Opened) -> Listening:
        try:
            if port.kind == ECHO:
                return daemon.listen(port.endpoint, echo, speaks=False)
            by = encrypted if port.kind == TLS else front
            return daemon.listen(port.endpoint, by, tls=True)
        except CannotListen as error:
            if port.description is None:
                raise
            raise CannotListen(f"--listen {port.description}: {error}") from error

    return serve_on


def _take_credentials(daemon: Daemon, options: Options) -> None:
    """Find what is to be encrypted with, if anything is. Raises `CannotListen`."""
    try:
        credentials = options.credentials()
    except BadCertificate as error:
        raise CannotListen(f"no TLS: {error}") from error
    if credentials is not None:
        daemon.encrypt_with(credentials)


def _tell_of_nested(mounts: Mounts) -> None:
    """Whoever writes rules for one may not think of the other."""
    for inner, outer in mounts.nested():
        _warn(
            f"--mount {os.fsdecode(inner)}: its folder can be had by --mount {os.fsdecode(outer)} "
            "as well, of which other rules may hold"
        )


def _log_answers(daemon: Daemon, options: Options, reactor: Any) -> Lines:
    """Have a line written for each answer, unless none are to be. Raises `CannotListen`."""
    rotations = Rotations(reactor)
    daemon.addService(rotations)
    daemon.at_start(rotations.begin)
    lines = Lines(daemon.transfers, reactor, _warn)
    where = options.access_log()
    try:
        lines.go_to(where, options.later_owner())
    except OSError as error:
        raise CannotListen(
            f"--access-log: {where.file} cannot be written: {error.strerror}"
        ) from error
    rotations.add(lines.reopen)
    daemon.close_at_end(lines.close)
    daemon.lines_lost = lambda: lines.lost
    return lines


def _warn(problem: str) -> None:
    _log.warn("{problem}", problem=visible(problem))
