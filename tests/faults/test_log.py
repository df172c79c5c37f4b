"""Tests what many bad requests leave in the log: for each a line that is not long, and controls
nothing."""

from __future__ import annotations

import itertools
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from tcpdl import digest
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.native import Error, Get
from tests.daemons import Daemon, daemon_of
from tests.faults.conftest import encrypting
from tests.faults.fetching import SECONDS, fetch
from tests.hostile.texts import texts

FLOOD, BATCH = 20_000, 200
"""Requests on one connection, and how many are sent together."""

CONNECTIONS = 1000
"""Connections, with a request each."""

LINE_MOST = 4096
"""Bytes of a line."""

BEGIN = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+\d{4} \[[\w.#-]+\] |\t)")

INJECTED = b"2026-01-02T03:04:05+0000 [injected#info] 192.0.2.1:1 got /etc/passwd"


def all_texts() -> list[bytes]:
    found = [*texts(), b"\n" + INJECTED, b"\r\n" + INJECTED, b"\x0b" + INJECTED]
    found += [("\u2028" + INJECTED.decode()).encode(), b"x" * 4096, "\u202e".encode() * 1300]
    found += [bytes(range(1, 256)), bytes(range(255, 0, -1)) * 4]
    return [text.replace(b"\0", b"") for text in found]


TEXTS = all_texts()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("log") / "root"
    root.mkdir()
    (root / "small").write_bytes(b"small")
    with daemon_of(root, *encrypting(root), "--max-accepts=0") as running:
        yield running


def mark(daemon: Daemon) -> str:
    """A line that is in the log now, and nothing that has been said before is behind it."""
    name = f"mark-{secrets.token_hex(8)}"
    fetch(daemon.port, "http", name)
    return daemon.log.wait_for(rf'(name="/{name}" .*\n)')


def logged_since(daemon: Daemon, begin: str) -> list[str]:
    """The lines of the log after a mark, all of them fit to be shown."""
    end = mark(daemon)
    _, _, text = daemon.log.text.partition(begin)
    text, _, _ = text.partition(end)
    assert "\ufffd" not in text, "it is not UTF-8"
    lines = text.split("\n")[:-1]
    for line in lines:
        start = BEGIN.match(line)
        assert start, line
        assert line.removeprefix("\t").isprintable(), line
        assert "[injected" not in start[0], line
        assert len(line.encode()) < LINE_MOST
    return lines


def test_native(daemon: Daemon) -> None:
    begin = mark(daemon)
    heard = Incoming(State.ANSWER)
    with socket.create_connection(("127.0.0.1", daemon.port), SECONDS) as sock:
        sock.sendall(native.preface(digest.AVAILABLE))
        names = itertools.cycle(TEXTS)
        for _ in range(FLOOD // BATCH):
            sock.sendall(b"".join(native.encode(Get(1, next(names)[:1024])) for _ in range(BATCH)))
            answered = 0
            while answered < BATCH:
                while (message := heard.next()) is None:
                    heard.feed(sock.recv(1 << 18))
                assert isinstance(message, Error)
                answered += 1
    assert len(logged_since(daemon, begin)) == FLOOD


def test_http(daemon: Daemon) -> None:
    begin = mark(daemon)
    with socket.create_connection(("127.0.0.1", daemon.port), SECONDS) as sock:
        names = itertools.cycle(TEXTS)
        for _ in range(FLOOD // BATCH):
            paths = (quote_from_bytes(next(names)[:1000]) for _ in range(BATCH))
            lines = (f"GET /{path}?{path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths)
            sock.sendall("".join(lines).encode())
            heard = b""
            while heard.count(b"HTTP/1.1 404 ") < BATCH:
                data = sock.recv(1 << 18)
                assert data
                heard += data
    assert len(logged_since(daemon, begin)) == FLOOD


def sentences(kind: str) -> Iterator[bytes]:
    """Requests with a text where `kind` says, without end."""
    for text in itertools.cycle(TEXTS):
        if kind == "a name":
            yield text.replace(b"\n", b"\r") + b"\n"
        elif kind == "a method":
            yield text + b" / HTTP/1.1\r\nHost: a\r\n\r\n"
        elif kind == "a target":
            yield b"GET /" + text + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        elif kind == "a host":
            yield b"GET / HTTP/1.1\r\nHost: " + text + b"\r\n\r\n"
        elif kind == "a field":
            yield b"GET / HTTP/1.1\r\nHost: a\r\n" + text + b": " + text + b"\r\n\r\n"
        elif kind == "TLS":
            yield b"\x16\x03\x01" + len(text).to_bytes(2, "big") + text
        else:
            yield native.preface(digest.AVAILABLE) + text


KINDS = ["a name", "a method", "a target", "a host", "a field", "TLS", "native messages"]


@pytest.mark.parametrize("kind", KINDS)
def test_connections(daemon: Daemon, kind: str) -> None:
    begin = mark(daemon)
    for said in itertools.islice(sentences(kind), CONNECTIONS):
        sock = socket.create_connection(("127.0.0.1", daemon.port), SECONDS)
        with sock, suppress(ConnectionError):
            sock.sendall(said)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass
    # A text may be several requests, or the beginning of one.
    assert CONNECTIONS // 10 < len(logged_since(daemon, begin)) <= 2 * CONNECTIONS


def test_nothing_tells_where_the_files_are(daemon: Daemon, tmp_path: Path) -> None:
    """But for the line that says what is served."""
    (line,) = (line for line in daemon.log.text.split("\n") if str(daemon.root) in line)
    assert f"serving '{daemon.root}'" in line
