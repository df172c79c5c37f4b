"""A worker as its parent sees it: a process, and the channel to it. Imports the modules beside it.

It is made ready, serves, drains and ends. What the parent has to know comes as two deferreds, for
when it serves and for when it is over; who asks for more has it from the channel.
"""

from __future__ import annotations

import os
import signal
import site
import socket
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

from tcpdl.processes.channel import Channel, connect
from tcpdl.processes.events import unpacked
from tcpdl.processes.sockets import Handed, Shared
from tcpdl.wire.text import printable, visible

PROTOCOL = 1
"""The version of what parent and worker tell each other. A worker is of the program as it is on
disk when it starts, which may be newer than its parent."""

CHANNEL_FD = 3
"""The worker's descriptor of its end of the channel. The sockets that it listens on follow."""

LINE_MOST = 4096
"""Bytes of a line of a worker's standard error that reach the log."""

LINES_MOST = 500
"""Lines of what it says there at once that do."""

LAST_SECONDS = 5.0
"""How long a process may last without its channel, and its channel and standard error without it:
a process that it has started may have these."""

TERMINAL = frozenset((signal.SIGINT, signal.SIGHUP))
"""What a terminal tells to all processes at once. It is the parent who says what is to be done: to
workers it does not come before they have said that they ignore it."""

_NOT_PASSED_ON = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""Variables that are the parent's business."""

_log = Logger()


class CannotStart(Exception):
    """A worker did not come to serve; the text says why."""


class Order(NamedTuple):
    """What all workers are started with."""

    words: list[str]
    """`Options.words`: all settings, with absolute paths."""
    module: str
    """Of the reactor, which is installed by importing and calling it."""


class Process(ProcessProtocol):
    """A worker."""

    def __init__(self, number: int, clock: Any) -> None:
        """`number` is that of its place, from 0; `clock` is an `IReactorTime`."""
        self.number = number
        self.name = name = f"worker-{number + 1}"
        self._clock = clock
        self.channel = Channel(name)
        self.pid = 0
        self.serves = False
        self.drains = False
        """It accepts nothing more, and will end."""
        self.since = 0.0
        """When it began to serve, on the clock of whoever notes it."""
        self.silence = 0
        """How often the parent has looked since it said something."""
        self.ready: Deferred[Process] = Deferred()
        """Fires when it serves, or fails with `CannotStart`."""
        self.over: Deferred[str] = Deferred()
        """Fires when it has ended, with how, as a part of a sentence."""
        self._why = ""
        self._how = ""
        self._last: IDelayedCall | None = None
        self._rest: IDelayedCall | None = None
        self._lines = bytearray()
        for kind, call in (
            ("ready", self._is_ready),
            ("failed", self._failed),
            ("log", self._logs),
        ):
            self.channel.on(kind, call)
        self.channel.on_sign = self._sign
        self.channel.on_close = self._closed

    @property
    def running(self) -> bool:
        """Whether there is such a process."""
        return self.pid > 0

    def end(self, why: str = "") -> None:
        """Tell it to end at once; `kill` is for one that does not."""
        self._why = self._why or why
        self.drains = True
        self.channel.tell("end")

    def drain(self, seconds: float, *, last: bool) -> None:
        """Tell it to accept nothing more, to give its clients what they have asked for within so
        many seconds, and to end. Nobody has its sockets any more if it is the `last`."""
        self.drains = True
        self.channel.tell("drain", seconds=seconds, last=last)

    def kill(self, why: str = "") -> None:
        """Have the system end it."""
        self._why = self._why or why
        transport: Any = self.transport
        with suppress(ProcessExitedAlready):
            transport.signalProcess("KILL")

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.pid = transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        # Of a worker that has no log yet, or not any more.
        *lines, rest = bytes(self._lines + data).split(b"\n")
        if len(rest) >= LINE_MOST:
            lines.append(rest)
            rest = b""
        self._lines[:] = rest
        for line in lines[:LINES_MOST]:
            self._print(line[:LINE_MOST])
        if len(lines) > LINES_MOST:
            self._print(b"%d more lines" % (len(lines) - LINES_MOST))

    def processExited(self, reason: Failure) -> None:
        self._rest = self._clock.callLater(LAST_SECONDS, self._leave)

    def _leave(self) -> None:
        # Somebody else has its standard error, for whom it is not waited.
        transport: Any = self.transport
        transport.closeChildFD(2)

    def processEnded(self, reason: Failure) -> None:
        if self._rest is not None and self._rest.active():
            self._rest.cancel()
        self.pid = 0
        self.serves = False
        if self._lines:
            self._print(bytes(self._lines))
        self._how = _how(reason.value)
        if self.channel.open:  # what it has told last is to be read
            self._last = self._clock.callLater(LAST_SECONDS, self.channel.abort)
        else:
            self._finish()

    def _closed(self) -> None:
        self._cancel()
        if self._how:
            self._finish()
        elif self.running:  # it ends by itself, if it can
            self._last = self._clock.callLater(LAST_SECONDS, self.kill)

    def _cancel(self) -> None:
        if self._last is not None and self._last.active():
            self._last.cancel()

    def _finish(self) -> None:
        self._cancel()
        how = self._why or self._how
        if not self.ready.called:
            self.ready.errback(Failure(CannotStart(how)))
        self.over.callback(how)

    def _print(self, line: bytes) -> None:
        _log.warn("{name}: {line}", name=self.name, line=printable(line.decode("utf-8", "replace")))

    def _sign(self) -> None:
        self.silence = 0

    def _is_ready(self, content: dict[str, Any]) -> None:
        self.serves = True
        if not self.ready.called:
            self.ready.callback(self)

    def _failed(self, content: dict[str, Any]) -> None:
        why = visible(str(content["why"]))[:LINE_MOST]
        self._why = self._why or why
        if not self.ready.called:
            self.ready.errback(Failure(CannotStart(why)))

    def _logs(self, content: dict[str, Any]) -> None:
        globalLogPublisher(unpacked(content, self.name, self.pid))


