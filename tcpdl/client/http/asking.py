"""Ask a web server for a file: redirects are followed, refusals are put in words.

Imports the modules beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from tcpdl.client.credentials import LOG_IN
from tcpdl.client.errors import (
    BadRequest,
    ClientError,
    Garbled,
    NotAllowed,
    NothingThere,
    ServerFailed,
)
from tcpdl.client.http.connection import Connection
from tcpdl.client.http.response import Head
from tcpdl.client.url import Location, parse_url
from tcpdl.client.ways import Ways
from tcpdl.wire.text import printable

REDIRECTS_MOST = 10

WAIT_MOST = 30.0
"""Seconds that a server may have us wait; one that names more is not waited for."""

Fields = Sequence[tuple[str, str]]


class Asked(NamedTuple):
    """What became of a request."""

    location: Location
    """Where the answer came from: another place, if there were redirects."""
    connection: Connection
    """Open; for the caller to close."""
    head: Head
    """A 200, 206 or 416."""


def ask(location: Location, fields: Fields, ways: Ways) -> Asked:
    """GET the file at `location`, wherever it is now: also from a server that was not named, which
    gets no login.

    Raises `NothingThere`, `NotAllowed`, `ServerFailed`, and what `Connection.ask` raises.
    """
    place = location
    for _ in range(REDIRECTS_MOST + 1):
        with ExitStack() as stack:
            connection = stack.enter_context(Connection(place, ways))
            head = connection.ask(place.target, fields)
            if head.status not in (301, 302, 303, 307, 308):
                check_status(head, location, connection)
                stack.pop_all()
                return Asked(place, connection, head)
        to = _redirected(place, head)
        if (to.origin, to.path) == (place.origin, place.path + b"/"):
            raise NothingThere(
                f"'{place.label}' is a folder; tcpdl mirror fetches it from a tcpdl "
                "daemon, and for its page end the URL with a slash and say where to put it with -o"
            )
        place = to
    raise Garbled(f"the server redirects more than {REDIRECTS_MOST} times")


def check_status(head: Head, location: Location, connection: Connection) -> None:
    """Raise what `head`, which came on `connection`, says of the file at `location`, unless it is a
    200, 206 or 416."""
    if head.status not in (200, 206, 416):
        raise _failure(head, location, logged_in=connection.login is not None)


def range_fields(start: int, end: int, validator: str = "") -> list[tuple[str, str]]:
    """The fields that ask for the bytes from `start` up to, and not including, `end`; of the
    version that the `validator` stands for, and for the whole if it is another."""
    assert start < end
    fields = [("Range", f"bytes={start}-{end - 1}")]
    return [*fields, ("If-Range", validator)] if validator else fields


def _redirected(place: Location, head: Head) -> Location:
    from urllib.parse import urljoin  # it takes a while to import, and redirects are rare

    to = head.fields.get("location", ())
    if len(to) != 1 or not to[0]:
        raise Garbled("the server redirects, and does not say where to")
    try:
        # Bytes that are not ASCII have come as Latin-1, and are to be sent as they are.
        given = to[0].encode("latin-1").decode("utf-8", "surrogateescape")
        url = urljoin(place.root + place.target, given)
        if not re.match("https?://", url, re.IGNORECASE):
            raise BadRequest("that is no place on the web")
        found = parse_url(url)
        if place.tls and not found.tls:
            raise BadRequest("that is not under TLS any more")
        return found
    except (BadRequest, ValueError) as error:
        raise NothingThere(f"the server redirects to '{printable(to[0])}': {error}") from None


def _failure(head: Head, location: Location, *, logged_in: bool) -> ClientError:
    said = f"{head.status} {head.reason}".rstrip()
    shown = location.label
    if head.status in (429, 503):
        wait = head.field("retry-after")
        seconds = float(wait) if re.fullmatch("[0-9]{1,9}", wait) else 0.0
        later = f", and wants to be asked again in {seconds:.0f} s" if seconds else ""
        error = ServerFailed(f"the server could not send '{shown}': {said}{later}")
        error.wait = seconds if seconds <= WAIT_MOST else 0.0
        return error
    if head.status == 401 and logged_in:
        return NotAllowed(f"the server does not take this login for '{shown}': {said}")
    if head.status == 401:
        return NotAllowed(f"the server wants a login for '{shown}': {said}; {LOG_IN}")
    if head.status == 403:
        return NotAllowed(f"the server does not hand out '{shown}' to us: {said}")
    if 400 <= head.status < 500 and head.status not in (408, 412, 425):
        return NothingThere(f"the server has no '{shown}' to hand out: {said}")
    if head.status < 400:
        return Garbled(f"the server answers {said}, which makes no sense here")
    return ServerFailed(f"the server could not send '{shown}': {said}")
