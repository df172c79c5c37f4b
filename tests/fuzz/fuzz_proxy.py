"""A target for a fuzzer: whatever comes in place of a PROXY header is read alike, however cut.

    python tests/fuzz/fuzz_proxy.py --seed                    write the corpus anew
    python tests/fuzz/fuzz_proxy.py --proxy tests/fuzz/corpus/proxy -max_total_time=180

As in fuzz_wire.py; the target is `--proxy`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator

from tcpdl.wire.proxy import HEADER_MOST, Header, Incoming, NotProxied, crc32c
from tests.fuzz.running import CUTS, main, pieces


def proxy(data: bytes) -> None:
    """`data` comes from who is trusted to be a proxy."""
    cuts, stream = data[:CUTS], data[CUTS:]
    whole = read([stream])
    assert read(pieces(stream, cuts)) == whole
    header, took = whole
    if isinstance(header, Header):
        assert took <= min(len(stream), HEADER_MOST)
        if header.client is not None and header.client.host:
            family = socket.AF_INET6 if ":" in header.client.host else socket.AF_INET
            socket.inet_pton(family, header.client.host)
            assert 0 <= header.client.port <= 0xFFFF


def read(cut: Iterable[bytes]) -> tuple[Header | str | None, int]:
    """The header, or what is wrong with it; and how many bytes it took."""
    incoming = Incoming()
    took = 0
    for piece in cut:
        try:
            took += incoming.feed(piece)
        except NotProxied:
            return "none", 0
        assert len(incoming._buffer) <= HEADER_MOST
        if incoming.header is not None:
            break
    return incoming.header, took


TARGETS: dict[str, Callable[[bytes], None]] = {"proxy": proxy}


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each file of the corpus."""
    four = bytes([192, 0, 2, 1, 198, 51, 100, 1, 4, 210, 0, 80])
    tls = b"\x20\0\x05\1\0\0\0\0"
    blank = binary(0x21, 0x11, four + b"\3\0\4\0\0\0\0")
    found = {
        "tcp4": b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 80\r\nname\n",
        "tcp6": b"PROXY TCP6 2001:db8::1 ::1 1234 80\r\nname\n",
        "unknown": b"PROXY UNKNOWN and more\r\n",
        "without-end": b"PROXY TCP4 " + b"1" * 100,
        "no-header": b"GET / HTTP/1.1\r\n",
        "inet": binary(0x21, 0x11, four) + b"name\n",
        "inet6": binary(0x21, 0x21, bytes(15) + b"\1" + bytes(15) + b"\1\4\xd2\0\x50"),
        "unix": binary(0x21, 0x31, bytes(216)),
        "local": binary(0x20, 0, b""),
        "tls": binary(0x21, 0x11, four + tls),
        "checksum": blank[:-4] + struct.pack("!I", crc32c(blank)),
        "checksum-is-wrong": blank,
        "field-cut-short": binary(0x21, 0x11, four + tls[:-1]),
        "too-long": binary(0x21, 0x11, b"")[:14] + b"\xff\xff",
    }
    for name, data in found.items():
        yield "proxy", name, bytes([2, 0, 17, 255]) + data


def binary(command: int, kind: int, body: bytes) -> bytes:
    head = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", command, kind, len(body))
    return head + body


if __name__ == "__main__":
    main(__doc__ or "", TARGETS, seeds())
