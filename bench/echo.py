"""The echo service: messages a second against asyncio, and memory for idle connections.

    python bench/echo.py [--seconds 3] [--rounds 5] [--idle 10000]

Each server gets 64-byte messages on 50 connections from the same load generator, in turn. Then IDLE
connections are opened to the daemon and left alone.
"""

from __future__ import annotations

import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.peers import (
    Server,
    command_line,
    free_port,
    in_turn,
    print_ratios,
    running,
    tcpdl_daemon,
)

CONNECTIONS = 50
MESSAGE = b"m" * 64

ASYNCIO = """
import asyncio, sys
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()
asyncio.run(main())
"""

STOCK = """
import sys
from twisted.internet import protocol, reactor
class Echo(protocol.Protocol):
    def connectionMade(self):
        self.transport.registerProducer(self.transport, True)
        self.transport.setTcpNoDelay(True)
    def dataReceived(self, data):
        self.transport.write(data)
factory = protocol.Factory.forProtocol(Echo)
reactor.listenTCP(int(sys.argv[1]), factory, 4096, "127.0.0.1")
reactor.run()
"""


def main() -> None:
    parser = command_line(__doc__, files=False)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--idle", type=int, default=10_000)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    echo_port = free_port()
    ours, port = tcpdl_daemon(Path(), "--echo-port", str(echo_port))
    asyncio_port, stock_port = free_port(), free_port()
    with (
        running(ours, port) as daemon,
        running([sys.executable, "-c", ASYNCIO, str(asyncio_port)], asyncio_port) as plain,
        running([sys.executable, "-c", STOCK, str(stock_port)], stock_port) as stock,
    ):
        runs = {
            "asyncio": load(plain, asyncio_port, options.seconds),
            "tcpdl": load(daemon, echo_port, options.seconds),
            "Twisted as it comes": load(stock, stock_port, options.seconds),
        }
        results = in_turn(runs, options.rounds)
        title = f"64 bytes on {CONNECTIONS} connections, messages/s, {options.rounds} rounds"
        print_ratios(title, results, "asyncio")
        idle(daemon, echo_port, min(options.idle, hard - 100))


def load(server: Server, port: int, seconds: float) -> Callable[[], float]:
    """Every connection sends a message, waits for it to come back, and sends the next."""

    def run() -> float:
        calls = {}
        sockets = []
        with select.epoll() as epoll:
            for _ in range(CONNECTIONS):
                sock = socket.create_connection(("127.0.0.1", port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                epoll.register(sock, select.EPOLLIN)
                calls[sock.fileno()] = sock.recv, sock.sendall
                sockets.append(sock)
                sock.sendall(MESSAGE)
            count = 0
            start = time.perf_counter()
            end = start + seconds
            while time.perf_counter() < end:
                for number, _ in epoll.poll():
                    receive, send = calls[number]
                    send(receive(4096))
                    count += 1
            rate = count / (time.perf_counter() - start)
        for sock in sockets:
            sock.close()
        return rate

    return run


def idle(daemon: Server, port: int, count: int) -> None:
    """Open `count` connections, use each once, and see what the daemon holds for them."""
    time.sleep(1)  # for the connections of the load to be gone
    before = daemon.rss()
    sockets = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(MESSAGE)
        if sock.recv(4096) != MESSAGE:
            sys.exit("the echo differs from what was sent")
        sockets.append(sock)
    each = (daemon.rss() - before) / count
    print(f"{count} idle connections: {each:,.0f} bytes of the daemon's memory each")
    for sock in sockets:
        sock.close()


if __name__ == "__main__":
    main()
