"""Targets for a fuzzer: whatever a client sends on a connection, it is answered, and that ends.

    python tests/fuzz/fuzz_connection.py --seed                   write the corpus anew
    python tests/fuzz/fuzz_connection.py --connection tests/fuzz/corpus/connection

The second needs atheris, which nothing else here does, and takes libFuzzer's options; the targets
are `--connection`, `--tls` and `--echo`. What is found goes to the first folder that is named.
tests/fuzz/test_corpus.py runs the targets over the corpus.
All of the server is behind it but the reactor: the front door, the dialects, files and folders.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

from twisted.internet.address import IPv4Address
from twisted.logger import globalLogPublisher

from tcpdl.server.echo import EchoFactory
from tcpdl.server.http import Http
from tcpdl.server.native import Native
from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.native import encode, preface
from tcpdl.wire.recognise import http_request
from tests.certificates import client_context, server_context
from tests.fuzz.running import CUTS, main, pieces
from tests.server.conftest import Connection, Log, connected
from tests.server.front import Front
from tests.server.http_client import Client, get
from tests.server.tls_client import TlsClient

SECRET = b"secret-81f0: nobody is to see this"

FILES = {
    "hello.txt": b"hello\n",
    "sub/a b.html": b"<p>a</p>\n",
    "sub/deep/x": b"x" * 300,
    "README.md": b"# Read *me*\n\n- [a](b)\n",
    "data.bin": bytes(range(256)) * 20,
}

LAST_REFUSAL = re.compile(
    rb"(HTTP/1\.1 [45][0-9]{2} [^\r]*\r\nServer: tcpdl\r\nConnection: close\r\n).*\Z", re.DOTALL
)

HERE = IPv4Address("TCP", "127.0.0.1", 8080)

LATER = 60 * 10**9
"""Nanoseconds after which files have settled."""


ENDED = 2
"""As the first byte of what comes under TLS: it is encrypted, and so is its end."""


class Served(NamedTuple):
    """A server in memory, and what it logs."""

    server: Front
    log: Log


def connection(data: bytes) -> None:
    """`data` is what a client sends before it half-closes, after some bytes that cut it up."""
    cuts, stream = data[:CUTS], data[CUTS:]
    dialect, whole = told([stream])
    other, cut = told(pieces(stream, cuts))
    # A line of another method than those that are answered is known by its end only.
    assert dialect is other or Native not in (dialect, other)
    if dialect is other:
        assert comparable(dialect, cut) == comparable(dialect, whole)


def tls(data: bytes) -> None:
    """The same under TLS; by the first byte, all of it is garbage to TLS, or what follows the
    handshake is, or it comes encrypted, with an end that is said or without."""
    how, cuts, stream = (data[0] & 3 if data else 0), data[1 : CUTS + 1], data[CUTS + 1 :]
    with watched():
        connection = served().server.front(tls=server_side)
        client = TlsClient(connection, client_side())
        if how:
            client.shake()
        sent = client.encrypt(stream) if how > 1 else stream
        if how == ENDED:
            sent += client.goodbye()
        wire = conversed(connection, pieces(sent, cuts))
    dialect = type(connection.protocol._dialect)
    said = client.decrypt(wire) if how > 1 else b""
    assert SECRET not in wire + said
    if how == ENDED and stream:
        plain, expected = told([stream])
        # A page says by which scheme it was reached.
        if plain is dialect and b"text/html" not in expected:
            assert comparable(plain, said) == comparable(plain, expected)


def echo(data: bytes) -> None:
    """`data` is what is to be echoed, after some bytes that cut it up."""
    cuts, stream = data[:CUTS], data[CUTS:]
    with watched():
        server = served().server
        protocol: Any = EchoFactory(server.deadlines).buildProtocol(None)
        connection = connected(protocol=protocol, clock=server.clock)
        said = conversed(connection, pieces(stream, cuts))
    if http_request(stream):
        # Nothing of a request, from where its target begins.
        assert not re.search(rb"HTTP/[0-9]", said)
        assert stream.startswith(said)
    else:
        assert said == stream


TARGETS: dict[str, Callable[[bytes], None]] = {"connection": connection, "tls": tls, "echo": echo}


@cache
def served() -> Served:
    """The one server of this process: files, and secrets around them."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    root = Path(folder.name) / "root"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    for place in (root.parent / "secret", root / ".secret", root / "sub" / ".secret"):
        place.write_bytes(SECRET)
    for link, target in {"up": "..", "out": "../secret", "in": "hello.txt", "dir": "sub"}.items():
        (root / link).symlink_to(target)
    os.mkfifo(root / "fifo")
    log = Log()
    globalLogPublisher.addObserver(log)
    return Served(Front(root, connected), log)


