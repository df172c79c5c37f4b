"""Targets for a fuzzer: whatever a web server answers, a URL holds, or a file of the client's has.

    python tests/fuzz/fuzz_client.py --seed                       write the corpus anew
    python tests/fuzz/fuzz_client.py --answers tests/fuzz/corpus/answers -max_total_time=180

The second needs atheris, which nothing else here does, and takes libFuzzer's options; the targets
are `--answers`, `--urls`, `--redirects`, `--netrc` and `--record`. What is found goes to the first
folder that is named. tests/fuzz/test_corpus.py runs the targets over the corpus.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator

from tcpdl.client.credentials import Netrc
from tcpdl.client.errors import BadRequest, Garbled, NothingThere
from tcpdl.client.http.asking import _redirected
from tcpdl.client.http.representation import BadRange, read_answer
from tcpdl.client.http.response import (
    FIELDS_MOST,
    HEAD_MOST,
    LINE_MOST,
    MAX_SIZE,
    Body,
    Head,
    HeadParser,
    Nonsense,
    body_of,
)
from tcpdl.client.record import Record, Version
from tcpdl.client.url import Location, over_http, parse_url
from tcpdl.wire.login import PROOF_MOST
from tcpdl.wire.native import CHUNK_SHIFTS
from tcpdl.wire.text import visible
from tests.fuzz.running import CUTS, main, pieces

Outcome = tuple[Head | None, bytes, bytes]
"""A head, the bytes of its body, and what comes after that; or how it makes no sense."""


def answers(data: bytes) -> None:
    """`data` is what a web server answers, after some bytes that cut it up."""
    cuts, stream = data[:CUTS], data[CUTS:]
    whole = taken([stream])
    assert taken(pieces(stream, cuts)) == whole
    head = whole[0]
    if head is None:
        return
    assert len(head.fields) <= FIELDS_MOST
    assert visible(head.reason) == head.reason
    for asked in (None, (0, 10), (2, 5)):
        try:
            answer = read_answer(head, asked, b"a.gz")
        except (Nonsense, BadRange) as problem:
            sentence(problem)
            continue
        there = answer.representation
        assert there.size is None or 0 <= there.size <= MAX_SIZE
        assert answer.end is None or answer.start <= answer.end
        assert asked is not None or answer.start == 0
        assert not there.ranges or (there.validator and there.size is not None)
        assert there.is_same(there, partial=False)
        assert 0 <= there.mtime_ns < 1 << 68
        assert all(len(digest) in (32, 64) for _, digest in there.digests)


def sentence(problem: BaseException) -> None:
    """Assert that what a person reads of it controls no terminal."""
    assert visible(str(problem)) == str(problem)


def taken(cut: Iterable[bytes]) -> Outcome:
    """What a client makes of these pieces."""
    parser, head, body, content, rest = HeadParser(), None, Body(0), b"", b""
    try:
        for piece in cut:
            if head is None:
                head = parser.feed(piece)
                if head is None:
                    assert len(parser._data) <= HEAD_MOST
                    continue
                body, piece = body_of(head), parser.rest
            while piece and not body.done:
                if body.left:
                    some = piece[: body.left]
                    content += some
                    body.passed(len(some))
                    piece = piece[len(some) :]
                else:
                    piece = piece[body.feed(piece) :]
                    assert len(body._line) <= LINE_MOST
            rest += piece
    except Nonsense as problem:
        sentence(problem)
        return None, content if head else b"", b"nonsense"
    return head, content, rest


def urls(data: bytes) -> None:
    """`data` is a URL that somebody was given."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        place = parse_url(text)
    except BadRequest as problem:
        sentence(problem)
        return
    assert 0 < place.port < 65536
    assert place.host.isprintable()
    assert not set(place.host) & set(" @/")
    asked = over_http(place)
    assert not re.search(r"[^!-~]", asked.target)
    assert asked.target.startswith(("/", "?"))
    assert b"/" not in place.file_name
    for shown in (place.shown, place.label, asked.shown):
        assert visible(shown) == shown
    # Anything may stand for a host, and be looked up; one that is fit for URLs stays itself in one.
    if re.fullmatch(r"[\w.:-]+", place.host) and asked.target.startswith("/"):
        assert parse_url(asked.root + asked.target) == asked


def redirects(data: bytes) -> None:
    """`data` is where a web server says that a file is."""
    place = Location("a.example", 443, b"b/c", "/b/c?d", True)
    location = data.decode("latin-1").strip(" \t")
    for tls in (True, False):
        head = Head(1, 302, "Found", {"location": (location,)})
        try:
            to = _redirected(place._replace(tls=tls), head)
        except (NothingThere, Garbled) as problem:
            sentence(problem)
            continue
        assert to.target
        assert not re.search(r"[^!-~]", to.target)
        assert to.tls or not tls


def netrc(data: bytes) -> None:
    """`data` is a netrc, and its first word a host."""
    host = data[:20].decode("latin-1").split(" ")[0]
    with file_of(data) as fd:
        found = Netrc(f"/proc/self/fd/{fd}")
        for one in (host, "a.example", "default"):
            try:
                login = found.login_for(one)
            except BadRequest as problem:
                sentence(problem)
                continue
            if login is not None:
                assert 0 < len(login.message.proof) <= PROOF_MOST + 1
                assert not re.search(r"[\r\n]", login.authorization)
                assert repr(login) == "Login(...)"


