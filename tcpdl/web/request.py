"""HTTP/1 requests, from bytes to what is asked for. Pure; imports httptools and `wire.names`.

RFC 9112 is the specification, read strictly: what two programs could understand in two ways is
refused, and the connection ends, so that nobody in between can be made to see other requests than
we do. The line and the fields are held to their grammar as a whole; the fields are then parsed by
llhttp, which refuses more.

A client that keeps its connection sends the same fields with each request, and many ask for the
same path. What was made of the last few hundred of either is kept: it takes half of the time. Not
so fields that hold a password or a token: these are kept with the last request of a connection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from tcpdl.wire.names import Name, NameRefused, parse_name

LINE_MOST = 8 * 1024
"""Bytes of a request line; RFC 9112 section 3 asks for 8,000."""

HEAD_MOST = 16 * 1024
"""Bytes of a request line and all fields, and of the empty line after them."""

FIELDS_MOST = 100

BODY_MOST = 64 * 1024
"""Bytes of a body, which nobody asked for, that are read and thrown away."""

LINE_SHOWN = 512
"""Bytes of a request line that was refused which the log shows."""

ARGUMENTS_MOST = 20

KEPT_MOST = 4 * 1024
"""Bytes of fields that are kept once they were parsed: more than most clients send."""

BLOCKS_MOST = 256
"""Fields of so many requests are kept: those that came last for the first time."""

METHODS = ("GET", "HEAD", "OPTIONS")
"""Those that are answered."""

_ANSWERED = {method.encode("ascii"): method for method in METHODS}
_KNOWN = (b"POST", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"CONNECT")
_MINORS = {b"1.0": 0, b"1.1": 1}

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE = re.compile(rb"(%b) ([!-~\x80-\xff]+) HTTP/([0-9]\.[0-9])\r\n" % _TOKEN)
_FIELDS = re.compile(rb"(?:%b:[\t -~\x80-\xff]*\r\n)*\r\n" % _TOKEN)
_BARE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\0")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)(.*)", re.DOTALL)
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

# Less than RFC 3986 lets the name of a host hold: what they do hold. It is shown in commands.
_LABEL = rb"[0-9A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?"
_HOST = re.compile(
    rb"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>(?:%b\.)*(?P<last>%b))\.?)(?::(?P<port>[0-9]{0,5}))?"
    % (_LABEL, _LABEL)
)
_PORT_MOST = 65535

_ONCE = frozenset(
    (
        *(b"host", b"content-length", b"transfer-encoding", b"content-type"),
        *(b"range", b"if-range", b"if-modified-since", b"if-unmodified-since"),
        b"authorization",
    )
)
"""Fields of which there may be one at most: two of them mean nothing, or different things."""


class Refusal(Exception):
    """A request that is not answered as it asks; `status` is what it gets instead.

    If it is `fatal`, nobody can tell where the next one begins, or the client is not to be trusted
    with it: the connection ends.
    """

    def __init__(self, status: int, sentence: str, *, fatal: bool = True) -> None:
        super().__init__(sentence)
        self.status = status
        self.fatal = fatal
        self.line = b""
        """The beginning of the request's first line, for the log, if it has one."""


class Request(NamedTuple):
    """What a client asks for."""

    method: str
    """One of `METHODS`; any other was refused."""
    path: bytes
    """As it was sent, with its escapes; it begins with a slash, or is `*`. Bytes beyond ASCII, that
    some clients send as they were typed, have been escaped."""
    query: bytes
    """What follows the question mark, in the same way."""
    fields: Mapping[bytes, bytes]
    """By lower-case names. Values of one that came several times are joined with commas, if they
    are not empty."""
    minor: int
    """Of the version: 0 or 1."""
    keep_alive: bool
    """Another request may follow."""

    def __repr__(self) -> str:
        # Fields may hold a password, and the query a link, which are not for a log.
        return f"Request({self.method} {self.path!r})"

    def field(self, name: bytes) -> str | None:
        """The value of a field, or `None`."""
        value = self.fields.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def host(self) -> str:
        """What the client calls this server, with the port; nothing if it does not say."""
        return self.fields.get(b"host", b"").decode("ascii")

    def arguments(self) -> dict[str, str]:
        """Those of the query, the last of each name. Raises `Refusal`."""
        if not self.query:
            return {}
        try:
            found = parse_qsl(
                self.query.decode("ascii"),
                keep_blank_values=True,
                max_num_fields=ARGUMENTS_MOST,
                errors="replace",
            )
        except ValueError:
            raise Refusal(400, "the query has too many arguments", fatal=False) from None
        return dict(found)

    def name(self, *, hidden: bool) -> Name:
        """What the path names.

        Raises `NameRefused` as `parse_name` does, and `Refusal` if the path has a broken escape.
        """
        return _name(self.path, hidden)


