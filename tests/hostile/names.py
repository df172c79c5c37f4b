"""Names that no honest client sends, made of small tables. Imports nothing of ours.

They climb, or seem to: in many spellings of a dot and of a slash, which some program somewhere has
taken for them. They hold what means something to a shell, a file system or another system's names.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

DOTS = [
    b"..",
    b"%2e%2e",
    b".%2E",
    b"%252e%252e",  # quoted twice
    b"%%32%65%%32%65",  # its digits are quoted
    b"%u002e%u002e",
    b"0x2e0x2e",
    b"\xc0\xae\xc0\xae",  # in more bytes than UTF-8 allows
    b"%c0%ae%c0%ae",
    b"\xe0\x80\xae\xe0\x80\xae",
    b"\xf0\x80\x80\xae\xf0\x80\x80\xae",
    "\uff0e\uff0e".encode(),  # full width
    "\u2024\u2024".encode(),  # one dot leader
    "\u2025".encode(),  # two dot leader
    ".\u200b.".encode(),  # with nothing to be seen between
    ".\u202e.".encode(),
    b"+AC4ALg-",  # in UTF-7
    b".\0.\0",  # in UTF-16
    b"....",
    b"...",
    b"..;",
    b"..;a=b",
    b"..\0",
    b"..%00",
    b".. ",
    b"..%20",
    b"..\t",
    b". .",
    b"./..",
    b".\\..",
    b"..\r",
]

SLASHES = [
    b"/",
    b"//",
    b"/./",
    b"///.//",
    b"%2f",
    b"%2F%2f",
    b"%252f",
    b"%u2215",
    b"\\",
    b"\\\\",
    b"%5c",
    b"%255c",
    b"\xc0\xaf",
    b"%c0%af",
    b"\xe0\x80\xaf",
    "\uff0f".encode(),
    "\u2215".encode(),
    b"/\\",
    b";/",
    b"?/",
    b"#/",
    b"0x2f",
]

DEPTHS = [1, 2, 7]

BEFORE = [b"", b"/", b"sub/", b"./", b"\\"]

SECRETS = [b"secret", b"etc/passwd"]
"""What is to be had outside, on each level."""


def climbing() -> Iterator[bytes]:
    """Each spelling of what goes up, so often, with each spelling of what stands between."""
    for dots, slash, depth in product(DOTS, SLASHES, DEPTHS):
        for number, secret in enumerate(SECRETS):
            before = BEFORE[(depth + number + len(dots) + len(slash)) % len(BEFORE)]
            yield before + (dots + slash) * depth + secret.replace(b"/", slash)


def out_and_back(root: bytes) -> Iterator[bytes]:
    """What leaves a root called `root`, and what comes back to it."""
    for dots, slash in product(DOTS[:6], SLASHES[:6]):
        yield dots + slash + root + slash + b"hello.txt"
        yield dots + slash + root + b"-secret"
        yield b"sub" + slash + dots + slash + dots + slash + root + b".bak"
        yield b"hello.txt" + slash + dots + slash + dots + slash + b"secret"


def single_bytes() -> Iterator[bytes]:
    """Each byte alone, before a name, within one, after one, and in place of a slash."""
    for number in range(256):
        byte = bytes([number])
        yield byte
        yield byte + b"../secret"
        yield b".." + byte + b"secret"
        yield b"../secret" + byte
        yield b"hello.txt" + byte
        yield b"hello" + byte + b".txt"


def absolute(*paths: bytes) -> Iterator[bytes]:
    """Names that begin at the top, as different systems and libraries have it."""
    for path in (b"/etc/passwd", b"/proc/self/environ", b"/proc/self/root/etc/passwd", *paths):
        for before in (b"", b"/", b"//", b"file://", b"file:", b"~", b"~root", b"C:", b"\\\\?\\C:"):
            yield before + path
        yield path.replace(b"/", b"\\")
        yield b"//localhost" + path
        yield b"http://127.0.0.1" + path
        yield b"%2f" + path[1:]


OTHER_SYSTEMS = [
    *(b"CON", b"NUL", b"nul.txt", b"AUX", b"COM1", b"LPT1.txt", b"CONIN$", b"PRN/hello.txt"),
    *(b"hello.txt::$DATA", b"hello.txt:secret", b"sub:$I30:$INDEX_ALLOCATION/hello.txt"),
    *(b"hello.txt.", b"hello.txt ", b"hello.txt...", b"HELLO~1.TXT", b"HELLO.TXT", b"Sub/"),
    *(b"c:", b"c:hello.txt", b"\\\\.\\PhysicalDrive0", b"\\??\\C:\\", b"//./pipe/a"),
    *(b".DS_Store", b"Icon\r", b"sub/..namedfork/rsrc", b"hello.txt/..namedfork/data"),
]

SHELLS = [
    *(b"$(id)", b"`id`", b"|id", b";id", b"&id", b"*", b"h*", b"?ello.txt", b"[h]ello.txt"),
    *(b"{hello,secret}.txt", b"~", b"~root/.profile", b"-rf", b"--help", b"!!", b"$HOME", b"%s%n"),
    *(b"%x" * 20, b"' OR '1'='1", b"<script>", b"${jndi:ldap://a}", b"{{7*7}}", b"\xff\xfe"),
    *(b"hello.txt\nsecret", b"hello.txt\r\n../secret", b"hello.txt\0../secret", b"\0", b"\0tcpdl"),
]

LONG = [
    b"a" * 255,
    b"a" * 256,
    b"a/" * 512,
    b"a/" * 513,
    b"./" * 511 + b"x",
    b"./" * 100 + b"../secret",
    b"../" * 338 + b"secret",
    b"../" * 400 + b"secret",
    b"/" * 1000 + b"etc/passwd",
    b"a/../" * 200 + b"../secret",
    b"%2e%2e%2f" * 100 + b"secret",
    b"\xe4\xb8\x8b" * 341,
    b"A" * 100_000,
]


def behind(link: bytes) -> Iterator[bytes]:
    """What may lie behind a link, or go through it as if it were a folder."""
    for after in (b"", b"/", b"//", b"/.", b"/..", b"/./", b"/../secret", b"/secret", b"/."):
        yield link + after
    for after in (b"/etc/passwd", b"/environ", b"/root/etc/passwd", b"/hello.txt", b"/0", b"\0"):
        yield link + after


def all_names(root: bytes, links: list[bytes], *paths: bytes) -> list[bytes]:
    """All of these, each once; `paths` are absolute, and `links` are in the folder `root`."""
    found = [
        *climbing(),
        *out_and_back(root),
        *single_bytes(),
        *absolute(*paths),
        *(name for link in links for name in behind(link)),
        *OTHER_SYSTEMS,
        *SHELLS,
        *LONG,
    ]
    return list(dict.fromkeys(found))
