"""Limits of rate: how many bytes a second go out, in all, to an address, over a connection.

Imports Twisted only. There is a token bucket for each of these, which a transport asks before it
hands bytes to the kernel (`Share.ask`), and which is charged with what went (`Share.charge`). If
one is empty, the transport is held: it watches no socket, and waits for one timer that all share.

Under the limit in all, those who wait take their turns by address, and by connection within an
address. Turns are given by start-time fair queueing: the address that was sent the least is the
next one. What counts is bytes, so that many connections of one address get no more than the one of
another, and whoever takes less than its share leaves the rest to the others. An address that is
behind the others need not wait for its turn: it may send on debt, which all pay for later. That is
what keeps small answers fast beside downloads.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

TICK_SECONDS = 0.01
"""How long between two looks at who may go on, while anybody waits."""

TURN_SECONDS = 0.004
"""How long those who may go on are served before the reactor has a turn."""

BURST_SECONDS = 0.1
BURST_LEAST = 64 * 1024
"""What a bucket holds when nothing was sent for a while: what the rate gives in `BURST_SECONDS`,
and `BURST_LEAST` bytes at least. So much may go out at once, and, in all, as much on debt."""

PIECE_SECONDS = 0.05
PIECE_MOST = 64 * 1024
"""A bucket that was empty is waited for until it holds what the rate gives in `PIECE_SECONDS`, or
`PIECE_MOST` bytes: many slow connections would else cost as many calls as fast ones."""

OVERDRAW = 4 * 1024
"""Bytes that may be sent if a bucket holds any: an answer's head is not split. It is paid later."""

REMEMBERED = 4096
"""Addresses without a connection whose debt is known still. Should there be more, those that left
first are forgotten."""

_log = Logger()


class Rates(NamedTuple):
    """Bytes a second, each `None` where there is no limit."""

    in_all: int | None = None
    per_address: int | None = None
    per_connection: int | None = None


NO_LIMIT = Rates()


class Shaped(Protocol):
    """A transport that is held back."""

    def hold(self) -> None:
        """Send nothing, and do not ask either, before `resume` is called."""

    def resume(self) -> bool:
        """Send a piece; return whether the socket took it all and more is to be sent. If more is
        to be sent and the socket is full, wait for that as ever."""

    def abortConnection(self) -> None:
        """Reset the connection."""


class Bucket:
    """A token bucket that may be overdrawn."""

    __slots__ = ("_at", "_level", "burst", "piece", "rate")

    def __init__(self, rate: int, now: float) -> None:
        """A full one of `rate` bytes a second."""
        self.rate = rate
        self.burst = max(rate * BURST_SECONDS, BURST_LEAST)
        self.piece = min(rate * PIECE_SECONDS, PIECE_MOST)
        self._level: float = self.burst
        self._at = now

    def change(self, rate: int, now: float) -> None:
        """From now on, it is one of `rate` bytes a second; what was overdrawn still is."""
        self.level(now)
        self.rate = rate
        self.burst = max(rate * BURST_SECONDS, BURST_LEAST)
        self.piece = min(rate * PIECE_SECONDS, PIECE_MOST)

    def level(self, now: float) -> int:
        """Bytes that may be sent; less than nothing if it is overdrawn."""
        # The reactor's clock is another one before the daemon runs.
        passed = max(0.0, now - self._at)
        self._level = min(self.burst, self._level + passed * self.rate)
        self._at = now
        return math.floor(self._level)

    def take(self, sent: int) -> None:
        """Bytes were sent; or were not, of those that were said to be, if there are less than 0."""
        self._level -= sent

    def due(self, now: float) -> float:
        """When it will hold a piece."""
        return now + (self.piece - self.level(now)) / self.rate

    def full(self, now: float) -> float:
        """When it will be full, or was."""
        return now + (self.burst - self.level(now)) / self.rate


class Use(NamedTuple):
    """What was sent since this was asked last."""

    sent: int
    """In bytes."""
    waited: bool
    """For the limit of the address, or that in all: there was more to send."""


class _Address:
    """All connections of one address."""

    __slots__ = (
        *("bucket", "connections", "forget", "key", "listed", "passed", "sent", "waited"),
        *("waiting", "weight"),
    )

    def __init__(self, key: Hashable, bucket: Bucket | None, passed: float) -> None:
        self.key = key
        self.bucket = bucket
        self.passed = passed  # its virtual time: where its next byte stands, among all addresses
        self.connections = 0
        self.waiting: OrderedDict[Share, None] = OrderedDict()
        self.listed = False  # among those that are ready, or will be later
        self.forget = 0.0  # when, once it has no connections
        self.weight = 1.0  # how much it is sent in its turn, beside others
        self.sent = 0  # as `Use` has them
        self.waited = False


