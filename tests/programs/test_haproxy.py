"""Tests daemons behind HAProxy, by the configuration that is handed out: whose connections they
are, and that no download fails when a daemon goes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.daemons import SECONDS, Daemon, Log, daemon_of, until

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
CONFIGURATION = Path(__file__).resolve().parents[2] / "etc" / "haproxy" / "tcpdl.cfg"
LARGE = os.urandom(8_000_000)

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")


class Behind(NamedTuple):
    """Two daemons behind HAProxy."""

    port: int
    daemons: list[Daemon]

    def ask(self, host: str, *, keep: list[socket.socket] | None = None) -> bytes:
        """What a client at `host` is answered."""
        sock = socket.create_connection(("127.0.0.1", self.port), SECONDS, (host, 0))
        version = b"1.0" if keep is None else b"1.1"
        sock.sendall(b"GET /small HTTP/%s\r\nHost: localhost\r\n\r\n" % version)
        received = b""
        while not received.endswith(b"content") and (data := sock.recv(65536)):
            received += data
        if keep is None:
            sock.close()
        else:
            keep.append(sock)
        return received

    def get(self, out: Path) -> subprocess.Popen[bytes]:
        """Begin to fetch the large file."""
        program = [sys.executable, "-m", "tcpdl", "get", "--dialect", "native", "-o", str(out)]
        return subprocess.Popen([*program, f"127.0.0.1:{self.port}/large"], stderr=subprocess.PIPE)


@contextmanager
def behind(tmp_path: Path, *options: str) -> Iterator[Behind]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_bytes(b"content")
    (root / "large").write_bytes(LARGE)
    with ExitStack() as stack:
        daemons = [
            stack.enter_context(daemon_of(root, "--proxy-from=127.0.0.1", *options))
            for _ in range(2)
        ]
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        text = CONFIGURATION.read_text()
        places = {"bind :8080": f"bind fd@{listener.fileno()}", "maxconn 10000": "maxconn 100"}
        for number, daemon in enumerate(daemons):
            places[f"127.0.0.1:{8081 + number}\n"] = f"127.0.0.1:{daemon.port}\n"
        for handed_out, ours in places.items():
            assert handed_out in text
            text = text.replace(handed_out, ours)
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(text)
        assert HAPROXY is not None
        process = stack.enter_context(
            subprocess.Popen(
                [HAPROXY, "-db", "-f", str(configuration)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[listener.fileno()],
            )
        )
        log = Log(process)
        stack.callback(log.join)
        stack.callback(process.kill)
        yield Behind(listener.getsockname()[1], daemons)


def test_whose_connections_they_are(tmp_path: Path) -> None:
    with behind(tmp_path, "--max-connections-per-address=1") as proxied:
        kept: list[socket.socket] = []
        for host in ("127.0.0.2", "127.0.0.2", "127.0.0.3"):
            assert proxied.ask(host, keep=kept).endswith(b"content")
        assert proxied.ask("127.0.0.2").startswith(b"HTTP/1.1 503 ")
        for sock in kept:
            sock.close()
        for daemon in proxied.daemons:
            daemon.process.send_signal(signal.SIGTERM)
            daemon.process.wait(SECONDS)
            daemon.log.join()
        said = "".join(daemon.log.text for daemon in proxied.daemons)
        served = [line for line in said.split("\n") if "outcome=complete" in line]
        assert sorted(line.count("client=127.0.0.2 ") for line in served) == [0, 1, 1], said
        assert sum(line.count("client=127.0.0.3 ") for line in served) == 1
        assert "127.0.0.2:" in said.partition(" was refused")[0].rpartition("\n")[2]
        assert "health" not in said, "who looks after us comes into no log"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_download_fails_when_a_daemon_goes(number: signal.Signals, tmp_path: Path) -> None:
    with behind(tmp_path, "--drain=1", "--max-rate-per-connection=4M") as proxied:
        outs = [tmp_path / f"out-{index}" for index in range(4)]
        clients = [proxied.get(out) for out in outs]
        try:
            until(lambda: all(any(tmp_path.glob(f"{out.name}*")) for out in outs))
            victim = proxied.daemons[0].process
            victim.send_signal(number)
            victim.wait(SECONDS)
            ended = [client.communicate(timeout=SECONDS)[1] for client in clients]
        finally:
            for client in clients:
                client.kill()
                client.wait()
        assert [client.returncode for client in clients] == [0] * 4, ended
        assert all(out.read_bytes() == LARGE for out in outs)
        for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            assert proxied.ask(host).endswith(b"content")
