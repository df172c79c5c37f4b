"""Tests `web.readme`: whoever writes a README.md says what he likes, and does nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from tcpdl.web.readme import LONGEST, rendered
from tcpdl.web.urls import PageLink


class Parts(HTMLParser):
    """The elements of some HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def parts(text: str) -> list[tuple[str, dict[str, str | None]]]:
    return Parts(rendered(text.encode("utf-8", "surrogatepass"))).found


def test_markdown_is_rendered() -> None:
    text = rendered(b"# One\n\n*a* **b** `c` ~~d~~\n\n| x | y |\n|:-|-:|\n| 1 | 2 |\n")
    assert '<h2 id="readme-one">One</h2>' in text
    assert "<em>a</em> <strong>b</strong> <code>c</code> <s>d</s>" in text
    assert '<th class="to-left">x</th>' in text
    assert '<td class="to-right">2</td>' in text
    assert "style" not in text


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java&#x0A;script:alert(1)",
        "&#106;avascript:alert(1)",
        "\x01javascript:alert(1)",
        "vbscript:x",
        "data:text/html,x",
        "data:image/png;base64,x",
        "file:///etc/passwd",
        "blob:x",
        "tcpdl://host/x",
    ],
)
def test_links_to_anything_else_are_none(url: str) -> None:
    for text in (f"[x]({url})", f"[x](<{url}>)", f"<{url}>", f"[x]\n\n[x]: {url}", f"![x]({url})"):
        for tag, attributes in parts(text):
            assert tag in ("p", "a", "img")
            for where in (attributes.get("href"), attributes.get("src")):
                assert urlsplit(where or "").scheme == ""


@pytest.mark.parametrize(
    "url",
    ["https://a.example/b?c=d", "http://a.example", "mailto:a@b.example", "sub/file.txt", "../x"],
)
def test_links_are_links(url: str) -> None:
    assert parts(f"[x]({url})") == [("p", {}), ("a", {"href": url})]


@pytest.mark.parametrize("url", ["https://a.example/b.png", "//a.example/b.png", "mailto:x"])
def test_images_from_elsewhere_are_their_text(url: str) -> None:
    assert rendered(f"![what it <shows>]({url})".encode()) == "<p>what it &lt;shows&gt;</p>\n"


def test_images_from_here_are_images() -> None:
    assert parts("![what](a/b.png)") == [
        ("p", {}),
        ("img", {"src": "a/b.png", "alt": "what", "loading": "lazy"}),
    ]


def test_backslashes_make_no_other_server_of_a_path() -> None:
    for found in (parts(r"![x](/\a.example/b.png)"), parts("![x](\\\\\\\\a.example)")):
        assert "\\" not in str(found[1][1]["src"])


def test_html_is_text() -> None:
    text = rendered(
        b"<script>a</script>\n\n<img src=x onerror=a>\n\nx <b onclick=a>y</b> <!-- z -->"
    )
    assert {tag for tag, _ in Parts(text).found} == {"p"}


def test_headings_have_ids_of_their_own_and_links_find_them() -> None:
    text = "# main\n## How to: use it!\n## main\n###### low\n[x](#how-to-use-it) [y](#main)"
    found = parts(text)
    assert [(tag, attributes["id"]) for tag, attributes in found if tag.startswith("h")] == [
        ("h2", "readme-main"),
        ("h3", "readme-how-to-use-it"),
        ("h3", "readme-main-1"),
        ("h6", "readme-low"),
    ]
    links = [attributes["href"] for tag, attributes in found if tag == "a"]
    assert links == ["#readme-how-to-use-it", "#readme-main"]


def test_very_long_text_is_shown_in_part_and_not_parsed() -> None:
    text = rendered(b"# <b>" + b"x" * LONGEST)
    assert text.startswith("<pre># &lt;b&gt;x")
    assert f"{LONGEST + 5:,} bytes; this is the beginning" in text
    assert len(text) < LONGEST + 200


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert rendered(b"a\xff\0b") == "<p>a\ufffd\ufffdb</p>\n"


@given(
    st.text(
        st.sampled_from(list("<>\"'`[]()!#*_~|\\:&;/-= \n\tajvscriptonx1\u202e\0")), max_size=60
    )
)
@settings(deadline=None)
def test_whatever_it_holds_it_makes_harmless_elements_only(text: str) -> None:
    for tag, attributes in parts(text):
        assert re.fullmatch(
            "a|p|h[2-6]|img|em|strong|s|code|pre|ul|ol|li|blockquote|hr|br|table|thead|tbody|tr|th|td",
            tag,
        )
        assert set(attributes) <= {"href", "src", "alt", "title", "id", "class", "start", "loading"}
        assert str(attributes.get("id", "readme-")).startswith("readme-")
        assert urlsplit(attributes.get("src") or "").netloc == ""


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("a.txt", "a.txt?until=99&signed=abc"),
        ("sub/#part", "sub/?until=99&signed=abc#part"),
        ("a.txt?info", "a.txt?info&until=99&signed=abc"),
        ("../up", "../up?until=99&signed=abc"),
        ("/top", "/top"),
        ("//other.example/x", "//other.example/x"),
        ("https://other.example/x", "https://other.example/x"),
        ("mailto:ann@example.org", "mailto:ann@example.org"),
        ("#part", "#readme-part"),
    ],
)
def test_a_link_is_passed_on_to_what_is_below_and_nobody_else(href: str, expected: str) -> None:
    link = PageLink("until=99&signed=abc", 1)
    text = f"[there]({href})".encode()
    assert f'<a href="{escape(expected)}">' in rendered(text, link)
    assert "signed" not in rendered(text)


def test_images_are_asked_for_with_the_link() -> None:
    link = PageLink("until=99&signed=abc", 1)
    assert 'src="a.png?until=99&amp;signed=abc"' in rendered(b"![it](a.png)", link)
