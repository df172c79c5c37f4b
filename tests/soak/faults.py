"""What clients and other programs do to the daemon while it is soaked that is not nice of them.

Each of `FAULTS` takes a `Visitor`; what may still arrive is checked as ever.
"""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tcpdl import digest
from tcpdl.wire import native
from tests.faults.between import size_of
from tests.faults.fetching import RESET, TLS, WAYS, Fetch, How, anybody
from tests.soak.load import SECONDS, Visitor
from tests.soak.served import LARGE_NAMES

KEPT_MOST = 6
"""Slow downloads of one visitor at a time."""


def hello() -> bytes:
    """What a client of TLS says first."""
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        anybody().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


HELLO = hello()
PREFACE = native.preface(digest.AVAILABLE)
SAID = (
    b"",
    b"fixed/sm",
    b"GET /fixed/large/0 HTTP/1.1\r\nHo",
    b"GET /fixed/large/0 HTTP/1.1\r\nHost: a\r\n\r\n" * 20,
    b"GET / HTTP/9.9\r\n\r\n",
    b"fixed/large/1\n",
    PREFACE[:5],
    PREFACE + b"\xff" * 60,
    PREFACE + native.encode(native.Get(1, b"fixed/large/2")),
    PREFACE + native.encode(native.Tree(1, b"fixed", native.RECURSIVE | native.CONTENT)),
    HELLO,
    HELLO[: len(HELLO) // 2],
    HELLO + b"\x17\x03\x03\x00\x05wrong",
)
"""After which clients leave."""


def leave(visitor: Visitor) -> None:
    """Say something, or a part of it, and go: by an end, a reset, or half of an end."""
    said = visitor.random.choice(SAID)
    how = visitor.random.choice(("end", "reset", "half"))
    with socket.create_connection(("127.0.0.1", visitor.site.port), SECONDS) as sock:
        sock.sendall(said)
        if visitor.random.random() < 0.5:
            sock.settimeout(0.05)
            with suppress(TimeoutError, ConnectionError):
                sock.recv(1000)
            sock.settimeout(SECONDS)
        if how == "half":
            with suppress(ConnectionError):
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1 << 16):
                    pass
        elif how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    visitor.counts[f"left: {how}"] += 1


def leave_an_answer(visitor: Visitor) -> None:
    """Go while a file comes."""
    name, way = visitor.random.choice(LARGE_NAMES), visitor.random.choice(WAYS)
    with Fetch(visitor.site.port, way, name) as download:
        download.read(visitor.random.randrange(2_000_000))
        begun = bytes(download.answer.content)
        if visitor.random.random() < 0.5:
            download.reset()
    assert visitor.site.book.of(name).startswith(begun)
    visitor.received += len(begun)
    visitor.counts["left: within a file"] += 1


def read_slowly(visitor: Visitor) -> None:
    """Begin a download; go on with another a little, to its end, or no further."""
    kept = visitor.kept
    if len(kept) < KEPT_MOST:
        way, name = visitor.random.choice(WAYS), visitor.random.choice(LARGE_NAMES)
        download = Fetch(visitor.site.port, way, name, buffer=4096)
        kept.append(download)
        visitor.counts["slow readers"] += 1
        return
    download = kept[visitor.random.randrange(len(kept))]
    size = len(download.answer.content) + visitor.random.randrange(50_000)
    try:
        download.read(size)
    except (ConnectionResetError, ssl.SSLEOFError):
        # It took so little for a minute that the daemon gave it up.
        kept.remove(download)
        download.reset()
        visitor.counts["slow readers reset"] += 1


def let_go(visitor: Visitor) -> None:
    """End all slow downloads: some at once, some with all that is left."""
    while visitor.kept:
        download = visitor.kept.pop()
        if visitor.random.random() < 0.5:
            download.reset()
            continue
        download.sock.settimeout(SECONDS)
        name = next(name for name in LARGE_NAMES if name.encode() in download.request)
        outcome = download.finish()
        assert visitor.site.book.of(name).startswith(outcome.content)
        if outcome.how is How.WHOLE:
            assert len(outcome.content) == visitor.site.book.size(name)
        else:
            assert outcome.how is How.RESET, outcome.how
        visitor.got(outcome.content)


def kill_a_client(visitor: Visitor) -> None:
    """`tcpdl get` is killed while a file comes, and run again."""
    name = visitor.random.choice(LARGE_NAMES)
    scheme = visitor.random.choice(("tcpdl", "http"))
    url = f"{scheme}://127.0.0.1:{visitor.site.paced}/{name}"
    with TemporaryDirectory(dir=visitor.site.folder) as folder:
        copy, part = Path(folder, "copy"), Path(folder, "copy.tcpdl-part")
        command = [sys.executable, "-m", "tcpdl", "get", url, "--connections=2", "-o", str(copy)]
        wanted = visitor.random.randrange(1, 4_000_000)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as client:
            end = time.monotonic() + SECONDS
            while client.poll() is None and size_of(part) < wanted:
                assert time.monotonic() < end, "it does not come on"
                time.sleep(0.05)
            client.send_signal(signal.SIGKILL)
            shown = client.communicate()[0]
        assert client.returncode in (0, -signal.SIGKILL), shown
        begun = size_of(part)
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        assert ran.returncode == 0, ran.stderr
        assert copy.read_bytes() == visitor.site.book.of(name)
        assert [path.name for path in Path(folder).iterdir()] == ["copy"]
    visitor.counts["clients killed"] += 1
    visitor.counts["resumed"] += begun > 0
    visitor.got(b"")


def handshakes(visitor: Visitor) -> None:
    """TLS, ended at some moment."""
    for _ in range(5):
        sock = socket.create_connection(("127.0.0.1", visitor.site.port), SECONDS)
        with anybody().wrap_socket(sock) as secure:
            if visitor.random.random() < 0.5:
                secure.sendall(b"GET /")
            if visitor.random.random() < 0.3:
                secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    visitor.counts[f"left{TLS}"] += 5


FAULTS: dict[Callable[[Visitor], None], int] = {
    leave: 30,
    leave_an_answer: 8,
    read_slowly: 15,
    handshakes: 3,
    kill_a_client: 1,
}
"""What is done, and how often beside the others, and beside `load.ACTIONS`."""
