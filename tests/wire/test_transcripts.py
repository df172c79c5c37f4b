"""Tests the examples of PROTOCOL.md, sections 4.14 to 4.16: what both sides say, byte for byte.

Each line has who sends it (`>` is the client), the bytes, and what they are. The lines were written
by hand from the layout of the fields, so that they do not share a mistake with the code.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from tcpdl.wire.exchange import Incoming, State
from tcpdl.wire.login import Login
from tcpdl.wire.native import (
    CONTENT,
    RECURSIVE,
    SHA256,
    Chunk,
    Digest,
    End,
    FileInfo,
    Get,
    Message,
    Pack,
    Tree,
    encode,
    preface,
)
from tcpdl.wire.pack import FILE, FOLDER, LISTED, Entry, pack, unpack

SPECIFICATION = Path(__file__).resolve().parents[2] / "PROTOCOL.md"


def said(section: str, sender: str) -> bytes:
    """What `sender` says in the example of `section`."""
    text = SPECIFICATION.read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n{section}. **")
    assert found
    example = re.split("\n(?:4\\.[0-9]+\\. |## )", rest)[0]
    lines = [line for line in example.splitlines() if line.startswith(f"    {sender} ")]
    # The bytes, then two spaces or more, then what they are.
    return bytes.fromhex("".join(re.split(" {2,}", line[6:])[0] for line in lines))


def heard(state: State, stream: bytes) -> list[Any]:
    """Messages, and the runs between them, if `stream` is all there is."""
    incoming = Incoming(state)
    incoming.feed(stream)
    found: list[Any] = []
    while message := incoming.next():
        found.append(message)
        if incoming.payload:
            found.append(incoming.take(incoming.payload))
    assert incoming.between
    assert (incoming.version, incoming.digests) == (1, SHA256)
    return found


def test_get() -> None:
    request = Get(1, b"hello.txt")
    info = FileInfo(1, 6, 1_704_164_645_000_000_000, 0o644, 20, bytes(range(0xA0, 0xB0)))
    info = info._replace(seal=sha256(encode(request) + info.unsealed))
    digest = Digest(1, 0, hashlib.sha256(b"hello\n").digest())
    answer = [info, Chunk(1, 6), b"hello\n", digest, End(1)]
    assert preface(SHA256) + encode(request) == said("4.14", ">")
    assert heard(State.REQUESTS, said("4.14", ">")) == [request]
    assert preface(SHA256) + b"".join(map(in_bytes, answer)) == said("4.14", "<")
    assert heard(State.ANSWER, said("4.14", "<")) == answer


def test_tree() -> None:
    request = Tree(2, b"docs", CONTENT | RECURSIVE)
    entries = [
        Entry(FILE, b"a.txt", 0o644, 3, 1_704_164_645_000_000_000, b"hi\n"),
        Entry(FOLDER, b"sub", 0o755, 0, 1_704_164_645_000_000_000),
        Entry(LISTED, b"sub/big.iso", 0o444, 5 << 30, -1),
    ]

    def seal(data: bytes) -> bytes:
        return sha256(encode(request) + data)

    answer: list[Message] = [Pack(2, pack(entries, seal)), End(2, packs=1)]
    assert preface(SHA256) + encode(request) == said("4.15", ">")
    assert heard(State.REQUESTS, said("4.15", ">")) == [request]
    assert preface(SHA256) + b"".join(map(encode, answer)) == said("4.15", "<")
    received, end = heard(State.ANSWER, said("4.15", "<"))
    assert unpack(received.packed, seal) == entries
    assert end == End(2, packs=1)


def test_login() -> None:
    login = Login.with_password(b"ann", b"secret")
    assert preface(SHA256) + encode(login) == said("4.16", ">")
    assert heard(State.REQUESTS, said("4.16", ">")) == [login]


def in_bytes(part: Any) -> bytes:
    return part if isinstance(part, bytes) else encode(part)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
