"""What a web server says that a file is, and which part of it an answer brings. Pure.

Imports `wire.text`, `client.expected` and the modules beside it. RFC 9110, sections 8 and 14.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tcpdl.client.expected import Expected
from tcpdl.client.http.response import Head, Nonsense, body_of, parse_size
from tcpdl.wire.text import printable

_STRONG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_DATE = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SUFFIXES = {
    "br": (".br",),
    "bzip2": (".bz2", ".tbz", ".tbz2"),
    "compress": (".z",),
    "gzip": (".gz", ".svgz", ".tgz"),
    "xz": (".txz", ".xz"),
    "zstd": (".tzst", ".zst"),
}
"""How the names end of files that are stored in a content coding."""
_DIGEST = re.compile(r"[ \t]*(sha-256|sha-512)=:([A-Za-z0-9+/]{43,86}={1,2}):[ \t]*")
_SIZES = {"sha-256": 32, "sha-512": 64}


class Representation(NamedTuple):
    """A version of a file, as a server has it."""

    size: int | None
    """Its bytes; `None` if that will show at its end only."""
    etag: str
    """Its entity tag as it was sent, quotes and all; empty for none."""
    modified: str
    """When it was last changed, as it was sent; empty for none."""
    validator: str
    """Which of them tells one version from every other; empty if neither does."""
    digests: tuple[Expected, ...]
    """Of the whole file."""
    ranges: bool
    """Whether parts of it can be asked for."""
    coding: str
    """The content coding that all this is of, and in which the file is stored; empty for none."""

    @property
    def mtime_ns(self) -> int:
        """When it was last changed, in nanoseconds since 1970; 0 if that is not known."""
        return max(parse_date(self.modified) or 0, 0) * 10**9

    def is_same(self, other: Representation, *, partial: bool) -> bool:
        """Whether `other`, told of in a later answer, is still this version. With `partial`, that
        is an answer with a part: it need not repeat when the file was changed."""
        ours, theirs = dict(self.digests), dict(other.digests)
        if any(ours[one] != theirs[one] for one in ours.keys() & theirs.keys()):
            return False
        if (self.size, self.etag, self.coding) != (other.size, other.etag, other.coding):
            return False
        if (self.etag and self.etag == self.validator) or (partial and not other.modified):
            return True
        return self.modified == other.modified


class Answer(NamedTuple):
    """What an answer brings: the bytes from `start` up to, and not including, `end`."""

    representation: Representation
    start: int
    end: int | None
    """`None` if it is the file's end, wherever that is."""

    @property
    def is_whole(self) -> bool:
        """It is all of the file."""
        return not self.start and self.end == self.representation.size


class BadRange(Exception):
    """An answer to a request for a range is neither that range nor the whole file."""


def read_answer(head: Head, asked: tuple[int, int] | None, *names: bytes) -> Answer:
    """What a 200 or 206 brings of a file with these `names`; `asked` is the range that was asked
    for, if any, which may go beyond the end of the file.

    Raises `Nonsense`, and `BadRange`.
    """
    coding = head.field("content-encoding").strip(" \t").lower()
    # Many servers name the coding of what is but stored like that, whatever is asked for.
    if coding not in ("", "identity") and not any(is_stored_in(coding, name) for name in names):
        shown = printable(head.field("content-encoding"), 64)
        raise Nonsense(f"the file comes as '{shown}', which was not asked for")
    body = body_of(head)
    if head.status == 200:
        return Answer(_representation(head, body.length, ranges=False), 0, body.length)
    if asked is None:
        raise BadRange("a part comes, though the whole was asked for")
    found = _RANGE.fullmatch(head.field("content-range").strip(" \t"))
    if found is None or head.field("content-type").lower().startswith("multipart/"):
        raise BadRange("a part comes, and it is not clear which")
    first, last, size = (parse_size(number) for number in found.groups())
    if first is None or last is None or size is None or not first <= last < size:
        raise BadRange(f"a part comes that cannot be: {found[0]}")
    start, end = asked
    if (first, last + 1) != (start, min(end, size)):
        raise BadRange(f"another part comes than bytes {start} to {end - 1}: {found[0]}")
    if body.length not in (None, last + 1 - first):
        raise BadRange(f"{body.length} bytes come for {found[0]}")
    return Answer(_representation(head, size, ranges=True), first, last + 1)


def is_stored_in(coding: str, name: bytes) -> bool:
    """Whether a file called `name` is what the content `coding` makes of another."""
    suffixes = _SUFFIXES.get(coding.removeprefix("x-"), ())
    return name.lower().endswith(tuple(suffix.encode("ascii") for suffix in suffixes))


def _representation(head: Head, size: int | None, *, ranges: bool) -> Representation:
    etag, modified = head.field("etag"), head.field("last-modified")
    validator = ""
    if _STRONG.fullmatch(etag):
        validator = etag
    elif not etag and _is_settled(modified, head.field("date")):
        validator = modified
    coding = head.field("content-encoding").strip(" \t").lower()
    accepts = "bytes" in head.field("accept-ranges").lower().replace(" ", "").split(",")
    return Representation(
        size,
        etag,
        modified,
        validator,
        parse_digests(head.field("repr-digest")),
        bool(validator) and (ranges or accepts) and size is not None,
        coding if coding != "identity" else "",
    )


def _is_settled(modified: str, now: str) -> bool:
    """Whether a file last changed at `modified` can, at `now`, change no more in that second
    (RFC 9110, section 8.8.2.2)."""
    changed, then = parse_date(modified), parse_date(now)
    return changed is not None and then is not None and changed < then


def parse_date(text: str) -> int | None:
    """Seconds since 1970 of an HTTP date, in the form that servers send; `None` for any other."""
    found = _DATE.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        return None
    from datetime import datetime, timezone

    month = _MONTHS.index(found[2]) + 1
    day, year, hour, minute, second = (int(found[at]) for at in (1, 3, 4, 5, 6))
    try:
        when = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=timezone.utc)
    except ValueError:
        return None
    return int(when.timestamp())


def parse_digests(value: str) -> tuple[Expected, ...]:
    """The digests of a Repr-Digest field (RFC 9530) that can be computed here; others are left."""
    from binascii import a2b_base64

    found: dict[str, bytes] = {}
    for item in value.split(","):
        if (match := _DIGEST.fullmatch(item)) is not None:
            try:
                digest = a2b_base64(match[2])
            except ValueError:
                continue
            if len(digest) == _SIZES[match[1]]:
                found[match[1].replace("-", "")] = digest
    return tuple(Expected(*one) for one in found.items())
