"""The limits that hold for all workers together: both ends of how they are shared.

Imports the modules beside it and `server`. A worker tells what connections it has, of which
address; near a limit at once, else some times a second. It is told what the others have. What it
cannot know yet are connections that others have just accepted: of those that come within some
milliseconds, each worker may accept as many as the limit allows, and none ever has more. Of a limit
of rate, the parent gives each worker a part, by what it uses and wants. Wrong logins count with all
workers.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall

from tcpdl.daemon import Daemon
from tcpdl.processes.channel import Channel
from tcpdl.processes.dividing import Claim, divided
from tcpdl.processes.process import Process
from tcpdl.processes.totals import Totals
from tcpdl.server.crowd import Address
from tcpdl.server.shaping import NO_LIMIT, Rates, Shaper, Use

RELAXED_SECONDS = 0.1
"""How long what changed may wait to be told, far from any limit."""

USE_SECONDS = 0.2
"""How often a worker tells what it has sent, while there are limits of rate."""

DIVIDE_SECONDS = 0.02
"""How long the parent waits for the others to tell as well."""

ADDRESSES_MOST = 1000
"""Addresses with connections to several workers of which it is told what they were sent; the others
have a limit for each worker."""

KEYS_MOST = 100_000
KEY_MOST = 16
"""How many addresses a worker may tell of, and the bytes of one."""

NEWS_MOST = 10_000
"""Addresses of which a worker is told at once."""

COUNT_MOST = 1 << 30


class Partner:
    """A worker's end."""

    def __init__(self, daemon: Daemon, channel: Channel, clock: Any) -> None:
        """`clock` is an `IReactorTime`."""
        self._daemon = daemon
        self._crowd = daemon.crowd
        self._channel = channel
        self._clock = clock
        self._changed: dict[bytes, int] = {}
        self._timer: IDelayedCall | None = None
        self._told_of_use = False
        self._parts: set[bytes] = set()
        self._uses = LoopingCall(self._tell_use)
        self._uses.clock = clock
        channel.on("elsewhere", self._elsewhere)
        channel.on("parts", self._take_parts)
        channel.on("wrong", self._wrong)

    def start(self) -> None:
        """Tell from now on, and listen."""
        self._crowd.on_change = self._change
        if (failures := self._failures) is not None:
            failures.on_failed = lambda address: self._channel.tell("wrong", address=address.hex())
        self._uses.start(USE_SECONDS, now=False)

    def stop(self) -> None:
        """There is nothing more to tell."""
        self._crowd.on_change = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._uses.running:
            self._uses.stop()

    @property
    def _failures(self) -> Any:
        admission = self._daemon.admission
        return admission.logins.failures if admission is not None and admission.logins else None

    # Connections.

    def _change(self, address: Address) -> None:
        self._changed[address.key] = address.connections
        if self._crowd.is_close(address):
            self._tell_within(0.0)
        elif self._timer is None:
            self._tell_within(RELAXED_SECONDS)

    def _tell_within(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._tell)
        elif self._timer.getTime() > self._clock.seconds() + seconds:
            self._timer.reset(seconds)

    def _tell(self) -> None:
        self._timer = None
        changed, self._changed = self._changed, {}
        self._channel.tell("here", counts={key.hex(): count for key, count in changed.items()})

    def _elsewhere(self, content: Mapping[str, Any]) -> None:
        for key, count in content["counts"].items():
            self._crowd.elsewhere.set(bytes.fromhex(key), count)

    # Rates.

    def _tell_use(self) -> None:
        shaper = self._daemon.shaper
        if shaper is None:
            return
        sent, uses = shaper.use()
        shared = {key: use for key, use in uses.items() if key in self._crowd.elsewhere.addresses}
        alone = sum(use.waited for use in uses.values()) - sum(
            use.waited for use in shared.values()
        )
        self._whole_again(shaper)
        if not (sent or uses or self._told_of_use):
            return
        self._told_of_use = bool(sent or uses)
        most = sorted(shared.items(), key=_by_bytes, reverse=True)[:ADDRESSES_MOST]
        self._channel.tell(
            "use",
            sent=sent,
            alone=alone,
            shared={_hex(key): [use.sent, use.waited] for key, use in most},
        )

    def _take_parts(self, content: Mapping[str, Any]) -> None:
        shaper = self._daemon.shaper
        if shaper is None:
            return
        if content["rate"]:
            shaper.take_part(content["rate"])
        for name, part in content["shared"].items():
            key = bytes.fromhex(name)
            shaper.take_part_for(key, part)
            self._parts.add(key)
        self._whole_again(shaper)

    def _whole_again(self, shaper: Shaper) -> None:
        """Give back to those what is theirs whose connections are all here."""
        for key in [key for key in self._parts if key not in self._crowd.elsewhere.addresses]:
            self._parts.discard(key)
            shaper.take_part_for(key, 1.0)

    # Logins.

    def _wrong(self, content: Mapping[str, Any]) -> None:
        if (failures := self._failures) is not None:
            failures.failed_elsewhere(bytes.fromhex(content["address"]))


class _Used(NamedTuple):
    """What a worker has told of what it sent."""

    sent: int = 0
    alone: int = 0
    """Addresses that wait there, and have no connections elsewhere."""
    shared: Mapping[str, Use] = {}


