"""`python -m tcpdl.processes.worker REACTOR NAME`: a worker, which its parent starts.

Imports `tcpdl.service` and the modules beside it. It serves on sockets that it was given, as the
daemon that its parent's options describe. It ends when its parent has, however that came about.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import FilteringLogObserver, Logger, globalLogBeginner
from twisted.python import usage

import tcpdl
from tcpdl.admin.provider import daemon_snapshot, daemon_status
from tcpdl.daemon import Daemon
from tcpdl.processes.channel import Channel, connect
from tcpdl.processes.events import Sender
from tcpdl.processes.process import CHANNEL_FD, PROTOCOL, TERMINAL
from tcpdl.processes.sharing import Partner
from tcpdl.processes.sockets import Handed, adopt_handed
from tcpdl.server.listening import CannotListen, WithoutPorts
from tcpdl.service import Options, confine, make_daemon

ALIVE_SECONDS = 1.0
"""How often it says that it lives."""

END_SECONDS = 5
"""What it may take to end, once it is alone."""

_log = Logger()


class _Options(Options):
    """What the parent's options mean to a worker."""

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__({})  # the words have what the environment says
        self._kinds = kinds

    def handed_over(self) -> Sequence[str]:
        return self._kinds


class Worker:
    """The daemon in this process, as the parent wants it."""

    def __init__(self, reactor: Any, channel: Channel) -> None:
        self._reactor = reactor
        self._channel = channel
        self._daemon: Daemon | None = None
        self._options: Options | None = None
        self._partner: Partner | None = None
        self._ending = False
        self._alive = LoopingCall(self._say)
        self._alive.clock = reactor
        channel.on("serve", self._serve)
        channel.on("drain", self._told_to_drain)
        channel.on("end", lambda _: self.end())
        channel.on("status", self._answer)
        channel.on_close = self._alone

    def drain(self, seconds: float | None = None, *, last: bool = False) -> None:
        """Accept nothing more, give clients what they have asked for within so many seconds, and
        end; the options say how many, if nobody does. As `Daemon.drain` has it, `last` says that
        nobody accepts after this one."""
        if self._daemon is None or self._options is None:
            self.end()
            return
        if self._ending:
            return
        self._ending = True
        self._channel.tell("draining")
        if seconds is None:
            seconds = float(self._options["drain"])
        drained = self._daemon.drain(seconds, last=last)
        drained.addErrback(lambda failure: _log.failure("unexpected error", failure))
        drained.addCallback(lambda _: self.end())

    def _told_to_drain(self, content: dict[str, Any]) -> None:
        self.drain(float(content["seconds"]), last=bool(content["last"]))

    def end(self) -> None:
        """End at once: what goes on is reset, and the parent told what came of it."""
        self._ending = True
        drained = self._daemon.drain(0) if self._daemon is not None else succeed(None)
        drained.addCallback(lambda _: self._stop())
        drained.addErrback(lambda failure: _log.failure("unexpected error", failure))
        drained.addCallback(lambda _: self._channel.close())

    def _stop(self) -> Deferred[Any] | None:
        if self._alive.running:
            self._alive.stop()
            self._say()
        if self._partner is not None:
            self._partner.stop()
        daemon, self._daemon = self._daemon, None
        return None if daemon is None else daemon.stopService()

    def _serve(self, content: dict[str, Any]) -> None:
        try:
            if content["protocol"] != PROTOCOL:
                raise CannotListen(
                    f"its program is tcpdl {tcpdl.__version__}, another one than its parent's; "
                    "restart the daemon"
                )
            ports = [Handed(*one) for one in content["ports"]]
            self._start(content["words"], ports, content["workers"])
        except Exception as error:  # noqa: BLE001 - what it is, the parent can say best
            if not isinstance(error, (CannotListen, usage.UsageError, OSError)):
                _log.failure("unexpected error")
            self._channel.tell("failed", why=str(error) or repr(error))
            self.end()
            return
        self._channel.tell("ready", version=tcpdl.__version__)
        self._alive.start(ALIVE_SECONDS)

    def _start(self, words: list[str], ports: list[Handed], workers: int) -> None:
        self._options = options = _Options([port.kind for port in ports])
        options.read(words)
        for name in ("max-accepts", "max-files"):
            options[name] = -(
                -options[name] // workers
            )  # no less than one, unless it is any number
        adopted = [adopt_handed(self._reactor, one) for one in ports]
        self._daemon = make_daemon(options, self._reactor, adopted)
        confine(self._daemon, options)
        self._daemon.startService()
        # A terminal tells it to all processes, and the parent says what is to be done.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._partner = Partner(self._daemon, self._channel, self._reactor)
        self._partner.start()

    def _say(self) -> None:
        if self._daemon is not None:
            self._channel.tell("alive", snapshot=daemon_snapshot(self._daemon))

    def _answer(self, content: dict[str, Any]) -> None:
        if self._daemon is not None:
            status = daemon_status(self._daemon)
            self._channel.tell("status", number=content["number"], status=status)

    def _alone(self) -> None:
        # Whatever keeps it: without a parent, nobody else would end it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(END_SECONDS)
        stopped = maybeDeferred(self._stop)
        stopped.addErrback(lambda failure: _log.failure("unexpected error", failure))
        stopped.addCallback(lambda _: self._reactor.stop())


def main(arguments: Sequence[str]) -> None:
    """Serve as the parent says."""
    module, *_ = arguments
    importlib.import_module(module).install()
    from twisted.internet import reactor

    running: Any = reactor
    for number in TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINAL)
    channel = Channel("the parent")
    worker = Worker(running, channel)
    signal.signal(signal.SIGTERM, lambda *_: running.callFromThread(worker.drain))
    log = FilteringLogObserver(Sender(channel), [WithoutPorts()])
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
    connect(running, CHANNEL_FD, channel)
    os.close(CHANNEL_FD)
    running.run(installSignalHandlers=False)


if __name__ == "__main__":
    main(sys.argv[1:])
