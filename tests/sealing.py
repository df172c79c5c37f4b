"""Binds what a test's server says to what it was asked, as an honest one does.

So that tests can write down an answer without the request. What was damaged stays damaged: filled
in are seals of zeros, digests of packs that are right but for the request, and missing numbers of
packs.
"""

from __future__ import annotations

import hashlib

from tcpdl.wire import native
from tcpdl.wire.native import HEADER, MAGIC, PREFACE, Request


class Sealer:
    """Seals the answers to any number of requests, with SHA-256."""

    def __init__(self) -> None:
        self._asked: dict[int, bytes] = {}
        self._packs: dict[int, int] = {}

    def asked(self, request: Request) -> None:
        """The client asked this."""
        self._asked[request.id] = native.encode(request)
        self._packs[request.id] = 0

    def sealed(self, said: bytes) -> bytes:
        """`said`, which begins where a message does, sealed as far as it is whole messages."""
        out = bytearray(said)
        at = PREFACE.size if said.startswith(MAGIC) else 0
        while at + HEADER.size <= len(said):
            kind, _, number, length = HEADER.unpack_from(said, at)
            at += HEADER.size
            end = at + length
            if end > len(said):
                break
            if number in self._asked:
                self._seal(kind, number, memoryview(out)[at:end])
            at = end
        return bytes(out)

    def _seal(self, kind: int, number: int, body: memoryview) -> None:
        digests = len(body) - 32
        if kind == 0x41 and len(body) == 68 and body[36:] == bytes(32):
            body[36:] = self._digest(number, body[:36])
        elif kind == 0x44 and len(body) >= 72 and body[digests:] == bytes(32):
            body[digests:] = self._digest(number, body[:digests])
        if kind == 0x45:
            if hashlib.sha256(body[:digests]).digest() == body[digests:]:
                body[digests:] = self._digest(number, body[:digests])
            self._packs[number] += 1
        elif kind == 0x4E and len(body) == 8 and body[4:] == bytes(4):
            body[4:] = self._packs[number].to_bytes(4, "big")

    def _digest(self, number: int, data: memoryview) -> bytes:
        return hashlib.sha256(self._asked[number] + bytes(data)).digest()
