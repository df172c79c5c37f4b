"""What is in a folder, as a page or a program wants it: sorted, filtered, as JSON. Pure.

Imports `wire` and `web.urls`. Names are worked on joined, all those of a folder in one call, since
a folder may have very many: no name holds a slash or NUL, so these stand between them.
"""

from __future__ import annotations

import json
import re
import string
import time
import unicodedata
from collections.abc import Iterable
from itertools import compress
from typing import NamedTuple

from tcpdl.web.urls import PageLink, escaped, with_link
from tcpdl.wire.pack import FILE, FOLDER, LEFT_OUT, LINK, LISTED, Entry

SORTS = ("name", "size", "time", "type")
"""What can be sorted by; a minus sign before it turns the order round."""

FILTER_MOST = 255
"""Characters of a filter: no name has more."""

_KINDS = {FILE: "file", LISTED: "file", FOLDER: "folder", LINK: "link", LEFT_OUT: "left-out"}

_NUMBER = re.compile("[0-9]+")
_BEYOND_ASCII = re.compile("[^ -~]+")
_DIGITS = bytes(ord("0") if chr(byte) in string.digits else ord(" ") for byte in range(256))
"""Makes digits all alike, and spaces of what is none."""


class Item(NamedTuple):
    """One name in a folder."""

    name: bytes
    """Nothing, if this is about the folder itself."""
    kind: str
    """`file`, `folder`, or what is there and not handed out: `link`, one that leads to nothing,
    and `left-out`."""
    size: int
    """Bytes of a file; else 0."""
    mtime_ns: int
    why: str
    """A sentence that says why it is not handed out."""


def items_of(entries: Iterable[Entry]) -> list[Item]:
    """What a source lists, as items. Links are those that lead to nothing: the others are
    listed as what they lead to."""
    return [
        Item._make((name, _KINDS[kind], size, mtime_ns, _why(kind, content)))
        if kind in (LINK, LEFT_OUT)
        else Item._make((name, _KINDS[kind], size, mtime_ns, ""))
        for kind, name, _, size, mtime_ns, content in entries
    ]


def _why(kind: int, content: bytes) -> str:
    if kind == LINK:
        return "it is a symbolic link to nothing that is handed out here"
    return content.decode("utf-8", "replace")


def arrange(items: list[Item], *, sort: str, filter: str) -> list[Item]:  # noqa: A002
    """Those of `items` whose name holds `filter`, in either case, in order; folders come first.

    Names are in natural order: file2 before file10. Those that are equal in what is sorted by are
    sorted by name. What is about the folder itself always stays. Raises `ValueError`, with a
    sentence, if there is no such order, or the filter is too long.
    """
    by = sort.removeprefix("-") or "name"
    if by not in SORTS or sort == "-":
        raise ValueError(f"sort: choose {', '.join(SORTS)}, or one of these after a minus sign")
    if len(filter) > FILTER_MOST:
        raise ValueError(f"filter: {FILTER_MOST} characters at most")
    joined = b"\0".join([item.name for item in items])
    names = folded(joined.decode("utf-8", "surrogateescape")).split("\0")
    if filter:
        wanted = folded(filter)
        kept = [wanted in name or not name for name in names]
        items, names = list(compress(items, kept)), list(compress(names, kept))
    keys = names
    if len(set(joined.translate(_DIGITS).split())) > 1:  # else they sort by their value as they are
        keys = _NUMBER.sub(_longer_later, "\0".join(names)).split("\0")
    falling = sort.startswith("-")
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=falling and by == "name")
    if by == "size":
        order.sort(key=lambda index: items[index].size, reverse=falling)
    elif by == "time":
        order.sort(key=lambda index: items[index].mtime_ns, reverse=falling)
    elif by == "type":
        order.sort(key=lambda index: _extension(names[index]), reverse=falling)
    arranged = [items[index] for index in order]
    folders = [item for item in arranged if item.kind == "folder"]
    return folders + [item for item in arranged if item.kind != "folder"] if folders else arranged


def folded(text: str) -> str:
    """`text` as it is compared: accents and case do not tell apart what looks alike."""
    return unicodedata.normalize("NFC", text).casefold()


def _longer_later(number: re.Match[str]) -> str:
    """A number such that those with more digits sort later."""
    digits = number[0].lstrip("0")
    return f"0{chr(256 + len(digits))}{digits}"


def _extension(name: str) -> str:
    before, _, extension = name.rpartition(".")
    return extension if before else ""


def hrefs_of(items: list[Item], link: PageLink | None = None) -> list[str]:
    """Where each of `items` is, relative to its folder, with the `link`. A folder's path ends in a
    slash."""
    hrefs = escaped(b"/".join([item.name for item in items])).split("/")
    query = with_link("", link)
    return [
        f"{href}/{query}" if item.kind == "folder" else href + query
        for item, href in zip(items, hrefs, strict=False)  # no names at all are still one piece
    ]


def utc(seconds: int) -> str:
    """The time of RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def as_json(path: str, items: list[Item], link: PageLink | None = None) -> bytes:
    """The listing of the folder at `path` for programs.

    An object with `path`, and `entries`: an array of objects with

    - `name`: text; bytes that are not UTF-8 are U+FFFD in it;
    - `kind`: `file`, `folder`, `link` or `left-out`;
    - `size`: of a file, in bytes;
    - `modified`: of a file or folder, RFC 3339, in UTC, with nanoseconds;
    - `href`: of a file or folder, where it is, relative to `path`: every byte of the name can be
      had from it. With a `link` that the listing was asked for with, it has that as its query;
    - `why`: of a link or what is left out, a sentence. If its name is empty, it is about the folder
      itself.

    It is one line, in which all characters can be seen: it may be read on a terminal, too.
    """
    entries = [_described(*pair) for pair in zip(items, hrefs_of(items, link), strict=True)]
    listing = {"path": path, "entries": entries}
    line = json.dumps(listing, ensure_ascii=False, separators=(",", ":"))
    return _BEYOND_ASCII.sub(_visible, line).encode() + b"\n"


def _visible(run: re.Match[str]) -> str:
    text = run[0]
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() else json.dumps(one)[1:-1] for one in text])


def _described(item: Item, href: str) -> dict[str, str | int]:
    described: dict[str, str | int] = {
        "name": item.name.decode("utf-8", "replace"),
        "kind": item.kind,
    }
    if item.why:
        return described | {"why": item.why}
    if item.kind == "file":
        described["size"] = item.size
    seconds, fraction = divmod(item.mtime_ns, 10**9)
    modified = utc(seconds).replace("Z", f".{fraction:09}Z")
    return described | {"modified": modified, "href": href}
