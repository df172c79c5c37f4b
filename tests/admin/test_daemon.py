"""Tests what a daemon tells its administrator: real ones, on real sockets."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

import tcpdl
from tcpdl.admin.opening import open_admin
from tcpdl.options.admin import AdminAddress
from tcpdl.server.listening import CannotListen
from tests.admin.asking import Answer, UnixConnection, ask
from tests.daemons import SECONDS, Daemon, daemon_of, until

SIZE = 300_000
LARGE = 100_000_000


class Told(NamedTuple):
    daemon: Daemon
    path: Path

    def ask(self, path: str, method: str = "GET", **fields: str) -> Answer:
        return ask(UnixConnection(str(self.path)), path, method, **fields)

    def figures(self) -> dict[str, float]:
        """All samples, by name and labels."""
        answer = self.ask("/metrics")
        assert answer.status == 200
        return {
            sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): (
                sample.value
            )
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def fetch(self, name: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=SECONDS)
        try:
            connection.request("GET", f"/{name}")
            return connection.getresponse().read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    root = folder / "root"
    root.mkdir()
    (root / "file").write_bytes(os.urandom(SIZE))
    with (root / "large").open("wb") as large:
        large.truncate(LARGE)
    path = folder / "admin.sock"
    with daemon_of(root, f"--admin=unix:{path}") as daemon:
        daemon.log.wait_for(r"(metrics and status on unix:)")
        yield Told(daemon, path)
    assert not path.exists()


def test_what_one_request_adds(told: Told) -> None:
    before = told.figures()
    assert len(told.fetch("file")) == SIZE
    until(lambda: told.figures()["tcpdl_connections_open"] == 0)
    after = told.figures()

    def added(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert added("tcpdl_connections_accepted_total") == 1
    assert added("tcpdl_connections_recognised_total http") == 1
    assert added("tcpdl_requests_total http complete") == 1
    assert added("tcpdl_content_bytes_total http") == SIZE
    assert added("tcpdl_sent_bytes_total sendfile") == SIZE
    assert 0 < added("tcpdl_sent_bytes_total copy") < 2000
    assert added("tcpdl_sent_bytes_total tls") == 0
    assert added("tcpdl_received_bytes_total") > 20
    assert added("tcpdl_read_errors_total") == 0
    assert not [name for name in before if name.endswith("_total") and added(name) < 0]


def test_what_the_process_is(told: Told) -> None:
    figures = told.figures()
    pid = told.daemon.process.pid
    assert figures["tcpdl_descriptors_open daemon"] in range(5, 100)
    assert figures["tcpdl_descriptors_limit daemon"] >= 1024
    assert figures["tcpdl_resident_memory_bytes daemon"] > 1 << 20
    assert figures["tcpdl_cpu_seconds_total"] > 0
    assert figures[f"tcpdl_build_info {tcpdl.__version__}"] == 1
    status = told.ask("/status").document
    assert status["pid"] == pid
    assert status["version"] == tcpdl.__version__
    assert status["healthy"] is True
    assert status["ports"] == [told.daemon.where]
    assert status["transfers"] == []
    assert status["certificate_ends"] is None
    assert status["started"] == pytest.approx(figures["tcpdl_start_time_seconds daemon"])


def test_connections_are_told_by_address(told: Told) -> None:
    with told.daemon.connect():
        until(lambda: told.figures()["tcpdl_connections_open"] == 1)
        status = told.ask("/status").document
        assert status["addresses"] == [{"address": "127.0.0.1", "connections": 1}]
        assert status["connections"]["open"] == 1


def test_what_is_being_sent(told: Told) -> None:
    with told.daemon.connect() as sock:
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=10-\r\n\r\n")
        assert sock.recv(1)
        until(lambda: told.ask("/status").document["transfers"])
        status = told.ask("/status").document
        (transfer,) = status["transfers"]
        assert transfer["peer"] == f"127.0.0.1:{sock.getsockname()[1]}"
        assert (transfer["dialect"], transfer["secure"], transfer["user"]) == ("http", False, None)
        assert transfer["what"] == "/large"
        assert (transfer["span"], transfer["size"]) == ([10, LARGE], LARGE)
        assert 0 < transfer["sent"] < LARGE
        assert transfer["rate"] > 0
        assert status["requests"]["live"] == 1
        figures = told.figures()
        assert figures["tcpdl_requests_in_progress"] == 1
        # What goes on is counted already, and not anew when it is over.
        assert figures["tcpdl_content_bytes_total http"] >= transfer["sent"]
    until(lambda: told.figures()["tcpdl_requests_in_progress"] == 0)
    after = told.figures()
    assert after["tcpdl_content_bytes_total http"] >= figures["tcpdl_content_bytes_total http"]
    assert after["tcpdl_requests_total http broken"] == 1


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/"])
def test_well(told: Told, path: str) -> None:
    answer = told.ask(path)
    assert answer.status == 200
    assert answer.fields["cache-control"] == "no-store"
    assert answer.fields["server"] == "tcpdl"


def test_what_there_is_not(told: Told) -> None:
    assert told.ask("/nothing").status == 404
    assert told.ask("/metrics/deeper").status == 404


def test_nothing_can_be_changed(told: Told) -> None:
    head = told.ask("/metrics", "HEAD")
    assert (head.status, head.text) == (200, "")
    for method in ("POST", "PUT", "DELETE"):
        assert told.ask("/metrics", method).status == 405


def test_no_content_is_taken(told: Told) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(str(told.path))
        sock.sendall(
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
        )
        assert sock.recv(1) == b""


def test_a_connection_is_for_one_request(told: Told) -> None:
    """Many that come together would all be answered before any client of the daemon."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(told.path))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        answer = b""
        with suppress(ConnectionResetError):  # since more has come than was read
            while data := connection.recv(1 << 16):
                answer += data
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("field", [b"Accept", b"Host"])
def test_fields_that_are_no_text(told: Told, field: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(told.path))
        connection.sendall(b"GET /metrics HTTP/1.1\r\n" + field + b": \xff\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")


