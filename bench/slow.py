"""A crowd of slow clients, in one process that takes little time: what bench/crowd.py lets loose.

    python bench/slow.py PORT NAME [--clients 5000] [--addresses 250] [--ways http,native,raw]

One half sends a request byte by byte, after what makes its dialect known; the other half asks for
the file NAME and never reads. They come from ADDRESSES addresses of loopback; `tls` is one more
way, for the first half, which then begins as TLS does. Once all have connected, and asked, it
prints `here`; once the server has closed every one of their connections, or after --most SECONDS,
what became of them, as JSON: how many are `left`, how long the last of each kind `stays`, in
seconds, and the processor time that all this took (`cpu`). They take no hints: an end of the
server's stream does not make one leave.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote

from tcpdl import digest
from tcpdl.wire import native

PACE = 5.0
"""Seconds from one byte to the next."""

RECEIVE_BUFFER = 4096
AT_ONCE = 100
"""Connections that are begun before others are looked after."""

_BIND_ADDRESS_NO_PORT = 24


def requests(name: str) -> dict[str, tuple[bytes, bytes]]:
    """What asks for a file, in each dialect: what makes that known, and the rest."""
    return {
        "http": (
            f"GET /{quote(name)} HTTP/1.1\r\n".encode("ascii"),
            b"Host: slow\r\nUser-Agent: one that is very slow\r\n\r\n",
        ),
        "native": (
            native.preface(digest.AVAILABLE),
            native.encode(native.Get(1, name.encode())),
        ),
        "raw": (b"", name.encode() + b"\n"),
    }


def hello() -> bytes:
    """What a client of TLS says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="slow").do_handshake()
    return outgoing.read()


class Plan(NamedTuple):
    """What a client is to do."""

    kind: str
    address: str
    begin: bytes
    """What it sends at once."""
    rest: bytes
    """What it sends byte by byte."""


class Client:
    """One that is slow."""

    def __init__(self, port: int, plan: Plan) -> None:
        self.plan = plan
        self.connecting = True
        self.gone = 0.0
        self._sent = 0
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        self.sock.bind((plan.address, 0))
        self.began = time.monotonic()
        with suppress(BlockingIOError):
            self.sock.connect(("127.0.0.1", port))

    def connected(self) -> None:
        """Begin to ask."""
        self.connecting = False
        self.began = time.monotonic()
        if self.plan.begin:
            self._send(self.plan.begin)

    def send(self) -> None:
        """Send a byte more. After the last comes the first again."""
        at = self._sent % len(self.plan.rest)
        self._send(self.plan.rest[at : at + 1])
        self._sent += 1

    def _send(self, data: bytes) -> None:
        with suppress(OSError):  # epoll tells of it
            self.sock.send(data)

    def close(self) -> None:
        self.gone = time.monotonic()
        self.sock.close()


class Crowd:
    """All of them."""

    def __init__(self, port: int, name: str, count: int, addresses: int, ways: list[str]) -> None:
        self._poll = select.epoll()
        self._port = port
        self.clients: list[Client] = []
        self._by_number: dict[int, Client] = {}
        self._connecting = 0
        self._due: deque[tuple[float, Client]] = deque()
        asking = requests(name)
        senders = {way: asking[way] for way in ways if way in asking}
        readers = {f"{way}, reads nothing": (b"".join(senders[way]), b"") for way in senders}
        if "tls" in ways:
            text = hello()
            senders["tls"] = text[:6], text[6:]
        kinds = [list(senders.items()), list(readers.items())]
        self._plans = []
        for number in range(count):
            half = kinds[number % 2]
            kind, texts = half[number // 2 % len(half)]
            self._plans.append(Plan(kind, f"127.0.1.{1 + number // 2 % addresses}", *texts))

    def connect(self) -> None:
        """Have all connect."""
        for number, plan in enumerate(self._plans):
            client = Client(self._port, plan)
            self.clients.append(client)
            self._by_number[client.sock.fileno()] = client
            self._poll.register(client.sock, select.EPOLLOUT)
            self._connecting += 1
            if number % AT_ONCE == 0:
                self.look_after(0)
        while self._connecting:
            self.look_after(1)

    def look_after(self, seconds: float) -> None:
        """See to those with whom something is, and those whose next byte is due."""
        if self._due:
            seconds = min(seconds, max(0.01, self._due[0][0] - time.monotonic()))
        for number, event in self._poll.poll(seconds):
            client = self._by_number[number]
            if event & (select.EPOLLERR | select.EPOLLHUP):
                self._connecting -= client.connecting
                del self._by_number[number]
                client.close()
            elif event & select.EPOLLOUT:
                self._connecting -= 1
                client.connected()
                self._poll.modify(number, 0)  # an error is reported unasked
                if client.plan.rest:
                    self._due.append((client.began + PACE, client))
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            due, client = self._due.popleft()
            if not client.gone:
                client.send()
                self._due.append((max(due + PACE, now), client))

    @property
    def left(self) -> int:
        """How many have a connection."""
        return len(self._by_number)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int)
    parser.add_argument("name")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--addresses", type=int, default=250)
    parser.add_argument("--ways", default="http,native,raw")
    parser.add_argument("--most", type=float, default=120)
    options = parser.parse_args()
    ways = options.ways.split(",")
    crowd = Crowd(options.port, options.name, options.clients, options.addresses, ways)
    crowd.connect()
    print("here", flush=True)
    end = time.monotonic() + options.most
    while crowd.left and time.monotonic() < end:
        crowd.look_after(1)
    stays: dict[str, float] = {}
    for client in crowd.clients:
        if client.gone:
            kind = client.plan.kind
            stays[kind] = max(stays.get(kind, 0), client.gone - client.began)
    told = {"left": crowd.left, "stays": stays, "cpu": time.process_time()}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
