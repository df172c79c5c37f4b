"""A proxy between a client and a server, for the benchmarks: slow, damaging, and counting."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from contextlib import suppress

from bench.peers import LOOPBACK

PIECE = 64 * 1024
KERNEL_BUFFER = 128 * 1024
"""What is asked of the kernel for each direction; it takes twice that for its own ends."""

RESET = struct.pack("ii", 1, 0)
"""The SO_LINGER that makes close() reset a connection."""
TCP_ESTABLISHED, TCP_CLOSE_WAIT = 1, 8


class Proxy:
    """Takes connections to a port of this host, and counts what crosses them.

    A byte has crossed when the proxy's kernel has sent it to the client's, or has received it from
    there, be it read there or not; what a broken connection leaves in the proxy has not. When the
    server is killed, what it had sent still arrives, and then a reset, as without a proxy.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.rate = 0.0
        """Bytes a second towards the clients, of all connections together; 0 is no limit."""
        self.crossed = 0
        """Bytes that crossed between here and the clients, in connections that have ended."""
        self.between = 0
        """The same between here and the servers."""
        self._damage: tuple[int, int] | None = None
        self._due = 0.0
        self._open = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        # What is accepted takes it over.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def damage(self, place: int, bit: int) -> None:
        """Change one bit of the byte that servers send once `place` more have passed."""
        self._damage = place, bit

    def settle(self) -> None:
        """Wait until all connections have ended and are counted."""
        end = time.monotonic() + 20
        while self._open:
            if time.monotonic() > end:
                sys.exit("connections are still open although the client has ended")
            time.sleep(0.01)

    def pass_on(self, data: memoryview) -> None:
        """Hold up what a server has sent, as the rate says, and damage it if it is its turn."""
        wait = 0.0
        with self._lock:
            if self.rate:
                now = time.monotonic()
                self._due = max(self._due, now - 0.02) + len(data) / self.rate
                wait = self._due - now
            if self._damage is not None:
                place, bit = self._damage
                if place < len(data):
                    data[place] ^= 1 << bit
                    self._damage = None
                else:
                    self._damage = place - len(data), bit
        if wait > 0:
            time.sleep(wait)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            with self._lock:
                self._open += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
            Passage(self, client, server).run()
            with self._lock:
                self.crossed += carried(client)
                self.between += carried(server)
                self._open -= 1


class Passage:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._broken = False

    def run(self) -> None:
        """Pass on all that comes, both ways, until both have ended, or one is gone."""
        with suppress(OSError):
            self._server.connect((LOOPBACK, self._proxy.target))
            asking = threading.Thread(target=self._ask)
            asking.start()
            try:
                self._answer()
            except OSError:
                self._broken = True
                deliver(self._client)
                self._stop_reading()
            asking.join()
            if not self._broken:
                return
        for sock in (self._client, self._server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _ask(self) -> None:
        try:
            while data := self._client.recv(PIECE):
                self._server.sendall(data)
            self._server.shutdown(socket.SHUT_WR)
        except OSError:
            self._broken = True
            self._stop_reading()

    def _answer(self) -> None:
        data = bytearray(PIECE)
        view = memoryview(data)
        while count := self._server.recv_into(data):
            self._proxy.pass_on(view[:count])
            self._client.sendall(view[:count])
        if not self._broken:
            self._client.shutdown(socket.SHUT_WR)

    def _stop_reading(self) -> None:
        """Wake up the other thread, which reads."""
        for sock in (self._client, self._server):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RD)


def tcp_info(sock: socket.socket) -> bytes:
    """What the kernel knows of a connection: struct tcp_info of linux/tcp.h."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)


def carried(sock: socket.socket) -> int:
    """Bytes that the kernel sent and received on a connection, and those it sent again."""
    info = tcp_info(sock)
    received: int = struct.unpack_from("Q", info, 128)[0]
    sent: int = struct.unpack_from("Q", info, 200)[0]
    return received + sent


def deliver(sock: socket.socket) -> None:
    """Wait until the other end's kernel has all that was sent, unless it is gone or takes none."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        info = tcp_info(sock)
        unacknowledged, unsent = (
            struct.unpack_from("I", info, 24),
            struct.unpack_from("I", info, 144),
        )
        there = info[0] in (TCP_ESTABLISHED, TCP_CLOSE_WAIT)
        if not there or not (unacknowledged[0] or unsent[0]):
            break
        time.sleep(0.002)
