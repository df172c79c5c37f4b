"""The pages of the documentation, and the blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]

PAGES = sorted(
    [
        PROJECT / "README.md",
        *(one for one in PROJECT.glob("docs/*.md") if "{include}" not in one.read_text("utf-8")),
        *PROJECT.glob("tcpdl/manual/text/*.md"),
    ]
)
"""Pages whose blocks are looked at, each of which says what it is."""

PROSE = sorted({*PAGES, *PROJECT.glob("*.md")})
"""Pages whose text is looked at."""

MADE = ("synopsis", "commands", "options", "settings", "series", "{toctree}")
"""What stands for blocks that are made."""

LANGUAGES = ("sh", "python", "toml", "text")
"""What blocks are in. Those of `sh` are run, unless a comment in front of them says why not; those
of `text` are no commands."""

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>.+?) -->\n+)?^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.M | re.S
)


class Block(NamedTuple):
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str
    why_not: str
    """Why it is not run; nothing, if it is."""

    def __str__(self) -> str:
        return f"{relative(self.page)}:{self.line}"


def relative(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def blocks_of(page: Path) -> Iterator[Block]:
    """All blocks of `page`."""
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(page, line, found["language"], found["text"], found["why"] or "")
