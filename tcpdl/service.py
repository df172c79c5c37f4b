"""What `twistd tcpdl` runs: the service made of its options.

Imports `tcpdl.options`, `tcpdl.server`, `tcpdl.content` and `tcpdl.sandbox`. The reactor is looked
up when the service is made, since twistd has installed the one that was chosen by then.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger

from tcpdl.content.digests import Digests
from tcpdl.content.directory import Directory
from tcpdl.options.daemon import Options, leave
from tcpdl.sandbox import restrict
from tcpdl.server import epoll
from tcpdl.server.accepting import Accepting
from tcpdl.server.access import AccessLog
from tcpdl.server.admission import Admission
from tcpdl.server.certificate import BadCertificate, Credentials
from tcpdl.server.crowd import Crowd, Limits
from tcpdl.server.deadlines import Deadlines, Times, run_on_monotonic_clock
from tcpdl.server.descriptors import share
from tcpdl.server.echo import EchoFactory
from tcpdl.server.front import FrontFactory
from tcpdl.server.hangup import Hangups
from tcpdl.server.http import HttpFactory
from tcpdl.server.http_answers import HttpAnswers
from tcpdl.server.listening import CannotListen, Listening, adopt, bind
from tcpdl.server.native import NativeFactory
from tcpdl.server.raw import RawFactory
from tcpdl.server.renewing import Renewing
from tcpdl.server.shaping import NO_LIMIT, Rates, Shaper
from tcpdl.server.unencrypted import refusing
from tcpdl.server.warming import Warmer
from tcpdl.server.working import Workers
from tcpdl.web.hosts import Hosts
from tcpdl.wire.text import visible

__all__ = ["Daemon", "Options", "confine", "makeService", "make_daemon"]

_log = Logger()


class Daemon(MultiService):
    """All ports of one daemon, and what their connections share."""

    credentials: Credentials | None = None
    """What its ports prove themselves with, if they speak TLS."""

    def __init__(
        self,
        reactor: Any,
        *,
        sendfile: bool = True,
        rates: Rates = NO_LIMIT,
        limits: Limits = Limits(),  # noqa: B008
        accepts: int = 0,
        times: Times = Times(),  # noqa: B008
    ) -> None:
        """`accepts` is how many connections are accepted in a second; 0: any number."""
        super().__init__()
        self.deadlines = Deadlines(reactor, times)
        self.crowd = Crowd(limits)
        self._accepting = Accepting(reactor, self.crowd, self.deadlines, rate=accepts)
        self._reactor = reactor
        self._sendfile = os.sendfile if sendfile else None
        self._connections: Any = None
        self._to_begin: list[Callable[[], None]] = []
        self._to_close: list[Callable[[], None]] = []
        self._warmer = Warmer(reactor)
        self._shaper = Shaper(rates, reactor) if any(rates) else None
        self.workers = Workers(reactor)
        self.hangups = Hangups(reactor)
        self.addService(self.hangups)
        self.root = -1
        """A descriptor of the folder that is served."""
        self.addService(self._warmer)
        self.addService(self.workers)

    def listen(
        self,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        *,
        tls: bool = False,
        speaks: bool = True,
    ) -> None:
        """Open the port of `endpoint`, and serve `factory` on it while the daemon runs; with `tls`,
        over TLS as well, if there are credentials. One that `speaks` our dialects says in them
        when there is no room for another connection.

        Raises `CannotListen`.
        """
        sending: dict[str, Any] = {"sendfile": self._sendfile, "warmer": self._warmer}
        if tls and self.credentials is not None:
            sending["tls"] = self.credentials.context
        sending["shaper"] = self._shaper
        shared, accepting = self._shared_connections, self._accepting
        self.addService(Listening(endpoint, factory, shared, accepting, speaks=speaks, **sending))

    def encrypt_with(self, credentials: Credentials) -> None:
        """Have ports that are to speak TLS prove themselves with these, which are read again when
        they change, and on SIGHUP."""
        self.credentials = credentials
        self.at_start(credentials.begin)
        self.hangups.add(credentials.reload)
        self.addService(Renewing(credentials, self._reactor))

    def read_again(self, admission: Admission) -> None:
        """Have files that say who may read what be read again when they change, whether anybody
        asks for something or not, and on SIGHUP."""
        self.at_start(admission.reload)
        self.hangups.add(admission.reload)
        self.addService(Renewing(admission, self._reactor))

    def sockets(self) -> Iterator[str]:
        """The paths of Unix sockets that are listened on."""
        for service in self:
            port = service.port if isinstance(service, Listening) else None
            address = port.getHost() if port is not None else None
            if isinstance(address, UNIXAddress) and address.name:
                name = os.fsdecode(address.name)
                if not name.startswith("\0"):
                    yield name

    def startService(self) -> None:
        run_on_monotonic_clock(self._reactor)
        _collect_seldom()
        self.hangups.begin()
        for begin in self._to_begin:
            begin()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Stop all, and then close what was given to `close_at_end`."""
        stopped: Deferred[Any] = maybeDeferred(super().stopService)
        return stopped.addCallback(lambda _: self._close())

    def at_start(self, begin: Callable[[], None]) -> None:
        """Call `begin` when the daemon starts: what it says comes to the log, privileges have been
        dropped, and there are no threads yet."""
        self._to_begin.append(begin)

    def close_at_end(self, close: Callable[[], None]) -> None:
        """Call `close` once all services have stopped."""
        self._to_close.append(close)

    def _close(self) -> None:
        while self._to_close:
            self._to_close.pop()()

    def _shared_connections(self) -> Any:
        if self._connections is None:
            available = epoll.available()
            self._connections = epoll.EpollSet(self._reactor) if available else self._reactor
        return self._connections


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


def _collect_seldom() -> None:
    """Look for garbage less often: a page of 10,000 names is a fifth faster for it, and hardly
    anything here is garbage that refers to itself."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
