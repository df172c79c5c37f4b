"""A wide-area link between two hosts that are network namespaces of this machine.

    python bench/link.py [--delay 80] [--rate 200] [--loss 0.5] [--queue 50] [--seed 1]

Checks that such a link has the round trip (ms), the rate (Mbit/s each way) and the loss (% each
way) that are asked for. QUEUE is how long a packet waits for those before it, in ms, before it is
dropped. bench/wan.py measures programs on it.

Each host has a TUN device, and a process carries packets from one to the other. Both hosts use
cubic, and remember nothing of one connection for the next. This needs root, iproute2 and
/dev/net/tun, and nothing of the kernel's traffic control.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import gc
import multiprocessing
import os
import random
import select
import signal
import socket
import statistics
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.peers import tidy_up_when_told, tool, unable

TUN = "/dev/net/tun"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 1500
BACKLOG = 10_000
"""Packets that a device keeps until they are read: plenty, so that only the link drops any."""

BATCH = 64
"""Packets read from one device before the other has its turn."""
HEADERS = 28
"""What IP and UDP put before a payload."""
OVERHEAD = 1000
"""What the kernel reckons for a packet in a buffer, besides its bytes."""
SO_RCVBUFFORCE = 33

SETTINGS = """
set -e
cd /proc/sys/net/ipv4
echo cubic > tcp_congestion_control
echo 1 > tcp_no_metrics_save
"""
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


@dataclass(frozen=True)
class Quality:
    """What a link is like, the same in both directions."""

    delay: float
    """Round trip of a lone packet, in seconds."""
    rate: float
    """Bytes a second, headers of IP included."""
    loss: float
    """The share of packets that get lost on the way, between 0 and 1."""
    queue: float = 0.05
    """The longest wait for the packets before, in seconds; then packets are dropped."""


class Way:
    """One direction: what happens to each packet, whatever the time is said to be."""

    def __init__(self, quality: Quality, chance: random.Random) -> None:
        self._quality = quality
        self._chance = chance
        self._free = 0.0
        self._flying: deque[tuple[float, bytes]] = deque()

    def send(self, packet: bytes, now: float) -> None:
        """Send a packet, behind those that wait, or drop it."""
        start = max(self._free, now)
        if start - now > self._quality.queue:
            return
        self._free = start + len(packet) / self._quality.rate
        if self._chance.random() >= self._quality.loss:  # else it is lost after it was sent
            self._flying.append((self._free + self._quality.delay / 2, packet))

    def due(self) -> float | None:
        """When the next packet arrives."""
        return self._flying[0][0] if self._flying else None

    def arrived(self, now: float) -> Iterator[bytes]:
        """The packets that have arrived by now."""
        while self._flying and self._flying[0][0] <= now:
            yield self._flying.popleft()[1]


class Host:
    """One end of a link."""

    def __init__(self, namespace: str, address: str) -> None:
        self.namespace = namespace
        self.address = address

    def command(self, command: list[str]) -> list[str]:
        """What runs `command` on this host, in the same process."""
        return [tool("ip"), "netns", "exec", self.namespace, *command]

    def socket(self, kind: socket.SocketKind) -> socket.socket:
        """A socket of this host, for this process, bound to a free port."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            open("/proc/thread-self/ns/net") as here,
            open(f"/run/netns/{self.namespace}") as there,
        ):
            try:
                if libc.setns(there.fileno(), 0):
                    raise OSError(ctypes.get_errno(), "setns")
                sock = socket.socket(socket.AF_INET, kind)
            finally:
                libc.setns(here.fileno(), 0)
        sock.bind((self.address, 0))
        return sock


@contextmanager
def wide_area(quality: Quality, seed: int = 1) -> Iterator[tuple[Host, Host]]:
    """Two hosts with a link of such quality between them.

    Ends the benchmark with one line if this machine does not let us.
    """
    tool("ip")
    if os.geteuid() != 0:
        unable("only root can make the two hosts for this benchmark")
    hosts = [Host(f"tcpdl-bench-{os.getpid()}-{n}", f"10.213.0.{n}") for n in (1, 2)]
    with ExitStack() as stack:
        try:
            tuns = [
                stack.enter_context(_joined(host, other.address))
                for host, other in (hosts, reversed(hosts))
            ]
        except OSError as error:
            unable(f"no link can be made here: {error}")
        carrier = multiprocessing.get_context("fork").Process(
            target=carry, args=(*tuns, quality, seed), daemon=True
        )
        carrier.start()
        try:
            yield hosts[0], hosts[1]
            if not carrier.is_alive():
                raise RuntimeError("the process that carries the packets has died")
        finally:
            carrier.kill()
            carrier.join()


@contextmanager
def _joined(host: Host, peer: str) -> Iterator[int]:
    """Make a host whose packets to `peer` are read and written at a descriptor."""
    _ip("netns", "add", host.namespace)
    tun = -1
    try:
        tun = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        request = struct.pack("16sH22x", b"tcpdl%d", IFF_TUN | IFF_NO_PI)
        device = fcntl.ioctl(tun, TUNSETIFF, request)[:16].rstrip(b"\0").decode()
        _ip("link", "set", device, "netns", host.namespace)
        inside = ("-n", host.namespace)
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "link", "set", device, "addrgenmode", "none")
        _ip(*inside, "address", "add", host.address, "peer", peer, "dev", device)
        _ip(*inside, "link", "set", device, "mtu", str(MTU), "txqueuelen", str(BACKLOG), "up")
        with _cubic_allowed():
            _run(host.command(["sh", "-c", SETTINGS]))
        yield tun
    finally:
        if tun >= 0:
            os.close(tun)
        with suppress(OSError):
            _ip("netns", "delete", host.namespace)


