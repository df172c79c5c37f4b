"""Targets for a fuzzer: whatever a peer sends as a name, it stays below the root, and shows safely.

    python tests/fuzz/fuzz_names.py --seed                       write the corpus anew
    python tests/fuzz/fuzz_names.py --names tests/fuzz/corpus/names -max_total_time=180

The second needs atheris, which nothing else here does, and takes libFuzzer's options; the targets
are `--names`, `--raw`, `--recognise` and `--text`. What is found goes to the first folder that is
named. tests/fuzz/test_corpus.py runs the targets over the corpus.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterable, Iterator

from tcpdl.wire.names import MAX_NAME, MAX_SEGMENT, Name, NameRefused, follow_link, parse_name
from tcpdl.wire.native import MAGIC
from tcpdl.wire.raw import RawRequest, spellings
from tcpdl.wire.recognise import http_began, http_request, native_preface
from tcpdl.wire.text import printable
from tests.fuzz.running import CUTS, main, pieces

ROOT = b"/srv/files"

ENCODINGS = ("utf-8", "gbk", "big5", "shift_jis", "iso2022_jp", "utf-7", "utf-16", "cp1252")
"""Some whose ASCII is not what it seems, and more than anybody configures."""

DECIDED = len(b"OPTIONS /")
"""Bytes after which it is known which dialect a client speaks."""


def names(data: bytes) -> None:
    """A name, and after a line end the text of a link in the folder that it names; hidden files are
    handed out if the first byte is odd."""
    hidden = bool(data[:1]) and bool(data[0] & 1)
    asked, _, link = data[1:].partition(b"\n")
    parents: tuple[bytes, ...] = ()
    if name := parsed(asked, hidden=hidden):
        parents = name.segments
        again = b"/".join(parents) + b"/" * (name.folder and bool(parents))
        assert parse_name(again, hidden=hidden) == name
        assert os.path.normpath(asked) == (b"/".join(parents) or b".")
    try:
        found = follow_link(parents, link, ROOT, hidden=hidden)
    except NameRefused:
        return
    sound(found, hidden=hidden)
    # Where the system would go, too.
    where = os.path.normpath(os.path.join(ROOT, *parents, link))
    assert where == os.path.join(ROOT, *found)


def raw(data: bytes) -> None:
    """`data` is what a client of the raw dialect sends."""
    cuts, stream = data[:CUTS], data[CUTS:]
    name = named([stream])
    assert named(pieces(stream, cuts)) == name
    first, *more = re.split(rb"[\n\0]", stream, maxsplit=1)
    first = first.removesuffix(b"\r")
    assert name == (None if len(first) > MAX_NAME else (first, bool(more)))
    found = list(spellings(first[:MAX_NAME], ENCODINGS))
    assert found[0] == first[:MAX_NAME]
    assert len(set(found)) == len(found) <= len(ENCODINGS)
    for spelling in found:
        parsed(spelling, hidden=False)


def recognise(data: bytes) -> None:
    """`data` is how a connection begins."""
    # The front door has decided before it has seen more than this.
    for end in range(min(len(data), 64) + 1):
        native, http = native_preface(data[:end]), http_began(data[:end])
        assert native is (None if MAGIC.startswith(data[:end]) and end < 6 else data[:6] == MAGIC)
        assert not (native and http)
        assert native is not None or end < len(MAGIC)
        assert http is not None or end < DECIDED
        assert http is not None or not set(data[:end]) & set(b"\r\n\0/")
    # The echo service has, once and for all.
    verdict: bool | None = None
    for end in range(0, len(data) + 1, 1 + len(data) // 64):
        now = http_request(data[:end])
        assert verdict is None or now is verdict
        verdict = now


def text(data: bytes) -> None:
    """`data` is to be shown."""
    for given in (data, data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
        for limit in (4, 512):
            shown = printable(given, limit)
            assert shown.isprintable()
            assert len(shown) <= 10 * limit + 3
            shown.encode("utf-8")
    character = chr(int.from_bytes(data[:3], "big") % 0x110000)
    assert printable(character).isprintable()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "names": names,
    "raw": raw,
    "recognise": recognise,
    "text": text,
}


def parsed(asked: bytes, *, hidden: bool) -> Name | None:
    """What `asked` names; `None` if it is refused, with a reason that can be shown."""
    try:
        name = parse_name(asked, hidden=hidden)
    except NameRefused as refusal:
        why = str(refusal)
    else:
        sound(name.segments, hidden=hidden)
        return name
    assert why.isprintable()
    return None


def sound(segments: tuple[bytes, ...], *, hidden: bool) -> None:
    """Assert what is promised of the segments of every name."""
    for segment in segments:
        assert segment not in (b"", b".", b"..")
        assert not set(segment) & set(b"/\0")
        assert len(segment) <= MAX_SEGMENT
        assert hidden or not segment.startswith(b".")


def named(cut: Iterable[bytes]) -> tuple[bytes, bool] | None:
    """What the pieces of `cut` name, and whether that has an end; `None` if they are refused."""
    request = RawRequest()
    try:
        for piece in cut:
            name = request.feed(piece)
            assert len(request._buffer) <= MAX_NAME + 1
            if name is not None:
                return name, True
    except NameRefused:
        return None
    return request.finish(), False


# The corpus.


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each file of the corpus."""
    for name, data in asked().items():
        yield "names", name, data
    for name, stream in streams().items():
        yield "raw", name, bytes([2, 0, 17, 255]) + stream
    for name, head in heads().items():
        yield "recognise", name, head
    for name, shown in texts().items():
        yield "text", name, shown


