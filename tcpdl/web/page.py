"""The pages for people: a folder, a file, and what went wrong.

Imports jinja2 and the modules beside it. All that a page needs comes from this server; its script
adds comfort, and every page is complete without.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from unicodedata import category

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import tcpdl
from tcpdl.web import fields
from tcpdl.web.listing import SORTS, Item, utc
from tcpdl.web.readme import rendered
from tcpdl.web.rows import human, icon_of, rows_of, time_tag
from tcpdl.web.shell import Place, client_lines, file_lines, folder_lines
from tcpdl.web.urls import PageLink, escaped, fields_of, with_link
from tcpdl.wire.text import printable

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

PREVIEW_MOST = 8 * 1024 * 1024
"""Bytes of an image that the page about it shows."""

_HERE = Path(__file__).parent
_ASSETS_AT = "/.well-known/tcpdl/"
_KINDS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icons.svg": "image/svg+xml",
    "favicon.svg": "image/svg+xml",
}
_FALLING_FIRST = ("size", "time")
_PREVIEWED = (".avif", ".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp")


class Site(NamedTuple):
    """What a page says of this server."""

    scheme: str
    host: str
    """What the client calls it, with the port if there is one."""
    version: str
    client_sha256: str
    """The digest of the zero-install client, in hexadecimal."""
    link: PageLink | None = None
    """What the page was asked for with, and what it leads to must be, too."""


class Heading(NamedTuple):
    """The head of a column, which sorts by it."""

    by: str
    following: str
    """What is sorted by next, if it is chosen."""
    order: str | None
    """As `aria-sort` has it; `None` if the page is not sorted by it."""


def _load() -> tuple[dict[str, tuple[str, bytes]], dict[str, str]]:
    """The assets, and where each is: an address that changes with its bytes."""
    assets: dict[str, tuple[str, bytes]] = {}
    addresses: dict[str, str] = {}
    for name, kind in sorted(_KINDS.items()):  # icons.svg before page.css, which names it
        content = (_HERE / "assets" / name).read_bytes()
        for other, address in addresses.items():
            content = content.replace(f'url("{other}")'.encode(), f'url("{address}")'.encode())
        assets[name] = kind, content
        addresses[name] = f"{_ASSETS_AT}{name}?{sha256(content).hexdigest()[:12]}"
    return assets, addresses


ASSETS, _ADDRESSES = _load()
"""By name: the type and the bytes of what pages load. Served below /.well-known/tcpdl/; a query
that follows the name changes with the bytes."""

_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    auto_reload=False,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _visible(text: str) -> Markup:
    """`text` escaped, and what cannot be seen of it by its number, or, if HTML takes none for that,
    by U+FFFD: a page may be read on a terminal, too."""
    shown = str(escape(text))
    if not shown.isprintable():
        shown = "".join([one if one.isprintable() else _reference(one) for one in shown])
    return Markup(shown)  # noqa: S704


def _reference(character: str) -> str:
    return "\ufffd" if category(character) in ("Cc", "Cn") else f"&#{ord(character)};"


_TEMPLATES.globals.update(assets=_ADDRESSES, human=human, with_link=with_link)
# All of them now: the daemon may not be able to read them later.
_LOADED = {name: _TEMPLATES.get_template(name) for name in _TEMPLATES.list_templates()}
_FOLDER, _FILE, _PROBLEM = (_LOADED[name] for name in ("folder.html", "file.html", "problem.html"))


class _Rows:
    """The rows of a page, until they are let go. What jinja2 makes of a template refers to itself,
    and lasts until the collector comes, with all that it was given: megabytes, for each page."""

    def __init__(self, html: Markup) -> None:
        self._html = html

    def __bool__(self) -> bool:
        return bool(self._html)

    def __html__(self) -> str:
        return self._html

    def let_go(self) -> None:
        self._html = Markup()


def folder_page(
    site: Site,
    segments: tuple[bytes, ...],
    items: list[Item],
    *,
    sort: str,
    filter: str,  # noqa: A002
    readme: bytes | None,
) -> bytes:
    """The page of a folder that holds `items`, which are sorted and filtered as it is said.

    `readme` is the text of the folder's README.md. `site` and `segments` come from the client, the
    names and `readme` from whoever writes to the folder: all are escaped here.
    """
    place = Place(site.scheme, site.host, segments, True, site.link)
    named = [item for item in items if item.name]
    kinds = Counter([item.kind for item in named])
    rows = _Rows(rows_of(named, site.link))
    made = _FOLDER.render(
        site=site,
        crumbs=_crumbs(site, segments),
        headings={heading.by: heading for heading in _headings(sort)},
        rows=rows,
        passed_on=fields_of(site.link),
        notices=[item.why for item in items if not item.name],
        folders=kinds["folder"],
        files=kinds["file"],
        left_out=kinds["link"] + kinds["left-out"],
        size=sum([item.size for item in named]),
        sort=sort,
        filter=_visible(filter),
        readme=None if readme is None else rendered(readme, site.link),
        lines=folder_lines(place) + client_lines(place, site.client_sha256),
    )
    rows.let_go()
    return made.encode()


def file_page(
    site: Site, segments: tuple[bytes, ...], size: int, mtime_ns: int, sha256: bytes | None
) -> bytes:
    """The page about a file. If its digest is not known yet, the page leads to where it is."""
    place = Place(site.scheme, site.host, segments, False, site.link)
    name = segments[-1]
    previewed = name.lower().endswith(tuple(map(str.encode, _PREVIEWED)))
    return _FILE.render(
        site=site,
        crumbs=_crumbs(site, segments),
        href=escaped(name),
        link=site.link,
        icon=icon_of(name),
        kind=fields.type_of(name, b"").partition(";")[0],
        size=size,
        time=time_tag(mtime_ns // 10**9),
        exact=utc(mtime_ns // 10**9),
        preview=previewed and 0 < size <= PREVIEW_MOST,
        sha256=None if sha256 is None else sha256.hex(),
        lines=file_lines(place, sha256) + client_lines(place, site.client_sha256),
    ).encode()


def problem_page(status: int, reason: str, sentence: str) -> bytes:
    """The page that says why there is no other: an HTTP status, its phrase, and a sentence."""
    sentence = sentence[:1].upper() + sentence[1:]
    return _PROBLEM.render(
        status=status, reason=reason, sentence=sentence, version=tcpdl.__version__
    ).encode()


def _crumbs(site: Site, segments: tuple[bytes, ...]) -> list[tuple[str, str]]:
    """The way down to this place: texts, and where each leads."""
    texts = [site.host, *map(printable, segments)]
    found, href = [], "/"
    for depth, text in enumerate(texts):
        if depth:
            href += escaped(segments[depth - 1]) + "/"
        reached = site.link is not None and depth >= site.link.depth
        found.append((text, with_link(href, site.link) if reached else href))
    return found


def _headings(sort: str) -> list[Heading]:
    sorted_by, falling = sort.removeprefix("-") or "name", sort.startswith("-")
    headings = []
    for by in SORTS:
        order = None
        following = f"-{by}" if by in _FALLING_FIRST else by
        if by == sorted_by:
            order = "descending" if falling else "ascending"
            following = by if falling else f"-{by}"
        headings.append(Heading(by, following, order))
    return headings
