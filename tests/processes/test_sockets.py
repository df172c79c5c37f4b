"""Tests the sockets that the parent opens for its workers."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as real_reactor
from twisted.internet.protocol import Factory, Protocol

from tcpdl.options.daemon import Options
from tcpdl.processes.sockets import Handed, Shared, adopt_handed, close, open_shared, rest
from tcpdl.server.adopting import adopt_port
from tcpdl.server.listening import CannotListen, bind, bind_several
from tests.descriptors import open_descriptors

reactor: Any = real_reactor


def opened(*words: str, workers: int = 3) -> tuple[list[Shared], list[Any]]:
    options = Options()
    options.parseOptions(list(words))
    return open_shared(options, workers, reactor)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[list[Shared]]:
    """One port of each kind that there is."""
    found, ports = opened(
        "--port=0",
        "--interface=127.0.0.1",
        "--echo-port=0",
        "--listen=tcp:0:interface=127.0.0.1",
        f"--listen=unix:{tmp_path}/socket:mode=600",
        "--listen=haproxy:tcp:0:interface=127.0.0.1",
    )
    yield found
    close(found, ports)
    assert not (tmp_path / "socket").exists()


def named(fd: int) -> Any:
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.getsockname()


def test_each_worker_has_a_socket_of_its_own_where_there_can_be_several(
    shared: list[Shared], tmp_path: Path
) -> None:
    assert [one.kind for one in shared] == ["files", "echo", "files", "files", "files"]
    assert [len(one.sockets) for one in shared] == [3, 3, 3, 1, 3]
    assert [one.wrapped for one in shared] == [False] * 4 + [True]
    for one in shared:
        assert len({named(fd) for fd in one.sockets}) == 1
    assert named(shared[3].sockets[0]) == f"{tmp_path}/socket"
    assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600


def test_connections_are_shared_out_and_wait_where_nobody_accepts(shared: list[Shared]) -> None:
    port = shared[0]
    clients = [socket.create_connection(named(port.sockets[0])) for _ in range(60)]
    counts = []
    for fd in port.sockets:
        with socket.socket(fileno=os.dup(fd)) as sock:
            sock.setblocking(False)
            count = 0
            try:
                while True:
                    accepted, _ = sock.accept()
                    # Should the worker die before it has served it, no half answer looks whole.
                    linger = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
                    assert struct.unpack("ii", linger) == (1, 0)
                    accepted.close()
                    count += 1
            except BlockingIOError:
                counts.append(count)
    for client in clients:
        client.close()
    assert sum(counts) == 60
    assert all(counts), counts


def accepted(fd: int) -> int:
    """How many wait at a socket to be accepted; they need wait no more."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setblocking(False)
        count = 0
        with suppress(BlockingIOError):
            while True:
                sock.accept()[0].close()
                count += 1
        return count


@pytest.mark.parametrize("place", [0, 2])
def test_where_nobody_will_be_soon_nobody_comes(shared: list[Shared], place: int) -> None:
    port, unix = shared[0], shared[3]
    where, mine = named(port.sockets[0]), port.sockets[place]
    others = [fd for fd in port.sockets if fd != mine]
    for _ in range(2):
        rest(shared, place, 3)
    clients = [socket.create_connection(where, 5) for _ in range(20)]
    assert sum(map(accepted, others)) == 20
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(named(unix.sockets[0]))  # which all have together
    # Until somebody takes the place.
    handed = Handed(os.dup(mine), "files", port.family, None, False)
    adopt_handed(reactor, handed)
    os.close(handed.fd)
    assert named(mine) == where
    clients += [socket.create_connection(where, 5) for _ in range(60)]
    assert accepted(mine)
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    "opens",
    [
        lambda port: bind("127.0.0.1", port),
        lambda port: bind_several("127.0.0.1", port, 2),
        lambda port: bind_several("0.0.0.0", port, 2),
    ],
    ids=["alone", "several", "every address"],
)
def test_a_port_that_another_daemon_shares_among_its_workers_is_in_use(
    opens: Callable[[int], object],
) -> None:
    socks = bind_several("127.0.0.1", 0, 2)
    port = socks[0].getsockname()[1]
    try:
        with pytest.raises(CannotListen, match=f"port {port} .*in use"):
            opens(port)
    finally:
        for sock in socks:
            sock.close()


def test_what_was_opened_is_closed_again_if_not_all_can_be(tmp_path: Path) -> None:
    close(*opened(f"--listen=unix:{tmp_path}/first"))  # Twisted keeps a descriptor in reserve
    with socket.create_server(("127.0.0.1", 0)) as busy:
        before = set(open_descriptors())
        with pytest.raises(CannotListen, match="in use"):
            opened(
                "--port=0",
                "--interface=127.0.0.1",
                f"--listen=unix:{tmp_path}/socket",
                f"--listen=tcp:{busy.getsockname()[1]}:interface=127.0.0.1",
            )
        assert set(os.listdir("/dev/fd")) == before
    assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("kind", ["stdio:", "unheard-of:1", "systemd:domain=INET:index=9"])
def test_an_endpoint_that_cannot_be_shared_is_refused(kind: str) -> None:
    with pytest.raises(CannotListen, match=f"--listen {kind}"):
        opened(f"--listen={kind}")


def test_each_socket_has_a_worker_and_each_worker_a_socket() -> None:
    for count in range(1, 9):
        port = Shared("files", socket.AF_INET, tuple(range(count)))
        for workers in range(1, 9):
            of = [set(port.of(worker, workers)) for worker in range(workers)]
            assert all(of)
            assert set().union(*of) == set(range(count))


def test_a_worker_does_not_remove_what_it_was_given(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        os.chmod(path, 0o640)
        factory = Factory.forProtocol(Protocol)
        port: Any = adopt_port(reactor, os.dup(sock.fileno()), socket.AF_UNIX, factory)
        port.stopReading()
        port.connectionLost(None)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)  # others still listen on it


def test_who_waits_on_a_unix_socket_can_be_accepted_once_the_parent_has_closed_it(
    tmp_path: Path,
) -> None:
    shared, ports = opened(f"--listen=unix:{tmp_path}/socket")
    with (
        socket.socket(fileno=os.dup(shared[0].sockets[0])) as of_a_worker,
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.connect(f"{tmp_path}/socket")
        close(shared, ports)
        assert not (tmp_path / "socket").exists()
        of_a_worker.accept()[0].close()


def test_what_stands_before_a_port_is_made_anew_by_the_worker() -> None:
    shared, ports = opened("--listen=haproxy:tcp:0:interface=127.0.0.1", workers=1)
    try:
        fd = os.dup(shared[0].sockets[0])
        found = adopt_handed(
            reactor, Handed(fd, "files", socket.AF_INET, shared[0].description, True)
        )
        factory = Factory.forProtocol(Protocol)
        port: Any = []
        found.endpoint.listen(factory).addCallback(port.append)
        assert port[0].factory is not factory
        assert port[0].getHost().port == named(shared[0].sockets[0])[1]
        port[0].stopReading()
        port[0].connectionLost(None)
    finally:
        close(shared, ports)
