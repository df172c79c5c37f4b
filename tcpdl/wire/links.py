"""Links that let whoever has them read one place until a moment. Pure; imports its neighbours.

PROTOCOL.md section 8.2. A link is a name with a signature of it: who has the key makes it, and the
daemon needs to remember nothing. It holds for the place it names and for all below.
"""

from __future__ import annotations

import hmac
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import NamedTuple

from tcpdl.wire.text import clipped, printable

LONGEST_SECONDS = 366 * 86_400
"""How long a link is valid at most: a key that was lost must not be of use for ever."""

KEY_LEAST = 32
"""Bytes of the shortest key."""

LOGGED_MOST = 512
"""Bytes of what was asked for that come to the log: clients may send 8 KiB."""

_ABOUT = b"tcpdl link 1\0"
"""What the signed bytes begin with, so that they cannot mean anything else."""

_UNTIL = re.compile(r"[1-9][0-9]{0,11}")
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{43}")
_SUFFIX = re.compile(rb"\?until=([^&]*)&signed=([^&]*)\Z")
_SHOWN = re.compile(rb"(\bsigned(?:=|%3[Dd]))[A-Za-z0-9_%-]+")

Segments = tuple[bytes, ...]


class Link(NamedTuple):
    """What a link has besides the name."""

    until: int
    """When it ends, in seconds since 1970."""
    signature: bytes

    def __repr__(self) -> str:
        return f"Link(until={self.until})"  # the signature is as good as a password

    @property
    def query(self) -> str:
        """The two arguments of a URL that make it this link."""
        signature = urlsafe_b64encode(self.signature).decode("ascii").rstrip("=")
        return f"until={self.until}&signed={signature}"


def parse(until: str, signed: str) -> Link | None:
    """The link of these two arguments; `None` if they cannot be those of one."""
    if not (_UNTIL.fullmatch(until) and _SIGNATURE.fullmatch(signed)):
        return None
    link = Link(int(until), urlsafe_b64decode(f"{signed}="))
    return link if link.query.endswith(signed) else None  # there is one way to write it


def split(name: bytes) -> tuple[bytes, Link] | None:
    """A name with a link at its end, taken apart; `None` if there is none."""
    match = _SUFFIX.search(name)
    if match is None:
        return None
    link = parse(match[1].decode("latin-1"), match[2].decode("latin-1"))
    return None if link is None else (name[: match.start()], link)


def sign(key: bytes, segments: Segments, until: int) -> Link:
    """The link to the place at `segments`, valid before `until`, in seconds since 1970."""
    state = _begin(key, until)
    for segment in segments:
        _add(state, segment)
    return Link(until, state.digest())


def reach(keys: Sequence[bytes], segments: Segments, link: Link) -> Segments | None:
    """The place that `link` is for, if one of the `keys` made it, and `segments` is that place or
    one below. How long it is valid is for the caller to look at."""
    for key in keys:
        state = _begin(key, link.until)
        for depth in range(len(segments) + 1):
            if depth:
                _add(state, segments[depth - 1])
            if hmac.compare_digest(state.copy().digest(), link.signature):
                return segments[:depth]
    return None


def without_signature(text: bytes) -> bytes:
    """`text`, in which a link may stand, fit for a log: who reads that is not to have the link."""
    return _SHOWN.sub(rb"\1...", text) if b"signed" in text else text


def for_log(text: bytes) -> str:
    """What a client asked for, as one line for a log: without its signature, and of at most
    `LOGGED_MOST` bytes, however much is escaped; that some of it was cut off is shown."""
    return clipped(printable(without_signature(text), LOGGED_MOST), LOGGED_MOST)


def _begin(key: bytes, until: int) -> hmac.HMAC:
    return hmac.new(key, _ABOUT + struct.pack("!Q", until), "sha256")


def _add(state: hmac.HMAC, segment: bytes) -> None:
    # With its length, so that no two names have the same bytes.
    state.update(struct.pack("!H", len(segment)) + segment)
