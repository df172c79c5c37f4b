"""Tests `web.page`: what the pages hold, whatever the names and whoever asks."""

from __future__ import annotations

import gc
import re
import tracemalloc
from html.parser import HTMLParser
from unicodedata import category
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpdl.web.listing import Item
from tcpdl.web.page import (
    ASSETS,
    CONTENT_SECURITY_POLICY,
    PREVIEW_MOST,
    Site,
    file_page,
    folder_page,
    problem_page,
)
from tcpdl.web.rows import BLOCK, human
from tcpdl.web.urls import PageLink
from tcpdl.wire.text import printable

SITE = Site("http", "files.example:8080", "1.2.3", "ab" * 32)
DIGEST = bytes(range(32))
HOSTILE = [
    b"<script>alert(1)<",
    b'" onmouseover="alert(1)',
    b"' autofocus onfocus='alert(1)",
    b"javascript:alert(1)",
    b"<table><h1>",
    b"<!--",
    b"{{ 7 * 7 }}{% raw %}",
    b"&lt;b&gt;",
    b"a:b?c#d%41;e",
    b"\\",
    b"\xff\xfe",
    b"\n\r\t\x1b[31m",
    "photo\u202egnp.exe".encode(),
    "\u2028\u2029".encode(),
    "下载".encode(),
    "ملف".encode(),
    b"`id`$(id)",
    b" ",
    b"-",
]
NAMES = st.sampled_from(HOSTILE) | st.binary(min_size=1, max_size=20).filter(
    lambda name: not {0, 47} & set(name) and name not in (b".", b"..")
)

VOID = {"meta", "link", "input", "img", "br", "hr"}
OPTIONAL = {"tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """A page, taken apart."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(body.decode("utf-8"))
        self.close()
        assert [name for name in self.open if name not in OPTIONAL] == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute stands there twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1] != tag:
            assert self.open.pop() in OPTIONAL
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError("there is a comment")

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.texts)

    def hrefs(self) -> list[str]:
        return [href for attributes in self.of("a") if (href := attributes.get("href"))]

    def asked_about(self) -> list[str]:
        """The files that buttons ask about."""
        return [str(of["action"]) for of in self.of("form") if "action" in of]

    def asked(self, form: str) -> list[str]:
        """What the buttons of a form ask of the folder itself."""
        buttons = [of for of in self.of("button") if of.get("form") == form]
        return [f"{button['name']}={button['value']}" for button in buttons]


def folder(
    items: list[Item],
    segments: tuple[bytes, ...] = (b"a", b"b"),
    *,
    sort: str = "",
    wanted: str = "",
    readme: bytes | None = None,
    site: Site = SITE,
) -> Page:
    return Page(folder_page(site, segments, items, sort=sort, filter=wanted, readme=readme))


def file(name: bytes, size: int = 5, mtime_ns: int = 1_700_000_000_000_000_000) -> Item:
    return Item(name, "file", size, mtime_ns, "")


def shape(page: Page) -> list[tuple[str, list[str]]]:
    """The elements of a page and the names of their attributes, but not what these hold; rows
    without theirs, which tell the icon."""
    return [(tag, sorted(attributes) if tag != "tr" else []) for tag, attributes in page.elements]


def check_no_inline(page: Page) -> None:
    """What the policy would not let in is not there."""
    for tag, attributes in page.elements:
        assert tag not in ("style", "iframe", "object", "embed", "base")
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert str(attributes["src"]).startswith("/.well-known/tcpdl/page.js?")
        for name in ("href", "src", "action"):
            assert urlsplit(attributes.get(name) or "").scheme in ("", "http", "https", "mailto")
    assert not [text for tag, text in page.texts if tag in ("script", "style") and text]