@contextmanager
def _cubic_allowed() -> Iterator[None]:
    """Only what all users of this machine may choose can be another namespace's default."""
    allowed = ALLOWED.read_text()
    if "cubic" in allowed.split():
        yield
        return
    ALLOWED.write_text(f"{allowed.strip()} cubic")
    try:
        yield
    finally:
        ALLOWED.write_text(allowed)


def _ip(*arguments: str) -> None:
    _run([tool("ip"), *arguments])


def _run(command: list[str]) -> None:
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise OSError(f"{' '.join(command)}: {ran.stderr.strip()}")


def carry(one: int, other: int, quality: Quality, seed: int) -> None:
    """Carry packets between two TUN devices, until the end of this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()
    with suppress(PermissionError):
        os.nice(-10)  # a link does not get slower because its ends are busy
    ways = [
        (source, sink, Way(quality, random.Random(seed * 2 + source)))
        for source, sink in ((one, other), (other, one))
    ]
    while True:
        now = time.monotonic()
        dues = []
        for _, sink, way in ways:
            for packet in way.arrived(now):
                with suppress(OSError):  # the device is being taken away
                    os.write(sink, packet)
            dues.append(way.due())
        wait = min((due for due in dues if due is not None), default=now + 60) - time.monotonic()
        ready, _, _ = select.select([one, other], [], [], max(0.0, wait))
        now = time.monotonic()
        for source, _, way in ways:
            if source in ready:
                for _ in range(BATCH):
                    try:
                        way.send(os.read(source, MTU), now)
                    except BlockingIOError:
                        break


def main() -> None:
    tidy_up_when_told()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--packets", type=int, default=20_000, help="for each figure (20000)")
    options = parser.parse_args()
    quality = quality_of(options)
    with wide_area(quality, options.seed) as (one, other):
        trips = sorted(round_trips(one, other, min(options.packets, 100)))
        print(
            f"round trip {statistics.median(trips) * 1000:.1f} ms ({trips[0] * 1000:.1f} to "
            f"{trips[-1] * 1000:.1f}), asked for {options.delay:g}"
        )
        for name, source, sink in (("there", one, other), ("back", other, one)):
            # A quarter of the rate, so that none is dropped for want of room.
            got, _ = flood(source, sink, options.packets, 100, quality.rate / 4)
            lost = 100 - got / options.packets * 100
            _, rate = flood(source, sink, options.packets, MTU, quality.rate * 1.3)
            print(
                f"{name:5} {lost:.2f} % of {options.packets:,} packets lost, asked for "
                f"{options.loss:g}; {rate * 8 / 1e6:.1f} Mbit/s arrive, asked for {options.rate:g}"
            )


def add_options(parser: argparse.ArgumentParser) -> None:
    """What says which link is wanted."""
    parser.add_argument("--delay", type=float, default=80, help="round trip in ms (80)")
    parser.add_argument("--rate", type=float, default=200, help="Mbit/s each way (200)")
    parser.add_argument("--loss", type=float, default=0.5, help="%% lost each way (0.5)")
    parser.add_argument("--queue", type=float, default=50, help="longest wait in ms (50)")
    parser.add_argument("--seed", type=int, default=1, help="which packets get lost (1)")


def quality_of(options: argparse.Namespace) -> Quality:
    """The link that `add_options` was given."""
    return Quality(
        delay=options.delay / 1e3,
        rate=options.rate * 1e6 / 8,
        loss=options.loss / 100,
        queue=options.queue / 1e3,
    )


def round_trips(one: Host, other: Host, count: int) -> list[float]:
    """The round trips of that many packets, less those that got lost, in seconds."""
    trips = []
    with one.socket(socket.SOCK_DGRAM) as near, other.socket(socket.SOCK_DGRAM) as far:
        near.settimeout(1)

        def echo() -> None:
            while (got := far.recvfrom(100))[0] != b"end":
                far.sendto(*got)

        echoing = threading.Thread(target=echo, daemon=True)
        echoing.start()
        for number in range(count):
            start = time.perf_counter()
            near.sendto(b"%d" % number, far.getsockname())
            with suppress(TimeoutError):
                if int(near.recv(100)) == number:
                    trips.append(time.perf_counter() - start)
        while echoing.is_alive():
            near.sendto(b"end", far.getsockname())
            echoing.join(0.5)
    return trips


def flood(source: Host, sink: Host, count: int, size: int, rate: float) -> tuple[int, float]:
    """Send packets of `size` bytes at a rate; how many arrive, and at how many bytes a second."""
    arrivals = []
    with source.socket(socket.SOCK_DGRAM) as near, sink.socket(socket.SOCK_DGRAM) as far:
        far.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 2 * count * (size + OVERHEAD))
        far.settimeout(1)

        def take() -> None:
            with suppress(TimeoutError):
                while True:
                    far.recv(MTU)
                    arrivals.append(time.perf_counter())

        taking = threading.Thread(target=take)
        taking.start()
        payload = bytes(size - HEADERS)
        start = time.perf_counter()
        for number in range(count):
            ahead = start + number * size / rate - time.perf_counter()
            if ahead > 0.001:
                time.sleep(ahead)
            near.sendto(payload, far.getsockname())
        taking.join()
    spent = arrivals[-1] - arrivals[0]
    return len(arrivals), (len(arrivals) - 1) * size / spent


if __name__ == "__main__":
    main()
