"""Tests `tcpdl status`: what it makes of what a daemon says, and where there is none."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tcpdl.client.errors import BadRequest
from tcpdl.client.status import AdminEndpoint, parse_endpoint
from tcpdl.commands.board import board, duration, plain
from tcpdl.commands.status import _rendered
from tests.commands.conftest import Run
from tests.daemons import daemon_of

PART: dict[str, Any] = {
    "pid": 12,
    "uptime": 100.0,
    "running": True,
    "connections": {"open": 3, "limit": 10, "refused": {"address": 2, "network": 0}},
    "bytes": {"sent": 1 << 20, "received": 2048},
    "requests": {"live": 1, "over": 7},
    "figures": {"memory": 3 << 20, "cpu": 1.5},
}
TRANSFER: dict[str, Any] = {
    "number": 1,
    "process": "worker-1",
    "peer": "192.0.2.1:5",
    "user": "ann",
    "dialect": "http",
    "secure": True,
    "what": "/iso/\x1b[31mbig",
    "span": [0, 4096],
    "size": 8192,
    "sent": 1024,
    "seconds": 65,
    "rate": 512.0,
}
STATUS: dict[str, Any] = {
    **PART,
    "version": "1.2",
    "time": 1000.0,
    "started": 900.0,
    "healthy": True,
    "health": "2 workers serve",
    "transfers": [TRANSFER],
    "addresses": [{"address": "192.0.2.1", "connections": 3}],
    "limits": {},
    "ports": ["0.0.0.0:8080"],
    "certificate_ends": 1000.0 + 86400 * 3,
    "processes": {"worker-1": PART},
}


@contextmanager
def telling(path: Path, answer: bytes) -> Iterator[None]:
    """Something that answers everything with `answer`, at `path`."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    sock.recv(65536)
                    sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def http(document: object, status: str = "200 OK") -> bytes:
    body = json.dumps(document).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_what_is_shown() -> None:
    text = "\n".join(plain(board(STATUS)))
    assert "tcpdl 1.2, up 1 min 40 s: 2 workers serve" in text
    assert "3 of 10 connections, 1 answers under way, 7 over" in text
    assert "sent 1 MiB (10.2 KiB/s), received 2 KiB (20.5 B/s)" in text
    assert "no room for connections: 2 by address" in text
    assert "listens on 0.0.0.0:8080" in text
    assert "the certificate ends 1970-01-04 00:16 UTC, in 3 d 0 h" in text
    (transfer,) = [line.split("  ") for line in text.split("\n") if "ann" in line]
    shown = [cell.strip() for cell in transfer if cell]
    assert shown == [
        *("192.0.2.1:5", "ann", "http (TLS)", "1 KiB", "4 KiB", "25", "512 B/s", "1 min 5 s"),
        r"/iso/\x1b[31mbig",
    ]
    (worker,) = [line.split() for line in text.split("\n") if line.startswith("  worker-1")]
    assert worker[:2] == ["worker-1", "12"]


def test_a_worker_that_does_not_answer_is_shown_as_such() -> None:
    others = {"worker-1": PART, "worker-2": {**PART, "pid": 13, "answers": False}}
    lines = [line.split() for line in plain(board({**STATUS, "processes": others}))]
    assert ["worker-2:", "no", "answer", "13"] in [line[:4] for line in lines]
    assert ["worker-1", "12"] in [line[:2] for line in lines]


def test_rates_are_those_of_the_moment() -> None:
    later = {
        **STATUS,
        "time": 1002.0,
        "bytes": {"sent": (1 << 20) + 4096, "received": 0},
        "transfers": [{**TRANSFER, "sent": 1024 + 8192}],
    }
    text = "\n".join(plain(board(later, STATUS)))
    # A worker was replaced: what it had received is not counted back.
    assert "sent 1 MiB (2 KiB/s), received 0 B (0 B/s)" in text
    assert "4 KiB/s" in text


def test_not_well() -> None:
    text = "\n".join(plain(board({**STATUS, "healthy": False, "health": "nobody serves"})))
    assert "NOT WELL: nobody serves" in text
    ended = "\n".join(plain(board({**STATUS, "certificate_ends": 999.0})))
    assert "the certificate ends 1970-01-01 00:16 UTC: ENDED" in ended


@given(st.text(), st.text(max_size=50))
def test_nothing_controls_the_terminal(what: str, user: str) -> None:
    hostile = {**STATUS, "transfers": [{**TRANSFER, "what": what, "user": user}], "version": what}
    assert all(line.isprintable() for line in plain(board(hostile)))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        *((-1, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3601, "1 h 0 min")),
        (90061, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def on_a_terminal(status: dict[str, Any], width: int) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(_rendered(board(status)))
    console.file.close()
    return console.export_text()


def test_on_a_terminal() -> None:
    text = on_a_terminal(STATUS, 120)
    assert "2 workers serve" in text
    assert r"/iso/\x1b[31mbig" in text


def test_a_long_name_takes_no_room_from_figures() -> None:
    """Clients choose it."""
    long = {**TRANSFER, "what": "/" + "long " * 100}
    text = on_a_terminal({**STATUS, "transfers": [long] * 2}, 80)
    shown = [line.split() for line in text.splitlines() if "ann" in line]
    figures = ["1", "KiB", "4", "KiB", "25", "512", "B/s", "1", "min", "5", "s"]
    assert [line[4:15] for line in shown] == [figures] * 2


def test_of_a_daemon(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "root"
    root.mkdir()
    path = tmp_path / "admin.sock"
    with daemon_of(root, f"--admin=unix:{path}") as daemon:
        ran = run("status", f"--admin=unix:{path}")
        assert (ran.status, ran.err) == (0, "")
        assert "the daemon serves" in ran.out
        assert f"listens on {daemon.where}" in ran.out
        ran = run("status", f"--admin=unix:{path}", "--json")
        assert json.loads(ran.out)["pid"] == daemon.process.pid


def test_where_there_is_none(tmp_path: Path, run: Run) -> None:
    ran = run("status", f"--admin=unix:{tmp_path}/none.sock")
    assert ran.status == 3
    assert ran.err == (
        f"tcpdl: no daemon answers at {tmp_path}/none.sock: start it with --admin, or say where "
        "with --admin\n"
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (http({}), "tells no status"),
        (http([1]), "tells no status"),
        (http({"error": "x"}, "503 Away"), "it says 503"),
        (http({"version": "9"}), "of another version"),
        (http({**STATUS, "transfers": [1]}), "of another version"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{]", "tells no status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"[" * 99_999, "tells no status"),
        (b"SSH-2.0-x\r\n", "did not say what it is at"),
        (b"", "did not say what it is at"),
    ],
)
def test_where_something_else_answers(tmp_path: Path, run: Run, answer: bytes, why: str) -> None:
    path = tmp_path / "other.sock"
    with telling(path, answer):
        ran = run("status", f"--admin=unix:{path}")
    assert ran.status == 4
    assert why in ran.err


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("unix:/a:b", AdminEndpoint("/a:b")),
        ("tcp:9100", AdminEndpoint(None, "127.0.0.1", 9100)),
        ("tcp:1:interface=\\:\\:1", AdminEndpoint(None, "::1", 1)),
    ],
)
def test_endpoints(text: str, endpoint: AdminEndpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize("text", ["", "unix:", "/run/x", "tcp:", "tcp:0", "tcp:65536", "tcp:1:x=y"])
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(BadRequest, match="no address"):
        parse_endpoint(text)
