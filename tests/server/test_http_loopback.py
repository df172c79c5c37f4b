"""Tests HTTP of the whole daemon, in a process of its own, over real sockets."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.server.http_client import get
from tests.server.test_direct import Certificate
from tests.server.test_loopback import REACTORS, SECONDS, Daemon

LARGE = os.urandom(5_000_000)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    (root / "folder").mkdir()
    (root / "large").write_bytes(LARGE)
    (root / "small").write_bytes(b"small content")
    return root


@pytest.fixture(scope="module", params=REACTORS)
def daemon(request: pytest.FixtureRequest, root: Path) -> Iterator[Daemon]:
    daemon = Daemon(root, request.param, "--port=0", "--interface=127.0.0.1")
    yield daemon
    daemon.stop()
    assert not [line for line in daemon.log if "Traceback" in line]


def test_a_connection_is_kept(daemon: Daemon) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port(), timeout=SECONDS)
    connection.connect()
    sock = connection.sock
    for _ in range(2):
        for target, body in [("/small", b"small content"), ("/large", LARGE)]:
            connection.request("GET", target)
            assert connection.getresponse().read() == body
        for target in ("/?archive=tar", "/?archive=zip", "/", "/?sums=sha256", "/small?info"):
            connection.request("GET", target)
            reply = connection.getresponse()
            assert reply.status == 200
            reply.read()
    assert connection.sock is sock
    connection.close()


def said(daemon: Daemon, request: bytes, *, half_close: bool) -> bytes:
    """All that the daemon says to `request`."""
    with socket.create_connection(("127.0.0.1", daemon.port()), SECONDS) as client:
        client.sendall(request)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        heard = b""
        while data := client.recv(1 << 20):
            heard += data
        return heard


def test_half_close(daemon: Daemon) -> None:
    heard = said(daemon, get("/large") + get("/?archive=tar") + get("/small"), half_close=True)
    assert LARGE in heard
    assert heard.endswith(b"small content")


def test_bytes_that_nobody_reads_do_not_cost_the_answer(daemon: Daemon) -> None:
    request = get("/large", "Content-Length: 9999999", method="POST") + b"." * 500_000
    heard = said(daemon, request, half_close=False)
    assert heard.startswith(b"HTTP/1.1 405 ")
    request = get("/large", "Connection: close") + get("/small") * 10_000
    assert said(daemon, request, half_close=False).endswith(LARGE)


def test_a_client_that_asks_much_and_reads_nothing(daemon: Daemon) -> None:
    said(daemon, get("/small", "Connection: close"), half_close=False)
    before = daemon.memory()
    with socket.create_connection(("127.0.0.1", daemon.port()), SECONDS) as client:
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            client.sendall(get("/small") * 400_000)
        assert daemon.memory() - before < 20_000_000
        assert said(daemon, get("/small", "Connection: close"), half_close=False)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(daemon: Daemon, tmp_path: Path) -> None:
    """It continues what it has begun."""
    copy = tmp_path / "copy"
    copy.write_bytes(LARGE[:1_000_000])
    url = f"http://127.0.0.1:{daemon.port()}/large"
    subprocess.run(["curl", "-sSf", "-C", "-", "-o", copy, url], check=True, timeout=SECONDS)
    assert copy.read_bytes() == LARGE


def test_encrypted(root: Path, tmp_path: Path) -> None:
    """Files go through a layer that knows nothing of them; nothing is half-closed."""
    certificate = Certificate()
    key = certificate._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path = tmp_path / "pem"
    path.write_text(key + certificate.pem)
    daemon = Daemon(root, "epoll", f"--listen=ssl:0:interface=127.0.0.1:privateKey={path}")
    (port,) = daemon.wait_for(r"starting on (\d+)")
    context = ssl.create_default_context(cadata=certificate.pem)
    context.set_alpn_protocols(["h2", "http/1.1"])  # as all browsers, and curl, do
    connection = http.client.HTTPSConnection(
        "localhost", int(port), timeout=SECONDS, context=context
    )
    for _ in range(2):
        for target in ("/large", "/small", "/?archive=tar"):
            connection.request("GET", target)
            body = connection.getresponse().read()
            assert body == LARGE or b"small content" in body
    connection.request("GET", "/small?info")
    page = connection.getresponse().read().decode()
    assert f"curl -fo small https://localhost:{port}/small" in page
    assert "http://" not in page
    plain = socket.create_connection(("127.0.0.1", int(port)), SECONDS)
    with context.wrap_socket(plain, server_hostname="localhost") as encrypted:
        encrypted.sendall(get("/?archive=tar", minor=0))
        heard = b""
        while data := encrypted.recv(1 << 20):
            heard += data
        assert LARGE in heard
    connection.close()
    daemon.stop()
    assert not [line for line in daemon.log if "Traceback" in line]


def test_the_log(root: Path) -> None:
    """What was answered is in it, however the daemon ends."""
    daemon = Daemon(root, "epoll", "--port=0", "--interface=127.0.0.1")
    said(daemon, get("/small?last", "Connection: close"), half_close=False)
    daemon.stop()
    found = 'outcome=complete sent=13 .* method=GET status=200 name="/small\\?last"'
    assert [line for line in daemon.log if re.search(found, line)]