def test_policy_lets_in_what_this_server_has_and_nothing_else() -> None:
    policy = dict(
        directive.strip().split(" ", 1) for directive in CONTENT_SECURITY_POLICY.split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "script-src": "'self'",
        "img-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }


def test_assets_are_what_pages_load() -> None:
    page = folder([])
    loaded = [page.of("script")[0]["src"], *[link["href"] for link in page.of("link")]]
    style = ASSETS["page.css"][1].decode("utf-8")
    loaded += re.findall(r'url\("([^"]*)"\)', style)
    assert len(loaded) == len(ASSETS) == 4
    for address in loaded:
        path, _, version = str(address).partition("?")
        assert path.startswith("/.well-known/tcpdl/")
        assert path.removeprefix("/.well-known/tcpdl/") in ASSETS
        assert re.fullmatch("[0-9a-f]{12}", version)
    assert {name: kind for name, (kind, _) in ASSETS.items()} == {
        "page.css": "text/css; charset=utf-8",
        "page.js": "text/javascript; charset=utf-8",
        "icons.svg": "image/svg+xml",
        "favicon.svg": "image/svg+xml",
    }


@given(st.lists(NAMES, min_size=1, max_size=4))
@example(HOSTILE)
@settings(deadline=None)
def test_names_are_text_and_change_nothing_else(names: list[bytes]) -> None:
    page = folder([file(name) for name in names], tuple(names))
    plain = folder([file(b"x") for _ in names], tuple(b"x" for _ in names))
    assert shape(page) == shape(plain)
    check_no_inline(page)
    assert [unquote_to_bytes(href) for href in page.asked_about()] == names
    assert not any("?" in href for href in page.hrefs()), "wget -r would follow it"
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\u2029\x1b\r\ufffd]", page.text)
    for name in names:
        assert printable(name) in page.text


@given(NAMES, st.sampled_from([None, DIGEST]))
@settings(deadline=None)
def test_names_change_nothing_on_the_page_of_a_file(name: bytes, digest: bytes | None) -> None:
    page = Page(file_page(SITE, (b"x", name), 5, 0, digest))
    plain = Page(file_page(SITE, (b"x", b"x"), 5, 0, digest))
    if b"\n" not in name and not name.endswith(b"\r"):  # which the raw dialect cannot ask for
        assert shape(page) == shape(plain)
    check_no_inline(page)
    assert printable(name) in page.text