def _how(error: Any) -> str:
    if error.signal is not None:
        return f"signal {error.signal}"
    return f"status {error.exitCode}"


def spawn(
    reactor: Any, order: Order, number: int, workers: int, shared: Sequence[Shared]
) -> Process:
    """Start a worker, number `number` from 0 of so many, which is to serve on its part of `shared`.

    Raises `OSError`.
    """
    process = Process(number, reactor)
    fds: dict[int, int] = {}
    handed: list[Handed] = []
    for one in shared:
        for sock in one.of(number, workers):
            fd = CHANNEL_FD + 1 + len(handed)
            fds[fd] = sock
            handed.append(Handed(fd, one.kind, one.family, one.description, one.wrapped))
    ours, theirs = socket.socketpair()
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL)  # which a process hands down
    try:
        process.channel.on_open = lambda: process.channel.tell(
            "serve",
            protocol=PROTOCOL,
            words=order.words,
            workers=workers,
            ports=handed,
        )
        connect(reactor, ours.fileno(), process.channel)
        reactor.spawnProcess(
            process,
            sys.executable,
            [sys.executable, "-m", "tcpdl.processes.worker", order.module, process.name],
            env=_environment(os.environ, sys.path),
            # Where modules would be looked for, in old Pythons. All paths in `words` are absolute.
            path="/",
            # Its log comes over the channel; to standard output goes what somebody has sent there.
            childFDs={0: null, 1: 1, 2: "r", CHANNEL_FD: theirs.fileno(), **fds},
        )
    except BaseException:
        process.channel.abort()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(null)
        ours.close()
        theirs.close()
    return process


def _environment(environ: Mapping[str, str], path: Sequence[str]) -> dict[str, str]:
    """The environment of a worker: it imports what this process does, and from nowhere else.

    Where interpreters look by themselves is left out: the one that is installed by then may be
    another one, which the modules of this one would keep from starting.
    """
    found = {name: value for name, value in environ.items() if name not in _NOT_PASSED_ON}
    given = environ.get("PYTHONPATH", "").split(os.pathsep)
    own = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    own |= {*site.getsitepackages(), site.getusersitepackages()}
    places = [
        place
        for place in path
        if os.path.isabs(place)
        and (place in given or not any(f"{place}/".startswith(f"{one}/") for one in own))
    ]
    return {**found, "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}
