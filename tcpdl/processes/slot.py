"""One worker's place: there is somebody in it as far as that can be helped.

Imports the modules beside it, and Twisted. Who is in it serves; who comes next, at a reload, starts
beside it, on the same sockets; those that were in it before give their clients what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from tcpdl.processes.backoff import Backoff
from tcpdl.processes.process import CannotStart, Process

START_LOOKS = 120
"""Looks, of which there is one a second, after which a worker that has not come to serve has
failed: it may have to wait for a disk."""

ANSWER_LOOKS = 5
"""As many without a sign of life, and a worker does not answer for now."""

DRAINING_MOST = 4
"""Workers of one place that drain at a time; before another one does, the oldest is ended."""

MORE_SECONDS = 5.0
"""What a worker may take longer than it was given, before the system ends it."""

_log = Logger()


class Slot:
    """The place of one worker."""

    def __init__(self, clock: Any, start: Callable[[], Process], hang_looks: int) -> None:
        """`start` starts a worker that is to serve here; it raises `OSError`. One that says nothing
        for `hang_looks` is replaced."""
        self.current: Process | None = None
        self.next: Process | None = None
        self.before: list[Process] = []
        self.on_change: Callable[[], object] = _nothing
        """Is called when somebody came to serve here, or ended."""
        self.failures = 0
        """How often somebody ended here unasked, or did not start."""
        self._clock = clock
        self._start = start
        self.hang_looks = hang_looks
        self._backoff = Backoff()
        self._timer: IDelayedCall | None = None
        self._kills: dict[Process, IDelayedCall] = {}
        self._stopping = False
        self._waits = False

    @property
    def serves(self) -> bool:
        """Whether somebody serves here."""
        return self.current is not None and self.current.serves

    @property
    def answers(self) -> bool:
        """Whether who serves here has said something lately."""
        return self.serves and self.current is not None and self.current.silence <= ANSWER_LOOKS

    @property
    def vacant(self) -> bool:
        """Whether nobody is here, and nobody will be soon."""
        return self._waits and self.current is None and self.next is None

    @property
    def processes(self) -> list[Process]:
        """All that there are."""
        return [*filter(None, (self.current, self.next)), *self.before]

    def begin(self) -> None:
        """Have a worker serve here."""
        self._timer = None
        self._waits = False
        try:
            process = self._start()
        except OSError as error:
            self._again(0.0, f"it cannot be started: {error.strerror or error}")
            self.on_change()
            return
        self.current = process
        process.ready.addCallbacks(self._ready, lambda _: None)
        process.over.addCallback(self._over, process)

    def prepare(self) -> Deferred[Process]:
        """Start who is to come next. Fires when it serves; fails with `CannotStart`."""
        try:
            process = self._start()
        except OSError as error:
            return fail(CannotStart(error.strerror or str(error)))
        self.next = process
        process.over.addCallback(self._over, process)
        waiting: Deferred[Process] = Deferred()

        def ready(_: object) -> None:
            process.since = self._clock.seconds()
            waiting.callback(process)

        process.ready.addCallbacks(ready, waiting.errback)
        return waiting

    def advance(self, seconds: float) -> None:
        """Who is next is it now; who served before drains, within so many seconds."""
        before, self.current, self.next = self.current, self.next, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.current is None:  # it has just died
            self.begin()
        if before is not None:
            self._drain(before, seconds)
        self.on_change()

    def abandon(self) -> None:
        """Nobody is next any more."""
        process, self.next = self.next, None
        if process is not None:
            self.before.append(process)
            self._end(process)

    def retire(self, process: Process, seconds: float) -> None:
        """It drains by itself, within so many seconds; another takes its place."""
        if process is self.current and not self._stopping:
            process.drains = True
            self._keep(process, seconds)
            self.begin()

    def look(self) -> None:
        """To be called every second: is anybody there who says nothing?"""
        for process in self.processes:
            process.silence += 1
            most = self.hang_looks if process.serves or process.drains else START_LOOKS
            if process.silence >= most and process.running:
                process.silence = 0
                process.kill(f"it has said nothing for {most} seconds, and was ended")

    def stop(self, seconds: float) -> Deferred[Any]:
        """Have all drain within so many seconds, and end. Fires when there is none left."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ended = [_told(process.over) for process in self.processes]
        for process in filter(None, (self.current, self.next)):
            if process.serves and not process.drains:
                self._drain(process, seconds, keep=False)
            elif not process.drains:  # it starts, hears nothing yet, and has nobody
                process.kill("it was not needed any more")
        return DeferredList(ended)

    def end(self) -> None:
        """Have all end at once."""
        for process in self.processes:
            self._end(process)

    def _drain(self, process: Process, seconds: float, *, keep: bool = True) -> None:
        process.drain(seconds, last=self._stopping)
        if keep:
            self._keep(process, seconds)
        else:
            self._kill_after(process, seconds + MORE_SECONDS)

    def _keep(self, process: Process, seconds: float) -> None:
        """It drains beside who is current now."""
        self.before.append(process)
        draining = [one for one in self.before if one.running]
        for old in draining[:-DRAINING_MOST]:
            self._end(old)
        self._kill_after(process, seconds + MORE_SECONDS)

    def _end(self, process: Process) -> None:
        process.end()
        self._kill_after(process, MORE_SECONDS)

    def _kill_after(self, process: Process, seconds: float) -> None:
        before = self._kills.pop(process, None)
        if before is not None:
            before.cancel()
        self._kills[process] = self._clock.callLater(seconds, self._kill, process)

    def _kill(self, process: Process) -> None:
        del self._kills[process]
        process.kill("it did not end in time, and was ended")

    def _ready(self, process: Process) -> None:
        process.since = self._clock.seconds()
        self.on_change()

    def _over(self, how: str, process: Process) -> str:
        kill = self._kills.pop(process, None)
        if kill is not None:
            kill.cancel()
        if process in self.before:
            self.before.remove(process)
        elif process is self.next:
            self.next = None
        elif process is self.current:
            self.current = None
            if not self._stopping:
                since = process.since
                self._again(self._clock.seconds() - since if since else 0.0, how, process.name)
        self.on_change()
        return how

    def _again(self, served: float, how: str, name: str = "a worker") -> None:
        self.failures += 1
        delay = self._backoff.delay(served)
        _log.error(
            "{name} ended ({how}); another takes its place {when}",
            name=name,
            how=how,
            when=f"in {delay:g} seconds" if delay else "now",
        )
        self._waits = delay > 0
        self._timer = self._clock.callLater(delay, self.begin)


def _told(of: Deferred[Any]) -> Deferred[None]:
    """Fires when `of` does, and leaves that to others."""
    told: Deferred[None] = Deferred()

    def tell(result: Any) -> Any:
        told.callback(None)
        return result

    of.addBoth(tell)
    return told


def _nothing() -> None:
    pass