def test_many_connections_are_closed(told: Told) -> None:
    opened = []
    for _ in range(40):
        opened.append(socket.socket(socket.AF_UNIX))
        opened[-1].settimeout(SECONDS)
        opened[-1].connect(str(told.path))
    # The last ones were let in by the kernel, and nobody else.
    assert opened[-1].recv(1) == b""
    for sock in opened:
        sock.close()
    until(lambda: _answers(told))


def _answers(told: Told) -> bool:
    try:
        return told.ask("/health").status == 200
    except (OSError, http.client.HTTPException):
        return False


def test_socket_is_for_owner_and_group(told: Told) -> None:
    status = told.path.stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660


def test_on_the_loopback_interface(tmp_path: Path) -> None:
    with daemon_of(tmp_path, "--admin=tcp:0") as daemon:
        port = int(daemon.log.wait_for(r"metrics and status on tcp:127\.0\.0\.1:(\d+)"))

        def asked(host: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
            return ask(connection, "/metrics", Host=host).status

        assert asked("127.0.0.1") == asked(f"localhost:{port}") == 200
        # A page whose name leads here is let read nothing.
        assert asked("evil.example") == asked(f"evil.example:{port}") == 421


def test_socket_that_was_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    root = tmp_path / "root"
    root.mkdir()
    with daemon_of(root, f"--admin=unix:{path}") as daemon:
        assert ask(UnixConnection(str(path)), "/health").status == 200
        # A second daemon leaves it alone.
        assert "another program listens on" in refused(path)
        assert ask(UnixConnection(str(path)), "/health").status == 200
        # What takes its place is not removed.
        path.unlink()
        path.write_bytes(b"")
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(SECONDS)
    assert path.read_bytes() == b""
    assert "is no socket" in refused(path)
    assert "there is no folder" in refused(tmp_path / "none" / "admin.sock")


def test_the_socket_is_given_to_whom_twistd_becomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, int, int]] = []

    def chown(path: str, uid: int, gid: int) -> None:
        given.append((os.path.realpath(path), uid, gid))

    monkeypatch.setattr("os.chown", chown)
    path = tmp_path / "admin.sock"
    port = open_admin(MemoryReactorClock(), AdminAddress(str(path)), Factory(), (5, -1))
    port.connectionLost(Failure(ConnectionDone()))
    assert given == [(str(path), 5, -1)]
    assert not path.exists()


def refused(path: Path) -> str:
    """Why there can be no port of the administrator at `path`."""
    with pytest.raises(CannotListen) as failure:
        open_admin(MemoryReactorClock(), AdminAddress(str(path)), Factory())
    return str(failure.value)