class Requests:
    """Finds the requests in what a client sends."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._seen = 0  # bytes of the buffer in which no head ends
        self._skip = 0  # bytes of a body that are still to come
        self._head = b""  # the last one, if no body followed, and what it was parsed to
        self._request: Request
        self._blank = False  # an empty line has come before the request

    @property
    def buffered(self) -> int:
        """Bytes that have come, and belong to no request that was given out."""
        return len(self._buffer)

    @property
    def between(self) -> bool:
        """Whether no request has been begun."""
        return not self._buffer and not self._skip

    def feed(self, data: bytes) -> None:
        """`data` has come."""
        if self._skip:
            thrown = min(self._skip, len(data))
            self._skip -= thrown
            data = data[thrown:]
        self._buffer += data

    def next(self) -> Request | None:
        """The next request, if it is whole. Raises `Refusal`; if fatal, there is no next one."""
        buffer, head = self._buffer, self._head
        if not buffer:
            return None
        if head and buffer.startswith(head):  # most clients ask again in the same words
            del buffer[: len(head)]
            self._seen = 0
            self._blank = False
            return self._request
        try:
            return self._next()
        except Refusal as refusal:
            refusal.line = bytes(self._buffer[:LINE_SHOWN]).partition(b"\n")[0].rstrip(b"\r")
            raise

    def _next(self) -> Request | None:
        buffer = self._buffer
        if not self._blank and buffer.startswith(b"\r\n"):
            # RFC 9112, section 2.2: one that ended a body, say.
            self._blank = True
            self._seen = 0
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n", max(0, self._seen - 3), HEAD_MOST)
        if end < 0:
            _check_lines(buffer, self._seen)
            if len(buffer) >= HEAD_MOST:
                raise Refusal(431, f"the request's head has more than {HEAD_MOST} bytes")
            self._seen = len(buffer)
            return None
        head = bytes(buffer[: end + 4])
        request, body = parse(head)
        self._head, self._request = (b"", request) if body else (head, request)
        del buffer[: end + 4]
        self._seen = 0
        self._blank = False
        if body:
            self._skip = max(0, body - len(buffer))
            del buffer[:body]
        return request


def parse(head: bytes) -> tuple[Request, int]:
    """The request whose head this is, and the length of its body. Raises `Refusal`."""
    line = _LINE.match(head)
    if line is None or line.end() > LINE_MOST + 2:
        _check_lines(head)
        raise Refusal(400, "the request line is not one of HTTP/1.1 (RFC 9112, section 3)")
    method, target, version = line.groups()
    block = head[line.end() :]
    fields = _kept.get(block) or _keep(block)
    minor = _MINORS.get(version)
    if minor is None:
        raise Refusal(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    answered = _ANSWERED.get(method)
    if answered is None:
        if method in _KNOWN:
            name = method.decode("ascii")
            raise Refusal(405, f"{name} is not answered here; GET, HEAD and OPTIONS are")
        raise Refusal(501, "the method is not known here; GET, HEAD and OPTIONS are")
    values = fields.values
    if minor and not fields.has_host:
        raise Refusal(400, "there is no field Host")
    keep_alive = not fields.close and (minor == 1 or fields.stay)
    body = 0
    if not fields.plain:
        body = _body_length(values, minor)
        if _expects(values, minor) and body:
            keep_alive = False  # whether the body will come after our answer, nobody can tell
    if not target.isascii():
        target = _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), target)
    if not target.startswith(b"/") and not (target == b"*" and answered == "OPTIONS"):
        host, target = _absolute(target)
        if values.get(b"host", host).lower() != host.lower():
            raise Refusal(400, "the field Host and the target name different hosts")
        values = MappingProxyType({**values, b"host": host})
    if b"#" in target:
        raise Refusal(400, "the target has a fragment")
    path, _, query = target.partition(b"?")
    return Request(answered, path, query, values, minor, keep_alive), body


def _check_lines(data: bytes | bytearray, seen: int = 0) -> None:
    """Raise the `Refusal` that a request which begins with `data` gets, however it goes on.

    The first `seen` bytes have been through this. It looks no further than a head may go, so that
    the answer does not depend on how much has come.
    """
    too_long = data.find(b"\r\n", 0, LINE_MOST + 2) < 0
    most = LINE_MOST + 2 if too_long else HEAD_MOST
    if _BARE.search(data, max(0, seen - 1), most):
        raise Refusal(400, "a line does not end in CR LF, or holds a NUL")
    if too_long and len(data) >= most:
        raise Refusal(414, f"the request line has more than {LINE_MOST} bytes")


class _Fields(NamedTuple):
    """What the fields of a request say."""

    values: Mapping[bytes, bytes]
    has_host: bool
    close: bool
    """It is the last request (RFC 9112, section 9.3)."""
    stay: bool
    """It is not, even if it is of HTTP/1.0."""
    plain: bool
    """There is neither a body nor an expectation."""


def _fields(block: bytes) -> _Fields:
    """All fields of a request, parsed. `block` ends with the empty line. Raises `Refusal`."""
    if not _FIELDS.fullmatch(block):
        raise Refusal(400, "a field is not formed as RFC 9112, section 5 has it")
    if block.count(b"\r\n") > FIELDS_MOST + 1:
        raise Refusal(431, f"there are more than {FIELDS_MOST} fields")
    parsed = _Lines()
    try:
        HttpRequestParser(parsed).feed_data(b"GET / HTTP/1.1\r\n" + block)
    except HttpParserUpgrade:
        pass  # to another protocol, which nobody has to do
    except HttpParserError as error:
        raise Refusal(400, f"the request is not formed as RFC 9112 has it: {error}") from None
    values: dict[bytes, bytes] = {}
    for name, value in parsed.lines:
        name, value = name.lower(), value.strip(b" \t")
        if name in values:
            if name in _ONCE:
                raise Refusal(400, f"there is more than one field {name.decode('ascii')}")
            value = b", ".join(filter(None, (values[name], value)))
        values[name] = value
    host = values.get(b"host")
    if host:
        _check_host(host)
    options = [word.strip(b" \t") for word in values.get(b"connection", b"").lower().split(b",")]
    return _Fields(
        MappingProxyType(values),
        host is not None,
        b"close" in options,
        b"keep-alive" in options,
        not values.keys() & {b"content-length", b"transfer-encoding", b"expect"},
    )


_kept: dict[bytes, _Fields] = {}


def _keep(block: bytes) -> _Fields:
    """As `_fields`, which is kept unless it is long, or holds what somebody logs in with."""
    fields = _fields(block)
    if len(block) <= KEPT_MOST and b"authorization" not in fields.values:
        if len(_kept) >= BLOCKS_MOST:
            del _kept[next(iter(_kept))]
        _kept[block] = fields
    return fields


class _Lines:
    """Collects what llhttp tells of the fields."""

    def __init__(self) -> None:
        self.lines: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name, value))


def _check_host(host: bytes) -> None:
    """Raise `Refusal` unless this is a host, and perhaps a port (RFC 9110, section 7.2)."""
    match = _HOST.fullmatch(host)
    try:
        if match is None or int(match["port"] or 0) > _PORT_MOST:
            raise ValueError
        if match["v6"]:
            IPv6Address(match["v6"].decode("ascii"))
        elif match["last"].isdigit():  # it is no domain, and what is no address goes astray
            IPv4Address(match["name"].decode("ascii"))
    except ValueError:
        raise Refusal(400, "the host is neither a name nor an address") from None


def _body_length(fields: Mapping[bytes, bytes], minor: int) -> int:
    """Bytes of a body that can be thrown away (RFC 9112, section 6.3)."""
    length = fields.get(b"content-length")
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or not minor:
            raise Refusal(400, "the length of the body is told in two ways")
        if coding.lower() != b"chunked":
            raise Refusal(501, "the transfer coding is not known here")
        raise Refusal(413, "no body is taken here")
    if length is None:
        return 0
    if not length.isdigit() or len(length) > 19:
        raise Refusal(400, "Content-Length is not a number")
    if int(length) > BODY_MOST:
        raise Refusal(413, "no body is taken here")
    return int(length)


def _expects(fields: Mapping[bytes, bytes], minor: int) -> bool:
    """Whether a client waits for leave to send its body (RFC 9110, section 10.1.1)."""
    value = fields.get(b"expect")
    if value is None or not minor:
        return False
    if any(word.strip(b" \t") != b"100-continue" for word in value.lower().split(b",")):
        raise Refusal(417, "the only expectation that is known here is 100-continue")
    return True


def _absolute(target: bytes) -> tuple[bytes, bytes]:
    """Host and path of a target that has both (RFC 9112, section 3.2.2)."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise Refusal(400, "the target is not a path")
    host, path = match.groups()
    if not host:
        raise Refusal(400, "the target names no host")
    _check_host(host)
    return host, path if path.startswith(b"/") else b"/" + path


@lru_cache(maxsize=512)
def _name(path: bytes, hidden: bool) -> Name:
    """What `path` names. Raises as `Request.name` does."""
    if b"%" in path:
        if _BAD_ESCAPE.search(path):
            raise Refusal(400, "the path has a % that begins no escape", fatal=False)
        if b"%2f" in path.lower():
            raise NameRefused("a segment holds a slash")
        path = unquote_to_bytes(path)
    return parse_name(path.lstrip(b"/"), hidden=hidden)
