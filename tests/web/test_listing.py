"""Tests `web.listing`: what is in a folder, sorted, filtered, and as JSON."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import escape

from tcpdl.web.listing import (
    FILTER_MOST,
    Item,
    arrange,
    as_json,
    folded,
    hrefs_of,
    items_of,
    utc,
)
from tcpdl.web.urls import PageLink, escaped
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not {0, 47} & set(name))
TRICKY = st.sampled_from(
    [b"<b>", b"a:b", b"%41", b"..%2f", b"?", b"#", b"\\", b"\n", b"\xff", "é".encode(), b"&amp;"]
)


def file(name: str | bytes, size: int = 0, mtime_ns: int = 0) -> Item:
    return Item(name if isinstance(name, bytes) else name.encode(), "file", size, mtime_ns, "")


def folder(name: str, mtime_ns: int = 0) -> Item:
    return Item(name.encode(), "folder", 0, mtime_ns, "")


def arranged(items: list[Item], sort: str = "", wanted: str = "") -> list[str]:
    return [item.name.decode() for item in arrange(items, sort=sort, filter=wanted)]


def test_items_are_what_a_source_lists() -> None:
    entries = [
        Entry(FILE, b"a", 0o644, 3, 5, b"abc"),
        Entry(LISTED, b"b", 0o600, 7, -1),
        Entry(FOLDER, b"c", 0o755, 0, 9),
        Entry(LINK, b"d", content=b"nowhere"),
        Entry(
            LEFT_OUT, b"e", content="it is a pipe, ça va\udcff".encode("utf-8", "surrogateescape")
        ),
        Entry(LEFT_OUT, b"", content=b"it holds too many names"),
    ]
    assert items_of(iter(entries)) == [
        Item(b"a", "file", 3, 5, ""),
        Item(b"b", "file", 7, -1, ""),
        Item(b"c", "folder", 0, 9, ""),
        Item(b"d", "link", 0, 0, "it is a symbolic link to nothing that is handed out here"),
        Item(b"e", "left-out", 0, 0, "it is a pipe, ça va\ufffd"),
        Item(b"", "left-out", 0, 0, "it holds too many names"),
    ]


def test_folders_come_first_and_names_in_natural_order() -> None:
    items = [
        file("b10"),
        file("B9"),
        file("a"),
        folder("z2"),
        folder("z10"),
        file("b9.5"),
        file("É"),
    ]
    assert arranged(items) == ["z2", "z10", "a", "B9", "b9.5", "b10", "É"]
    assert arranged(items, "name") == arranged(items)
    assert arranged(items, "-name") == ["z10", "z2", "É", "b10", "b9.5", "B9", "a"]


@pytest.mark.parametrize(
    "names",
    [
        ["file2", "file10"],
        ["v1.2.9", "v1.2.10", "v1.10.0"],
        ["a", "a1", "a2b", "a10", "b"],
        ["1", "02", "3", "010"],
        ["2024-01", "2024-02", "2025-01"],  # all numbers are as long at their place
        ["x" + "9" * 40, "x1" + "0" * 40],
        ["-1", "0", "1", "9", "10", "A", "z"],
        ["a/b"[0:1], "b"],
    ],
)
def test_numbers_sort_by_their_value(names: list[str]) -> None:
    assert arranged([file(name) for name in reversed(names)]) == names


def test_numbers_far_longer_than_any_sort_too() -> None:
    names = ["1" * length for length in range(1, 256)]
    assert arranged([file(name) for name in reversed(names)]) == names


def test_other_orders() -> None:
    items = [file("a.txt", 2, 30), file("b.PNG", 3, 10), file("c", 2, 20), folder("d.zip", 40)]
    assert arranged(items, "size") == ["d.zip", "a.txt", "c", "b.PNG"]
    assert arranged(items, "-size") == ["d.zip", "b.PNG", "a.txt", "c"]
    assert arranged(items, "time") == ["d.zip", "b.PNG", "c", "a.txt"]
    assert arranged(items, "-time") == ["d.zip", "a.txt", "c", "b.PNG"]
    assert arranged(items, "type") == ["d.zip", "c", "b.PNG", "a.txt"]
    assert arranged(items, "-type") == ["d.zip", "a.txt", "b.PNG", "c"]


def test_a_dot_at_the_beginning_begins_no_type() -> None:
    assert arranged([file("a.b"), file(".zzz"), file("x.")], "type") == [".zzz", "x.", "a.b"]


def test_equal_ones_are_in_natural_order_whichever_way() -> None:
    items = [file(f"f{number}", 5) for number in (10, 9, 1)]
    assert arranged(items, "size") == arranged(items, "-size") == ["f1", "f9", "f10"]


@pytest.mark.parametrize("sort", ["-", "--name", "names", "name ", "\x00", "<b>"])
def test_unknown_order(sort: str) -> None:
    with pytest.raises(ValueError, match="choose name, size, time, type"):
        arrange([], sort=sort, filter="")


def test_filter_finds_in_either_case_and_composition() -> None:
    items = [
        file("Straße.txt"),
        file("re\u0301sume\u0301"),
        file("y1"),
        folder("RÉSUMÉS"),
        file("y10"),
    ]
    assert arranged(items, wanted="STRASSE") == ["Straße.txt"]
    assert arranged(items, wanted="résumé") == ["RÉSUMÉS", "re\u0301sume\u0301"]
    assert arranged(items, "-name", "Y") == ["y10", "y1"]
    assert arranged(items, wanted="nothing has this") == []
    assert arranged([], wanted="x") == []


def test_filter_does_not_hide_what_is_about_the_folder() -> None:
    notice = Item(b"", "left-out", 0, 0, "it holds more than 1000000 names")
    assert arrange([file("a"), notice], sort="", filter="b") == [notice]


def test_filter_may_be_as_long_as_a_name() -> None:
    assert arranged([file("a" * 255)], wanted="a" * FILTER_MOST) == ["a" * 255]
    with pytest.raises(ValueError, match="255 characters at most"):
        arrange([], sort="", filter="a" * (FILTER_MOST + 1))


@given(
    st.lists(NAMES | TRICKY, max_size=8, unique=True), st.sampled_from(["name", "-name", "type"])
)
def test_arranging_loses_nothing(names: list[bytes], sort: str) -> None:
    items = [file(name) for name in names]
    assert sorted(arrange(items, sort=sort, filter="")) == sorted(items)
    for name in names:
        text = name.decode("utf-8", "replace")
        if "\ufffd" not in text:
            assert file(name) in arrange(items, sort=sort, filter=text)


def test_folding_makes_and_takes_no_separator() -> None:
    # Names are folded joined by NUL, and must still be apart after that.
    for code in range(1, sys.maxunicode + 1):
        assert "\0" not in folded(chr(code))
    for code in range(0x300, 0x370):
        assert folded(f"a\0{chr(code)}").count("\0") == 1


@given(NAMES | TRICKY)
@example(b".")
@example(b"javascript:alert(1)")
@example("\u202e".encode())
def test_href_leads_to_the_name_and_needs_no_escapes(name: bytes) -> None:
    href = escaped(name)
    assert unquote_to_bytes(href) == name
    assert href.isascii()
    assert str(escape(href)) == href
    assert shlex.quote(href) == href
    if name not in (b".", b".."):
        assert urljoin("http://host/a/b/", href) == f"http://host/a/b/{href}"


def test_hrefs_of_folders_end_in_a_slash() -> None:
    assert hrefs_of([file("a b"), folder("c"), Item(b"", "left-out", 0, 0, "why")]) == [
        "a%20b",
        "c/",
        "",
    ]
    assert hrefs_of([]) == []


def parsed(items: list[Item]) -> Any:
    return json.loads(as_json("/a/", items).decode("utf-8"))


def test_json() -> None:
    items = [
        folder("sub", 1_700_000_000_000_000_001),
        file("下载.txt", 5, -1),
        Item(b"pipe", "left-out", 0, 0, "it is not a regular file"),
        Item(b"gone", "link", 0, 0, "it leads to nothing"),
    ]
    assert parsed(items) == {
        "path": "/a/",
        "entries": [
            {
                "name": "sub",
                "kind": "folder",
                "modified": "2023-11-14T22:13:20.000000001Z",
                "href": "sub/",
            },
            {
                "name": "下载.txt",
                "kind": "file",
                "size": 5,
                "modified": "1969-12-31T23:59:59.999999999Z",
                "href": "%E4%B8%8B%E8%BD%BD.txt",
            },
            {"name": "pipe", "kind": "left-out", "why": "it is not a regular file"},
            {"name": "gone", "kind": "link", "why": "it leads to nothing"},
        ],
    }
    assert parsed([]) == {"path": "/a/", "entries": []}


@given(st.lists(NAMES | TRICKY, max_size=5))
def test_json_tells_every_byte_of_a_name(names: list[bytes]) -> None:
    entries = parsed([file(name) for name in names])["entries"]
    assert [unquote_to_bytes(entry["href"]) for entry in entries] == names
    assert [entry["name"] for entry in entries] == [
        name.decode("utf-8", "replace") for name in names
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (-(2**63) // 10**9, "1677-09-21T00:12:43Z"),
        ((2**63 - 1) // 10**9, "2262-04-11T23:47:16Z"),
    ],
)
def test_times_are_told_from_one_end_of_what_there_is_to_the_other(seconds: int, text: str) -> None:
    assert utc(seconds) == text


def test_hrefs_of_what_is_asked_for_with_a_link() -> None:
    link = PageLink("until=99&signed=abc", 1)
    items = [file("a b"), folder("c")]
    assert hrefs_of(items, link) == ["a%20b?until=99&signed=abc", "c/?until=99&signed=abc"]
    listed = json.loads(as_json("/a/", items, link))
    assert [entry["href"] for entry in listed["entries"]] == hrefs_of(items, link)