class Share:
    """One connection's part in the limits."""

    __slots__ = ("_address", "_bucket", "_granted", "_shaper", "_transport", "full", "waiting")

    def __init__(
        self, shaper: Shaper, transport: Shaped, address: _Address, bucket: Bucket | None
    ) -> None:
        self._shaper = shaper
        self._transport = transport
        self._address = address
        self._bucket = bucket
        self._granted = 0
        self.waiting = False
        """It is held."""
        self.full = False
        """The socket took less than it was last offered."""

    def ask(self, wanted: int) -> int:
        """How many bytes may be sent now, up to `wanted`. If none, the transport is held."""
        if self.waiting:
            return 0
        most = self._shaper._allowed(self, self._address, self._bucket, wanted)
        if not most:
            self.hold()
        self._granted = most
        self.full = True
        return most

    def covers(self, wanted: int) -> bool:
        """Charge `wanted` bytes, if they may all be sent now."""
        if self.ask(wanted) < wanted:
            return False
        self.charge(wanted)
        return True

    def charge(self, sent: int) -> None:
        """Bytes went out; or did not, of those that `covers` charged, if there are less than 0."""
        self.full = sent < self._granted
        if self._bucket is not None:
            self._bucket.take(sent)
        self._shaper._charge(self._address, sent)

    def hold(self) -> None:
        """Have the transport wait for its turn."""
        self.waiting = True
        self._transport.hold()
        self._shaper._wait(self, self._address, self._bucket)

    def move(self, key: Hashable) -> None:
        """The connection, which has sent nothing yet, is that of another address than it seemed."""
        self._shaper._leave(self, self._address)
        self._address = self._shaper._enter(key)

    def leave(self) -> None:
        """The connection is over."""
        self.waiting = False
        self._shaper._leave(self, self._address)

    def _resume(self) -> None:
        self.waiting = False
        try:
            if self._transport.resume():
                self.hold()
        except Exception:  # noqa: BLE001 - one connection must not stop the others
            _log.failure("unexpected error when {who!r} could go on", who=self._transport)
            self._transport.abortConnection()