def asked() -> dict[str, bytes]:
    return {
        "nothing": b"",
        "file": b"0hello.txt",
        "folder": b"0notes/",
        "dots": b"0./a//b/./c/.",
        "climbs": b"0a/../../b",
        "absolute": b"0/etc/passwd",
        "nul": b"0a\0b",
        "hidden": b"0a/.b",
        "hidden-handed-out": b"1a/.b",
        "longest": b"0" + b"a" * MAX_SEGMENT + b"/b",
        "too-long": b"0" + b"a/" * 513,
        "segment-too-long": b"0" + b"a" * 256,
        "link": b"0a/b\n../c",
        "link-to-the-root": b"0a/b\n../..",
        "link-out": b"0a\n../../b",
        "link-out-and-back": b"0a\n../../srv/files/a",
        "link-absolute": b"0a\n/srv/files/b/../c",
        "link-absolute-out": b"0a\n/srv/files/../b",
        "link-absolute-elsewhere": b"0a\n/srv/files2/b",
        "link-to-hidden": b"0a\n.b",
        "link-of-dots": b"0a\n././/.",
    }


def streams() -> dict[str, bytes]:
    return {
        "lf": b"hello.txt\n",
        "crlf": b"hello.txt\r\nmore",
        "nul": b"hello.txt\0",
        "no-end": b"hello.txt",
        "cr": b"hello.txt\r",
        "two-crs": b"hello.txt\r\r\n",
        "empty": b"\n",
        "help": b"?\n",
        "gbk": "下载.txt\n".encode("gbk"),
        "utf-8": "下载.txt\n".encode(),
        "utf-7": b"+AC4ALgAv-etc\n",
        "iso-2022": b'\x1b$B%"\x1b(B/..\n',
        "longest": b"a" * MAX_NAME + b"\r\n",
        "too-long": b"a" * (MAX_NAME + 1) + b"\n",
        "climbs": b"../../etc/passwd\n",
    }


def heads() -> dict[str, bytes]:
    return {
        "native": MAGIC + b"\1\1",
        "native-half": MAGIC[:3],
        "get": b"GET /a HTTP/1.1\r\n",
        "head": b"HEAD http://a/ HTTP/1.1\r\n",
        "options": b"OPTIONS * HTTP/1.1\r\n",
        "connect": b"CONNECT a:1 HTTP/1.1\r\n",
        "unknown": b"BREW /pot HTTP/1.1\r\n",
        "name": b"GETTING started.txt\n",
        "name-that-goes-on": b"a b HTTP/1.1.txt\n",
        "long-target": b"GET /" + b"a" * 8300,
        "answer": b"HTTP/1.1 200 OK\r\n",
        "tls": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    }


def texts() -> dict[str, bytes]:
    return {
        "plain": b"hello",
        "letters": "größe 下载 ملف".encode(),
        "escape": b"\x1b[31mred\x07\x7f",
        "c1": b"\xc2\x9b31m",
        "bidi": "a\u202egpj.exe\u2066\u200f\u061c".encode(),
        "lines": "a\nb\r\u2028c\u2029\x85".encode(),
        "backslash": b"a\\x1b",
        "not-utf-8": b"\xff\xc0\xaf\xed\xa0\x80",
        "wide": "😀\U000e0001\U0010ffff".encode(),
        "long": b"ab" * 400,
    }


if __name__ == "__main__":
    main(__doc__ or "", TARGETS, seeds())