class Sharing:
    """The parent's end, for all workers."""

    def __init__(self, clock: Any, rates: Callable[[], Rates] = lambda: NO_LIMIT) -> None:
        """`rates` gives the limits as they are at the time."""
        self._clock = clock
        self._rates = rates
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # addresses of a worker
        self._totals = Totals()
        self._uses: dict[Process, _Used] = {}
        self._news: IDelayedCall | None = None
        self._division: IDelayedCall | None = None

    def follow(self, process: Process) -> None:
        """Have a worker that was started take part."""
        self._totals.join(process)
        self._uses[process] = _Used()
        process.channel.on_idle = self._tell_soon
        process.channel.on("here", lambda content: self._here(process, content))
        process.channel.on("use", lambda content: self._use(process, content))
        process.channel.on("wrong", lambda content: self._wrong(process, content))
        process.ready.addCallback(self._ready)
        process.over.addCallback(self._over, process)

    def stop(self) -> None:
        """Nobody is told anything any more."""
        for call in (self._news, self._division):
            if call is not None and call.active():
                call.cancel()
        self._news = self._division = None

    def _ready(self, process: Process) -> Process:
        self._tell_soon()
        self._divide()
        return process

    def _over(self, how: str, process: Process) -> str:
        self._totals.leave(process)
        del self._uses[process]
        if any(one.serves for one in self._uses):
            self._tell_soon()
            self._divide_soon()
        return how

    # Connections.

    def _here(self, process: Process, content: Mapping[str, Any]) -> None:
        counts = content["counts"]
        if len(counts) > KEYS_MOST:
            raise ValueError("too many addresses")
        for key, count in counts.items():
            _check_key(key)
            _check_number(count)
        if process in self._uses:
            self._totals.told(process, counts)
            if self._totals.size(process) > self._most:
                raise ValueError("too many addresses")
            self._tell_soon()

    def _tell_soon(self) -> None:
        if self._news is None:
            self._news = self._clock.callLater(0, self._tell)

    def _tell(self) -> None:
        self._news = None
        for process in self._uses:
            # Who is busy is told once it is not: meanwhile, only what is true in the end counts.
            while process.serves and not process.channel.busy:
                news = self._totals.news(process, NEWS_MOST)
                if not news:
                    break
                process.channel.tell("elsewhere", counts=news)

    # Rates.

    def _use(self, process: Process, content: Mapping[str, Any]) -> None:
        sent, alone, shared = content["sent"], content["alone"], content["shared"]
        _check_number(sent)
        _check_number(alone)
        if len(shared) > ADDRESSES_MOST:
            raise ValueError("too many addresses")
        for key, (of_one, waited) in shared.items():
            _check_key(key)
            _check_number(of_one)
            _check_number(int(waited))
        if process in self._uses:
            uses = {key: Use(one, bool(waited)) for key, (one, waited) in shared.items()}
            self._uses[process] = _Used(sent, alone, uses)
            self._divide_soon()

    def _divide_soon(self) -> None:
        if self._division is None:
            self._division = self._clock.callLater(DIVIDE_SECONDS, self._divide)

    def _divide(self) -> None:
        if self._division is not None and self._division.active():
            self._division.cancel()
        self._division = None
        rates = self._rates()
        if not any(rates):
            return
        there = [process for process in self._uses if process.serves]
        uses = [self._uses[process] for process in there]
        parts = _of_addresses(uses)
        claims = []
        for use, mine in zip(uses, parts, strict=True):
            weights = (mine[key] for key, one in use.shared.items() if one.waited)
            claims.append(Claim(use.sent / USE_SECONDS, use.alone + sum(weights)))
        ours = divided(rates.in_all or 0, claims)
        for process, mine, rate in zip(there, parts, ours, strict=True):
            if not process.channel.busy:
                process.channel.tell("parts", rate=int(rate), shared=mine)

    # Logins.

    def _wrong(self, process: Process, content: Mapping[str, Any]) -> None:
        address = content["address"]
        _check_key(address)
        for other in self._uses:
            if other is not process and other.serves and not other.channel.busy:
                other.channel.tell("wrong", address=address)


def _of_addresses(uses: Iterable[_Used]) -> list[dict[str, float]]:
    """What part each worker has of what each address may have, of those that have connections to
    several."""
    uses = list(uses)
    parts: list[dict[str, float]] = [{} for _ in uses]
    for key in {key for use in uses for key in use.shared}:
        places = [place for place, use in enumerate(uses) if key in use.shared]
        whole = sum(uses[place].shared[key].sent for place in places) or 1
        claims = [
            Claim(use.sent / whole, 1.0 if use.waited else 0.0)
            for use in (uses[place].shared[key] for place in places)
        ]
        for place, part in zip(places, divided(1.0, claims), strict=True):
            parts[place][key] = part
    return parts


def _by_bytes(item: tuple[Any, Use]) -> int:
    return item[1].sent


def _hex(key: Any) -> str:
    text: str = key.hex()
    return text


def _check_key(key: str) -> None:
    """Raises `ValueError` and `TypeError`."""
    if len(key) > 2 * KEY_MOST or bytes.fromhex(key).hex() != key:
        raise ValueError("it is no address")


def _check_number(number: int) -> None:
    """Raises `ValueError` and `TypeError`."""
    if not isinstance(number, int) or not 0 <= number <= COUNT_MOST * 64:
        raise ValueError("it is no number")
