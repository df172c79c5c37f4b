"""Tests the headers of the PROXY protocol: what proxies send, however cut, and hostile ones."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpdl.wire.proxy import (
    BODY_MOST,
    HEADER_MOST,
    VERSION_1_MOST,
    Client,
    Header,
    Incoming,
    NotProxied,
    crc32c,
)

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
ADDRESSES_4 = bytes([192, 0, 2, 1, 198, 51, 100, 1]) + struct.pack("!HH", 1234, 80)
ADDRESSES_6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 1234, 80)
)


def binary(body: bytes = b"", *, command: int = 0x21, kind: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body)) + body


def field(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def checked(body: bytes) -> bytes:
    """With a checksum after `body`."""
    blank = binary(body + field(0x03, bytes(4)))
    return binary(body + field(0x03, struct.pack("!I", crc32c(blank))))


TLS = field(0x20, bytes([1, 0, 0, 0, 0]) + field(0x21, b"TLSv1.3"))
PLAIN = field(0x20, bytes([0, 0, 0, 0, 1]))

GOOD: dict[bytes, Header] = {
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 80\r\n": Header(Client("192.0.2.1", 1234)),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": Header(
        Client("255.255.255.255", 65535)
    ),
    b"PROXY TCP6 2001:DB8:0::1 ::1 0 80\r\n": Header(Client("2001:db8::1", 0)),
    b"PROXY UNKNOWN\r\n": Header(None),
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n": Header(None),
    b"PROXY UNKNOWN".ljust(VERSION_1_MOST - 2, b" ") + b"\r\n": Header(None),
    binary(ADDRESSES_4): Header(Client("192.0.2.1", 1234)),
    binary(ADDRESSES_6, kind=0x21): Header(Client("2001:db8::1", 1234)),
    binary(b"/a".ljust(108, b"\0") * 2, kind=0x31): Header(Client("")),
    binary(kind=0): Header(None),
    binary(field(0x04, b"aligned"), kind=0): Header(None),
    binary(command=0x20, kind=0): Header(None, own=True),
    binary(b"whatever it be", command=0x20, kind=0xFF): Header(None, own=True),
    binary(ADDRESSES_4 + field(0x01, b"h2") + TLS): Header(Client("192.0.2.1", 1234), tls=True),
    binary(ADDRESSES_4 + PLAIN): Header(Client("192.0.2.1", 1234)),
    checked(ADDRESSES_4): Header(Client("192.0.2.1", 1234)),
    checked(ADDRESSES_4 + TLS): Header(Client("192.0.2.1", 1234), tls=True),
    binary(ADDRESSES_4 + field(0x04, bytes(BODY_MOST - 15))): Header(Client("192.0.2.1", 1234)),
}

BAD = [
    b"GET / HTTP/1.1\r\n",
    b"file.txt\n",
    b"\x16\x03\x01",
    b"PROXYTCP4",
    b"proxy TCP4 192.0.2.1 198.51.100.1 1234 80\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.1 1234 80\r\n",
    b"PROXY TCP4  192.0.2.1 198.51.100.1 1234 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 80 \r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 80 90\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.1 1234 80\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.1 1234 80\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 1234 80\r\n",
    b"PROXY TCP4 192.0.2.1\0 198.51.100.1 1234 80\r\n",
    b"PROXY TCP4 ::1 ::1 1234 80\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.1 1234 80\r\n",
    b"PROXY TCP6 fe80::1%lo ::1 1234 80\r\n",
    b"PROXY TCP4 192.0.2.1 elsewhere 1234 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 01 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 99999999999 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 80\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 x\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.1 ١ 80\r\n".encode(),
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 80\n\r\n",
    b"PROXY UNKNOWN".ljust(VERSION_1_MOST - 1, b" ") + b"\r\n",
    b"PROXY " + b"." * 200,
    binary(ADDRESSES_4, command=0x11),
    binary(ADDRESSES_4, command=0x22),
    binary(ADDRESSES_4, command=0x31),
    binary(ADDRESSES_4, kind=0x12),
    binary(ADDRESSES_4, kind=0x10),
    binary(ADDRESSES_4, kind=0x41),
    binary(ADDRESSES_4[:-1]),
    binary(ADDRESSES_4, kind=0x21),
    binary(ADDRESSES_6[:-1], kind=0x21),
    binary(bytes(215), kind=0x31),
    binary(ADDRESSES_4 + b"\0"),
    binary(ADDRESSES_4 + b"\x01\0\2a"),
    binary(ADDRESSES_4 + field(0x20, b"\1\0\0\0")),
    binary(ADDRESSES_4 + field(0x03, b"\0\0\0")),
    binary(ADDRESSES_4 + field(0x03, b"none")),
    checked(ADDRESSES_4)[:-1] + b"\0",
    SIGNATURE + struct.pack("!BBH", 0x21, 0x11, BODY_MOST + 1),
    SIGNATURE[:-1] + b"\r",
]


def read(data: bytes, cut: int = 1 << 30) -> tuple[Header | None, int]:
    """What is read of `data`, in pieces of so many bytes; and how many of them it took."""
    incoming = Incoming()
    took = 0
    for at in range(0, len(data), cut):
        piece = data[at : at + cut]
        took += incoming.feed(piece)
        if incoming.header is not None:
            break
        assert took == at + len(piece), "what is part of a header was left"
    return incoming.header, took


@pytest.mark.parametrize("data", GOOD)
@pytest.mark.parametrize("cut", [1, 2, 13, 1 << 30])
@pytest.mark.parametrize("more", [b"", b"\n", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"P" * 9000])
def test_what_proxies_send(data: bytes, cut: int, more: bytes) -> None:
    assert read(data + more, cut) == (GOOD[data], len(data))


@pytest.mark.parametrize("data", GOOD)
def test_what_is_not_complete(data: bytes) -> None:
    for length in range(len(data)):
        assert read(data[:length])[0] is None


@pytest.mark.parametrize("data", BAD)
@pytest.mark.parametrize("cut", [1, 1 << 30])
def test_what_is_none(data: bytes, cut: int) -> None:
    with pytest.raises(NotProxied):
        read(data, cut)


def test_after_the_header_nothing_is_taken() -> None:
    incoming = Incoming()
    incoming.feed(b"PROXY UNKNOWN\r\n")
    assert incoming.feed(b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 80\r\n") == 0
    assert incoming.header == Header(None)


def test_nothing_is_waited_for_without_end() -> None:
    for begins in (b"PROXY ", SIGNATURE):
        with pytest.raises(NotProxied):
            read(begins + b"\xff" * HEADER_MOST, 1)


def test_a_flipped_bit_of_the_addresses_does_not_pass_the_checksum() -> None:
    data = checked(ADDRESSES_4 + TLS)
    for bit in range(16 * 8, 28 * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NotProxied, match="damaged"):
            read(bytes(flipped))


def test_there_is_one_checksum() -> None:
    """To compute as many as fit, each of which is right, would take a second."""
    data = checked(ADDRESSES_4)
    at = data.index(b"\x03\0\x04") + 3
    twice = bytearray(binary(data[16:] + field(0x03, bytes(4))))
    twice[at : at + 4] = bytes(4)
    twice[at : at + 4] = struct.pack("!I", crc32c(bytes(twice)))
    with pytest.raises(NotProxied, match="two checksums"):
        read(bytes(twice))


def test_the_checksum_is_the_one_that_is_meant() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


beginnings = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, binary(ADDRESSES_4)[:16]])


@given(begins=beginnings, data=st.binary(max_size=300), cut=st.integers(1, 40))
def test_whatever_comes_is_read_alike_however_it_is_cut(
    begins: bytes, data: bytes, cut: int
) -> None:
    outcomes = []
    for size in (1 << 30, cut):
        try:
            outcomes.append(read(begins + data, size))
        except NotProxied:
            outcomes.append((None, -1))
    assert outcomes[0] == outcomes[1]


@given(host=st.ip_addresses(), port=st.integers(0, 0xFFFF), more=st.binary(max_size=50))
def test_round_trip(host: object, port: int, more: bytes) -> None:
    text = str(host)
    six = ":" in text
    line = f"PROXY TCP{6 if six else 4} {text} {text} {port} 1\r\n".encode()
    family = socket.AF_INET6 if six else socket.AF_INET
    packed = socket.inet_pton(family, text)
    body = packed * 2 + struct.pack("!HH", port, 1)
    expected = Header(Client(socket.inet_ntop(family, packed), port))
    for data in (line, binary(body, kind=0x21 if six else 0x11)):
        assert read(data + more) == (expected, len(data))
