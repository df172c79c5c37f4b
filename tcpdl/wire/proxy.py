"""The header of the PROXY protocol, versions 1 and 2: whose connection a proxy passes on. Pure.

Imports the standard library only. It is specified by HAProxy's proxy-protocol.txt. Who sends one
claims to know the client: it is for whoever reads it to know that this may be believed.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

VERSION_1_MOST = 107
"""Bytes of a header of version 1, its line end included."""

BODY_MOST = 4096
"""Bytes of one of version 2, but for its first 16: addresses, and what else is said. Those of a
Unix socket take 216; a certificate's name, an id or a host some hundred."""

HEADER_MOST = 16 + BODY_MOST
"""Bytes of any header."""

_BEGINS = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")  # signature, version and command, family, length
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED, _INET, _INET6, _UNIX = range(4)
_STREAM = 1
_ADDRESSES = {_UNSPECIFIED: 0, _INET: 12, _INET6: 36, _UNIX: 216}
"""By family, the bytes that its two addresses take."""

_CRC32C = 0x03
_SSL = 0x20
_CLIENT_SSL = 0x01
"""In the first byte of what is said of TLS: the client came with it."""


class NotProxied(Exception):
    """What has come is no such header; the text says why."""


class Client(NamedTuple):
    """Where a client is."""

    host: str
    """An IPv4 or IPv6 address; empty for a Unix socket."""
    port: int = 0


class Header(NamedTuple):
    """What a proxy says of a connection."""

    client: Client | None
    """`None` if it does not know, or if it is its own."""
    own: bool = False
    """The connection is made by the proxy for itself, to see whether we are there."""
    tls: bool = False
    """The client has come to the proxy with TLS."""


class Incoming:
    """Reads a header from the beginning of a connection, however it is cut."""

    def __init__(self) -> None:
        self.header: Header | None = None
        """Once it is complete."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> int:
        """Take bytes of the connection; return how many of them are part of the header.

        As long as it is not complete, all are; once it is, `header` says so, and none is. Raises
        `NotProxied`, and is of no use then.
        """
        if self.header is not None:
            return 0
        before = len(self._buffer)
        self._buffer += data[: HEADER_MOST - before]
        end = self._end()
        if end is None:
            return len(data)
        whole = bytes(self._buffer[:end])
        self.header = _line(whole) if whole.startswith(_BEGINS) else _binary(whole)
        self._buffer.clear()
        return end - before

    def _end(self) -> int | None:
        """Where the header ends, if that has come."""
        buffer = self._buffer
        if _BEGINS.startswith(buffer[: len(_BEGINS)]):
            end = buffer.find(b"\r\n", 0, VERSION_1_MOST)
            if end < 0 and len(buffer) >= VERSION_1_MOST:
                raise NotProxied(f"its line has no end within {VERSION_1_MOST} bytes")
            return None if end < 0 else end + 2
        if not _SIGNATURE.startswith(buffer[: len(_SIGNATURE)]):
            raise NotProxied("it does not begin as a PROXY header does")
        if len(buffer) < _FIXED.size:
            return None
        length: int = _FIXED.unpack_from(buffer)[3]
        if length > BODY_MOST:
            raise NotProxied(f"it has {length} bytes after the first 16; {BODY_MOST} at most")
        return _FIXED.size + length if len(buffer) >= _FIXED.size + length else None


def _line(line: bytes) -> Header:
    """A header of version 1."""
    words = line[:-2].split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(None)
    families = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
    if words[1] not in families or len(words) != 6:
        raise NotProxied("its line is not formed as one of version 1 is")
    _, name, source, target, port, target_port = words
    host = _host(families[name], source)
    _host(families[name], target)
    _port(target_port)
    return Header(Client(host, _port(port)))


def _host(family: int, text: bytes) -> str:
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text.decode("ascii")))
    except (OSError, ValueError):
        raise NotProxied("an address in it is none of its family") from None


def _port(text: bytes) -> int:
    digits = text.isdigit() and len(text) <= 5 and (text == b"0" or text[0] != 0x30)
    if not digits or int(text) > 0xFFFF:
        raise NotProxied("a port in it is none")
    return int(text)


def _binary(data: bytes) -> Header:
    """A header of version 2."""
    _, what, kind, _ = _FIXED.unpack_from(data)
    version, command = what >> 4, what & 15
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise NotProxied(f"version {version} with command {command}, which there is not")
    if command == _LOCAL:
        return Header(None, own=True)
    family, transport = kind >> 4, kind & 15
    size = _ADDRESSES.get(family)
    if size is None or (family != _UNSPECIFIED and transport != _STREAM):
        raise NotProxied(f"it is about connections of a kind that is not ours ({kind:#04x})")
    body = memoryview(data)[_FIXED.size :]
    if len(body) < size:
        raise NotProxied(f"{len(body)} bytes where two addresses should be")
    tls = _tls(data, _FIXED.size + size)
    if family == _INET:
        return Header(_client(socket.AF_INET, body[:4], body[8:10]), tls=tls)
    if family == _INET6:
        return Header(_client(socket.AF_INET6, body[:16], body[32:34]), tls=tls)
    return Header(Client("") if family == _UNIX else None, tls=tls)


def _client(family: int, address: memoryview, port: memoryview) -> Client:
    return Client(socket.inet_ntop(family, bytes(address)), int.from_bytes(port, "big"))


def _tls(data: bytes, at: int) -> bool:
    """Whether what stands after the addresses says that the client speaks TLS."""
    found = summed = False
    for kind, value, where in _fields(data, at):
        if kind == _CRC32C:
            if summed:  # each takes a while
                raise NotProxied("it has two checksums")
            summed = True
            blank = data[:where] + bytes(4) + data[where + 4 :]
            if len(value) != 4 or int.from_bytes(value, "big") != crc32c(blank):
                raise NotProxied("it was damaged on its way: its checksum is another")
        elif kind == _SSL:
            if len(value) < 5:
                raise NotProxied("what it says of TLS is cut short")
            found = bool(value[0] & _CLIENT_SSL)
    return found


def _fields(data: bytes, at: int) -> Iterator[tuple[int, bytes, int]]:
    """Type, value, and where that stands."""
    while at < len(data):
        if len(data) - at < 3:
            raise NotProxied("what it says after the addresses is cut short")
        kind, length = struct.unpack_from("!BH", data, at)
        at += 3
        if len(data) - at < length:
            raise NotProxied("what it says after the addresses is cut short")
        yield kind, data[at : at + length], at
        at += length


def _table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_CRC_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720, appendix B.4, which is not that of `zlib`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
