"""The README.md of a folder as HTML. Imports markdown-it and `web.urls`.

Whoever can write to the folder writes it: it may say what it likes, and do nothing. HTML in it is
shown as text, links lead to http(s), mailto or relative, images come from this server, and an id in
it is never one of the page's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

from tcpdl.web.urls import PageLink, with_link

LONGEST = 32 * 1024
"""Bytes that are rendered as Markdown, which takes a second for each megabyte; of more, the
beginning is shown as it is."""

_SCHEME = re.compile(r"([^/?#]*):")
_LINKED = ("http", "https", "mailto")
_PREFIX = "readme-"
_NO_ID = re.compile(r"[^\w\- ]+")


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        """Whether a link or an image may lead to `url`."""
        scheme = _SCHEME.match(url)
        return scheme is None or scheme[1].lower() in _LINKED


class _Renderer(RendererHTML):
    def image(
        self, tokens: Sequence[Token], idx: int, options: Any, env: MutableMapping[str, Any]
    ) -> str:
        """An image from this server; of any other, its text."""
        url = str(tokens[idx].attrs["src"])
        if _SCHEME.match(url) or url.startswith("//"):
            return str(escape(self.renderInlineAsText(tokens[idx].children, options, env)))
        tokens[idx].attrs["loading"] = "lazy"
        return super().image(tokens, idx, options, env)


_MARKDOWN = _Markdown("commonmark", {"html": False}, renderer_cls=_Renderer)
_MARKDOWN.enable(["table", "strikethrough"])


@lru_cache(maxsize=16)
def rendered(text: bytes, link: PageLink | None = None) -> Markup:
    """`text`, as HTML. What it names relative to itself is asked for with the `link`."""
    beginning = text[:LONGEST].decode("utf-8", "replace")
    if len(text) > LONGEST:
        more = f"It has {len(text):,} bytes; this is the beginning."
        return Markup("<pre>{}</pre>\n<p>{}</p>").format(beginning, more)
    env: dict[str, Any] = {}
    tokens = _MARKDOWN.parse(beginning, env)
    _anchor(tokens)
    if link is not None:
        _pass_on(tokens, link)
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, env))  # noqa: S704


def _anchor(tokens: list[Token]) -> None:
    """Put headings below those of the page, give them ids, and have links within the text find
    these. Cells are aligned by classes: a style of their own is not let in by the page's policy."""
    taken: Counter[str] = Counter()
    for at, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 1, 6)}"
        if token.type == "heading_open":
            token.attrs["id"] = _id_of(tokens[at + 1].content, taken)
        if (style := token.attrs.pop("style", None)) is not None:
            token.attrs["class"] = str(style).replace("text-align:", "to-")
        for child in token.children or ():
            href = child.attrs.get("href")
            if isinstance(href, str) and href.startswith("#"):
                child.attrs["href"] = f"#{_PREFIX}{href[1:]}"


def _pass_on(tokens: list[Token], link: PageLink) -> None:
    """Have all that is below the folder be asked for with `link`."""
    for token in tokens:
        for child in token.children or ():
            for name in ("href", "src"):
                url = child.attrs.get(name)
                if (
                    isinstance(url, str)
                    and url[:1] not in ("", "#", "/")
                    and not _SCHEME.match(url)
                ):
                    path, mark, fragment = url.partition("#")
                    child.attrs[name] = with_link(path, link) + mark + fragment


def _id_of(heading: str, taken: Counter[str]) -> str:
    """An id as those who write README.md expect it."""
    plain = _NO_ID.sub("", heading.lower()).strip().replace(" ", "-")
    before = taken[plain]
    taken[plain] += 1
    return f"{_PREFIX}{plain}-{before}" if before else _PREFIX + plain
