"""Tests what HTTP answers to what it does not do, and what then becomes of the connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tcpdl.content.directory import Directory
from tcpdl.content.errors import Unavailable
from tcpdl.web.hosts import Hosts
from tests.server.conftest import Connect
from tests.server.http_client import Client, HttpServer, Reply, get, settle

DATES = ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


@pytest.fixture
def server(tmp_path: Path, connect: Connect) -> Iterator[HttpServer]:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    (root / ".hidden").write_bytes(b"hidden")
    (root / "out").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    server = HttpServer(root, connect)
    yield server
    server.close()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return server.connect()


def assert_refused(reply: Reply, status: int, client: Client, *, ends: bool) -> None:
    assert reply.status == status
    assert (reply.get("connection") == "close") is ends
    assert client.ended is ends
    assert reply["content-type"] == "text/plain; charset=utf-8"
    assert reply["x-content-type-options"] == "nosniff"
    sentence = reply.body.decode()
    assert sentence.endswith("\n")
    assert sentence[:-1].isprintable()
    assert 10 < len(sentence) < 200
    if not ends:
        assert client.fetch("/file").body == b"content"


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/absent", [], 404),
        ("/file/", [], 404),
        ("/file/x", [], 404),
        ("/.hidden", [], 404),
        ("/out", [], 404),
        ("/out/root/file", [], 404),
        ("/fifo", [], 404),
        ("/../file", [], 404),
        ("/%2e%2e/file", [], 404),
        ("/folder%2ffile", [], 404),
        ("/a%00b", [], 404),
        ("/" + "a" * 300, [], 404),
        ("/" + "a/" * 2000, [], 404),
        ("/.well-known/tcpdl/absent", [], 404),
        ("/.well-known/tcpdl/", [], 404),
        ("/.well-known/tcpdl/health/", [], 404),
        ("/%zz", [], 400),
        ("/file?" + "&".join(f"a{n}=1" for n in range(50)), [], 400),
        ("/folder/?format=xml", [], 400),
        ("/folder/?sort=colour", [], 400),
        ("/folder/?sort=-", [], 400),
        ("/folder/?filter=" + "x" * 300, [], 400),
        ("/folder/?archive=rar", [], 400),
        ("/folder/?archive=", [], 400),
        ("/folder/?sums=md5", [], 400),
        ("/file", ['If-Match: "another"'], 412),
        ("/file", [f"If-Unmodified-Since: {DATES[0]}"], 412),
    ],
)
def test_the_connection_goes_on(
    target: str,
    fields: list[str],
    status: int,
    client: Client,
    descriptors: Callable[[], int],
) -> None:
    before = descriptors()
    reply = client.fetch(target, *fields)
    assert_refused(reply, status, client, ends=False)
    head = client.fetch(target, *fields, method="HEAD")
    assert (head.status, head.steady) == (status, reply.steady)
    assert descriptors() == before


@pytest.mark.parametrize("asked", ["7-", "100-200", "-0"])
def test_ranges_that_hold_nothing(asked: str, client: Client) -> None:
    reply = client.fetch("/file", f"Range: bytes={asked}")
    assert reply["content-range"] == "bytes */7"
    assert_refused(reply, 416, client, ends=False)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /file HTTP/1.1\r\n\r\n", 400),
        (b"GET /file HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /file HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /file HTTP/1.1\nHost: a\n\n", 400),
        (b"GET  /file HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /file HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", 400),
        (get("/file", "Content-Length: 1", "Content-Length: 2"), 400),
        (get("/file", "Content-Length: 1", "Transfer-Encoding: chunked"), 400),
        (get("/file#x"), 400),
        (get("/file", method="POST"), 405),
        (get("/file", method="DELETE"), 405),
        (get("/file", "Content-Length: 99999999"), 413),
        (get("/file", "Transfer-Encoding: chunked"), 413),
        (get("/" + "a" * 9000), 414),
        (b"GET /" + b"a" * 9000, 414),
        (get("/file", "Expect: miracles"), 417),
        (get("/file", "X: " + "a" * 20_000), 431),
        (get("/file", *(f"X{n}: a" for n in range(200))), 431),
        (get("/file", method="BREW"), 501),
        (get("/file", "Transfer-Encoding: gzip, chunked"), 501),
        (b"GET /file HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /file HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_the_connection_ends(said: bytes, status: int, before: int, client: Client) -> None:
    """After the requests that came before were answered. What comes behind is not."""
    client.say(*[get("/file")] * before)
    client.connection.say(said + get("/file"))
    *others, reply = client.hear()
    assert [other.body for other in others] == [b"content"] * before
    assert_refused(reply, status, client, ends=True)
    client.connection.say(get("/file"))
    assert client.hear() == []


def test_methods_are_named(client: Client) -> None:
    assert client.fetch("/file", method="PUT")["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("target", ["/", "*", "/absent", "/.well-known/tcpdl/health"])
def test_options(target: str, client: Client) -> None:
    reply = client.fetch(target, method="OPTIONS")
    assert (reply.status, reply["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert reply.get("content-length") is None
    assert not client.ended


@pytest.mark.parametrize("target", ["/file", "/folder/", "/folder/?archive=tar", "/?sums=sha256"])
def test_what_cannot_be_opened_now(
    target: str, server: HttpServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise Unavailable("it cannot be opened: Too many open files")

    with monkeypatch.context() as patch:
        for method in ("walk", "stat"):
            patch.setattr(Directory, method, fail)
        if target == "/file":
            patch.setattr(Directory, "open_file", fail)
        reply = client.fetch(target)
    assert_refused(reply, 503, client, ends=False)
    assert reply["retry-after"] == "5"


@pytest.mark.parametrize(
    ("target", "status"), [("/absent", 404), ("/%zz", 400), ("/folder/?sort=x", 400)]
)
def test_people_get_a_page(target: str, status: int, client: Client) -> None:
    reply = client.fetch(target, "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
    assert (reply.status, reply["content-type"]) == (status, "text/html; charset=utf-8")
    assert reply["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in reply["content-security-policy"]
    assert reply.body.startswith(b"<!doctype html>")
    head = client.fetch(target, "Accept: text/html", method="HEAD")
    assert head["content-length"] == str(len(reply.body))


def test_a_page_holds_nothing_of_the_request(client: Client) -> None:
    reply = client.fetch("/%3Cscript%3Ealert(1)%3C/script%3E", "Accept: text/html")
    assert b"alert" not in reply.body


@given(
    said=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [
                    *(b"GET", b" ", b"/file", b"HTTP/1.1", b"\r\n", b"\n", b"Host: a", b":", b"%"),
                    *(b"\0", b"Content-Length: 5", b"Range: bytes=", b"0-1", b",", b"\xff", b"?"),
                    *(b"HEAD", b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n"),
                ]
            ),
            max_size=25,
        ).map(b"".join),
    ),
    size=st.integers(1, 50),
)
@example(said=b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", size=1)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_said(said: bytes, size: int, server: HttpServer) -> None:
    """Nobody complains, what is answered is well formed, and pieces make no difference."""
    answers = []
    for step in (size, len(said) + 1):
        client = server.connect()
        for at in range(0, len(said), step):
            client.connection.say(said[at : at + step])
        client.connection.half_close()
        replies = [] if said.startswith(b"HEAD") or b"\nHEAD" in said else client.hear()
        assert client.ended
        assert not client.connection.transport.connected
        answers.append([(reply.status, reply.steady, reply.body) for reply in replies])
    assert answers[0] == answers[1]
    assert len(server.deadlines) == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [("files.example:8080", 200), ("localhost", 200), ("127.0.0.1:80", 200), ("evil.example", 421)],
)
@pytest.mark.parametrize("target", ["/small", "/folder/", "/.well-known/tcpdl/health"])
def test_requests_for_other_hosts(
    target: str, host: str, status: int, tmp_path: Path, connect: Connect
) -> None:
    root = tmp_path / "guarded"
    (root / "folder").mkdir(parents=True)
    (root / "small").write_bytes(b"small content")
    server = HttpServer(root, connect, hosts=Hosts(["files.example"]))
    client = server.connect()
    request = get(target).replace(b"files.example:8080", host.encode())
    (reply,) = client.ask(request)
    assert reply.status == status
    assert not client.ended
    server.close()
