"""The parent of several workers: it keeps as many running as are wanted, on ports that it opens.

Imports the modules beside it, `server`, `options` and Twisted. It serves nobody itself. What it is
told by a signal, it has the workers do: to end after what they are at (SIGTERM), or to make way for
others that have read the configuration anew (SIGHUP).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python import usage

import tcpdl
from tcpdl.options.daemon import Options
from tcpdl.options.reloads import RELOADS, takes_restart
from tcpdl.processes.confining import restrict_parent
from tcpdl.processes.counting import Counting
from tcpdl.processes.installed import Installed
from tcpdl.processes.process import CannotStart, Order, Process, spawn
from tcpdl.processes.sharing import Sharing
from tcpdl.processes.slot import Slot
from tcpdl.processes.sockets import Shared, close, open_shared, rest
from tcpdl.reloading import changes, refuse
from tcpdl.server.certificate import Credentials
from tcpdl.server.changes import Apply, Changes, Outcome
from tcpdl.server.deadlines import run_on_monotonic_clock
from tcpdl.server.hangup import Hangups
from tcpdl.server.listening import CannotListen
from tcpdl.server.notify import Notifier
from tcpdl.server.termination import Termination
from tcpdl.wire.text import visible

LOOK_SECONDS = 1.0
"""How often it is looked whether workers say something."""

OUTDATED = (
    f"; their parent is of an earlier installation (tcpdl {tcpdl.__version__}), until a restart"
)
"""What is said of workers as long as that is so."""

_log = Logger()


def make_parent(
    options: Options, reactor: Any, credentials: Credentials | None, notifier: Notifier
) -> Parent:
    """The parent of the workers that `options` ask for, which prove themselves with `credentials`;
    their ports are open already. Raises `CannotListen`."""
    of_twistd: Mapping[str, Any] = options.parent or {}
    chroot = of_twistd.get("chroot")
    if chroot and not os.path.exists(os.path.join(chroot, sys.executable.lstrip("/"))):
        raise CannotListen(
            f"--workers starts {sys.executable}, which is not below --chroot {chroot}; leave one "
            "of the two out (workers can read what they serve, and little more)"
        )
    shared, ports = open_shared(options, options["workers"], reactor)
    return Parent(reactor, options, shared, ports, credentials, notifier)


class Parent(MultiService):
    """Keeps workers running on ports that it has opened."""

    def __init__(
        self,
        reactor: Any,
        options: Options,
        shared: Sequence[Shared],
        ports: Sequence[Any],
        credentials: Credentials | None,
        notifier: Notifier,
    ) -> None:
        """`shared` and `ports` are what `open_shared` gave, which are closed in the end."""
        super().__init__()
        self.credentials = credentials
        """What the workers prove themselves with, as far as it is known here."""
        self._notifier = notifier
        self.options = options
        """What the workers run with."""
        self.shared = shared
        self.slots = [
            Slot(reactor, self._starting(number), options["hang-seconds"])
            for number in range(options["workers"])
        ]
        self._reactor = reactor
        self._first = options
        self._ports = ports
        hangups = Hangups(reactor)
        hangups.add(self.reload)
        self.addService(hangups)
        self._hangups = hangups
        self.counting = Counting(self.slots, reactor, hangups)
        self.sharing = Sharing(reactor, lambda: self.options.rates())
        self._changes = Changes()
        self.on_reload(("hang-seconds",), self._watch)
        self.on_spawn: list[Callable[[Process], object]] = [
            *(self.counting.follow, self.sharing.follow, self._follow),
        ]
        """Are called with each worker that is started, before it says anything: to have it tell
        more (`process.channel.on`), or to tell it more, once it serves."""
        self._looks = _calling(self._look, reactor)
        self._pings = _calling(self._ping, reactor)
        self._installed = Installed()
        self._to_begin: list[Callable[[], None]] = []
        self._reloading = False
        self._once_more = False
        self._complete = False
        self._was_complete = False
        self._termination = Termination(reactor, self._end)
        for slot in self.slots:
            slot.on_change = self._changed

    def at_start(self, begin: Callable[[], None]) -> None:
        """Call `begin` when the service starts, before there are workers."""
        self._to_begin.append(begin)

    def on_reload(self, names: Iterable[str], apply: Apply) -> None:
        """Call `apply` with the new options once workers serve by them, if any of the options
        `names` is another one then. What nobody registers is the workers' business."""
        self._changes.on(names, apply)

    def startService(self) -> None:
        run_on_monotonic_clock(self._reactor)
        self._hangups.begin()
        self._termination.begin()
        for begin in self._to_begin:
            begin()
        if not self.options["no-sandbox"]:
            _log.info("{outcome}", outcome=str(restrict_parent()))
        super().startService()
        # Once the reactor runs, it hears of processes that end.
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[Any]:
        """Have all workers drain, if it is SIGTERM that ends us, and end. A further signal ends
        them at once, as SIGINT does."""
        super().stopService()
        self._notifier.stopping(self._drain_seconds())
        for call in (self._looks, self._pings):
            if call.running:
                call.stop()
        close(self.shared, self._ports)
        ended = DeferredList([slot.stop(self._drain_seconds()) for slot in self.slots])
        return ended.addCallback(self._stopped)

    def reload(self) -> None:
        """Read the configuration again, and have other workers serve as it says; those that there
        are drain. If anything is wrong with it, all stays as it is."""
        if not self.running:
            return
        if self._reloading:
            self._once_more = True
            return
        self._notifier.reloading()
        if self._installed.replaced:
            self.counting.remark = OUTDATED
            _log.warn(
                "what is installed was replaced: workers that start are of that now; this process "
                "stays tcpdl {version}, and knows the options of that, until a restart",
                version=tcpdl.__version__,
            )
        try:
            options = self._first.again(os.environ)
        except usage.UsageError as error:
            refuse(error)
            self._notifier.ready(self._says())
            return
        for change in changes(self._first, options):
            if takes_restart(change.name, with_workers=True):
                outcome = Outcome(change, False, (RELOADS[change.name].why,))
                _log.warn("{outcome}", outcome=outcome)
        for change in changes(self.options, options):
            if not takes_restart(change.name, with_workers=True):
                _log.info("{change}", change=change)
        self._reloading = True
        before, self.options = self.options, options
        prepared = [slot.prepare() for slot in self.slots]
        self.options = before  # for those that take a dead one's place meanwhile
        DeferredList(prepared, consumeErrors=True).addCallback(self._prepared, options)

    def _prepared(self, results: list[tuple[bool, Any]], options: Options) -> None:
        self._reloading = False
        if not self.running:
            return  # whoever is next ends with the others
        failures = [result for succeeded, result in results if not succeeded]
        if failures:
            for slot in self.slots:
                slot.abandon()
            for failure in failures[:1]:
                error = failure.value
                why = str(error) if failure.check(CannotStart) else repr(error)
                _log.error("no worker starts anew, all stay as they were: {why}", why=visible(why))
        else:
            seconds = float(self.options["drain"])
            changed = [*changes(self.options, options)]
            self.options = options
            self._changes.apply(changed, options)
            for slot in self.slots:
                slot.advance(seconds)
            _log.info("{count} workers serve in place of those before", count=len(self.slots))
        self._notifier.ready(self._says())
        if self._once_more:
            self._once_more = False
            self.reload()

    def _begin(self) -> None:
        if not self.running:
            return
        if not os.access(sys.executable, os.X_OK):
            _log.critical(
                "no worker can be started: this user may not execute {path}", path=sys.executable
            )
            self._reactor.stop()
            return
        for slot in self.slots:
            slot.begin()
        self._looks.start(LOOK_SECONDS, now=False)
        if self._notifier.watchdog is not None:
            self._pings.start(self._notifier.watchdog / 2)

    def _look(self) -> None:
        for slot in self.slots:
            slot.look()

    def _ping(self) -> None:
        # If no worker answers any more, this is not what the service manager wants to have running.
        if any(slot.answers for slot in self.slots):
            self._notifier.ping()

    def _changed(self) -> None:
        if not self.running:
            return
        if any(slot.answers for slot in self.slots):  # else, all wait for whoever comes first
            for number, slot in enumerate(self.slots):
                if slot.vacant:
                    rest(self.shared, number, len(self.slots))
        complete = all(slot.serves for slot in self.slots)
        if complete and not self._complete:
            _log.info("{count} workers serve", count=len(self.slots))
            if not self._was_complete:
                self._was_complete = True
                self._notifier.ready()
        self._complete = complete
        self._notifier.status(self._says())

    def _says(self) -> str:
        count = sum(slot.serves for slot in self.slots)
        of = "" if count == len(self.slots) else f" of {len(self.slots)}"
        return f"{count}{of} workers serve{self.counting.remark}"

    def _follow(self, process: Process) -> None:
        slot = self.slots[process.number]

        def drains(_: object) -> None:
            slot.retire(process, float(self.options["drain"]))

        process.channel.on("draining", drains)

    def _starting(self, number: int) -> Callable[[], Process]:
        def start() -> Process:
            order = Order(self.options.words, type(self._reactor).__module__)
            process = spawn(self._reactor, order, number, len(self.slots), self.shared)
            for call in self.on_spawn:
                call(process)
            return process

        return start

    def _watch(self, options: Options) -> None:
        for slot in self.slots:
            slot.hang_looks = options["hang-seconds"]

    def _drain_seconds(self) -> float:
        return float(self.options["drain"]) if self._termination.gives_time else 0.0

    def _end(self) -> None:
        for slot in self.slots:
            slot.end()

    def _stopped(self, result: object) -> None:
        self.sharing.stop()
        self._notifier.close()
        self._termination.end()


def _calling(call: Callable[[], None], clock: Any) -> LoopingCall:
    looping = LoopingCall(call)
    looping.clock = clock
    return looping
