"""Tests `web.fields`: what the fields of an answer say."""

from __future__ import annotations

import locale
import time
from email.message import Message
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.content.source import File, Identity
from tcpdl.web.conditions import parse_tags
from tcpdl.web.fields import (
    REASONS,
    SNIFFED,
    attachment,
    etag_of,
    http_date,
    modified_of,
    preference,
    type_of,
)

unhurried = settings(deadline=None)

SECOND = 10**9
SEGMENTS = st.binary(min_size=1, max_size=60).map(lambda name: name.translate(None, b"/\0") or b"a")


IDENTITY = Identity(1, 2, 3, 4, 5)


def a_file(mtime_ns: int = 4, *, settled: bool = True, identity: Identity = IDENTITY) -> File:
    return File(-1, 3, mtime_ns, 0o644, identity, settled)


@pytest.mark.parametrize(
    ("seconds", "date"),
    [
        (784111777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951782400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_dates(seconds: int, date: str) -> None:
    assert http_date(seconds) == date


def test_dates_are_in_english_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    before = locale.setlocale(locale.LC_TIME)
    try:
        for name in ("zh_CN.UTF-8", "de_DE.UTF-8", "C"):
            try:
                locale.setlocale(locale.LC_TIME, name)
            except locale.Error:
                continue  # not every machine has it
            assert http_date.__wrapped__(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    finally:
        locale.setlocale(locale.LC_TIME, before)
        monkeypatch.undo()
        time.tzset()


def test_a_tag_is_a_strong_one_once_the_file_has_settled() -> None:
    strong = etag_of(a_file())
    assert parse_tags(strong) == [strong]
    assert etag_of(a_file(settled=False)) == f"W/{strong}"
    assert etag_of(a_file()) == strong
    assert len(strong) < 40


@pytest.mark.parametrize("part", Identity._fields)
def test_a_tag_changes_with_each_part_of_the_identity(part: str) -> None:
    changed = a_file(identity=IDENTITY._replace(**{part: 99}))
    assert etag_of(changed) != etag_of(a_file())


def test_when_a_file_was_modified() -> None:
    assert modified_of(a_file(10 * SECOND + 999_999_999), 10.0) == 10  # never rounded up
    assert modified_of(a_file(10 * SECOND), 9.9) is None  # has not come yet
    assert modified_of(a_file(0), 10.0) == 0
    assert modified_of(a_file(-1), 10.0) is None
    last = 253402300799
    assert modified_of(a_file(last * SECOND), 1e15) == last
    assert modified_of(a_file((last + 1) * SECOND), 1e15) is None  # the year has five digits


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"a.html", "text/html; charset=utf-8"),
        (b"A.HTML", "text/html; charset=utf-8"),
        (b"a.txt", "text/plain; charset=utf-8"),
        (b"a.b.css", "text/css; charset=utf-8"),
        (b"a.js", "text/javascript; charset=utf-8"),
        (b"a.mjs", "text/javascript; charset=utf-8"),
        (b"a.json", "application/json"),
        (b"a.png", "image/png"),
        (b"a.svg", "image/svg+xml"),
        (b"a.wasm", "application/wasm"),
        (b"a.mp4", "video/mp4"),
        (b"a.pdf", "application/pdf"),
        (b"a.zip", "application/zip"),
        (b"a.gz", "application/gzip"),
        (b"a.tar.gz", "application/gzip"),  # not tar that is coded: nobody is to take that off
        (b"a.tgz", "application/gzip"),
        (b"a.html.gz", "application/gzip"),
        (b"a.xz", "application/x-xz"),
        (b"a.unheard-of", "application/octet-stream"),
        (b"a.", "application/octet-stream"),
        (b".html", "text/html; charset=utf-8"),
        (b"README", "text/plain; charset=utf-8"),
        ("a.下载".encode(), "application/octet-stream"),
        (b"a.\xff\n", "application/octet-stream"),
        (b"a.data:text,html", "application/octet-stream"),
        (b"data:text,html.x", "application/octet-stream"),
        (b"a." + b"x" * 200, "application/octet-stream"),
    ],
)
def test_types(name: bytes, kind: str) -> None:
    assert type_of(name, b"plain text\n") == kind


@pytest.mark.parametrize(
    ("beginning", "typeless", "text"),
    [
        (b"text\n", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("文".encode(), "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("文".encode() * 341 + b"\xe6", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("文".encode() * 341 + b"\xff", "application/octet-stream", "text/plain"),
        (b"cut off\xe6\x96", "application/octet-stream", "text/plain"),  # all that it has
        ("文".encode("gbk"), "application/octet-stream", "text/plain"),
        (b"", "application/octet-stream", "text/plain; charset=utf-8"),
        (b"\x7fELF\0", "application/octet-stream", "text/plain; charset=utf-8"),
        (b"\x1b[0m\t\r\n\f", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
    ],
)
def test_types_by_what_it_begins_with(beginning: bytes, typeless: str, text: str) -> None:
    assert len(beginning) <= SNIFFED
    assert type_of(b"README", beginning) == typeless
    assert type_of(b"a.txt", beginning) == text
    assert type_of(b"a.png", beginning) == "image/png"


@unhurried
@given(SEGMENTS, st.binary(max_size=20))
def test_a_type_is_one_line(name: bytes, beginning: bytes) -> None:
    for whole in (name, b"a." + name):
        kind = type_of(whole, beginning)
        assert kind.isascii()
        assert kind.isprintable()
        assert "/" in kind


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"a b.txt", 'attachment; filename="a b.txt"'),
        (b'a"b\\c%20', "attachment; filename=\"a_b_c_20\"; filename*=UTF-8''a%22b%5Cc%2520"),
        (b"a\r\nb", "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab"),
        ("下.txt".encode(), "attachment; filename=\"_.txt\"; filename*=UTF-8''%E4%B8%8B.txt"),
        (b"\xff", "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
        (b"a;b=c", 'attachment; filename="a;b=c"'),
        (b"it's(1)*", 'attachment; filename="it\'s(1)*"'),
        ("'é'".encode(), "attachment; filename=\"'_'\"; filename*=UTF-8''%27%C3%A9%27"),
    ],
)
def test_names_to_save_under(name: bytes, value: str) -> None:
    assert attachment(name) == value


@unhurried
@given(SEGMENTS)
@example("‮".encode())
def test_a_name_to_save_under_is_read_as_it_is(name: bytes) -> None:
    value = attachment(name)
    assert value.isascii()
    assert value.isprintable()
    message = Message()
    message["Content-Disposition"] = value
    assert message.get_content_disposition() == "attachment"
    extended = value.partition("filename*=UTF-8''")[2]
    text = name.decode("utf-8", "replace")
    if extended:
        assert unquote_to_bytes(extended).decode("utf-8") == text
    else:
        assert value == f'attachment; filename="{text}"'


def test_each_status_that_is_answered_has_a_reason() -> None:
    for status in (*(200, 204, 206, 301, 304, 400, 404, 405, 408), *(412, 413, 414, 416, 417)):
        assert REASONS[status]
    for status in (431, 501, 503, 505):
        assert REASONS[status]


HTML, JSON = "text/html", "application/json"


@pytest.mark.parametrize(
    ("value", "token", "weight"),
    [
        (None, HTML, 0.0),
        ("", HTML, 0.0),
        (HTML, HTML, 1.0),
        ("TEXT/HTML", HTML, 1.0),
        ("text/htm", HTML, 0.0),
        (f"{JSON}, {HTML};q=0.5", HTML, 0.5),
        (f" {HTML} ; charset=utf-8 ; Q=0.25 , */*", HTML, 0.25),
        ("*/*, text/*", HTML, 0.0),
        (f"*/*, {HTML};q=0", HTML, 0.0),
        ("gzip, zstd;q=0", "gzip", 1.0),
        ("gzip, zstd;q=0", "zstd", 0.0),
        ("*", "gzip", 0.0),
        ("gzip;q=0, *", "gzip", 0.0),
        ("identity", "gzip", 0.0),
        ("x-gzip", "gzip", 0.0),
        *(
            (f"gzip;q={good}", "gzip", float(good))
            for good in ("0", "0.", "0.001", "0.999", "1.000")
        ),
        *(
            (f"gzip;q={bad}", "gzip", 0.0)
            for bad in ("", "2", "-1", "1.001", ".5", "0.1234", "00.5")
        ),
        *((f"gzip;q={bad}", "gzip", 0.0) for bad in ("nan", "inf", "1e0", "+1", "0x1", "½", '"1"')),
    ],
)
def test_preferences(value: str | None, token: str, weight: float) -> None:
    assert preference(value, token) == weight


@pytest.mark.parametrize(
    ("accept", "as_json"),
    [
        (None, False),
        ("*/*", False),  # curl, wget
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),  # a browser
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", False),  # Java
        ("application/json", True),
        ("application/json, text/plain, */*", True),  # programs in browsers
        ("application/json;q=0.5, text/html", False),
        ("text/html;q=0.5, application/json", True),
    ],
)
def test_who_gets_json(accept: str | None, as_json: bool) -> None:
    assert (preference(accept, JSON) > preference(accept, HTML)) is as_json


@unhurried
@given(st.text())
def test_preferences_of_any_text(text: str) -> None:
    for value in (text, f"gzip;{text}", f"gzip;q={text}"):
        assert 0.0 <= preference(value, "gzip") <= 1.0