server_side = cache(server_context)
client_side = cache(client_context)


def told(cut: Iterable[bytes]) -> tuple[Any, bytes]:
    """The dialect that a client who sends these pieces is taken to speak, and all that it hears."""
    with watched():
        connection = served().server.front()
        said = conversed(connection, cut)
    assert SECRET not in said
    return type(connection.protocol._dialect), said


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Asserts that a connection leaves nothing behind, and that the log is fit to be read."""
    server, log = served()
    before = len(os.listdir("/proc/self/fd"))
    now = time.time_ns
    with patch.object(time, "time_ns", lambda: now() + LATER):
        yield
    assert log.flush() == []
    assert all(line.isprintable() for event in log.told for line in event.split("\n"))
    log.told.clear()
    assert len(server.deadlines) == 0
    assert len(os.listdir("/proc/self/fd")) == before


def conversed(connection: Connection, cut: Iterable[bytes]) -> bytes:
    """All that a client hears that sends these pieces and half-closes; and the connection ends."""
    connection.transport.getHost = lambda: HERE  # a pair of sockets has none
    client = Client(connection)
    for piece in cut:
        with contextlib.suppress(ConnectionError):  # the server has heard enough
            client.push(piece)
        client.take()
    if connection.transport.connected:
        connection.half_close()
    said = client.take()
    connection.reactor.clock.advance(0)
    assert not connection.transport.connected
    connection.close()
    return said


def comparable(dialect: Any, said: bytes) -> Any:
    """What a server says, without what depends on when it did."""
    if dialect is Http:
        for boundary in set(re.findall(rb"; boundary=([0-9a-f]{24})\r\n", said)):
            said = said.replace(boundary, b"boundary")
        said = re.sub(rb"\r\nDate: [^\r]*", b"", said)
        # Why a request is refused may depend on how much of it has come.
        return LAST_REFUSAL.sub(rb"\1", said)
    if dialect is not Native:
        return said
    incoming = Incoming(State.ANSWER)
    incoming.feed(said)
    heard: list[Any] = []
    while True:
        heard.append(incoming.take(incoming.payload))
        message = incoming.next()
        if message is None:
            return heard
        if isinstance(message, native.End):
            message = message._replace(held_ms=0)
        elif isinstance(message, native.Error) and message.code >= native.FATAL:
            message = message._replace(sentence="")
        heard.append(message)


# The corpus.


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each file of the corpus."""
    for name, stream in {**raw(), **natively(), **over_http()}.items():
        yield "connection", name, bytes([2, 0, 17, 255]) + stream
        if name in ("raw", "raw-no-end", "native-tree", "http-several", "http-tar"):
            for how in (1, 2, 3):
                yield "tls", f"{name}-{how}", bytes([how, 2, 100, 17, 255]) + stream
    for name, stream in hellos().items():
        yield "tls", name, bytes([0, 2, 0, 17, 255]) + stream
    for name, stream in texts().items():
        yield "echo", name, bytes([2, 0, 17, 255]) + stream


def raw() -> dict[str, bytes]:
    return {
        "raw": b"hello.txt\n",
        "raw-no-end": b"sub/deep/x",
        "raw-help": b"?\r\n",
        "raw-climbs": b"sub/../../secret\n",
        "raw-link": b"out\n",
        "raw-gbk": "下载.txt\n".encode("gbk"),
        "raw-nothing": b"",
        "raw-like-http": b"GET ready.txt\n",
    }


