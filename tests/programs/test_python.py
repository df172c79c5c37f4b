"""Tests Python's own modules against the daemon, and programs that write HTTP to a socket."""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
import tarfile
import urllib.error
import urllib.request
import zipfile
from io import BytesIO
from urllib.parse import quote

import pytest

from tests.daemons import SECONDS, Daemon
from tests.programs.conftest import NAMES, path_in


@pytest.fixture
def connection(daemon: Daemon) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=SECONDS)


def test_urllib(daemon: Daemon) -> None:
    with urllib.request.urlopen(f"{daemon.url}/medium", timeout=SECONDS) as answer:
        assert answer.read() == (daemon.root / "medium").read_bytes()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{daemon.url}/missing", timeout=SECONDS)
    assert caught.value.code == 404
    caught.value.close()


def test_urlretrieve_counts_the_bytes(daemon: Daemon) -> None:
    sizes = set()
    name, _ = urllib.request.urlretrieve(
        f"{daemon.url}/medium", reporthook=lambda *counts: sizes.add(counts[2])
    )
    with open(name, "rb") as file:
        assert file.read() == (daemon.root / "medium").read_bytes()
    assert sizes == {3_000_001}
    urllib.request.urlcleanup()


def test_one_connection_for_all(daemon: Daemon, connection: http.client.HTTPConnection) -> None:
    sock = None
    for name in NAMES:
        for method in ("GET", "HEAD"):
            connection.request(method, f"/names/{quote(name, safe='')}")
            answer = connection.getresponse()
            content = path_in(daemon.root / "names", name).read_bytes()
            assert answer.status == 200
            assert answer.headers["Content-Length"] == str(len(content))
            assert answer.read() == (content if method == "GET" else b"")
            sock = sock or connection.sock
            assert connection.sock is sock
    connection.close()


def test_a_download_of_which_little_is_read(connection: http.client.HTTPConnection) -> None:
    """Whoever leaves in the middle harms nobody."""
    for _ in range(20):
        connection.request("GET", "/huge")
        assert len(connection.getresponse().read(1000)) == 1000
        connection.close()
    connection.request("GET", "/hello.txt")
    assert connection.getresponse().read() == b"hello\n"
    connection.close()


def test_a_digest_that_was_asked_for(
    daemon: Daemon, connection: http.client.HTTPConnection
) -> None:
    connection.request("GET", "/medium", headers={"Want-Repr-Digest": "sha-256=1"})
    answer = connection.getresponse()
    content = answer.read()
    value = answer.headers["Repr-Digest"]
    connection.close()
    digest = hashlib.sha256((daemon.root / "medium").read_bytes()).digest()
    assert hashlib.sha256(content).digest() == digest
    assert value == f"sha-256=:{base64.b64encode(digest).decode()}:"


def test_archives_as_they_come(daemon: Daemon) -> None:
    url = f"{daemon.url}/tree/?archive="
    with urllib.request.urlopen(f"{url}tar", timeout=SECONDS) as answer:
        found = {}
        with tarfile.open(fileobj=answer, mode="r|") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                found[member.name] = file.read() if file else None
    with urllib.request.urlopen(f"{url}zip", timeout=SECONDS) as answer:
        zipped = zipfile.ZipFile(BytesIO(answer.read()))
    assert zipped.testzip() is None
    assert {name.rstrip("/") for name in zipped.namelist()} == found.keys()
    for path in (daemon.root / "tree").rglob("*"):
        content = path.read_bytes() if path.is_file() else None
        name = str(path.relative_to(daemon.root))
        assert found[name] == content
        if content is not None:
            assert zipped.read(name) == content


# Bytes on a socket.


def answers(sock: socket.socket, methods: list[str]) -> list[tuple[int, bytes]]:
    """Status and body of an answer for each request; then the connection has to end."""
    found = []
    with sock.makefile("rb") as stream:
        for method in methods:
            status = int(stream.readline().split()[1])
            fields = http.client.parse_headers(stream)
            length = int(fields.get("Content-Length") or 0) if method != "HEAD" else 0
            found.append((status, stream.read(length)))
            assert len(found[-1][1]) == length
        assert stream.read() == b""
    return found


def request(path: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: a", *lines, "", "")).encode()


def test_requests_that_do_not_wait_for_answers(daemon: Daemon) -> None:
    """Small and large, found and not, all at once: the answers are in their order."""
    asked: list[tuple[str, str]] = []
    for number in range(200):
        asked.append(("GET", f"/tree/file{number % 20}.txt"))
        asked.append(("HEAD", "/huge"))
        if number % 20 == 0:
            asked += [("GET", "/medium"), ("GET", "/missing"), ("OPTIONS", "/")]
    stream = b"".join(request(path, method=method) for method, path in asked)
    with daemon.connect() as sock:
        sock.sendall(stream + request("/hello.txt", "Connection: close"))
        found = answers(sock, [*(method for method, _ in asked), "GET"])
    assert found.pop() == (200, b"hello\n")
    for (method, path), (status, body) in zip(asked, found, strict=True):
        if method == "OPTIONS":
            assert status == 204
        elif path == "/missing":
            assert status == 404
        else:
            assert status == 200
            assert method == "HEAD" or body == (daemon.root / path[1:]).read_bytes()


def test_a_request_byte_by_byte(daemon: Daemon) -> None:
    with daemon.connect() as sock:
        for byte in request("/hello.txt", "Connection: close"):
            sock.sendall(bytes([byte]))
        assert answers(sock, ["GET"]) == [(200, b"hello\n")]


def test_a_client_that_half_closes_gets_all_it_asked_for(daemon: Daemon) -> None:
    with daemon.connect() as sock:
        sock.sendall(request("/medium") + request("/hello.txt"))
        sock.shutdown(socket.SHUT_WR)
        found = answers(sock, ["GET", "GET"])
    assert found == [(200, (daemon.root / "medium").read_bytes()), (200, b"hello\n")]


def test_http_1_0_on_a_connection_that_is_kept(daemon: Daemon) -> None:
    kept = b"GET /hello.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    with daemon.connect() as sock:
        sock.sendall(kept * 2 + b"GET /hello.txt HTTP/1.0\r\n\r\n" + kept)
        assert answers(sock, ["GET"] * 3) == [(200, b"hello\n")] * 3


def test_the_line_that_old_browsers_sent_after_a_body(daemon: Daemon) -> None:
    with daemon.connect() as sock:
        sock.sendall(request("/hello.txt") + b"\r\n" + request("/empty", "Connection: close"))
        assert answers(sock, ["GET", "GET"]) == [(200, b"hello\n"), (200, b"")]


def test_a_target_as_proxies_send_it(daemon: Daemon) -> None:
    host = f"127.0.0.1:{daemon.port}"
    with daemon.connect() as sock:
        sock.sendall(
            f"GET http://{host}/hello.txt HTTP/1.1\r\nHost: {host}\r\n"
            "Proxy-Connection: keep-alive\r\nConnection: close\r\n\r\n".encode()
        )
        assert answers(sock, ["GET"]) == [(200, b"hello\n")]
