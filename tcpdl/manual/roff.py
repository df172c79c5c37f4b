"""Markdown as a page for man(1), in the macros of man(7). Imports `manual.model`, markdown-it-py.

Of Markdown, pages use headings, paragraphs, lists, tables of two columns, fenced blocks, code,
emphasis and links, of which the text is kept. Anything else is an error, so that no text is lost.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tcpdl.manual.model import Command, Option, Settings, find_options, sentence, shared, without

_WIDTH = 78
_ESCAPES = str.maketrans(
    {
        "\\": "\\e",
        "-": "\\-",
        "'": "\\(aq",
        '"': "\\(dq",
        "`": "\\(ga",
        "^": "\\(ha",
        "~": "\\(ti",
    }
)

Details = Callable[[Option], str]
"""What is said of an option beyond its help, in Markdown."""

SHOWN = ("sh", "toml", "text")
"""What fences say of blocks that are shown as they are."""

Blocks = Callable[[str, str], Iterable[str]]
"""What becomes of a fenced block, by what its fence says and what it holds: lines of roff."""


def escape(text: str) -> str:
    """`text` as it stands in a line of roff, whatever it holds, unless the line begins with it:
    see `_line`."""
    escaped = text.translate(_ESCAPES)
    return re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", escaped)


class Head(NamedTuple):
    """What a page says of itself at its edges."""

    title: str
    section: int
    date: str
    """ISO 8601."""
    version: str


def page(text: str, head: Head, blocks: Blocks) -> str:
    """The page that `text`, Markdown, is the source of."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    title = escape(head.title.upper())
    lines = [
        '.\\" Made by tcpdl.manual of the tables of options; not to be edited.',
        f'.TH {title} {head.section} {head.date} "tcpdl {escape(head.version)}" "tcpdl"',
        *(".nh", ".ad l"),
        *_blocks(iter(tokens), blocks),
    ]
    return "\n".join(lines) + "\n"


def synopsis(commands: Iterable[Command]) -> Iterator[str]:
    """How `commands` are called, a line each."""
    yield ".nf"
    for command in commands:
        yield _usage(command)
    yield ".fi"


def _usage(command: Command) -> str:
    words = [_bold(command.name), "[\\fIoption\\fR ...]"]
    for argument in command.arguments:
        word = f"\\fI{escape(argument.value)}\\fR" + (" ..." if argument.many else "")
        words.append(f"[{word}]" if argument.optional else word)
    return " ".join(words)


def commands(commands: Iterable[Command], details: Details) -> Iterator[str]:
    """Each of `commands` with its own options, and then those that they share."""
    common = shared(commands := list(commands))
    taken = {option for one in common for option in one.options}
    for command in commands:
        yield f'.SS "{escape(command.name)}"'
        yield from _fill(_usage(command))
        for paragraph in command.description:
            yield ".PP"
            yield from _fill(_marked(sentence(paragraph)))
        for argument in command.arguments:
            if argument.help:
                yield from (".TP", f"\\fI{escape(argument.value)}\\fR")
                yield from _fill(_marked(sentence(argument.help)))
        for group in without(command, taken).groups:
            yield from _options(group.options, details)
    for one in common:
        names = ", ".join(name.removeprefix("tcpdl ") for name in one.commands)
        yield f'.SS "{escape(f"Options of {names}")}"'
        yield from _options(one.options, details)


def options(command: Command, details: Details) -> Iterator[str]:
    """The options of `command`, group by group."""
    for group in command.groups:
        if group.title:
            yield f'.SS "{escape(group.title)}"'
        yield from _options(group.options, details)


def _options(options: Iterable[Option], details: Details) -> Iterator[str]:
    for option in options:
        yield from (".TP", tag(option))
        yield from _told(option, details)


def _told(option: Option, details: Details) -> Iterator[str]:
    yield from _fill(_marked(sentence(option.help)))
    if option.default and option.default not in option.help:
        yield from _fill(f"Default: {_bold(option.default)}.")
    if more := details(option):
        yield from _blocks(iter(MarkdownIt("commonmark").parse(more)), _nothing, indent=True)


