"""Tests that no name, in whatever spelling and dialect, leads out of the folder that is served.

There are secrets around it, and in it behind links and hidden names; none of them, nor a digest of
one, nor where the folder is, may be in any answer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from tcpdl.wire import native
from tcpdl.wire.exchange import Incoming, State
from tests.hostile.conftest import HELLO, LINKS, SECRET, Guarded
from tests.hostile.names import all_names
from tests.server.http_client import get
from tests.server.native_client import HELLO as PREFACE

BATCH = 40
"""Requests that are sent together on one connection."""


def names(guarded: Guarded) -> list[bytes]:
    paths = (bytes(guarded.root), bytes(guarded.root.parent / "secret"))
    return all_names(b"root", [link.encode() for link in LINKS], *paths)


def quoted(name: bytes) -> str:
    return "/" + quote_from_bytes(name, safe="/")


def test_there_are_many(guarded: Guarded) -> None:
    found = names(guarded)
    assert len(found) > 5000
    # And the secrets are where they lead, were they followed.
    for name in (b"../secret", b"sub/../../secret", b"../../secret", b"../root-secret", b".hidden"):
        assert (guarded.root / name.decode()).read_bytes() == SECRET
        assert name in found or name.startswith((b"sub", b"."))
    assert guarded.tell(b"hello.txt\n") == HELLO
    with pytest.raises(AssertionError):
        guarded.keeps(b"..." + SECRET, b"")


@pytest.mark.parametrize("half_close", [False, True])
def test_raw(guarded: Guarded, half_close: bool) -> None:
    for name in names(guarded):
        data = name if half_close else name + b"\n"
        guarded.keeps(guarded.tell(data, half_close=half_close), name)
    guarded.logged()


def in_batches(requests: list[bytes]) -> Iterator[bytes]:
    for at in range(0, len(requests), BATCH):
        yield b"".join(requests[at : at + BATCH])


SPELT: list[Callable[[bytes], str]] = [
    quoted,
    lambda name: "/" + "".join(f"%{byte:02x}" for byte in name),
    lambda name: "/" + quote_from_bytes(quote_from_bytes(name).encode()),
    lambda name: "//" + quote_from_bytes(name, safe="/\\;:"),
]
"""How a name is written in a target."""


@pytest.mark.parametrize("spelt", SPELT, ids=["quoted", "all quoted", "twice", "two slashes"])
def test_http(guarded: Guarded, spelt: Callable[[bytes], str]) -> None:
    targets = [target for name in names(guarded) if len(target := spelt(name)) < 8000]
    for batch in in_batches([get(target) for target in targets]):
        said = guarded.tell(batch, half_close=True)
        assert said.count(b"HTTP/1.1 ") == batch.count(b"HTTP/1.1\r\n")
        guarded.keeps(said, batch)
    assert len(guarded.logged()) == len(targets)


QUERIES = ["?info", "?info&digest=sha256", "?download", "/", "/?archive=tar", "/?sums=sha256"]


@pytest.mark.parametrize("query", QUERIES)
def test_http_queries(guarded: Guarded, query: str) -> None:
    """What is made of files and folders is not made of others either."""
    some = names(guarded)[:: 1 + QUERIES.index(query) * 2]
    requests = [get(quoted(name)[:7000] + query, "Accept: text/html") for name in some]
    for batch in in_batches(requests):
        guarded.keeps(guarded.tell(batch, half_close=True), batch)
    assert len(guarded.logged()) == len(requests)


def test_http_as_it_is(guarded: Guarded) -> None:
    """Without a slash before it, and with bytes that no target may have."""
    for number, name in enumerate(names(guarded)):
        target = (b"", b"/", b"http://a/")[number % 3] + name
        guarded.keeps(guarded.tell(get(target), half_close=True), target)
    guarded.logged()


def test_http_of_all_below(guarded: Guarded) -> None:
    """Nothing hidden, and nothing that links lead to, is in what is made of whole folders."""
    for folder in ("/", "/sub/", "/up/", "/top/", "/self/"):
        for query in ("", "?archive=tar", "?archive=zip", "?sums=sha256", "?sums=blake3"):
            for accepted in ("text/html", "application/json"):
                said = guarded.tell(get(folder + query, f"Accept: {accepted}"), half_close=True)
                guarded.keeps(said, b"")
                assert b" 200 OK" in said or folder not in ("/", "/sub/")


def requests_for(name: bytes, number: int) -> Iterator[bytes]:
    """All that can be asked of a name in the native dialect, one that no client would send too."""
    of_file = bytes(16) + struct.pack("!QQ", 0, native.TO_END) + name
    yield framed(native.Get, number, of_file)
    yield framed(native.GetDigests, number, of_file[:24] + struct.pack("!Q", 8) + name)
    for flags in (0, native.CONTENT | native.RECURSIVE | native.ROOTS):
        yield framed(native.Tree, number, bytes([flags, 0, 1]) + name)
    for folder in (b"", b"sub", name):
        picked = b"".join(b"\0" + one for one in (name, b"../secret", b"", b"etc/passwd"))
        yield framed(native.Pick, number, folder[:1024] + picked)


def heard(said: bytes) -> list[Any]:
    """The messages of a server, runs left out."""
    incoming = Incoming(State.ANSWER)
    incoming.feed(said)
    messages: list[Any] = []
    while True:
        incoming.take(incoming.payload)
        message = incoming.next()
        if message is None:
            assert incoming.between
            return messages
        messages.append(message)


def framed(kind: type[native.Request], number: int, body: bytes) -> bytes:
    form = native.FORMS[kind]
    body = body[: form.most]
    return native.HEADER.pack(form.type, 0, number, len(body)) + body


def test_native(guarded: Guarded) -> None:
    asked = 0
    for at in range(0, len(found := names(guarded)), BATCH):
        requests: list[bytes] = []
        for name in found[at : at + BATCH]:
            if name and len(name) <= 1024:
                requests += requests_for(name, number=at)
        # More than a server reads ahead of what it answers.
        batch = PREFACE + b"".join(requests)
        said = guarded.tell(batch, half_close=True)
        guarded.keeps(said, batch)
        messages = heard(said)
        ends = [one for one in messages if isinstance(one, (native.End, native.Error))]
        assert len(ends) == len(requests)
        assert {one.code for one in ends if isinstance(one, native.Error)} < set(range(1, 8))
        asked += len(requests)
    assert asked > 30_000
    guarded.logged()