@given(st.text(max_size=40), st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(deadline=None)
@example('"><script>', "x")
@example("x", '"><img src=x onerror=alert(1)>')
def test_what_a_client_says_is_text(host: str, wanted: str) -> None:
    host = host.encode("ascii", "ignore").decode()
    site = SITE._replace(host=host)
    page = folder([file(b"x")], wanted=wanted, site=site)
    assert shape(page) == shape(folder([file(b"x")], wanted="y" if wanted else ""))
    check_no_inline(page)
    field = next(field for field in page.of("input") if field.get("name") == "filter")
    assert field["value"] == "".join(
        "\ufffd" if category(one) in ("Cc", "Cn") else one for one in wanted
    )
    check_no_inline(Page(problem_page(404, "Not Found", host + wanted)))


def test_title_of_the_root_is_the_host() -> None:
    body = folder_page(SITE, (), [], sort="", filter="", readme=None).decode()
    assert "<title>files.example:8080</title>" in body
    assert "<h1><bdi>files.example:8080</bdi></h1>" in body
    assert (
        "<title>b · files.example:8080</title>"
        in folder_page(SITE, (b"a", b"b"), [], sort="", filter="", readme=None).decode()
    )


def test_breadcrumbs_lead_up() -> None:
    page = folder([], ("ä b".encode(), b"c", b"d"))
    crumbs = [link for link in page.of("a") if link.get("rel") or link.get("href") == "/"]
    assert crumbs[-1] == {"href": "/%C3%A4%20b/c/", "rel": "up"}
    assert "../" in page.hrefs()
    assert "../" not in folder([], ()).hrefs()


def test_a_row_tells_kind_size_and_time() -> None:
    page = folder(
        [
            Item(b"sub", "folder", 0, 1_700_000_000_000_000_000, ""),
            file(b"picture.PNG", 1_234_567),
            file(b"tiny", 999),
            Item(b"pipe", "left-out", 0, 0, "it is <not> a regular file"),
            Item(b"gone", "link", 0, 0, "it leads to nothing"),
        ]
    )
    rows = [attributes.get("class") for attributes in page.of("tr")]
    assert rows == [None, None, "d", "i", None, "x", "x"]
    titles = [cell["title"] for cell in page.of("td") if "title" in cell]
    assert titles == ["1,234,567 bytes"]
    assert "1.18 MiB" in page.text
    assert "999 B" in page.text
    assert "it is <not> a regular file" in page.text
    assert "1 folder, 2 files, 1.18 MiB, 2 left out" in page.text
    times = [time["datetime"] for time in page.of("time")]
    assert times == ["2023-11-14T22:13:20Z"] * 3
    assert not [href for href in page.hrefs() if "pipe" in href or "gone" in href]


def test_icons_go_by_what_follows_the_last_dot() -> None:
    names = [b"a.tar.GZ", b"c", b"go", b"x.c", b"py.", b".md", b"x.unknown"]
    rows = [row.get("class") for row in folder([file(name) for name in names], ()).of("tr")]
    assert rows[1:] == ["z", None, None, "c", None, "t", None]


def test_what_is_about_the_folder_is_a_notice() -> None:
    page = folder([file(b"a"), Item(b"", "left-out", 0, 0, "it holds more than 9 names")])
    assert "This is not all: it holds more than 9 names." in page.text
    assert len(page.of("tr")) == 3


def test_rows_come_in_blocks_and_are_short() -> None:
    names = [b"measurement-%05d.dat" % number for number in range(10_000)]
    body = folder_page(
        SITE, (b"a",), [file(name, 0) for name in names], sort="", filter="", readme=None
    )
    assert body.count(b"<tbody>") == 10_000 // BLOCK
    assert body.count(b"name=info") == 10_000
    rows = body[body.index(b"<tbody>") : body.index(b"</table>")]
    assert len(rows) / 10_000 < 170 + 3 * len(names[0])


def test_a_page_is_let_go_without_the_collector() -> None:
    """It comes seldom, in a daemon, and pages may have megabytes."""
    items = [file(b"measurement-%05d.dat" % number, 0) for number in range(2000)]
    was_enabled = gc.isenabled()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            body = folder_page(SITE, (b"a",), items, sort="", filter="", readme=None)
        size = len(body)
        del body
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        if was_enabled:
            gc.enable()
    assert left < size


@pytest.mark.parametrize(
    ("sort", "order", "following"),
    [
        ("", [None, None, None], ["-name", "type", "-size", "-time"]),
        ("name", ["ascending", None, None], ["-name", "type", "-size", "-time"]),
        ("-name", ["descending", None, None], ["name", "type", "-size", "-time"]),
        ("-size", [None, "descending", None], ["name", "type", "size", "-time"]),
        ("time", [None, None, "ascending"], ["name", "type", "-size", "-time"]),
        ("type", ["other", None, None], ["name", "-type", "-size", "-time"]),
    ],
)
def test_headings_tell_the_order_and_lead_to_another(
    sort: str, order: list[str | None], following: list[str]
) -> None:
    page = folder([file(b"a")], sort=sort, wanted="a&b")
    heads = [head.get("aria-sort") for head in page.of("th") if head.get("scope") == "col"][:3]
    assert heads == (order if sort else ["ascending", None, None])
    assert page.asked("order") == [f"sort={by}" for by in following]
    kept = [field for field in page.of("input") if field.get("type") == "hidden"]
    assert {"type": "hidden", "name": "filter", "value": "a&b"} in kept


def test_an_empty_folder_and_a_filter_that_finds_nothing_say_so() -> None:
    assert "Nothing is in this folder." in folder([]).text
    nothing = folder([], wanted="zzz", sort="-size")
    assert "No name holds zzz." in nothing.text
    assert "?sort=-size" in nothing.hrefs()
    hidden = [attributes for attributes in folder([file(b"a")]).of("div") if "hidden" in attributes]
    assert len(hidden) == 1


def test_all_that_a_folder_offers_is_linked() -> None:
    page = folder([file(b"a")])
    assert page.asked("ask") == [
        *("archive=zip", "archive=tar", "sums=sha256", "sums=blake3", "format=json"),
    ]
    assert "tcpdl mirror files.example:8080/a/b b" in page.text
    assert "python3 tcpdl.pyz mirror files.example:8080/a/b b" in page.text
    assert f"{'ab' * 32}  tcpdl.pyz" in page.text


def test_page_of_a_file() -> None:
    page = Page(file_page(SITE, (b"a", b"b c.png"), 1_234_567, 1_700_000_000 * 10**9, DIGEST))
    assert {"b%20c.png", "b%20c.png?download"} <= set(page.hrefs())
    assert "1,234,567 bytes" in page.text
    assert "image/png" in page.text
    assert DIGEST.hex() in page.text
    assert "tcpdl get files.example:8080/a/b%20c.png" in page.text
    assert [image["src"] for image in page.of("img")] == ["b%20c.png"]
    assert "?info&digest=sha256" not in page.hrefs()


def test_digest_that_is_not_known_is_a_link_away() -> None:
    page = Page(file_page(SITE, (b"a",), 5, 0, None))
    assert "?info&digest=sha256" in page.hrefs()
    assert "sha256sum -c" in page.text  # of the client
    assert page.text.count("sha256sum -c") == 1


@pytest.mark.parametrize("size", [0, PREVIEW_MOST + 1])
def test_an_image_that_is_empty_or_very_large_is_not_shown(size: int) -> None:
    assert Page(file_page(SITE, (b"a.png",), size, 0, None)).of("img") == []


def test_problem_page_says_what_and_why() -> None:
    page = Page(problem_page(404, "Not Found", "there is nothing here: no <b>"))
    assert "There is nothing here: no <b>." in page.text
    assert "Not Found" in page.text
    assert "/" in page.hrefs()
    check_no_inline(page)


def test_readme_is_below_the_names() -> None:
    page = folder([file(b"README.md")], readme=b"# Hello\n\nworld <script>x</script>")
    assert {"id": "readme-hello"} in page.of("h2")
    assert "world <script>x</script>" in page.text
    check_no_inline(page)
    assert "readme" not in [section.get("class") for section in folder([]).of("section")]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1023 * 1024, "0.999 MiB"),
        (12_900_000, "12.3 MiB"),
        (2**63 - 1, "8 EiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert human(size) == text


def test_every_id_is_there_once_and_every_label_has_its_field() -> None:
    for page in (
        folder([file(b"a")], readme=b"# main\n# files"),
        Page(problem_page(400, "x", "y")),
    ):
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(set(ids)) == len(ids)
        for label in page.of("label"):
            assert label["for"] in ids
        for _, attributes in page.elements:
            assert attributes.get("aria-labelledby", ids[0]) in ids


LINK = PageLink("until=99&signed=abc", 1)
BY_LINK = SITE._replace(link=LINK)
QUERY = "?until=99&signed=abc"


def test_page_of_a_folder_that_was_asked_for_with_a_link() -> None:
    items = [file(b"a b"), Item(b"sub", "folder", 0, 0, ""), Item(b"x", "left-out", 0, 0, "why")]
    page = folder(items, site=BY_LINK, sort="size", wanted="b", readme=b"[there](a%20b)")
    hrefs = page.hrefs()
    for expected in (f"a%20b{QUERY}", f"sub/{QUERY}", f"/a/{QUERY}", f"../{QUERY}"):
        assert expected in hrefs
    assert "?sort=size&until=99&signed=abc" in hrefs
    assert hrefs.count("/") == 2  # what is above the place opens nothing
    # What a form asks has no other query than its own fields.
    assert page.asked_about() == ["a%20b"]
    passed = [(one.get("name"), one.get("value")) for one in page.of("input")]
    forms = len(page.of("form"))
    assert forms == 4
    assert passed.count(("until", "99")) == passed.count(("signed", "abc")) == forms
    assert f"tcpdl mirror 'files.example:8080/a/b{QUERY}' b" in page.text
    assert f"curl -f 'http://files.example:8080/a/b/{QUERY}&archive=tar' | tar x" in page.text
    check_no_inline(page)


def test_the_place_of_a_link_has_no_way_up() -> None:
    at_the_top = folder([], (b"a",), site=BY_LINK)
    assert "../" in at_the_top.hrefs()
    assert f"../{QUERY}" not in at_the_top.hrefs()
    everything = folder([], (b"a",), site=SITE._replace(link=LINK._replace(depth=0)))
    assert f"../{QUERY}" in everything.hrefs()
    assert f"/{QUERY}" in everything.hrefs()


def test_page_of_a_file_that_was_asked_for_with_a_link() -> None:
    page = Page(file_page(BY_LINK, (b"a", b"b.png"), 5, 0, None))
    hrefs = page.hrefs()
    for expected in (
        *(f"b.png{QUERY}", "b.png?download&until=99&signed=abc", f"/a/{QUERY}"),
        "?info&digest=sha256&until=99&signed=abc",
    ):
        assert expected in hrefs
    assert [image["src"] for image in page.of("img")] == [f"b.png{QUERY}"]
    assert f"tcpdl get 'files.example:8080/a/b.png{QUERY}'" in page.text


def test_no_page_without_a_link_has_one() -> None:
    for page in (folder([file(b"a")]), Page(file_page(SITE, (b"a",), 5, 0, None))):
        assert "until" not in str(page.elements)
        assert "signed" not in str(page.elements)