def settings(groups: Iterable[Settings], details: Details) -> Iterator[str]:
    """What may stand in a file, by subject."""
    for group in groups:
        yield f'.SS "{escape(group.title)}"'
        for setting in group.settings:
            option = setting.option
            yield from (".TP", f"{_bold(option.name)} = \\fI{escape(setting.takes)}\\fR")
            yield from _told(option, details)
            yield from (".IP", _bold(f"${setting.variable}"))
            yield from (".IP", *_fill(_marked(setting.reload)))


def tag(option: Option) -> str:
    """The names of an option, and what its value is called."""
    names = ", ".join(_bold(name) for name in option.names)
    return f"{names} \\fI{escape(option.value)}\\fR" if option.value else names


def _nothing(info: str, content: str) -> Iterable[str]:
    raise ValueError(f"{info!r} stands where there are no such blocks")


def _bold(text: str) -> str:
    return f"\\fB{escape(text)}\\fR"


def _marked(text: str) -> str:
    """Plain text, with the names of options in bold."""
    return "".join(_bold(part) if is_name else escape(part) for part, is_name in find_options(text))


def _line(line: str) -> str:
    # A request would begin with it; an apostrophe is escaped already.
    return f"\\&{line}" if line.startswith(".") else line


def _fill(text: str) -> Iterator[str]:
    """Text that is already roff, in lines."""
    for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield _line(line)


def _verbatim(text: str) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".EX")
    for line in text.rstrip("\n").split("\n"):
        yield _line(escape(line))
    yield from (".EE", ".RE")


def _blocks(tokens: Iterator[Token], blocks: Blocks, indent: bool = False) -> Iterator[str]:
    fresh = indent  # whether a paragraph begins here without being told to
    for token in tokens:
        kind = token.type
        if kind == "heading_open":
            text = _inline(next(tokens))
            next(tokens)
            macro = {"h1": "", "h2": ".SH", "h3": ".SS"}[token.tag]
            if macro:
                yield f'{macro} "{text.upper() if token.tag == "h2" else text}"'
            fresh = True
        elif kind == "paragraph_open":
            if not fresh:
                yield ".IP" if indent else ".PP"
            yield from _fill(_inline(next(tokens)))
            next(tokens)
            fresh = False
        elif kind == "fence" and token.info in SHOWN:
            yield from _verbatim(token.content)
            fresh = False
        elif kind == "html_block" and token.content.startswith("<!--"):
            continue  # it says something of the source
        elif kind == "fence":
            yield from blocks(token.info.strip(), token.content)
            fresh = False
        elif kind == "bullet_list_open":
            yield from _list(tokens)
            fresh = False
        elif kind == "table_open":
            yield from _table(tokens)
            fresh = False
        else:
            raise ValueError(f"a page for man has no {kind}: {token.content!r}")


def _list(tokens: Iterator[Token]) -> Iterator[str]:
    """A list whose items are a paragraph each."""
    for token in tokens:
        if token.type == "bullet_list_close":
            return
        if token.type == "list_item_open":
            yield ".IP \\(bu 2"
        elif token.type == "inline":
            yield from _fill(_inline(token))
        elif token.type not in ("paragraph_open", "paragraph_close", "list_item_close"):
            raise ValueError(f"an item of a list has no {token.type}")


def _table(tokens: Iterator[Token]) -> Iterator[str]:
    """A table of two columns, as terms and what they mean; its head is left out."""
    head = True
    for token in tokens:
        if token.type == "table_close":
            return
        if token.type == "tbody_open":
            head = False
        elif token.type == "tr_open" and not head:
            term, meaning = (one for one in islice(tokens, 6) if one.type == "inline")
            yield from (".TP", _inline(term))
            yield from _fill(_inline(meaning))


def _inline(token: Token) -> str:
    made = []
    for child in token.children or ():
        if child.type in ("text", "softbreak"):
            made.append(escape(child.content or " "))
        elif child.type == "code_inline":
            made.append(_bold(child.content))
        elif child.type in ("em_open", "strong_open"):
            made.append("\\fI")
        elif child.type in ("em_close", "strong_close"):
            made.append("\\fR")
        elif child.type not in ("link_open", "link_close"):
            raise ValueError(f"a page for man has no {child.type}: {child.content!r}")
    return "".join(made)