def record(data: bytes) -> None:
    """`data` is the record of a part of a file."""
    with file_of(data) as fd:
        found = Record(os.dup(fd))
        try:
            if found.version is None:
                assert not found.digests
                found.begin(Version(5, 20, 1, b"t" * 16))
            assert found.version is not None
            assert found.version.shift in CHUNK_SHIFTS
            assert 0 <= found.version.size <= MAX_SIZE
            known = dict(found.digests)
            found.add(3, b"d" * 32)
        finally:
            found.close()
        os.lseek(fd, 0, os.SEEK_SET)
        again = Record(os.dup(fd))
        again.close()
        assert again.version == found.version
        assert again.digests == {**known, 3: b"d" * 32}


@contextlib.contextmanager
def file_of(data: bytes) -> Iterator[int]:
    """A file in memory that holds `data`, and that its owner alone may read."""
    fd = os.memfd_create("fuzzed")
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "answers": answers,
    "urls": urls,
    "redirects": redirects,
    "netrc": netrc,
    "record": record,
}


# The corpus.


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each file of the corpus."""
    for name, stream in streams().items():
        yield "answers", name, bytes([2, 0, 17, 255]) + stream
    for name, url in addresses().items():
        yield "urls", name, url
        yield "redirects", name, url
    yield from (
        ("netrc", "one", b"machine a.example login ann password secret\n"),
        ("netrc", "default", b"machine b login c\n\ndefault login ann password x account y\n"),
        ("netrc", "macro", b"macdef init\ncd /pub\n\nmachine a.example\n login ann\n password p\n"),
        ("netrc", "quoted", b'machine a.example login "an n" password "a\\"b"\n'),
        ("netrc", "broken", b"machine a.example login"),
        ("netrc", "not-utf-8", b"machine a.example login \xff password \xfe\n"),
        ("record", "empty", b""),
        ("record", "two", RECORD + bytes(8) + b"d" * 32 + bytes(7) + b"\1" + b"e" * 32),
        ("record", "broken-off", RECORD + bytes(8) + b"d" * 20),
        ("record", "of-another", RECORD.replace(b"record 1", b"record 2")),
        ("record", "shift", RECORD[:23] + b"\xff" + RECORD[24:]),
    )


RECORD = b"tcpdl record 1\n" + (1 << 21).to_bytes(8, "big") + b"\x14\1" + b"t" * 16


def streams() -> dict[str, bytes]:
    date = b"Date: Mon, 14 Sep 2020 12:26:40 GMT\r\n"
    changed = b"Last-Modified: Sun, 13 Sep 2020 12:26:40 GMT\r\n"
    tag = b'ETag: "a"\r\nAccept-Ranges: bytes\r\n'
    digest = b"Repr-Digest: sha-256=:" + b"A" * 43 + b"=:\r\n"
    length = b"Content-Length: 5\r\n"
    ok, part = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 206 Partial Content\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n"
    return {
        "whole": ok + date + changed + tag + digest + length + b"\r\nhello",
        "whole-of-http-1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
        "whole-and-more": ok + length + b"\r\nhelloHTTP/1.1 200 OK\r\n",
        "part": part + tag + b"Content-Range: bytes 2-4/9\r\nContent-Length: 3\r\n\r\nabc",
        "part-of-another": part + tag + b"Content-Range: bytes 3-5/9\r\n\r\nabc",
        "part-that-cannot-be": part + b"Content-Range: bytes 5-3/9\r\n\r\nabc",
        "parts": part + b"Content-Type: multipart/byteranges; boundary=x\r\n\r\n--x",
        "chunked": ok + chunked + b"\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "chunked-badly": ok + chunked + b"\r\n5\r\nhelloX\r\n",
        "chunk-huge": ok + chunked + b"\r\nffffffffffffffff\r\n",
        "two-lengths": ok + length + b"Content-Length: 6\r\n\r\nhello",
        "length-and-chunked": ok + length + chunked + b"\r\n",
        "stored-in-gzip": ok + b"Content-Encoding: gzip\r\n" + length + b"\r\nhello",
        "stored-in-br": ok + b"Content-Encoding: br\r\n" + length + b"\r\nhello",
        "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + ok + length + b"\r\nhello",
        "folded": ok + b"A: b\r\n c\r\n" + length + b"\r\nhello",
        "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        "no-content": b"HTTP/1.1 204 No Content\r\n\r\n",
        "reason-for-a-terminal": b"HTTP/1.1 404 \x1b[31mno\r\n\r\n",
        "not-http": b"\0tcpdl\1\1",
        "too-many-fields": ok + b"A: b\r\n" * 201 + b"\r\n",
    }


def addresses() -> dict[str, bytes]:
    return {
        "plain": b"a.example:8080/notes/a b.txt",
        "native": b"tcpdl://a.example/x%2Fy",
        "native-over-tls": b"tcpdls://[2001:db8::1]:99/",
        "http": b"http://a.example/b?c=d#e",
        "https": b"https://a.example?x",
        "relative": b"../x/./y?z",
        "other-host": b"//b.example/c",
        "other-scheme": b"file:///etc/passwd",
        "user": b"http://u:p@a.example/",
        "letters": "http://a.example/下载?ü".encode(),
        "not-utf-8": b"http://a.example/\xff",
        "port": b"a.example:99999/x",
        "signed": b"a.example/b?until=1999999999&signed=" + b"A" * 43,
        "javascript": b"javascript:alert(1)",
        "blank": b"http://a b/",
    }


if __name__ == "__main__":
    main(__doc__ or "", TARGETS, seeds())
