"""Tests of sockets that systemd hands over: a process gets them as systemd gives them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tcpdl.server.activation import ECHO, FILES, TLS, handed_over, served_as, take
from tcpdl.server.listening import CannotListen

PROJECT = Path(__file__).resolve().parent.parent.parent

CHILD = """
import json, os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
if sys.argv[1]:
    from twisted.internet import endpoints
from twisted.python import usage
from tcpdl.options.daemon import Options
from tcpdl.ports import named, open_ports
from tcpdl.server.listening import CannotListen

options = Options()
try:
    options.read(sys.argv[2:])
    kinds = [(port.kind, port.number, port.handed) for port in named(options)]
    again = options.again(os.environ)["handed"]
    ports = [(one.kind, os.readlink(f"/proc/self/fd/{one.endpoint.fd}"))
        for one in open_ports(options, None) if hasattr(one.endpoint, "fd")
        if one.description is None]
    print(json.dumps([kinds, again, ports, "LISTEN_FDS" in os.environ]))
except (usage.UsageError, CannotListen) as error:
    print(json.dumps(str(error)))
"""


def handed_to_a_child(
    sockets: Mapping[str, socket.socket], *options: str, early: bool = False
) -> object:
    """What a process makes of `sockets`, by name, and of `options`; with `early`, one in which
    Twisted looks for them before we do."""
    descriptors = [sock.fileno() for sock in sockets.values()]
    moves = "".join(f" {3 + n}<&{10 + n}" for n in range(len(descriptors)))
    # The shell puts them where systemd does, in two steps, since one may be where another goes.
    first = "".join(f" {10 + n}<&{fd}" for n, fd in enumerate(descriptors))
    script = f'exec{first}\nexec{moves}\nexec "$@"'
    ran = subprocess.run(
        ["bash", "-c", script, "-", sys.executable, "-c", CHILD, "x" if early else "", *options],
        cwd=PROJECT / "examples",
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "LISTEN_FDS": str(len(sockets)),
            "LISTEN_FDNAMES": ":".join(sockets),
        },
        pass_fds=descriptors,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)


def place(sock: socket.socket) -> str:
    return os.readlink(f"/proc/self/fd/{sock.fileno()}")


@pytest.mark.parametrize("early", [False, True])
def test_all_are_served_each_by_its_name(early: bool) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        found = handed_to_a_child({"tcpdl.socket": one, "echo": two}, early=early)
        assert found == [
            [[FILES, 0, 0], [ECHO, 0, 1]],
            [FILES, ECHO],
            [[FILES, place(one)], [ECHO, place(two)]],
            False,
        ]


def test_ports_that_are_asked_for_come_besides() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        found = handed_to_a_child({"echo": one}, "--port=0", "--echo-reply=yes")
        assert isinstance(found, list)
        assert found[0] == [[FILES, 0, None], [ECHO, 0, 0]]
        found = handed_to_a_child({"files": one}, "--listen=systemd:domain=INET:index=0")
        assert isinstance(found, list)
        assert found[0] == [[FILES, 0, None]]
        assert found[2] == []


def test_what_cannot_be_served_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.socket() as idle:
        assert "FileDescriptorName=files, tls or echo" in str(handed_to_a_child({"ehco": one}))
        assert "the socket called 'tls' needs a cert" in str(handed_to_a_child({"tls": one}))
        assert "on which nobody can connect" in str(handed_to_a_child({"files": idle}))


def test_a_unix_socket_is_served_too(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        unix.listen()
        found = handed_to_a_child({"files": unix})
        assert isinstance(found, list)
        assert found[2] == [[FILES, place(unix)]]


def test_names() -> None:
    names = ("files", "tls", "echo", "tcpdl@a.socket")
    assert [served_as(name) for name in names] == [FILES, TLS, ECHO, FILES]
    for name in ("", "unknown", "stored", "connection"):
        with pytest.raises(ValueError, match="FileDescriptorName"):
            served_as(name)


def test_none_are_handed_to_the_tests() -> None:
    assert list(handed_over({"LISTEN_FDNAMES": "files"})) == []
    with pytest.raises(CannotListen, match="no socket number 0"):
        take(0)
