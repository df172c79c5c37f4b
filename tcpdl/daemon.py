"""The daemon: all its ports, and what their connections share.

Imports `tcpdl.server` and `tcpdl.content`. `tcpdl.service` makes one of what the options say.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint

from tcpdl.content.digests import Digests
from tcpdl.server import epoll
from tcpdl.server.accepting import Accepting
from tcpdl.server.admission import Admission
from tcpdl.server.certificate import Credentials
from tcpdl.server.changes import Apply, Changes
from tcpdl.server.crowd import Crowd, Limits
from tcpdl.server.deadlines import Deadlines, Times, run_on_monotonic_clock
from tcpdl.server.draining import Draining
from tcpdl.server.hangup import Hangups
from tcpdl.server.lag import LoopLag
from tcpdl.server.listening import Listening
from tcpdl.server.metrics import Metrics
from tcpdl.server.notify import Notifier, Watchdog
from tcpdl.server.process import ThisProcess
from tcpdl.server.proxied import Proxies
from tcpdl.server.renewing import Renewing
from tcpdl.server.shaping import NO_LIMIT, Rates, Shaper
from tcpdl.server.termination import Termination
from tcpdl.server.transfers import Transfers
from tcpdl.server.warming import Warmer
from tcpdl.server.working import Workers


class Daemon(MultiService):
    """All ports of one daemon, and what their connections share."""

    credentials: Credentials | None = None
    """What its ports prove themselves with, if they speak TLS."""
    admission: Admission | None = None
    """Who may read what, if anybody may not read all."""
    digests: Digests | None = None
    """Those of the files that are served."""

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
        self.metrics = Metrics()
        self.deadlines = Deadlines(reactor, times, self.metrics)
        self.crowd = Crowd(limits)
        self.transfers = Transfers(reactor)
        """What is being sent, and who wants to know what became of it."""
        self.transfers.on_end.append(self.metrics.ended)
        self.accepting = Accepting(
            reactor, self.crowd, self.deadlines, rate=accepts, transfers=self.transfers
        )
        self._reactor = reactor
        self._sendfile = _sendfile(sendfile)
        self._connections: Any = None
        self._draining: Draining | None = None
        self.drain_seconds = 0.0
        """What clients get when SIGTERM ends it."""
        self._termination: Termination | None = None
        self._to_begin: list[Callable[[], None]] = []
        self._to_close: list[Callable[[], None]] = []
        self.warmer = Warmer(reactor)
        self._shaper = Shaper(rates, reactor) if any(rates) else None
        self.workers = Workers(reactor)
        self.changes = Changes()
        self._notifier = Notifier({})
        self.lag = LoopLag(reactor)
        self.addService(self.lag)
        self.process = ThisProcess()
        self.at_start(self.process.begin)
        self.close_at_end(self.process.close)
        self.hangups = Hangups(reactor)
        self.addService(self.hangups)
        self.lines_lost: Callable[[], int] = int
        """Says how many lines for answers could not be written."""
        self.roots: Sequence[int] = ()
        """Descriptors of the folders that are served."""
        self.addService(self.warmer)
        self.addService(self.workers)

    def listen(
        self,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        *,
        tls: bool = False,
        speaks: bool = True,
    ) -> Listening:
        """Open the port of `endpoint`, and serve `factory` on it while the daemon runs; with `tls`,
        over TLS as well, if there are credentials. One that `speaks` our dialects says in them
        when there is no room for another connection.

        Raises `CannotListen`.
        """
        sending: dict[str, Any] = {"sendfile": self._sendfile, "warmer": self.warmer}
        if tls and self.credentials is not None:
            sending["tls"] = self.credentials.context
        sending["shaper"] = self._shaper
        sending["metrics"] = self.metrics
        shared, accepting = self._shared_connections, self.accepting
        port = Listening(endpoint, factory, shared, accepting, speaks=speaks, **sending)
        self.addService(port)
        return port

    def encrypt_with(self, credentials: Credentials) -> None:
        """Have ports that are to speak TLS prove themselves with these, which are read again when
        they change, and on SIGHUP."""
        self.credentials = credentials
        self.at_start(credentials.begin)
        self.hangups.add(credentials.reload)
        self.addService(Renewing(credentials, self._reactor))

    def believe(self, proxies: Proxies | None) -> None:
        """Have their connections to come begin with a header that says whose they are; nobody's,
        if there is none."""
        self.accepting.proxies = proxies

    def read_again(self, admission: Admission) -> None:
        """Have files that say who may read what be read again when they change, whether anybody
        asks for something or not, and on SIGHUP."""
        self.admission = admission
        self.at_start(admission.reload)
        self.hangups.add(admission.reload)
        self.addService(Renewing(admission, self._reactor))

    def send_at(self, rates: Rates) -> bool:
        """Send at these rates from now on; that of one connection holds for those to come. Returns
        whether the others hold for connections that there are, too."""
        first = self._shaper is None
        if self._shaper is None:
            self._shaper = Shaper(rates, self._reactor)
        else:
            self._shaper.change(rates)
        for service in self._listening():
            service.change(shaper=self._shaper if any(rates) else None)
        return not first

    def send_by(self, *, sendfile: bool) -> None:
        """Send by sendfile(2), or read and write, over connections to come."""
        self._sendfile = _sendfile(sendfile)
        for service in self._listening():
            service.change(sendfile=self._sendfile)

    def accept_at(self, rate: int) -> None:
        """Accept so many connections in a second from now on; 0: any number."""
        self.accepting.change(rate)

    def on_reload(self, names: Iterable[str], apply: Apply) -> None:
        """Call `apply` with the new options when the configuration has been read again and any of
        the options `names` has changed. Those that nobody registers need a restart."""
        self.changes.on(names, apply)

    def report_to(self, notifier: Notifier) -> None:
        """Tell the service manager when the daemon serves, reads its files again, and ends."""
        self._notifier = self.hangups.notifier = notifier
        self.addService(Watchdog(notifier, self._reactor))
        self.close_at_end(notifier.close)

    @property
    def shaper(self) -> Shaper | None:
        """What says who may send, and how much, if there are limits of rate."""
        return self._shaper

    def sockets(self) -> Iterator[str]:
        """The paths of Unix sockets that are listened on."""
        for service in self._listening():
            address = service.port.getHost() if service.port is not None else None
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
        self._notifier.ready()

    def drain(self, seconds: float, *, last: bool = False) -> Deferred[None]:
        """Accept nothing more, and let the connections end: each once it has what it asked for.
        Those that have not after `seconds` are reset. Fires when all are gone.

        Who waits in the backlog of a port is accepted before it is closed, unless somebody else
        has opened that, and keeps it for those who come after us; if we are the `last`, nobody
        does. A daemon that drains already does so for no longer than that.
        """
        if self._draining is not None:
            return self._draining.hasten(seconds)
        self._draining = Draining(self._reactor, self.deadlines)
        ports = [port.retire(last=last) for port in self._listening()]
        return self._draining.begin(seconds, ports)

    def drain_on_sigterm(self, seconds: float) -> None:
        """Have SIGTERM `drain` the daemon before it ends; a second one, or SIGINT, ends it at once.
        For the one daemon of a process."""
        self.drain_seconds = seconds
        self._termination = Termination(self._reactor, self._hurry)
        self.at_start(self._termination.begin)
        self.close_at_end(self._termination.end)

    def _hurry(self) -> None:
        if self._draining is not None:
            self._draining.hasten(0)

    def stopService(self) -> Deferred[None]:
        """Stop all, and then close what was given to `close_at_end`."""
        drains = self._termination is not None and self._termination.gives_time
        self._notifier.stopping(self.drain_seconds if drains else 0)
        drained: Deferred[Any] = self.drain(self.drain_seconds) if drains else succeed(None)
        drained.addCallback(self._stop)
        return drained.addCallback(lambda _: self._close())

    def _stop(self, _: Any) -> Any:
        self.transfers.stopping = True
        return super().stopService()

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

    def _listening(self) -> list[Listening]:
        return [service for service in self if isinstance(service, Listening)]

    def _shared_connections(self) -> Any:
        if self._connections is None:
            available = epoll.available()
            self._connections = epoll.EpollSet(self._reactor) if available else self._reactor
        return self._connections


def _sendfile(wanted: bool) -> Any:
    return os.sendfile if wanted else None


def _collect_seldom() -> None:
    """Look for garbage less often: a page of 10,000 names is a fifth faster for it, and hardly
    anything here is garbage that refers to itself."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
