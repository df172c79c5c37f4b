"""Which dialect the first bytes of a connection speak. Pure; imports `wire.native`."""

from __future__ import annotations

import re

from tcpdl.wire.native import MAGIC

_LINE_LONGEST = 8192
"""Longest HTTP request line that is looked for: what servers commonly accept."""

_METHOD = rb"[A-Za-z-]{1,20}"
_REQUEST_LINE = re.compile(_METHOD + rb" [^ \r\n]+ HTTP/[0-9]")
_MAY_BECOME_ONE = re.compile(_METHOD + rb"( ([^ \r\n]+( (H(T(T(P/?)?)?)?)?)?)?)?\Z")
_TARGET_BEGAN = re.compile(_METHOD + rb" (/|\*|[Hh][Tt][Tt][Pp])[^ \r\n]*( [HTP/]*)?\Z")


def http_request(head: bytes) -> bool | None:
    """Whether a connection that began with `head` speaks HTTP/1 (RFC 9112, section 3).

    `None` means that more bytes are needed to tell, which can only be while the first line is
    unfinished. A target that is longer than servers accept is still one.
    """
    if not head:
        return None
    head = head[:_LINE_LONGEST]
    if _REQUEST_LINE.match(head):
        return True
    if len(head) == _LINE_LONGEST:
        return bool(_TARGET_BEGAN.match(head))
    return None if _MAY_BECOME_ONE.match(head) else False


def target_began(head: bytes) -> bool:
    """Whether `head`, for which `http_request` is `None`, has come as far as a request's target.

    What has not may be any short text: a word without a line end, say.
    """
    return bool(_TARGET_BEGAN.match(head))


def tls_began(head: bytes) -> bool:
    """Whether `head` begins as TLS does: with a record of a handshake (RFC 8446, section 5.1)."""
    return head.startswith(b"\x16\x03")


def native_preface(head: bytes) -> bool | None:
    """Whether a connection that began with `head` speaks the native dialect; `None` if more bytes
    are needed to tell."""
    if len(head) < len(MAGIC):
        return None if MAGIC.startswith(head) else False
    return head.startswith(MAGIC)


_ANSWERED = (b"GET /", b"HEAD /", b"OPTIONS /", b"OPTIONS *")
_HTTP_BEGINS = (
    *_ANSWERED,
    *(b"GET http://", b"GET https://", b"HEAD http://", b"HEAD https://"),
    *(b"POST /", b"PUT /", b"DELETE /", b"PATCH /", b"TRACE /", b"CONNECT ", b"PRI * "),
)
"""What begins a request, and hardly ever a file's name."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}"
_WHOLE_LINE = re.compile(_TOKEN + rb" [^ \r\n\0]+ HTTP/[0-9](?:\.[0-9]?)?(?:[\r\n]|\Z)")


def http_began(head: bytes) -> bool | None:
    """Whether a connection that began with `head` is to be answered as HTTP; `None` if more bytes
    are needed to tell.

    It is if `head` begins a request that is commonly made, or already holds the whole line of one,
    whatever its method and target: that is no name, and the answer should say what is wrong with
    it. A name ends there or goes on, so `a b HTTP/1.1.txt` is one, and a file called `a b HTTP/1.1`
    cannot be had this way.

    A name that nothing ends is kept waiting while this is `None`. So that is the case only for the
    beginnings of the requests that are answered with more than a refusal, such as `G` or `HEAD `.
    """
    if head.startswith(_HTTP_BEGINS) or _WHOLE_LINE.match(head):
        return True
    return None if any(begin.startswith(head) for begin in _ANSWERED) else False
