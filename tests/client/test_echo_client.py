"""Tests `client.echo`: texts sent to servers that answer in every way they do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcpdl.client import echo as module
from tcpdl.client.echo import EchoClient
from tcpdl.client.errors import BadRequest, CannotConnect, ConnectionBroken

if TYPE_CHECKING:
    from tests.client.conftest import Script, Serve

LONG = 20.0
Read = Callable[[socket.socket], bytes]

MANY = bytes(range(256)) * 4096
"""1 MiB: more than the buffers of a connection take once they are made small."""


def client(port: int, encoding: str = "utf-8", timeout: float = LONG) -> EchoClient:
    return EchoClient("127.0.0.1", port, timeout, encoding)


def echo(sock: socket.socket) -> None:
    """What RFC 862 says, in a server that reads no more while its answer is not taken."""
    while data := sock.recv(65536):
        sock.sendall(data)


def replies(*texts: bytes) -> Script:
    """Answers each read with the next text, and then reads to the end."""

    def answer(sock: socket.socket) -> None:
        for text in texts:
            assert sock.recv(1024)
            sock.sendall(text)
        while sock.recv(1024):
            pass

    return answer


def test_echo(serve: Serve) -> None:
    with client(serve(echo)) as asking:
        assert asking.ask("hello") == "hello"
        assert asking.ask("下载\n\0") == "下载\n\0"
        assert asking.ask("") == ""
        assert asking.ask("hello") == "hello"


@pytest.mark.parametrize("text", ["下", "a\n", ""])
def test_sends_the_text_and_nothing_more(text: str, serve: Serve, read_to_end: Read) -> None:
    seen: list[bytes] = []
    ended = threading.Event()

    def answer(sock: socket.socket) -> None:
        sock.sendall(b"enough")
        seen.append(read_to_end(sock))
        ended.set()

    with client(serve(answer)) as asking:
        assert asking.ask(text) == ("enough" if text else "")
        asking._sock.shutdown(socket.SHUT_WR)
        assert ended.wait(LONG)
    assert seen == [text.encode()]


@pytest.mark.parametrize(
    ("text", "reply"),
    [("hello", "ok"), ("hello", "hallo"), ("hi", "a longer reply"), ("a" * 1000, "b")],
)
def test_text_server(text: str, reply: str, serve: Serve) -> None:
    with client(serve(replies(reply.encode(), b"second", b"third"))) as asking:
        assert asking.ask(text) == reply
        assert asking.ask(text) == "second"
        assert asking.ask(text) == "third"


class Watched:
    """A socket that says when something has been received."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.received = threading.Event()

    def recv(self, *arguments: int) -> bytes:
        data = self._sock.recv(*arguments)
        self.received.set()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_reply_in_two_pieces(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", LONG)

    def answer(sock: socket.socket) -> None:
        sock.recv(1024)
        sock.sendall("下载".encode()[:4])  # cut within a character
        assert watched.received.wait(LONG)
        sock.sendall("下载".encode()[4:])

    with client(serve(answer)) as asking:
        watched: Any = Watched(asking._sock)
        asking._sock = watched
        assert asking.ask("文件") == "下载"


def test_shorter_reply_in_two_pieces(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", LONG)  # so that only the server's end ends it

    def answer(sock: socket.socket) -> None:
        sock.recv(1024)
        sock.sendall(b"o")
        sock.sendall(b"k")

    with client(serve(answer)) as asking:
        assert asking.ask("a question") == "ok"


def test_reply_ends_with_the_connection(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", LONG)

    def answer(sock: socket.socket) -> None:
        sock.recv(1024)
        sock.sendall(b"bye")

    with client(serve(answer)) as asking:
        assert asking.ask("hello") == "bye"
        with pytest.raises(ConnectionBroken):
            asking.ask("hello")


def test_gbk_both_ways(serve: Serve) -> None:
    seen: list[bytes] = []

    def answer(sock: socket.socket) -> None:
        seen.append(sock.recv(1024))
        sock.sendall("哈哈".encode("gbk"))

    with client(serve(answer), "GBK") as asking:
        assert asking.ask("你好") == "哈哈"
    assert seen == [b"\xc4\xe3\xba\xc3"]


def test_reply_that_cannot_be_decoded(serve: Serve) -> None:
    with client(serve(replies("哈".encode("gbk") + b"!"))) as asking:
        reply = asking.ask("a question")
    assert reply.endswith("!")
    assert "\ufffd" in reply


def test_server_closes_without_a_reply(serve: Serve) -> None:
    with (
        client(serve(lambda sock: sock.recv(1024) and None)) as asking,
        pytest.raises(ConnectionBroken, match="closed the connection without a reply"),
    ):
        asking.ask("hello")


def test_server_resets(serve: Serve, reset: Script) -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(1024)
        reset(sock)

    with (
        client(serve(answer)) as asking,
        pytest.raises(ConnectionBroken, match=r"^connection reset by peer$"),
    ):
        asking.ask("hello")


def test_no_reply_in_time(serve: Serve, read_to_end: Read) -> None:
    with (
        client(serve(lambda sock: read_to_end(sock) and None), timeout=0.1) as asking,
        pytest.raises(ConnectionBroken, match=r"no reply within 0\.1 s"),
    ):
        asking.ask("hello")


def test_reply_without_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 100_000)

    def answer(sock: socket.socket) -> None:
        sock.recv(65536)
        try:
            while True:
                sock.sendall(bytes(65536))
        except ConnectionError:
            pass  # the client has given up

    with (
        client(serve(answer)) as asking,
        pytest.raises(ConnectionBroken, match="more than 100000 bytes"),
    ):
        asking.ask("a" * 1_000_000)


def small_buffers(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


def test_more_than_the_buffers_take(serve: Serve) -> None:
    def answer(sock: socket.socket) -> None:
        small_buffers(sock)
        echo(sock)

    text = MANY.decode("latin-1")
    with client(serve(answer, rcvbuf=4096), "latin-1") as asking:
        assert asking.ask(text) == text
        assert asking.ask("hello") == "hello"


def test_long_text_that_is_answered_when_it_is_whole(serve: Serve) -> None:
    text = "a" * 50_000

    def answer(sock: socket.socket) -> None:
        got = 0
        while got < len(text):
            data = sock.recv(65536)
            assert data
            got += len(data)
        sock.sendall(b"thanks")

    with client(serve(answer)) as asking:
        assert asking.ask(text) == "thanks"


def test_long_echo_that_falls_silent(serve: Serve, read_to_end: Read) -> None:
    ended = threading.Event()

    def answer(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(sock.recv(1024))
        ended.wait(LONG)

    port = serve(answer)
    try:
        with client(port, timeout=0.1) as asking, pytest.raises(ConnectionBroken):
            asking.ask("a" * 10_000_000)
    finally:
        ended.set()


def test_encoding_that_replaces_nothing(serve: Serve) -> None:
    with client(serve(echo), "idna") as asking:
        assert asking.ask("hello") == "hello"


def test_long_echo_that_ends_early(serve: Serve, reset: Script) -> None:
    def answer(sock: socket.socket) -> None:
        sock.sendall(sock.recv(1024))
        reset(sock)

    with client(serve(answer)) as asking, pytest.raises(ConnectionBroken):
        asking.ask("a" * 1_000_000)


@pytest.mark.parametrize("encoding", ["no-such", "", "rot13", "hex", "base64", "undefined", "a\nb"])
def test_unknown_encoding(encoding: str, refused: int) -> None:
    # Nobody listens there: the encoding is looked at first.
    with pytest.raises(BadRequest, match="is not a text encoding") as raised:
        client(refused, encoding)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("encoding", "text", "culprit"),
    [("gbk", "a\U0001f600", "😀"), ("ascii", "é", "é"), ("utf-8", "a\udcff", "udcff")],
)
def test_text_that_cannot_be_expressed(
    encoding: str, text: str, culprit: str, serve: Serve
) -> None:
    with client(serve(echo), encoding) as asking:
        with pytest.raises(BadRequest, match=f"{encoding} cannot express '.*{culprit}'"):
            asking.ask(text)
        assert asking.ask("a") == "a"  # nothing of it was sent


def test_no_server(refused: int) -> None:
    with pytest.raises(CannotConnect, match="connection refused"):
        client(refused)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.text(max_size=200), max_size=5))
def test_every_text_comes_back(serve: Serve, texts: list[str]) -> None:
    with client(serve(echo)) as asking:
        assert [asking.ask(text) for text in texts] == texts
