"""What `twistd tcpdl` runs: the service made of its options.

Imports `tcpdl.daemon`, `tcpdl.options`, `tcpdl.server`, `tcpdl.content` and `tcpdl.sandbox`. The
reactor is looked up when the service is made: twistd has installed the one that was chosen by then.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

from twisted.application.service import IService
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger

from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.daemon import Daemon
from tcpdl.options.daemon import Options, leave
from tcpdl.sandbox import restrict
from tcpdl.server.access import AccessLog
from tcpdl.server.certificate import BadCertificate
from tcpdl.server.descriptors import share
from tcpdl.server.echo import EchoFactory
from tcpdl.server.front import FrontFactory
from tcpdl.server.http import HttpFactory
from tcpdl.server.http_answers import HttpAnswers
from tcpdl.server.listening import CannotListen, adopt, bind
from tcpdl.server.native import NativeFactory
from tcpdl.server.raw import RawFactory
from tcpdl.server.unencrypted import refusing
from tcpdl.web.hosts import Hosts
from tcpdl.wire.text import visible

__all__ = ["Options", "confine", "makeService", "make_daemon"]

_log = Logger()


def makeService(options: Options) -> IService:
    """The daemon that `options` describe, its root and its ports open already.

    Raises `CannotListen`; below twistd or twist, says so in one line and exits with 1.
    """
    from twisted.internet import reactor

    try:
        daemon = make_daemon(options, reactor)
    except CannotListen as error:
        if options.parent is None:
            raise
        leave(str(error), 1)
    confine(daemon, options)
    return daemon


def confine(daemon: Daemon, options: Options) -> None:
    """Have `daemon` give up, when it starts, what it does not need, unless `options` say otherwise.

    It concerns the whole process, and is for good.
    """
    if options["no-sandbox"]:
        return
    files = [*options.tls_files(), *options.access_files()]
    needs = options.needs(daemon.root, files, daemon.sockets())

    def begin() -> None:
        outcome = restrict(needs)
        (_log.warn if outcome.kept else _log.info)("{outcome}", outcome=visible(str(outcome)))

    daemon.at_start(begin)


def make_daemon(options: Options, reactor: Any) -> Daemon:
    """The daemon that `options` describe, on `reactor`. Raises `CannotListen`."""
    directory = Directory(options["root"], hidden=options["hidden"], symlinks=options["symlinks"])
    daemon = Daemon(
        reactor,
        sendfile=not options["no-sendfile"],
        rates=options.rates(),
        limits=options.limits(),
        accepts=options["max-accepts"],
        times=options.times(),
    )
    daemon.at_start(partial(share, daemon.crowd, directory.files, options["max-files"]))
    daemon.root = directory.fileno()
    try:
        _open_ports(daemon, directory, options, reactor)
    except CannotListen:
        daemon.stopService()
        directory.close()
        raise
    return daemon


def _open_ports(daemon: Daemon, directory: Directory, options: Options, reactor: Any) -> None:
    admission = options.admission(directory, daemon.workers, reactor)
    if admission is not None:
        daemon.read_again(admission)
    raw = RawFactory(
        directory,
        reactor,
        daemon.deadlines,
        quiet=options["quiet-period"] / 1000,
        encodings=options["name-encodings"],
        admission=admission,
    )
    _take_credentials(daemon, options)
    digests = Digests(options["state-dir"], warn=_warn)
    daemon.at_start(digests.begin)
    daemon.close_at_end(digests.close)
    native = NativeFactory(
        directory,
        daemon.deadlines,
        digests,
        daemon.workers,
        admission=admission,
        requests_most=options["max-requests"],
    )
    access = AccessLog(reactor)
    daemon.close_at_end(access.close)
    answers = HttpAnswers(
        directory,
        digests,
        daemon.workers,
        index=options["index"],
        precompressed=options["precompressed"],
        hosts=Hosts(options["http-host"]) if options["http-host"] else None,
        admission=admission,
    )
    most = options["max-requests"]
    http = HttpFactory(answers, daemon.deadlines, access, requests_most=most)
    front = FrontFactory(daemon.deadlines, raw, native, http)
    others = refusing(daemon.deadlines, http) if daemon.credentials else None
    encrypted = FrontFactory(daemon.deadlines, raw, native, http, unencrypted=others)
    if options["tls-required"]:
        front = encrypted
    if options["port"] is not None:
        sock = bind(options["interface"], options["port"])
        _log.info("serving {root!r} on {where}", root=options["root"], where=_where(sock))
        daemon.listen(adopt(reactor, sock), front, tls=True)
    for port, interface in options["listen-tls"]:
        sock = bind(interface, port)
        _log.info(
            "serving {root!r}, over TLS, on {where}", root=options["root"], where=_where(sock)
        )
        daemon.listen(adopt(reactor, sock), encrypted, tls=True)
    if options["echo-port"] is not None:
        sock = bind(options["interface"], options["echo-port"])
        _log.info("echo on {where}", where=_where(sock))
        echo = EchoFactory(daemon.deadlines, options["echo-reply"])
        daemon.listen(adopt(reactor, sock), echo, speaks=False)
    for description in options["listen"]:
        try:
            endpoint = serverFromString(reactor, description)
        except Exception as error:  # parsers of endpoints raise what they like
            raise CannotListen(f"--listen {description}: {error}") from error
        try:
            daemon.listen(endpoint, front, tls=True)
        except CannotListen as error:
            raise CannotListen(f"--listen {description}: {error}") from error


def _take_credentials(daemon: Daemon, options: Options) -> None:
    """Find what is to be encrypted with, if anything is. Raises `CannotListen`."""
    try:
        credentials = options.credentials()
    except BadCertificate as error:
        raise CannotListen(f"no TLS: {error}") from error
    if credentials is not None:
        daemon.encrypt_with(credentials)


def _warn(problem: str) -> None:
    _log.warn("{problem}", problem=visible(problem))


def _where(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
