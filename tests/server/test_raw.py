"""Tests the raw dialect: how a name ends, which file it stands for, and what is answered."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tcpdl.wire.names import MAX_NAME
from tcpdl.wire.raw import HELP
from tests.server.conftest import REQUEST_SECONDS

if TYPE_CHECKING:
    from tests.server.conftest import Log, RawServer

PEER = "127.0.0.1:1"


def answer(connection: Any) -> bytes:
    """All that the client gets; the stream must then have come to a clean end."""
    got: bytes = connection.drain()
    assert connection.ended
    return got


@pytest.fixture
def server(raw_server: RawServer) -> RawServer:
    (raw_server.root / "a.txt").write_bytes(b"content of a")
    (raw_server.root / "b.txt").write_bytes(b"content of b")
    (raw_server.root / "empty").write_bytes(b"")
    folder = raw_server.root / "folder"
    folder.mkdir()
    (folder / "c.txt").write_bytes(b"content of c")
    return raw_server


def test_little_of_a_long_name_is_logged(server: RawServer, log: Log) -> None:
    connection = server.connect()
    connection.say(b"\xff" * MAX_NAME + b"\n")
    assert answer(connection) == b""
    assert len(log.told[0]) < 512 + 100


# The end of a name.


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_terminators(end: bytes, server: RawServer, log: Log) -> None:
    connection = server.connect()
    connection.say(b"a.txt" + end)
    assert answer(connection) == b"content of a"
    assert log.told == [f"{PEER} raw a.txt: complete 12"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_a_name_byte_by_byte(end: bytes, server: RawServer) -> None:
    connection = server.connect()
    for byte in b"folder/c.txt" + end:
        assert connection.drain() == b""
        assert not connection.ended
        connection.say(bytes([byte]))
    assert answer(connection) == b"content of c"


def test_an_empty_file(server: RawServer, log: Log) -> None:
    connection = server.connect()
    connection.say(b"empty\n")
    assert answer(connection) == b""
    assert log.told == [f"{PEER} raw empty: complete 0"]


def test_what_follows_the_name_is_thrown_away(server: RawServer, log: Log) -> None:
    connection = server.connect()
    connection.say(b"a.txt\nb.txt\n")
    connection.say(b"b.txt\n")
    assert answer(connection) == b"content of a"
    connection.say(b"b.txt\n")
    connection.half_close()
    assert answer(connection) == b"content of a"
    assert len(log.told) == 1


def test_silence_ends_a_name(server: RawServer) -> None:
    connection = server.connect(quiet=0.05)
    for piece in (b"a", b".t", b"xt"):
        connection.say(piece)
        server.clock.advance(0.04)
        assert connection.drain() == b""
        assert not connection.ended
    server.clock.advance(0.01)
    assert answer(connection) == b"content of a"


def test_silence_before_a_name_means_nothing(server: RawServer) -> None:
    connection = server.connect(quiet=0.05)
    server.wait(5)
    assert not connection.drain()
    assert not connection.ended
    connection.say(b"a.txt\n")
    assert answer(connection) == b"content of a"


def test_no_quiet_period(server: RawServer) -> None:
    connection = server.connect(quiet=0)
    connection.say(b"a.txt")
    server.wait(REQUEST_SECONDS - 5)
    assert not connection.drain()
    assert not connection.ended
    connection.half_close()
    assert answer(connection) == b"content of a"


@pytest.mark.parametrize("request_", [b"a.txt", b"a.txt\r", b"a.txt\n"])
def test_half_close_ends_a_name(request_: bytes, server: RawServer) -> None:
    connection = server.connect()
    connection.say(request_)
    connection.half_close()
    assert answer(connection) == b"content of a"
    assert not connection.transport.connected, "both sides have ended, so it is closed at once"


def test_the_name_and_the_end_come_together(server: RawServer) -> None:
    """As with a program that sends, half-closes and waits."""
    connection = server.connect()
    connection.peer.sendall(b"a.txt")
    connection.half_close()
    connection.read_turn()
    assert answer(connection) == b"content of a"


def test_half_close_without_a_byte(server: RawServer, log: Log) -> None:
    connection = server.connect()
    connection.half_close()
    assert answer(connection) == b""
    assert not connection.transport.connected
    assert log.told == [], "port checks do that; they would fill the log"


# Names that are not served.


@pytest.mark.parametrize("terminated", [False, True])
def test_a_name_that_is_too_long(terminated: bool, server: RawServer, log: Log) -> None:
    connection = server.connect()
    connection.say(b"x" * (MAX_NAME + 1) + b"\n" * terminated)
    assert answer(connection) == b""
    connection.say(b"a.txt\n")
    assert answer(connection) == b""
    assert len(log.told) == 1
    assert f"more than {MAX_NAME} bytes" in log.told[0]


def test_the_longest_name(server: RawServer) -> None:
    name = b"folder/" + b"./" * ((MAX_NAME - 12) // 2) + b"c.txt"
    assert len(name) == MAX_NAME
    connection = server.connect()
    connection.say(name)
    connection.say(b"\r")
    connection.say(b"\n")
    assert answer(connection) == b"content of c"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"absent", "nothing has that name"),
        (b"a.txt/", "slash"),
        (b"a.txt/b", "nothing has that name"),
        (b"A.TXT", "nothing has that name"),
        (b"folder", "folder"),
        (b"folder/", "folder"),
        (b".", "that of a folder"),
        (b"/a.txt", "absolute"),
        (b"../root/a.txt", "climbs"),
        (b".hidden", "dot"),
        (b"folder/.hidden", "dot"),
        (b"pipe", "not a regular file"),
        (b"outside", "leads out"),
        (b"x" * 300, "300 bytes"),
        (b"%61.txt", "nothing has that name"),
        (b" a.txt", "nothing has that name"),
    ],
)
def test_no_bytes_are_a_no(name: bytes, why: str, server: RawServer, log: Log) -> None:
    (server.root / ".hidden").write_bytes(b"hidden")
    (server.root / "folder" / ".hidden").write_bytes(b"hidden")
    os.mkfifo(server.root / "pipe")
    (server.root / "outside").symlink_to("/etc/hostname")
    connection = server.connect()
    connection.say(name + b"\n")
    assert answer(connection) == b""
    (line,) = log.told
    assert line.startswith(f"{PEER} raw {name.decode()}: ")
    assert why in line
    assert str(server.root) not in line


# Names in other encodings.


def test_a_name_in_another_encoding(server: RawServer, log: Log) -> None:
    (server.root / "下载.txt").write_bytes(b"downloaded")
    for encoding in ("utf-8", "gbk"):
        connection = server.connect()
        connection.say("下载.txt\n".encode(encoding))
        assert answer(connection) == b"downloaded"
    assert log.told == [f"{PEER} raw 下载.txt: complete 10"] * 2


def test_the_first_encoding_wins(server: RawServer) -> None:
    name = "下载".encode("gbk")
    (server.root / "下载").write_bytes(b"as GBK")
    (server.root / os.fsdecode(name)).write_bytes(b"as it is")
    for encodings, content in (
        (("utf-8", "gbk"), b"as it is"),
        (("gbk", "utf-8"), b"as GBK"),
        (("gbk",), b"as GBK"),
        (("utf-8",), b"as it is"),
    ):
        connection = server.connect(encodings=encodings)
        connection.say(name + b"\n")
        assert answer(connection) == content


def test_a_name_in_no_encoding(server: RawServer, log: Log) -> None:
    connection = server.connect(encodings=("ascii",))
    connection.say(b"\xff\n")
    assert answer(connection) == b""
    assert log.told == [
        f"{PEER} raw \\xff: absent 0, it is in none of the encodings that names are read in"
    ]


# Help.


@pytest.mark.parametrize("request_", [b"\n", b"\r\n", b"\0", b"?\n", b"?"])
def test_help(request_: bytes, server: RawServer) -> None:
    connection = server.connect()
    connection.say(request_)
    server.wait(0.5)
    assert answer(connection) == HELP


def test_a_file_is_served_before_help(server: RawServer) -> None:
    (server.root / "?").write_bytes(b"questions")
    connection = server.connect()
    connection.say(b"?\n")
    assert answer(connection) == b"questions"


# The log.


def test_names_in_the_log_control_nothing(server: RawServer, log: Log) -> None:
    connection = server.connect()
    connection.say("\r\x1b[2J\\{peer}\u202e\u2028 got a.txt\r\n".encode())
    assert answer(connection) == b""
    connection = server.connect()
    (server.root / "\x1b{name}").write_bytes(b"odd")
    connection.say(b"\x1b{name}\n")
    assert answer(connection) == b"odd"
    assert log.told == [
        rf"{PEER} raw \r\x1b[2J\\{{peer}}\u202e\u2028 got a.txt: absent 0, nothing has that name",
        rf"{PEER} raw \x1b{{name}}: complete 3",
    ]


# Time.


@pytest.mark.parametrize("said", [b"", b"a"])
def test_a_request_must_come_in_time(said: bytes, server: RawServer, log: Log) -> None:
    connection = server.connect(quiet=0)
    server.wait(REQUEST_SECONDS / 2)
    if said:
        connection.say(said)
    server.wait(REQUEST_SECONDS / 2 - 1)
    assert not connection.drain()
    assert not connection.ended
    server.wait(2)
    assert answer(connection) == b""
    assert log.told == [f"{PEER} raw: timeout 0, it sent no request in time"]
    connection.say(b"a.txt\n")
    assert answer(connection) == b""