def natively() -> dict[str, bytes]:
    hello = preface(native.SHA256)
    picked = native.Pick(4, b"sub", (b"deep/x", b"../hello.txt", b".secret"))
    everything = native.CONTENT | native.RECURSIVE | native.ROOTS
    return {
        "native-get": hello + encode(native.Get(1, b"hello.txt")),
        "native-part": hello + encode(native.Get(1, b"data.bin", 100, 700)),
        "native-beyond": hello + encode(native.Get(1, b"hello.txt", 7)),
        "native-digests": hello + encode(native.GetDigests(2, b"data.bin", 0, 5)),
        "native-tree": hello + encode(native.Tree(3, b"", everything)),
        "native-share": hello + encode(native.Tree(3, b"sub", 3, 1, 2)),
        "native-pick": hello + encode(picked),
        "native-many": hello
        + b"".join(encode(native.Get(number, b"hello.txt")) for number in range(20)),
        "native-then-nonsense": hello + encode(native.Get(1, b"in")) + b"\xff" * 20,
        "native-no-digest": preface(0),
        "native-cut-off": hello + encode(native.Get(1, b"hello.txt"))[:-3],
    }


def over_http() -> dict[str, bytes]:
    html, json = "Accept: text/html", "Accept: application/json"
    return {
        "http-file": get("/hello.txt"),
        "http-head": get("/hello.txt", method="HEAD"),
        "http-options": get("*", method="OPTIONS"),
        "http-post": get("/hello.txt", method="POST"),
        "http-1.0": get("/hello.txt", minor=0),
        "http-close": get("/hello.txt", "Connection: close") + get("/hello.txt"),
        "http-several": get("/hello.txt") * 20,
        "http-range": get("/data.bin", "Range: bytes=0-9,100-199,-3"),
        "http-ranges-too-many": get("/data.bin", "Range: bytes=" + "0-,1-2," * 120),
        "http-if-range": get("/data.bin", "Range: bytes=3-", 'If-Range: "a"'),
        "http-conditions": get("/data.bin", 'If-None-Match: "a", *', "If-Match: *"),
        "http-dates": get("/data.bin", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"),
        "http-digest": get("/data.bin", "Want-Repr-Digest: sha-256=1"),
        "http-encoding": get("/hello.txt", "Accept-Encoding: gzip;q=0.5, zstd"),
        "http-page": get("/", html) + get("/sub/?filter=a&sort=-time", html),
        "http-json": get("/", json) + get("/sub/?format=json"),
        "http-info": get("/hello.txt?info&digest=sha256", html),
        "http-download": get("/sub/a%20b.html?download"),
        "http-tar": get("/sub/?archive=tar"),
        "http-zip": get("/?archive=zip", minor=0),
        "http-sums": get("/?sums=sha256") + get("/?sums=blake3"),
        "http-redirect": get("/sub") + get("//sub") + get("/dir"),
        "http-absent": get("/absent", html)
        + get("/%2e%2e/secret")
        + get("/.secret")
        + get("/fifo"),
        "http-assets": get("/.well-known/tcpdl/page.css") + get("/.well-known/tcpdl/health"),
        "http-body": get("/hello.txt", "Content-Length: 5") + b"hello" + get("/in"),
        "http-expect": get("/hello.txt", "Expect: 100-continue", "Content-Length: 1") + b"x",
        "http-chunked": get("/hello.txt", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        "http-malformed": get("/hello.txt")[:-2] + b"A : b\r\n\r\n",
        "http-cut-off": get("/hello.txt")[:-2],
    }


def hellos() -> dict[str, bytes]:
    hello = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + b"\0\0"
    message = b"\1" + len(hello).to_bytes(3, "big") + hello
    record = b"\x16\3\1" + len(message).to_bytes(2, "big") + message
    return {
        "hello": record,
        "hello-cut-off": record[:-3],
        "hello-twice": record + record,
        "hello-of-old": b"\x16\3\0" + record[3:],
        "record-too-long": b"\x16\3\1\xff\xff" + bytes(100),
        "alert": b"\x16\3\1\0\0\x15\3\1\0\2\2\x28",
        "no-hello": b"\x16GET / HTTP/1.1\r\n\r\n",
    }


def texts() -> dict[str, bytes]:
    return {
        "text": b"hello\r\n",
        "nothing": b"",
        "request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n<script>",
        "request-begun": b"POST /x HTT",
        "word": b"GET",
        "words": b"get well / soon HTTP/1.1",
        "long-target": b"POST /" + b"a" * 8300,
        "bytes": bytes(range(256)),
    }


if __name__ == "__main__":
    main(__doc__ or "", TARGETS, seeds())
