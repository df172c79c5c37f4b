"""Whether a client wants a file at all, or only if it changed (RFC 9110, section 13).

Pure, but for the clock that says which century the two digits of a year mean. Imports nothing.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable

OK, NOT_MODIFIED, PRECONDITION_FAILED = 200, 304, 412

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_MEMBER = re.compile(rf"[ \t]*(?:({_TAG})[ \t]*)?(?:,|\Z)")

_MEMBERS_MOST = 1000
"""Members of a list of tags: to read all that a head has room for takes long."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_CLOCK = r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_DATES = (
    re.compile(
        r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), "
        rf"(?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT"
    ),
    re.compile(
        r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, "
        rf"(?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT"
    ),
    re.compile(
        r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) "
        rf"{_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_CLOCK} (?P<year>[0-9]{{4}})"
    ),
)
"""The three forms of section 5.6.7: the one that is sent today, and two of the past."""

Field = Callable[[bytes], "str | None"]
"""The value of a field by its lower-case name, or `None`."""


def parse_date(value: str, now: float | None = None) -> int | None:
    """Seconds since 1970 of an HTTP date in any of its three forms (RFC 9110, section 5.6.7);
    `None` for anything else.

    A year of two digits is the latest one that is not more than 50 years after `now`, in seconds,
    or after the present.
    """
    for form in _DATES:
        match = form.fullmatch(value.strip(" \t"))
        if match is not None:
            break
    else:
        return None
    year, day = int(match["year"]), int(match["day"])
    month = _MONTHS.index(match["month"]) + 1
    rest = month, day, *(int(match[part]) for part in ("hour", "minute", "second"))
    if len(match["year"]) == 2:
        today = time.gmtime(now)
        year += today.tm_year - today.tm_year % 100
        if (year, *rest) > (today.tm_year + 50, *today[1:6]):
            year -= 100
    if not year or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return calendar.timegm((year, *rest))


def parse_tags(value: str) -> list[str] | None:
    """The entity tags of a list, `["*"]` for an asterisk; `None` if it is not well formed, or has
    more than a thousand members."""
    value = value.strip(" \t")
    if value == "*":
        return ["*"]
    if value.count(",") >= _MEMBERS_MOST:
        return None
    found, at = [], 0
    while at < len(value):
        match = _MEMBER.match(value, at)
        if match is None:
            return None
        if match[1]:  # a list may have members that are empty (section 5.6.1.2)
            found.append(match[1])
        at = match.end()
    return found or None


def evaluate(field: Field, etag: str, modified: int | None) -> int:
    """What becomes of a GET or HEAD: `OK`, `NOT_MODIFIED` or `PRECONDITION_FAILED`, in the order of
    section 13.2.2.

    `etag` is the file's, quotes and all; `modified` its time of last change in seconds, if it has
    one that can be told. What is not well formed matches nothing, if it should be a list of tags,
    and is passed over if it should be a date.
    """
    if (value := field(b"if-match")) is not None:
        tags = parse_tags(value)
        if tags != ["*"] and (not tags or etag not in tags or etag.startswith("W/")):
            return PRECONDITION_FAILED
    elif (value := field(b"if-unmodified-since")) is not None:
        date = parse_date(value)
        if date is not None and modified is not None and modified > date:
            return PRECONDITION_FAILED
    if (value := field(b"if-none-match")) is not None:
        tags = parse_tags(value) or []
        if tags == ["*"] or _opaque(etag) in map(_opaque, tags):
            return NOT_MODIFIED
    elif (value := field(b"if-modified-since")) is not None:
        date = parse_date(value)
        if date is not None and modified is not None and modified <= date:
            return NOT_MODIFIED
    return OK


def range_holds(value: str | None, etag: str, modified: int | None) -> bool:
    """Whether If-Range lets a range be sent: parts are to fit together, so only strong validators
    do (section 13.1.5).

    A date does if it is exactly the file's, and no other change within that second can have been
    missed (section 8.8.2.2): then the tag is a strong one too.
    """
    if value is None:
        return True
    if etag.startswith("W/"):
        return False
    value = value.strip(" \t")
    return value == etag or (modified is not None and parse_date(value) == modified)


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/")