class Shaper:
    """The limits, and who waits for them."""

    def __init__(self, rates: Rates, clock: Any) -> None:
        """`clock` is an `IReactorTime` that is monotonic."""
        self._clock = clock
        self._rates = rates
        self._in_all = self._bucket(rates.in_all)
        # How far behind the others an address can fall: what it may catch up on later.
        self._lag = 0.0 if self._in_all is None else self._in_all.burst
        self._addresses: dict[Hashable, _Address] = {}
        self._left: OrderedDict[Hashable, _Address] = OrderedDict()
        self._passed = 0.0  # where the byte that was sent last stood
        self._ready: list[tuple[float, int, _Address]] = []
        self._later: list[tuple[float, int, _Address | Share]] = []
        self._numbers = count()  # what is the same for two in a heap is decided by who came first
        self._timer: IDelayedCall | None = None
        self._turn: Share | None = None
        self._sent = 0  # as `Use` has it

    def join(self, transport: Shaped, key: Hashable) -> Share:
        """What `transport` asks before it sends; `key` is the same for all of its address."""
        return Share(self, transport, self._enter(key), self._bucket(self._rates.per_connection))

    def _enter(self, key: Hashable) -> _Address:
        address = self._addresses.get(key)
        if address is None:
            address = self._left.pop(key, None)
            if address is None:
                # Not behind the others: a crowd of new ones would go before those who wait.
                starts = self._passed + OVERDRAW
                address = _Address(key, self._bucket(self._rates.per_address), starts)
            self._addresses[key] = address
        address.connections += 1
        return address

    def change(self, rates: Rates) -> None:
        """Have these limits from now on; that of one connection for those that join from now on."""
        self._rates = rates
        self._in_all = self._changed(self._in_all, rates.in_all)
        self._lag = 0.0 if self._in_all is None else self._in_all.burst
        for address in (*self._addresses.values(), *self._left.values()):
            address.bucket = self._changed(address.bucket, rates.per_address)

    def _changed(self, bucket: Bucket | None, rate: int | None) -> Bucket | None:
        if bucket is None or rate is None:
            return self._bucket(rate)
        bucket.change(rate, self._clock.seconds())
        return bucket

    def __len__(self) -> int:
        """How many addresses are known."""
        return len(self._addresses) + len(self._left)

    def _bucket(self, rate: int | None) -> Bucket | None:
        return None if rate is None else Bucket(rate, self._clock.seconds())

    # Several processes send within the same limits.

    def use(self) -> tuple[int, dict[Hashable, Use]]:
        """Bytes that were sent since the last call, and the use of those addresses that were sent
        any, or waited."""
        found = {}
        for address in (*self._addresses.values(), *self._left.values()):
            if address.sent or address.waited or address.waiting:
                found[address.key] = Use(address.sent, address.waited or bool(address.waiting))
                address.sent, address.waited = 0, False
        sent, self._sent = self._sent, 0
        return sent, found

    def take_part(self, rate: int) -> None:
        """Of the limit in all, so many bytes a second are for this process."""
        if self._in_all is not None and self._in_all.rate != rate:
            self._in_all.change(rate, self._clock.seconds())
            self._lag = self._in_all.burst

    def take_part_for(self, key: Hashable, part: float) -> None:
        """Of what an address may have, beside others and by its own limit, this part is for this
        process: 1, if it is all."""
        address = self._addresses.get(key) or self._left.get(key)
        if address is None:
            return
        address.weight = part
        if address.bucket is not None and self._rates.per_address is not None:
            rate = max(1, int(self._rates.per_address * part))
            address.bucket.change(rate, self._clock.seconds())

    # What shares ask.

    def _allowed(self, share: Share, address: _Address, own: Bucket | None, wanted: int) -> int:
        now = self._clock.seconds()
        its_turn, self._turn = self._turn is share, None
        most: float = wanted
        for bucket in (own, address.bucket):
            if bucket is not None:
                if (left := bucket.level(now)) <= 0:
                    return 0
                most = min(most, max(left, OVERDRAW))
        if not its_turn and address.waiting:
            return 0
        if self._in_all is not None:
            level: float = self._in_all.level(now)
            if level <= 0 or (self._ready and not its_turn):
                behind = self._passed - self._starts(address)
                level = min(behind, level + self._in_all.burst)
                if level <= 0:
                    return 0
            most = min(most, max(level, OVERDRAW))
        return int(most)

    def _charge(self, address: _Address, sent: int) -> None:
        if address.bucket is not None:
            address.bucket.take(sent)
        if self._in_all is not None:
            self._in_all.take(sent)
        starts = self._starts(address)
        self._passed = max(self._passed, starts)
        address.passed = starts + sent / address.weight
        address.sent += sent
        self._sent += sent

    def _starts(self, address: _Address) -> float:
        """Where the next byte of `address` stands among those of all addresses."""
        return max(address.passed, self._passed - self._lag)

    def _wait(self, share: Share, address: _Address, own: Bucket | None) -> None:
        now = self._clock.seconds()
        if own is not None and own.level(now) <= 0:
            self._put_off(share, own.due(now))
        else:
            self._queue(share, address, now)
        if self._timer is None:
            self._timer = self._clock.callLater(TICK_SECONDS, self._serve)

    def _leave(self, share: Share, address: _Address) -> None:
        address.waiting.pop(share, None)
        address.connections -= 1
        if address.connections:
            return
        del self._addresses[address.key]
        now = self._clock.seconds()
        buckets = [bucket for bucket in (address.bucket, self._in_all) if bucket is not None]
        address.forget = max((bucket.full(now) for bucket in buckets), default=now)
        self._left[address.key] = address
        while self._left:
            first = next(iter(self._left.values()))
            if first.forget > now and len(self._left) <= REMEMBERED:
                break
            del self._left[first.key]

    # Those who wait.

    def _queue(self, share: Share, address: _Address, now: float) -> None:
        address.waiting[share] = None
        address.waited = True
        if not address.listed:
            self._list(address, now)

    def _list(self, address: _Address, now: float) -> None:
        address.listed = True
        if address.bucket is not None and address.bucket.level(now) <= 0:
            self._put_off(address, address.bucket.due(now))
        else:
            heappush(self._ready, (self._starts(address), next(self._numbers), address))

    def _put_off(self, who: _Address | Share, due: float) -> None:
        heappush(self._later, (due, next(self._numbers), who))

    def _serve(self) -> None:
        """Let those go on that may: for `TURN_SECONDS` at most, then the reactor has a turn."""
        now = self._clock.seconds()
        end = now + TURN_SECONDS
        wait = TICK_SECONDS
        while self._later and self._later[0][0] <= now:
            who = heappop(self._later)[2]
            if isinstance(who, _Address):
                self._list(who, now)
            elif who.waiting:
                self._queue(who, who._address, now)
        while self._ready and (self._in_all is None or self._in_all.level(now) > 0):
            address = heappop(self._ready)[2]
            address.listed = False
            if address.bucket is not None and address.bucket.level(now) <= 0:
                self._list(address, now)
                continue
            if address.waiting:  # else all of them left
                self._turn = share = address.waiting.popitem(last=False)[0]
                share._resume()
                self._turn = None
            if address.waiting and not address.listed:
                self._list(address, now)
            now = self._clock.seconds()
            if now > end:
                wait = 0
                break
        more = self._ready or self._later
        self._timer = self._clock.callLater(wait, self._serve) if more else None
