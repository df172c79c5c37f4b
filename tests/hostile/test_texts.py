"""Tests that no text from a peer, or from whoever writes to the folder, controls whoever shows it:
in the log, in pages, in the fields of answers.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from tcpdl.wire import native
from tcpdl.wire.native import encode
from tests.hostile.conftest import Guarded
from tests.hostile.texts import texts
from tests.programs.test_malformed import HEAD
from tests.server.http_client import get
from tests.server.native_client import HELLO as PREFACE

TEXTS = list(dict.fromkeys(texts()))


def shown(text: bytes) -> str:
    """`text`, if it is one that a person can read as it is."""
    decoded = text.decode("utf-8")
    assert all(character.isprintable() or character == "\n" for character in decoded), text
    return decoded


@pytest.fixture
def full(guarded: Guarded) -> Guarded:
    """A server of files, folders and links with these names."""
    for text in TEXTS:
        name = os.fsdecode(text)
        (guarded.root / "named" / name).mkdir(parents=True)
        (guarded.root / "named" / name / f"{name}.txt").write_bytes(b"hello\n")
        (guarded.root / "sub" / name).write_bytes(b"hello\n")
        (guarded.root / "sub" / f"link{name}").symlink_to(name + "/absent")
    return guarded


def test_log_of_the_raw_dialect(guarded: Guarded) -> None:
    for text in TEXTS:
        guarded.tell(b"absent" + text)
        guarded.tell(b"absent" + text + b"\n")
        guarded.tell(b"absent" + text, half_close=True)
    assert len(guarded.logged()) >= 2 * len(TEXTS)


def test_log_of_the_native_dialect(full: Guarded) -> None:
    for text in TEXTS:
        requests: list[native.Request] = [
            native.Get(1, b"absent" + text),
            native.Get(2, b"sub/" + text),
            native.Tree(3, b"named/" + text, native.CONTENT),
            native.Pick(4, b"named/" + text, (text, text + b".txt")),
            native.GetDigests(5, text),
        ]
        full.tell(PREFACE + b"".join(map(encode, requests)), half_close=True)
        full.tell(PREFACE + text * 8)
    assert len(full.logged()) == 6 * len(TEXTS)


def test_log_of_http(guarded: Guarded) -> None:
    requests = 0
    for text in TEXTS:
        line = text.partition(b"\n")[0].rstrip(b"\r")
        for data in (
            get("/" + quote_from_bytes(text)),
            get(b"/" + line),
            get(b"/?filter=" + line),
            b"GET /%b HTTP/1.1 %b\r\n\r\n" % (line, line),
            b"GET /" + line + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: %b\r\n%b: %b\r\n\r\n" % (text, text, text),
            b"BREW%b / HTTP/1.1\r\n\r\n" % line.replace(b" ", b""),
        ):
            said = guarded.tell(get("/"), data)
            requests += len(HEAD.findall(said))
    assert requests >= 14 * len(TEXTS)  # one of them holds the end of a request
    assert len(guarded.logged()) == requests


def answer(guarded: Guarded, target: str, *fields: str) -> tuple[str, bytes]:
    """The head and the body of the answer to one request, the head fit to be shown."""
    said = guarded.tell(get(target, *fields), half_close=True)
    head = HEAD.match(said)
    assert head is not None, said[:300]
    return head[0].decode("ascii"), said[head.end() :]


def test_pages(full: Guarded) -> None:
    html = "Accept: text/html"
    for folder in ("/", "/sub/", "/named/"):
        shown(answer(full, folder, html)[1])
    for text in TEXTS:
        quoted = quote_from_bytes(text, safe="")
        for target in (
            f"/named/{quoted}/",
            f"/named/{quoted}/{quoted}.txt?info",
            f"/sub/{quoted}?info&digest=sha256",
            f"/absent{quoted}",
            f"/?filter={quoted}",
            f"/?sort={quoted}",
            f"/?filter={quoted}&sort=-time",
            f"/?format={quoted}",
            f"/?archive={quoted}",
        ):
            shown(answer(full, target, html)[1])
        shown(answer(full, f"/absent{quoted}")[1])


def test_listings_for_programs(full: Guarded) -> None:
    """Nothing is lost, though all of it can be shown."""
    for folder in ("/sub/", "/named/"):
        listed = json.loads(shown(answer(full, folder + "?format=json")[1]))
        names = {one["name"] for one in listed["entries"]}
        assert {text.decode("utf-8", "replace") for text in TEXTS} <= names


QUERIES = ["", "?archive=tar", "?archive=zip", "?sums=sha256"]


def test_fields(full: Guarded) -> None:
    """One answer, of the fields that it should have, each on a line."""
    (full.root / "plain").mkdir()
    html = "Accept: text/html"
    plain_file, _ = answer(full, "/hello.txt?download")
    plain = {query: answer(full, f"/plain/{query}", html)[0] for query in QUERIES}
    for text in TEXTS:
        quoted = quote_from_bytes(text, safe="")
        head, body = answer(full, f"/sub/{quoted}?download")
        assert names_of(head) == names_of(plain_file)
        assert body == b"hello\n"
        for query in QUERIES:
            head, _ = answer(full, f"/named/{quoted}/{query}", html)
            assert names_of(head) == names_of(plain[query])
        head, _ = answer(full, f"/named/{quoted}")
        (where,) = re.findall("^Location: (.*)\r$", head, re.MULTILINE)
        assert where == f"/named/{quote_from_bytes(text, safe='._@+,/-')}/"


def names_of(head: str) -> list[str]:
    """The names of the fields in a head, but for one that comes when there was time for it."""
    names = [line.partition(":")[0] for line in head.split("\r\n")[1:]]
    return [name for name in names if name != "Repr-Digest"]


def test_redirects_lead_nowhere_else(guarded: Guarded) -> None:
    """A browser takes two slashes, or a backslash, for the beginning of another site."""
    (guarded.root / "evil.example").mkdir()
    redirected = 0
    for slashes in ("//", "///", "/%2f", "/%5c", "/\\", "//%2e/", "/./", "/;/"):
        for target in (f"{slashes}evil.example", f"{slashes}sub", f"/sub/..{slashes}sub"):
            head, _ = answer(guarded, target)
            for where in re.findall("^Location: (.*)\r$", head, re.MULTILINE):
                assert re.match(r"/(?![/\\])", where)
                redirected += 1
    assert redirected


def test_errors_do_not_say_where_the_folder_is(guarded: Guarded, tmp_path: Path) -> None:
    (guarded.root / "closed").mkdir(mode=0)
    (guarded.root / "unreadable").touch(mode=0)
    for name in (b"closed", b"closed/a", b"unreadable", b"up", b"loop", b"fifo", b"socket", b"sub"):
        for data in (
            name + b"\n",
            get(b"/" + name, "Accept: text/html"),
            get(b"/" + name + b"/", "Accept: text/html"),
            PREFACE + encode(native.Get(1, name)) + encode(native.Tree(2, name)),
        ):
            guarded.keeps(guarded.tell(data, half_close=True), b"")
    assert bytes(tmp_path) not in "".join(guarded.logged()).encode()
